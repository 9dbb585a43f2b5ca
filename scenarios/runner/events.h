#pragma once
/* What the actors of a run told, in order of arrival: scenarios wait for events here, never for
 * time. */
#include <jansson.h>
#include <stddef.h>

#include "tb/error.h"

enum { SCN_SOURCES = 256 };

struct scn_events;
/* Called for each new event, after it was stored. */
typedef void scn_event_fn(size_t index, void *user);

/* file: events.jsonl of the run, NULL for none. */
struct scn_events *scn_events_new(const char *file, scn_event_fn *fn, void *user,
                                  struct tb_error *e);
void scn_events_free(struct scn_events *ev); /* NULL is a no-op */

/* The number of a source ("hub", "card-1"), new or known; negative when there are SCN_SOURCES
 * already. */
int scn_events_source(struct scn_events *ev, const char *name);
const char *scn_events_source_name(const struct scn_events *ev, int source);

/* event: borrowed, kept by reference. */
void scn_events_add(struct scn_events *ev, int source, const json_t *event);
size_t scn_events_count(const struct scn_events *ev);
const json_t *scn_events_at(const struct scn_events *ev, size_t index, int *ret_source);

/* The first event of source from index on that has this name and all members of fields (a subset
 * match; nested objects too; strings starting with "~" are Lua-free substring matches). 1 and
 * *ret_index, or 0. */
int scn_events_find(const struct scn_events *ev, int source, size_t from, const char *name,
                    const json_t *fields, size_t *ret_index);
/* The event from index on that matches best, for a failure text: name alike counts most, then
 * members. -1 when there is none. */
long scn_events_nearest(const struct scn_events *ev, int source, size_t from, const char *name,
                        const json_t *fields);
