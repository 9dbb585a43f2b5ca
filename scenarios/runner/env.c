#include "env.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char marker[] = ".testbed-run"; /* a folder with it is ours to empty */

const char *scn_bin_dir(void) {
    static char dir[SCN_PATH];
    ssize_t n;

    if (dir[0])
        return dir;
    n = readlink("/proc/self/exe", dir, sizeof dir - 1);
    if (n <= 0)
        return ".";
    dir[n] = 0;
    *strrchr(dir, '/') = 0;
    return dir;
}

const char *scn_source_dir(void) {
    const char *env = getenv("TESTBED_SOURCE");

    if (env && env[0])
        return env;
    return access(TB_SCENARIO_SOURCE "/scenarios", R_OK) == 0 ? TB_SCENARIO_SOURCE : "";
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path) < 0 && errno != ENOENT ? -1 : 0;
}

static void remove_tree(const char *dir) {
    nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static int make_dirs(const char *path) {
    char copy[SCN_PATH];

    if (snprintf(copy, sizeof copy, "%s", path) >= (int)sizeof copy)
        return -ENAMETOOLONG;
    for (char *p = copy + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = 0;
        if (mkdir(copy, 0700) < 0 && errno != EEXIST)
            return -errno;
        *p = '/';
    }
    return mkdir(copy, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

static const char *runtime_dir(char *dst, size_t cap) {
    const char *xdg = getenv("XDG_RUNTIME_DIR");

    if (xdg && xdg[0] == '/' && access(xdg, W_OK) == 0)
        snprintf(dst, cap, "%s/iotsafe-testbed", xdg);
    else
        snprintf(dst, cap, "/tmp/iotsafe-testbed-%u", (unsigned)getuid());
    return dst;
}

/* An empty folder, or one with our marker, may be (re)used; anything else is somebody's data. */
static int claim(const char *dir, struct tb_error *e) {
    char path[SCN_PATH + 16];
    int fd;

    snprintf(path, sizeof path, "%s/%s", dir, marker);
    if (access(path, F_OK) == 0)
        remove_tree(dir);
    else if (rmdir(dir) < 0 && errno != ENOENT)
        return tb_error_set(
            e, TB_ESTATE, dir, 0,
            "is not empty and not the folder of an earlier run: choose another --out");
    if (make_dirs(dir) < 0)
        return tb_error_set(e, TB_ESTATE, dir, 0, "cannot be made: %s", strerror(errno));
    fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0)
        return tb_error_set(e, TB_ESTATE, dir, 0, "cannot be written: %s", strerror(errno));
    close(fd);
    return 0;
}

int scn_folder_make(const char *out, struct scn_folder *ret, struct tb_error *e) {
    struct scn_folder f = {0};
    int r;

    if (out) {
        if (out[0] == '/') {
            snprintf(f.dir, sizeof f.dir, "%s", out);
        } else {
            char cwd[SCN_PATH / 2];

            if (!getcwd(cwd, sizeof cwd))
                return tb_error_set(e, -errno, out, 0, "no working folder: %s", strerror(errno));
            snprintf(f.dir, sizeof f.dir, "%s/%s", cwd, out);
        }
    } else {
        char base[SCN_PATH / 2], stamp[32];
        time_t now = time(NULL);
        struct tm tm;

        localtime_r(&now, &tm);
        strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", &tm);
        snprintf(f.dir, sizeof f.dir, "%s/%s-%d", runtime_dir(base, sizeof base), stamp,
                 (int)getpid());
    }
    r = claim(f.dir, e);
    if (r < 0)
        return r;
    snprintf(f.sock, sizeof f.sock, "/tmp/tb-XXXXXX");
    if (!mkdtemp(f.sock))
        return tb_error_set(e, -errno, f.sock, 0, "cannot make a folder for sockets: %s",
                            strerror(errno));
    *ret = f;
    return 0;
}

void scn_folder_remove(struct scn_folder *f, bool all) {
    if (f->sock[0])
        remove_tree(f->sock);
    f->sock[0] = 0;
    if (all && f->dir[0]) {
        remove_tree(f->dir);
        f->dir[0] = 0;
    }
}

char *scn_folder_path(const struct scn_folder *f, const char *rel, char *dst, size_t cap) {
    char *slash;

    snprintf(dst, cap, "%s/%s", f->dir, rel);
    slash = strrchr(dst, '/');
    *slash = 0;
    make_dirs(dst);
    *slash = '/';
    return dst;
}

static void bed_link(char *dst, size_t cap) {
    char base[SCN_PATH / 2];

    snprintf(dst, cap, "%s/up", runtime_dir(base, sizeof base));
}

int scn_living_bed(const char *run, char *ret_dir, size_t cap, struct tb_error *e) {
    char link[SCN_PATH], bed[SCN_PATH + 16];
    char target[SCN_PATH];
    ssize_t n;

    if (!run) {
        bed_link(link, sizeof link);
        n = readlink(link, target, sizeof target - 1);
        if (n <= 0)
            return tb_error_set(
                e, TB_ENOTFOUND, NULL, 0,
                "no living bed: start one with `testbed up`, or name its folder with --run DIR");
        target[n] = 0;
        run = target;
    }
    snprintf(bed, sizeof bed, "%s/bed.json", run);
    if (access(bed, R_OK) < 0)
        return tb_error_set(e, TB_ENOTFOUND, run, 0,
                            "is not the folder of a living bed (no bed.json)");
    snprintf(ret_dir, cap, "%s", run);
    return 0;
}

int scn_living_bed_tell(const char *run_dir, struct tb_error *e) {
    char link[SCN_PATH], fresh[SCN_PATH + 16], base[SCN_PATH / 2];

    make_dirs(runtime_dir(base, sizeof base));
    bed_link(link, sizeof link);
    snprintf(fresh, sizeof fresh, "%s.%d", link, (int)getpid());
    unlink(fresh);
    if (symlink(run_dir, fresh) < 0 || rename(fresh, link) < 0)
        return tb_error_set(e, -errno, link, 0, "cannot be written: %s", strerror(errno));
    return 0;
}

void scn_living_bed_forget(const char *run_dir) {
    char link[SCN_PATH], target[SCN_PATH];
    ssize_t n;

    bed_link(link, sizeof link);
    n = readlink(link, target, sizeof target - 1);
    if (n <= 0)
        return;
    target[n] = 0;
    if (strcmp(target, run_dir) == 0)
        unlink(link);
}
