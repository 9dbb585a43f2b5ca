#pragma once
/* Runs one scenario case: a Lua coroutine per branch on the loop, actors as child processes, events
 * to wait for. */
#include <jansson.h>
#include <lua.h>
#include <stdbool.h>

#include "actor.h"
#include "env.h"
#include "events.h"
#include "tb/loop.h"

struct scn_host;

enum scn_status { SCN_PASS, SCN_FAIL, SCN_SKIP, SCN_BROKE };

struct scn_result {
    enum scn_status status;
    char file[SCN_PATH]; /* where it failed */
    int line;
    char step[256];
    char message[4096];
    unsigned steps; /* reached */
    uint64_t duration_ms;
    json_t *notes; /* object: what the scenario wanted to be shown */
};

struct scn_host_config {
    struct tb_loop *loop;
    const struct scn_folder *folder;
    const char *file;   /* the scenario; or "@name" for a built-in script */
    json_t *parameters; /* borrowed: the case (matrix values) and options the prelude sees as `case`
                           and `settings` */
    json_t *settings;
    void (*on_step)(const char *text, void *user); /* NULL: none */
    void (*on_line)(const char *text, void *user); /* output of built-in scripts; NULL: none */
    void (*on_done)(struct scn_host *h,
                    void *user); /* everything is stopped; the host may be freed from here */
    void *user;
};

/* Only reads what `scenario {…}` declares: {"name":…, "tags":[…], "timeout_ms":…, "matrix":{…},
 * "needs":[…]}, or NULL with *e. */
json_t *scn_scenario_read(const char *file, struct tb_error *e);

/* Starts at once; on_done follows. */
struct scn_host *scn_host_start(const struct scn_host_config *cfg);
void scn_host_free(struct scn_host *h);
const struct scn_result *scn_host_result(const struct scn_host *h);
struct scn_events *scn_host_events(struct scn_host *h);

/* SIGINT: the case ends as broken ("interrupted"), a script that waits for that (up) ends well. */
void scn_host_interrupt(struct scn_host *h);
