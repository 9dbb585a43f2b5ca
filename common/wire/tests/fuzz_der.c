/* Any bytes as a DER signature, as a raw one and as an object: strict DER has one form, so
 * converting there and back gives the very same bytes. */
#include "tb/der.h"

#include "fuzz_test.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const size_t halves[] = {32, 48, 66};
    struct tb_span in = tb_span(data, size);
    uint8_t raw_room[132], der_room[160];
    size_t len = 0;

    for (size_t i = 0; i < sizeof halves / sizeof *halves; i++) {
        struct tb_buf raw = TB_BUF(raw_room), der = TB_BUF(der_room);

        if (tb_ecdsa_der_to_raw(in, halves[i], &raw) < 0)
            continue;
        REQUIRE(raw.n == 2 * halves[i]);
        REQUIRE(tb_ecdsa_raw_to_der(tb_buf_span(&raw), &der) == 0);
        REQUIRE(tb_span_eq(tb_buf_span(&der), in));
        REQUIRE(tb_der_object_len(in, &len) == 0 && len == size);
    }
    if (size >= 64 && size <= 132 && size % 2 == 0) {
        struct tb_buf raw = TB_BUF(raw_room), der = TB_BUF(der_room);

        REQUIRE(tb_ecdsa_raw_to_der(in, &der) == 0);
        REQUIRE(tb_ecdsa_der_to_raw(tb_buf_span(&der), size / 2, &raw) == 0);
        REQUIRE(tb_span_eq(tb_buf_span(&raw), in));
    }
    if (tb_der_object_len(in, &len) == 0)
        REQUIRE(len >= 2);
    return 0;
}
