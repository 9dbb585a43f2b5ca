#include "simcard/profile.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Every knob once: field, its type, name, and either the texts of its values in order, or a range
 * of numbers. From this list come the names, the parser and the printer. */
#define KNOBS(CHOICE, NUMBER)                                                                      \
    CHOICE(sig_len, enum tb_safe_len, "sig_len", "8|16|ber")                                       \
    CHOICE(sig_der, bool, "sig_form", "raw|der")                                                   \
    CHOICE(info_wrapper, bool, "info_wrapper", "off|on")                                           \
    CHOICE(delivery_t0, bool, "delivery", "direct|t0")                                             \
    CHOICE(appinfo_61_6f, bool, "appinfo_tags", "90/93|61/6F")                                     \
    CHOICE(file_padded, bool, "file_padding", "exact|padded")                                      \
    CHOICE(file_size_first, bool, "file_info_order", "21,20|20,21")                                \
    CHOICE(cla_8n_only, bool, "cla", "any|8n-only")                                                \
    CHOICE(select_opens_channel, bool, "select_opens_channel", "off|on")                           \
    CHOICE(session_reopen, bool, "session_reopen", "off|on")                                       \
    CHOICE(create_on_demand, bool, "create_on_demand", "off|on")                                   \
    CHOICE(hkdf_null_salt, bool, "hkdf_null_salt", "reject|accept")                                \
    CHOICE(tolerate_trailing, bool, "trailing_bytes", "6700|tolerate")                             \
    CHOICE(keygen_labels, bool, "keygen_labels", "off|on")                                         \
    CHOICE(keygen_bare, bool, "keygen_ids", "on|off")                                              \
    CHOICE(file_info_brief, bool, "file_info", "full|brief")                                       \
    CHOICE(sign_alg_miscounted, bool, "sign_alg_len", "1|2")                                       \
    CHOICE(rsa_pkcs1, bool, "rsa_public", "spki|pkcs1")                                            \
    CHOICE(type2, bool, "variant", "type1|type2")                                                  \
    NUMBER(max_block, uint16_t, "max_block", 1, 256)                                               \
    NUMBER(object_list_limit, uint16_t, "object_list_limit", 0, 65535)                             \
    NUMBER(max_sessions, uint8_t, "max_sessions", 1, 8)                                            \
    NUMBER(version, uint8_t, "version", 0, 255)                                                    \
    NUMBER(store_pair, uint8_t, "store_pair", 1, 255)                                              \
    NUMBER(store_private, uint8_t, "store_private", 1, 255)                                        \
    NUMBER(store_key, uint8_t, "store_key", 1, 255)                                                \
    NUMBER(store_public, uint8_t, "store_public", 1, 255)                                          \
    NUMBER(store_public_key, uint8_t, "store_public_key", 1, 255)                                  \
    NUMBER(store_secret, uint8_t, "store_secret", 1, 255)

static_assert(CARD_MAX_SESSIONS == 8, "the range of max_sessions");
static_assert(TB_SAFE_LEN_8 == 0 && TB_SAFE_LEN_16 == 1 && TB_SAFE_LEN_BER == 2,
              "the order of sig_len's texts");

#define CHOICE_ID(field, type, name, texts)      K_##field,
#define NUMBER_ID(field, type, name, min, max)   K_##field,
#define CHOICE_NAME(field, type, name, texts)    name,
#define NUMBER_NAME(field, type, name, min, max) name,
#define CHOICE_ROW(field, type, name, texts)     {texts, true, 0, 0},
#define NUMBER_ROW(field, type, name, min, max)  {#min ".." #max, false, min, max},
#define CHOICE_GET(field, type, name, texts)                                                       \
    case K_##field:                                                                                \
        return (unsigned)p->field;
#define NUMBER_GET(field, type, name, min, max) CHOICE_GET(field, type, name, )
#define CHOICE_SET(field, type, name, texts)                                                       \
    case K_##field:                                                                                \
        p->field = (type)v;                                                                        \
        break;
#define NUMBER_SET(field, type, name, min, max) CHOICE_SET(field, type, name, )

enum knob { KNOBS(CHOICE_ID, NUMBER_ID) KNOB_COUNT };

static const char *const names[] = {KNOBS(CHOICE_NAME, NUMBER_NAME) NULL};

static const struct {
    const char *values;
    bool is_choice;
    unsigned min, max;
} rows[] = {KNOBS(CHOICE_ROW, NUMBER_ROW)};

static unsigned get(const struct card_profile *p, enum knob k) {
    switch (k) {
        KNOBS(CHOICE_GET, NUMBER_GET)
    case KNOB_COUNT:
        break;
    }
    return 0;
}

static void set(struct card_profile *p, enum knob k, unsigned v) {
    switch (k) {
        KNOBS(CHOICE_SET, NUMBER_SET)
    case KNOB_COUNT:
        break;
    }
}

const char *const *card_profile_knobs(void) {
    return names;
}

static bool find(const char *name, enum knob *ret) {
    for (unsigned k = 0; k < KNOB_COUNT; k++)
        if (strcmp(names[k], name) == 0) {
            *ret = (enum knob)k;
            return true;
        }
    return false;
}

const char *card_profile_knob_values(const char *knob) {
    enum knob k;

    return find(knob, &k) ? rows[k].values : NULL;
}

/* The nth text of "a|b|c" as position and length; false beyond the last. */
static bool nth_text(const char *texts, unsigned nth, const char **ret, size_t *ret_n) {
    for (; nth > 0; nth--) {
        texts = strchr(texts, '|');
        if (!texts)
            return false;
        texts++;
    }
    *ret = texts;
    *ret_n = strcspn(texts, "|");
    return true;
}

static int parse_choice(const char *texts, const char *value, unsigned *ret) {
    const char *text;
    size_t n;

    for (unsigned i = 0; nth_text(texts, i, &text, &n); i++)
        if (strlen(value) == n && strncmp(text, value, n) == 0) {
            *ret = i;
            return 0;
        }
    return TB_ERANGE;
}

static int parse_number(unsigned min, unsigned max, const char *value, unsigned *ret) {
    char *end;
    unsigned long v;

    if (value[0] < '0' || value[0] > '9')
        return TB_ERANGE;
    v = strtoul(value, &end, 0);
    if (*end != '\0' || v < min || v > max)
        return TB_ERANGE;
    *ret = (unsigned)v;
    return 0;
}

int card_profile_set(struct card_profile *profile, const char *knob, const char *value) {
    unsigned v = 0;
    enum knob k;
    int r;

    if (!find(knob, &k))
        return TB_ENOTFOUND;
    r = rows[k].is_choice ? parse_choice(rows[k].values, value, &v)
                          : parse_number(rows[k].min, rows[k].max, value, &v);
    if (r == 0)
        set(profile, k, v);
    return r;
}

int card_profile_get(const struct card_profile *profile, const char *knob, char *dst, size_t cap) {
    const char *text = "";
    size_t n = 0;
    enum knob k;
    int written;

    if (!find(knob, &k))
        return TB_ENOTFOUND;
    if (!rows[k].is_choice)
        written = snprintf(dst, cap, "%u", get(profile, k));
    else if (nth_text(rows[k].values, get(profile, k), &text, &n))
        written = snprintf(dst, cap, "%.*s", (int)n, text);
    else
        return TB_ERANGE;
    return written < 0 || (size_t)written >= cap ? TB_ESPACE : 0;
}

/* What no known applet does otherwise. */
#define COMMON                                                                                     \
    .select_opens_channel = true, .session_reopen = true, .tolerate_trailing = true,               \
    .max_block = 255, .max_sessions = 4, .version = 0x10, .store_pair = 0x71,                      \
    .store_private = 0x72, .store_key = 0x73, .store_public = 0x78, .store_public_key = 0x79,      \
    .store_secret = 0x7C
#define LEN8    .sig_len = TB_SAFE_LEN_8
#define LEN16   .sig_len = TB_SAFE_LEN_16
#define WRAPPED .info_wrapper = true
#define BLOCKS  .object_list_limit = 254

/* What is known of the applets in the field, or what their clients ask of one. */
static const struct card_profile profiles[] = {
    {.name = "gsma", COMMON, LEN16, WRAPPED, BLOCKS},
    /* the applet behind the Thales middleware and its PKCS#11 module */
    {.name = "thales", COMMON, LEN16, WRAPPED, BLOCKS},
    /* padded files, whose reader strips zeros; size before usage; a client that takes the object
     * list in one answer or not at all */
    {.name = "orange", COMMON, LEN8, WRAPPED, .file_padded = true, .file_size_first = true},
    {.name = "ntt", COMMON, LEN8, WRAPPED, BLOCKS, .delivery_t0 = true},
    {.name = "qtool", COMMON, LEN8, BLOCKS, .appinfo_61_6f = true, .sign_alg_miscounted = true},
    /* a T=0 SIM whose client compares 61xx exactly */
    {.name = "zariot", COMMON, LEN16, WRAPPED, BLOCKS, .delivery_t0 = true},
    /* an emulator made for one client: containers appear when they are used */
    {.name = "m33mu",
     COMMON,
     LEN16,
     BLOCKS,
     .cla_8n_only = true,
     .file_info_brief = true,
     .keygen_bare = true,
     .create_on_demand = true},
    {.name = "t0", COMMON, LEN16, WRAPPED, BLOCKS, .delivery_t0 = true},
    {.name = "type2", COMMON, LEN16, WRAPPED, BLOCKS, .type2 = true},
};

enum { PROFILES = sizeof profiles / sizeof profiles[0] };

const struct card_profile *card_profile_find(const char *name) {
    for (size_t i = 0; i < PROFILES; i++)
        if (strcmp(profiles[i].name, name) == 0)
            return &profiles[i];
    return NULL;
}

const char *const *card_profile_names(void) {
    static const char *const profile_names[] = {"gsma",   "thales", "orange", "ntt",   "qtool",
                                                "zariot", "m33mu",  "t0",     "type2", NULL};

    static_assert(sizeof profile_names / sizeof profile_names[0] == PROFILES + 1,
                  "a profile without its name");
    return profile_names;
}
