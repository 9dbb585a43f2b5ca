/* Any file as a *.card file: a card description or an error, never more. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cardfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *set[] = {(char[]){"organization=x"}, NULL};
    const struct cardfile_override with = {.imsi = "001010000000001", .set = set};
    struct tb_error e = {0};
    struct cardfile *f = NULL;
    char path[64];
    int fd = memfd_create("card", 0);
    int r;

    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    r = cardfile_read(path, &with, &f, &e);
    if ((r == 0) != (f != NULL) || (r < 0 && !e.message[0]))
        abort(); /* every refusal says why */
    cardfile_free(f);
    close(fd);
    return 0;
}
