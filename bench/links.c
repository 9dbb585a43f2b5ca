#include "links.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "tb/apdu.h"
#include "tb/hex.h"
#include "tb/vpcd.h"

/* A reader that sleeps in read() on a Unix socket is woken twice for one answer: see libiotsafe's
 * link_read(). */
static int read_some(int fd, int is_at, uint8_t *p, size_t cap) {
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    ssize_t n = is_at && poll(&wait, 1, -1) < 0 ? -1 : read(fd, p, cap);

    return n > 0 ? (int)n : n == 0 ? TB_ECLOSED : -errno;
}

static int write_all(int fd, const uint8_t *p, size_t n) {
    while (n > 0) {
        ssize_t w = write(fd, p, n);

        if (w < 0)
            return -errno;
        p += w;
        n -= (size_t)w;
    }
    return 0;
}

static int exchange_vpcd(int fd, struct tb_span cmd, struct tb_buf *rsp) {
    uint8_t frame[TB_VPCD_HEADER + 4096];
    struct tb_buf out = TB_BUF(frame);
    struct tb_span in, body;
    size_t n = 0;
    int r;

    tb_put_vpcd(&out, cmd);
    r = tb_buf_ok(&out) ? write_all(fd, out.p, out.n) : TB_ESPACE;
    while (r == 0) {
        int got = read_some(fd, 0, frame + n, sizeof frame - n);

        if (got < 0)
            return got;
        n += (size_t)got;
        in = tb_span(frame, n);
        if (tb_vpcd_next(&in, &body) == 1) {
            tb_put(rsp, body);
            break;
        }
    }
    return r;
}

/* Whether text ends with a final result code: 1 OK, -1 an error. */
static int final(const char *text, size_t n) {
    if (n >= 6 && memcmp(text + n - 6, "\r\nOK\r\n", 6) == 0)
        return 1;
    return n >= 7 && memcmp(text + n - 2, "\r\n", 2) == 0 && memmem(text, n, "ERROR", 5) ? -1 : 0;
}

static int command_at(int fd, const char *line, size_t n, char *answer, size_t cap, size_t *ret_n) {
    size_t got = 0;
    int r = write_all(fd, (const uint8_t *)line, n), done = 0;

    while (r == 0 && done == 0) {
        r = got < cap ? read_some(fd, 1, (uint8_t *)answer + got, cap - got) : TB_ESPACE;
        if (r < 0)
            return r;
        got += (size_t)r;
        r = 0;
        done = final(answer, got);
    }
    *ret_n = got;
    return r < 0 ? r : done < 0 ? TB_EPROTO : 0;
}

static int exchange_at(int fd, struct tb_span cmd, struct tb_buf *rsp) {
    uint8_t line[1200];
    char answer[1400];
    struct tb_buf out = TB_BUF(line);
    const char *open, *close_;
    size_t n;
    int r;

    out.n = (size_t)snprintf((char *)line, sizeof line, "AT+CSIM=%zu,\"", 2 * cmd.n);
    tb_put_hex(&out, cmd, TB_HEX_UPPER);
    tb_put(&out, tb_span_str("\"\r"));
    r = tb_buf_ok(&out) ? command_at(fd, (const char *)line, out.n, answer, sizeof answer, &n)
                        : TB_ESPACE;
    if (r < 0)
        return r;
    open = memchr(answer, '"', n);
    close_ = open ? memchr(open + 1, '"', n - (size_t)(open + 1 - answer)) : NULL;
    return close_ ? tb_hex_decode(tb_span(open + 1, (size_t)(close_ - open - 1)), rsp) : TB_EPROTO;
}

int bench_exchange(struct bench_link *l, struct tb_span cmd, struct tb_buf *rsp) {
    rsp->n = 0;
    if (l->call)
        return l->call(l->arg, cmd, rsp);
    return l->is_at ? exchange_at(l->fd, cmd, rsp) : exchange_vpcd(l->fd, cmd, rsp);
}

int bench_expect_ok(struct bench_link *l, struct tb_span cmd) {
    uint8_t room[TB_APDU_MAX_SHORT_RSP];
    struct tb_buf rsp = TB_BUF(room);
    int r = bench_exchange(l, cmd, &rsp);

    if (r < 0)
        return r;
    return rsp.n >= 2 && room[rsp.n - 2] == 0x90 && room[rsp.n - 1] == 0 ? 0 : TB_ECARD;
}

int bench_link_open(struct bench_link *l, const char *addr, int is_at) {
    char answer[256];
    size_t n;

    *l = (struct bench_link){.fd = bench_dial(addr), .is_at = is_at};
    if (l->fd < 0)
        return l->fd;
    return is_at ? command_at(l->fd, "ATE0\r", 5, answer, sizeof answer, &n) : 0;
}
