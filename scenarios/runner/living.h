#pragma once
/* Living beds (`testbed up`) and how the small tools find them. */
#include <jansson.h>
#include <stddef.h>

#include "tb/error.h"

/* The folder of a living bed: run (--run DIR), or with NULL that of the one started last. */
int scn_living_bed_find(const char *run, char *ret_dir, size_t cap, struct tb_error *e) TB_CHECKED;
/* Its bed.json, or NULL after telling the user why there is none. */
json_t *scn_living_bed_open(const char *run);
/* An address in it, or NULL: this bed has no such thing. */
const char *scn_living_bed_text(const json_t *bed, const char *group, const char *key);

/* Called by up. */
int scn_living_bed_tell(const char *run_dir, struct tb_error *e) TB_CHECKED;
void scn_living_bed_forget(void);
