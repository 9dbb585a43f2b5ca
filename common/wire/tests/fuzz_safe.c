/* Any bytes as an IoT SAFE list: values lie inside, errors touch nothing, every form reads back. */
#include "tb/safe.h"

#include "fuzz_test.h"

static void write_again(struct tb_tlv e, enum tb_safe_len form) {
    static uint8_t room[1 << 17];
    struct tb_buf b = TB_BUF(room);
    struct tb_span in;
    struct tb_tlv back;

    tb_put_safe(&b, (uint8_t)e.tag, form, e.value);
    if (!tb_buf_ok(&b))
        return;
    in = tb_buf_span(&b);
    REQUIRE(tb_safe_next(&in, &back) == 1 && back.tag == e.tag);
    REQUIRE(in.n == 0 && tb_span_eq(back.value, e.value));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct tb_span in = tb_span(data, size), before = in, found;
    struct tb_tlv e;
    int r;

    while ((r = tb_safe_next(&in, &e)) > 0) {
        REQUIRE(e.tag <= 0xFF);
        REQUIRE(e.value.n + in.n + 2 <= before.n);
        REQUIRE(e.value.n == 0 || e.value.p + e.value.n == data + size - in.n);
        REQUIRE(tb_safe_find(before, (uint8_t)e.tag, &found) == 1);
        REQUIRE(tb_span_eq(found, e.value));
        /* Each tag in the form its writers use, where one reading exists. */
        if (e.value.n >= 2 && e.value.n < 0x80)
            write_again(e, TB_SAFE_LEN_8);
        if (e.tag == TB_SAFE_T_SIGNATURE && e.value.n >= 2 && e.value.n < 0x200)
            write_again(e, TB_SAFE_LEN_16);
        if (e.tag == TB_SAFE_T_FULL_TEXT && e.value.n >= 2)
            write_again(e, TB_SAFE_LEN_BER);
        before = in;
    }
    REQUIRE(memcmp(&in, &before, sizeof in) == 0);
    REQUIRE((r == 0) == (in.n == 0));
    return 0;
}
