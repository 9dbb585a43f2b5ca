/* APDU captures. spec: pcapng (draft-ietf-opsawg-pcapng) sections 4.1, 4.2, 4.3; GSMTAP version 2.
 */
#include "tb/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "mem.h"
#include "tb/log.h"

enum {
    LINKTYPE_RAW = 101, /* packets begin with the IP header */
    GSMTAP_PORT = 4729,
    GSMTAP_SIM = 4,
    IP_HEADER = 20,
    UDP_HEADER = 8,
    GSMTAP_HEADER = 16,
    HEADERS = IP_HEADER + UDP_HEADER + GSMTAP_HEADER,
    MAX_PACKET = 65535, /* an IPv4 packet's */
    MAX_COMMENT = 255,
    EPB_FIXED = 28, /* an enhanced packet block before its packet */
};

struct tb_trace {
    int fd;
    char *program;
};

/* pcapng is in the byte order of whoever writes it. */
static void put_host(struct tb_buf *b, const void *value, size_t n) {
    tb_put(b, tb_span(value, n));
}

static void put_u16(struct tb_buf *b, uint16_t v) {
    put_host(b, &v, sizeof v);
}

static void put_u32(struct tb_buf *b, uint32_t v) {
    put_host(b, &v, sizeof v);
}

static void put_zeros(struct tb_buf *b, size_t n) {
    while (n-- > 0)
        tb_put_u8(b, 0);
}

static size_t pad4(size_t n) {
    return (4 - n % 4) % 4;
}

static void put_option(struct tb_buf *b, uint16_t code, struct tb_span value) {
    put_u16(b, code);
    put_u16(b, (uint16_t)value.n);
    tb_put(b, value);
    put_zeros(b, pad4(value.n));
}

/* Section header and one interface; the same bytes whichever program makes the file, so that any of
 * them can tell a file of ours. */
static void put_file_header(struct tb_buf *b) {
    const struct tb_span application = tb_span_str("IoT SAFE testbed");
    const struct tb_span name = tb_span_str("apdu");
    uint32_t section = 28 + 4 + 16 + 4, interface = 20 + 8 + 8 + 4;

    put_u32(b, 0x0A0D0D0A); /* section header block */
    put_u32(b, section);
    put_u32(b, 0x1A2B3C4D);
    put_u16(b, 1);
    put_u16(b, 0);
    put_u32(b, UINT32_MAX); /* length of the section: open */
    put_u32(b, UINT32_MAX);
    put_option(b, 4, application); /* shb_userappl */
    put_option(b, 0, TB_SPAN_NONE);
    put_u32(b, section);
    put_u32(b, 1); /* interface description block */
    put_u32(b, interface);
    put_u16(b, LINKTYPE_RAW);
    put_u16(b, 0);
    put_u32(b, 0);                 /* no limit on packets */
    put_option(b, 2, name);        /* if_name */
    put_option(b, 9, TB_BYTES(9)); /* if_tsresol: nanoseconds */
    put_option(b, 0, TB_SPAN_NONE);
    put_u32(b, interface);
}

/* The file begins with our header, or gets it when it is empty. The lock covers the moment between
 * the two for programs that start together; records need none. */
static int begin_file(int fd, const char *path, struct tb_error *e) {
    uint8_t bytes[128], found[128];
    struct tb_buf header = TB_BUF(bytes);
    struct stat st;
    ssize_t n;
    int r = 0;

    put_file_header(&header);
    if (flock(fd, LOCK_EX) < 0 || fstat(fd, &st) < 0)
        return tb_error_set(e, -errno, path, 0, "cannot append: %s", strerror(errno));
    if (st.st_size == 0) {
        n = write(fd, bytes, header.n);
        if (n != (ssize_t)header.n)
            r = tb_error_set(e, n < 0 ? -errno : -ENOSPC, path, 0, "cannot write");
    } else {
        n = pread(fd, found, header.n, 0);
        if (n != (ssize_t)header.n || memcmp(bytes, found, header.n) != 0)
            r = tb_error_set(e, TB_EPROTO, path, 0, "exists and is no capture of this testbed");
    }
    flock(fd, LOCK_UN);
    return r;
}

int tb_trace_open(const char *path, const char *program, struct tb_trace **ret,
                  struct tb_error *e) {
    int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0644), r;
    struct tb_trace *t;

    if (fd < 0)
        return tb_error_set(e, -errno, path, 0, "cannot open: %s", strerror(errno));
    r = begin_file(fd, path, e);
    if (r < 0) {
        close(fd);
        return r;
    }
    t = tb_xcalloc(1, sizeof *t);
    *t = (struct tb_trace){fd, tb_xstrdup(program)};
    *ret = t;
    return 0;
}

/* spec: RFC 1071: ones' complement sum of 16-bit words. n is even. */
static uint16_t checksum(const uint8_t *p, size_t n) {
    uint32_t sum = 0;

    for (size_t i = 0; i < n; i += 2)
        sum += (uint32_t)(p[i] << 8 | p[i + 1]);
    while (sum >> 16)
        sum = (sum & 0xFFFF) + (sum >> 16);
    return (uint16_t)~sum;
}

/* IPv4, UDP (checksum 0: none), GSMTAP in front of a payload of n bytes. */
static void put_headers(struct tb_buf *b, size_t n) {
    const struct tb_span loopback = TB_BYTES(127, 0, 0, 1);
    uint8_t bytes[IP_HEADER];
    struct tb_buf ip = TB_BUF(bytes);
    uint16_t sum;

    tb_put(&ip, TB_BYTES(0x45, 0));
    tb_put_be16(&ip, (uint16_t)(HEADERS + n));
    tb_put(&ip, TB_BYTES(0, 0, 0x40, 0, 64, 17, 0, 0)); /* don't fragment, TTL 64, UDP */
    tb_put(&ip, loopback);
    tb_put(&ip, loopback);
    sum = checksum(bytes, sizeof bytes);
    bytes[10] = (uint8_t)(sum >> 8);
    bytes[11] = (uint8_t)sum;
    tb_put(b, tb_buf_span(&ip));
    tb_put_be16(b, GSMTAP_PORT);
    tb_put_be16(b, GSMTAP_PORT);
    tb_put_be16(b, (uint16_t)(UDP_HEADER + GSMTAP_HEADER + n));
    tb_put_be16(b, 0);
    tb_put(b, TB_BYTES(2, GSMTAP_HEADER / 4, GSMTAP_SIM)); /* version, length in words, type */
    put_zeros(b, GSMTAP_HEADER - 3);                       /* sub type 0: APDU */
}

/* An enhanced packet block around a packet of n bytes: what comes before it. */
static void put_block_head(struct tb_buf *b, size_t block, size_t n) {
    struct timespec now;
    uint64_t ns;

    clock_gettime(CLOCK_REALTIME,
                  &now); /* not the scenario's clock: other captures are to be merged */
    ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    put_u32(b, 6);
    put_u32(b, (uint32_t)block);
    put_u32(b, 0); /* interface */
    put_u32(b, (uint32_t)(ns >> 32));
    put_u32(b, (uint32_t)ns);
    put_u32(b, (uint32_t)n);
    put_u32(b, (uint32_t)n);
}

/* ... and what comes after it, but for the closing length. */
static void put_block_tail(struct tb_buf *b, size_t n, const char *comment) {
    put_zeros(b, pad4(n));
    put_option(b, 1, tb_span_str(comment)); /* opt_comment */
    put_option(b, 0, TB_SPAN_NONE);
}

/* One write per record: several programs append to one file, each record stays whole. */
static void write_record(struct tb_trace *t, const struct tb_span *pieces, int n, size_t total) {
    struct iovec iov[4];
    ssize_t w;

    for (int i = 0; i < n; i++)
        iov[i] = (struct iovec){tb_unconst(pieces[i].p), pieces[i].n};
    w = writev(t->fd, iov, n);
    if (w >= 0 && (size_t)w == total)
        return;
    tb_error_log("trace", "the capture is given up: %s", w < 0 ? strerror(errno) : "disk full");
    close(t->fd);
    t->fd = -1;
}

void tb_trace_apdu(struct tb_trace *t, struct tb_span cmd, struct tb_span rsp,
                   const char *comment) {
    uint8_t head_bytes[EPB_FIXED + HEADERS], tail_bytes[3 + 4 + MAX_COMMENT + 3 + 4 + 4];
    struct tb_buf head = TB_BUF(head_bytes), tail = TB_BUF(tail_bytes);
    char text[MAX_COMMENT + 1];
    size_t n, block;

    if (!t || t->fd < 0)
        return;
    /* An extended exchange can be longer than an IP packet: then its end is missing. */
    cmd = tb_span_sub(cmd, 0, MAX_PACKET - HEADERS);
    rsp = tb_span_sub(rsp, 0, MAX_PACKET - HEADERS - cmd.n);
    n = HEADERS + cmd.n + rsp.n;
    snprintf(text, sizeof text, comment && *comment ? "%s: %s" : "%s", t->program, comment);
    put_block_tail(&tail, n, text);
    block = EPB_FIXED + n + tail.n + 4;
    put_u32(&tail, (uint32_t)block);
    put_block_head(&head, block, n);
    put_headers(&head, cmd.n + rsp.n);
    write_record(t, (const struct tb_span[]){tb_buf_span(&head), cmd, rsp, tb_buf_span(&tail)}, 4,
                 block);
}

void tb_trace_close(struct tb_trace *t) {
    if (!t)
        return;
    if (t->fd >= 0)
        close(t->fd);
    free(t->program);
    free(t);
}
