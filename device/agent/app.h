#pragma once
/* The device and its applications: what is done when a session is up, who is told what became of
 * it.
 */
#include <jansson.h>
#include <stdbool.h>

#include "options.h"
#include "session.h"
#include "tb/ctl.h"
#include "tb/loop.h"

struct dev_device;

struct dev_app {
    struct dev_device *device;
    const char *name;
    struct dev_options *o;    /* own, of device->sections, or after a change on the heap */
    bool o_changed;           /* o is to be freed */
    bool again;               /* another session is to begin when this one has ended … */
    struct dev_options *next; /* … with these options, NULL: as they are */
    struct dev_session *session;
    struct dev_session_config cfg;
    struct dev_pending *pending;
    unsigned startup; /* what the options asked for and is under way */
    unsigned long long published, requested, received;
    bool once_failed, once_done, running;
};

struct dev_device {
    struct dev_options
        o; /* of the device, and of application "main" when the file has no sections */
    struct tb_cli_sections sections;
    struct tb_loop *loop;
    struct tb_ctl *ctl;
    struct dev_card *card;
    struct dev_app *apps;
    size_t n_apps, closing; /* closing: applications that are not closed yet */
    bool failed;            /* --once: an application could not do it all */
    int keylog_fd;
};

/* o is borrowed. Negative with *e filled: the options. */
int dev_app_init(struct dev_app *app, struct dev_device *device, const char *name,
                 struct dev_options *o, struct tb_error *e) TB_CHECKED;
/* Uses these options (on the heap, given when it succeeds) from the next session on. TB_ESTATE
 * while one is running. */
int dev_app_change(struct dev_app *app, struct dev_options *o, struct tb_error *e) TB_CHECKED;
int dev_app_start(struct dev_app *app) TB_CHECKED; /* TB_ESTATE when it runs already */
void dev_app_stop(struct dev_app *app); /* in order; on its own it does not begin again */
void dev_app_done(struct dev_app *app); /* its session is closed */

/* Each asks the protocol; call (NULL: an option asked) is answered when it is done. Negative with
 * *e filled when it cannot be asked now. */
int dev_app_publish(struct dev_app *app, const struct dev_publication *pub,
                    struct tb_ctl_call *call, struct tb_error *e) TB_CHECKED;
int dev_app_subscribe(struct dev_app *app, const char *filter, int qos, struct tb_ctl_call *call,
                      struct tb_error *e) TB_CHECKED;
int dev_app_request(struct dev_app *app, const struct dev_request *rq, struct tb_ctl_call *call,
                    struct tb_error *e) TB_CHECKED;
int dev_app_cancel(struct dev_app *app, const char *path, struct tb_ctl_call *call,
                   struct tb_error *e) TB_CHECKED;

enum dev_ask { DEV_PUBLISH, DEV_SUBSCRIBE, DEV_REQUEST };
struct dev_pending { /* a publication, subscription or request under way */
    struct dev_pending *next;
    unsigned id;
    struct tb_ctl_call *call; /* NULL: from an option */
    enum dev_ask kind;
    char *topic;  /* or path */
    char *method; /* DEV_REQUEST */
};
/* The one with that number, out of the list; NULL when there is none. */
struct dev_pending *dev_app_take(struct dev_app *app, unsigned id);
void dev_pending_free(struct dev_pending *p);

json_t *dev_app_counters(const struct dev_app *app); /* new reference */

extern const struct tb_ctl_verb dev_verbs[];
