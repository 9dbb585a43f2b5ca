#include "pcsc.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <winscard.h>

#include "bench.h"
#include "tb/loop.h"

#define DRIVER "/usr/lib/pcsc/drivers/serial/libifdvpcd.so"
#define SOCKET "/run/pcscd/pcscd.comm"

enum { PORT = 35963, WAIT_MS = 20000 }; /* any port will do: the network is ours alone */

static struct {
    LONG (*establish)(DWORD, LPCVOID, LPCVOID, LPSCARDCONTEXT);
    LONG (*release)(SCARDCONTEXT);
    LONG (*list)(SCARDCONTEXT, LPCSTR, LPSTR, LPDWORD);
    LONG (*status)(SCARDCONTEXT, DWORD, SCARD_READERSTATE *, DWORD);
    LONG (*connect)(SCARDCONTEXT, LPCSTR, DWORD, DWORD, LPSCARDHANDLE, LPDWORD);
    LONG(*transmit)
    (SCARDHANDLE, const SCARD_IO_REQUEST *, LPCBYTE, DWORD, SCARD_IO_REQUEST *, LPBYTE, LPDWORD);
    SCARDCONTEXT context;
    SCARDHANDLE card;
    SCARD_IO_REQUEST protocol;
} pcsc;

/* ---- what has to be there ---- */

static const char *pcscd_program(void) {
    static const char *const places[] = {"/usr/sbin/pcscd", "/usr/bin/pcscd",
                                         "/usr/local/sbin/pcscd"};

    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (access(places[i], X_OK) == 0)
            return places[i];
    return NULL;
}

static bool symbol(void *lib, const char *name, void *fn, size_t size) {
    void *s = dlsym(lib, name);

    memcpy(fn, &s, size); /* ISO C has no conversion from object to function pointer */
    return s != NULL;
}

#define SYMBOL(field, name) symbol(lib, name, &pcsc.field, sizeof pcsc.field)

static bool load_library(void) {
    void *lib = dlopen("libpcsclite.so.1", RTLD_NOW | RTLD_LOCAL);

    return lib && SYMBOL(establish, "SCardEstablishContext") &&
           SYMBOL(release, "SCardReleaseContext") && SYMBOL(list, "SCardListReaders") &&
           SYMBOL(status, "SCardGetStatusChange") && SYMBOL(connect, "SCardConnect") &&
           SYMBOL(transmit, "SCardTransmit");
}

/* ---- namespaces ---- */

static bool write_text(const char *file, const char *text) {
    int fd = open(file, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

    if (fd >= 0)
        close(fd);
    return ok;
}

/* Whoever is not root becomes it, inside. */
static bool unshare_all(void) {
    unsigned uid = getuid(), gid = getgid();
    char map[32];

    if (uid == 0)
        return unshare(CLONE_NEWNS | CLONE_NEWNET) == 0;
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET) < 0)
        return false;
    snprintf(map, sizeof map, "0 %u 1", uid);
    if (!write_text("/proc/self/uid_map", map) || !write_text("/proc/self/setgroups", "deny"))
        return false;
    snprintf(map, sizeof map, "0 %u 1", gid);
    return write_text("/proc/self/gid_map", map);
}

static bool loopback_up(void) {
    struct ifreq request = {.ifr_name = "lo"};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool ok;

    if (fd < 0)
        return false;
    ok = ioctl(fd, SIOCGIFFLAGS, &request) == 0;
    request.ifr_flags |= IFF_UP;
    ok = ok && ioctl(fd, SIOCSIFFLAGS, &request) == 0;
    close(fd);
    return ok;
}

/* libpcsclite looks for its daemon at one fixed place, which therefore becomes ours. */
static bool own_run_folder(void) {
    return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("none", "/run", "tmpfs", 0, "mode=755") == 0 && mkdir("/run/pcscd", 0755) == 0;
}

int bench_pcsc_enter(const char **ret_why) {
    if (!pcscd_program())
        *ret_why = "no pcscd";
    else if (access(DRIVER, R_OK) < 0)
        *ret_why = "no vpcd driver (vsmartcard-vpcd)";
    else if (!load_library())
        *ret_why = "no libpcsclite";
    else if (!unshare_all())
        *ret_why = "namespaces are not permitted here";
    else if (!loopback_up())
        *ret_why = "no loopback in a network of its own";
    else if (!own_run_folder())
        *ret_why = "mounts are not permitted here";
    else
        return 0;
    return TB_EUNSUP;
}

/* ---- the daemon ---- */

static bool write_config(const char *dir) {
    char file[160];
    FILE *f;

    snprintf(file, sizeof file, "%s/card", dir);
    f = mkdir(dir, 0700) == 0 ? fopen(file, "we") : NULL;
    if (!f)
        return false;
    fprintf(f,
            "FRIENDLYNAME \"Bench\"\nDEVICENAME /dev/null:0x%04X\nLIBPATH %s\nCHANNELID 0x%04X\n",
            (unsigned)PORT, DRIVER, (unsigned)PORT);
    return fclose(f) == 0;
}

/* Handed over as systemd does it, so that a client can connect from the start. */
static int listen_for(void) {
    struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = SOCKET};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 16) < 0)
        return -errno;
    return fd;
}

static void run_pcscd(int listener, const char *config) {
    int log = open("/dev/null", O_WRONLY);
    char pid[16];

    bench_child_begins(SIGTERM);
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", "1", 1);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    if (listener == 3)
        fcntl(3, F_SETFD, 0);
    else
        dup2(listener, 3);
    execl(pcscd_program(), "pcscd", "-f", "-c", config, (char *)NULL);
    _exit(127);
}

int bench_pcsc_start(char *ret_addr, size_t cap) {
    char config[128];
    int listener;
    pid_t pid;

    snprintf(config, sizeof config, "%s/reader.conf.d", bench_dir());
    if (!write_config(config))
        return TB_ESTORE;
    listener = listen_for();
    if (listener < 0)
        return listener;
    pid = fork();
    if (pid == 0)
        run_pcscd(listener, config);
    close(listener);
    if (pid < 0)
        return -EAGAIN;
    bench_child(pid);
    snprintf(ret_addr, cap, "127.0.0.1:%d", PORT);
    return 0;
}

/* ---- the client ---- */

/* Blocks until the reader has a card: pcscd tells each change. */
static int wait_for_card(const char *reader) {
    SCARD_READERSTATE state = {.szReader = reader};
    uint64_t end = tb_clock_mono_ms() + tb_timeout_ms(WAIT_MS), now;

    while (!(state.dwEventState & SCARD_STATE_PRESENT)) {
        now = tb_clock_mono_ms();
        if (now >= end || bench_caught_signal())
            return TB_ETIMEOUT;
        state.dwCurrentState = state.dwEventState;
        if (pcsc.status(pcsc.context, (DWORD)(end - now), &state, 1) != SCARD_S_SUCCESS)
            return TB_EPROTO;
    }
    return 0;
}

/* The names of the readers. A pcscd that has just started may not have added its reader yet: the
 * pseudo reader of PC/SC tells when it does. */
static int wait_for_reader(char *names, DWORD cap) {
    uint64_t end = tb_clock_mono_ms() + tb_timeout_ms(WAIT_MS), now;

    for (;;) {
        SCARD_READERSTATE more = {.szReader = "\\\\?PnP?\\Notification"};
        DWORD n = cap;
        LONG r = pcsc.list(pcsc.context, NULL, names, &n);

        if (r == SCARD_S_SUCCESS)
            return 0;
        now = tb_clock_mono_ms();
        if (r != SCARD_E_NO_READERS_AVAILABLE)
            return TB_EPROTO;
        if (now >= end || bench_caught_signal())
            return TB_ETIMEOUT;
        (void)pcsc.status(pcsc.context, (DWORD)(end - now), &more, 1);
    }
}

int bench_pcsc_connect(void) {
    char readers[1024];
    DWORD protocol;
    int r;

    if (pcsc.establish(SCARD_SCOPE_SYSTEM, NULL, NULL, &pcsc.context) != SCARD_S_SUCCESS)
        return TB_EPROTO;
    r = wait_for_reader(readers, sizeof readers);
    if (r == 0)
        r = wait_for_card(readers); /* the first of the driver's two slots */
    if (r < 0)
        return r;
    if (pcsc.connect(pcsc.context, readers, SCARD_SHARE_SHARED, SCARD_PROTOCOL_T1, &pcsc.card,
                     &protocol) != SCARD_S_SUCCESS)
        return TB_EPROTO;
    pcsc.protocol = (SCARD_IO_REQUEST){.dwProtocol = protocol, .cbPciLength = sizeof pcsc.protocol};
    return 0;
}

int bench_pcsc_exchange(void *arg, struct tb_span cmd, struct tb_buf *rsp) {
    DWORD n = (DWORD)(rsp->cap - rsp->n);

    (void)arg;
    if (pcsc.transmit(pcsc.card, &pcsc.protocol, cmd.p, (DWORD)cmd.n, NULL, rsp->p + rsp->n, &n) !=
        SCARD_S_SUCCESS)
        return TB_EPROTO;
    rsp->n += n;
    return 0;
}

void bench_pcsc_close(void) {
    if (pcsc.context)
        (void)pcsc.release(pcsc.context);
    pcsc.context = 0;
}
