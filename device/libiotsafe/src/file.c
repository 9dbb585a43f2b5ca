/* READ FILE, with as few commands as the content allows.
 *
 * A certificate tells its own length, so its blocks are read until it is complete; containers are
 * often larger and padded. For anything else the card is asked for the size once. Sizes that are
 * wrong or missing, and blocks of any size, end at the latest where the card says that the offset
 * is outside. */
#include "call.h"
#include "tb/der.h"

enum { STEP_READ, STEP_SIZE };

enum content {
    CONTENT_OTHER,   /* not DER, or not only */
    CONTENT_PARTIAL, /* DER that goes on */
    CONTENT_WHOLE,   /* DER objects that end with the last byte */
    CONTENT_PADDED,  /* … followed by padding */
};

static bool is_padding(struct tb_span s) {
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != 0x00 && s.p[i] != 0xFF)
            return false;
    }
    return true;
}

/* What has been read so far. A file may hold a chain of certificates: DER objects in a row. */
static enum content look(struct tb_span in, size_t *ret_len) {
    struct tb_span rest = in, object;
    size_t len;

    while (rest.n > 0) {
        int r;

        if (rest.p[0] != 0x30) {
            *ret_len = in.n - rest.n;
            return rest.n < in.n && is_padding(rest) ? CONTENT_PADDED : CONTENT_OTHER;
        }
        r = tb_der_object_len(rest, &len);
        if (r == TB_EMORE || (r == 0 && len > rest.n))
            return CONTENT_PARTIAL;
        if (r < 0)
            return CONTENT_OTHER;
        (void)tb_take(&rest, len, &object);
    }
    *ret_len = in.n;
    return CONTENT_WHOLE;
}

static struct tb_span stored(const struct call *k) {
    return tb_span(k->out, k->done < k->out_cap ? k->done : k->out_cap);
}

static int build(struct call *k, struct tb_buf *out) {
    k->c->acc_len = 0;
    if (k->step == STEP_SIZE) {
        object_build(k, out, IOTSAFE_FILE);
        return 0;
    }
    k->last = 0;
    command_begin(k, out, TB_SAFE_READ_FILE, (uint8_t)(k->done >> 8), (uint8_t)k->done);
    put_ref(out, IOTSAFE_FILE, k->ref);
    command_end(k, out, true);
    return 0;
}

static int data(struct call *k, struct tb_span in) {
    struct iotsafe *c = k->c;

    if (k->step == STEP_SIZE) {
        struct tb_buf acc = {c->acc, c->acc_len, sizeof c->acc, false};

        tb_put(&acc, in);
        c->acc_len = acc.n;
        return 0;
    }
    k->last += in.n;
    if (k->done < k->out_cap) {
        struct tb_span fits;
        size_t room = k->out_cap - k->done;

        (void)tb_take(&in, in.n < room ? in.n : room, &fits);
        memcpy(k->out + k->done, fits.p, fits.n);
        k->done += fits.n;
    }
    if (!is_padding(in))
        k->excess = true; /* more content than the caller has room for */
    k->done += in.n;
    return k->done > FILE_MAX + 1U ? IOTSAFE_E_FORMAT : 0;
}

static int whole(struct call *k) {
    size_t len = k->total && k->total < k->done ? k->total : k->done, der;
    enum content content = look(stored(k), &der);

    if (content == CONTENT_PADDED && der < len)
        len = der;
    if (content == CONTENT_WHOLE && !k->excess && len > k->out_cap)
        len = k->out_cap; /* the caller's room is exact, the rest is padding */
    if (len > k->out_cap)
        return IOTSAFE_E_TOO_SMALL;
    *k->ret_len = len;
    return 0;
}

static int next_block(struct call *k) {
    size_t der;
    enum content content;

    if (k->total && k->done >= k->total)
        return whole(k);
    content = look(stored(k), &der);
    if (k->done > k->out_cap && (k->excess || content == CONTENT_PARTIAL))
        return IOTSAFE_E_TOO_SMALL;
    if (content == CONTENT_PADDED || (content == CONTENT_WHOLE && k->last < BLOCK_FULL))
        return whole(k);
    if (content == CONTENT_OTHER && !k->asked_size) {
        k->step = STEP_SIZE;
        return 1;
    }
    if (content == CONTENT_OTHER && k->last < k->block)
        return whole(k); /* shorter than the one before: the last */
    if (k->done > FILE_MAX)
        return whole(k);
    k->block = k->last;
    return 1;
}

static int size_answer(struct call *k, uint16_t sw) {
    struct iotsafe_object object;

    k->asked_size = true;
    k->step = STEP_READ;
    if (tb_sw_success(sw) &&
        object_read(tb_span(k->c->acc, k->c->acc_len), IOTSAFE_FILE, &object) &&
        object.file_size >= k->done)
        k->total = object.file_size; /* a smaller one is visibly wrong */
    return next_block(k);
}

/* spec: IOTSAFE 2.21 an offset outside the file: 6A86 or 6981; cards also say 6B00 or 6700 */
static bool is_end(uint16_t sw) {
    return sw == TB_SW_P1P2 || sw == TB_SW_FILE_TYPE || sw == TB_SW_OFFSET || sw == TB_SW_LENGTH;
}

static int answer(struct call *k, uint16_t sw, struct tb_span unused) {
    bool good = tb_sw_success(sw) || sw == TB_SW_MORE_LIST || (sw >> 8) == 0x62;

    (void)unused;
    if (k->step == STEP_SIZE)
        return size_answer(k, sw);
    if (!good && !(k->done > 0 && is_end(sw)))
        return error_of_sw(sw);
    if (!good || k->last == 0)
        return whole(k);
    return next_block(k);
}

static void restart(struct call *k) {
    k->done = k->last = k->block = k->total = 0;
    k->asked_size = k->excess = false;
}

static const struct operation op_file = {.flags = OP_LONG | OP_OWN_ERRORS,
                                         .build = build,
                                         .data = data,
                                         .answer = answer,
                                         .restart = restart};

int iotsafe_read_file_start(struct iotsafe_call *call, struct iotsafe *c,
                            const struct iotsafe_ref *ref, uint8_t *buf, size_t cap,
                            size_t *ret_len) {
    struct call *k;
    int r = call_begin(call, c, &op_file, &k);

    if (r < 0)
        return r;
    if (!ref_ok(ref) || !buf || !ret_len)
        return call_fail(k, IOTSAFE_E_ARGUMENT);
    k->ref = ref;
    k->out = buf;
    k->out_cap = cap;
    k->ret_len = ret_len;
    return 0;
}

int iotsafe_read_file(struct iotsafe *c, const struct iotsafe_ref *ref, uint8_t *buf, size_t cap,
                      size_t *ret_len) {
    struct iotsafe_call call;

    return call_run(&call, iotsafe_read_file_start(&call, c, ref, buf, cap, ret_len));
}
