/* A hostile card against every operation.
 *
 * Input: operation, options, sizes; then the card's answers, each as a length byte (FF: an event of
 * the link comes instead) and that many bytes. When they are used up the link is broken. Checked
 * besides what sanitizers see: the call ends, within its bound of commands; lengths stay within the
 * caller's buffers; buffers' ends are untouched. */
#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "iotsafe/call.h"
#include "iotsafe/slots.h"
#include "tb/span.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { COMMANDS_MAX = 20000, BUF = 700, GUARD = 0xA7 };

struct hostile {
    struct tb_span in;
    unsigned commands;
};

static int hostile_card(void *user, const uint8_t *cmd, size_t cmd_len, uint8_t *rsp, size_t cap) {
    struct hostile *h = user;
    struct tb_span answer;
    uint8_t n;

    assert(cmd_len >= 4 && cmd_len <= 261 && cmd);
    assert(++h->commands < COMMANDS_MAX);
    if (!tb_take_u8(&h->in, &n))
        return IOTSAFE_E_LINK;
    if (n == 0xFF) {
        static const int events[] = {IOTSAFE_E_LINK, IOTSAFE_E_RESET,   IOTSAFE_E_ABSENT,
                                     IOTSAFE_E_BUSY, IOTSAFE_E_REFUSED, IOTSAFE_E_TIMEOUT};

        return tb_take_u8(&h->in, &n) ? events[n % 6] : IOTSAFE_E_LINK;
    }
    answer = tb_span_sub(h->in, 0, n);
    h->in = tb_span_sub(h->in, answer.n, h->in.n);
    assert(answer.n <= cap);
    if (answer.n)
        memcpy(rsp, answer.p, answer.n);
    return (int)answer.n;
}

struct buffers {
    uint8_t bytes[BUF];
    struct iotsafe_object objects[4];
    size_t n;
};

/* Whatever the card says, what is given out is a reference, and each only once. */
static int discover(struct iotsafe *c) {
    struct iotsafe_slots slots;
    struct iotsafe_ref own;
    int r = iotsafe_slots_discover(c, &slots);
    unsigned n = 0;

    assert(r == 0 || slots.n_own == 0);
    for (; iotsafe_slots_take(&slots, &own) == 0; n++)
        assert(own.id_len <= sizeof own.id && own.label_len <= sizeof own.label &&
               own.id_len + own.label_len > 0);
    assert(n == slots.n_own && n <= IOTSAFE_SLOTS_MAX);
    return r;
}

/* *start is what iotsafe_X_start() said, or the blocking function's result. */
static int operate(struct iotsafe *c, uint8_t which, uint8_t extra, size_t cap, struct buffers *b) {
    static const uint8_t in[300] = {0x80, 0xCA};
    struct iotsafe_ref id = iotsafe_id1(extra), label = iotsafe_label("a label of some length");
    struct iotsafe_ref *ref = extra & 1 ? &id : &label;
    struct iotsafe_object object;
    struct iotsafe_info info;

    switch (which % 20) {
    case 0:
        return iotsafe_select(c);
    case 1:
        return iotsafe_get_info(c, &info);
    case 2:
        return iotsafe_list(c, b->objects, extra % 5, &b->n);
    case 3:
        return iotsafe_get_object(c, (enum iotsafe_object_type)(extra % 4), ref, &object);
    case 4:
        return iotsafe_read_file(c, ref, b->bytes, cap, &b->n);
    case 5:
        return iotsafe_read_public_key(c, ref, b->bytes, cap, &b->n);
    case 6:
        return iotsafe_generate(c, ref, b->bytes, &id, &label);
    case 7:
        return iotsafe_put_public_key(c, ref, in, extra % 2 ? 65 : 290);
    case 8:
        return iotsafe_sign(c, ref, 0, 0, in, 32, b->bytes, cap, &b->n);
    case 9:
        return iotsafe_sign(c, ref, IOTSAFE_SHA512, IOTSAFE_RSA_PSS, in, 64, b->bytes, cap, &b->n);
    case 10:
        return iotsafe_verify(c, ref, 0, 0, in, 32, in, 64);
    case 11:
        return iotsafe_verify(c, ref, 0, IOTSAFE_RSA_PKCS1, in, 32, in, 256);
    case 12:
        return iotsafe_ecdh(c, ref, &id, b->bytes);
    case 13:
        return iotsafe_prf(c, ref, NULL, 0, extra % 2 ? in : NULL, in, 77, b->bytes,
                           cap < 255 ? cap : 255);
    case 14:
        return iotsafe_hkdf_extract(c, ref, NULL, 0, NULL, 0, 1U << extra % 3, b->bytes, cap,
                                    &b->n);
    case 15:
        return iotsafe_random(c, b->bytes, cap);
    case 16:
        return iotsafe_transmit(c, in, 4 + extra % 200, b->bytes, cap, &b->n);
    case 17:
        return iotsafe_agree(c, ref, &id, in, b->bytes);
    case 18:
        return iotsafe_verify_by(c, ref, in, 0, 0, in, 32, in, 64);
    default:
        return discover(c);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct hostile h = {.in = tb_span(data, size)};
    struct iotsafe_transport *t;
    struct buffers b;
    struct iotsafe *c;
    uint8_t which, extra, flags, room;

    if (!tb_take_u8(&h.in, &which) || !tb_take_u8(&h.in, &extra) || !tb_take_u8(&h.in, &flags) ||
        !tb_take_u8(&h.in, &room))
        return 0;
    {
        const struct iotsafe_options opt = {
            .basic_channel = flags >> 2 & 1,
            .close_sessions = flags >> 3 & 1,
            .interindustry_class = flags >> 4 & 1,
            .max_answer = (uint16_t)(flags >> 5 & 1 ? 20 : 0),
        };

        if (iotsafe_transport_mem(hostile_card, &h, &t) < 0)
            return 0;
        t->flags = (flags & 1 ? IOTSAFE_TRANSPORT_LE : 0U) |
                   (flags & 2 ? IOTSAFE_TRANSPORT_OWNS_CHANNEL : 0U);
        if (iotsafe_open(t, &opt, &c) < 0)
            abort();
    }
    for (int i = 0; i < 3 && h.in.n > 0;
         i++) { /* the later ones meet what the first has left behind */
        size_t cap = 2U * room + 65;
        int r;

        memset(&b, GUARD, sizeof b);
        h.commands = 0;
        r = operate(c, (uint8_t)(which + i), extra, cap, &b);
        assert(r <= 0 && r >= IOTSAFE_E_REFUSED);
        for (size_t k = cap; k < BUF; k++)
            assert(b.bytes[k] == GUARD);
        if (r == 0 && b.n != (size_t)-1 / 255 * GUARD && (which + i) % 20 != 2)
            assert(b.n <= cap);
    }
    iotsafe_close(c);
    return 0;
}
