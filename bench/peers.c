#include "peers.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>
#include <uv.h>

#include "bench.h"
#include "tb/hex.h"
#include "tb/vpcd.h"

static void nodelay(uv_stream_t *s) {
    int one = 1, fd = -1;

    if (uv_fileno((uv_handle_t *)s, &fd) == 0)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static void tell(int fd, const char *text) {
    if (dprintf(fd, "%s\n", text) < 0)
        _exit(1);
    close(fd);
}

static void write_all(uv_stream_t *s, const uint8_t *p, size_t n) {
    uv_buf_t b = uv_buf_init((char *)(uintptr_t)p, (unsigned)n);

    if (uv_try_write(s, &b, 1) != (int)n)
        _exit(1); /* one exchange at a time always fits */
}

/* ---- echo card ---- */

static struct {
    uint8_t in[TB_VPCD_MAX + TB_VPCD_HEADER];
    size_t n;
} card;

static void alloc_card(uv_handle_t *h, size_t want, uv_buf_t *buf) {
    (void)h;
    (void)want;
    *buf = uv_buf_init((char *)card.in + card.n, (unsigned)(sizeof card.in - card.n));
}

static void answer(uv_stream_t *s, struct tb_span frame) {
    static const uint8_t atr[] = {0x3B, 0x80, 0x01, 0x81};
    uint8_t out[TB_VPCD_HEADER + BENCH_ECHO_BYTES + 2] = {0, BENCH_ECHO_BYTES + 2};

    if (frame.n >= 4) {
        memset(out + TB_VPCD_HEADER, 0x5A, BENCH_ECHO_BYTES);
        out[sizeof out - 2] = 0x90;
        write_all(s, out, sizeof out);
    } else if (frame.n == 1 && frame.p[0] == TB_VPCD_GET_ATR) {
        out[1] = sizeof atr;
        memcpy(out + TB_VPCD_HEADER, atr, sizeof atr);
        write_all(s, out, TB_VPCD_HEADER + sizeof atr);
    }
}

static void on_card_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf) {
    struct tb_span in, frame;

    (void)buf;
    if (n < 0)
        _exit(0);
    card.n += (size_t)n;
    in = tb_span(card.in, card.n);
    while (tb_vpcd_next(&in, &frame) == 1)
        answer(s, frame);
    memmove(card.in, in.p, in.n);
    card.n = in.n;
}

static void on_card_connected(uv_connect_t *req, int status) {
    if (status < 0)
        _exit(1);
    nodelay(req->handle);
    uv_read_start(req->handle, alloc_card, on_card_read);
}

void bench_echo_card_dial(int fd, void *arg) {
    uv_connect_t req;
    struct sockaddr_in at;
    uv_loop_t loop;
    uv_tcp_t tcp;

    uv_loop_init(&loop);
    uv_tcp_init(&loop, &tcp);
    uv_ip4_addr("127.0.0.1", bench_port(arg), &at);
    uv_tcp_connect(&req, &tcp, (struct sockaddr *)&at, on_card_connected);
    tell(fd, "dialled");
    uv_run(&loop, UV_RUN_DEFAULT);
}

static void on_card_accept(uv_stream_t *server, int status) {
    uv_tcp_t *tcp = malloc(sizeof *tcp);

    if (status < 0 || !tcp)
        _exit(1);
    uv_tcp_init(server->loop, tcp);
    if (uv_accept(server, (uv_stream_t *)tcp) < 0)
        _exit(1);
    nodelay((uv_stream_t *)tcp);
    uv_read_start((uv_stream_t *)tcp, alloc_card, on_card_read);
}

void bench_echo_card_listen(int fd, void *arg) {
    char addr[64];
    uv_loop_t loop;
    uv_tcp_t tcp;

    (void)arg;
    uv_loop_init(&loop);
    uv_tcp_init(&loop, &tcp);
    uv_tcp_open(&tcp, bench_listen(false, addr, sizeof addr));
    uv_listen((uv_stream_t *)&tcp, 4, on_card_accept);
    tell(fd, addr);
    uv_run(&loop, UV_RUN_DEFAULT);
}

/* ---- bare line modem ---- */

static struct {
    uv_stream_t *te, *card;
    uint8_t line[2048];
    size_t line_n;
    uint8_t in[TB_VPCD_MAX + TB_VPCD_HEADER];
    size_t in_n;
} modem;

static void alloc_te(uv_handle_t *h, size_t want, uv_buf_t *buf) {
    (void)h;
    (void)want;
    *buf = uv_buf_init((char *)modem.line + modem.line_n,
                       (unsigned)(sizeof modem.line - modem.line_n));
}

/* AT+CSIM=n,"hex" CR: the hex becomes a frame. */
static void on_te_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf) {
    uint8_t frame[TB_VPCD_HEADER + 300];
    struct tb_buf out = tb_buf(frame + TB_VPCD_HEADER, sizeof frame - TB_VPCD_HEADER);
    const uint8_t *open, *close_;

    (void)buf;
    (void)s;
    if (n < 0)
        _exit(0);
    modem.line_n += (size_t)n;
    if (modem.line_n == 0 || modem.line[modem.line_n - 1] != '\r')
        return;
    open = memchr(modem.line, '"', modem.line_n);
    close_ = open ? memchr(open + 1, '"', modem.line_n - (size_t)(open + 1 - modem.line)) : NULL;
    if (!close_ || tb_hex_decode(tb_span(open + 1, (size_t)(close_ - open - 1)), &out) < 0)
        _exit(1);
    modem.line_n = 0;
    frame[0] = (uint8_t)(out.n >> 8);
    frame[1] = (uint8_t)out.n;
    write_all(modem.card, frame, out.n + TB_VPCD_HEADER);
}

static void alloc_reader(uv_handle_t *h, size_t want, uv_buf_t *buf) {
    (void)h;
    (void)want;
    *buf = uv_buf_init((char *)modem.in + modem.in_n, (unsigned)(sizeof modem.in - modem.in_n));
}

static void on_reader_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf) {
    uint8_t text[1200];
    struct tb_buf out = TB_BUF(text);
    struct tb_span in, frame;

    (void)s;
    (void)buf;
    if (n < 0)
        _exit(0);
    modem.in_n += (size_t)n;
    in = tb_span(modem.in, modem.in_n);
    if (tb_vpcd_next(&in, &frame) != 1)
        return;
    modem.in_n = 0;
    out.n = (size_t)snprintf((char *)text, sizeof text, "\r\n+CSIM: %zu,\"", 2 * frame.n);
    tb_put_hex(&out, frame, TB_HEX_UPPER);
    tb_put(&out, tb_span_str("\"\r\n\r\nOK\r\n"));
    write_all(modem.te, text, out.n);
}

static void on_reader_accept(uv_stream_t *server, int status) {
    uv_tcp_t *tcp = malloc(sizeof *tcp);

    if (status < 0 || !tcp)
        _exit(1);
    uv_tcp_init(server->loop, tcp);
    if (uv_accept(server, (uv_stream_t *)tcp) < 0)
        _exit(1);
    nodelay((uv_stream_t *)tcp);
    modem.card = (uv_stream_t *)tcp;
    uv_read_start(modem.card, alloc_reader, on_reader_read);
}

static void on_te_accept(uv_stream_t *server, int status) {
    uv_pipe_t *pipe = malloc(sizeof *pipe);

    if (status < 0 || !pipe)
        _exit(1);
    uv_pipe_init(server->loop, pipe, 0);
    if (uv_accept(server, (uv_stream_t *)pipe) < 0)
        _exit(1);
    modem.te = (uv_stream_t *)pipe;
    uv_read_start(modem.te, alloc_te, on_te_read);
}

static int open_pty(char *name, size_t cap) {
    int master = posix_openpt(O_RDWR | O_NOCTTY), slave;
    struct termios raw;

    if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0 ||
        ptsname_r(master, name, cap) != 0)
        _exit(1);
    slave = open(name, O_RDWR | O_NOCTTY); /* kept open: the master never sees a hang-up */
    if (slave < 0 || tcgetattr(slave, &raw) < 0)
        _exit(1);
    cfmakeraw(&raw);
    tcsetattr(slave, TCSANOW, &raw);
    return master;
}

void bench_bare_modem(int fd, void *arg) {
    char vpcd[64], te[128], both[256];
    uv_loop_t loop;
    uv_pipe_t pipe;
    uv_tcp_t tcp;

    uv_loop_init(&loop);
    uv_tcp_init(&loop, &tcp);
    uv_tcp_open(&tcp, bench_listen(false, vpcd, sizeof vpcd));
    uv_listen((uv_stream_t *)&tcp, 1, on_reader_accept);
    uv_pipe_init(&loop, &pipe, 0);
    if (strcmp(arg, "pty") == 0) {
        uv_pipe_open(&pipe, open_pty(te, sizeof te));
        modem.te = (uv_stream_t *)&pipe;
        uv_read_start(modem.te, alloc_te, on_te_read);
    } else {
        uv_pipe_open(&pipe, bench_listen(true, te, sizeof te));
        uv_listen((uv_stream_t *)&pipe, 4, on_te_accept);
    }
    snprintf(both, sizeof both, "%s %s", vpcd, te);
    tell(fd, both);
    uv_run(&loop, UV_RUN_DEFAULT);
    modem.te = modem.card = NULL;
}
