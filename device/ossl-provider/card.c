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
    if (config->offload && config->offload[0])
        card->config_error = "offload: this build moves nothing but keys by reference to the card";
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
static void adopt(struct isp_card *card) {
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

static int open_client(struct isp_provider *prov, char *err, size_t cap) {
    struct iotsafe_transport *t;
    int r;

    r = iotsafe_transport_open(prov->config.transport, &t, err, cap);
    if (r < 0)
        return r;
    r = iotsafe_open(t, &prov->card.options, &prov->card.client);
    if (r < 0) {
        iotsafe_transport_close(t);
        snprintf(err, cap, "%s", iotsafe_strerror(r));
    }
    return r;
}

/* ---- one operation ---- */

struct op {
    const char *name; /* as IoT.05 has it */
    int (*fn)(struct iotsafe *c, const struct op *op);
    const struct iotsafe_ref *ref;
    const uint8_t *in;
    void *out;
    size_t cap;
    size_t *ret_n;
};

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

static void run_hosted(struct isp_provider *prov, const char *reader, const struct op *op,
                       struct outcome *o) {
    const struct isp_host *host = &prov->card.host;
    struct iotsafe *client;

    o->r = host->acquire(host->user, NULL, reader, &client, o->text, sizeof o->text);
    if (o->r < 0) {
        o->reason = ISP_R_TRANSPORT;
        return;
    }
    finish(o, client, op->fn(client, op));
    host->release(host->user, client, o->r);
}

/* The client and its transport recover by themselves from a link that broke or a card that was
 * changed. */
static void run_own(struct isp_provider *prov, const struct op *op, struct outcome *o) {
    struct isp_card *card = &prov->card;

    adopt(card);
    pthread_mutex_lock(&card->lock);
    if (!card->client) {
        o->r = open_client(prov, o->text, sizeof o->text);
        o->reason = ISP_R_TRANSPORT;
    }
    if (card->client) {
        o->reason = 0;
        finish(o, card->client, op->fn(card->client, op));
    }
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

static bool run(struct isp_provider *prov, const struct isp_uri *uri, const struct op *op) {
    struct outcome o = {0};
    char object[256], sw[128] = "";
    int saved_errno = errno;

    if (prov->card.config_error) {
        isp_raise(prov, ISP_R_CONFIG, "%s", prov->card.config_error);
        return false;
    }
    if (prov->card.host.acquire) {
        run_hosted(prov, uri->reader, op, &o);
    } else if (uri->reader[0]) {
        isp_raise(prov, ISP_R_URI, "reader=%s: this program knows one card only", uri->reader);
        return false;
    } else if (!prov->config.transport || !prov->config.transport[0]) {
        isp_raise(prov, ISP_R_NO_TRANSPORT,
                  "set \"transport\" in the provider's section of openssl.cnf");
        return false;
    } else {
        run_own(prov, op, &o);
    }
    errno = saved_errno; /* python takes what it finds there for the cause of OpenSSL's failure */
    if (o.r >= 0)
        return true;
    if (o.reason) {
        isp_raise(prov, o.reason, "%s: %s", op->name, o.text);
        return false;
    }
    describe(object, sizeof object, op->ref);
    if (o.sw && (o.r == IOTSAFE_E_CARD || o.r == IOTSAFE_E_NOT_FOUND ||
                 o.r == IOTSAFE_E_NO_APPLET || o.r == IOTSAFE_E_ADMIN || o.r == IOTSAFE_E_BUSY))
        snprintf(sw, sizeof sw, ", SW %04X (%s)", o.sw, iotsafe_sw_text(o.sw));
    isp_raise(prov, reason_of(o.r), "%s %s: %s%s", op->name, object, iotsafe_strerror(o.r), sw);
    return false;
}

static int op_sign(struct iotsafe *c, const struct op *op) {
    size_t n;
    int r =
        iotsafe_sign(c, op->ref, IOTSAFE_SHA256, IOTSAFE_ECDSA, op->in, 32, op->out, op->cap, &n);

    return r == 0 && n != op->cap ? IOTSAFE_E_FORMAT : r;
}

bool isp_card_sign(struct isp_provider *prov, const struct isp_uri *key, const uint8_t digest[32],
                   uint8_t ret_raw[64]) {
    /* The digest is declared as SHA-256 whatever made it: the card signs 32
     * octets */
    const struct op op = {.name = "COMPUTE SIGNATURE",
                          .fn = op_sign,
                          .ref = &key->ref,
                          .in = digest,
                          .out = ret_raw,
                          .cap = 64};

    return run(prov, key, &op);
}

static int op_public_key(struct iotsafe *c, const struct op *op) {
    size_t n;
    int r = iotsafe_read_public_key(c, op->ref, op->out, op->cap, &n);

    return r == 0 && n != op->cap ? IOTSAFE_E_FORMAT : r;
}

bool isp_card_public_key(struct isp_provider *prov, const struct isp_uri *key,
                         uint8_t ret_point[65]) {
    const struct op op = {.name = "READ PUBLIC KEY",
                          .fn = op_public_key,
                          .ref = &key->ref,
                          .out = ret_point,
                          .cap = 65};

    return run(prov, key, &op);
}

static int op_read_file(struct iotsafe *c, const struct op *op) {
    return iotsafe_read_file(c, op->ref, op->out, op->cap, op->ret_n);
}

bool isp_card_read_file(struct isp_provider *prov, const struct isp_uri *file, uint8_t *buf,
                        size_t cap, size_t *ret_len) {
    const struct op op = {.name = "READ FILE",
                          .fn = op_read_file,
                          .ref = &file->ref,
                          .out = buf,
                          .cap = cap,
                          .ret_n = ret_len};

    return run(prov, file, &op);
}

static int op_list(struct iotsafe *c, const struct op *op) {
    return iotsafe_list(c, op->out, op->cap, op->ret_n);
}

bool isp_card_list(struct isp_provider *prov, const struct isp_uri *where,
                   struct iotsafe_object *ret, size_t cap, size_t *ret_n) {
    const struct op op = {
        .name = "GET DATA", .fn = op_list, .out = ret, .cap = cap, .ret_n = ret_n};

    return run(prov, where, &op);
}
