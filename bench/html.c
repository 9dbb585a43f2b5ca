/* The report as a page: everything in one file, no script, readable in light and dark and on
 * paper. */
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "bench.h"
#include "plot.h"
#include "tb/markup.h"

static const char style[] =
    ":root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--soft:#5b6570;--line:#d8dee4;"
    "--band:#f5f7f9;--bar:#2f6fdb;--base:#8b97a5;--bad:#c8362b;--good:#1a7f45;--range:#9dbcf0;"
    "--m1:#2f6fdb;--m2:#13967d;--m3:#d9822b;--m4:#8c6bc4}\n"
    "@media(prefers-color-scheme:dark){:root{--bg:#12161b;--fg:#e4e8ec;--soft:#9aa5b1;"
    "--line:#313943;--band:#1a2027;--bar:#6ea0ff;--base:#738091;--bad:#ff7a6e;--good:#52c683;"
    "--range:#35527f;--m1:#6ea0ff;--m2:#3fc7ab;--m3:#f0a55a;--m4:#b497ea}}\n"
    "body{margin:0 auto;max-width:1080px;padding:24px 20px 60px;background:var(--bg);"
    "color:var(--fg);font:15px/1.5 system-ui,sans-serif}\n"
    "h1{font-size:26px;margin:8px 0}h2{font-size:19px;margin:36px 0 8px;padding-top:10px;"
    "border-top:1px solid var(--line)}h3{font-size:15px;margin:18px 0 4px;color:var(--soft)}\n"
    "p.c{color:var(--soft);margin:4px 0}code{font:13px ui-monospace,monospace;"
    "background:var(--band);padding:2px 5px;border-radius:4px}\n"
    "table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:14px}"
    "th,td{padding:4px 8px;text-align:right;border-bottom:1px solid var(--line);"
    "white-space:nowrap}th{color:var(--soft);font-weight:600}"
    "th:first-child,td:first-child,td.t{text-align:left;white-space:normal}"
    "tbody tr:nth-child(even){background:var(--band)}div.w{overflow-x:auto}\n"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 16px;margin:12px 0}"
    "dt{color:var(--soft)}dd{margin:0}\n"
    "svg{width:100%;height:auto;margin:6px 0;font:12px system-ui,sans-serif}"
    "svg text{fill:var(--fg)}.l{text-anchor:end}.a{text-anchor:middle;fill:var(--soft)}"
    ".b{fill:var(--bar)}.base{fill:var(--base)}.bad{fill:var(--bad)}.r{fill:var(--range)}"
    ".v{paint-order:stroke;stroke:var(--bg);stroke-width:4px}.d{fill:var(--bar)}.one,.g,.p{stroke:"
    "var(--line)}.one{stroke:var(--soft);"
    "stroke-dasharray:4 3}.p{stroke:var(--fg);stroke-width:2}"
    ".m1{fill:var(--m1)}.m2{fill:var(--m2)}.m3{fill:var(--m3)}.m4{fill:var(--m4)}\n"
    "ul.k{list-style:none;padding:0}.y::before{content:'kept  ';color:var(--good);"
    "font-weight:600}.n::before{content:'BROKEN  ';color:var(--bad);font-weight:600}\n"
    ".key span{display:inline-block;width:11px;height:11px;margin:0 5px 0 14px;"
    "border-radius:2px}\n"
    "@media print{body{max-width:none}h2{break-after:avoid}svg,table{break-inside:avoid}}\n";

static const char *text_of(const json_t *o, const char *name) {
    const char *text = json_string_value(json_object_get(o, name));

    return text ? text : "";
}

/* ---- head ---- */

static void fact(FILE *f, const char *name, const char *text) {
    fprintf(f, "<dt>%s</dt><dd>", name);
    tb_put_markup(f, text);
    fputs("</dd>\n", f);
}

static void head(FILE *f, const json_t *report) {
    const json_t *machine = json_object_get(report, "machine");
    const json_t *options = json_object_get(report, "options");
    time_t when = (time_t)json_integer_value(json_object_get(report, "time"));
    char text[128];

    fprintf(
        f,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>"
        "<meta charset=\"utf-8\"/>\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
        "<title>iot-bench %s</title>\n<style>\n%s</style>\n</head>\n<body>\n<h1>bench %s</h1>\n",
        text_of(report, "benchmark"), style, text_of(report, "benchmark"));
    fputs("<p class=\"c\">Each figure stands beside what it is compared with, measured in the same "
          "run: read the ratios.</p>\n<dl>\n<dt>command</dt><dd><code>",
          f);
    tb_put_markup(f, text_of(report, "command"));
    fputs("</code></dd>\n", f);
    strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", gmtime(&when));
    fact(f, "when", text);
    fact(f, "version", text_of(report, "version"));
    snprintf(text, sizeof text, "%s, %d CPUs", text_of(machine, "cpu"),
             (int)json_integer_value(json_object_get(machine, "cpus")));
    fact(f, "machine", text);
    fact(f, "kernel", text_of(machine, "kernel"));
    fact(f, "library", text_of(machine, "openssl"));
    if (json_integer_value(json_object_get(options, "rounds"))) {
        snprintf(text, sizeof text, "%d rounds of %.2f s per row, %s",
                 (int)json_integer_value(json_object_get(options, "rounds")),
                 json_number_value(json_object_get(options, "seconds")),
                 strcmp(text_of(options, "cpus"), "one") == 0 ? "everything on one CPU"
                                                              : "placement left to the kernel");
        fact(f, "measured", text);
        snprintf(text, sizeof text, "%.2f CPUs busy on average",
                 json_number_value(json_object_get(machine, "others")));
        fact(f, "other programs", text);
    }
    fputs("</dl>\n", f);
}

/* ---- tables ---- */

struct column {
    const char *head, *name;
    double scale;
    int digits; /* behind the point; -1: text */
};

static void cell(FILE *f, const json_t *row, const struct column *c) {
    const json_t *v = json_object_get(row, c->name);

    if (c->digits < 0) {
        fputs("<td class=\"t\">", f);
        tb_put_markup(f, json_is_string(v) ? json_string_value(v) : "");
    } else if (json_is_number(v)) {
        fprintf(f, "<td>%.*f", c->digits, json_number_value(v) * c->scale);
    } else {
        fputs("<td>", f);
    }
    fputs("</td>", f);
}

static void table(FILE *f, const json_t *rows, const struct column *c, size_t columns) {
    fputs("<div class=\"w\"><table><thead><tr>", f);
    for (size_t k = 0; k < columns; k++)
        fprintf(f, "<th>%s</th>", c[k].head);
    fputs("</tr></thead>\n<tbody>\n", f);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        fputs("<tr>", f);
        for (size_t k = 0; k < columns; k++)
            cell(f, json_array_get(rows, i), &c[k]);
        fputs("</tr>\n", f);
    }
    fputs("</tbody></table></div>\n", f);
}

static void result_table(FILE *f, const json_t *t) {
    static const struct column columns[] = {
        {"", "name", 0, -1},          {"per second", "per_second", 1, 1},
        {"worst", "min", 1, 1},       {"best", "max", 1, 1},
        {"CPU µs", "cpu_us", 1, 0},   {"of all", "cpu_all_us", 1, 0},
        {"ratio", "ratio", 1, 2},     {"p50 ms", "p50_us", 1e-3, 2},
        {"p99 ms", "p99_us", 1e-3, 2}};
    const json_t *rows = json_object_get(t, "rows");
    bool times = json_object_get(json_array_get(rows, 0), "p50_us") != NULL;

    fputs("<h2>", f);
    tb_put_markup(f, text_of(t, "title"));
    fputs("</h2>\n", f);
    bench_plot_ratios(f, text_of(t, "title"), rows);
    if (times) {
        fputs("<h3>Time of one: median (dot) to 99th percentile</h3>\n", f);
        bench_plot_times(f, "times", rows);
    }
    table(f, rows, columns, sizeof columns / sizeof *columns - (times ? 0 : 2));
}

static void costs(FILE *f, const json_t *rows) {
    static const struct column columns[] = {{"", "name", 0, -1},
                                            {"stack", "stack", 0, -1},
                                            {"version", "version", 0, -1},
                                            {"credential", "credential", 0, -1},
                                            {"APDUs", "apdus", 1, 1},
                                            {"bytes to", "bytes_to_card", 1, 0},
                                            {"from", "bytes_from_card", 1, 0},
                                            {"keygen", "key_pairs", 1, 1},
                                            {"ecdh", "agreements", 1, 1},
                                            {"verify", "verifications", 1, 1},
                                            {"sign", "signatures", 1, 1},
                                            {"derive", "derivations", 1, 1},
                                            {"random", "randoms", 1, 1}};

    if (json_array_size(rows) == 0)
        return;
    fputs("<h2>On the card's interface, per handshake</h2>\n", f);
    table(f, rows, columns, sizeof columns / sizeof *columns);
}

static void modelled(FILE *f, const json_t *rows) {
    const json_t *profiles = json_object_get(json_array_get(rows, 0), "profiles");

    if (json_array_size(rows) == 0)
        return;
    fputs("<h2>Modelled time in the field</h2>\n<p class=\"c\">The card behind AT+CSIM; what was "
          "counted, times latency profiles of card, UART and radio. "
          "The computing of the device itself is not in it.</p>\n"
          "<p class=\"key\"><span style=\"background:var(--m1)\"></span>card operations"
          "<span style=\"background:var(--m2)\"></span>card link"
          "<span style=\"background:var(--m3)\"></span>UART and modem"
          "<span style=\"background:var(--m4)\"></span>radio</p>\n",
          f);
    for (size_t i = 0; i < json_array_size(profiles); i++) {
        const char *name = text_of(json_array_get(profiles, i), "profile");

        fputs("<h3>", f);
        tb_put_markup(f, name);
        fputs("</h3>\n", f);
        bench_plot_modelled(f, name, rows, i);
    }
}

static void sizes(FILE *f, const json_t *rows) {
    static const struct column columns[] = {{"", "name", 0, -1}, {"KiB", "kib", 1, 1}};

    if (json_array_size(rows) == 0)
        return;
    fputs("<h2>Memory</h2>\n", f);
    for (size_t i = 0, n; i < json_array_size(rows); i += n) {
        const char *group = text_of(json_array_get(rows, i), "group");
        json_t *part = json_array();

        for (n = 0; i + n < json_array_size(rows); n++) {
            json_t *row = json_array_get(rows, i + n);

            if (strcmp(text_of(row, "group"), group) != 0)
                break;
            json_array_append(part, row);
        }
        fputs("<h3>", f);
        tb_put_markup(f, group);
        fputs("</h3>\n", f);
        bench_plot_sizes(f, group, part);
        table(f, part, columns, sizeof columns / sizeof *columns);
        json_decref(part);
    }
}

static void promises(FILE *f, const json_t *rows) {
    if (json_array_size(rows) == 0)
        return;
    fputs("<h2>Promises</h2>\n<ul class=\"k\">\n", f);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);

        fprintf(f, "<li class=\"%s\">", json_is_true(json_object_get(row, "kept")) ? "y" : "n");
        tb_put_markup(f, text_of(row, "promise"));
        fputs("</li>\n", f);
    }
    fputs("</ul>\n", f);
}

static void missing(FILE *f, const json_t *rows) {
    static const struct column columns[] = {{"", "name", 0, -1}, {"reason", "reason", 0, -1}};

    if (json_array_size(rows) == 0)
        return;
    fputs("<h2>Not measured here</h2>\n", f);
    table(f, rows, columns, sizeof columns / sizeof *columns);
}

int bench_report_html(const json_t *report, const char *dir) {
    const json_t *tables = json_object_get(report, "tables");
    char file[1100];
    FILE *f;

    snprintf(file, sizeof file, "%s/%s.html", dir, text_of(report, "benchmark"));
    f = mkdir(dir, 0777) == 0 || errno == EEXIST ? fopen(file, "we") : NULL;
    if (!f) {
        fprintf(stderr, "iot-bench: %s cannot be written: %s\n", file, strerror(errno));
        return TB_ESTORE;
    }
    head(f, report);
    promises(f, json_object_get(report, "promises"));
    for (size_t i = 0; i < json_array_size(tables); i++)
        result_table(f, json_array_get(tables, i));
    costs(f, json_object_get(report, "costs"));
    modelled(f, json_object_get(report, "modelled"));
    sizes(f, json_object_get(report, "sizes"));
    missing(f, json_object_get(report, "missing"));
    fputs("</body>\n</html>\n", f);
    return ferror(f) | fclose(f) ? TB_ESTORE : 0;
}
