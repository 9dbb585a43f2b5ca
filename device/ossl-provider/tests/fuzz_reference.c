/* What stands in a key file: DER of a reference, and the URI in it. What is accepted is written
 * back the same. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "ref.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_uri(struct tb_span text) {
    uint8_t room[4 * ISP_URI_MAX];
    struct tb_buf out = TB_BUF(room);
    struct isp_uri uri, again;
    const char *why = NULL;

    if (isp_uri_parse(text, &uri, &why) < 0) {
        assert(why);
        return;
    }
    isp_uri_put(&out, &uri);
    assert(tb_buf_ok(&out));
    if (out.n > ISP_URI_MAX) /* escaping made it longer than one may be */
        return;
    assert(isp_uri_parse(tb_buf_span(&out), &again, &why) == 0);
    assert(again.has_ref == uri.has_ref && again.type == uri.type);
    assert(again.ref.id_len == uri.ref.id_len && again.ref.label_len == uri.ref.label_len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct tb_span uri, spki;

    try_uri(tb_span(data, size));
    if (isp_reference_parse(tb_span(data, size), &uri, &spki) == 0) {
        assert(uri.n <= size && spki.n <= size);
        try_uri(uri);
    }
    return 0;
}
