#include "batch_row.h"

#include <stdio.h>

#include "factory_keys.h"
#include "tb/base64.h"
#include "tb/hex.h"
#include "tb/output_file.h"

struct row {
    struct tb_span at[TB_OUT_COLUMNS];
};

/* What the rows of a card have in common. */
struct rows {
    const struct batch *b;
    const struct cardfile *f;
    const json_t *record;
    const struct tb_kek *kek;
    struct tb_buf *out;
    struct tb_error *e;
    struct row base; /* the numbers, the applet */
    struct row ota;  /* goes with the first row */
    bool first;
};

const char batch_operator_head[] = "ICCID,IMSI,MSISDN,PIN1,PUK1,PIN2,PUK2,ADM1,KI,OPC,OP\r\n";

static struct tb_span text(const char *s) {
    return s ? tb_span_str(s) : TB_SPAN_NONE;
}

static struct tb_span member(const json_t *o, const char *name) {
    return text(json_string_value(json_object_get(o, name)));
}

static void put_row(struct rows *rs, const struct row *r) {
    for (size_t c = 0; c < TB_OUT_COLUMNS; c++) {
        struct tb_span s = r->at[c].n ? r->at[c] : rs->base.at[c];

        if (!s.n && rs->first)
            s = rs->ota.at[c];
        tb_put_csv(rs->out, s, c + 1 == TB_OUT_COLUMNS);
    }
    rs->first = false;
}

static int wrap(struct rows *rs, struct tb_span secret, struct tb_buf *base64) {
    uint8_t room[TB_KEK_WRAPPED_MAX];
    struct tb_buf wrapped = TB_BUF(room);
    int r;

    if (!rs->kek)
        return tb_error_set(rs->e, TB_ENOTFOUND, rs->b->path, 0,
                            "the cards have pre-shared keys: give the transport key that the "
                            "output file carries them under, --kek NAME=FILE");
    r = tb_kek_wrap(rs->kek, secret, &wrapped);
    if (r < 0)
        return tb_error_set(rs->e, r, rs->b->path, 0, "a secret cannot be wrapped: %s",
                            tb_strerror(r));
    tb_put_base64(base64, tb_buf_span(&wrapped));
    return 0;
}

static void put_kcv(struct tb_span key, bool des, struct tb_buf *hex) {
    uint8_t kcv[TB_KCV];

    if (tb_kcv(key, des, kcv) == 0)
        tb_put_hex(hex, tb_span(kcv, sizeof kcv), TB_HEX_UPPER);
}

/* --- where a credential is --- */

static const struct cardfile_entry *entry(const struct rows *rs, enum cardfile_kind kind,
                                          struct tb_span name) {
    for (const struct cardfile_entry *at = rs->f->first; at; at = at->next)
        if (at->kind == kind && tb_span_eq(tb_span_str(at->name), name))
            return at;
    return NULL;
}

static const struct cardfile_entry *applet_of(const struct rows *rs, unsigned instance) {
    for (const struct cardfile_entry *at = rs->f->first; at; at = at->next)
        if (at->kind == CARDFILE_APPLET && at->instance == instance)
            return at;
    return NULL;
}

struct place {
    uint8_t aid[32], container[96];
    struct tb_buf aid_hex, container_hex;
};

static void put_place(const struct rows *rs, const struct cardfile_entry *object,
                      struct tb_span file, struct place *p, struct row *r) {
    const struct cardfile_entry *applet = applet_of(rs, object->instance);
    const struct batch_container *c = batch_container(rs->b, tb_span(object->id.p, object->id.n));

    p->aid_hex = TB_BUF(p->aid);
    p->container_hex = TB_BUF(p->container);
    if (applet)
        tb_put_hex(&p->aid_hex, tb_span(applet->id.p, applet->id.n), TB_HEX_UPPER);
    tb_put_hex(&p->container_hex, tb_span(object->id.p, object->id.n), TB_HEX_UPPER);
    if (file.n) {
        tb_put_u8(&p->container_hex, ':');
        tb_put(&p->container_hex, file);
    }
    r->at[TB_OUT_APPLET_AID] = tb_buf_span(&p->aid_hex);
    r->at[TB_OUT_CONTAINER] = tb_buf_span(&p->container_hex);
    r->at[TB_OUT_APPLET_VARIANT] = tb_span_str("1");
    if (applet && (applet->type == 2 || (applet->profile && strcmp(applet->profile, "type2") == 0)))
        r->at[TB_OUT_APPLET_VARIANT] = tb_span_str("2");
    r->at[TB_OUT_ROLE] = tb_span_str(c && c->bootstrap ? "bootstrap" : "final");
}

/* --- keys and certificates --- */

static int put_spki(struct rows *rs, const struct cardfile_entry *key, struct tb_span public_hex,
                    struct tb_buf *base64) {
    uint8_t raw[TB_OUT_SPKI_MAX], der[TB_OUT_SPKI_MAX];
    struct tb_buf bytes = TB_BUF(raw), spki = TB_BUF(der);
    int r = tb_hex_decode(public_hex, &bytes);

    if (r == 0 && key->type == TB_SAFE_RSA2048)
        tb_put(&spki, tb_buf_span(&bytes));
    else if (r == 0)
        r = tb_spki_of_point(factory_group(key->type), tb_buf_span(&bytes), &spki);
    if (r < 0)
        return tb_error_set(rs->e, r, rs->f->path, key->line, "[key %s]: no public key", key->name);
    tb_put_base64(base64, tb_buf_span(&spki));
    return 0;
}

/* A certificate in PEM form without its frame and line ends. */
static void put_body(struct tb_span pem, struct tb_buf *out) {
    bool frame = false, begins = true;

    for (size_t i = 0; i < pem.n; i++) {
        if (begins)
            frame = pem.p[i] == '-';
        begins = pem.p[i] == '\n';
        if (!frame && !begins)
            tb_put_u8(out, pem.p[i]);
    }
}

static const json_t *certificate_for(const struct rows *rs, struct tb_span key) {
    const json_t *c;
    size_t i;

    json_array_foreach(json_object_get(rs->record, "certificates"), i, c) {
        if (tb_span_eq(member(c, "key"), key))
            return c;
    }
    return NULL;
}

/* The file in the key's instance, of a certificate. */
static struct tb_span file_of(const json_t *certificate, unsigned instance) {
    const json_t *file;
    size_t i;

    json_array_foreach(json_object_get(certificate, "files"), i, file) {
        if (json_integer_value(json_object_get(file, "instance")) == instance)
            return member(file, "id");
    }
    return TB_SPAN_NONE;
}

static int key_row(struct rows *rs, const json_t *key) {
    uint8_t spki_room[2 * TB_OUT_SPKI_MAX], cert_room[2 * TB_OUT_CERT_MAX];
    struct tb_buf spki = TB_BUF(spki_room), cert = TB_BUF(cert_room);
    const struct cardfile_entry *at = entry(rs, CARDFILE_KEY, member(key, "name"));
    const json_t *certificate = certificate_for(rs, member(key, "name"));
    const struct batch_container *c;
    struct place place;
    struct row r = {.at = {[TB_OUT_KIND] = tb_span_str("x509")}};
    int err;

    if (!at || at->copy_of)
        return 0;
    c = batch_container(rs->b, tb_span(at->id.p, at->id.n));
    if (!certificate && !(c && c->fill_given && c->fill == BATCH_KEY && at->instance == 0))
        return 0;
    err = put_spki(rs, at, member(key, "public"), &spki);
    if (err < 0)
        return err;
    put_body(member(certificate, "pem"), &cert);
    put_place(rs, at,
              certificate ? file_of(certificate, at->instance)
                          : tb_span_str(c && c->file_n ? strchr(c->name, ':') + 1 : ""),
              &place, &r);
    r.at[TB_OUT_SPKI] = tb_buf_span(&spki);
    r.at[TB_OUT_CERT] = tb_buf_span(&cert);
    put_row(rs, &r);
    return 0;
}

static const struct cardfile_entry *secret_of(const struct rows *rs, const json_t *psk) {
    for (const struct cardfile_entry *at = rs->f->first; at; at = at->next)
        if (at->kind == CARDFILE_SECRET && at->psk_identity &&
            tb_span_eq(tb_span_str(at->psk_identity), member(psk, "identity")))
            return at;
    return NULL;
}

static int psk_row(struct rows *rs, const json_t *psk) {
    uint8_t secret_room[TB_KEK_SECRET_MAX], wrapped_room[2 * TB_KEK_WRAPPED_MAX], kcv_room[8];
    struct tb_buf secret = TB_BUF(secret_room), wrapped = TB_BUF(wrapped_room),
                  kcv = TB_BUF(kcv_room);
    const struct cardfile_entry *at = secret_of(rs, psk);
    struct place place;
    struct row r = {.at = {[TB_OUT_KIND] = tb_span_str("psk")}};
    int err = at ? tb_hex_decode(member(psk, "secret"), &secret) : TB_ENOTFOUND;

    if (err == 0)
        err = wrap(rs, tb_buf_span(&secret), &wrapped);
    if (err == 0) {
        put_kcv(tb_buf_span(&secret), false, &kcv);
        put_place(rs, at, TB_SPAN_NONE, &place, &r);
        r.at[TB_OUT_PSK_ID] = member(psk, "identity");
        r.at[TB_OUT_PSK_WRAPPED] = tb_buf_span(&wrapped);
        r.at[TB_OUT_KEK_ID] = tb_span_str(rs->kek->name);
        r.at[TB_OUT_KCV] = tb_buf_span(&kcv);
        put_row(rs, &r);
    }
    tb_wipe(secret_room, sizeof secret_room);
    return err;
}

/* --- keys for remote administration --- */

struct ota {
    uint8_t aid[40], tar[8], kvn[8], msl[8], wrapped[3][2 * TB_KEK_WRAPPED_MAX], kcv[24];
    struct tb_buf aid_hex, tar_hex, keys[3], kcvs;
};

static const json_t *domain_named(const struct rows *rs, const char *name) {
    const json_t *d;
    size_t i;

    json_array_foreach(json_object_get(rs->record, "domains"), i, d) {
        if (strcmp(json_string_value(json_object_get(d, "name")), name) == 0)
            return d;
    }
    return NULL;
}

/* Those for SCP80: versions 1 to 15. */
static const json_t *ota_keys(const json_t *domain) {
    const json_t *k;
    size_t i;

    json_array_foreach(json_object_get(domain, "keys"), i, k) {
        if (json_integer_value(json_object_get(k, "version")) < 16)
            return k;
    }
    return NULL;
}

static int fill_ota(struct rows *rs, const struct cardfile_entry *domain, const json_t *keys,
                    struct ota *o) {
    static const char *const names[] = {"enc", "mac", "dek"};
    bool des = tb_span_eq(member(keys, "type"), tb_span_str("des"));
    int err = 0;

    o->aid_hex = TB_BUF(o->aid);
    o->tar_hex = TB_BUF(o->tar);
    o->kcvs = TB_BUF(o->kcv);
    tb_put_hex(&o->aid_hex, tb_span(domain->id.p, domain->id.n), TB_HEX_UPPER);
    tb_put_hex(&o->tar_hex, tb_span(domain->tar.p, domain->tar.n), TB_HEX_UPPER);
    snprintf((char *)o->kvn, sizeof o->kvn, "%d",
             (int)json_integer_value(json_object_get(keys, "version")));
    snprintf((char *)o->msl, sizeof o->msl, "%u", domain->msl);
    for (size_t i = 0; i < 3 && err == 0; i++) {
        uint8_t room[32];
        struct tb_buf key = TB_BUF(room);

        o->keys[i] = TB_BUF(o->wrapped[i]);
        err = tb_hex_decode(member(keys, names[i]), &key);
        if (err == 0)
            err = wrap(rs, tb_buf_span(&key), &o->keys[i]);
        if (err == 0)
            put_kcv(tb_buf_span(&key), des, &o->kcvs);
        tb_wipe(room, sizeof room);
    }
    return err;
}

/* Of the domain that the applet belongs to, when it can be reached over the air. */
static int find_ota(struct rows *rs, struct ota *o) {
    const struct cardfile_entry *applet = applet_of(rs, 0);
    const char *name = applet ? applet->domain : NULL;
    const struct cardfile_entry *domain = name ? cardfile_find(rs->f, CARDFILE_DOMAIN, name) : NULL;
    const json_t *keys = name ? ota_keys(domain_named(rs, name)) : NULL;
    struct tb_span *at = rs->ota.at;
    int err;

    if (!domain || !keys || domain->tar.n != 3 || !domain->id.n || !rs->kek)
        return 0;
    err = fill_ota(rs, domain, keys, o);
    if (err < 0)
        return err;
    at[TB_OUT_KEK_ID] = tb_span_str(rs->kek->name);
    at[TB_OUT_OTA_AID] = tb_buf_span(&o->aid_hex);
    at[TB_OUT_OTA_TAR] = tb_buf_span(&o->tar_hex);
    at[TB_OUT_OTA_KVN] = tb_span_str((const char *)o->kvn);
    at[TB_OUT_OTA_MSL] = tb_span_str((const char *)o->msl);
    for (size_t i = 0; i < 3; i++)
        at[TB_OUT_OTA_KIC + i] = tb_buf_span(&o->keys[i]);
    at[TB_OUT_OTA_KCV] = tb_buf_span(&o->kcvs);
    return 0;
}

int batch_rows(const struct batch *b, const struct batch_numbers *n, const struct cardfile *f,
               const json_t *record, const struct tb_kek *kek, struct tb_buf *out,
               struct tb_error *e) {
    struct rows rs = {
        .b = b, .f = f, .record = record, .kek = kek, .out = out, .e = e, .first = true};
    struct ota ota;
    const json_t *at;
    size_t i;
    int r;

    rs.base.at[TB_OUT_ICCID] = text(n->iccid);
    rs.base.at[TB_OUT_EID] = text(n->eid);
    rs.base.at[TB_OUT_IMSI] = text(n->imsi);
    rs.base.at[TB_OUT_MSISDN] = text(n->msisdn);
    rs.base.at[TB_OUT_LABEL] = text(b->label ? b->label : b->order);
    r = find_ota(&rs, &ota);
    json_array_foreach(json_object_get(record, "keys"), i, at) {
        if (r == 0)
            r = key_row(&rs, at);
    }
    json_array_foreach(json_object_get(record, "credentials"), i, at) {
        if (r == 0 && tb_span_eq(member(at, "kind"), tb_span_str("psk")))
            r = psk_row(&rs, at);
    }
    if (r == 0 && rs.first)
        put_row(&rs, &(struct row){.at = {TB_SPAN_NONE}});
    if (r == 0 && !tb_buf_ok(out))
        r = tb_error_set(e, TB_ESPACE, b->path, 0, "more than %d bytes about one card",
                         BATCH_ROWS_MAX);
    return r;
}

/* What the card has without a [pin] section: simcard/personalise.h. */
static struct tb_span code(const struct cardfile *f, const char *name, bool unblocks) {
    const struct cardfile_entry *at = cardfile_find(f, CARDFILE_PIN, name);

    if (at)
        return text(unblocks ? at->puk : at->text);
    return strcmp(name, "adm1") == 0 ? TB_SPAN_NONE : text(unblocks ? "00000000" : "0000");
}

void batch_operator_row(const struct batch_numbers *n, const struct cardfile *f,
                        const json_t *record, struct tb_buf *out) {
    const json_t *usim = json_object_get(record, "usim");
    const struct tb_span row[] = {
        text(n->iccid),         text(n->imsi),          text(n->msisdn),
        code(f, "pin1", false), code(f, "pin1", true),  code(f, "pin2", false),
        code(f, "pin2", true),  code(f, "adm1", false), member(usim, "k"),
        member(usim, "opc"),    member(usim, "op")};

    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        tb_put_csv(out, row[i], i + 1 == sizeof row / sizeof *row);
}
