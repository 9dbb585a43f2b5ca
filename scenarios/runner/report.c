#include "report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tb/markup.h"

void scn_report_init(struct scn_report *r, bool verbose) {
    const char *no_color = getenv("NO_COLOR");

    memset(r, 0, sizeof *r);
    r->tty = isatty(STDOUT_FILENO);
    r->color = r->tty && !(no_color && no_color[0]);
    r->verbose = verbose;
}

void scn_report_done(struct scn_report *r) {
    for (size_t i = 0; i < r->n; i++) {
        json_decref(r->cases[i].parameters);
        json_decref(r->cases[i].result.notes);
    }
    free(r->cases);
}

struct scn_case *scn_report_add(struct scn_report *r) {
    r->cases = realloc(r->cases, (r->n + 1) * sizeof *r->cases);
    if (!r->cases)
        abort();
    memset(&r->cases[r->n], 0, sizeof *r->cases);
    return &r->cases[r->n++];
}

static const char *paint(const struct scn_report *r, const char *code) {
    return r->color ? code : "";
}

void scn_report_begin(const struct scn_report *r, const struct scn_case *c, size_t index) {
    if (r->verbose)
        printf("%s\n", c->name);
    else if (r->tty)
        printf("\r\033[K[%zu/%zu] %s", index + 1, r->n, c->name);
    fflush(stdout);
}

void scn_report_step(const struct scn_report *r, const struct scn_case *c, const char *text) {
    (void)c;
    if (r->verbose)
        printf("  %s-%s %s\n", paint(r, "\033[36m"), paint(r, "\033[0m"), text);
    else if (r->tty)
        printf("\r\033[K%s: %.60s", c->name, text);
    fflush(stdout);
}

static const char *const words[] = {
    [SCN_PASS] = "pass", [SCN_FAIL] = "FAIL", [SCN_SKIP] = "skip", [SCN_BROKE] = "ERROR"};
static const char *const colors[] = {[SCN_PASS] = "\033[32m",
                                     [SCN_FAIL] = "\033[31m",
                                     [SCN_SKIP] = "\033[33m",
                                     [SCN_BROKE] = "\033[35m"};

static void indent(const char *text, const char *by) {
    while (*text) {
        const char *end = strchr(text, '\n');
        int n = end ? (int)(end - text) : (int)strlen(text);

        printf("%s%.*s\n", by, n, text);
        text += n + (end ? 1 : 0);
    }
}

void scn_report_end(const struct scn_report *r, const struct scn_case *c) {
    const struct scn_result *x = &c->result;

    if (r->tty && !r->verbose)
        printf("\r\033[K");
    printf("%s%s%s  %s  (%.1f s)\n", paint(r, colors[x->status]), words[x->status],
           paint(r, "\033[0m"), c->name, (double)x->duration_ms / 1e3);
    if (x->status == SCN_SKIP)
        indent(x->message, "      ");
    if (x->status == SCN_FAIL || x->status == SCN_BROKE) {
        printf("      %s:%d\n", x->file, x->line);
        if (x->step[0])
            printf("      in step \"%s\"\n", x->step);
        indent(x->message, "      ");
        if (c->folder[0])
            printf("      traces and logs: %s\n", c->folder);
    }
    fflush(stdout);
}

int scn_report_summary(const struct scn_report *r) {
    size_t count[4] = {0};

    for (size_t i = 0; i < r->n; i++)
        if (r->cases[i].ran)
            count[r->cases[i].result.status]++;
    printf("%zu passed, %zu failed, %zu broken, %zu skipped (seed %u)\n", count[SCN_PASS],
           count[SCN_FAIL], count[SCN_BROKE], count[SCN_SKIP], r->seed);
    if (count[SCN_BROKE])
        return 3;
    if (count[SCN_FAIL])
        return 1;
    return count[SCN_PASS] ? 0 : 77;
}

static void put_case(FILE *f, const struct scn_case *c) {
    const struct scn_result *x = &c->result;
    static const char *const tags[] = {
        [SCN_FAIL] = "failure", [SCN_BROKE] = "error", [SCN_SKIP] = "skipped"};

    fputs("  <testcase classname=\"", f);
    tb_put_markup(f, c->file);
    fputs("\" name=\"", f);
    tb_put_markup(f, c->name);
    fprintf(f, "\" time=\"%.3f\"", (double)x->duration_ms / 1e3);
    if (!c->ran) {
        fputs(">\n    <skipped message=\"not run: the run ended before\"/>\n  </testcase>\n", f);
        return;
    }
    if (x->status == SCN_PASS) {
        fputs("/>\n", f);
        return;
    }
    fprintf(f, ">\n    <%s message=\"", tags[x->status]);
    tb_put_markup(f, x->message);
    fputs("\">", f);
    tb_put_markup(f, x->file);
    fprintf(f, ":%d ", x->line);
    tb_put_markup(f, x->step);
    fprintf(f, "</%s>\n  </testcase>\n", tags[x->status]);
}

int scn_report_junit(const struct scn_report *r, const char *file, struct tb_error *e) {
    FILE *f = fopen(file, "we");
    size_t count[4] = {0};

    if (!f)
        return tb_error_set(e, -errno, file, 0, "cannot be written: %s", strerror(errno));
    for (size_t i = 0; i < r->n; i++)
        count[r->cases[i].ran ? r->cases[i].result.status : SCN_SKIP]++;
    fprintf(f,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"testbed\" tests=\"%zu\" "
            "failures=\"%zu\" errors=\"%zu\" skipped=\"%zu\">\n",
            r->n, count[SCN_FAIL], count[SCN_BROKE], count[SCN_SKIP]);
    for (size_t i = 0; i < r->n; i++)
        put_case(f, &r->cases[i]);
    fputs("</testsuite>\n", f);
    return fclose(f) == 0
               ? 0
               : tb_error_set(e, -errno, file, 0, "cannot be written: %s", strerror(errno));
}
