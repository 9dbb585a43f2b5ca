#include "card.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "link.h"
#include "tb/hex.h"

enum { FILE_MAX = 16384 };

struct dev_card {
    struct iotsafe *client;
    struct dev_lock lock;
    struct dev_card_trouble trouble;
    bool in_use; /* taken: the client must not be freed */
};

int dev_card_new(uv_loop_t *loop, const char *link, const char *aid, struct dev_card **ret,
                 struct tb_error *e) {
    struct dev_card *card = calloc(1, sizeof *card);
    struct iotsafe_options opt = {0};
    struct iotsafe_transport *t;
    uint8_t room[16];
    struct tb_buf bytes = TB_BUF(room);
    int r;

    if (!card)
        abort();
    if (aid && (tb_hex_decode_loose(tb_span_str(aid), &bytes) < 0 || bytes.n < 5)) {
        free(card);
        return tb_error_set(e, TB_EPARSE, NULL, 0, "aid %s: not 5 to 16 bytes in hex", aid);
    }
    opt.aid = bytes.n ? room : NULL;
    opt.aid_len = bytes.n;
    r = dev_link_new(loop, link, &t, e);
    if (r < 0) {
        free(card);
        return r;
    }
    if (iotsafe_open(t, &opt, &card->client) < 0)
        abort(); /* out of memory */
    *ret = card;
    return 0;
}

void dev_card_free(struct dev_card *card) {
    if (!card)
        return;
    assert(!card->in_use);
    iotsafe_abandon(card->client);
    free(card);
}

int dev_card_take(struct dev_card *card, struct iotsafe **ret) {
    int r = dev_lock(&card->lock, 0);

    if (r < 0)
        return IOTSAFE_E_TIMEOUT;
    card->in_use = true;
    *ret = card->client;
    return 0;
}

void dev_card_put(struct dev_card *card, int result) {
    struct dev_card_trouble *why = &card->trouble;
    const char *link = dev_link_why(iotsafe_transport_of(card->client));
    uint16_t sw = iotsafe_last_sw(card->client);

    if (result < 0) {
        why->error = result;
        why->sw = 0;
        if (*link) {
            snprintf(why->text, sizeof why->text, "%s (%s)", iotsafe_strerror(result), link);
        } else if (sw) {
            why->sw = sw;
            snprintf(why->text, sizeof why->text, "%s, SW %04X: %s", iotsafe_strerror(result), sw,
                     iotsafe_sw_text(sw));
        } else {
            snprintf(why->text, sizeof why->text, "%s", iotsafe_strerror(result));
        }
    }
    card->in_use = false;
    dev_unlock(&card->lock);
}

int dev_card_read_file(struct dev_card *card, const struct iotsafe_ref *file, uint8_t **ret,
                       size_t *ret_len) {
    uint8_t *buf = malloc(FILE_MAX);
    struct iotsafe *c;
    size_t n = 0;
    int r;

    if (!buf)
        abort();
    r = dev_card_take(card, &c);
    if (r == 0) {
        r = iotsafe_read_file(c, file, buf, FILE_MAX, &n);
        dev_card_put(card, r);
    }
    if (r < 0) {
        free(buf);
        return r;
    }
    *ret = buf;
    *ret_len = n;
    return 0;
}

void dev_card_release(struct dev_card *card) {
    struct iotsafe *c;

    if (dev_card_take(card, &c) == 0)
        dev_card_put(card, iotsafe_release(c));
}

/* ---- the provider's host ---- */

static int acquire(void *user, const char *reader, struct iotsafe **ret, char *err, size_t cap) {
    int r;

    if (*reader) {
        snprintf(err, cap, "this device has one card, not one called %s", reader);
        return IOTSAFE_E_ABSENT;
    }
    if (!dev_task_current()) {
        snprintf(err, cap, "outside of a session");
        return IOTSAFE_E_LINK;
    }
    r = dev_card_take(user, ret);
    if (r < 0)
        snprintf(err, cap, "%s", iotsafe_strerror(r));
    return r;
}

static void release(void *user, struct iotsafe *client, int result) {
    (void)client;
    dev_card_put(user, result);
}

struct isp_host dev_card_host(struct dev_card *card) {
    return (struct isp_host){acquire, release, card};
}

/* ---- what happened ---- */

const struct dev_card_trouble *dev_card_trouble(const struct dev_card *card) {
    return &card->trouble;
}

void dev_card_forget(struct dev_card *card) {
    card->trouble = (struct dev_card_trouble){0};
}

void dev_card_stats(const struct dev_card *card, struct iotsafe_stats *ret) {
    iotsafe_stats(card->client, ret);
}
