#include "card.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "iotsafe/slots.h"
#include "link.h"
#include "tb/hex.h"

enum { FILE_MAX = 16384 };

struct waiter { /* on the stack of a task that is parked */
    struct dev_task *task;
    struct waiter *next;
};

struct file { /* as it was read */
    struct file *next;
    struct iotsafe_ref ref;
    size_t n;
    uint8_t bytes[];
};

struct dev_card {
    struct iotsafe *client;
    struct dev_lock lock;
    struct iotsafe_stats before; /* of the client, when it was taken */
    unsigned handshakes;         /* under way */
    bool in_use;                 /* taken: the client must not be freed */
    struct iotsafe_slots *slots; /* NULL: not asked for yet */
    struct waiter *waiting;      /* for one of them */
    struct file *files;          /* certificates and the like, the same for all applications */
    uint64_t refreshes;          /* of the client, when they were read */
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
    dev_card_forget(card);
    free(card->slots); /* still there if anything was taken */
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

/* The error comes from an answer of the card, so that its status word tells more. */
static bool by_the_card(int result) {
    return result == IOTSAFE_E_CARD || result == IOTSAFE_E_NOT_FOUND ||
           result == IOTSAFE_E_NO_APPLET || result == IOTSAFE_E_ADMIN || result == IOTSAFE_E_BUSY ||
           result == IOTSAFE_E_SIGNATURE;
}

/* What went wrong in the operation that has just ended. */
static void describe(const struct dev_card *card, int result, struct dev_card_trouble *ret) {
    const char *link = card->has_link ? dev_link_why(iotsafe_transport_of(card->client)) : "";
    uint16_t sw = iotsafe_last_sw(card->client);

    ret->error = result;
    ret->sw = 0;
    if (*link) {
        snprintf(ret->text, sizeof ret->text, "%s (%s)", iotsafe_strerror(result), link);
    } else if (by_the_card(result) && sw) {
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
    if (result < 0)
        dev_card_forget(card); /* perhaps it is another card now */
    card->in_use = false;
    dev_unlock(&card->lock);
}

/* ---- files ---- */

void dev_card_forget(struct dev_card *card) {
    while (card->files) {
        struct file *f = card->files;

        card->files = f->next;
        free(f);
    }
    if (card->slots && card->slots->taken == 0 && !card->waiting) {
        free(card->slots);
        card->slots = NULL;
    }
}

static bool same_ref(const struct iotsafe_ref *a, const struct iotsafe_ref *b) {
    return a->id_len == b->id_len && a->label_len == b->label_len &&
           memcmp(a->id, b->id, a->id_len) == 0 && memcmp(a->label, b->label, a->label_len) == 0;
}

/* Whatever was known before the card told that its objects changed is of no use. */
static void drop_stale(struct dev_card *card) {
    struct iotsafe_stats now;

    iotsafe_stats(card->client, &now);
    if (now.refreshes != card->refreshes)
        dev_card_forget(card);
    card->refreshes = now.refreshes;
}

static const struct file *known_file(struct dev_card *card, const struct iotsafe_ref *ref) {
    const struct file *f;

    drop_stale(card);
    for (f = card->files; f && !same_ref(&f->ref, ref); f = f->next)
        ;
    return f;
}

static void remember_file(struct dev_card *card, const struct iotsafe_ref *ref,
                          const uint8_t *bytes, size_t n) {
    struct file *f = malloc(sizeof *f + n);

    if (!f)
        abort();
    *f = (struct file){.ref = *ref, .n = n};
    memcpy(f->bytes, bytes, n);
    drop_stale(card); /* reading may have told so */
    f->next = card->files;
    card->files = f;
}

static uint8_t *copy_of(const struct file *f) {
    uint8_t *copy = malloc(f->n ? f->n : 1);

    if (!copy)
        abort();
    memcpy(copy, f->bytes, f->n);
    return copy;
}

static int fetch_file(struct dev_card *card, struct iotsafe *c, const struct iotsafe_ref *ref,
                      struct dev_failure *why) {
    struct dev_card_trouble trouble;
    uint8_t *buf = malloc(FILE_MAX);
    size_t n = 0;
    int r;

    if (!buf)
        abort();
    r = iotsafe_read_file(c, ref, buf, FILE_MAX, &n);
    if (r < 0) {
        describe(card, r, &trouble);
        dev_fail(why, "%s", trouble.text);
        why->sw = trouble.sw;
    } else {
        remember_file(card, ref, buf, n);
    }
    free(buf);
    return r;
}

int dev_card_read_file(struct dev_card *card, const struct iotsafe_ref *ref, uint8_t **ret,
                       size_t *ret_len, struct dev_failure *why) {
    const struct file *f = known_file(card, ref);
    struct iotsafe *c;
    int r;

    if (f) {
        *ret = copy_of(f);
        *ret_len = f->n;
        return 0;
    }
    r = dev_card_take(card, &c);
    if (r < 0) {
        dev_fail(why, "%s", iotsafe_strerror(r));
        return r;
    }
    if (!known_file(card, ref)) /* nobody else has read it while we waited */
        r = fetch_file(card, c, ref, why);
    if (r == 0) {
        f = known_file(card, ref);
        *ret = copy_of(f);
        *ret_len = f->n;
    }
    dev_card_put(card, r);
    return r;
}

void dev_card_release(struct dev_card *card) {
    struct iotsafe *c;

    if (card->handshakes == 0 && dev_card_take(card, &c) == 0)
        dev_card_put(card, card->handshakes == 0 ? iotsafe_release(c) : 0);
}

void dev_card_hold(struct dev_card *card) {
    card->handshakes++;
}

void dev_card_unhold(struct dev_card *card) {
    assert(card->handshakes > 0);
    card->handshakes--;
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

/* ---- containers for ephemeral keys ---- */

static int text(int r, char *err, size_t cap, const char *what) {
    snprintf(err, cap, "%s", what);
    return r;
}

static struct dev_card_use *checked_current(char *err, size_t cap) {
    struct dev_card_use *use = dev_card_current();

    if (!dev_task_current())
        text(0, err, cap, "outside of a session");
    else if (!use || !use->card)
        text(0, err, cap, "this session has no card");
    else
        return use;
    return NULL;
}

/* Asks the card what it has, once. */
static int find_slots(struct dev_card *card, char *err, size_t cap) {
    struct iotsafe_slots *found;
    struct iotsafe *client;
    int r;

    if (card->slots)
        return 0;
    r = dev_card_take(card, &client);
    if (r < 0)
        return text(r, err, cap, iotsafe_strerror(r));
    if (!card->slots) { /* nobody else did while we waited */
        found = malloc(sizeof *found);
        if (!found)
            abort();
        r = iotsafe_slots_discover(client, found);
        if (r == 0)
            card->slots = found;
        else
            free(found);
    }
    dev_card_put(card, r);
    return r < 0 ? text(r, err, cap, iotsafe_strerror(r)) : 0;
}

static uint16_t bit_of(const struct dev_card *card, const struct iotsafe_ref *own) {
    for (unsigned i = 0; card->slots && i < card->slots->n_own; i++) {
        if (same_ref(&card->slots->own[i], own))
            return (uint16_t)(1U << i);
    }
    return 0;
}

/* A container has become free: who waits longest gets it. */
static void wake_one(struct dev_card *card) {
    if (card->waiting)
        dev_task_wake(card->waiting->task);
}

static bool all_taken(const struct iotsafe_slots *s) {
    return s->taken == (1U << s->n_own) - 1;
}

static int wait_for_slot(struct dev_card *card) {
    struct waiter me = {.task = dev_task_current()}, **at = &card->waiting;
    int r;

    while (*at)
        at = &(*at)->next;
    *at = &me;
    do {
        r = dev_task_wait(me.task, 0);
        /* Only the first one may help itself. */
    } while (r == 0 && (card->waiting != &me || all_taken(card->slots)));
    for (at = &card->waiting; *at != &me; at = &(*at)->next)
        ;
    *at = me.next;
    if (r < 0 && !all_taken(card->slots)) /* it was woken to take one, and does not */
        wake_one(card);
    return r;
}

static int take_slot(struct dev_card_use *use, struct dev_card_slot *ret, char *err, size_t cap) {
    struct dev_card *card = use->card;
    const struct iotsafe_ref *peer;
    int r = find_slots(card, err, cap);

    if (r < 0)
        return r;
    peer = iotsafe_slots_peer(card->slots);
    if (card->slots->n_own == 0 || !peer)
        return text(IOTSAFE_E_UNSUPPORTED, err, cap,
                    "the card has no container for ephemeral keys");
    /* A client that offered TLS 1.3 and got TLS 1.2 wants a second key. The first one is of no use
     * any more. */
    if (use->slots) {
        ret->own = card->slots->own[__builtin_ctz(use->slots)];
        ret->peer = *peer;
        ret->card = card;
        return 0;
    }
    if (all_taken(card->slots) || card->waiting) {
        r = wait_for_slot(card);
        if (r < 0)
            return text(IOTSAFE_E_TIMEOUT, err, cap,
                        "all containers for ephemeral keys are in use by others");
    }
    r = iotsafe_slots_take(card->slots, &ret->own);
    if (r < 0)
        return text(r, err, cap, iotsafe_strerror(r));
    use->slots |= bit_of(card, &ret->own);
    ret->peer = *peer;
    ret->card = card;
    if (!all_taken(card->slots))
        wake_one(card);
    return 0;
}

/* What failed before the card was asked is its trouble as well. */
static int noted(struct dev_card_use *use, int r, const char *err) {
    if (r < 0 && !use->trouble.error) {
        use->trouble.error = r;
        snprintf(use->trouble.text, sizeof use->trouble.text, "%s", err);
    }
    return r;
}

int dev_card_slot_take(struct dev_card_slot *ret, char *err, size_t cap) {
    struct dev_card_use *use = checked_current(err, cap);

    return use ? noted(use, take_slot(use, ret, err, cap), err) : IOTSAFE_E_ABSENT;
}

static void give_back(struct dev_card *card, uint16_t bits) {
    if (!bits)
        return;
    card->slots->taken &= (uint16_t)~bits;
    wake_one(card);
}

void dev_card_slot_put(const struct dev_card_slot *slot) {
    struct dev_card_use *use = dev_card_current();
    uint16_t bit = bit_of(slot->card, &slot->own);

    /* Whoever has taken it is in the library now; if not, it was given back for him. */
    if (!use || use->card != slot->card || !(use->slots & bit))
        return;
    use->slots &= (uint16_t)~bit;
    give_back(slot->card, bit);
}

void dev_card_use_done(struct dev_card_use *use) {
    uint16_t bits = use->slots;

    use->slots = 0;
    if (use->card)
        give_back(use->card, bits);
}

int dev_card_verifier(struct iotsafe_ref *ret, char *err, size_t cap) {
    struct dev_card_use *use = checked_current(err, cap);
    const struct iotsafe_ref *verifier;
    int r;

    if (!use)
        return IOTSAFE_E_ABSENT;
    r = find_slots(use->card, err, cap);
    if (r < 0)
        return r;
    verifier = iotsafe_slots_verifier(use->card->slots);
    if (!verifier)
        return noted(use,
                     text(IOTSAFE_E_UNSUPPORTED, err, cap,
                          "the card has no container for a key to verify with"),
                     err);
    *ret = *verifier;
    return 0;
}

/* ---- host ---- */

int dev_card_host_acquire(struct dev_card *card, struct iotsafe **ret, char *err, size_t cap) {
    struct dev_card_use *use = checked_current(err, cap);
    int r;

    if (!use)
        return IOTSAFE_E_ABSENT;
    if (card && card != use->card)
        return text(IOTSAFE_E_ARGUMENT, err, cap, "the container is of another session's card");
    r = dev_card_take(use->card, ret);
    return r < 0 ? noted(use, text(r, err, cap, "others use it"), err) : 0;
}

void dev_card_host_release(int result) {
    dev_card_put(dev_card_current()->card, result);
}
