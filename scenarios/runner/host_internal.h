#pragma once
/* What host.c and the verbs in prims_*.c share. */
#include "host.h"

enum scn_wait {
    SCN_WAIT_NONE,
    SCN_WAIT_EVENT,
    SCN_WAIT_START,
    SCN_WAIT_REPLY,
    SCN_WAIT_EXIT,
    SCN_WAIT_BRANCHES,
    SCN_WAIT_QUIT
};

/* What a branch waits for: at most one thing at a time. */
struct scn_branch {
    struct scn_host *host;
    struct scn_branch *next, *parent;
    lua_State *co;
    int ref;          /* keeps co alive */
    unsigned running; /* child branches */
    bool dead;
    enum scn_wait wait;
    struct tb_deadline deadline;
    uint64_t deadline_ms;
    int slot; /* SCN_WAIT_START, _EXIT, _REPLY: of which actor; else -1 */
    /* SCN_WAIT_EVENT */
    int source;
    char *event_name;
    json_t *fields;
    bool never;
    size_t cursor[SCN_SOURCES];
    /* SCN_WAIT_REPLY: the ticket knows whether the branch still wants its answer */
    struct scn_ticket *ticket;
    /* the outcome, read by the continuation */
    char error[4096]; /* not empty: raise it */
    json_t *value;
    char step[256];
};

struct scn_slot { /* an actor of the case */
    struct scn_host *host;
    struct scn_actor *actor; /* NULL: ended */
    char name[64];
    int id;
};

enum { SCN_ACTORS = 128 };

struct scn_host {
    struct scn_host_config cfg;
    struct scn_events *events;
    lua_State *L;
    struct scn_branch *branches;
    struct scn_branch *main;
    struct scn_slot slots[SCN_ACTORS];
    int n_slots;
    struct tb_deadline case_deadline;
    unsigned open; /* things still to be closed before on_done */
    bool ending, done;
    struct scn_result result;
    uint64_t started_ms;
};

struct scn_ticket;
/* Nobody wants the answer of this request any more; it frees itself when the answer comes. */
void scn_ticket_void(struct scn_ticket *t);

extern const struct scn_actor_ops scn_slot_ops;

struct scn_branch *scn_branch_of(lua_State *L);
/* Suspends the calling verb. timeout_ms 0: no deadline of its own (the case has one). The
 * continuation pushes b->value, or raises. */
int scn_branch_wait(lua_State *L, enum scn_wait what, uint64_t timeout_ms);
/* The wait is over: value (given, may be NULL) becomes the verb's result. */
void scn_branch_wake(struct scn_branch *b, json_t *value);
void scn_branch_wake_error(struct scn_branch *b, enum scn_status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* lua_error() without the place of the bed's own Lua code in front: the scenario's line is told. */
int scn_raise(lua_State *L, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The branch that waits for this of the actor, or NULL. */
struct scn_branch *scn_slot_waiter(const struct scn_slot *s, enum scn_wait what);
/* Starts the function on top of L as a child branch of b. */
void scn_branch_spawn(struct scn_branch *b, lua_State *L);

/* Ends the case now with this outcome (the first one counts). */
void scn_host_end(struct scn_host *h, enum scn_status status, struct scn_branch *where,
                  const char *message);
/* An event came: wakes whoever waits for it. */
void scn_host_on_event(size_t index, void *user);
/* Looks whether the wait for an event is satisfied already; 1 and b->value set. */
int scn_event_ready(struct scn_branch *b);
void scn_event_timeout(struct scn_branch *b);

/* Pushes the table of verbs that the prelude gets. */
void scn_push_prims(lua_State *L);
/* Callbacks of slots, in prims_actor.c. */
void scn_slot_ended(int status, void *user);

struct scn_script { /* Lua text linked in */
    const char *name;
    const unsigned char *text;
    size_t n;
};
extern const struct scn_script scn_scripts[]; /* ends with name NULL */
const struct scn_script *scn_script_find(const char *name);
