/* iot-device: an IoT SAFE device, one card and any number of applications that use it.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app.h"
#include "tb/child.h"
#include "tb/log.h"

static void usage(const char *what) __attribute__((noreturn));
static void usage(const char *what) {
    fprintf(stderr, "iot-device: %s\nTry 'iot-device --help' for more information.\n", what);
    exit(2);
}

/* ---- end ---- */

static void on_session_closed(void *user) {
    struct dev_app *app = user;
    struct dev_device *d = app->device;

    dev_app_done(app);
    if (--d->closing)
        return;
    dev_card_free(d->card); /* its link is a handle of the loop */
    tb_ctl_close(d->ctl);
}

static void on_stop(void *arg) {
    struct dev_device *d = arg;

    d->closing = d->n_apps;
    for (size_t i = 0; i < d->n_apps; i++)
        dev_session_close(d->apps[i].session, on_session_closed);
}

static void on_quit(void *user) {
    struct dev_device *d = user;

    tb_loop_stop(d->loop, 0);
}

/* ---- start ---- */

/* Where in the file a complaint about an application belongs. */
static int in_section(const struct dev_device *d, size_t i, int r, struct tb_error *e) {
    char text[sizeof e->message];

    if (d->sections.n == 0 || e->file[0])
        return r;
    snprintf(text, sizeof text, "%s", e->message);
    return tb_error_set(e, r, d->o.common.config, d->sections.v[i].line, "[%s]: %s",
                        d->sections.v[i].name, text);
}

static int check_all(struct dev_device *d, struct tb_error *e) {
    struct dev_session_config cfg;
    int r;

    if (!d->o.link)
        return tb_error_set(e, TB_EPARSE, NULL, 0, "--link is needed");
    for (size_t i = 0; i < d->sections.n; i++) {
        r = dev_options_session(d->sections.v[i].out, d->sections.v[i].name, NULL, NULL, &cfg, e);
        if (r < 0)
            return in_section(d, i, r, e);
    }
    return d->sections.n ? 0 : dev_options_session(&d->o, NULL, NULL, NULL, &cfg, e);
}

static int make_apps(struct dev_device *d, struct tb_error *e) {
    int r = 0;

    d->n_apps = d->sections.n ? d->sections.n : 1;
    d->apps = calloc(d->n_apps, sizeof *d->apps);
    if (!d->apps)
        abort();
    if (d->sections.n == 0)
        return dev_app_init(&d->apps[0], d, "main", &d->o, e);
    for (size_t i = 0; i < d->n_apps && r == 0; i++)
        r = dev_app_init(&d->apps[i], d, d->sections.v[i].name, d->sections.v[i].out, e);
    return r;
}

static int start(struct dev_device *d, struct tb_error *e) {
    uv_loop_t *uv = tb_loop_uv(d->loop);
    struct tb_addr at;
    int r;

    if (d->o.keylog) {
        d->keylog_fd = open(d->o.keylog, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        if (d->keylog_fd < 0)
            return tb_error_set(e, -errno, d->o.keylog, 0, "%s", strerror(errno));
    }
    r = d->o.common.ctl ? tb_addr_parse(d->o.common.ctl, &at, e) : 0;
    if (r == 0)
        r = dev_card_new(uv, d->o.link, d->o.aid, &d->card, e);
    if (r == 0)
        r = make_apps(d, e);
    if (r == 0)
        r = tb_ctl_open(uv, d->o.common.ctl ? &at : NULL, "iot-device", dev_verbs, on_quit, d,
                        &d->ctl, e);
    if (r == 0 && d->o.common.event_file)
        r = tb_ctl_event_file(d->ctl, d->o.common.event_file, e);
    return r;
}

static void tell_ready(struct dev_device *d) {
    const struct tb_addr *at = tb_ctl_addr(d->ctl);
    json_t *line = json_object();
    char text[300];
    char *json;

    if (d->o.common.ctl)
        json_object_set_new(line, "ctl", json_string(tb_addr_str(at, text, sizeof text)));
    json = json_dumps(line, JSON_COMPACT);
    if (tb_ready_tell((int)d->o.common.ready_fd, json) < 0)
        tb_warn("main", "nobody reads the ready line");
    free(json);
    json_decref(line);
}

/* A value that makes no sense, or something about this machine (errno). */
static void complain(const struct tb_error *e, int r) __attribute__((noreturn));
static void complain(const struct tb_error *e, int r) {
    if (e->file[0] && e->line)
        fprintf(stderr, "iot-device: %s:%d: %s\n", e->file, e->line, e->message);
    else
        fprintf(stderr, "iot-device: %s%s%s\n", e->file, e->file[0] ? ": " : "", e->message);
    exit(r <= TB_EPARSE ? 2 : 1);
}

int main(int argc, char **argv) {
    struct dev_device d = {.keylog_fd = -1,
                           .sections = {.not_inside = dev_device_options, .size = sizeof d.o}};
    struct tb_error e = {0};
    int status, r;

    tb_cli_parse_sections(&dev_cli, argc, argv, &d.o, &d.sections);
    r = check_all(&d, &e);
    if (r < 0 && !e.file[0])
        usage(e.message);
    if (r < 0)
        complain(&e, r);
    tb_cli_answer(&dev_cli, &d.o, &d.sections);
    if (tb_log_setup(d.o.common.log_level, strcmp(d.o.common.log_format, "json") == 0, &e) < 0)
        usage(e.message);
    d.loop = tb_loop_new(true);
    r = start(&d, &e);
    if (r < 0)
        complain(&e, r);
    tb_loop_on_stop(d.loop, on_stop, &d);
    if (d.o.common.ready_fd != UINT_MAX)
        tell_ready(&d);
    for (size_t i = 0; i < d.n_apps; i++)
        if (!d.apps[i].o->no_connect && dev_app_start(&d.apps[i]) < 0)
            abort(); /* it is idle */
    status = tb_loop_run(d.loop);
    if (d.keylog_fd >= 0)
        close(d.keylog_fd);
    tb_cli_sections_done(&dev_cli, &d.sections);
    tb_cli_done(&dev_cli, &d.o);
    free(d.apps);
    return status;
}
