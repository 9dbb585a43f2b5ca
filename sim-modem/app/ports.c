/* AT endpoints. A pty is one port for all its life; each TCP or Unix connection is a port of its
 * own. */
#include <assert.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app.h"
#include "tb/log.h"
#include "uart.h"

struct endpoint {
    struct endpoint *next;
    struct app *app;
    enum endpoint_kind kind;
    struct tb_listener *listener;
    struct port *pty;
    char *text;
};

struct port {
    struct port *next;
    struct app *app;
    struct at_channel *ch;
    struct uart_line *line;
    bool finishing;       /* all is answered, but the line still carries it */
    struct tb_conn *conn; /* one of the two */
    struct tb_pty *pty;
    char name[32];
    bool tcp;
};

static const char *const kind_names[] = {"pty", "tcp", "unix"};

static void *xcalloc(size_t size) {
    void *p = calloc(1, size);

    if (!p)
        abort();
    return p;
}

static void tell(const struct port *p, const char *state) {
    tb_debug("at", "%s %s", p->name, state);
    app_event(p->app, "at-client", json_pack("{s:s,s:s}", "port", p->name, "state", state));
}

/* ---- Between channel and stream, the serial line in between ---- */

static int on_write(struct tb_span bytes, void *user) {
    return uart_output(((struct port *)user)->line, bytes);
}

static int line_output(struct tb_span bytes, void *user) {
    struct port *p = user;
    int r = p->pty ? tb_pty_write(p->pty, &bytes, 1) : tb_conn_write(p->conn, &bytes, 1);

    /* A pty that overran dropped the bytes and will drain; a connection that failed is closing. */
    return r > 0;
}

static void on_ready(void *user) {
    struct port *p = user;

    if (p->pty)
        tb_pty_resume(p->pty);
    else
        tb_conn_resume(p->conn);
}

static void on_done(void *user) {
    struct port *p = user;

    p->finishing = uart_pending(p->line);
    if (!p->finishing)
        tb_conn_finish(p->conn);
}

static size_t line_input(struct tb_span bytes, void *user) {
    return at_channel_input(((struct port *)user)->ch, bytes);
}

static bool line_echoes(void *user) {
    return at_channel_echoes(((struct port *)user)->ch);
}

static void line_flushed(void *user) {
    struct port *p = user;

    if (p->finishing)
        tb_conn_finish(p->conn);
    else
        at_channel_drained(p->ch);
}

static const struct uart_ops line_ops = {.input = line_input,
                                         .echoes = line_echoes,
                                         .output = line_output,
                                         .offer = on_ready,
                                         .flushed = line_flushed};

static const struct at_channel_ops channel_ops = {
    .write = on_write, .ready = on_ready, .done = on_done};

static size_t on_conn_data(struct tb_conn *c, struct tb_span data, void *user) {
    struct port *p = user;
    size_t n = uart_input(p->line, data);

    if (n < data.n)
        tb_conn_pause(c);
    else if (p->tcp && at_channel_typing(p->ch))
        ack_now(tb_conn_fd(c));
    return n;
}

static size_t on_pty_data(struct tb_pty *pty, struct tb_span data, void *user) {
    struct port *p = user;
    size_t n = uart_input(p->line, data);

    if (n < data.n)
        tb_pty_pause(pty);
    return n;
}

/* `printf 'AT+CIMI\r' | socat - UNIX:…`: the TE has said all it wanted and waits for the answer. A
 * Unix socket tells this from a TE that is gone; over TCP the two look alike until something is
 * written. */
static bool on_conn_end(struct tb_conn *c, void *user) {
    struct pollfd p = {.fd = tb_conn_fd(c)};

    if (poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLERR)))
        return false;
    at_channel_end(((struct port *)user)->ch);
    return true;
}

static void on_conn_drain(struct tb_conn *c, void *user) {
    (void)c;
    uart_drained(((struct port *)user)->line);
}

static void on_pty_drain(struct tb_pty *pty, void *user) {
    (void)pty;
    uart_drained(((struct port *)user)->line);
}

static void on_pty_clients(struct tb_pty *pty, bool present, void *user) {
    struct port *p = user;

    (void)pty;
    if (!present) {
        uart_forget(p->line);
        at_channel_hangup(p->ch);
    } else {
        at_channel_attached(p->ch);
    }
    tell(p, present ? "connected" : "gone");
}

static void on_closed(int why, void *user) {
    struct port *p = user, **at = &p->app->ports;

    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    at_channel_free(p->ch);
    uart_line_close(p->line);
    if (p->pty && why != 0)
        tb_error_log("at", "%s is lost: %s", p->name, tb_strerror(why));
    if (p->conn)
        tell(p, "gone");
    free(p);
}

static const struct tb_conn_ops conn_ops = {.on_data = on_conn_data,
                                            .on_drain = on_conn_drain,
                                            .on_end = on_conn_end,
                                            .on_closed = on_closed};
static const struct tb_pty_ops pty_ops = {.on_data = on_pty_data,
                                          .on_clients = on_pty_clients,
                                          .on_drain = on_pty_drain,
                                          .on_closed = on_closed};

static struct port *port_new(struct app *app, enum endpoint_kind kind) {
    struct port *p = xcalloc(sizeof *p);

    p->app = app;
    p->tcp = kind == ENDPOINT_TCP;
    snprintf(p->name, sizeof p->name, "%s#%u", kind_names[kind], ++app->serial);
    p->next = app->ports;
    app->ports = p;
    return p;
}

/* The channel comes last: it may speak at once. */
static void port_open(struct port *p, enum endpoint_kind kind) {
    /* Over TCP echo is off from the start: what connects there is a program (ofono never sends
     * ATE0). */
    static const unsigned flags[] = {[ENDPOINT_PTY] = AT_CHANNEL_EMPTY,
                                     [ENDPOINT_TCP] = AT_CHANNEL_NO_ECHO,
                                     [ENDPOINT_UNIX] = 0};

    p->line = uart_line_new(p->app->uv, &p->app->uart, &line_ops, p);
    p->ch = at_channel_new(p->app->modem, p->name, flags[kind], &channel_ops, p);
    if (!p->ch)
        abort();
}

static void on_te(struct tb_listener *l, void *user) {
    struct endpoint *ep = user;
    struct port *p = port_new(ep->app, ep->kind);

    if (tb_listener_accept(l, &conn_ops, p, &p->conn) < 0) {
        ep->app->ports = p->next;
        free(p);
        return;
    }
    port_open(p, ep->kind);
    tell(p, "connected");
}

/* ---- Endpoints ---- */

static int open_pty(struct endpoint *ep, const char *link, struct tb_error *e) {
    struct port *p = port_new(ep->app, ENDPOINT_PTY);
    int r = tb_pty_open(ep->app->uv, link, &pty_ops, p, &p->pty, e);

    if (r < 0) {
        ep->app->ports = p->next;
        free(p);
        return r;
    }
    ep->pty = p;
    port_open(p, ENDPOINT_PTY);
    return 0;
}

static int open_listener(struct endpoint *ep, const char *text, struct tb_error *e) {
    struct tb_addr at;
    char full[300];
    int r;

    snprintf(full, sizeof full, "%s%s",
             ep->kind == ENDPOINT_UNIX && strncmp(text, "unix:", 5) != 0 ? "unix:" : "", text);
    r = tb_addr_parse(full, &at, e);
    if (r < 0)
        return r;
    if (at.is_unix != (ep->kind == ENDPOINT_UNIX))
        return tb_error_set(e, TB_EPARSE, NULL, 0, "--at-tcp wants host:port, not %s", text);
    r = tb_listener_open(ep->app->uv, &at, on_te, ep, &ep->listener);
    if (r < 0)
        return tb_error_set(e, r, NULL, 0, "cannot listen for AT clients on %s: %s", full,
                            tb_strerror(r));
    return 0;
}

int endpoint_open(struct app *app, enum endpoint_kind kind, const char *text, struct tb_error *e) {
    struct endpoint *ep = xcalloc(sizeof *ep), **at = &app->endpoints;

    ep->app = app;
    ep->kind = kind;
    ep->text = strdup(text);
    while (*at)
        at = &(*at)->next;
    *at = ep;
    return kind == ENDPOINT_PTY ? open_pty(ep, text, e) : open_listener(ep, text, e);
}

static void add(json_t *at, const char *key, const char *value) {
    json_t *there = json_object_get(at, key);

    if (!there)
        json_object_set_new(at, key, json_string(value));
    else if (json_is_array(there))
        json_array_append_new(there, json_string(value));
    else
        json_object_set_new(at, key, json_pack("[O,s]", there, value));
}

void endpoints_describe(const struct app *app, json_t *ready) {
    json_t *at = json_object();
    char text[300];

    for (const struct endpoint *ep = app->endpoints; ep; ep = ep->next) {
        if (ep->kind == ENDPOINT_PTY) {
            add(at, "pty", ep->text);
            add(at, "pty_slave", tb_pty_slave(ep->pty->pty));
        } else {
            tb_addr_str(tb_listener_addr(ep->listener), text, sizeof text);
            add(at, ep->kind == ENDPOINT_TCP ? "tcp" : "unix", text);
        }
    }
    json_object_set_new(ready, "at", at);
}

void endpoints_stop(struct app *app) {
    for (struct endpoint *ep = app->endpoints; ep; ep = ep->next)
        if (ep->listener)
            tb_listener_close(ep->listener);
    for (struct port *p = app->ports; p; p = p->next) {
        if (p->pty)
            tb_pty_close(p->pty, 0);
        else
            tb_conn_close(p->conn, 0);
    }
}

void endpoints_free(struct app *app) {
    struct endpoint *ep;

    assert(!app->ports);
    while ((ep = app->endpoints)) {
        app->endpoints = ep->next;
        free(ep->text);
        free(ep);
    }
}
