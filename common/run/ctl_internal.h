#pragma once
/* Between ctl.c (connections, events) and ctl_server.c (requests, replies). */
#include "tb/ctl.h"

enum { TB_CTL_LINE_MAX = 1 << 16, TB_CTL_REPLY_MAX = TB_CONN_OUT_MAX / 2, TB_CTL_CALLS_MAX = 64 };

struct tb_ctl_peer { /* one control connection */
    struct tb_ctl *ctl;
    struct tb_conn *conn;
    bool subscribed;
    bool ended;   /* no more requests are taken */
    bool blocked; /* it does not read its replies: its requests wait */
    unsigned n_calls;
    struct tb_ctl_call *calls; /* to be answered later */
    struct tb_ctl_peer *next, **prev;
};

struct tb_ctl {
    uv_loop_t *loop;
    struct tb_listener *listener; /* NULL without a socket */
    char *program;
    const struct tb_ctl_verb *verbs;
    void (*on_quit)(void *user);
    void *user;
    struct tb_ctl_peer *peers;
    int event_fd;
    bool closing;
};

/* Takes requests off data; returns how much was used. */
size_t tb_ctl_requests(struct tb_ctl_peer *peer, struct tb_span data);
/* The connection is gone: calls still to be answered forget it. */
void tb_ctl_forget_calls(struct tb_ctl_peer *peer);
/* An already open descriptor becomes a control connection (given). */
int tb_ctl_adopt(struct tb_ctl *ctl, int fd) TB_CHECKED;
