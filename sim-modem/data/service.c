#include "service.h"

#include <assert.h>
#include <stdlib.h>

#include "session.h"
#include "tb/log.h"

static void on_client(struct tb_listener *l, void *user) {
    (void)l;
    session_accept(user);
}

int data_service_open(uv_loop_t *loop, const struct tb_addr *at, struct radio *radio,
                      struct data_service **ret, struct tb_error *e) {
    struct data_service *s = calloc(1, sizeof *s);
    char text[300];
    int r;

    if (!s)
        abort();
    s->loop = loop;
    s->radio = radio;
    r = tb_listener_open(loop, at, on_client, s, &s->listener);
    if (r < 0) {
        free(s);
        return tb_error_set(e, r, NULL, 0, "cannot offer the packet service at %s: %s",
                            tb_addr_str(at, text, sizeof text), tb_strerror(r));
    }
    *ret = s;
    return 0;
}

const struct tb_addr *data_service_addr(const struct data_service *s) {
    return tb_listener_addr(s->listener);
}

void data_service_attach(struct data_service *s, bool attached) {
    if (s->attached == attached)
        return;
    s->attached = attached;
    tb_info("data", "packet service is %s connections=%u", attached ? "there" : "gone",
            s->counters.open);
    for (struct session *c = s->sessions, *next; c && !attached; c = next) {
        next = session_next(c);
        session_cut(c);
    }
}

bool data_service_attached(const struct data_service *s) {
    return s->attached;
}

void data_service_counters(const struct data_service *s, struct data_counters *ret) {
    *ret = s->counters;
}

void service_session_gone(struct data_service *s) {
    if (s->closing && !s->sessions)
        free(s);
}

void data_service_close(struct data_service *s) {
    if (!s)
        return;
    s->closing = true;
    tb_listener_close(s->listener);
    for (struct session *c = s->sessions, *next; c; c = next) {
        next = session_next(c);
        session_close(c);
    }
    service_session_gone(s);
}
