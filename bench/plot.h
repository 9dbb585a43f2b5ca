#pragma once
/* Plots as inline SVG: nothing but shapes and text, colours by class names of the page's style. */
#include <jansson.h>
#include <stdio.h>

/* Rows of a table: bars of the ratio to the row they are compared to (with the promised one), or of
 * the rate when nothing is compared. */
void bench_plot_ratios(FILE *f, const char *title, const json_t *rows);
/* From p50 to p99 of each row that has them, on a logarithmic scale; nothing when none has. */
void bench_plot_times(FILE *f, const char *title, const json_t *rows);
/* "sizes". */
void bench_plot_sizes(FILE *f, const char *title, const json_t *sizes);
/* Stacked modelled time of all cases on one profile (index into their "profiles"). */
void bench_plot_modelled(FILE *f, const char *title, const json_t *modelled, size_t profile);
