#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "tb/ctl.h"

enum { MAX_CHILDREN = 32, READY_MS = 30000 };

static pid_t children[MAX_CHILDREN];
static unsigned n_children;
static pid_t grandchildren[4]; /* whose CPU counts; their parents end them */
static unsigned n_grandchildren;
static char dir[64];
static unsigned serial;
static pid_t owner; /* of dir and children */

/* Looked up once: in a mount namespace entered later the kernel tells a path from another root. */
const char *bench_program(const char *name, char *dst, size_t cap) {
    static char self[4096];
    ssize_t n;

    if (!self[0]) {
        n = readlink("/proc/self/exe", self, sizeof self - 1);
        if (n <= 0)
            return name;
        self[n] = 0;
        strrchr(self, '/')[1] = 0;
    }
    snprintf(dst, cap, "%s%s", self, name);
    return dst;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void cleanup(void) {
    if (getpid() == owner && dir[0])
        nftw(dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

const char *bench_dir(void) {
    if (!dir[0]) {
        snprintf(dir, sizeof dir, "/tmp/tb-bench-XXXXXX");
        if (!mkdtemp(dir)) {
            perror("iot-bench: /tmp");
            exit(3);
        }
        owner = getpid();
        atexit(cleanup);
    }
    return dir;
}

void bench_pin(bool one_cpu) {
    cpu_set_t set, allowed;

    if (!one_cpu || sched_getaffinity(0, sizeof allowed, &allowed) < 0)
        return;
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &allowed)) {
            CPU_ZERO(&set);
            CPU_SET(cpu, &set);
            sched_setaffinity(0, sizeof set, &set); /* children inherit it */
            return;
        }
}

void bench_child(pid_t pid) {
    if (n_children == MAX_CHILDREN)
        abort();
    children[n_children++] = pid;
}

pid_t bench_last_child(void) {
    return n_children ? children[n_children - 1] : -1;
}

static uint64_t cpu_ns(clockid_t clock) {
    struct timespec t;

    return clock_gettime(clock, &t) < 0 ? 0
                                        : (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

uint64_t bench_cpu_self(void) {
    return cpu_ns(CLOCK_PROCESS_CPUTIME_ID);
}

void bench_count_children_of(pid_t pid) {
    char file[64], list[256] = "", *p = list;
    FILE *f;

    snprintf(file, sizeof file, "/proc/%d/task/%d/children", (int)pid, (int)pid);
    f = fopen(file, "re");
    if (!f)
        return;
    if (fgets(list, sizeof list, f))
        for (pid_t child; n_grandchildren < 4 && (child = (pid_t)strtol(p, &p, 10)) > 0;)
            grandchildren[n_grandchildren++] = child;
    fclose(f);
}

uint64_t bench_cpu_all(void) {
    uint64_t sum = bench_cpu_self();
    clockid_t clock;

    for (unsigned i = 0; i < n_children; i++)
        if (clock_getcpuclockid(children[i], &clock) == 0)
            sum += cpu_ns(clock);
    for (unsigned i = 0; i < n_grandchildren; i++)
        if (clock_getcpuclockid(grandchildren[i], &clock) == 0)
            sum += cpu_ns(clock);
    return sum;
}

void bench_child_begins(int signal_at_death) {
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};

    prctl(PR_SET_PDEATHSIG, signal_at_death);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        signal(signals[i], SIG_DFL);
    if (getppid() != owner)
        _exit(1); /* it was too late to ask for the signal */
}

/* ---- the end ---- */

static volatile sig_atomic_t caught;

static void on_signal(int signum) {
    caught = signum;
}

void bench_catch_signals(void) {
    /* No SA_RESTART: what waits for bytes returns. */
    const struct sigaction action = {.sa_handler = on_signal};
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};

    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        sigaction(signals[i], &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

int bench_caught_signal(void) {
    return caught;
}

void bench_children_end(void) {
    for (unsigned i = n_children; i-- > 0;) {
        kill(children[i], SIGTERM);
        while (waitpid(children[i], NULL, 0) < 0 && errno == EINTR)
            ;
    }
    n_children = 0;
}

/* One line from fd within the deadline. */
static int read_line(int fd, char *dst, size_t cap) {
    size_t n = 0;

    while (n < cap - 1) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        ssize_t got;

        if (poll(&p, 1, READY_MS) <= 0)
            return TB_ETIMEOUT;
        got = read(fd, dst + n, 1);
        if (got <= 0)
            return TB_ECLOSED;
        if (dst[n] == '\n')
            break;
        n++;
    }
    dst[n] = 0;
    return 0;
}

json_t *bench_daemon(const char *const *argv) {
    const char *args[64];
    char line[8192], log[128];
    size_t n = 0;
    int ready[2], r;
    json_t *j;
    pid_t pid;

    for (; argv[n]; n++)
        args[n] = argv[n];
    args[n++] = "--ready-fd";
    args[n++] = "3";
    args[n] = NULL;
    snprintf(log, sizeof log, "%s/%u.log", bench_dir(), serial++);
    if (pipe2(ready, O_CLOEXEC) < 0)
        return NULL;
    pid = fork();
    if (pid == 0) {
        int out = open(log, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);

        bench_child_begins(SIGTERM);
        dup2(out, STDOUT_FILENO);
        dup2(out, STDERR_FILENO);
        if (ready[1] == 3)
            fcntl(3, F_SETFD, 0);
        else
            dup2(ready[1], 3);
        execv(args[0], (char *const *)(uintptr_t)args);
        _exit(127);
    }
    close(ready[1]);
    if (pid < 0) {
        close(ready[0]);
        return NULL;
    }
    bench_child(pid);
    r = read_line(ready[0], line, sizeof line);
    close(ready[0]);
    j = r == 0 ? json_loads(line, 0, NULL) : NULL;
    if (!j) {
        FILE *f = fopen(log, "re");
        int c;

        fprintf(stderr, "iot-bench: %s did not become ready\n", args[0]);
        while (f && (c = fgetc(f)) != EOF)
            fputc(c, stderr);
        if (f)
            fclose(f);
    }
    return j;
}

int bench_peer(void (*fn)(int fd, void *arg), void *arg, char *ret, size_t cap) {
    int told[2], r;
    pid_t pid;

    if (pipe2(told, O_CLOEXEC) < 0)
        return -errno;
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        bench_child_begins(SIGKILL);
        close(told[0]);
        fn(told[1], arg);
        _exit(0);
    }
    close(told[1]);
    if (pid > 0)
        bench_child(pid);
    r = pid > 0 ? read_line(told[0], ret, cap) : -EAGAIN;
    close(told[0]);
    return r;
}

int bench_tool(const char *const *argv) {
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY);

        dup2(null, STDOUT_FILENO);
        execv(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fprintf(stderr, "iot-bench: %s failed\n", argv[0]);
        return -1;
    }
    return 0;
}

static int dial_unix(const char *path) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    return connect(fd, (struct sockaddr *)&a, sizeof a) < 0 ? -errno : fd;
}

static int open_tty(const char *path) {
    int fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    struct termios raw;

    if (fd < 0)
        return -errno;
    tcgetattr(fd, &raw);
    cfmakeraw(&raw);
    tcsetattr(fd, TCSANOW, &raw);
    return fd;
}

uint16_t bench_port(const char *addr) {
    const char *colon = strrchr(addr, ':');

    return colon ? (uint16_t)strtoul(colon + 1, NULL, 10) : 0;
}

int bench_dial(const char *addr) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd, one = 1;

    if (strncmp(addr, "/dev/", 5) == 0)
        return open_tty(addr);
    if (strncmp(addr, "unix:", 5) == 0)
        return dial_unix(addr + 5);
    if (addr[0] == '/')
        return dial_unix(addr);
    a.sin_port = htons(bench_port(addr));
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return connect(fd, (struct sockaddr *)&a, sizeof a) < 0 ? -errno : fd;
}

int bench_listen(bool unix_socket, char *ret_addr, size_t cap) {
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    socklen_t n = sizeof in;
    int fd;

    if (unix_socket) {
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        snprintf(un.sun_path, sizeof un.sun_path, "%s/%d.sock", bench_dir(), (int)getpid());
        if (bind(fd, (struct sockaddr *)&un, sizeof un) < 0)
            return -errno;
        snprintf(ret_addr, cap, "%s", un.sun_path);
    } else {
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (bind(fd, (struct sockaddr *)&in, sizeof in) < 0 ||
            getsockname(fd, (struct sockaddr *)&in, &n) < 0)
            return -errno;
        snprintf(ret_addr, cap, "127.0.0.1:%u", ntohs(in.sin_port));
    }
    return listen(fd, 64) < 0 ? -errno : fd;
}

int bench_card_counters(const char *ctl, json_t **ret) {
    json_t *request = json_pack("{s:s}", "verb", "counters");
    struct tb_error e = {0};
    struct tb_addr at;
    int r = tb_addr_parse(ctl, &at, &e);

    if (r == 0) {
        *ret = tb_ctl_request(&at, request, 5000, &e);
        r = *ret ? 0 : TB_ECLOSED;
    }
    json_decref(request);
    return r;
}
