/* trace: the story of a run, from its events. */
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "env.h"
#include "living.h"
#include "options.h"
#include "verbs.h"

static bool is_frame(const char *key) {
    return strcmp(key, "event") == 0 || strcmp(key, "ts") == 0 || strcmp(key, "from") == 0 ||
           strcmp(key, "actor") == 0;
}

static void print_event(const json_t *event, double *start) {
    double ts = json_number_value(json_object_get(event, "ts"));
    const char *actor = json_string_value(json_object_get(event, "actor")),
               *name = json_string_value(json_object_get(event, "event"));
    const char *key;
    json_t *value;

    if (*start < 0)
        *start = ts;
    printf("%9.3f  %-10s %-18s", (ts - *start) / 1e3, actor ? actor : "?", name ? name : "?");
    json_object_foreach((json_t *)(uintptr_t)event, key, value) {
        char *text;

        if (is_frame(key))
            continue;
        text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        printf(" %s=%s", key, text ? text : "?");
        free(text);
    }
    printf("\n");
}

/* Prints the lines that are there. */
static void print_lines(FILE *f, double *start) {
    static char *line;
    static size_t cap;

    /* A line that is not whole yet is read again when it is. */
    for (long at = ftell(f); getline(&line, &cap, f) > 0; at = ftell(f)) {
        json_t *event;

        if (!strchr(line, '\n')) {
            fseek(f, at, SEEK_SET);
            break;
        }
        event = json_loads(line, 0, NULL);
        if (event)
            print_event(event, start);
        json_decref(event);
    }
    clearerr(f);
}

/* Sleeps until the file has grown, or gone. False when nobody will write to it any more. */
static bool wait_for_more(int notify, const char *dir) {
    struct pollfd p = {.fd = notify, .events = POLLIN};
    char events[4096];
    bool alive = scn_folder_alive(dir); /* asked first: what was written until then is read after */

    /* The end of a run that was killed is not told by its files. */
    if (alive && poll(&p, 1, 1000) > 0 && read(notify, events, sizeof events) < 0)
        return false;
    return alive;
}

static void follow(FILE *f, const char *path, const char *dir, double *start) {
    int notify = inotify_init1(IN_CLOEXEC);

    if (notify < 0 || inotify_add_watch(notify, path, IN_MODIFY | IN_DELETE_SELF | IN_ATTRIB) < 0) {
        fprintf(stderr, "testbed: %s: cannot be watched: %s\n", path, strerror(errno));
    } else {
        while (wait_for_more(notify, dir))
            print_lines(f, start);
        print_lines(f, start);
    }
    if (notify >= 0)
        close(notify);
}

int scn_verb_trace(int argc, char **argv) {
    char dir[SCN_PATH], path[SCN_PATH + 16];
    struct tb_error e = {0};
    struct scn_options o;
    double start = -1;
    FILE *f;

    scn_options_parse(
        argc, argv, "rw", "[FOLDER]",
        "Shows what happened in a run: every event with its time, who told it, and its members.\v"
        "FOLDER is what `testbed run` or `demo` named as traces; without it the living bed's. The "
        "APDUs are beside it in apdu.pcapng: open "
        "it with Wireshark.",
        &o);
    if (o.n_files > 1) {
        fprintf(stderr, "testbed: trace: one folder at a time\n");
        return 2;
    }
    if (o.n_files == 1) {
        snprintf(dir, sizeof dir, "%s", o.files[0]);
    } else if (scn_living_bed_find(o.run, dir, sizeof dir, &e) < 0) {
        fprintf(stderr, "testbed: %s%s%s\n", e.file, e.file[0] ? ": " : "", e.message);
        return 3;
    }
    snprintf(path, sizeof path, "%s/events.jsonl", dir);
    f = fopen(path, "re");
    if (!f) {
        fprintf(stderr, "testbed: %s: %s\n", path, strerror(errno));
        return 3;
    }
    print_lines(f, &start);
    if (o.follow)
        follow(f, path, dir, &start);
    fclose(f);
    return 0;
}
