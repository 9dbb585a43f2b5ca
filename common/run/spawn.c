/* A process that dies with us. uv_spawn() cannot run code between fork and exec; PR_SET_PDEATHSIG
 * needs that. */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mem.h"
#include "spawn_internal.h"

extern char **environ;

/* All that the child needs, made before fork: after it only async-signal-safe calls are allowed,
 * since other threads may have held any lock. */
struct plan {
    char *path;
    char *const *argv;
    char **env;
    const char *cwd;
    pid_t parent;
    int in, out, err, ready, ready_target;
    int report; /* errno of a failed exec goes there; closed by a good one */
};

/* The program's path, looked up as execvp() does, or NULL with errno. */
static char *find_program(const char *name) {
    const char *path = getenv("PATH"), *dir;
    char *full;

    if (strchr(name, '/'))
        return tb_xstrdup(name);
    for (dir = path ? path : "/bin:/usr/bin"; *dir; dir += strspn(dir, ":")) {
        size_t n = strcspn(dir, ":");

        if (asprintf(&full, "%.*s/%s", (int)n, dir, name) < 0)
            abort();
        if (access(full, X_OK) == 0)
            return full;
        free(full);
        dir += n;
    }
    errno = ENOENT;
    return NULL;
}

static bool same_key(const char *a, const char *b) {
    size_t n = strcspn(a, "=");

    return strncmp(a, b, n) == 0 && b[n] == '=';
}

/* Our environment with the additions; the strings are borrowed. */
static char **make_env(const char *const *extra) {
    size_t ours = 0, n_extra = 0, n = 0;
    char **env;

    while (environ[ours])
        ours++;
    while (extra && extra[n_extra])
        n_extra++;
    env = tb_xcalloc(ours + n_extra + 1, sizeof *env);
    for (size_t i = 0; i < ours; i++) {
        bool replaced = false;

        for (size_t j = 0; j < n_extra && !replaced; j++)
            replaced = same_key(extra[j], environ[i]);
        if (!replaced)
            env[n++] = environ[i];
    }
    for (size_t j = 0; j < n_extra; j++)
        if (extra[j][strcspn(extra[j], "=")] == '=' && extra[j][strcspn(extra[j], "=") + 1])
            env[n++] = tb_unconst(extra[j]);
    return env;
}

static void default_signals(void) {
    struct sigaction dfl = {.sa_handler = SIG_DFL};
    sigset_t none;

    for (int s = 1; s < NSIG; s++)
        (void)sigaction(s, &dfl, NULL); /* fails for SIGKILL and SIGSTOP */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static bool place_fds(const struct plan *p) {
    int in = p->in, out = p->out, err = p->err, ready = p->ready;
    int above = (p->ready_target > 2 ? p->ready_target : 2) + 1;

    if ((in = fcntl(in, F_DUPFD_CLOEXEC, above)) < 0 ||
        (out = fcntl(out, F_DUPFD_CLOEXEC, above)) < 0 ||
        (err = fcntl(err, F_DUPFD_CLOEXEC, above)) < 0)
        return false;
    if (ready >= 0 && (ready = fcntl(ready, F_DUPFD_CLOEXEC, above)) < 0)
        return false;
    if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
        return false;
    /* What others opened carelessly stays with us. */
    (void)syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC);
    return ready < 0 || dup2(ready, p->ready_target) >= 0;
}

static _Noreturn void fail(int report) {
    int e = errno;

    if (write(report, &e, sizeof e) < 0)
        _exit(126);
    _exit(127);
}

static _Noreturn void child(const struct plan *p) {
    /* The report pipe must survive place_fds(). */
    int above = (p->ready_target > 2 ? p->ready_target : 2) + 1;
    int report = fcntl(p->report, F_DUPFD_CLOEXEC, above);

    if (report < 0)
        fail(p->report);
    setpgid(0, 0);
    /* SIGKILL, because not every program heeds another; ours ask for SIGTERM instead
     * (tb_loop_new()). The parent may have died before the request stood: then it is not our parent
     * any more. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        fail(report);
    if (getppid() != p->parent)
        _exit(127);
    default_signals();
    if (!place_fds(p) || (p->cwd && chdir(p->cwd) < 0))
        fail(report);
    execve(p->path, p->argv, p->env);
    fail(report);
}

static int open_outputs(const struct tb_child_spec *spec, struct plan *p) {
    p->in = spec->stdin_fd >= 0 ? fcntl(spec->stdin_fd, F_DUPFD_CLOEXEC, 3)
                                : open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (p->in < 0)
        return -errno;
    if (spec->log_file) {
        p->out = open(spec->log_file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
        p->err = p->out < 0 ? -1 : fcntl(p->out, F_DUPFD_CLOEXEC, 3);
    } else {
        p->out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
        p->err = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    }
    return p->out < 0 || p->err < 0 ? -errno : 0;
}

/* errno of the child's failed start, 0 when exec has closed the pipe. */
static int read_report(int fd) {
    int e = 0;
    ssize_t n;

    do
        n = read(fd, &e, sizeof e);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof e ? -e : 0;
}

static int fork_child(const struct plan *p) {
    sigset_t all, before;
    pid_t pid;
    int e;

    /* A handler of ours must not run in the child: it would talk into our loop's pipe. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid = fork();
    e = errno;
    if (pid == 0)
        child(p);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return pid < 0 ? -e : pid;
}

static void close_fd(int fd) {
    if (fd >= 0)
        close(fd);
}

int tb_spawn(const struct tb_child_spec *spec, struct tb_spawned *ret) {
    int report[2] = {-1, -1}, ready[2] = {-1, -1}, pid = -1, pidfd = -1, r;
    struct plan p = {.in = -1, .out = -1, .err = -1, .ready_target = spec->ready_fd};

    if (spec->ready_fd >= 0 && spec->ready_fd <= 2)
        return -EINVAL;
    p.path = find_program(spec->argv[0]);
    if (!p.path)
        return -errno;
    p.argv = tb_unconst(spec->argv);
    p.env = make_env(spec->env);
    p.cwd = spec->cwd;
    p.parent = getpid();
    r = open_outputs(spec, &p);
    if (r == 0 && pipe2(report, O_CLOEXEC) < 0)
        r = -errno;
    if (r == 0 && spec->ready_fd >= 0 && pipe2(ready, O_CLOEXEC) < 0)
        r = -errno;
    p.report = report[1];
    p.ready = ready[1];
    if (r == 0)
        r = pid = fork_child(&p);
    if (pid > 0) {
        close(report[1]);
        report[1] = -1;
        r = read_report(report[0]);
        /* Not reaped yet, so the number cannot belong to anybody else. */
        pidfd = r < 0 ? -1 : (int)syscall(SYS_pidfd_open, pid, 0);
        if (r == 0 && pidfd < 0)
            r = -errno;
        if (r < 0) {
            kill(pid, SIGKILL);
            while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                ;
        }
    }
    if (r >= 0) {
        *ret = (struct tb_spawned){pid, pidfd, ready[0]};
        ready[0] = -1;
        r = 0;
    }
    free(p.path);
    free(p.env);
    close_fd(p.in);
    close_fd(p.out);
    close_fd(p.err);
    close_fd(report[0]);
    close_fd(report[1]);
    close_fd(ready[0]);
    close_fd(ready[1]);
    return r;
}
