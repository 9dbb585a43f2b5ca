#pragma once
/* Options of the subcommands, thin over argp. */
#include <argp.h>
#include <stdbool.h>

enum { SCN_MAX_FILES = 256, SCN_MAX_SET = 16 };

struct scn_options {
    const char *files[SCN_MAX_FILES]; /* arguments that are no options */
    int n_files;
    const char *out, *junit, *run, *profile, *model, *bed, *filter, *time;
    bool json, keep, verbose, follow;
    unsigned repeat, seed;
    const char *set[SCN_MAX_SET]; /* key=value: only these values of a matrix axis */
    int n_set;
};

/* which: letters of the options this subcommand has, see options.c. Ends the process on --help (0)
 * and usage errors (2). */
void scn_options_parse(int argc, char **argv, const char *which, const char *args_doc,
                       const char *doc, struct scn_options *ret);
