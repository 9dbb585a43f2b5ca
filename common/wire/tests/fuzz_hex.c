/* Any text as hex: both decoders agree on what the strict one accepts, and encoding gives it back.
 */
#include "tb/hex.h"

#include "fuzz_test.h"

static void encodes(struct tb_span in) {
    static uint8_t text_room[1 << 16], back_room[1 << 15];
    struct tb_buf text = TB_BUF(text_room), back = TB_BUF(back_room);
    char shown[40];

    tb_put_hex(&text, in, TB_HEX_LOWER);
    if (!tb_buf_ok(&text))
        return;
    REQUIRE(tb_hex_decode(tb_buf_span(&text), &back) == 0);
    REQUIRE(tb_span_eq(tb_buf_span(&back), in));
    for (size_t cap = 1; cap <= sizeof shown; cap++)
        REQUIRE(strlen(tb_hex_str(shown, cap, in)) < cap);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct tb_span text = tb_span(data, size);
    uint8_t *strict_room = malloc(size / 2 + 1), *loose_room = malloc(size / 2 + 1);
    struct tb_buf strict = tb_buf(strict_room, size / 2), loose = tb_buf(loose_room, size / 2);
    int r = tb_hex_decode(text, &strict), l = tb_hex_decode_loose(text, &loose);

    REQUIRE(r == 0 || r == TB_EPARSE);
    REQUIRE(l == 0 || l == TB_EPARSE);
    REQUIRE(r == 0 ? strict.n == size / 2 : strict.n == 0);
    if (r == 0)
        REQUIRE(l == 0 && tb_span_eq(tb_buf_span(&strict), tb_buf_span(&loose)));
    encodes(text);
    free(strict_room);
    free(loose_room);
    return 0;
}
