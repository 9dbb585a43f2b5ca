#pragma once
/* The master side of a pseudo terminal that looks like a modem's serial port: raw from the start, a stable
 * symlink, survives clients that come and go. */
#include <stdbool.h>
#include <uv.h>

#include "tb/conn.h"
#include "tb/error.h"

struct tb_pty;

struct tb_pty_ops {
    size_t (*on_data)(struct tb_pty *p, struct tb_span data, void *user); /* as tb_conn_ops.on_data */
    /* The first client opened the slave, or the last one closed it (inotify, no polling). */
    void (*on_clients)(struct tb_pty *p, bool present, void *user);
    void (*on_closed)(int why, void *user);
};

/* link: path of a symlink to the slave, replaced atomically and removed at close; NULL for none. */
int tb_pty_open(uv_loop_t *loop, const char *link, const struct tb_pty_ops *ops, void *user, struct tb_pty **ret,
                struct tb_error *e) TB_CHECKED;
const char *tb_pty_slave(const struct tb_pty *p); /* "/dev/pts/7" */

/* Queue as tb_conn_write(). With no client the bytes are dropped, so that the next one does not read old news. */
int tb_pty_write(struct tb_pty *p, const struct tb_span *pieces, unsigned n);
void tb_pty_close(struct tb_pty *p, int why);
