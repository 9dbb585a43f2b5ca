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
    struct iotsafe_stats before; /* of the client, when it was taken */
    bool in_use;                 /* taken: the client must not be freed */
    bool has_link;               /* its transport is one of link.h */
};

static int card_on(struct iotsafe_transport *t, const uint8_t *aid, size_t aid_len,
                   struct dev_card **ret) {
    const struct iotsafe_options opt = {.aid = aid_len ? aid : NULL, .aid_len = aid_len};
    struct dev_card *card = calloc(1, sizeof *card);

    if (!card || iotsafe_open(t, &opt, &card->client) < 0)
        abort(); /* out of memory */
    *ret = card;
    return 0;
}

static int parse_aid(const char *aid, struct tb_buf *bytes, struct tb_error *e) {
    if (aid && (tb_hex_decode_loose(tb_span_str(aid), bytes) < 0 || bytes->n < 5))
        return tb_error_set(e, TB_EPARSE, NULL, 0, "aid %s: not 5 to 16 bytes in hex", aid);
    return 0;
}

int dev_card_new(uv_loop_t *loop, const char *link, const char *aid, struct dev_card **ret,
                 struct tb_error *e) {
    struct iotsafe_transport *t;
    uint8_t room[16];
    struct tb_buf bytes = TB_BUF(room);
    int r = parse_aid(aid, &bytes, e);

    if (r == 0)
        r = dev_link_new(loop, link, &t, e);
    if (r < 0)
        return r;
    r = card_on(t, room, bytes.n, ret);
    (*ret)->has_link = true;
    return r;
}

int dev_card_new_on(struct iotsafe_transport *t, const char *aid, struct dev_card **ret,
                    struct tb_error *e) {
    uint8_t room[16];
    struct tb_buf bytes = TB_BUF(room);
    int r = parse_aid(aid, &bytes, e);

    return r < 0 ? r : card_on(t, room, bytes.n, ret);
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
    iotsafe_stats(card->client, &card->before);
    *ret = card->client;
    return 0;
}

/* What went wrong in the operation that has just ended. */
static void describe(const struct dev_card *card, int result, struct dev_card_trouble *ret) {
    const char *link = card->has_link ? dev_link_why(iotsafe_transport_of(card->client)) : "";
    uint16_t sw = iotsafe_last_sw(card->client);

    ret->error = result;
    ret->sw = 0;
    if (*link) {
        snprintf(ret->text, sizeof ret->text, "%s (%s)", iotsafe_strerror(result), link);
    } else if (sw) {
        ret->sw = sw;
        snprintf(ret->text, sizeof ret->text, "%s, SW %04X: %s", iotsafe_strerror(result), sw,
                 iotsafe_sw_text(sw));
    } else {
        snprintf(ret->text, sizeof ret->text, "%s", iotsafe_strerror(result));
    }
}

static void account(const struct dev_card *card, struct iotsafe_stats *sum) {
    const struct iotsafe_stats *b = &card->before;
    struct iotsafe_stats now;

    iotsafe_stats(card->client, &now);
    sum->apdus += now.apdus - b->apdus;
    sum->bytes_out += now.bytes_out - b->bytes_out;
    sum->bytes_in += now.bytes_in - b->bytes_in;
    sum->opens += now.opens - b->opens;
    sum->refreshes += now.refreshes - b->refreshes;
}

void dev_card_put(struct dev_card *card, int result) {
    struct dev_card_use *use = dev_card_current();

    if (use && use->card == card) {
        account(card, &use->stats);
        if (result < 0 && !use->trouble.error)
            describe(card, result, &use->trouble);
    }
    card->in_use = false;
    dev_unlock(&card->lock);
}

int dev_card_read_file(struct dev_card *card, const struct iotsafe_ref *file, uint8_t **ret,
                       size_t *ret_len, struct dev_failure *why) {
    struct dev_card_trouble trouble;
    uint8_t *buf = malloc(FILE_MAX);
    struct iotsafe *c;
    size_t n = 0;
    int r;

    if (!buf)
        abort();
    r = dev_card_take(card, &c);
    if (r < 0) {
        dev_fail(why, "%s", iotsafe_strerror(r));
    } else {
        r = iotsafe_read_file(c, file, buf, FILE_MAX, &n);
        if (r < 0) {
            describe(card, r, &trouble);
            dev_fail(why, "%s", trouble.text);
            why->sw = trouble.sw;
        }
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

void dev_card_stats(const struct dev_card *card, struct iotsafe_stats *ret) {
    iotsafe_stats(card->client, ret);
}

/* ---- who asks ---- */

static struct dev_card_use *outside; /* of tasks, on the loop's own stack */

static struct dev_card_use **current(void) {
    struct dev_task *t = dev_task_current();

    return t ? &t->card_use : &outside;
}

struct dev_card_use *dev_card_enter(struct dev_card_use *use) {
    struct dev_card_use **at = current(), *before = *at;

    *at = use;
    return before;
}

struct dev_card_use *dev_card_current(void) {
    return *current();
}

void dev_card_use_done(struct dev_card_use *use) {
    use->card = NULL;
}

/* ---- the provider's host ---- */

static int no_card(int r, const char *text, char *err, size_t cap) {
    snprintf(err, cap, "%s", text);
    return r;
}

static int acquire(void *user, void *slots_card, const char *reader, struct iotsafe **ret,
                   char *err, size_t cap) {
    struct dev_card_use *use = dev_card_current();
    int r;

    (void)user;
    (void)slots_card; /* no slots are given out yet */
    if (*reader) {
        snprintf(err, cap, "this device has one card, not one called %s", reader);
        return IOTSAFE_E_ABSENT;
    }
    if (!dev_task_current())
        return no_card(IOTSAFE_E_LINK, "outside of a session", err, cap);
    if (!use || !use->card)
        return no_card(IOTSAFE_E_ABSENT, "this session has no card", err, cap);
    r = dev_card_take(use->card, ret);
    return r < 0 ? no_card(r, iotsafe_strerror(r), err, cap) : 0;
}

static void release(void *user, struct iotsafe *client, int result) {
    (void)user;
    (void)client;
    dev_card_put(dev_card_current()->card, result);
}

struct isp_host dev_card_host(void) {
    return (struct isp_host){.acquire = acquire, .release = release};
}
