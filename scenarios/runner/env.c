#include "env.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
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

/* The folder that we were installed to has lib and share beside bin. */
static bool installed(const char *rel, char *dst, size_t cap) {
    snprintf(dst, cap, "%s/../%s", scn_bin_dir(), rel);
    return access(dst, R_OK) == 0;
}

char *scn_data_path(const char *rel, char *dst, size_t cap) {
    static const struct {
        const char *name, *source;
    } places[] = {{"scenarios", "scenarios"},
                  {"profiles", "sim-card/profiles"},
                  {"openssl.cnf.in", "device/ossl-provider/openssl.cnf.in"},
                  {"openssl-offload.cnf.in", "device/ossl-provider/openssl-offload.cnf.in"}};
    const char *source = getenv("TESTBED_SOURCE");
    char share[SCN_PATH];

    if (!source || !source[0]) {
        if (installed("share/iotsafe-testbed", share, sizeof share)) {
            snprintf(dst, cap, "%s/%s", share, rel);
            return dst;
        }
        source = TB_SCENARIO_SOURCE;
    }
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        size_t n = strlen(places[i].name);

        if (strncmp(rel, places[i].name, n) == 0 && (rel[n] == '/' || rel[n] == 0)) {
            snprintf(dst, cap, "%s/%s%s", source, places[i].source, rel + n);
            return dst;
        }
    }
    snprintf(dst, cap, "%s/%s", source, rel);
    return dst;
}

const char *scn_provider_module(void) {
    static char path[SCN_PATH];

    if (!installed(TB_LIBDIR "/ossl-modules/iotsafe.so", path, sizeof path))
        snprintf(path, sizeof path, "%s", TB_PROVIDER_MODULE);
    return path;
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

int scn_make_dirs(const char *path) {
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

const char *scn_runtime_dir(char *dst, size_t cap) {
    const char *xdg = getenv("XDG_RUNTIME_DIR");

    if (xdg && xdg[0] == '/' && access(xdg, W_OK | X_OK) == 0)
        snprintf(dst, cap, "%s/iotsafe-testbed", xdg);
    else
        snprintf(dst, cap, "/tmp/iotsafe-testbed-%u", (unsigned)getuid());
    return dst;
}

/* The name in /tmp can be guessed: somebody else's folder there is not trusted. */
int scn_runtime_dir_make(char *dst, size_t cap, struct tb_error *e) {
    struct stat st;
    int r = scn_make_dirs(scn_runtime_dir(dst, cap));

    if (r < 0)
        return tb_error_set(e, r, dst, 0, "cannot be made: %s", strerror(-r));
    if (lstat(dst, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid())
        return tb_error_set(e, TB_ESTATE, dst, 0,
                            "is not a folder of yours: remove it, or set XDG_RUNTIME_DIR");
    return 0;
}

/* 1: no entries; 0: some; negative errno. */
static int is_empty(const char *dir) {
    DIR *d = opendir(dir);
    struct dirent *entry;
    int empty = 1;

    if (!d)
        return -errno;
    while (empty && (entry = readdir(d)))
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    closedir(d);
    return empty;
}

/* The marker, locked: it stays locked as long as the run lives. -EWOULDBLOCK when another one has
 * it.
 */
static int lock_marker(const char *dir, int flags) {
    char path[SCN_PATH + 16];
    int fd;

    snprintf(path, sizeof path, "%s/%s", dir, marker);
    fd = open(path, flags | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        int r = -errno;

        close(fd);
        return r;
    }
    return fd;
}

int scn_folder_claim(const char *dir, struct tb_error *e) {
    int fd = lock_marker(dir, O_RDONLY), r;

    if (fd == -EWOULDBLOCK)
        return tb_error_set(e, TB_ESTATE, dir, 0, "is in use by another run: choose another --out");
    if (fd >= 0) {
        remove_tree(dir);
        close(fd);
    } else {
        r = is_empty(dir);
        if (r == 0)
            return tb_error_set(
                e, TB_ESTATE, dir, 0,
                "is not empty and not the folder of an earlier run: choose another --out");
        if (r < 0 && r != -ENOENT)
            return tb_error_set(e, r, dir, 0, "cannot be used: %s", strerror(-r));
    }
    r = scn_make_dirs(dir);
    if (r < 0)
        return tb_error_set(e, r, dir, 0, "cannot be made: %s", strerror(-r));
    fd = lock_marker(dir, O_CREAT | O_RDWR);
    if (fd < 0)
        return tb_error_set(e, fd, dir, 0, "cannot be written: %s", strerror(-fd));
    return fd;
}

bool scn_folder_alive(const char *dir) {
    int fd = lock_marker(dir, O_RDONLY);

    if (fd >= 0)
        close(fd);
    return fd == -EWOULDBLOCK;
}

/* ---- sockets: a short name, locked as long as we live ---- */

static const char sock_prefix[] = "tb-sock-";

static int lock_folder(const char *dir) {
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* What runs that ended by SIGKILL could not remove. */
static void remove_stale_sockets(void) {
    DIR *d = opendir("/tmp");
    struct dirent *entry;

    while (d && (entry = readdir(d))) {
        char path[300];
        struct stat st;
        int fd;

        if (strncmp(entry->d_name, sock_prefix, sizeof sock_prefix - 1) != 0)
            continue;
        snprintf(path, sizeof path, "/tmp/%s", entry->d_name);
        /* A young one may be about to be locked. */
        if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid() ||
            st.st_mtime + 60 > time(NULL))
            continue;
        fd = lock_folder(path);
        if (fd < 0)
            continue;
        remove_tree(path);
        close(fd);
    }
    if (d)
        closedir(d);
}

static int make_sockets(struct scn_folder *f, struct tb_error *e) {
    remove_stale_sockets();
    snprintf(f->sock, sizeof f->sock, "/tmp/%sXXXXXX", sock_prefix);
    if (!mkdtemp(f->sock))
        return tb_error_set(e, -errno, f->sock, 0, "cannot make a folder for sockets: %s",
                            strerror(errno));
    f->sock_lock = lock_folder(f->sock);
    return 0;
}

static unsigned made; /* folders of this process */

int scn_folder_make(const char *out, struct scn_folder *ret, struct tb_error *e) {
    struct scn_folder f = {.lock = -1, .sock_lock = -1};
    int n = 0, r;

    if (out && out[0] == '/') {
        n = snprintf(f.dir, sizeof f.dir, "%s", out);
    } else if (out) {
        char cwd[SCN_PATH];

        if (!getcwd(cwd, sizeof cwd))
            return tb_error_set(e, -errno, out, 0, "no working folder: %s", strerror(errno));
        n = snprintf(f.dir, sizeof f.dir, "%s/%s", cwd, out);
    } else {
        char base[SCN_PATH / 2], stamp[32];
        time_t now = time(NULL);
        struct tm tm;

        r = scn_runtime_dir_make(base, sizeof base, e);
        if (r < 0)
            return r;
        localtime_r(&now, &tm);
        strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", &tm);
        n = snprintf(f.dir, sizeof f.dir, "%s/%s-%d-%u", base, stamp, (int)getpid(), ++made);
    }
    /* What lies in it needs a name, too. */
    if (n > SCN_PATH - 128)
        return tb_error_set(e, TB_ERANGE, f.dir, 0, "is too long a path: choose another --out");
    f.lock = scn_folder_claim(f.dir, e);
    if (f.lock < 0)
        return f.lock;
    r = make_sockets(&f, e);
    if (r < 0) {
        close(f.lock);
        return r;
    }
    *ret = f;
    return 0;
}

void scn_folder_remove(struct scn_folder *f, bool all) {
    if (f->sock[0])
        remove_tree(f->sock);
    if (f->sock_lock >= 0)
        close(f->sock_lock);
    f->sock[0] = 0;
    f->sock_lock = -1;
    if (all && f->dir[0]) {
        remove_tree(f->dir);
        f->dir[0] = 0;
    }
    if (f->lock >= 0)
        close(f->lock);
    f->lock = -1;
}

char *scn_folder_path(const struct scn_folder *f, const char *rel, char *dst, size_t cap) {
    char *slash;

    snprintf(dst, cap, "%s/%s", f->dir, rel);
    slash = strrchr(dst, '/');
    *slash = 0;
    scn_make_dirs(dst);
    *slash = '/';
    return dst;
}
