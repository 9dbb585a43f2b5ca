#pragma once
/* The master side of a pseudo terminal that looks like a modem's serial port: raw from the start, a
 * stable symlink, survives clients that come and go. */
#include <stdbool.h>
#include <uv.h>

#include "tb/conn.h"
#include "tb/error.h"

struct tb_pty;

struct tb_pty_ops {
    size_t (*on_data)(struct tb_pty *p, struct tb_span data,
                      void *user); /* as tb_conn_ops.on_data */
    /* The first client opened the slave, or the last one closed it. A client that comes before the
     * last one's departure was noticed continues its session: a real line could not tell them
     * apart, either. Once gone, its unfinished input and its unread output are thrown away and the
     * line is raw again. NULL: not wanted. */
    void (*on_clients)(struct tb_pty *p, bool present, void *user);
    /* As tb_conn_ops.on_drain; also when the client that did not read has gone. NULL: not wanted.
     */
    void (*on_drain)(struct tb_pty *p, void *user);
    void (*on_closed)(int why, void *user);
};

/* The bytes on_data does not consume are kept as a connection keeps them; TB_CONN_IN_MAX of them
 * close the line with TB_ERANGE. link: path of a symlink to the slave, replaced atomically and
 * removed at close; NULL for none. */
int tb_pty_open(uv_loop_t *loop, const char *link, const struct tb_pty_ops *ops, void *user,
                struct tb_pty **ret, struct tb_error *e) TB_CHECKED;
const char *tb_pty_slave(const struct tb_pty *p); /* "/dev/pts/7" */

/* As tb_conn_write(), with two differences. With no client the bytes are dropped, so that the next
 * one does not read old news. And when TB_CONN_OUT_MAX bytes wait for a client that does not read,
 * these are dropped with UV_ENOBUFS but the line stays: that is an overrun, not an end. */
int tb_pty_write(struct tb_pty *p, const struct tb_span *pieces, unsigned n);

/* As tb_conn_pause() and tb_conn_resume(): meanwhile the line fills up, and a client that leaves is
 * not noticed. */
void tb_pty_pause(struct tb_pty *p);
void tb_pty_resume(struct tb_pty *p);
void tb_pty_close(struct tb_pty *p, int why);
