/* GET DATA: application information, the object list, one object; and raw commands. */
#include "call.h"

enum { P1_APPLICATION = 0x00, P1_LIST = 0x01, P2_FIRST = 0x00, P2_NEXT = 0x01 };

/* ---- application information ---- */

static int info_build(struct call *k, struct tb_buf *out) {
    command_get(k, out, TB_SAFE_GET_DATA, P1_APPLICATION, P2_FIRST, 256);
    return 0;
}

static int info_answer(struct call *k, uint16_t sw, struct tb_span data) {
    (void)sw;
    return info_read(data, k->ret) ? 0 : IOTSAFE_E_FORMAT;
}

static const struct operation op_info = {.build = info_build, .answer = info_answer};

int iotsafe_get_info_start(struct iotsafe_call *call, struct iotsafe *c, struct iotsafe_info *ret) {
    struct call *k;
    int r = call_begin(call, c, &op_info, &k);

    if (r < 0)
        return r;
    if (!ret)
        return call_fail(k, IOTSAFE_E_ARGUMENT);
    k->ret = ret;
    return 0;
}

int iotsafe_get_info(struct iotsafe *c, struct iotsafe_info *ret) {
    struct iotsafe_call call;

    return call_run(&call, iotsafe_get_info_start(&call, c, ret));
}

/* ---- object list ---- */

static void emit_listed(const struct iotsafe_object *object, void *user) {
    struct call *k = user;

    if (k->done < k->out_cap)
        memcpy((struct iotsafe_object *)k->ret + k->done, object, sizeof *object);
    k->done++;
}

static int list_build(struct call *k, struct tb_buf *out) {
    k->last = 0;
    command_get(k, out, TB_SAFE_GET_DATA, P1_LIST, k->next_page ? P2_NEXT : P2_FIRST, 256);
    return 0;
}

/* The client's buffer holds what is not read yet: never more than one element of an object, so the
 * list may be of any length, and be cut into blocks anywhere. */
static int list_data(struct call *k, struct tb_span data) {
    struct iotsafe *c = k->c;

    k->last += data.n;
    while (data.n > 0) {
        size_t room = sizeof c->acc - c->acc_len;
        struct tb_span piece = tb_span_sub(data, 0, room), left;

        if (room == 0)
            return IOTSAFE_E_FORMAT;
        data = tb_span_sub(data, piece.n, data.n);
        memcpy(c->acc + c->acc_len, piece.p, piece.n);
        c->acc_len += piece.n;
        left = tb_span(c->acc, c->acc_len);
        objects_read(&k->objects, &left, false, k->emit, k);
        memmove(c->acc, left.p, left.n);
        c->acc_len = left.n;
    }
    return 0;
}

/* spec: IOTSAFE 2.14 6300: another block is there, to be had with P2 = 01. A card that offers one
 * and then refuses it has told what it had. */
static int list_answer(struct call *k, uint16_t sw, struct tb_span data) {
    struct tb_span left = data;

    if (!tb_sw_success(sw) && sw != TB_SW_MORE_LIST && (sw >> 8) != 0x62 && !k->next_page)
        return error_of_sw(sw);
    if (sw == TB_SW_MORE_LIST && k->last > 0) {
        k->next_page = true;
        return 1;
    }
    objects_read(&k->objects, &left, true, k->emit, k);
    if (k->done == 0 && data.n > 0)
        return IOTSAFE_E_FORMAT;
    if (k->listed)
        k->listed(k);
    else
        *k->ret_len = k->done;
    return 0;
}

static void list_restart(struct call *k) {
    k->done = 0;
    k->next_page = false;
    memset(&k->objects, 0, sizeof k->objects);
}

const struct operation op_list = {.flags = OP_LONG | OP_OWN_ERRORS,
                                  .build = list_build,
                                  .data = list_data,
                                  .answer = list_answer,
                                  .restart = list_restart};

int iotsafe_list_start(struct iotsafe_call *call, struct iotsafe *c, struct iotsafe_object *ret,
                       size_t cap, size_t *ret_n) {
    struct call *k;
    int r = call_begin(call, c, &op_list, &k);

    if (r < 0)
        return r;
    if ((cap && !ret) || !ret_n)
        return call_fail(k, IOTSAFE_E_ARGUMENT);
    k->ret = ret;
    k->out_cap = cap;
    k->ret_len = ret_n;
    k->emit = emit_listed;
    return 0;
}

int iotsafe_list(struct iotsafe *c, struct iotsafe_object *ret, size_t cap, size_t *ret_n) {
    struct iotsafe_call call;

    return call_run(&call, iotsafe_list_start(&call, c, ret, cap, ret_n));
}

/* ---- one object ---- */

void object_build(struct call *k, struct tb_buf *out, enum iotsafe_object_type type) {
    static const uint8_t p1[] = {
        [IOTSAFE_PRIVATE_KEY] = TB_SAFE_T_PRIVATE_INFO,
        [IOTSAFE_PUBLIC_KEY] = TB_SAFE_T_PUBLIC_INFO,
        [IOTSAFE_SECRET_KEY] = TB_SAFE_T_SECRET_INFO,
        [IOTSAFE_FILE] = TB_SAFE_T_FILE_INFO,
    };

    command_begin(k, out, TB_SAFE_GET_DATA, p1[type], P2_FIRST);
    put_ref(out, type, k->ref);
    command_end(k, out, true);
}

struct wanted {
    enum iotsafe_object_type type;
    bool found;
    struct iotsafe_object object;
};

static void emit_wanted(const struct iotsafe_object *object, void *user) {
    struct wanted *w = user;

    if (w->found || object->type != w->type)
        return;
    w->object = *object;
    w->found = true;
}

bool object_read(struct tb_span data, enum iotsafe_object_type type, struct iotsafe_object *ret) {
    struct wanted w = {.type = type};
    struct object_reader reader = {0};

    objects_read(&reader, &data, true, emit_wanted, &w);
    if (w.found)
        *ret = w.object;
    return w.found;
}

static int object_command(struct call *k, struct tb_buf *out) {
    object_build(k, out, (enum iotsafe_object_type)k->alg);
    return 0;
}

static int object_answer(struct call *k, uint16_t sw, struct tb_span data) {
    (void)sw;
    return object_read(data, (enum iotsafe_object_type)k->alg, k->ret) ? 0 : IOTSAFE_E_FORMAT;
}

static const struct operation op_object = {.build = object_command, .answer = object_answer};

int iotsafe_get_object_start(struct iotsafe_call *call, struct iotsafe *c,
                             enum iotsafe_object_type type, const struct iotsafe_ref *ref,
                             struct iotsafe_object *ret) {
    struct call *k;
    int r = call_begin(call, c, &op_object, &k);

    if (r < 0)
        return r;
    if (!ref_ok(ref) || (unsigned)type > IOTSAFE_FILE || !ret)
        return call_fail(k, IOTSAFE_E_ARGUMENT);
    k->ref = ref;
    k->alg = (unsigned)type;
    k->ret = ret;
    return 0;
}

int iotsafe_get_object(struct iotsafe *c, enum iotsafe_object_type type,
                       const struct iotsafe_ref *ref, struct iotsafe_object *ret) {
    struct iotsafe_call call;

    return call_run(&call, iotsafe_get_object_start(&call, c, type, ref, ret));
}

/* ---- a command of the caller's ---- */

static int raw_build(struct call *k, struct tb_buf *out) {
    struct tb_span rest = k->in;
    uint8_t cla = 0;

    (void)tb_take_u8(&rest, &cla);
    tb_put_u8(out, tb_cla_on_channel(cla, k->c->channel));
    tb_put(out, rest);
    return 0;
}

static int raw_answer(struct call *k, uint16_t sw, struct tb_span data) {
    (void)sw;
    if (data.n > k->out_cap)
        return IOTSAFE_E_TOO_SMALL;
    memcpy(k->out, data.p, data.n);
    *k->ret_len = data.n;
    return 0;
}

static const struct operation op_raw = {
    .flags = OP_RAW | OP_ONCE, .build = raw_build, .answer = raw_answer};

int iotsafe_transmit_start(struct iotsafe_call *call, struct iotsafe *c, const uint8_t *cmd,
                           size_t cmd_len, uint8_t *rsp, size_t cap, size_t *ret_len) {
    struct call *k;
    int r = call_begin(call, c, &op_raw, &k);

    if (r < 0)
        return r;
    if (!cmd || cmd_len < 4 || cmd_len > CMD_MAX || !rsp || !ret_len)
        return call_fail(k, IOTSAFE_E_ARGUMENT);
    k->in = tb_span(cmd, cmd_len);
    k->out = rsp;
    k->out_cap = cap;
    k->ret_len = ret_len;
    return 0;
}

int iotsafe_transmit(struct iotsafe *c, const uint8_t *cmd, size_t cmd_len, uint8_t *rsp,
                     size_t cap, size_t *ret_len) {
    struct iotsafe_call call;

    return call_run(&call, iotsafe_transmit_start(&call, c, cmd, cmd_len, rsp, cap, ret_len));
}
