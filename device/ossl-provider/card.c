#include "card.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "provider.h"
#include "tb/hex.h"
#include "tb/safe.h"

/* ---- configuration ---- */

static bool is_yes(const char *text) {
    return text && (strcasecmp(text, "yes") == 0 || strcasecmp(text, "true") == 0 ||
                    strcasecmp(text, "on") == 0 || strcmp(text, "1") == 0);
}

static bool set_aid(struct isp_card *card, const char *text) {
    struct tb_buf aid = TB_BUF(card->aid);

    for (const struct tb_safe_aid *a = tb_safe_aids; a->len; a++) {
        if (strcasecmp(a->name, text) == 0)
            tb_put(&aid, tb_span(a->aid, a->len));
    }
    if (aid.n == 0 && (tb_hex_decode_loose(tb_span_str(text), &aid) < 0 || aid.n < 5))
        return false;
    card->options.aid = card->aid;
    card->options.aid_len = aid.n;
    return true;
}

/* Calls fn for each of the comma separated words of text, blanks around them left out; false when
 * it says so. */
static bool each_word(const char *text,
                      bool (*fn)(struct isp_card *card, struct tb_span word, bool own),
                      struct isp_card *card, bool own) {
    while (text && *text) {
        size_t n = strcspn(text, ", \t");

        if (n && !fn(card, tb_span(text, n), own))
            return false;
        text += n + (text[n] != 0);
    }
    return true;
}

static bool take_token(struct isp_card *card, struct tb_span word, bool own) {
    static const char *const names[] = {"ecdhe", "verify", "psk", "random"};

    (void)own;
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        if (tb_span_eq(word, tb_span_str(names[i]))) {
            card->offload |= 1U << i;
            return true;
        }
    }
    return false;
}

static void set_offload(struct isp_card *card, const char *text) {
    if (each_word(text, take_token, card, false))
        return;
    card->offload = 0;
    card->config_error = "offload: known are ecdhe, verify, psk, random";
}

static bool take_ref(struct isp_card *card, struct tb_span word, bool own) {
    struct iotsafe_ref ref = {0};
    struct tb_buf id = TB_BUF(ref.id);

    if (tb_hex_decode(word, &id) < 0 || id.n == 0)
        return false;
    ref.id_len = (uint8_t)id.n;
    if (own)
        return iotsafe_slots_add(&card->slots, &ref) == 0;
    return iotsafe_slots_add_peer(&card->slots, &ref, 1, 1) == 0;
}

static bool set_refs(struct isp_card *card, const char *text, bool own) {
    return each_word(text, take_ref, card, own);
}

void isp_card_init(struct isp_card *card, const struct isp_config *config,
                   const struct isp_host *host) {
    memset(card, 0, sizeof *card);
    if (host)
        card->host = *host;
    pthread_mutex_init(&card->lock, NULL);
    atomic_init(&card->owner, getpid());
    card->options.close_sessions = is_yes(config->close_sessions);
    card->options.basic_channel = is_yes(config->basic_channel);
    card->options.only_this_aid = is_yes(config->only_aid);
    if (config->aid && config->aid[0] && !set_aid(card, config->aid))
        card->config_error = "aid: neither a known name nor 5 to 16 bytes in hex";
    if (config->max_answer && config->max_answer[0]) {
        char *end;
        unsigned long n = strtoul(config->max_answer, &end, 10);

        if (*end || n < 1 || n > 256)
            card->config_error = "max-answer: not 1 to 256";
        card->options.max_answer = (uint16_t)n;
    }
    set_offload(card, host ? host->offload : config->offload);
    if (!host &&
        (!set_refs(card, config->ecdhe_keys, true) || !set_refs(card, config->peer_keys, false)))
        card->config_error = "ecdhe-keys, peer-keys: not up to 16 identifiers in hex";
    card->own_known = card->slots.n_own > 0;
    card->peers_known = card->slots.n_peers > 0;
}

void isp_card_done(struct isp_card *card) {
    /* At exit of a forked child the connection still belongs to the parent. */
    if (atomic_load(&card->owner) == getpid())
        iotsafe_close(card->client);
    else if (card->client)
        iotsafe_abandon(card->client);
    pthread_mutex_destroy(&card->lock);
}

/* ---- the connection ---- */

/* In a child after fork(): the lock may have been held by a thread that does not exist here, and
 * the connection is the parent's. The first thread that comes by puts both right. */
void isp_card_adopt(struct isp_card *card) {
    pid_t me = getpid(), owner = atomic_load(&card->owner);

    while (owner != me) {
        if (owner == 0) { /* another thread is at it, for a moment */
            sched_yield();
            owner = atomic_load(&card->owner);
        } else if (atomic_compare_exchange_weak(&card->owner, &owner, 0)) {
            pthread_mutex_init(&card->lock, NULL);
            if (card->client)
                iotsafe_abandon(card->client);
            card->client = NULL;
            atomic_store(&card->owner, me);
            return;
        }
    }
}

int isp_card_open(struct isp_provider *prov, char *err, size_t cap) {
    struct isp_card *card = &prov->card;
    struct iotsafe_transport *t;
    int r;

    if (card->client)
        return 0;
    r = iotsafe_transport_open(prov->config.transport, &t, err, cap);
    if (r < 0)
        return r;
    r = iotsafe_open(t, &card->options, &card->client);
    if (r < 0) {
        iotsafe_transport_close(t);
        snprintf(err, cap, "%s", iotsafe_strerror(r));
    }
    return r;
}

/* ---- one operation ---- */

struct outcome {
    int r;
    uint16_t sw;
    enum isp_reason reason; /* 0: from r */
    char text[256];
};

static enum isp_reason reason_of(int r) {
    switch (r) {
    case IOTSAFE_E_CARD:
        return ISP_R_CARD_REFUSED;
    case IOTSAFE_E_LINK:
        return ISP_R_LINK;
    case IOTSAFE_E_TIMEOUT:
        return ISP_R_TIMEOUT;
    case IOTSAFE_E_ABSENT:
        return ISP_R_NO_CARD;
    case IOTSAFE_E_NO_APPLET:
        return ISP_R_NO_APPLET;
    case IOTSAFE_E_NOT_FOUND:
        return ISP_R_NOT_FOUND;
    case IOTSAFE_E_BUSY:
        return ISP_R_BUSY;
    case IOTSAFE_E_FORMAT:
        return ISP_R_CARD_ANSWER;
    case IOTSAFE_E_ADMIN:
        return ISP_R_ADMINISTRATION;
    case IOTSAFE_E_REFUSED:
        return ISP_R_MODEM_REFUSED;
    default:
        return ISP_R_CARD_FAILED;
    }
}

static void finish(struct outcome *o, struct iotsafe *client, int r) {
    o->r = r;
    o->sw = iotsafe_last_sw(client);
    o->text[0] = 0;
}

static void run_hosted(struct isp_provider *prov, const struct isp_op *op, struct outcome *o) {
    const struct isp_host *host = &prov->card.host;
    struct iotsafe *client;

    o->r = host->acquire(host->user, op->card, op->reader ? op->reader : "", &client, o->text,
                         sizeof o->text);
    if (o->r < 0) {
        o->reason = ISP_R_TRANSPORT;
        return;
    }
    finish(o, client, op->fn(client, op));
    host->release(host->user, client, o->r);
}

/* The client and its transport recover by themselves from a link that broke or a card that was
 * changed. */
static void run_own(struct isp_provider *prov, const struct isp_op *op, struct outcome *o) {
    struct isp_card *card = &prov->card;

    isp_card_adopt(card);
    pthread_mutex_lock(&card->lock);
    o->r = isp_card_open(prov, o->text, sizeof o->text);
    if (o->r < 0)
        o->reason = ISP_R_TRANSPORT;
    else
        finish(o, card->client, op->fn(card->client, op));
    pthread_mutex_unlock(&card->lock);
}

static void describe(char *dst, size_t cap, const struct iotsafe_ref *ref) {
    struct isp_uri uri = {.has_ref = ref != NULL};
    struct tb_buf out = tb_buf(dst, cap - 1);

    if (ref)
        uri.ref = *ref;
    isp_uri_put(&out, &uri);
    dst[out.n] = 0;
}

static bool has_sw(int r) {
    return r == IOTSAFE_E_CARD || r == IOTSAFE_E_NOT_FOUND || r == IOTSAFE_E_NO_APPLET ||
           r == IOTSAFE_E_ADMIN || r == IOTSAFE_E_BUSY;
}

int isp_card_run(struct isp_provider *prov, const struct isp_op *op) {
    struct outcome o = {0};
    char object[256] = "", sw[128] = "";
    int saved_errno = errno;

    if (prov->card.config_error) {
        isp_raise(prov, ISP_R_CONFIG, "%s", prov->card.config_error);
        return IOTSAFE_E_ARGUMENT;
    }
    if (prov->card.host.acquire) {
        run_hosted(prov, op, &o);
    } else if (op->reader && op->reader[0]) {
        isp_raise(prov, ISP_R_URI, "reader=%s: this program knows one card only", op->reader);
        return IOTSAFE_E_ARGUMENT;
    } else if (!prov->config.transport || !prov->config.transport[0]) {
        isp_raise(prov, ISP_R_NO_TRANSPORT,
                  "set \"transport\" in the provider's section of openssl.cnf");
        return IOTSAFE_E_ARGUMENT;
    } else {
        run_own(prov, op, &o);
    }
    errno = saved_errno; /* python takes what it finds there for the cause of OpenSSL's failure */
    if (o.r >= 0 || (o.r == IOTSAFE_E_SIGNATURE && op->verdict))
        return o.r;
    if (o.reason) {
        isp_raise(prov, o.reason, "%s: %s", op->name, o.text);
        return o.r;
    }
    if (op->ref) {
        object[0] = ' ';
        describe(object + 1, sizeof object - 1, op->ref);
    }
    if (o.sw && has_sw(o.r))
        snprintf(sw, sizeof sw, ", SW %04X (%s)", o.sw, iotsafe_sw_text(o.sw));
    isp_raise(prov, reason_of(o.r), "%s%s: %s%s", op->name, object, iotsafe_strerror(o.r), sw);
    return o.r;
}
