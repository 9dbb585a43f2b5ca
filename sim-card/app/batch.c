#include "batch.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "cardfile_vars.h"
#include "tb/config.h"
#include "tb/hex.h"
#include "tb/number.h"

struct reader {
    struct batch *b;
    struct batch_container *container; /* the section being read */
    bool in_batch, in_set;
};

static char *copy(const char *s) {
    char *c = strdup(s);

    if (!c)
        abort();
    return c;
}

static int take_id(struct tb_span hex, uint8_t *dst, size_t cap, size_t *ret_n) {
    struct tb_buf out = tb_buf(dst, cap);
    int r = tb_hex_decode(hex, &out);

    *ret_n = out.n;
    return r < 0 || out.n == 0 ? TB_EPARSE : 0;
}

static int begin_container(struct reader *rd, const char *name, int line, struct tb_error *e) {
    struct batch *b = rd->b;
    struct batch_container *c = &b->containers[b->containers_n];
    struct tb_span s = tb_span_str(name);
    size_t n = strcspn(name, ":");

    if (b->containers_n == BATCH_CONTAINERS)
        return tb_error_set(e, TB_ERANGE, b->path, line, "more than %d containers",
                            BATCH_CONTAINERS);
    if (take_id(tb_span_sub(s, 0, n), c->key, sizeof c->key, &c->key_n) < 0 ||
        (name[n] && take_id(tb_span_sub(s, n + 1, s.n), c->file, sizeof c->file, &c->file_n) < 0))
        return tb_error_set(e, TB_EPARSE, b->path, line,
                            "[container %s]: want the id of a key and of its certificate's file, "
                            "like [container 01:02], or of a secret, [container 06]",
                            name);
    if (batch_container(b, tb_span(c->key, c->key_n)))
        return tb_error_set(e, TB_EPARSE, b->path, line, "[container %s] stands there twice", name);
    snprintf(c->name, sizeof c->name, "%s", name);
    rd->container = c;
    b->containers_n++;
    return 0;
}

static int begin_section(struct reader *rd, const char *section, int line, struct tb_error *e) {
    static const char *const known[] = {"batch", "set", "container", NULL};
    char word[32], near[96];

    rd->container = NULL;
    rd->in_batch = strcmp(section, "batch") == 0;
    rd->in_set = strcmp(section, "set") == 0;
    if (rd->in_batch || rd->in_set)
        return 0;
    if (strncmp(section, "container ", 10) == 0)
        return begin_container(rd, section + 10 + strspn(section + 10, " \t"), line, e);
    snprintf(word, sizeof word, "%.*s", (int)strcspn(section, " "), section);
    return tb_error_set(e, TB_EPARSE, rd->b->path, line, "unknown section [%s]%s", section,
                        cardfile_hint(word, known, near, sizeof near));
}

static int read_container(struct reader *rd, const struct tb_config_entry *in, struct tb_error *e) {
    static const char *const fills[] = {"certificate", "key", "empty", NULL};
    struct batch_container *c = rd->container;

    if (strcmp(in->key, "role") == 0) {
        c->bootstrap = strcmp(in->value, "bootstrap") == 0;
        if (c->bootstrap || strcmp(in->value, "final") == 0)
            return 0;
        return tb_error_set(e, TB_EPARSE, rd->b->path, in->line, "role: final or bootstrap");
    }
    if (strcmp(in->key, "fill") == 0) {
        for (int i = 0; fills[i]; i++)
            if (strcmp(in->value, fills[i]) == 0) {
                c->fill = (enum batch_fill)i;
                c->fill_given = true;
                return 0;
            }
        return tb_error_set(e, TB_EPARSE, rd->b->path, in->line, "fill: certificate, key or empty");
    }
    return tb_error_set(e, TB_EPARSE, rd->b->path, in->line,
                        "[container] has no key '%s' (known: role, fill)", in->key);
}

static void read_variable(struct batch *b, const struct tb_config_entry *in) {
    char **larger = realloc(b->set, (b->set_n + 2) * sizeof *larger);

    if (!larger || asprintf(&larger[b->set_n], "%s=%s", in->key, in->value) < 0)
        abort();
    b->set = larger;
    b->set[++b->set_n] = NULL;
}

/* A path as the batch means it. */
static char *resolve(const struct batch *b, const char *value) {
    const char *slash = strrchr(b->path, '/');
    char *full;

    if (value[0] == '/' || !slash)
        return copy(value);
    if (asprintf(&full, "%.*s/%s", (int)(slash - b->path), b->path, value) < 0)
        abort();
    return full;
}

static int read_batch(struct batch *b, const struct tb_config_entry *in, struct tb_error *e) {
    const struct {
        const char *name;
        char **at;
        bool path;
    } texts[] = {{"order", &b->order, false},
                 {"vendor", &b->vendor, false},
                 {"label", &b->label, false},
                 {"iccid", &b->iccid, false},
                 {"imsi", &b->imsi, false},
                 {"msisdn", &b->msisdn, false},
                 {"eid", &b->eid, false},
                 {"card", &b->card, true},
                 {"issuer-cert", &b->issuer_cert, true},
                 {"issuer-key", &b->issuer_key, true},
                 {"server-ca", &b->server_ca, true}};
    const char *names[sizeof texts / sizeof *texts + 2] = {"count"};
    char near[96];

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        names[i + 1] = texts[i].name;
        if (strcmp(in->key, texts[i].name) != 0)
            continue;
        if (!*in->value || *texts[i].at)
            return tb_error_set(e, TB_EPARSE, b->path, in->line, "%s: %s", in->key,
                                *in->value ? "stands there twice" : "no value");
        *texts[i].at = texts[i].path ? resolve(b, in->value) : copy(in->value);
        return 0;
    }
    if (strcmp(in->key, "count") == 0) {
        char *end;
        unsigned long v = strtoul(in->value, &end, 10);

        if (!*in->value || *end || v < 1 || v > BATCH_MAX)
            return tb_error_set(e, TB_EPARSE, b->path, in->line,
                                "count: a number from 1 to %d is wanted", BATCH_MAX);
        b->count = (unsigned)v;
        return 0;
    }
    return tb_error_set(e, TB_EPARSE, b->path, in->line, "[batch] has no key '%s'%s", in->key,
                        cardfile_hint(in->key, names, near, sizeof near));
}

static int on_entry(const struct tb_config_entry *in, const char *file, struct tb_error *e,
                    void *user) {
    struct reader *rd = user;

    if (!in->key)
        return begin_section(rd, in->section, in->line, e);
    if (rd->container)
        return read_container(rd, in, e);
    if (rd->in_set) {
        read_variable(rd->b, in);
        return 0;
    }
    return rd->in_batch ? read_batch(rd->b, in, e)
                        : tb_error_set(e, TB_EPARSE, file, in->line,
                                       "'%s' stands before the first section", in->key);
}

int batch_read(const char *path, struct batch *ret, struct tb_error *e) {
    struct reader rd = {.b = ret};

    *ret = (struct batch){.path = copy(path)};
    return tb_config_read(path, on_entry, &rd, e);
}

void batch_done(struct batch *b) {
    char *texts[] = {b->path,   b->order, b->vendor, b->card,        b->iccid,      b->imsi,
                     b->msisdn, b->eid,   b->label,  b->issuer_cert, b->issuer_key, b->server_ca};

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        free(texts[i]);
    for (size_t i = 0; i < b->set_n; i++) {
        tb_wipe(b->set[i], strlen(b->set[i]));
        free(b->set[i]);
    }
    free(b->set);
    *b = (struct batch){.path = NULL};
}

/* --- numbers --- */

__attribute__((format(printf, 3, 4))) static int bad(const struct batch *b, struct tb_error *e,
                                                     const char *fmt, ...) {
    char what[256];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    return tb_error_set(e, TB_EPARSE, b->path, 0, "%s", what);
}

static int check_iccid(struct batch *b, struct tb_error *e) {
    size_t n = strlen(b->iccid);

    if (n < 18 || n > 20 || !tb_digits_ok(tb_span(b->iccid, n - 1), 17, 19))
        return bad(b, e,
                   "iccid '%s': want 18 to 20 digits, the last of which checks the others "
                   "(x: compute it)",
                   b->iccid);
    if (b->iccid[n - 1] == 'x')
        b->iccid[n - 1] = tb_luhn_digit(b->iccid, n - 1);
    if (!tb_luhn_ok(tb_span_str(b->iccid))) {
        const char right[] = {tb_luhn_digit(b->iccid, n - 1), '\0'};

        return bad(b, e, "iccid: its check digit has to be %s (x: compute it)", right);
    }
    return 0;
}

static int check_eid(struct batch *b, struct tb_error *e) {
    if (!b->eid)
        return 0;
    if (strlen(b->eid) != 32 || !tb_digits_ok(tb_span(b->eid, 30), 30, 30))
        return bad(b, e,
                   "eid '%s': want 32 digits, the last two of which check the others (xx: "
                   "compute them)",
                   b->eid);
    if (strcmp(b->eid + 30, "xx") == 0)
        tb_eid_digits(b->eid, b->eid + 30);
    return tb_eid_ok(tb_span_str(b->eid)) ? 0
                                          : bad(b, e,
                                                "eid '%s': its last two digits are wrong "
                                                "(xx: compute them)",
                                                b->eid);
}

static int check_range(const struct batch *b, const char *name, const char *first, size_t digits,
                       struct tb_error *e) {
    char last[BATCH_DIGITS + 1];

    if (!first)
        return 0;
    snprintf(last, sizeof last, "%s", first);
    if (tb_number_add(last, digits, b->count - 1) < 0)
        return tb_error_set(e, TB_ERANGE, b->path, 0, "%s: there are no %u numbers from %s on",
                            name, b->count, first);
    return 0;
}

int batch_check(struct batch *b, struct tb_error *e) {
    if (!b->iccid || !b->order)
        return bad(b, e, "[batch] needs '%s'", b->order ? "iccid" : "order");
    if (!b->count)
        return bad(b, e, "[batch] needs '%s'", "count");
    if (check_iccid(b, e) < 0 || check_eid(b, e) < 0)
        return TB_EPARSE;
    if (b->imsi && !tb_digits_ok(tb_span_str(b->imsi), 6, 15))
        return bad(b, e, "imsi '%s': want 6 to 15 digits", b->imsi);
    if (b->msisdn && !tb_digits_ok(tb_span_str(b->msisdn), 3, 15))
        return bad(b, e, "msisdn '%s': want 3 to 15 digits", b->msisdn);
    if (!b->issuer_cert != !b->issuer_key)
        return bad(b, e, "'issuer-cert' and 'issuer-key' belong together");
    if (check_range(b, "iccid", b->iccid, strlen(b->iccid) - 1, e) < 0 ||
        check_range(b, "imsi", b->imsi, b->imsi ? strlen(b->imsi) : 0, e) < 0 ||
        check_range(b, "msisdn", b->msisdn, b->msisdn ? strlen(b->msisdn) : 0, e) < 0)
        return TB_ERANGE;
    return check_range(b, "eid", b->eid, 30, e);
}

/* Fits: batch_check() has added count - 1. */
static void count_up(const char *first, size_t digits, unsigned i, char *dst) {
    snprintf(dst, BATCH_DIGITS + 1, "%s", first ? first : "");
    if (first && tb_number_add(dst, digits, i) < 0)
        abort();
}

void batch_numbers(const struct batch *b, unsigned i, struct batch_numbers *ret) {
    size_t n = strlen(b->iccid);

    count_up(b->iccid, n - 1, i, ret->iccid);
    ret->iccid[n - 1] = tb_luhn_digit(ret->iccid, n - 1);
    count_up(b->imsi, b->imsi ? strlen(b->imsi) : 0, i, ret->imsi);
    count_up(b->msisdn, b->msisdn ? strlen(b->msisdn) : 0, i, ret->msisdn);
    count_up(b->eid, 30, i, ret->eid);
    if (b->eid)
        tb_eid_digits(ret->eid, ret->eid + 30);
}

/* --- containers --- */

const struct batch_container *batch_container(const struct batch *b, struct tb_span key) {
    for (size_t i = 0; i < b->containers_n; i++)
        if (tb_span_eq(key, tb_span(b->containers[i].key, b->containers[i].key_n)))
            return &b->containers[i];
    return NULL;
}

static struct cardfile_entry *object(struct cardfile *f, enum cardfile_kind kind, const uint8_t *id,
                                     size_t n) {
    for (struct cardfile_entry *at = f->first; at; at = at->next)
        if (at->kind == kind && at->instance == 0 &&
            tb_span_eq(tb_span(at->id.p, at->id.n), tb_span(id, n)))
            return at;
    return NULL;
}

static void set_text(char **at, const char *value) {
    free(*at);
    *at = value ? copy(value) : NULL;
}

static struct cardfile_entry *certificate_of(struct cardfile *f, const char *key) {
    for (struct cardfile_entry *at = f->first; at; at = at->next)
        if (at->kind == CARDFILE_CERTIFICATE && at->key && strcmp(at->key, key) == 0)
            return at;
    return NULL;
}

/* No certificate for this key, whichever files hold it. */
static void uncertify(struct cardfile *f, const char *key) {
    struct cardfile_entry *cert = certificate_of(f, key);

    if (!cert)
        return;
    for (struct cardfile_entry *at = f->first; at; at = at->next)
        if (at->kind == CARDFILE_FILE && at->certificate &&
            strcmp(at->certificate, cert->name) == 0)
            set_text(&at->certificate, NULL);
    for (struct cardfile_entry **link = &f->first; *link; link = &(*link)->next)
        if (*link == cert) {
            *link = cert->next;
            cardfile_entry_free(cert);
            return;
        }
}

static void certify(struct cardfile *f, const struct cardfile_entry *key,
                    struct cardfile_entry *file) {
    enum { DAYS = 3650 };
    struct cardfile_entry *cert = certificate_of(f, key->name);

    if (!cert) {
        cert = calloc(1, sizeof *cert);
        if (!cert)
            abort();
        *cert = (struct cardfile_entry){.kind = CARDFILE_CERTIFICATE,
                                        .line = key->line,
                                        .days = DAYS,
                                        .name = copy(key->name),
                                        .key = copy(key->name),
                                        .next = f->first};
        f->first = cert;
    }
    if (file && !file->certificate)
        set_text(&file->certificate, cert->name);
}

static int apply_key(const struct batch *b, const struct batch_container *c, struct cardfile *f,
                     struct cardfile_entry *key, struct tb_error *e) {
    struct cardfile_entry *file = object(f, CARDFILE_FILE, c->file, c->file_n);

    if (c->file_n && !file)
        return bad(b, e, "[container %s]: the card file has no such file in instance 0", c->name);
    if (c->fill_given && c->fill == BATCH_EMPTY)
        for (const struct cardfile_entry *at = f->first; at; at = at->next)
            if (at->kind == CARDFILE_KEY && at->copy_of && strcmp(at->copy_of, key->name) == 0)
                return bad(b, e, "[container %s]: other keys are copies of this one", c->name);
    if (!c->fill_given)
        return 0;
    if (!key->from)
        key->value = c->fill == BATCH_EMPTY ? CARDFILE_EMPTY : CARDFILE_GENERATE;
    if (c->fill == BATCH_CERTIFICATE)
        certify(f, key, file);
    else
        uncertify(f, key->name);
    return 0;
}

int batch_apply(const struct batch *b, struct cardfile *f, struct tb_error *e) {
    for (size_t i = 0; i < b->containers_n; i++) {
        const struct batch_container *c = &b->containers[i];
        struct cardfile_entry *key = object(f, CARDFILE_KEY, c->key, c->key_n);
        const struct cardfile_entry *secret = object(f, CARDFILE_SECRET, c->key, c->key_n);
        int r = key ? apply_key(b, c, f, key, e) : 0;

        if (!key && !secret)
            return bad(b, e,
                       "[container %s]: the card file has no such key or secret in instance "
                       "0",
                       c->name);
        if (!key && c->fill_given)
            return bad(b, e,
                       "[container %s]: 'fill' is for keys; secrets are as the card file "
                       "says",
                       c->name);
        if (r < 0)
            return r;
    }
    return 0;
}
