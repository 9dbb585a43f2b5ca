/* A hostile modem against the AT codec.
 *
 * Input: mode, then steps: a length byte and that many characters from the modem; FF: the caller
 * gives up (timeout) or the link is made anew. Commands go out whenever none is under way. Checked:
 * lines stay within their bound and end with CR, responses within their room. */
#include <assert.h>
#include <string.h>

#include "iotsafe/at.h"
#include "iotsafe/iotsafe.h"
#include "tb/span.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROOM = 40, GUARD = 0xA7 };

static void command(struct iotsafe_at *at, unsigned n, uint8_t *rsp) {
    static const uint8_t select[] = {0x00, 0xA4, 0x04, 0x00, 0x07, 0xA0, 0, 0, 5, 0x59, 0, 0x10};
    static const uint8_t end[] = {0x00, 0x70, 0x80, 0x01, 0x00};
    static const uint8_t apdu[261] = {0x81, 0x2B, 0x80, 0x01, 0xFF};
    int r;

    if (n % 5 == 0)
        r = iotsafe_at_command(at, select, sizeof select, rsp, ROOM);
    else if (n % 5 == 4)
        r = iotsafe_at_command(at, end, sizeof end, rsp, ROOM);
    else
        r = iotsafe_at_command(at, apdu, 5 + n * 37 % 257, rsp, ROOM);
    assert(r == 0);
}

static void drain(struct iotsafe_at *at) {
    const char *out;
    size_t n = iotsafe_at_output(at, &out);

    assert(n <= IOTSAFE_AT_MAX_LINE);
    if (n > 0)
        assert(out[n - 1] == '\r');
    assert(iotsafe_at_output(at, &out) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct tb_span in = tb_span(data, size);
    struct iotsafe_at at;
    uint8_t mode, n, rsp[ROOM + 1];
    unsigned sent = 0;

    if (!tb_take_u8(&in, &mode))
        return 0;
    iotsafe_at_init(&at, mode & 1 ? IOTSAFE_AT_CGLA : IOTSAFE_AT_CSIM);
    rsp[ROOM] = GUARD;
    while (tb_take_u8(&in, &n)) {
        struct tb_span piece;

        if (!iotsafe_at_busy(&at)) {
            int r = iotsafe_at_result(&at);

            assert(r >= IOTSAFE_E_REFUSED && r <= ROOM && r != 1);
            command(&at, sent++, rsp);
        }
        drain(&at);
        if (n == 0xFF) {
            if (mode & 2)
                iotsafe_at_reset(&at);
            else
                iotsafe_at_timeout(&at);
            mode ^= 2;
            continue;
        }
        piece = tb_span_sub(in, 0, n);
        in = tb_span_sub(in, piece.n, in.n);
        (void)iotsafe_at_input(&at, piece.p, piece.n);
        assert(rsp[ROOM] == GUARD);
    }
    return 0;
}
