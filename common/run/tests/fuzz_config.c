/* Any bytes as a configuration file. */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tb/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int check(const struct tb_config_entry *entry, const char *file, struct tb_error *e,
                 void *user) {
    int *last = user;

    assert(entry->line >= *last);
    *last = entry->line;
    assert(strlen(entry->section) < 50);
    if (!entry->key)
        return 0;
    assert(entry->key[0] && !strchr(entry->key, '\n') && !strchr(entry->value, '\n'));
    if (strcmp(entry->key, "stop") == 0)
        return tb_error_set(e, TB_ERANGE, file, entry->line, "stopped");
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct tb_error e = {0};
    int fd = memfd_create("config", MFD_CLOEXEC), last = 0, r;
    char path[64];

    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    r = tb_config_read(path, check, &last, &e);
    assert(r <= 0);
    assert((r < 0) == (e.message[0] != '\0')); /* a refusal has a reason */
    assert(r == 0 || e.line >= last);
    close(fd);
    return 0;
}
