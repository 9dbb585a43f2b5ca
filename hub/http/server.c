/* The library in the loop: one daemon for all listeners, driven from outside by its epoll
 * descriptor. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/internal.h"
#include "tb/log.h"

/* Of memory per connection, which bounds the header of a request: answers 431 and 414. Connections
 * are counted by the listeners. */
enum { CONNECTION_MEMORY = 8 << 10, CONNECTIONS_MAX = 1 << 20, TURNS_MAX = 16 };

/* Release 1.0 renamed it. */
#if MHD_VERSION >= 0x01000000
#define STRICT MHD_OPTION_CLIENT_DISCIPLINE_LVL
#else
#define STRICT MHD_OPTION_STRICT_FOR_CLIENT
#endif

static void on_log(void *user, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));

/* It tries TCP options on our socket pairs and says so each time; devices' mistakes are no news
 * either. */
static void on_log(void *user, const char *fmt, va_list ap) {
    char text[256];

    (void)user;
    vsnprintf(text, sizeof text, fmt, ap);
    text[strcspn(text, "\n")] = '\0';
    tb_debug("http", "libmicrohttpd: %s", text);
}

static void on_time(uv_timer_t *t) {
    http_kick(t->data);
}

static void arm(struct hub_http *h) {
    unsigned long long ms;

    if (MHD_get_timeout(h->daemon, &ms) == MHD_YES)
        uv_timer_start(&h->timer, on_time, ms, 0);
    else
        uv_timer_stop(&h->timer);
}

void http_kick(struct hub_http *h) {
    unsigned turns = 0;

    h->again = true;
    if (h->running || !h->daemon)
        return;
    h->running = true;
    while (h->again && turns++ < TURNS_MAX) {
        h->again = false;
        MHD_run(h->daemon);
    }
    h->running = false;
    arm(h);
}

static void on_events(uv_poll_t *p, int status, int events) {
    (void)status, (void)events;
    http_kick(p->data);
}

static int start_daemon(struct hub_http *h, struct tb_error *e) {
    const struct MHD_OptionItem options[] = {
        {MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY, NULL},
        {MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX, NULL},
        {STRICT, 1, NULL},
        {MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, NULL},
        {MHD_OPTION_END, 0, NULL}};

    /* The logger has to come first: options that follow may complain already. */
    h->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0,
        NULL, NULL, http_on_request, h, MHD_OPTION_EXTERNAL_LOGGER, on_log, h,
        MHD_OPTION_NOTIFY_CONNECTION, http_conn_announce, h, MHD_OPTION_NOTIFY_COMPLETED,
        http_on_completed, h, MHD_OPTION_ARRAY, options, MHD_OPTION_END);
    return h->daemon ? 0 : tb_error_set(e, TB_EUNSUP, NULL, 0, "libmicrohttpd cannot be started");
}

int hub_http_new(const struct hub_http_config *cfg, struct hub_http **ret, struct tb_error *e) {
    struct hub_http *h = calloc(1, sizeof *h);
    const union MHD_DaemonInfo *info;
    int err;

    if (!h)
        abort();
    h->cfg = *cfg;
    err = start_daemon(h, e);
    if (err < 0) {
        free(h);
        return err;
    }
    info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    if (!info || uv_poll_init(cfg->loop, &h->poll, info->epoll_fd) < 0)
        abort();
    h->poll.data = h;
    uv_timer_init(cfg->loop, &h->timer);
    h->timer.data = h;
    h->handles = 2;
    uv_poll_start(&h->poll, UV_READABLE, on_events);
    *ret = h;
    return 0;
}

unsigned hub_http_count(const struct hub_http *h) {
    return h ? h->count : 0;
}

const struct hub_http_totals *hub_http_totals(const struct hub_http *h) {
    return &h->totals;
}

void http_maybe_gone(struct hub_http *h) {
    if (h->closing && h->handles == 0 && !h->daemon && !h->first)
        free(h);
}

static void on_handle_closed(uv_handle_t *handle) {
    struct hub_http *h = handle->data;

    h->handles--;
    http_maybe_gone(h);
}

/* The library may not stop while a connection is suspended: all are resumed first. */
void hub_http_close(struct hub_http *h) {
    if (!h || h->closing)
        return;
    h->closing = true;
    h->running = true; /* one run at the end is enough */
    for (struct http_conn *c = h->first, *next; c; c = next) {
        next = c->next;
        http_conn_end(c, "shutdown");
    }
    uv_close((uv_handle_t *)&h->timer, on_handle_closed);
    uv_close((uv_handle_t *)&h->poll, on_handle_closed); /* its descriptor goes next */
    MHD_run(h->daemon);
    MHD_stop_daemon(h->daemon);
    h->daemon = NULL;
}
