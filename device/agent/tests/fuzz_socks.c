/* Datagrams of a SOCKS 5 relay: whatever comes, the payload lies inside of it or there is none. */
#include <stdlib.h>

#include "stream_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void strip(struct tb_span header, struct tb_span whole) {
    struct tb_span in = whole;

    if (!dev_socks_strip(header, &in))
        return;
    if (in.n >= whole.n || (in.n > 0 && in.p + in.n != whole.p + whole.n))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const struct tb_span whole = tb_span(data, size);

    strip(TB_BYTES(0, 0, 0, 1, 127, 0, 0, 1, 0, 7), whole);
    strip(TB_BYTES(0, 0, 0, 3, 1, 'h', 0, 7), whole);
    return 0;
}
