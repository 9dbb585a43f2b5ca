#pragma once
/* Where things are: the programs beside this one, the scenarios, and the folder of a run. */
#include <stdbool.h>
#include <stddef.h>

#include "tb/error.h"

enum { SCN_PATH = 1024 };

struct scn_folder {
    char dir[SCN_PATH]; /* events.jsonl, apdu.pcapng, tls.keys, log/, state/ */
    char sock[64];      /* short: socket paths are limited to 107 characters */
};

/* The folder of the running program: the other programs are there too. */
const char *scn_bin_dir(void);
/* The project's source folder (scenarios are found below it), or "" when run from elsewhere. */
const char *scn_source_dir(void);

/* Makes the folder of a run: out, or a new one below $XDG_RUNTIME_DIR or /tmp when out is NULL. An
 * existing out is used when it is empty or holds an earlier run, whose files are removed first. */
int scn_folder_make(const char *out, struct scn_folder *ret, struct tb_error *e) TB_CHECKED;
/* Removes the sockets, and with all the whole folder. */
void scn_folder_remove(struct scn_folder *f, bool all);
/* A path inside; missing folders on the way are made. Returns dst. */
char *scn_folder_path(const struct scn_folder *f, const char *rel, char *dst, size_t cap);

/* The folder of the newest living bed (`testbed up`), as --run DIR or found by itself. */
int scn_living_bed(const char *run, char *ret_dir, size_t cap, struct tb_error *e) TB_CHECKED;
int scn_living_bed_tell(const char *run_dir, struct tb_error *e) TB_CHECKED; /* called by up */
void scn_living_bed_forget(const char *run_dir);
