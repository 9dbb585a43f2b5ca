/* Any bytes as a stream: read at once and byte by byte, the frames are the same. */
#include "tb/vpcd.h"

#include "fuzz_test.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct tb_span in = tb_span(data, size), body, part;
    size_t used = 0;
    int r;

    while ((r = tb_vpcd_next(&in, &body)) > 0) {
        static uint8_t room[TB_VPCD_HEADER + TB_VPCD_MAX];
        struct tb_buf b = TB_BUF(room);
        size_t frame = TB_VPCD_HEADER + body.n;

        for (size_t n = 0; n < frame; n++) {
            struct tb_span none;

            part = tb_span(data + used, n);
            REQUIRE(tb_vpcd_next(&part, &none) == 0 && part.n == n);
        }
        tb_put_vpcd(&b, body);
        REQUIRE(tb_span_eq(tb_buf_span(&b), tb_span(data + used, frame)));
        used += frame;
        REQUIRE(in.n == size - used);
    }
    REQUIRE(r == 0);
    return 0;
}
