/* A pseudo terminal whose master side knows when clients come and go.
 *
 * Coming: inotify says that the slave was opened. Leaving: the kernel says so itself, by EIO on the
 * master once the last slave descriptor is closed. That is why we hold no slave open, and do not
 * watch the master while nobody is there (it would report its hang-up for ever). Counting IN_OPEN
 * against IN_CLOSE would be wrong: inotify merges equal events that follow each other. Settings and
 * window of the slave live as long as the master does. */
#include "tb/pty.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <termios.h>
#include <unistd.h>

#include "buffer.h"
#include "mem.h"

enum { HIGH_MARK = 1 << 16, LOW_MARK = 1 << 14, PIECES = TB_CONN_PIECES };

struct tb_pty {
    uv_poll_t master, opens;
    int master_fd, opens_fd;
    unsigned open; /* handles whose close callback is still to come */
    bool closing, present, paused, full, offering, offer_again;
    int why;
    char slave[64];
    char *link; /* NULL without one, or before it is ours */
    const struct tb_pty_ops *ops;
    void *user;
    struct tb_inbuf in;
    struct tb_outbuf out;
};

static void free_pty(struct tb_pty *p) {
    if (p->master_fd >= 0)
        close(p->master_fd);
    if (p->opens_fd >= 0)
        close(p->opens_fd);
    tb_inbuf_done(&p->in);
    tb_outbuf_done(&p->out);
    free(p->link);
    free(p);
}

static void on_handle_closed(uv_handle_t *h) {
    struct tb_pty *p = h->data;

    if (--p->open > 0)
        return;
    p->ops->on_closed(p->why, p->user);
    free_pty(p);
}

/* Somebody else may have put a link of the same name there since. */
static void remove_link(const struct tb_pty *p) {
    char target[sizeof p->slave + 1] = "";
    ssize_t n = p->link ? readlink(p->link, target, sizeof target - 1) : -1;

    if (n > 0 && strcmp(target, p->slave) == 0)
        unlink(p->link);
}

void tb_pty_close(struct tb_pty *p, int why) {
    if (p->closing)
        return;
    p->closing = true;
    p->why = why;
    remove_link(p);
    uv_close((uv_handle_t *)&p->master, on_handle_closed);
    uv_close((uv_handle_t *)&p->opens, on_handle_closed);
}

/* Raw, as tty drivers of modems are: no echo, no translation, no signals. On Linux the settings of
 * a slave can be changed through its master. TCSAFLUSH also throws away what the slave has not
 * read. */
static int make_raw(int master_fd) {
    struct termios t;

    if (tcgetattr(master_fd, &t) < 0)
        return -errno;
    cfmakeraw(&t);
    t.c_cflag |= CLOCAL | CREAD;
    t.c_cc[VMIN] = 1;
    t.c_cc[VTIME] = 0;
    cfsetspeed(&t, B115200);
    if (tcflush(master_fd, TCOFLUSH) < 0 || tcsetattr(master_fd, TCSAFLUSH, &t) < 0)
        return -errno;
    return 0;
}

static void on_master(uv_poll_t *poll, int status, int events);

/* Input unless paused, output while some waits. */
static void watch_master(struct tb_pty *p) {
    int events = (p->paused ? 0 : UV_READABLE) | (p->out.n > 0 ? UV_WRITABLE : 0);
    int r = events ? uv_poll_start(&p->master, events, on_master) : uv_poll_stop(&p->master);

    assert(r == 0);
    (void)r;
}

static void tell_drained(struct tb_pty *p) {
    if (!p->full || p->closing || p->out.n >= LOW_MARK)
        return;
    p->full = false;
    if (p->ops->on_drain)
        p->ops->on_drain(p, p->user);
}

static void set_present(struct tb_pty *p, bool present) {
    p->present = present;
    p->paused = false;
    if (present) {
        watch_master(p);
    } else {
        uv_poll_stop(&p->master);
        /* The next client gets neither half a command of this one nor its unread answers, and a
         * raw line again. */
        tb_inbuf_drop(&p->in);
        tb_outbuf_done(&p->out);
        (void)make_raw(p->master_fd);
    }
    if (p->ops->on_clients)
        p->ops->on_clients(p, present, p->user);
    tell_drained(p);
}

/* Offers the kept bytes; a resume inside on_data is served after it. */
static void offer(struct tb_pty *p) {
    if (p->offering) {
        p->offer_again = true;
        return;
    }
    p->offering = true;
    do {
        struct tb_span data = tb_inbuf_kept(&p->in);

        p->offer_again = false;
        if (data.n > 0 && !p->paused && !p->closing) {
            size_t used = p->ops->on_data(p, data, p->user);

            assert(used <= data.n);
            p->in.start += used;
        }
    } while (p->offer_again);
    p->offering = false;
    if (!p->paused && tb_inbuf_kept(&p->in).n >= TB_CONN_IN_MAX)
        tb_pty_close(p, TB_ERANGE);
}

void tb_pty_pause(struct tb_pty *p) {
    if (p->paused || p->closing || !p->present)
        return;
    p->paused = true;
    watch_master(p);
}

void tb_pty_resume(struct tb_pty *p) {
    if (p->closing || !p->present)
        return;
    if (p->paused) {
        p->paused = false;
        watch_master(p);
    }
    offer(p);
}

static void read_master(struct tb_pty *p) {
    size_t room;
    uint8_t *at = tb_inbuf_room(&p->in, &room);
    ssize_t n = read(p->master_fd, at, room);

    if (n > 0) {
        tb_inbuf_filled(&p->in, (size_t)n);
        offer(p);
    } else if (n < 0 && errno == EIO) {
        set_present(p, false); /* all input has been read: EIO comes after the last byte */
    } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
        tb_pty_close(p, -errno);
    }
}

static bool hung_up(const struct tb_pty *p) {
    struct pollfd now = {.fd = p->master_fd};

    return poll(&now, 1, 0) == 1 && (now.revents & POLLHUP);
}

/* Writes what is queued; what the slave has no room for stays. */
static void write_master(struct tb_pty *p) {
    ssize_t n = write(p->master_fd, p->out.p, p->out.n);

    if (n < 0 && errno != EAGAIN && errno != EINTR && errno != EIO) {
        tb_pty_close(p, -errno);
        return;
    }
    if (n > 0) {
        p->out.n -= (size_t)n;
        memmove(p->out.p, p->out.p + n, p->out.n);
    } else if (hung_up(p)) {
        /* The client left while we were not reading. Its last words are still to be read, so it is
         * not gone yet, but nobody will make room any more: waiting for it would spin. */
        p->out.n = 0;
    }
    if (p->out.n == 0) {
        tb_outbuf_done(&p->out);
        watch_master(p);
    }
    tell_drained(p);
}

static void on_master(uv_poll_t *poll, int status, int events) {
    struct tb_pty *p = poll->data;

    if (status < 0 || ((events & UV_READABLE) && !p->paused))
        read_master(p); /* an error tells its name there */
    if ((events & UV_WRITABLE) && p->present && !p->closing && p->out.n > 0)
        write_master(p);
}

/* The slave was opened: present, unless that client has gone again without leaving anything. */
static void on_open(uv_poll_t *handle, int status, int events) {
    struct tb_pty *p = handle->data;
    struct pollfd now = {.fd = p->master_fd, .events = POLLIN};
    char buf[4096];

    (void)status;
    (void)events;
    while (read(p->opens_fd, buf, sizeof buf) > 0) /* that it happened is all we need */
        ;
    if (p->present || p->closing)
        return;
    if (poll(&now, 1, 0) == 1 && (now.revents & (POLLIN | POLLHUP)) == POLLHUP)
        return;
    set_present(p, true);
}

static int open_master(struct tb_pty *p) {
    int r;

    p->master_fd = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (p->master_fd < 0 || grantpt(p->master_fd) < 0 || unlockpt(p->master_fd) < 0)
        return -errno;
    r = ptsname_r(p->master_fd, p->slave, sizeof p->slave);
    return r != 0 ? -r : make_raw(p->master_fd);
}

static int watch_opens(struct tb_pty *p) {
    p->opens_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (p->opens_fd < 0 || inotify_add_watch(p->opens_fd, p->slave, IN_OPEN) < 0)
        return -errno;
    return 0;
}

/* Makes the link beside its place and moves it there: whoever looks finds the old one or the new
 * one. */
static int publish(struct tb_pty *p, const char *link, struct tb_error *e) {
    struct stat st;
    char *temp;
    int r = 0;

    if (lstat(link, &st) == 0 && !S_ISLNK(st.st_mode))
        return tb_error_set(e, -EEXIST, link, 0, "exists and is no symbolic link");
    if (asprintf(&temp, "%s.%d", link, (int)getpid()) < 0)
        abort();
    if (symlink(p->slave, temp) < 0 || rename(temp, link) < 0) {
        r = tb_error_set(e, -errno, link, 0, "cannot make the symbolic link: %s", strerror(errno));
        unlink(temp);
    } else {
        p->link = tb_xstrdup(link);
    }
    free(temp);
    return r;
}

static void start_poll(uv_loop_t *loop, struct tb_pty *p, uv_poll_t *poll, int fd) {
    int r = uv_poll_init(loop, poll, fd);

    assert(r == 0); /* fails only for what epoll cannot watch */
    (void)r;
    poll->data = p;
    p->open++;
}

int tb_pty_open(uv_loop_t *loop, const char *link, const struct tb_pty_ops *ops, void *user,
                struct tb_pty **ret, struct tb_error *e) {
    struct tb_pty *p = tb_xcalloc(1, sizeof *p);
    int r;

    *p = (struct tb_pty){.master_fd = -1, .opens_fd = -1, .ops = ops, .user = user};
    r = open_master(p);
    if (r == 0)
        r = watch_opens(p);
    if (r < 0)
        tb_error_set(e, r, NULL, 0, "cannot open a pseudo terminal: %s", tb_strerror(r));
    else if (link)
        r = publish(p, link, e);
    if (r < 0) {
        free_pty(p);
        return r;
    }
    start_poll(loop, p, &p->master, p->master_fd);
    start_poll(loop, p, &p->opens, p->opens_fd);
    r = uv_poll_start(&p->opens, UV_READABLE, on_open);
    assert(r == 0);
    *ret = p;
    return 0;
}

const char *tb_pty_slave(const struct tb_pty *p) {
    return p->slave;
}

int tb_pty_write(struct tb_pty *p, const struct tb_span *pieces, unsigned n) {
    struct iovec iov[PIECES];
    size_t total = 0, done = 0;

    assert(n <= PIECES);
    if (p->closing)
        return TB_ECLOSED;
    if (!p->present)
        return 1;
    for (unsigned i = 0; i < n; i++) {
        iov[i].iov_base = tb_unconst(pieces[i].p);
        iov[i].iov_len = pieces[i].n;
        total += pieces[i].n;
    }
    if (p->out.n == 0 && total > 0) {
        ssize_t w = writev(p->master_fd, iov, (int)n);

        if (w < 0 && errno == EIO)
            return 1; /* the client has gone; we shall hear of it next */
        if (w < 0 && errno != EAGAIN && errno != EINTR) {
            int r = -errno;

            tb_pty_close(p, r);
            return r;
        }
        done = w > 0 ? (size_t)w : 0;
    }
    if (done == total)
        return !p->full;
    if (total - done > TB_CONN_OUT_MAX - p->out.n)
        return UV_ENOBUFS;
    tb_outbuf_append(&p->out, pieces, n, done);
    watch_master(p);
    if (p->out.n > HIGH_MARK)
        p->full = true;
    return !p->full;
}
