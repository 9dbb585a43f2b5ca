#pragma once
/* A byte stream on the loop: TCP, Unix socket, or an already open descriptor. Always ends with
 * exactly one on_closed(), after which the object is gone. TCP_NODELAY is always set: this project
 * never wants Nagle. */
#include <stdbool.h>
#include <uv.h>

#include "tb/error.h"
#include "tb/span.h"

struct tb_conn;

struct tb_conn_ops {
    /* Bytes arrived. Return how many were consumed (0 … data.n): the rest is kept and offered again
     * in front of the next bytes. Keeping TB_CONN_IN_MAX bytes unconsumed closes the connection
     * with TB_ERANGE. May call tb_conn_close(). */
    size_t (*on_data)(struct tb_conn *c, struct tb_span data, void *user);
    /* The write queue has fallen below the low mark again after tb_conn_write() answered 0 for
     * full. NULL: not wanted. */
    void (*on_drain)(struct tb_conn *c, void *user);
    /* The peer sends nothing more (end of stream), but may still read. True: answers are still to
     * come, and the owner calls tb_conn_finish() after them. False, or NULL: the connection ends
     * now, after what is queued. */
    bool (*on_end)(struct tb_conn *c, void *user);
    /* Last call ever: why is what tb_conn_close() was given (0: we wanted it), TB_ECLOSED at end of
     * stream, else the error. Kept bytes are gone. */
    void (*on_closed)(int why, void *user);
};

enum { TB_CONN_IN_MAX = 1 << 17, TB_CONN_OUT_MAX = 1 << 20, TB_CONN_PIECES = 16 };

/* An address as people write it: "host:port", "[::1]:port", "unix:/path" or "/path". ":port" is the
 * loopback address: nothing listens to the world unless told so ("0.0.0.0:port"). */
struct tb_addr {
    bool is_unix;
    char host[256]; /* or the path, at most 107 bytes */
    uint16_t port;
};
int tb_addr_parse(const char *text, struct tb_addr *ret, struct tb_error *e) TB_CHECKED;
/* Writes "127.0.0.1:1234", "[::1]:1234" or "unix:/path". Returns dst. */
char *tb_addr_str(const struct tb_addr *a, char *dst, size_t cap);

typedef void tb_connected_fn(int status, struct tb_conn *c, void *user);

/* Starts connecting; cb is called exactly once, from the loop, with a connection that already has
 * ops and user, or with a negative status and NULL. Numeric hosts and "localhost" (127.0.0.1) only
 * for TCP, else UV_EAI_NONAME at once. The returned handle may be given to tb_conn_cancel() until
 * cb has run; then cb is called with UV_ECANCELED. ret may be NULL. When this call itself fails cb
 * is not called. Nothing is left over from a failed attempt: start the next one when you like, also
 * from cb. */
struct tb_connect;
int tb_conn_connect(uv_loop_t *loop, const struct tb_addr *to, const struct tb_conn_ops *ops,
                    void *user, tb_connected_fn *cb, struct tb_connect **ret) TB_CHECKED;
void tb_conn_cancel(struct tb_connect *c);

/* Takes over fd (socket, pipe or pty master; given to the connection, closed also on failure). */
int tb_conn_open_fd(uv_loop_t *loop, int fd, const struct tb_conn_ops *ops, void *user,
                    struct tb_conn **ret) TB_CHECKED;

/* Writes all of the n (at most TB_CONN_PIECES) pieces as one write. Bytes that the kernel does not
 * take at once are copied. Returns 1 while there is room, 0 when the queue passed its high mark
 * (stop producing until on_drain), or a negative code when the connection is closing,
 * TB_CONN_OUT_MAX would be passed (UV_ENOBUFS: then it closes), or the peer takes nothing more:
 * what it had sent before is still delivered, then on_closed() comes. */
int tb_conn_write(struct tb_conn *c, const struct tb_span *pieces, unsigned n);
size_t tb_conn_queued(const struct tb_conn *c);

/* Stops reading: back-pressure. The peer's close is then noticed only after tb_conn_resume(). */
void tb_conn_pause(struct tb_conn *c);
/* Offers kept bytes again, before it returns or, when called inside on_data, after that returns.
 * Also of use without a pause: after tb_conn_set_ops(), or when the reason to keep bytes is gone.
 */
void tb_conn_resume(struct tb_conn *c);

/* Asynchronous, idempotent; allowed in every callback but on_closed. Queued bytes are thrown away.
 */
void tb_conn_close(struct tb_conn *c, int why);
/* Queued bytes are still sent, then the peer is told the end and given the chance to close first,
 * so that nothing sent is lost; all of it within 1 s. on_data is not called any more, why is 0. */
void tb_conn_finish(struct tb_conn *c);

/* Half a close: after what is queued the peer is told that nothing more comes, and can be read from
 * as before. Writing is over (TB_ECLOSED). When the peer, too, has said all (on_end() answered
 * true) and the last byte is out, the connection closes by itself, and why is 0. */
void tb_conn_end(struct tb_conn *c);

int tb_conn_fd(const struct tb_conn *c); /* for setsockopt; owned by c */
/* Another owner: takes effect with the next callback. */
void tb_conn_set_ops(struct tb_conn *c, const struct tb_conn_ops *ops, void *user);

/* A listening socket. Unix paths: a stale socket file (nobody answers) is replaced, a live one and
 * a file that is no socket are UV_EADDRINUSE; the file is removed at close if it is still ours.
 * Port 0 picks one: see tb_listener_addr(). */
struct tb_listener;
/* Call tb_listener_accept() from here, once; a connection not accepted is closed. */
typedef void tb_accept_fn(struct tb_listener *l, void *user);
int tb_listener_open(uv_loop_t *loop, const struct tb_addr *at, tb_accept_fn *fn, void *user,
                     struct tb_listener **ret) TB_CHECKED;
int tb_listener_accept(struct tb_listener *l, const struct tb_conn_ops *ops, void *user,
                       struct tb_conn **ret) TB_CHECKED;
const struct tb_addr *tb_listener_addr(const struct tb_listener *l); /* the real one */
void tb_listener_close(struct tb_listener *l);                       /* frees itself */
