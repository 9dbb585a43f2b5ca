#pragma once
/* How connect.c and listener.c make connections. */
#include <sys/socket.h>
#include <sys/un.h>

#include "buffer.h"
#include "tb/conn.h"
#include "tb/loop.h"

struct tb_conn {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } u;
    uv_write_t write;          /* one at a time: flying */
    uv_shutdown_t shutdown;    /* for tb_conn_finish() */
    struct tb_deadline linger; /* a handle only from tb_conn_finish() on */
    unsigned open;             /* handles whose close callback is still to come */
    bool closing, finishing, paused;
    bool ended;    /* we have said all: tb_conn_end() */
    bool at_eof;   /* the peer has said all it had to say */
    bool writing;  /* flying belongs to libuv */
    bool full;     /* the writer was told to wait for on_drain */
    bool offering; /* on_data is on the stack */
    bool offer_again;
    int why;
    int deaf;                      /* the peer takes nothing more: why; 0 while it does */
    const struct tb_conn_ops *ops; /* NULL until the owner has the object */
    void *user;
    struct tb_inbuf in;
    struct tb_outbuf flying, waiting;
};

struct tb_conn *tb_conn_new_tcp(uv_loop_t *loop);
struct tb_conn *tb_conn_new_pipe(uv_loop_t *loop);
/* The stream is open: from here on the owner hears of data and of the end. */
void tb_conn_begin(struct tb_conn *c, const struct tb_conn_ops *ops, void *user);

/* Socket address of a TCP address, or UV_EAI_NONAME when the host is neither numeric nor localhost.
 */
int tb_addr_sockaddr(const struct tb_addr *a, struct sockaddr_storage *ret) TB_CHECKED;
void tb_addr_from_sockaddr(const struct sockaddr_storage *sa, struct tb_addr *ret);
/* Socket address of a Unix path, or UV_ENAMETOOLONG. */
int tb_addr_sockaddr_un(const struct tb_addr *a, struct sockaddr_un *ret) TB_CHECKED;
