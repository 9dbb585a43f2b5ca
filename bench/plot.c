#include "plot.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "tb/markup.h"

/* Geometry, in user units of the drawing: label, plot and figure side by side. */
enum { WIDTH = 860, LABEL = 330, PLOT = 400, ROW = 22, BAR = 12, TOP = 8, AXIS = 22 };

static const char *text_of(const json_t *o, const char *name) {
    const char *text = json_string_value(json_object_get(o, name));

    return text ? text : "";
}

static double number_of(const json_t *o, const char *name) {
    return json_number_value(json_object_get(o, name));
}

static void begin(FILE *f, const char *title, size_t rows) {
    fprintf(f, "<svg role=\"img\" viewBox=\"0 0 %d %zu\">\n<title>", WIDTH,
            TOP + rows * ROW + AXIS);
    tb_put_markup(f, title);
    fputs("</title>\n", f);
}

static void end(FILE *f) {
    fputs("</svg>\n", f);
}

static int top_of(size_t row) {
    return TOP + (int)row * ROW;
}

static void label(FILE *f, size_t row, const char *text) {
    fprintf(f, "<text class=\"l\" x=\"%d\" y=\"%d\">", LABEL - 10, top_of(row) + ROW / 2 + 4);
    tb_put_markup(f, text);
    fputs("</text>\n", f);
}

static void bar(FILE *f, size_t row, const char *class, double from, double to) {
    fprintf(f, "<rect class=\"%s\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\"/>\n", class,
            LABEL + from * PLOT, top_of(row) + (ROW - BAR) / 2, (to - from) * PLOT, BAR);
}

static void figure(FILE *f, size_t row, double at, const char *text) {
    fprintf(f, "<text class=\"v\" x=\"%.1f\" y=\"%d\">%s</text>\n", LABEL + at * PLOT + 6,
            top_of(row) + ROW / 2 + 4, text);
}

/* A line over all rows, with its value below. */
static void grid(FILE *f, size_t rows, const char *class, double at, const char *text) {
    int bottom = top_of(rows);

    fprintf(f,
            "<line class=\"%s\" x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\"/>\n"
            "<text class=\"a\" x=\"%.1f\" y=\"%d\">%s</text>\n",
            class, LABEL + at * PLOT, TOP, LABEL + at * PLOT, bottom, LABEL + at * PLOT,
            bottom + 14, text);
}

/* Three digits. */
static void digits(double v, char dst[24]) {
    snprintf(dst, 24, "%.*f", v >= 100 || v == 0 ? 0 : v >= 10 ? 1 : v >= 1 ? 2 : 3, v);
}

static double greatest(const json_t *rows, const char *name) {
    double most = 0, v;

    for (size_t i = 0; i < json_array_size(rows); i++) {
        v = number_of(json_array_get(rows, i), name);
        most = v > most ? v : most;
    }
    return most;
}

/* ---- ratios ---- */

static void ratio_row(FILE *f, size_t i, const json_t *row, double most) {
    bool compared = json_object_get(row, "ratio") != NULL;
    double ratio = compared ? number_of(row, "ratio") : 1;
    double promised = number_of(row, "promised");
    char rate[24], text[64];

    digits(number_of(row, "per_second"), rate);
    snprintf(text, sizeof text, compared ? "%.2f (%s/s)" : "%.0f (%s/s)", ratio, rate);
    label(f, i, text_of(row, "name"));
    bar(f, i, compared ? ratio < promised ? "b bad" : "b" : "b base", 0, ratio / most);
    figure(f, i, ratio / most, text);
    if (promised > 0)
        fprintf(f, "<line class=\"p\" x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\"/>\n",
                LABEL + promised / most * PLOT, top_of(i) + 2, LABEL + promised / most * PLOT,
                top_of(i) + ROW - 2);
}

static void rate_row(FILE *f, size_t i, const json_t *row, double most) {
    double rate = number_of(row, "per_second");
    char text[32], figures[24];

    digits(rate, figures);
    snprintf(text, sizeof text, "%s/s", figures);
    label(f, i, text_of(row, "name"));
    bar(f, i, "b", 0, rate / most);
    figure(f, i, rate / most, text);
}

void bench_plot_ratios(FILE *f, const char *title, const json_t *rows) {
    size_t n = json_array_size(rows);
    double ratio = greatest(rows, "ratio"), most = ratio > 0 ? fmax(ratio, 1) : 0;

    begin(f, title, n);
    if (most == 0)
        most = fmax(greatest(rows, "per_second"), 1e-9);
    for (size_t i = 0; i < n; i++)
        (ratio > 0 ? ratio_row : rate_row)(f, i, json_array_get(rows, i), most);
    if (ratio > 0)
        grid(f, n, "one", 1 / most, "1");
    end(f);
}

/* ---- times ---- */

static void time_row(FILE *f, size_t i, const json_t *row, double low, double decades) {
    double p50 = number_of(row, "p50_us"), p99 = number_of(row, "p99_us");
    double from = log10(p50 / low) / decades, to = log10(p99 / low) / decades;
    char text[64], a[24], b[24];
    int y = top_of(i) + ROW / 2;

    digits(p50 / 1e3, a);
    digits(p99 / 1e3, b);
    snprintf(text, sizeof text, "%s .. %s ms", a, b);
    label(f, i, text_of(row, "name"));
    bar(f, i, "r", from, to);
    fprintf(f, "<circle class=\"d\" cx=\"%.1f\" cy=\"%d\" r=\"4.5\"/>\n", LABEL + from * PLOT, y);
    figure(f, i, to, text);
}

void bench_plot_times(FILE *f, const char *title, const json_t *rows) {
    double most = greatest(rows, "p99_us"), least = most, low, decades;
    size_t n = json_array_size(rows), drawn = 0;
    char text[24];

    for (size_t i = 0; i < n; i++) {
        double p50 = number_of(json_array_get(rows, i), "p50_us");

        drawn += p50 > 0;
        least = p50 > 0 && p50 < least ? p50 : least;
    }
    if (drawn == 0)
        return;
    low = pow(10, floor(log10(least)));
    decades = fmax(1, ceil(log10(most / low)));
    begin(f, title, drawn);
    for (int d = 0; d <= (int)decades; d++) {
        digits(low * pow(10, d) / 1e3, text);
        strncat(text, " ms", sizeof text - strlen(text) - 1);
        grid(f, drawn, "g", d / decades, text);
    }
    drawn = 0;
    for (size_t i = 0; i < n; i++)
        if (number_of(json_array_get(rows, i), "p50_us") > 0)
            time_row(f, drawn++, json_array_get(rows, i), low, decades);
    end(f);
}

/* ---- sizes ---- */

void bench_plot_sizes(FILE *f, const char *title, const json_t *sizes) {
    double most = fmax(greatest(sizes, "kib"), 1e-9);
    size_t n = json_array_size(sizes);
    char text[48], figures[24];

    begin(f, title, n);
    for (size_t i = 0; i < n; i++) {
        const json_t *row = json_array_get(sizes, i);
        double kib = number_of(row, "kib");

        digits(kib, figures);
        snprintf(text, sizeof text, "%s KiB", figures);
        label(f, i, text_of(row, "name"));
        bar(f, i, "b", 0, fmax(kib, 0) / most);
        figure(f, i, fmax(kib, 0) / most, text);
    }
    end(f);
}

/* ---- modelled time ---- */

static const char *const parts[] = {"card_ms", "link_ms", "uart_ms", "radio_ms"};
static const char *const part_classes[] = {"m1", "m2", "m3", "m4"};
enum { PARTS = 4 };

static double sum_of(const json_t *profile) {
    double sum = 0;

    for (unsigned k = 0; k < PARTS; k++)
        sum += number_of(profile, parts[k]);
    return sum;
}

static void modelled_row(FILE *f, size_t i, const json_t *row, const json_t *profile, double most) {
    char text[200], figures[24];
    double at = 0;

    snprintf(text, sizeof text, "%s: %s", text_of(row, "group"), text_of(row, "name"));
    label(f, i, text);
    for (unsigned k = 0; k < PARTS; k++) {
        double part = number_of(profile, parts[k]) / most;

        if (part > 0)
            bar(f, i, part_classes[k], at, at + part);
        at += part;
    }
    digits(sum_of(profile), figures);
    snprintf(text, sizeof text, "%s ms", figures);
    figure(f, i, at, text);
}

void bench_plot_modelled(FILE *f, const char *title, const json_t *modelled, size_t profile) {
    size_t n = json_array_size(modelled);
    double most = 1e-9;

    for (size_t pass = 0; pass < 2; pass++) {
        if (pass)
            begin(f, title, n);
        for (size_t i = 0; i < n; i++) {
            const json_t *row = json_array_get(modelled, i);
            const json_t *p = json_array_get(json_object_get(row, "profiles"), profile);

            if (pass)
                modelled_row(f, i, row, p, most);
            else
                most = fmax(most, sum_of(p));
        }
    }
    end(f);
}
