#include "cardfile.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "cardfile_check.h"
#include "cardfile_fields.h"
#include "cardfile_vars.h"
#include "tb/config.h"

enum { MAX_VALUE = 4096 };

struct reader {
    struct cardfile *f;
    const struct cardfile_override *with;
    struct cardfile_entry **tail;
    enum cardfile_kind kind;      /* of the section being read, CARDFILE_KINDS before the first */
    struct cardfile_entry *entry; /* NULL in [card] and [set] */
    uint32_t card_given;
    int card_line;
    struct cardfile_vars vars;
};

static const char *const kind_names[CARDFILE_KINDS + 1] = {
    [CARDFILE_SET] = "set",         [CARDFILE_CARD] = "card",
    [CARDFILE_PIN] = "pin",         [CARDFILE_USIM] = "usim",
    [CARDFILE_EUICC] = "euicc",     [CARDFILE_SUBSCRIPTION] = "subscription",
    [CARDFILE_DOMAIN] = "domain",   [CARDFILE_KEYS] = "keys",
    [CARDFILE_PROFILE] = "profile", [CARDFILE_APPLET] = "applet",
    [CARDFILE_KEY] = "key",         [CARDFILE_PUBLIC] = "public",
    [CARDFILE_SECRET] = "secret",   [CARDFILE_CERTIFICATE] = "certificate",
    [CARDFILE_FILE] = "file",       [CARDFILE_KINDS] = NULL,
};

const char *cardfile_kind_name(enum cardfile_kind kind) {
    return kind_names[kind];
}

static char *copy_text(const char *s) {
    char *copy = strdup(s);

    if (!copy)
        abort();
    return copy;
}

const struct cardfile_entry *cardfile_find(const struct cardfile *f, enum cardfile_kind kind,
                                           const char *name) {
    for (const struct cardfile_entry *at = f->first; at; at = at->next)
        if (at->kind == kind && strcmp(at->name, name) == 0)
            return at;
    return NULL;
}

char *cardfile_path(const struct cardfile *f, const char *path) {
    const char *slash = strrchr(f->path, '/');
    char *full;

    if (path[0] == '/' || !slash)
        return copy_text(path);
    if (asprintf(&full, "%.*s/%s", (int)(slash - f->path), f->path, path) < 0)
        abort();
    return full;
}

/* Sections. */

static int begin_section(struct reader *rd, const char *section, int line, struct tb_error *e) {
    const char *name = section + strcspn(section, " \t");
    char word[32], near[96];
    unsigned k;

    snprintf(word, sizeof word, "%.*s", (int)(name - section), section);
    name += strspn(name, " \t");
    for (k = 0; k < CARDFILE_KINDS && strcmp(kind_names[k], word) != 0; k++)
        ;
    if (k == CARDFILE_KINDS)
        return tb_error_set(e, TB_EPARSE, rd->f->path, line, "unknown section [%s]%s", section,
                            cardfile_hint(word, kind_names, near, sizeof near));
    rd->kind = (enum cardfile_kind)k;
    rd->entry = NULL;
    if (rd->kind == CARDFILE_SET || rd->kind == CARDFILE_CARD) {
        if (*name)
            return tb_error_set(e, TB_EPARSE, rd->f->path, line, "[%s] takes no name", word);
        if (rd->kind == CARDFILE_CARD && rd->card_line)
            return tb_error_set(e, TB_EPARSE, rd->f->path, line, "[card] stands already in line %d",
                                rd->card_line);
        if (rd->kind == CARDFILE_CARD)
            rd->card_line = line;
        return 0;
    }
    if (!*name && rd->kind != CARDFILE_APPLET && rd->kind != CARDFILE_USIM &&
        rd->kind != CARDFILE_EUICC)
        return tb_error_set(e, TB_EPARSE, rd->f->path, line, "[%s] needs a name: [%s my-name]",
                            word, word);
    if (rd->kind == CARDFILE_PROFILE && strlen(name) >= sizeof rd->entry->knobs.name)
        return tb_error_set(e, TB_EPARSE, rd->f->path, line,
                            "profile name longer than %zu characters",
                            sizeof rd->entry->knobs.name - 1);
    if (*name) {
        const struct cardfile_entry *other = cardfile_find(rd->f, rd->kind, name);

        if (other)
            return tb_error_set(e, TB_EPARSE, rd->f->path, line, "[%s] stands already in line %d",
                                section, other->line);
    }
    rd->entry = calloc(1, sizeof *rd->entry);
    if (!rd->entry)
        abort();
    rd->entry->kind = rd->kind;
    rd->entry->name = copy_text(name);
    rd->entry->line = line;
    rd->entry->knobs = *card_profile_find("gsma");
    *rd->tail = rd->entry;
    rd->tail = &rd->entry->next;
    return 0;
}

/* [profile]: base, then knobs by the names the card gives them. */
static int read_knob(struct reader *rd, const struct tb_config_entry *in, const char *value,
                     struct tb_error *e) {
    struct cardfile_entry *at = rd->entry;
    char near[96];
    int r;

    if (strcmp(in->key, "base") == 0) {
        const struct card_profile *base = card_profile_find(value);

        if (at->given)
            return tb_error_set(e, TB_EPARSE, rd->f->path, in->line,
                                "base must be the first key of [%s]", in->section);
        if (!base)
            return tb_error_set(e, TB_EPARSE, rd->f->path, in->line,
                                "base: no built-in profile '%s'%s", value,
                                cardfile_hint(value, card_profile_names(), near, sizeof near));
        at->knobs = *base;
    } else {
        r = card_profile_set(&at->knobs, in->key, value);
        if (r == TB_ENOTFOUND)
            return tb_error_set(e, TB_EPARSE, rd->f->path, in->line, "a profile has no knob '%s'%s",
                                in->key,
                                cardfile_hint(in->key, card_profile_knobs(), near, sizeof near));
        if (r < 0)
            return tb_error_set(e, TB_EPARSE, rd->f->path, in->line,
                                "%s: cannot be '%s'; it takes %s", in->key, value,
                                card_profile_knob_values(in->key));
    }
    snprintf(at->knobs.name, sizeof at->knobs.name, "%s", at->name);
    at->given = 1;
    return 0;
}

static int read_key(struct reader *rd, const struct tb_config_entry *in, const char *value,
                    struct tb_error *e) {
    const struct cardfile_field *fields = cardfile_fields(rd->kind), *f;
    uint32_t *given = rd->entry ? &rd->entry->given : &rd->card_given;
    void *object = rd->entry ? (void *)rd->entry : (void *)rd->f;
    const char *names[32] = {NULL};
    char near[96];
    int r;

    for (f = fields; f->name && strcmp(f->name, in->key) != 0; f++)
        names[f - fields] = f->name;
    if (!f->name)
        return tb_error_set(e, TB_EPARSE, rd->f->path, in->line, "[%s] has no key '%s'%s",
                            in->section, in->key, cardfile_hint(in->key, names, near, sizeof near));
    if (*given & 1u << (f - fields))
        return tb_error_set(e, TB_EPARSE, rd->f->path, in->line, "[%s] has two '%s'", in->section,
                            in->key);
    r = cardfile_field_read(f, value, object, rd->f->path, in->line, e);
    if (r == 0)
        *given |= 1u << (f - fields);
    return r;
}

static int read_card_key(struct reader *rd, const struct tb_config_entry *in, const char *value,
                         struct tb_error *e) {
    bool number = strcmp(in->key, "iccid") == 0 || strcmp(in->key, "imsi") == 0;
    const char *override = number ? cardfile_vars_overridden(&rd->vars, in->key) : NULL;
    int r = read_key(rd, in, override ? override : value, e);

    return r == 0 && number ? cardfile_vars_define(&rd->vars, in->key, value, in->line, e) : r;
}

static int read_variable(struct reader *rd, const struct tb_config_entry *in, const char *value,
                         struct tb_error *e) {
    if (strcmp(in->key, "iccid") == 0 || strcmp(in->key, "imsi") == 0)
        return tb_error_set(e, TB_EPARSE, rd->f->path, in->line, "%s belongs into [card]", in->key);
    return cardfile_vars_define(&rd->vars, in->key, value, in->line, e);
}

static int on_entry(const struct tb_config_entry *in, const char *file, struct tb_error *e,
                    void *user) {
    struct reader *rd = user;
    char value[MAX_VALUE];
    int r;

    (void)file;
    if (!in->key)
        return begin_section(rd, in->section, in->line, e);
    if (rd->kind == CARDFILE_KINDS)
        return tb_error_set(e, TB_EPARSE, rd->f->path, in->line,
                            "'%s' stands before the first section", in->key);
    r = cardfile_vars_expand(&rd->vars, in->value, value, sizeof value, in->line, e);
    if (r == 0 && rd->kind == CARDFILE_CARD)
        r = read_card_key(rd, in, value, e);
    else if (r == 0 && rd->kind == CARDFILE_SET)
        r = read_variable(rd, in, value, e);
    else if (r == 0 && rd->kind == CARDFILE_PROFILE)
        r = read_knob(rd, in, value, e);
    else if (r == 0)
        r = read_key(rd, in, value, e);
    tb_wipe(value, sizeof value); /* may be the value of a secret */
    return r;
}

static void take_command_line_numbers(struct reader *rd) {
    if (!rd->f->iccid && rd->with->iccid)
        rd->f->iccid = copy_text(rd->with->iccid);
    if (!rd->f->imsi && rd->with->imsi)
        rd->f->imsi = copy_text(rd->with->imsi);
}

int cardfile_read(const char *path, const struct cardfile_override *with, struct cardfile **ret,
                  struct tb_error *e) {
    static const struct cardfile_override none;
    struct reader rd = {.kind = CARDFILE_KINDS, .with = with ? with : &none};
    int r;

    rd.f = calloc(1, sizeof *rd.f);
    if (!rd.f)
        abort();
    rd.f->path = copy_text(path);
    rd.tail = &rd.f->first;
    rd.vars.file = rd.f->path;
    r = cardfile_vars_override(&rd.vars, rd.with, e);
    if (r == 0)
        r = tb_config_read(path, on_entry, &rd, e);
    take_command_line_numbers(&rd);
    if (r == 0)
        r = cardfile_vars_check(&rd.vars, e);
    if (r == 0)
        r = cardfile_check(rd.f, e);
    cardfile_vars_done(&rd.vars);
    if (r < 0) {
        cardfile_free(rd.f);
        return r;
    }
    *ret = rd.f;
    return 0;
}

static void free_bytes(struct cardfile_bytes *b) {
    tb_wipe(b->p, b->n);
    free(b->p);
}

static void free_text(char *s) {
    if (s)
        tb_wipe(s, strlen(s));
    free(s);
}

void cardfile_entry_free(struct cardfile_entry *at) {
    char *texts[] = {at->name,         at->label, at->public_label, at->text,   at->from,
                     at->certificate,  at->key,   at->profile,      at->cn,     at->organization,
                     at->psk_identity, at->puk,   at->copy_of,      at->domain, at->smdp,
                     at->smds,         at->iccid, at->imsi,         at->spn,    at->msisdn,
                     at->smsc,         at->pin1,  at->puk1,         at->adm1,   at->nickname,
                     at->provider,     at->notify};
    struct cardfile_bytes *bytes[] = {&at->id,  &at->public_id, &at->hex, &at->k,   &at->op,
                                      &at->opc, &at->sqn,       &at->tar, &at->enc, &at->mac,
                                      &at->dek, &at->eid,       &at->ci,  NULL};

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        free_text(texts[i]);
    for (size_t i = 0; bytes[i]; i++)
        free_bytes(bytes[i]);
    free(at);
}

void cardfile_free(struct cardfile *f) {
    if (!f)
        return;
    while (f->first) {
        struct cardfile_entry *at = f->first;

        f->first = at->next;
        cardfile_entry_free(at);
    }
    free_bytes(&f->atr);
    free(f->path);
    free(f->iccid);
    free(f->imsi);
    free(f->spn);
    free(f->msisdn);
    free(f->smsc);
    free(f);
}
