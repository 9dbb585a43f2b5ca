/* Any bytes as a command and as a response: what parses is written again and parses to the same. */
#include "tb/apdu.h"

#include "fuzz_test.h"

static bool same(const struct tb_apdu *a, const struct tb_apdu *b) {
    return a->cla == b->cla && a->ins == b->ins && a->p1 == b->p1 && a->p2 == b->p2 &&
           tb_span_eq(a->data, b->data) && a->ne == b->ne && a->le_present == b->le_present;
}

static void command(struct tb_span raw, unsigned flags) {
    static uint8_t room[1 << 17];
    struct tb_buf b = TB_BUF(room);
    struct tb_apdu a, back;
    struct tb_cla c;

    if (tb_apdu_parse(raw, flags, &a) < 0)
        return;
    REQUIRE(a.data.n + 4 <= raw.n);
    REQUIRE(a.ne <= (a.extended ? 65536U : 256U) && a.le_present == (a.ne > 0));
    REQUIRE(a.extended || a.data.n <= 255);
    tb_put_apdu(&b, &a);
    REQUIRE(tb_buf_ok(&b));
    REQUIRE(tb_apdu_parse(tb_buf_span(&b), 0, &back) == 0 && same(&a, &back));
    if (flags == 0)
        REQUIRE(tb_span_eq(tb_buf_span(&b), raw)); /* the strict form has one coding */
    if (tb_cla_parse(a.cla, &c))
        REQUIRE(tb_cla_on_channel(a.cla, c.channel) == a.cla);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct tb_span raw = tb_span(data, size), body;
    uint16_t sw;

    command(raw, 0);
    command(raw, TB_APDU_TRAILING);
    if (tb_rapdu_parse(raw, &body, &sw) == 0) {
        REQUIRE(body.n == size - 2);
        REQUIRE(tb_sw_text(sw) != NULL);
    }
    return 0;
}
