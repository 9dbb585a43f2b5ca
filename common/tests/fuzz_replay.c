/* Runs a fuzz target over every file of the folders and files named on the command line: the corpus
 * as a test. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path) {
    FILE *f = fopen(path, "rb");
    uint8_t *data;
    long n;

    if (!f || fseek(f, 0, SEEK_END) < 0 || (n = ftell(f)) < 0 || fseek(f, 0, SEEK_SET) < 0) {
        perror(path);
        return -1;
    }
    /* Exactly as large as the input, so that a sanitizer sees every byte read too far. */
    data = malloc(n ? (size_t)n : 1);
    if (!data || fread(data, 1, (size_t)n, f) != (size_t)n) {
        perror(path);
        return -1;
    }
    fclose(f);
    LLVMFuzzerTestOneInput(data, (size_t)n);
    free(data);
    return 0;
}

static long replay(const char *path) {
    struct stat st;
    struct dirent *e;
    long count = 0;
    DIR *d;

    if (stat(path, &st) < 0) {
        perror(path);
        return -1;
    }
    if (!S_ISDIR(st.st_mode))
        return replay_file(path) < 0 ? -1 : 1;
    d = opendir(path);
    if (!d) {
        perror(path);
        return -1;
    }
    while ((e = readdir(d))) {
        char file[4096];
        long n;

        if (e->d_name[0] == '.')
            continue;
        snprintf(file, sizeof file, "%s/%s", path, e->d_name);
        n = replay(file);
        if (n < 0) {
            closedir(d);
            return -1;
        }
        count += n;
    }
    closedir(d);
    return count;
}

int main(int argc, char **argv) {
    long total = 0;

    for (int i = 1; i < argc; i++) {
        long n = replay(argv[i]);

        if (n < 0)
            return 1;
        total += n;
    }
    printf("%ld inputs replayed\n", total);
    return total > 0 ? 0 : 1;
}
