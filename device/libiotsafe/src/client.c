/* The client: options, life, references, texts. */
#include "client.h"

#include <assert.h>
#include <stdlib.h>

static_assert(sizeof(struct call) <= sizeof(((struct iotsafe_call *)0)->opaque),
              "struct iotsafe_call is too small");
static_assert(_Alignof(struct call) <= _Alignof(struct iotsafe_call), "alignment");

const char *iotsafe_strerror(int err) {
    switch (err) {
    case IOTSAFE_OK:
        return "success";
    case IOTSAFE_E_CARD:
        return "the card refused the command";
    case IOTSAFE_E_LINK:
        return "the link to the card is broken";
    case IOTSAFE_E_TIMEOUT:
        return "no answer in time";
    case IOTSAFE_E_ABSENT:
        return "no card";
    case IOTSAFE_E_NO_APPLET:
        return "no IoT SAFE applet on the card";
    case IOTSAFE_E_NOT_FOUND:
        return "no such object on the card";
    case IOTSAFE_E_FORMAT:
        return "the card's answer makes no sense";
    case IOTSAFE_E_TOO_SMALL:
        return "buffer too small";
    case IOTSAFE_E_ARGUMENT:
        return "invalid argument";
    case IOTSAFE_E_NO_MEMORY:
        return "out of memory";
    case IOTSAFE_E_SIGNATURE:
        return "the signature does not match";
    case IOTSAFE_E_BUSY:
        return "card or port in use by others";
    case IOTSAFE_E_UNSUPPORTED:
        return "not supported";
    case IOTSAFE_E_ADMIN:
        return "the object is under remote administration";
    case IOTSAFE_E_REFUSED:
        return "the modem refused to pass the command on";
    case IOTSAFE_E_RESET:
        return "the card was reset";
    default:
        return "unknown error";
    }
}

const char *iotsafe_sw_text(uint16_t sw) {
    return tb_sw_text(sw);
}

struct iotsafe_ref iotsafe_id(const void *id, size_t len) {
    struct iotsafe_ref ref = {0};

    if (len <= sizeof ref.id) { /* a longer one stays empty and is refused where it is used */
        memcpy(ref.id, id, len);
        ref.id_len = (uint8_t)len;
    }
    return ref;
}

struct iotsafe_ref iotsafe_id1(uint8_t id) {
    return iotsafe_id(&id, 1);
}

struct iotsafe_ref iotsafe_label(const char *label) {
    struct iotsafe_ref ref = {0};
    size_t len = strlen(label);

    if (len <= sizeof ref.label) {
        memcpy(ref.label, label, len);
        ref.label_len = (uint8_t)len;
    }
    return ref;
}

bool ref_ok(const struct iotsafe_ref *ref) {
    return ref && ref->id_len <= sizeof ref->id && ref->label_len <= sizeof ref->label &&
           (ref->id_len || ref->label_len);
}

/* Low digit of the tags 83..86 (identifier) and 73..76 (label). */
static uint8_t type_digit(enum iotsafe_object_type type) {
    switch (type) {
    case IOTSAFE_PRIVATE_KEY:
        return 4;
    case IOTSAFE_PUBLIC_KEY:
        return 5;
    case IOTSAFE_SECRET_KEY:
        return 6;
    case IOTSAFE_FILE:
    default:
        return 3;
    }
}

void put_ref(struct tb_buf *out, enum iotsafe_object_type type, const struct iotsafe_ref *ref) {
    uint8_t digit = type_digit(type);

    if (ref->id_len)
        tb_put_safe(out, 0x80 | digit, TB_SAFE_LEN_8, tb_span(ref->id, ref->id_len));
    else
        tb_put_safe(out, 0x70 | digit, TB_SAFE_LEN_8, tb_span(ref->label, ref->label_len));
}

int iotsafe_open(struct iotsafe_transport *t, const struct iotsafe_options *opt,
                 struct iotsafe **ret) {
    static const struct iotsafe_options defaults;
    struct iotsafe *c;

    if (!opt)
        opt = &defaults;
    if (!t || opt->aid_len > sizeof c->aid || (opt->aid_len && !opt->aid) ||
        (opt->only_this_aid && !opt->aid_len))
        return IOTSAFE_E_ARGUMENT;
    c = calloc(1, sizeof *c);
    if (!c)
        return IOTSAFE_E_NO_MEMORY;
    c->t = t;
    if (opt->aid_len)
        memcpy(c->aid, opt->aid, opt->aid_len);
    c->aid_len = (uint8_t)opt->aid_len;
    c->only_this_aid = opt->only_this_aid != 0;
    c->basic_channel = opt->basic_channel != 0;
    c->close_sessions = opt->close_sessions != 0;
    c->interindustry_first = opt->interindustry_class != 0;
    c->le = opt->le;
    c->session = opt->session ? opt->session : 1;
    c->max_answer = opt->max_answer && opt->max_answer < 256 ? opt->max_answer : 256;
    *ret = c;
    return IOTSAFE_OK;
}

static void client_free(struct iotsafe *c) {
    tb_wipe(c, sizeof *c);
    free(c);
}

void iotsafe_close(struct iotsafe *c) {
    if (!c)
        return;
    c->busy = NULL; /* whoever had a call under way has lost it */
    if (!c->mute)   /* politeness does not wait for another timeout */
        (void)iotsafe_release(c);
    iotsafe_transport_close(c->t);
    client_free(c);
}

void iotsafe_abandon(struct iotsafe *c) {
    if (!c)
        return;
    if (c->t->ops->abandon)
        c->t->ops->abandon(c->t);
    else
        c->t->ops->close(c->t);
    client_free(c);
}

uint16_t iotsafe_last_sw(const struct iotsafe *c) {
    return c->sw;
}

struct iotsafe_transport *iotsafe_transport_of(struct iotsafe *c) {
    return c->t;
}

void iotsafe_stats(const struct iotsafe *c, struct iotsafe_stats *ret) {
    *ret = c->stats;
}

void iotsafe_transport_close(struct iotsafe_transport *t) {
    if (t)
        t->ops->close(t);
}

int iotsafe_transport_describe(struct iotsafe_transport *t, char *buf, size_t cap) {
    return t->ops->describe ? t->ops->describe(t, buf, cap) : IOTSAFE_E_UNSUPPORTED;
}
