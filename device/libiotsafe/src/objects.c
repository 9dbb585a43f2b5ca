/* Reading what a card says about its objects and itself.
 *
 * Deployed applets agree on tags and on little else: structures come with wrappers C1 … C4 or
 * without, several objects in one wrapper, and there is a card whose lengths are miscounted (92 02
 * for one byte). So the elements are read as one flat row: a reference that the current object has
 * already begins the next one, a wrapper's header only marks a border. */
#include "client.h"

static bool is_label(uint8_t tag) {
    return tag >= TB_SAFE_T_FILE_LABEL && tag <= TB_SAFE_T_SECRET_LABEL;
}

static bool is_id(uint8_t tag) {
    return tag >= TB_SAFE_T_FILE_ID && tag <= TB_SAFE_T_SECRET_ID;
}

static bool is_wrapper(uint8_t tag) {
    return tag >= TB_SAFE_T_PRIVATE_INFO && tag <= TB_SAFE_T_SECRET_INFO;
}

/* Attributes of one byte. */
static bool is_small(uint8_t tag) {
    switch (tag) {
    case TB_SAFE_T_ACCESS:
    case TB_SAFE_T_STATE:
    case TB_SAFE_T_KEY_TYPE:
    case TB_SAFE_T_KEY_USAGE:
    case TB_SAFE_T_CRYPTO:
    case TB_SAFE_T_APP_CRYPTO:
    case TB_SAFE_T_KEY_AGREEMENT:
    case TB_SAFE_T_APP_KEY_AGREEMENT:
    case TB_SAFE_T_SIGN_ALG:
    case TB_SAFE_T_KEY_DERIVATION:
    case TB_SAFE_T_FILE_USAGE:
    case TB_SAFE_T_VERSION:
    case TB_SAFE_T_MAX_FILES:
    case TB_SAFE_T_MAX_PRIVATE:
    case TB_SAFE_T_MAX_PUBLIC:
    case TB_SAFE_T_MAX_SECRET:
    case TB_SAFE_T_MAX_SESSIONS:
        return true;
    default:
        return false;
    }
}

/* True when an element can begin with these two bytes. */
static bool plausible(struct tb_span in) {
    uint8_t tag, len;

    if (!tb_take_u8(&in, &tag) || !tb_take_u8(&in, &len))
        return false;
    if (is_label(tag))
        return len >= 1 && len <= TB_SAFE_MAX_LABEL;
    if (is_id(tag))
        return len >= 1 && len <= TB_SAFE_MAX_ID;
    if (is_small(tag) || tag == TB_SAFE_T_HASH || tag == TB_SAFE_T_FILE_SIZE)
        return len >= 1 && len <= 4;
    return is_wrapper(tag);
}

static struct tb_span from(struct tb_span in, size_t off) {
    return tb_span_sub(in, off, in.n);
}

/* Bytes of a wrapper's tag and length. 81 and 82 are BER only when an object begins behind them. */
static size_t wrapper_header(struct tb_span in) {
    if (in.n > 3 && in.p[1] == 0x81 && in.p[2] >= 0x80 && plausible(from(in, 3)))
        return 3;
    if (in.n > 4 && in.p[1] == 0x82 && plausible(from(in, 4)))
        return 4;
    return 2;
}

/* The length that an attribute really has: as declared, unless the next element visibly begins
 * after one byte. */
static size_t true_length(struct tb_span in, size_t declared) {
    uint8_t tag = in.p[0];

    if (declared < 2 || in.n < 4)
        return declared;
    if ((is_small(tag) || (tag == TB_SAFE_T_HASH && in.p[2] != 0)) && plausible(from(in, 3)))
        return 1;
    return declared;
}

/* Enough to look one element ahead? */
enum { LOOK_AHEAD = 6 };

/* Reads one element off *in: 1, or 0 when more bytes are needed or it is cut off. Wrappers have an
 * empty value. */
static int next_element(struct tb_span *in, bool end, struct tb_tlv *ret) {
    struct tb_span rest = *in, head;
    size_t len;

    if (in->n < 2 || (in->n < LOOK_AHEAD && !end))
        return 0;
    ret->tag = in->p[0];
    ret->value = TB_SPAN_NONE;
    if (is_wrapper(in->p[0])) {
        (void)tb_take(&rest, wrapper_header(*in), &head);
        *in = rest;
        return 1;
    }
    len = true_length(*in, in->p[1]);
    (void)tb_take(&rest, 2, &head);
    if (!tb_take(&rest, len, &ret->value)) {
        if (!end || !is_small(in->p[0]) || rest.n == 0)
            return 0;
        ret->value = rest; /* the last attribute's length is miscounted */
        rest = from(rest, rest.n);
    }
    *in = rest;
    return 1;
}

static uint32_t number(struct tb_span value) {
    uint32_t v = 0;

    if (value.n > 4)
        value = from(value, value.n - 4);
    if (value.n)
        (void)tb_take_be(&value, value.n, &v);
    return v;
}

static enum iotsafe_object_type type_of_tag(uint8_t tag) {
    switch (tag & 0x0F) {
    case 4:
        return IOTSAFE_PRIVATE_KEY;
    case 5:
        return IOTSAFE_PUBLIC_KEY;
    case 6:
        return IOTSAFE_SECRET_KEY;
    default:
        return IOTSAFE_FILE;
    }
}

/* ---- objects ---- */

static void flush(struct object_reader *o,
                  void (*emit)(const struct iotsafe_object *object, void *user), void *user) {
    if (o->begun && (o->has_id || o->has_label))
        emit(&o->now, user);
    memset(o, 0, sizeof *o);
}

static void take_attribute(struct iotsafe_object *o, uint8_t tag, struct tb_span value) {
    uint32_t v = number(value);

    switch (tag) {
    case TB_SAFE_T_ACCESS:
        o->access = (uint8_t)v;
        break;
    case TB_SAFE_T_STATE:
        o->state = (uint8_t)v;
        break;
    case TB_SAFE_T_KEY_TYPE:
        o->key_type = (uint8_t)v;
        break;
    case TB_SAFE_T_KEY_USAGE:
        o->key_usage = (uint8_t)v;
        break;
    case TB_SAFE_T_CRYPTO:
        o->crypto = (uint8_t)v;
        break;
    case TB_SAFE_T_KEY_AGREEMENT:
        o->key_agreement = (uint8_t)v;
        break;
    case TB_SAFE_T_SIGN_ALG:
        o->sign_alg = (uint8_t)v;
        break;
    case TB_SAFE_T_KEY_DERIVATION:
        o->key_derivation = (uint8_t)v;
        break;
    case TB_SAFE_T_HASH:
        o->hash = (uint16_t)v;
        break;
    case TB_SAFE_T_FILE_USAGE:
        o->file_usage = (uint8_t)v;
        break;
    case TB_SAFE_T_FILE_SIZE:
        o->file_size = v;
        break;
    default:
        break;
    }
}

/* True when this reference cannot belong to the object that is being read. */
static bool begins_next(const struct object_reader *o, uint8_t tag) {
    bool has = is_id(tag) ? o->has_id : o->has_label;

    return o->begun && (has || o->has_attribute || o->now.type != type_of_tag(tag));
}

static void take_ref(struct object_reader *o, uint8_t tag, struct tb_span value) {
    struct iotsafe_ref *ref = &o->now.ref;

    o->begun = true;
    o->now.type = type_of_tag(tag);
    if (is_id(tag) && value.n >= 1 && value.n <= sizeof ref->id) {
        memcpy(ref->id, value.p, value.n);
        ref->id_len = (uint8_t)value.n;
        o->has_id = true;
    } else if (is_label(tag) && value.n >= 1 && value.n <= sizeof ref->label) {
        memcpy(ref->label, value.p, value.n);
        ref->label_len = (uint8_t)value.n;
        o->has_label = true;
    }
}

void objects_read(struct object_reader *o, struct tb_span *in, bool end,
                  void (*emit)(const struct iotsafe_object *object, void *user), void *user) {
    struct tb_tlv e;

    while (next_element(in, end, &e) > 0) {
        uint8_t tag = (uint8_t)e.tag;

        if (is_wrapper(tag) || ((is_id(tag) || is_label(tag)) && begins_next(o, tag)))
            flush(o, emit, user);
        if (is_id(tag) || is_label(tag)) {
            take_ref(o, tag, e.value);
        } else if (!is_wrapper(tag) && o->begun) {
            o->has_attribute = true;
            take_attribute(&o->now, tag, e.value);
        }
    }
    if (end)
        flush(o, emit, user);
}

/* ---- application information ---- */

static bool take_info(struct iotsafe_info *info, uint8_t tag, struct tb_span value) {
    uint32_t v = number(value);

    switch (tag) {
    case TB_SAFE_T_VERSION:
        info->version = (uint8_t)v;
        return true;
    case TB_SAFE_T_APPLET_ID:
        if (value.n > sizeof info->applet_id)
            value = tb_span_sub(value, 0, sizeof info->applet_id);
        if (value.n)
            memcpy(info->applet_id, value.p, value.n);
        info->applet_id_len = (uint8_t)value.n;
        return true;
    case TB_SAFE_T_MAX_FILES:
        info->max_files = (uint8_t)v;
        return true;
    case TB_SAFE_T_MAX_PRIVATE:
        info->max_private = (uint8_t)v;
        return true;
    case TB_SAFE_T_MAX_PUBLIC:
        info->max_public = (uint8_t)v;
        return true;
    case TB_SAFE_T_MAX_SECRET:
        info->max_secret = (uint8_t)v;
        return true;
    case TB_SAFE_T_MAX_SESSIONS:
        info->max_sessions = (uint8_t)v;
        return true;
    case TB_SAFE_T_APP_CRYPTO:
    case TB_SAFE_T_CRYPTO:
        info->crypto = (uint8_t)v;
        return true;
    case TB_SAFE_T_HASH:
        info->hash = (uint16_t)v;
        return true;
    case TB_SAFE_T_SIGN_ALG:
        info->sign_alg = (uint8_t)v;
        return true;
    case TB_SAFE_T_APP_KEY_AGREEMENT:
    case TB_SAFE_T_KEY_AGREEMENT:
        info->key_agreement = (uint8_t)v;
        return true;
    case TB_SAFE_T_KEY_DERIVATION:
        info->key_derivation = (uint8_t)v;
        return true;
    default:
        return false;
    }
}

/* One applet counts a byte too many in tag 11: then the next element begins one byte earlier. */
static bool take_applet_id(struct tb_span *in, struct tb_tlv *ret) {
    size_t len;

    if (in->n < 3 || in->p[0] != TB_SAFE_T_APPLET_ID || in->p[1] == 0)
        return false;
    len = in->p[1];
    if (!plausible(from(*in, 2 + len)) && in->n != 2 + len && plausible(from(*in, 1 + len)))
        len--;
    ret->tag = in->p[0];
    ret->value = tb_span_sub(*in, 2, len);
    *in = from(*in, 2 + len);
    return true;
}

bool info_read(struct tb_span in, struct iotsafe_info *ret) {
    struct iotsafe_info info = {0};
    bool known = false;
    struct tb_tlv e;

    while (take_applet_id(&in, &e) || next_element(&in, true, &e) > 0)
        known |= take_info(&info, (uint8_t)e.tag, e.value);
    if (known)
        *ret = info;
    return known;
}
