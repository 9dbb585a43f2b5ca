#include "events.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    json_t *event;
    int source;
};

struct scn_events {
    struct entry *entries;
    size_t n, cap;
    char *sources[SCN_SOURCES];
    int n_sources;
    FILE *file;
    scn_event_fn *fn;
    void *user;
};

static void *must(void *p) {
    if (!p)
        abort();
    return p;
}

struct scn_events *scn_events_new(const char *file, scn_event_fn *fn, void *user,
                                  struct tb_error *e) {
    struct scn_events *ev = must(calloc(1, sizeof *ev));

    if (file) {
        ev->file = fopen(file, "ae");
        if (!ev->file) {
            tb_error_set(e, -errno, file, 0, "cannot be written: %s", strerror(errno));
            free(ev);
            return NULL;
        }
        setvbuf(ev->file, NULL, _IOLBF, 0);
    }
    ev->fn = fn;
    ev->user = user;
    return ev;
}

void scn_events_free(struct scn_events *ev) {
    if (!ev)
        return;
    for (size_t i = 0; i < ev->n; i++)
        json_decref(ev->entries[i].event);
    for (int i = 0; i < ev->n_sources; i++)
        free(ev->sources[i]);
    if (ev->file)
        fclose(ev->file);
    free(ev->entries);
    free(ev);
}

int scn_events_source(struct scn_events *ev, const char *name) {
    for (int i = 0; i < ev->n_sources; i++)
        if (strcmp(ev->sources[i], name) == 0)
            return i;
    if (ev->n_sources == SCN_SOURCES)
        return TB_ERANGE;
    ev->sources[ev->n_sources] = must(strdup(name));
    return ev->n_sources++;
}

const char *scn_events_source_name(const struct scn_events *ev, int source) {
    return source >= 0 && source < ev->n_sources ? ev->sources[source] : "?";
}

static void write_line(struct scn_events *ev, int source, json_t *event) {
    json_t *line = json_copy(event);
    char *text;

    json_object_set_new(line, "actor", json_string(ev->sources[source]));
    text = json_dumps(line, JSON_COMPACT);
    if (text)
        fprintf(ev->file, "%s\n", text);
    free(text);
    json_decref(line);
}

void scn_events_add(struct scn_events *ev, int source, const json_t *event) {
    json_t *kept = json_deep_copy(event);

    if (!kept)
        abort();
    if (ev->n == ev->cap) {
        ev->cap = ev->cap ? ev->cap * 2 : 256;
        ev->entries = must(realloc(ev->entries, ev->cap * sizeof *ev->entries));
    }
    ev->entries[ev->n++] = (struct entry){kept, source};
    if (ev->file)
        write_line(ev, source, kept);
    if (ev->fn)
        ev->fn(ev->n - 1, ev->user);
}

size_t scn_events_count(const struct scn_events *ev) {
    return ev->n;
}

const json_t *scn_events_at(const struct scn_events *ev, size_t index, int *ret_source) {
    if (index >= ev->n)
        return NULL;
    if (ret_source)
        *ret_source = ev->entries[index].source;
    return ev->entries[index].event;
}

/* How many members of want are in have; *ret_all tells whether it was all of them. */
static int matching(const json_t *have, const json_t *want, bool *ret_all) {
    json_t *w = json_incref((json_t *)(uintptr_t)want);
    const char *key;
    json_t *value;
    int hits = 0;

    *ret_all = true;
    json_object_foreach(w, key, value) {
        const json_t *h = json_object_get(have, key);
        const char *text = json_string_value(value);
        bool equal;

        if (json_is_object(value))
            matching(h, value, &equal);
        else if (text && text[0] == '~')
            equal = json_is_string(h) && strstr(json_string_value(h), text + 1);
        else if (json_is_number(value) && json_is_number(h))
            equal = json_number_value(value) == json_number_value(h);
        else
            equal = h && json_equal(h, value);
        if (equal)
            hits++;
        else
            *ret_all = false;
    }
    json_decref(w);
    return hits;
}

static bool is_named(const json_t *event, const char *name) {
    const char *n = json_string_value(json_object_get(event, "event"));

    return n && strcmp(n, name) == 0;
}

int scn_events_find(const struct scn_events *ev, int source, size_t from, const char *name,
                    const json_t *fields, size_t *ret_index) {
    for (size_t i = from; i < ev->n; i++) {
        bool all = true;

        if (ev->entries[i].source != source || !is_named(ev->entries[i].event, name))
            continue;
        if (fields)
            matching(ev->entries[i].event, fields, &all);
        if (!all)
            continue;
        *ret_index = i;
        return 1;
    }
    return 0;
}

long scn_events_nearest(const struct scn_events *ev, int source, size_t from, const char *name,
                        const json_t *fields) {
    long best = -1;
    int best_score = -1;

    for (size_t i = from; i < ev->n; i++) {
        bool all;
        int score;

        if (ev->entries[i].source != source)
            continue;
        score = fields ? matching(ev->entries[i].event, fields, &all) : 0;
        if (is_named(ev->entries[i].event, name))
            score += 100;
        if (score >= best_score) {
            best_score = score;
            best = (long)i;
        }
    }
    return best;
}
