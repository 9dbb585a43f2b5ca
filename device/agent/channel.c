#include "channel.h"

#include <stdarg.h>
#include <stdio.h>

#include "channel_stack.h"
#include "task.h"

enum { LAST_WORDS_MS = 500 };

void dev_fail(struct dev_failure *why, const char *fmt, ...) {
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(why->reason, sizeof why->reason, fmt, ap);
    va_end(ap);
}

/* ---- combinations that cannot be ---- */

static const char *impossible(const struct dev_tls_config *cfg) {
    const bool psk = cfg->psk_identity != NULL;

    if ((cfg->versions & (DEV_TLS12 | DEV_TLS13 | DEV_DTLS12)) == 0)
        return "no version of TLS or DTLS is chosen";
    if ((cfg->versions & DEV_DTLS12) && (cfg->versions & (DEV_TLS12 | DEV_TLS13)))
        return "TLS and DTLS do not mix: a connection is a stream or datagrams";
    if (!cfg->card && (cfg->key || cfg->psk_ref || cfg->offload))
        return "a key or offload in the card, but there is no card";
    if (psk && (cfg->key || cfg->key_file))
        return "a certificate's key and a pre-shared key exclude each other";
    if (psk && !cfg->psk_ref && cfg->psk.n == 0)
        return "a pre-shared key needs its secret: in the card or given";
    if (psk && !cfg->psk_plain && !cfg->psk_ecdhe)
        return "a pre-shared key needs an exchange: plain, ecdhe or both";
    if (!psk && !cfg->key && !cfg->key_file)
        return "no credential: neither a private key nor a pre-shared key";
    if (!psk && !cfg->cert_file && cfg->cert.n == 0)
        return "a private key needs its certificate";
    if (!psk && !cfg->ca_file && cfg->ca.n == 0)
        return "no CA certificates: no server could be trusted";
    return NULL;
}

/* Something was not as it should be: what the card has is read anew, it may have changed. */
static void doubt(const struct dev_card_use *use) {
    if (use->card)
        dev_card_forget(use->card);
}

int dev_tls_new(const struct dev_tls_config *cfg, struct dev_tls **ret, struct dev_failure *why) {
    const char *no = impossible(cfg);
    struct dev_card_use use = {.card = cfg->card}, *before;
    int r;

    if (no) {
        dev_fail(why, "tls: %s", no);
        return TB_EPARSE;
    }
    before = dev_card_enter(&use);
    switch (cfg->stack) {
    case DEV_OPENSSL:
        r = dev_tls_openssl(cfg, &use, ret, why);
        break;
    case DEV_MBEDTLS:
#ifdef DEV_WITH_MBEDTLS
        r = dev_tls_mbedtls(cfg, &use, ret, why);
        break;
#endif
    default:
        dev_fail(why, "tls: this build has no Mbed TLS");
        r = TB_EPARSE;
    }
    dev_card_enter(before);
    if (r < 0)
        doubt(&use);
    dev_card_use_done(&use);
    if (r == 0)
        (*ret)->card = cfg->card;
    return r;
}

void dev_tls_free(struct dev_tls *t) {
    struct dev_card_use use, *before;

    if (!t)
        return;
    use = (struct dev_card_use){.card = t->card};
    before = dev_card_enter(&use);
    t->ops->free(t);
    dev_card_enter(before);
    dev_card_use_done(&use);
}

/* ---- channels: the card is the channel's while the library is in it ---- */

static int op_handshake(struct dev_channel *ch, uint64_t until, struct dev_failure *why) {
    struct dev_task *t = dev_task_current();
    uint64_t limit = t->limit;
    struct dev_card_use *before = dev_card_enter(&ch->use);
    int r;

    if (until && (!limit || until < limit))
        t->limit = until; /* waits for the card, too, are over then */
    if (ch->use.card)
        dev_card_hold(ch->use.card);
    r = ch->stack->handshake(ch, until, why);
    if (ch->use.card)
        dev_card_unhold(ch->use.card);
    t->limit = limit;
    dev_card_enter(before);
    if (r < 0)
        doubt(&ch->use);
    dev_card_use_done(&ch->use); /* ephemeral keys have done their duty */
    return r;
}

static int op_read(struct dev_channel *ch, void *buf, size_t cap, struct dev_failure *why) {
    struct dev_card_use *before = dev_card_enter(&ch->use);
    int r = ch->stack->read(ch, buf, cap, why);

    dev_card_enter(before);
    if (r < 0 && r != UV_EAGAIN && r != TB_ECLOSED)
        doubt(&ch->use);
    return r;
}

static int op_write(struct dev_channel *ch, const void *p, size_t n, struct dev_failure *why) {
    struct dev_card_use *before = dev_card_enter(&ch->use);
    int r = ch->stack->write(ch, p, n, why);

    dev_card_enter(before);
    return r;
}

static void op_info(const struct dev_channel *ch, struct dev_channel_info *ret) {
    ch->stack->info(ch, ret);
}

/* Whatever the library still holds of the card, and whatever became of the handshake: behind this
 * the containers are free. */
static void op_close(struct dev_channel *ch, bool orderly) {
    struct dev_card_use use = ch->use, *before = dev_card_enter(&use);

    ch->stack->close(ch, orderly);
    dev_card_enter(before);
    dev_card_use_done(&use);
}

static const struct dev_channel_ops guarded = {op_handshake, op_read, op_write, op_info, op_close};

int dev_channel_open(struct dev_tls *t, struct dev_stream *stream, struct dev_channel **ret,
                     struct dev_failure *why) {
    struct dev_card_use use = {.card = t->card}, *before = dev_card_enter(&use);
    struct dev_channel *ch = NULL;
    int r = t->ops->open(t, stream, &ch, why);

    dev_card_enter(before);
    if (r < 0) {
        dev_card_use_done(&use);
        return r;
    }
    ch->stack = ch->ops;
    ch->ops = &guarded;
    ch->use = use;
    *ret = ch;
    return 0;
}

int dev_channel_last_words(struct dev_channel *ch, int r, struct dev_failure *why) {
    struct dev_failure read_why = {0};
    uint64_t until = dev_after(LAST_WORDS_MS);
    uint8_t block[512];
    int n;

    do {
        n = ch->ops->read(ch, block, sizeof block, &read_why);
        if (n == UV_EAGAIN && dev_stream_wait(ch->stream, 0, until) == 0)
            n = 0;
    } while (n >= 0);
    if (read_why.reason[0])
        *why = read_why;
    return r;
}
