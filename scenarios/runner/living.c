/* Living beds: `testbed up` tells where it is, the small tools find it. One link for each below
 * beds/ in the runtime folder, named by its process. */
#include "living.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "env.h"

static char *beds_folder(char *dst, size_t cap) {
    char base[SCN_PATH / 2];

    snprintf(dst, cap, "%s/beds", scn_runtime_dir(base, sizeof base));
    return dst;
}

static int read_link(const char *link, char *dst, size_t cap) {
    ssize_t n = readlink(link, dst, cap - 1);

    if (n < 0)
        return -errno;
    dst[n] = 0;
    return 0;
}

/* The run folder of the bed that was started last; links of dead ones are removed. */
static int newest_bed(char *ret_dir, size_t cap) {
    struct timespec newest = {0};
    char beds[SCN_PATH / 2 + 8];
    struct dirent *entry;
    DIR *d = opendir(beds_folder(beds, sizeof beds));
    int found = 0;

    while (d && (entry = readdir(d))) {
        char link[SCN_PATH + 256], target[SCN_PATH];
        struct stat st;

        snprintf(link, sizeof link, "%s/%s", beds, entry->d_name);
        if (lstat(link, &st) < 0 || !S_ISLNK(st.st_mode) ||
            read_link(link, target, sizeof target) < 0)
            continue;
        if (!scn_folder_alive(target)) {
            unlink(link);
            continue;
        }
        if (found && (st.st_mtim.tv_sec < newest.tv_sec ||
                      (st.st_mtim.tv_sec == newest.tv_sec && st.st_mtim.tv_nsec < newest.tv_nsec)))
            continue;
        newest = st.st_mtim;
        snprintf(ret_dir, cap, "%s", target);
        found = 1;
    }
    if (d)
        closedir(d);
    return found;
}

int scn_living_bed_find(const char *run, char *ret_dir, size_t cap, struct tb_error *e) {
    char bed[SCN_PATH + 16];

    if (!run) {
        if (newest_bed(ret_dir, cap))
            return 0;
        return tb_error_set(
            e, TB_ENOTFOUND, NULL, 0,
            "no living bed: start one with `testbed up`, or name its folder with --run DIR");
    }
    if (snprintf(bed, sizeof bed, "%s/bed.json", run) >= (int)sizeof bed || access(bed, R_OK) < 0)
        return tb_error_set(e, TB_ENOTFOUND, run, 0,
                            "is not the folder of a living bed (no bed.json)");
    if (!scn_folder_alive(run))
        return tb_error_set(e, TB_ESTATE, run, 0, "this bed has ended; start one: testbed up");
    snprintf(ret_dir, cap, "%s", run);
    return 0;
}

static char *own_link(char *dst, size_t cap) {
    char beds[SCN_PATH / 2 + 8];

    snprintf(dst, cap, "%s/%d", beds_folder(beds, sizeof beds), (int)getpid());
    return dst;
}

int scn_living_bed_tell(const char *run_dir, struct tb_error *e) {
    char base[SCN_PATH / 2], beds[SCN_PATH / 2 + 8], link[SCN_PATH];
    int r = scn_runtime_dir_make(base, sizeof base, e);

    if (r < 0)
        return r;
    r = scn_make_dirs(beds_folder(beds, sizeof beds));
    if (r < 0)
        return tb_error_set(e, r, beds, 0, "cannot be made: %s", strerror(-r));
    unlink(own_link(link, sizeof link));
    if (symlink(run_dir, link) < 0)
        return tb_error_set(e, -errno, link, 0, "cannot be written: %s", strerror(errno));
    return 0;
}

void scn_living_bed_forget(void) {
    char link[SCN_PATH];

    unlink(own_link(link, sizeof link));
}

json_t *scn_living_bed_open(const char *run) {
    char dir[SCN_PATH], path[SCN_PATH + 16];
    struct tb_error e = {0};
    json_error_t je;
    json_t *bed;

    if (scn_living_bed_find(run, dir, sizeof dir, &e) < 0) {
        fprintf(stderr, "testbed: %s%s%s\n", e.file, e.file[0] ? ": " : "", e.message);
        return NULL;
    }
    snprintf(path, sizeof path, "%s/bed.json", dir);
    bed = json_load_file(path, 0, &je);
    if (!bed)
        fprintf(stderr, "testbed: %s:%d: %s\n", path, je.line, je.text);
    return bed;
}

const char *scn_living_bed_text(const json_t *bed, const char *group, const char *key) {
    return json_string_value(json_object_get(json_object_get(bed, group), key));
}
