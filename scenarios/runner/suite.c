#include "suite.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- collecting ---- */

struct collect {
    const struct scn_options *o;
    struct scn_report *report;
    char **files;
    size_t n_files;
};

static int compare_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void add_file(struct collect *c, const char *path) {
    c->files = realloc(c->files, (c->n_files + 1) * sizeof *c->files);
    if (!c->files || !(c->files[c->n_files] = strdup(path)))
        abort();
    c->n_files++;
}

static int find_files(struct collect *c, const char *path, int depth) {
    struct stat st;
    struct dirent *entry;
    int r = 0;
    DIR *d;

    if (stat(path, &st) < 0) {
        fprintf(stderr, "testbed: %s: %s\n", path, strerror(errno));
        return 2;
    }
    if (!S_ISDIR(st.st_mode)) {
        add_file(c, path);
        return 0;
    }
    d = depth < 4 ? opendir(path) : NULL;
    if (!d && depth < 4) {
        fprintf(stderr, "testbed: %s: %s\n", path, strerror(errno));
        return 2;
    }
    while (r == 0 && d && (entry = readdir(d))) {
        char sub[SCN_PATH];
        size_t n = strlen(entry->d_name);

        /* scenarios/lib and scenarios/runner hold no scenarios */
        if (entry->d_name[0] == '.' || strcmp(entry->d_name, "lib") == 0 ||
            strcmp(entry->d_name, "runner") == 0)
            continue;
        snprintf(sub, sizeof sub, "%s/%s", path, entry->d_name);
        if (stat(sub, &st) == 0 &&
            (S_ISDIR(st.st_mode) || (n > 4 && strcmp(entry->d_name + n - 4, ".lua") == 0)))
            r = find_files(c, sub, depth + 1);
    }
    if (d)
        closedir(d);
    return r;
}

static bool selected(const struct scn_options *o, const char *axis, const char *value, bool *used) {
    bool wanted = true;

    for (int i = 0; i < o->n_set; i++) {
        size_t n = strlen(axis);

        if (strncmp(o->set[i], axis, n) == 0 && o->set[i][n] == '=') {
            used[i] = true;
            wanted = wanted && strcmp(o->set[i] + n + 1, value) == 0;
        }
    }
    return wanted;
}

static bool filtered(const struct scn_options *o, const char *name, const json_t *tags) {
    size_t i;
    json_t *tag;

    if (!o->filter || strstr(name, o->filter))
        return false;
    json_array_foreach((json_t *)(uintptr_t)tags, i,
                       tag) if (strstr(json_string_value(tag), o->filter)) return false;
    return true;
}

static void add_case(struct collect *c, const char *file, const json_t *declared,
                     json_t *parameters) {
    struct scn_case *x;
    char name[sizeof x->name];
    const char *axis;
    json_t *value;
    size_t n;
    bool first = true;

    n = (size_t)snprintf(name, sizeof name, "%s",
                         json_string_value(json_object_get(declared, "name")));
    json_object_foreach(parameters, axis, value) {
        if (n < sizeof name)
            n += (size_t)snprintf(name + n, sizeof name - n, "%s%s=%s", first ? "[" : ",", axis,
                                  json_string_value(value));
        first = false;
    }
    if (!first && n < sizeof name)
        snprintf(name + n, sizeof name - n, "]");
    if (filtered(c->o, name, json_object_get(declared, "tags")))
        return;
    x = scn_report_add(c->report);
    snprintf(x->file, sizeof x->file, "%s", file);
    snprintf(x->name, sizeof x->name, "%s", name);
    x->parameters = json_deep_copy(parameters);
}

enum { MAX_AXES = 16 };

/* All combinations of the axes from the i-th on. */
static void combine(struct collect *c, const char *file, const json_t *declared,
                    const char *const *axes, json_t *parameters, bool *used) {
    json_t *value;
    size_t i;

    if (!axes[0]) {
        add_case(c, file, declared, parameters);
        return;
    }
    json_array_foreach(json_object_get(json_object_get(declared, "matrix"), axes[0]), i, value) {
        const char *text = json_string_value(value);

        if (!text || !selected(c->o, axes[0], text, used))
            continue;
        json_object_set(parameters, axes[0], value);
        combine(c, file, declared, axes + 1, parameters, used);
        json_object_del(parameters, axes[0]);
    }
}

/* Lua tables have no order: the axes are taken by name, so that a case has the same name in every
 * run. */
static void combine_all(struct collect *c, const char *file, const json_t *declared, bool *used) {
    const char *axes[MAX_AXES + 1] = {NULL}, *key;
    json_t *matrix = json_object_get(declared, "matrix"), *values, *parameters = json_object();
    size_t n = 0;

    json_object_foreach(matrix, key, values) {
        if (n < MAX_AXES)
            axes[n++] = key;
    }
    qsort(axes, n, sizeof axes[0], compare_text);
    combine(c, file, declared, axes, parameters, used);
    json_decref(parameters);
}

int scn_suite_collect(const struct scn_options *o, struct scn_report *report) {
    struct collect c = {.o = o, .report = report};
    bool used[SCN_MAX_SET] = {false};
    int r = 0;

    for (int i = 0; i < o->n_files && r == 0; i++)
        r = find_files(&c, o->files[i], 0);
    if (o->n_files == 0) {
        char all[SCN_PATH];

        scn_data_path("scenarios", all, sizeof all);
        r = find_files(&c, all, 0);
    }
    if (c.n_files > 1)
        qsort(c.files, c.n_files, sizeof *c.files, compare_text);
    for (unsigned turn = 0; turn < (o->repeat ? o->repeat : 1) && r == 0; turn++)
        for (size_t i = 0; i < c.n_files && r == 0; i++) {
            struct tb_error e = {0};
            json_t *declared = scn_scenario_read(c.files[i], &e);

            if (declared) {
                combine_all(&c, c.files[i], declared, used);
            } else {
                fprintf(stderr, "testbed: %s\n", e.message);
                r = 2;
            }
            json_decref(declared);
        }
    for (int i = 0; i < o->n_set && r == 0; i++)
        if (!used[i]) {
            fprintf(stderr, "testbed: --set %s: none of the scenarios has that axis\n", o->set[i]);
            r = 2;
        }
    for (size_t i = 0; i < c.n_files; i++)
        free(c.files[i]);
    free(c.files);
    if (r == 0 && report->n == 0) {
        fprintf(stderr, "testbed: no scenario left to run\n");
        r = 2;
    }
    return r;
}

/* ---- running ---- */

struct suite {
    const struct scn_options *o;
    struct scn_report *report;
    struct tb_loop *loop;
    struct scn_host *host; /* the running case */
    struct scn_folder folder;
    size_t index;
    bool keep;
    int out_lock;   /* of --out, when it holds several cases; -1 */
    uv_idle_t next; /* frees the ended host and starts the next case outside of its callbacks */
    int exit_code;
    json_t *settings;
};

static void on_step(const char *text, void *user) {
    struct suite *s = user;

    scn_report_step(s->report, &s->report->cases[s->index], text);
}

static void on_next(uv_idle_t *idle);

static void on_done(struct scn_host *h, void *user) {
    struct suite *s = user;

    (void)h;
    uv_idle_start(&s->next, on_next);
}

static void finish_case(struct suite *s) {
    struct scn_case *c = &s->report->cases[s->index];

    c->result = *scn_host_result(s->host);
    json_incref(c->result.notes);
    c->ran = true;
    scn_host_free(s->host);
    s->host = NULL;
    snprintf(c->folder, sizeof c->folder, "%s", s->folder.dir);
    if (c->result.status == SCN_PASS || c->result.status == SCN_SKIP) {
        scn_folder_remove(&s->folder, !s->keep && !s->o->out);
        if (!s->keep && !s->o->out)
            c->folder[0] = 0;
    } else {
        scn_folder_remove(&s->folder, false);
    }
    scn_report_end(s->report, c);
    s->index++;
}

/* NULL: a new one. Several cases share --out as the parent of numbered folders. */
static const char *case_folder(const struct suite *s, const struct scn_case *c, char *dst,
                               size_t cap) {
    char name[sizeof c->name];

    if (!s->o->out || s->report->n == 1)
        return s->o->out;
    memcpy(name, c->name, sizeof name);
    for (char *p = name; (p = strchr(p, '/'));)
        *p = '_';
    snprintf(dst, cap, "%s/%02zu-%s", s->o->out, s->index + 1, name);
    return dst;
}

static int start_case(struct suite *s) {
    struct scn_case *c = &s->report->cases[s->index];
    struct scn_host_config cfg = {.loop = s->loop,
                                  .folder = &s->folder,
                                  .file = c->file,
                                  .parameters = c->parameters,
                                  .settings = s->settings,
                                  .on_step = on_step,
                                  .on_done = on_done,
                                  .user = s};
    struct tb_error e = {0};
    char out[SCN_PATH];

    scn_report_begin(s->report, c, s->index);
    if (scn_folder_make(case_folder(s, c, out, sizeof out), &s->folder, &e) < 0) {
        fprintf(stderr, "testbed: %s: %s\n", e.file, e.message);
        return 3;
    }
    s->host = scn_host_start(&cfg);
    return 0;
}

static void end_suite(struct suite *s) {
    if (!uv_is_closing((uv_handle_t *)&s->next))
        uv_close((uv_handle_t *)&s->next, NULL);
    tb_loop_stop(s->loop, 0);
}

static void on_next(uv_idle_t *idle) {
    struct suite *s = idle->data;

    uv_idle_stop(idle);
    if (s->host)
        finish_case(s);
    if (tb_loop_signal(s->loop) || s->index == s->report->n) {
        end_suite(s);
        return;
    }
    s->exit_code = start_case(s);
    if (s->exit_code)
        end_suite(s);
}

static void on_stop(void *arg) {
    struct suite *s = arg;

    /* The case under way ends first: on_next() follows. */
    if (s->host)
        scn_host_interrupt(s->host);
    else
        end_suite(s);
}

/* The loop is gone when the suite tells how it ended. */
static void note_signal(void *arg) {
    struct suite *s = arg;

    if (tb_loop_signal(s->loop))
        s->exit_code = 128 + tb_loop_signal(s->loop);
}

int scn_suite_run(const struct scn_options *o, struct scn_report *report, bool keep) {
    struct suite s = {.o = o, .report = report, .keep = keep, .out_lock = -1};

    if (o->out && report->n > 1) { /* the cases get numbered folders in it */
        struct tb_error e = {0};

        s.out_lock = scn_folder_claim(o->out, &e);
        if (s.out_lock < 0) {
            fprintf(stderr, "testbed: %s: %s\n", e.file, e.message);
            return 3;
        }
    }
    report->seed = o->seed ? o->seed : (unsigned)time(NULL) % 1000000;
    s.loop = tb_loop_new(false);
    s.settings = json_pack("{s:i}", "seed", (int)report->seed);
    uv_idle_init(tb_loop_uv(s.loop), &s.next);
    s.next.data = &s;
    uv_idle_start(&s.next, on_next);
    tb_loop_on_stop(s.loop, on_stop, &s);
    tb_loop_on_stop(s.loop, note_signal, &s);
    tb_loop_run(s.loop);
    json_decref(s.settings);
    if (s.out_lock >= 0)
        close(s.out_lock);
    return s.exit_code;
}
