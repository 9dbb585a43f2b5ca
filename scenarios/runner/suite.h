#pragma once
/* Runs a list of cases one after the other on one loop. */
#include "options.h"
#include "report.h"

/* Finds the scenario files behind the arguments (files or folders; none: all of the project) and
 * fills report with one case for each combination of matrix values that --set, --filter and
 * --repeat leave. Returns 0, or 2 after telling what is wrong. */
int scn_suite_collect(const struct scn_options *o, struct scn_report *report);

/* Runs them. Returns 0, 3 when no folder could be made, or 128 + signal: SIGINT and SIGTERM end the
 * running case as broken, the rest is not run. Results are in report. keep: folders of passed cases
 * stay. */
int scn_suite_run(const struct scn_options *o, struct scn_report *report, bool keep);
