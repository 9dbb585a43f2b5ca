#pragma once
/* Rows of the output file and of the operator's file about one card. */
#include "batch.h"

enum { BATCH_ROWS_MAX = 65536 }; /* bytes about one card */

/* The rows of the output file (docs/factory.md). f: the card file as the batch changed it; record:
 * what factory_make() has told, with secrets. kek may be NULL when no secret is in a row. */
int batch_rows(const struct batch *b, const struct batch_numbers *n, const struct cardfile *f,
               const json_t *record, const struct tb_kek *kek, struct tb_buf *out,
               struct tb_error *e) TB_CHECKED;

/* The row of the operator's file, with pySim's names of columns; PINs as the card file has them. */
void batch_operator_row(const struct batch_numbers *n, const struct cardfile *f,
                        const json_t *record, struct tb_buf *out);
extern const char batch_operator_head[];
