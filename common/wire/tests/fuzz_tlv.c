/* Any bytes as nested BER-TLV: elements lie inside their parent, writing one again reads back
 * equal. */
#include "tb/tlv.h"

#include "fuzz_test.h"

static void walk(struct tb_span in, int depth) {
    struct tb_span before = in, found;
    struct tb_tlv e, back;
    int r;

    while ((r = tb_tlv_next(&in, &e)) > 0) {
        static uint8_t room[1 << 16];
        struct tb_buf b = TB_BUF(room);
        struct tb_span again;

        REQUIRE(in.n < before.n);
        REQUIRE(e.value.n + in.n < before.n);
        tb_put_tlv(&b, e.tag, e.value);
        if (tb_buf_ok(&b)) {
            again = tb_buf_span(&b);
            REQUIRE(again.n <= before.n - in.n); /* minimal */
            REQUIRE(tb_tlv_next(&again, &back) == 1 && again.n == 0);
            REQUIRE(back.tag == e.tag && tb_span_eq(back.value, e.value));
        }
        REQUIRE(tb_tlv_find(before, e.tag, &found) == 1 && tb_span_eq(found, e.value));
        if (depth < 8)
            walk(e.value, depth + 1);
        before = in;
    }
    REQUIRE(memcmp(&in, &before, sizeof in) == 0);
    REQUIRE((r == 0) == (in.n == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    walk(tb_span(data, size), 0);
    return 0;
}
