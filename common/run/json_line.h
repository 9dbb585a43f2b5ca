#pragma once
/* JSON objects as lines, for both sides of the control protocol. */
#include <jansson.h>

#include "buffer.h"
#include "tb/span.h"

/* Moves the first line, without its line end, from *in to *ret; false when no line is complete. */
bool tb_take_line(struct tb_span *in, struct tb_span *ret);

/* The line as a JSON object (new reference), or NULL with a text in error[cap]. */
json_t *tb_json_object(struct tb_span line, char *error, size_t cap);

/* o with its line end; to be freed. Never NULL. */
char *tb_json_line(const json_t *o, size_t *ret_n);

/* Appends data to partial and calls fn for each line completed; keeps the rest. fn returns false to
 * stop. Returns false when fn did, or when a line passes limit bytes. */
bool tb_each_line(struct tb_outbuf *partial, struct tb_span data, size_t limit,
                  bool (*fn)(struct tb_span line, void *user), void *user);
