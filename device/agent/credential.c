#include "credential.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tb/hex.h"

enum { PSK_MAX = 64, PSK_FILE_MAX = 4 * PSK_MAX };

/* ---- the texts ---- */

static int parse_source(const char *text, struct dev_source *ret, const char *what,
                        struct tb_error *e) {
    struct tb_buf id = TB_BUF(ret->ref.id), label = TB_BUF(ret->ref.label);

    if (strncmp(text, "card:", 5) != 0) {
        ret->text = text;
        return 0;
    }
    text += 5;
    ret->in_card = true;
    if (strncmp(text, "label=", 6) == 0) {
        tb_put(&label, tb_span_str(text + 6));
        ret->ref.label_len = (uint8_t)label.n;
        if (tb_buf_ok(&label) && label.n)
            return 0;
    } else if (tb_hex_decode(tb_span_str(text), &id) == 0 && id.n) {
        ret->ref.id_len = (uint8_t)id.n;
        return 0;
    }
    return tb_error_set(e, TB_EPARSE, NULL, 0, "%s: card:HEX or card:label=TEXT, not card:%s", what,
                        text);
}

static int parse_versions(struct dev_credential *c, struct tb_error *e) {
    const char *text = c->cfg.tls;
    const bool any = strcmp(text, "any") == 0, v12 = strcmp(text, "1.2") == 0,
               v13 = strcmp(text, "1.3") == 0;

    if (!any && !v12 && !v13)
        return tb_error_set(e, TB_EPARSE, NULL, 0, "--tls is 1.2, 1.3 or any");
    if (c->cfg.datagrams && v13)
        return tb_error_set(e, TB_EPARSE, NULL, 0,
                            "--tls 1.3: neither stack has DTLS 1.3; coaps:// is DTLS 1.2, "
                            "coaps+tcp:// has TLS 1.3");
    if (c->cfg.datagrams)
        c->versions = DEV_DTLS12;
    else
        c->versions = any ? DEV_TLS12 | DEV_TLS13 : v12 ? DEV_TLS12 : DEV_TLS13;
    return 0;
}

static int parse_offload(struct dev_credential *c, struct tb_error *e) {
    static const char *const names[] = {"ecdhe", "verify", "random", "derive"};
    const char *p = c->cfg.offload;
    size_t n, i;

    for (; p && *p; p += n + (p[n] == ',')) {
        n = strcspn(p, ",");
        for (i = 0; i < 4 && (strlen(names[i]) != n || strncmp(names[i], p, n) != 0); i++)
            ;
        if (i == 4)
            return tb_error_set(e, TB_EPARSE, NULL, 0,
                                "--offload %s: ecdhe, verify, random, derive, comma separated",
                                c->cfg.offload);
        c->offload |= 1U << i; /* in the order of DEV_OFFLOAD_… */
    }
    if ((c->offload & DEV_OFFLOAD_DERIVE) && c->stack != DEV_MBEDTLS)
        return tb_error_set(e, TB_EPARSE, NULL, 0,
                            "--offload derive: only with --stack mbedtls; OpenSSL derives itself");
    return 0;
}

static int parse_stack(struct dev_credential *c, struct tb_error *e) {
    if (strcmp(c->cfg.stack, "openssl") == 0)
        c->stack = DEV_OPENSSL;
    else if (strcmp(c->cfg.stack, "mbedtls") == 0)
        c->stack = DEV_MBEDTLS;
    else
        return tb_error_set(e, TB_EPARSE, NULL, 0, "--stack is openssl or mbedtls");
    return 0;
}

static int parse_psk(struct dev_credential *c, struct tb_error *e) {
    const char *exchange = c->cfg.psk_exchange;
    int r;

    if (!c->cfg.psk_identity)
        return tb_error_set(e, TB_EPARSE, NULL, 0, "--psk needs --psk-identity");
    c->psk_plain = strcmp(exchange, "ecdhe") != 0;
    c->psk_ecdhe = strcmp(exchange, "plain") != 0;
    if (c->psk_plain && c->psk_ecdhe && strcmp(exchange, "any") != 0)
        return tb_error_set(e, TB_EPARSE, NULL, 0, "--psk-exchange is plain, ecdhe or any");
    r = parse_source(c->cfg.psk, &c->psk, "psk", e);
    return r < 0 ? r : parse_source(c->cfg.psk_identity, &c->identity, "psk-identity", e);
}

/* What no attempt could ever do is said at once, not at each attempt. */
static int check_together(const struct dev_credential *c, struct tb_error *e) {
    if ((c->offload & DEV_OFFLOAD_DERIVE) && !(c->offload & DEV_OFFLOAD_ECDHE))
        return tb_error_set(e, TB_EPARSE, NULL, 0,
                            "--offload derive needs ecdhe: only a shared secret that the card made "
                            "can stay there");
    if (!c->cfg.psk)
        return 0;
    if (c->offload & DEV_OFFLOAD_VERIFY)
        return tb_error_set(e, TB_EPARSE, NULL, 0,
                            "--offload verify: with a pre-shared key there are no signatures to "
                            "verify");
    if ((c->offload & DEV_OFFLOAD_ECDHE) && !c->psk_ecdhe)
        return tb_error_set(e, TB_EPARSE, NULL, 0,
                            "--offload ecdhe: --psk-exchange plain has no key agreement");
    if (c->stack == DEV_OPENSSL && !c->psk_ecdhe && (c->versions & DEV_TLS13))
        return tb_error_set(e, TB_EPARSE, NULL, 0,
                            "--psk-exchange plain: OpenSSL cannot offer TLS 1.3 psk_ke without "
                            "psk_dhe_ke; --tls 1.2 or --stack mbedtls can");
    return 0;
}

int dev_credential_init(struct dev_credential *c, const struct dev_credential_config *cfg,
                        struct tb_error *e) {
    int r;

    *c = (struct dev_credential){.cfg = *cfg};
    r = parse_stack(c, e);
    if (r == 0)
        r = parse_versions(c, e);
    if (r == 0)
        r = parse_offload(c, e);
    if (r == 0 && cfg->psk) {
        r = parse_psk(c, e);
        return r < 0 ? r : check_together(c, e);
    }
    if (r == 0 && cfg->psk_identity)
        return tb_error_set(e, TB_EPARSE, NULL, 0, "--psk-identity needs --psk");
    if (r == 0)
        r = parse_source(cfg->ca, &c->ca, "ca", e);
    if (r == 0)
        r = parse_source(cfg->cert, &c->cert, "cert", e);
    if (r == 0)
        r = parse_source(cfg->key, &c->key, "key", e);
    return r < 0 ? r : check_together(c, e);
}

/* ---- reading ---- */

static int read_card(struct dev_card *card, struct dev_source *src, const char *what,
                     struct dev_failure *why) {
    struct dev_failure trouble = {0};
    int r;

    if (!src->in_card || src->bytes)
        return 0;
    r = dev_card_read_file(card, &src->ref, &src->bytes, &src->n, &trouble);
    if (r < 0) {
        dev_fail(why, "card: %s: %s", what, trouble.reason);
        why->sw = trouble.sw;
    }
    return r;
}

/* A secret in software: hex in a file. */
static int read_psk_file(struct dev_source *src, struct dev_failure *why) {
    uint8_t secret[PSK_MAX];
    struct tb_buf out = TB_BUF(secret);
    char text[PSK_FILE_MAX];
    size_t n;
    FILE *f;
    int r = 0;

    if (src->in_card || src->bytes)
        return 0;
    f = fopen(src->text, "re");
    if (!f) {
        dev_fail(why, "pre-shared key %s: %s", src->text, strerror(errno));
        return -errno;
    }
    n = fread(text, 1, sizeof text, f);
    fclose(f);
    if (tb_hex_decode_loose(tb_span(text, n), &out) < 0 || out.n == 0) {
        dev_fail(why, "pre-shared key %s: not 1 to %d bytes in hex", src->text, PSK_MAX);
        r = TB_EPARSE;
    } else {
        src->bytes = malloc(out.n);
        if (!src->bytes)
            abort();
        memcpy(src->bytes, secret, out.n);
        src->n = out.n;
    }
    tb_wipe(text, sizeof text);
    tb_wipe(secret, sizeof secret);
    return r;
}

/* A file on a card may be longer than what is in it. */
static const char *identity_of(struct dev_source *src, char dst[static 256]) {
    size_t n = src->n;

    if (!src->in_card)
        return src->text;
    while (n && (src->bytes[n - 1] == 0xFF || src->bytes[n - 1] == 0 || src->bytes[n - 1] == '\n'))
        n--;
    if (n > 255 || memchr(src->bytes, 0, n))
        n = 0;
    memcpy(dst, src->bytes, n);
    dst[n] = '\0';
    return dst;
}

static int make_tls(struct dev_credential *c, struct dev_card *card, struct dev_failure *why) {
    char identity[256];
    struct dev_tls_config cfg = {
        .stack = c->stack,
        .versions = c->versions,
        .server_name = c->cfg.server_name,
        .offload = c->offload,
        .ciphers = c->cfg.ciphers,
        .resume = c->cfg.resume,
        .card = card,
        .keylog = c->cfg.keylog,
        .keylog_user = c->cfg.keylog_user,
    };

    if (c->cfg.psk) {
        cfg.psk_identity = identity_of(&c->identity, identity);
        if (!*cfg.psk_identity) {
            dev_fail(why, "psk-identity: 1 to 255 bytes of text");
            return TB_ERANGE;
        }
        cfg.psk = tb_span(c->psk.bytes, c->psk.n);
        cfg.psk_ref = c->psk.in_card ? &c->psk.ref : NULL;
        cfg.psk_plain = c->psk_plain;
        cfg.psk_ecdhe = c->psk_ecdhe;
    } else {
        cfg.ca_file = c->ca.text;
        cfg.ca = tb_span(c->ca.bytes, c->ca.n);
        cfg.cert_file = c->cert.text;
        cfg.cert = tb_span(c->cert.bytes, c->cert.n);
        cfg.key_file = c->key.text;
        cfg.key = c->key.in_card ? &c->key.ref : NULL;
    }
    return dev_tls_new(&cfg, &c->tls, why);
}

int dev_credential_load(struct dev_credential *c, struct dev_card *card, struct dev_failure *why) {
    int r;

    if (c->tls)
        return 0;
    if (c->cfg.psk) {
        r = read_card(card, &c->identity, "PSK identity", why);
        if (r == 0)
            r = read_psk_file(&c->psk, why);
    } else {
        r = read_card(card, &c->cert, "certificate", why);
        if (r == 0)
            r = read_card(card, &c->ca, "CA certificate", why);
    }
    return r < 0 ? r : make_tls(c, card, why);
}

static void forget_source(struct dev_source *src) {
    if (src->bytes)
        tb_wipe(src->bytes, src->n);
    free(src->bytes);
    src->bytes = NULL;
    src->n = 0;
}

void dev_credential_forget(struct dev_credential *c) {
    dev_tls_free(c->tls);
    c->tls = NULL;
    forget_source(&c->ca);
    forget_source(&c->cert);
    forget_source(&c->identity);
    forget_source(&c->psk);
}

void dev_credential_done(struct dev_credential *c) {
    dev_credential_forget(c);
}

const char *dev_credential_kind(const struct dev_credential *c) {
    return c->cfg.psk ? "psk" : "certificate";
}

const char *dev_credential_stack(const struct dev_credential *c) {
    return c->stack == DEV_MBEDTLS ? "mbedtls" : "openssl";
}
