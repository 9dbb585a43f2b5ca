/* A daemon with nothing but what tb_run gives: the subject of the component tests. */
#include <limits.h>
#include <stdlib.h>

#include "tb/child.h"
#include "tb/cli.h"
#include "tb/ctl.h"
#include "tb/log.h"
#include "tb/loop.h"

struct options {
    struct tb_cli_common common;
    char *greeting;
    struct tb_strv listen;
    unsigned count;
    bool loud;
};

static const struct tb_opt opts[] = {
    {"greeting", 'g', "TEXT", "What verb greet answers", TB_OPT_STRING,
     offsetof(struct options, greeting), "hello"},
    {"listen", 'l', "ADDR", "Addresses, any number of them", TB_OPT_LIST,
     offsetof(struct options, listen), "localhost:1"},
    {"count", 0, "N", "How often", TB_OPT_UINT, offsetof(struct options, count), "3"},
    {"loud", 0, NULL, "Shout", TB_OPT_FLAG, offsetof(struct options, loud), NULL},
    {0},
};

static const struct tb_cli cli = {
    .program = "tb-demo",
    .doc = "Answers control requests and does nothing else.\vIt exists for tests.",
    .opts = opts,
};

struct demo {
    struct options o;
    struct tb_loop *loop;
    struct tb_ctl *ctl;
    struct tb_ctl_call *parked;
};

static int greet(struct tb_ctl_call *call, const json_t *request, json_t *reply, struct tb_error *e,
                 void *user) {
    struct demo *d = user;
    const char *name = json_string_value(json_object_get(request, "name"));

    (void)call;
    if (!name)
        return tb_error_set(e, TB_EPARSE, NULL, 0, "greet wants a name");
    json_object_set_new(reply, "text", json_sprintf("%s, %s", d->o.greeting, name));
    tb_ctl_event(d->ctl, "greeted", json_pack("{s:s}", "name", name));
    return 0;
}

static int park(struct tb_ctl_call *call, const json_t *request, json_t *reply, struct tb_error *e,
                void *user) {
    struct demo *d = user;

    (void)request;
    (void)reply;
    if (d->parked)
        return tb_error_set(e, TB_ESTATE, NULL, 0, "somebody is parked already");
    d->parked = call;
    return TB_CTL_LATER;
}

static int unpark(struct tb_ctl_call *call, const json_t *request, json_t *reply,
                  struct tb_error *e, void *user) {
    struct demo *d = user;

    (void)call;
    (void)request;
    (void)reply;
    if (!d->parked)
        return tb_error_set(e, TB_ESTATE, NULL, 0, "nobody is parked");
    tb_ctl_reply(d->parked, json_pack("{s:b}", "was_parked", 1), 0, NULL);
    d->parked = NULL;
    return 0;
}

static const struct tb_ctl_verb verbs[] = {
    {"greet", "name: answers with a text", greet},
    {"park", "answers when somebody says unpark", park},
    {"unpark", "lets the parked request go", unpark},
    {0},
};

static void on_quit(void *user) {
    struct demo *d = user;

    tb_loop_stop(d->loop, 0);
}

static void on_stop(void *arg) {
    struct demo *d = arg;

    if (d->parked)
        tb_ctl_reply(d->parked, NULL, TB_ECLOSED, NULL);
    tb_ctl_close(d->ctl);
}

static void tell_ready(const struct demo *d) {
    char text[300], *line;
    json_t *o = json_object();

    if (tb_ctl_addr(d->ctl))
        json_object_set_new(o, "ctl", json_string(tb_addr_str(tb_ctl_addr(d->ctl), text, 300)));
    line = json_dumps(o, JSON_COMPACT);
    if (d->o.common.ready_fd != UINT_MAX && tb_ready_tell((int)d->o.common.ready_fd, line) < 0)
        tb_warn("demo", "nobody listens on the ready descriptor");
    free(line);
    json_decref(o);
}

int main(int argc, char **argv) {
    struct demo d = {0};
    struct tb_error e = {0};
    struct tb_addr at;
    int r = 0;

    tb_cli_parse(&cli, argc, argv, &d.o, NULL);
    d.loop = tb_loop_new(true);
    if (d.o.common.ctl)
        r = tb_addr_parse(d.o.common.ctl, &at, &e);
    if (r == 0)
        r = tb_ctl_open(tb_loop_uv(d.loop), d.o.common.ctl ? &at : NULL, "tb-demo", verbs, on_quit,
                        &d, &d.ctl, &e);
    if (r == 0) {
        tb_loop_on_stop(d.loop, on_stop, &d);
        if (d.o.common.event_file)
            r = tb_ctl_event_file(d.ctl, d.o.common.event_file, &e);
    }
    if (r < 0) {
        tb_error_log("demo", "%s", e.message);
        tb_loop_stop(d.loop, 1);
    } else {
        tell_ready(&d);
    }
    r = tb_loop_run(d.loop);
    tb_cli_done(&cli, &d.o);
    return r;
}
