#include "fault.h"

#include <stdio.h>
#include <string.h>

#include "tb/cli.h"

enum { FLIP, TRUNCATE, EXTEND };
enum { MS_MAX = 600000, COUNT_MAX = 1000000 };

static const char *const kinds[] = {"power-cut", "remove",  "mute",        "slow",
                                    "status",    "corrupt", "memory-full", NULL};
static const char *const hows[] = {"flip", "truncate", "extend", NULL};
static const char *const members[] = {"kind", "operation", "after", "times", "write", "state",
                                      "sent", "executed",  "ms",    "sw",    "how",   "amount",
                                      "verb", "id",        "clear", NULL};

const char *card_fault_name(unsigned kind) {
    return kinds[kind];
}

static int index_of(const char *const *names, const char *text) {
    for (int i = 0; names[i]; i++)
        if (strcmp(names[i], text) == 0)
            return i;
    return -1;
}

static int choose(const json_t *value, const char *what, const char *const *names, int *ret,
                  struct tb_error *e) {
    const char *text = json_string_value(value), *near;

    if (!text)
        return tb_error_set(e, TB_EPARSE, NULL, 0, "%s: want a name", what);
    *ret = index_of(names, text);
    if (*ret >= 0)
        return 0;
    near = tb_nearest(text, names);
    return tb_error_set(e, TB_EPARSE, NULL, 0, "%s: no '%s'%s%s%s", what, text,
                        near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static int number(const json_t *request, const char *name, unsigned min, unsigned max,
                  unsigned *ret, struct tb_error *e) {
    const json_t *v = json_object_get(request, name);

    if (!v)
        return 0;
    if (!json_is_integer(v) || json_integer_value(v) < min || json_integer_value(v) > max)
        return tb_error_set(e, TB_ERANGE, NULL, 0, "%s: want a number from %u to %u", name, min,
                            max);
    *ret = (unsigned)json_integer_value(v);
    return 0;
}

static int status_word(const json_t *v, uint16_t *ret, struct tb_error *e) {
    const char *text = json_string_value(v);
    unsigned sw;
    int n = 0;

    if (!text || strlen(text) != 4 || sscanf(text, "%4x%n", &sw, &n) != 1 || n != 4)
        return tb_error_set(e, TB_EPARSE, NULL, 0, "sw: want four hex digits in a string");
    *ret = (uint16_t)sw;
    return 0;
}

static int boolean(const json_t *request, const char *name, bool *ret, struct tb_error *e) {
    const json_t *v = json_object_get(request, name);

    if (v && !json_is_boolean(v))
        return tb_error_set(e, TB_EPARSE, NULL, 0, "%s: want true or false", name);
    if (v)
        *ret = json_is_true(v);
    return 0;
}

/* What only some kinds have. */
static int details(const json_t *request, struct card_fault *one, struct tb_error *e) {
    static const char *const states[] = {"old", "new", NULL};
    const json_t *state = json_object_get(request, "state"), *how = json_object_get(request, "how"),
                 *sw = json_object_get(request, "sw");
    int new_state = 0, r = 0;

    if (state)
        r = choose(state, "state", states, &new_state, e);
    one->new_state = new_state != 0;
    if (r == 0 && how)
        r = choose(how, "how", hows, &one->how, e);
    if (r == 0 && (sw || one->kind == CARD_FAULT_STATUS))
        r = status_word(sw, &one->sw, e);
    if (r == 0)
        r = boolean(request, "executed", &one->executed, e);
    if (r == 0)
        r = number(request, "write", 1, COUNT_MAX, &one->write, e);
    if (r == 0)
        r = number(request, "sent", 0, 65535, &one->sent, e);
    if (r == 0)
        r = number(request, "ms", 1, MS_MAX, &one->ms, e);
    if (r == 0)
        r = number(request, "amount", 1, 4096, &one->amount, e);
    return r;
}

int card_faults_add(struct card_faults *f, const json_t *request, struct tb_error *e) {
    struct card_fault one = {.times = 1, .write = 1, .executed = true, .ms = 1000, .amount = 1};
    const json_t *operation = json_object_get(request, "operation"), *value;
    const char *name;
    int kind, r;

    json_object_foreach((json_t *)(uintptr_t)request, name, value) {
        if (index_of(members, name) < 0)
            return tb_error_set(e, TB_EPARSE, NULL, 0, "fault: no member '%s'", name);
    }
    r = choose(json_object_get(request, "kind"), "kind", kinds, &kind, e);
    if (r < 0)
        return r;
    one.kind = (enum card_fault_kind)kind;
    if (operation &&
        (!json_is_string(operation) || json_string_length(operation) >= sizeof one.operation))
        return tb_error_set(e, TB_EPARSE, NULL, 0, "operation: want a name");
    if (operation)
        snprintf(one.operation, sizeof one.operation, "%s", json_string_value(operation));
    r = number(request, "after", 0, COUNT_MAX, &one.after, e);
    if (r == 0)
        r = number(request, "times", 0, COUNT_MAX, &one.times, e);
    if (r == 0)
        r = details(request, &one, e);
    if (r == 0 && f->n == CARD_FAULTS)
        r = tb_error_set(e, TB_ERANGE, NULL, 0, "%d faults wait already", CARD_FAULTS);
    if (r == 0)
        f->list[f->n++] = one;
    return r;
}

void card_faults_clear(struct card_faults *f) {
    f->n = 0;
    memset(f->armed, 0, sizeof f->armed);
}

json_t *card_faults_list(const struct card_faults *f) {
    json_t *list = json_array();

    for (unsigned i = 0; i < f->n; i++) {
        const struct card_fault *one = &f->list[i];

        json_array_append_new(list, json_pack("{s:s, s:s, s:i, s:i}", "kind", kinds[one->kind],
                                              "operation", one->operation, "after", (int)one->after,
                                              "times", (int)one->times));
    }
    return list;
}

bool card_faults_begin(struct card_faults *f, const char *operation) {
    bool any = false;

    memset(f->armed, 0, sizeof f->armed);
    f->full = false;
    for (unsigned i = 0; i < f->n; i++) {
        struct card_fault *one = &f->list[i];

        if (one->operation[0] && strcmp(one->operation, operation) != 0)
            continue;
        if (one->after > 0) {
            one->after--;
            continue;
        }
        if (!f->armed[one->kind])
            f->armed[one->kind] = one;
        any = true;
    }
    return any;
}

bool card_faults_skip(const struct card_faults *f, uint16_t *ret_sw) {
    const struct card_fault *mute = f->armed[CARD_FAULT_MUTE], *gone = f->armed[CARD_FAULT_REMOVE],
                            *status = f->armed[CARD_FAULT_STATUS];

    *ret_sw = status ? status->sw : 0x6F00;
    return status || (mute && !mute->executed) || (gone && !gone->executed);
}

int card_faults_may_write(enum card_nvm_write what, void *user) {
    struct card_faults *f = user;
    struct card_fault *cut = f->armed[CARD_FAULT_POWER_CUT];

    if (f->dying && what == CARD_NVM_BEGIN)
        f->dead = true;
    if (!f->dead && !f->dying && cut && --cut->write == 0) {
        cut->write = 1; /* for the next time, when there is one */
        f->dying = cut->new_state;
        f->dead = !cut->new_state;
    }
    if (f->dead)
        return TB_ESTORE;
    if (what != CARD_NVM_PUT || !f->armed[CARD_FAULT_MEMORY_FULL])
        return 0;
    f->full = true;
    return TB_ESPACE;
}

/* Bits spread over the data, of the status word when there are none: the same ones each time. */
static void flip(struct tb_buf *rsp, unsigned bits) {
    size_t n = rsp->n > 2 ? rsp->n - 2 : rsp->n;

    for (unsigned i = 0; n > 0 && i < bits; i++) {
        size_t at = (n * 8 / 2 + i * 37u) % (n * 8);

        rsp->p[at / 8] ^= (uint8_t)(0x80u >> at % 8);
    }
}

/* Truncated: data first, then of the status word all but one byte, since an empty frame would be a
 * removal. */
static void corrupt(const struct card_fault *one, struct tb_buf *rsp) {
    size_t n = one->amount;

    if (one->how == FLIP) {
        flip(rsp, one->amount);
    } else if (one->how == TRUNCATE) {
        rsp->n = rsp->n > n ? rsp->n - n : 1;
    } else {
        for (size_t i = 0; i < n; i++)
            tb_put_u8(rsp, 0xA5);
    }
}

static void drop_spent(struct card_faults *f, unsigned happened) {
    unsigned kept = 0;

    for (unsigned k = 0; k < CARD_FAULT_KINDS; k++)
        if (happened & 1u << k) {
            f->fired++;
            if (f->armed[k]->times == 1)
                f->armed[k]->kind = CARD_FAULT_KINDS;
            else if (f->armed[k]->times > 1)
                f->armed[k]->times--;
        }
    for (unsigned i = 0; i < f->n; i++)
        if (f->list[i].kind != CARD_FAULT_KINDS)
            f->list[kept++] = f->list[i];
    f->n = kept;
    memset(f->armed, 0, sizeof f->armed);
}

unsigned card_faults_end(struct card_faults *f, struct tb_buf *rsp, struct card_link_turn *turn) {
    struct card_fault *const *armed = f->armed;
    unsigned happened = 0;

    if (f->full)
        happened |= 1u << CARD_FAULT_MEMORY_FULL;
    if (armed[CARD_FAULT_SLOW]) {
        turn->wait_us += UINT64_C(1000) * armed[CARD_FAULT_SLOW]->ms;
        happened |= 1u << CARD_FAULT_SLOW;
    }
    if (armed[CARD_FAULT_STATUS])
        happened |= 1u << CARD_FAULT_STATUS;
    if (armed[CARD_FAULT_CORRUPT]) {
        corrupt(armed[CARD_FAULT_CORRUPT], rsp);
        happened |= 1u << CARD_FAULT_CORRUPT;
    }
    f->dead |= f->dying;
    if (f->dead) {
        *turn = (struct card_link_turn){.end = CARD_LINK_GONE, .reason = "power cut"};
        happened |= 1u << CARD_FAULT_POWER_CUT;
    } else if (armed[CARD_FAULT_REMOVE]) {
        turn->end = CARD_LINK_GONE;
        turn->reason = "card removed";
        turn->sent = armed[CARD_FAULT_REMOVE]->sent;
        if (turn->sent > rsp->n)
            turn->sent = (unsigned)rsp->n;
        happened |= 1u << CARD_FAULT_REMOVE;
    } else if (armed[CARD_FAULT_MUTE]) {
        turn->end = CARD_LINK_MUTE;
        happened |= 1u << CARD_FAULT_MUTE;
    }
    drop_spent(f, happened);
    return happened;
}
