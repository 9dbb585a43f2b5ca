#include "simmodem/quirks.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "models.h"

enum kind { TEXT, BOOL, UINT, CHOICE, T0 };

/* One word of a CHOICE and its number. */
struct choice {
    const char *word;
    int value;
};

static const struct choice quote[] = {{"0", 0}, {"1", 1}, {NULL, 0}};
static const struct choice letters[] = {{"upper", 0}, {"lower", 1}, {NULL, 0}};
static const struct choice length[] = {{"strict", 0}, {"trust-string", 1}, {NULL, 0}};
static const struct choice channels[] = {{"ok", 0}, {"blocked", 1}, {NULL, 0}};
static const struct choice on_off[] = {{"off", 0}, {"on", 1}, {NULL, 0}};
static const struct choice session[] = {{"channel", 0}, {"opaque", 1}, {NULL, 0}};
static const struct choice status[] = {{"normal", MODEM_STATUS_NORMAL},
                                       {"case1", MODEM_STATUS_CASE1},
                                       {"extended", MODEM_STATUS_EXTENDED},
                                       {NULL, 0}};
static const struct choice read_le[] = {{"exact", 0}, {"00", 1}, {NULL, 0}};
static const struct choice busy[] = {{"wait", 0}, {"error", 1}, {NULL, 0}};
static const struct choice urc[] = {{"queued", 0}, {"interleave", 1}, {NULL, 0}};
static const struct choice boot[] = {{"none", 0}, {"quectel", 1}, {NULL, 0}};
static const struct choice sim_urc[] = {{"quectel", MODEM_SIM_URC_QUECTEL},
                                        {"cpin", MODEM_SIM_URC_CPIN},
                                        {"none", MODEM_SIM_URC_NONE},
                                        {NULL, 0}};
static const struct choice t0[] = {{"pass", MODEM_T0_PASS},
                                   {"raw", MODEM_T0_RAW},
                                   {"auto", MODEM_T0_AUTO},
                                   {"trunc", MODEM_T0_TRUNC},
                                   {NULL, 0}};

static const struct key {
    const char *name;
    enum kind kind;
    size_t offset;
    unsigned min, max; /* UINT: range; TEXT: max is the size */
    const struct choice *choices;
} keys[] = {
#define AT(member) offsetof(struct modem_quirks, member)
    {"manufacturer", TEXT, AT(manufacturer), 0, sizeof(((struct modem_quirks *)0)->manufacturer),
     NULL},
    {"model", TEXT, AT(model), 0, sizeof(((struct modem_quirks *)0)->model), NULL},
    {"revision", TEXT, AT(revision), 0, sizeof(((struct modem_quirks *)0)->revision), NULL},
    {"t0", T0, AT(t0), 0, 0, t0},
    {"cgla-t0", T0, AT(cgla_t0), 0, 0, t0},
    {"csim-quote", BOOL, AT(csim_quote), 0, 0, quote},
    {"csim-case", BOOL, AT(csim_lower), 0, 0, letters},
    {"csim-stale", BOOL, AT(csim_stale), 0, 0, quote},
    {"csim-max", UINT, AT(csim_max), 0, 1 << 20, NULL},
    {"csim-len", BOOL, AT(csim_trust_string), 0, 0, length},
    {"csim-channels", BOOL, AT(csim_basic_only), 0, 0, channels},
    {"cgla", BOOL, AT(cgla), 0, 0, on_off},
    {"ccho-prefix", BOOL, AT(ccho_prefix), 0, 0, quote},
    {"session", BOOL, AT(session_opaque), 0, 0, session},
    {"sim-test-forms", BOOL, AT(sim_test_forms), 0, 0, quote},
    {"preopen-channel", UINT, AT(preopen_channel), 0, 19, NULL},
    {"me-ch0-poll", UINT, AT(me_ch0_poll), 0, 86400, NULL},
    {"me-status", CHOICE, AT(me_status), 0, 0, status},
    {"me-read-le", BOOL, AT(me_read_all), 0, 0, read_le},
    {"me-retry-6c", BOOL, AT(me_retry_6c), 0, 0, quote},
    {"sim-busy", BOOL, AT(sim_busy_error), 0, 0, busy},
    {"urc", BOOL, AT(urc_interleave), 0, 0, urc},
    {"sim-urc", CHOICE, AT(sim_urc), 0, 0, sim_urc},
    {"boot-urc", BOOL, AT(boot_urc_quectel), 0, 0, boot},
    {"hangup-keeps-channels", BOOL, AT(hangup_keeps_channels), 0, 0, quote},
    {"latency-card", UINT, AT(latency_card), 0, 600000, NULL},
    {"latency-at", UINT, AT(latency_at), 0, 600000, NULL},
    {"drop-every", UINT, AT(drop_every), 0, 1 << 30, NULL},
    {"line-max", UINT, AT(line_max), 40, 1 << 20, NULL}, /* spec: V.250 5.2.1 at least 40 */
#undef AT
};
enum { KEYS = sizeof keys / sizeof *keys };

/* The largest extended APDU in hex, and the rest of the command around it. */
enum { LINE_MAX_DEFAULT = 2 * 65535 + 128 };

void modem_quirks_default(struct modem_quirks *ret) {
    *ret = (struct modem_quirks){
        .manufacturer = "IoT SAFE testbed",
        .model = "sim-modem",
        .revision = TB_VERSION,
        .csim_quote = true,
        .cgla = true,
        .ccho_prefix = true,
        .sim_test_forms = true,
        .me_retry_6c = true,
        .line_max = LINE_MAX_DEFAULT,
    };
}

static int find_choice(const struct choice *c, const char *word, size_t n, int *ret) {
    for (; c->word; c++) {
        if (strlen(c->word) == n && memcmp(c->word, word, n) == 0) {
            *ret = c->value;
            return 0;
        }
    }
    return TB_EPARSE;
}

static int parse_uint(const char *text, unsigned min, unsigned max, unsigned *ret) {
    unsigned long long v = 0;

    if (!*text || strlen(text) > 9)
        return TB_EPARSE;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return TB_EPARSE;
        v = v * 10 + (unsigned)(*text - '0');
    }
    if (v < min || v > max)
        return TB_EPARSE;
    *ret = (unsigned)v;
    return 0;
}

/* "raw", "trunc:256". The byte count of trunc follows the enumeration's member by a fixed rule: see
 * below. */
static int set_t0(enum modem_t0 *mode, unsigned *trunc, const char *value) {
    const char *colon = strchr(value, ':');
    size_t n = colon ? (size_t)(colon - value) : strlen(value);
    unsigned bytes = 0;
    int v;

    if (find_choice(t0, value, n, &v) < 0 || (v == MODEM_T0_TRUNC) != (colon != NULL))
        return TB_EPARSE;
    if (colon && parse_uint(colon + 1, 2, 65537, &bytes) < 0)
        return TB_EPARSE;
    *mode = (enum modem_t0)v;
    *trunc = bytes;
    return 0;
}

int modem_quirks_set(struct modem_quirks *q, const char *key, const char *value) {
    const struct key *k = keys;
    void *member;
    int v;

    while (k < keys + KEYS && strcmp(k->name, key) != 0)
        k++;
    if (k == keys + KEYS)
        return TB_ENOTFOUND;
    member = (char *)q + k->offset;
    switch (k->kind) {
    case TEXT:
        if (!*value || strlen(value) >= k->max || strpbrk(value, "\"\\\r\n"))
            return TB_EPARSE;
        memcpy(member, value, strlen(value) + 1);
        return 0;
    case UINT:
        return parse_uint(value, k->min, k->max, member);
    case T0:
        return member == &q->t0 ? set_t0(&q->t0, &q->trunc, value)
                                : set_t0(&q->cgla_t0, &q->cgla_trunc, value);
    default:
        break;
    }
    if (find_choice(k->choices, value, strlen(value), &v) < 0)
        return TB_EPARSE;
    if (k->kind == BOOL)
        *(bool *)member = v;
    else if (member == &q->sim_urc)
        q->sim_urc = (enum modem_sim_urc)v;
    else
        q->me_status = (enum modem_status_form)v;
    return 0;
}

const char *const *modem_quirks_keys(void) {
    static const char *names[KEYS + 1];

    if (!names[0])
        for (size_t i = 0; i < KEYS; i++)
            names[i] = keys[i].name;
    return names;
}

const char *const *modem_quirks_names(void) {
    return model_names;
}

int modem_quirks_find(const char *name, struct modem_quirks *ret) {
    const struct model *m = models;
    struct modem_quirks q;

    while (m->name && strcmp(m->name, name) != 0)
        m++;
    if (!m->name)
        return TB_ENOTFOUND;
    modem_quirks_default(&q);
    for (const struct model_entry *e = m->entries; e->key; e++) {
        int r = modem_quirks_set(&q, e->key, e->value);

        if (r < 0)
            return r; /* a wrong file among ours: the unit test reads them all */
    }
    *ret = q;
    return 0;
}
