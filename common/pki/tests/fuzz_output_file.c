/* Any bytes as an output file: every row is taken or refused with a reason, and what a field holds
 * is written again so that it reads the same. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../wire/tests/fuzz_test.h"
#include "tb/output_file.h"

static void again(const struct tb_span *fields, size_t n) {
    static uint8_t room[1 << 20];
    struct tb_buf out = TB_BUF(room);
    struct tb_span back[TB_OUT_FIELDS_MAX];
    struct tb_error e;
    struct tb_csv c;

    for (size_t i = 0; i < n; i++)
        tb_put_csv(&out, fields[i], i + 1 == n);
    /* One empty field is a blank line; it cannot be written. */
    if (!tb_buf_ok(&out) || (n == 1 && fields[0].n == 0))
        return;
    tb_csv_init(&c, tb_buf_span(&out), ',');
    REQUIRE(tb_csv_next(&c, back, TB_OUT_FIELDS_MAX, &e) == (int)n);
    for (size_t i = 0; i < n; i++)
        REQUIRE(tb_span_eq(fields[i], back[i]));
    REQUIRE(tb_csv_next(&c, back, TB_OUT_FIELDS_MAX, &e) == 0);
    tb_csv_done(&c);
}

static void look(const struct tb_out_row *row) {
    static const struct tb_kek kek = {.name = "t1", .n = 16};
    struct tb_out_complaint why;
    struct tb_out_secrets s;
    int r;

    REQUIRE(row->spki_n <= TB_OUT_SPKI_MAX && row->cert_n <= TB_OUT_CERT_MAX);
    REQUIRE((row->kind == TB_OUT_X509) == (row->spki_n > 0));
    r = tb_out_unwrap(row, &kek, &s, &why);
    REQUIRE(r == 0 || r == TB_EPARSE || r == TB_ENOTFOUND);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct tb_out_row row;
    struct tb_span fields[TB_OUT_FIELDS_MAX];
    struct tb_out_complaint why;
    struct tb_out_header h;
    struct tb_error e;
    struct tb_csv c;
    bool head = false;
    int n;

    tb_csv_init(&c, tb_span(data, size), ',');
    while ((n = tb_csv_next(&c, fields, TB_OUT_FIELDS_MAX, &e)) != 0) {
        if (n < 0)
            continue;
        again(fields, (size_t)n);
        if (!head) {
            head = tb_out_header(fields, (size_t)n, &h, &e) == 0;
            continue;
        }
        why.column = NULL;
        if (tb_out_row(&h, fields, (size_t)n, &row, &why) == 0)
            look(&row);
        else
            REQUIRE(why.column && *why.reason);
    }
    tb_csv_done(&c);
    return 0;
}
