/* Containers on the card for the keys of a handshake: a host's, or our own card's, which are those
 * that the configuration names or that its object list shows. They are looked for once. */
#include <string.h>

#include "provider.h"

/* ---- our own card ---- */

static int op_discover(struct iotsafe *c, const struct isp_op *op) {
    return iotsafe_slots_discover(c, op->out);
}

/* The list is asked for without the lock: isp_card_run() takes it. Two threads may both ask. */
static bool discover(struct isp_provider *prov) {
    struct isp_card *card = &prov->card;
    struct iotsafe_slots found;
    const struct isp_op op = {.name = "GET DATA", .fn = op_discover, .out = &found};

    if (isp_card_run(prov, &op) < 0)
        return false;
    isp_card_adopt(card);
    pthread_mutex_lock(&card->lock);
    if (!card->own_known) {
        card->slots.n_own = found.n_own;
        memcpy(card->slots.own, found.own, sizeof found.own);
    }
    if (!card->peers_known) {
        card->slots.n_peers = found.n_peers;
        memcpy(card->slots.peers, found.peers, sizeof found.peers);
    }
    card->own_known = card->peers_known = true;
    pthread_mutex_unlock(&card->lock);
    return true;
}

/* With the lock held when it answers true. */
static bool know(struct isp_provider *prov, bool own) {
    struct isp_card *card = &prov->card;
    bool known;

    isp_card_adopt(card);
    pthread_mutex_lock(&card->lock);
    known = card->peers_known && (!own || card->own_known);
    if (known)
        return true;
    pthread_mutex_unlock(&card->lock);
    if (!discover(prov))
        return false;
    pthread_mutex_lock(&card->lock);
    return true;
}

static bool take_own(struct isp_provider *prov, struct isp_slot *ret) {
    struct isp_card *card = &prov->card;
    const struct iotsafe_ref *peer;
    unsigned n;
    int r;

    if (!know(prov, true))
        return false;
    peer = iotsafe_slots_peer(&card->slots);
    r = peer ? iotsafe_slots_take(&card->slots, &ret->own) : IOTSAFE_E_UNSUPPORTED;
    if (r == 0) {
        ret->peer = *peer;
        ret->card = NULL;
    }
    n = card->slots.n_own;
    pthread_mutex_unlock(&card->lock);
    if (r == IOTSAFE_E_BUSY)
        isp_raise(prov, ISP_R_CONTAINERS, "all %u containers for ephemeral keys are in use", n);
    else if (r < 0)
        isp_raise(prov, ISP_R_CONTAINERS, "the card has no container for %s keys",
                  n ? "the other side's" : "ephemeral");
    return r == 0;
}

static bool verifier_own(struct isp_provider *prov, struct iotsafe_ref *ret) {
    const struct iotsafe_ref *ref;

    if (!know(prov, false))
        return false;
    ref = iotsafe_slots_verifier(&prov->card.slots);
    if (ref)
        *ret = *ref;
    pthread_mutex_unlock(&prov->card.lock);
    if (!ref)
        isp_raise(prov, ISP_R_CONTAINERS, "the card has no container for keys to verify with");
    return ref != NULL;
}

/* ---- either ---- */

bool isp_slot_take(struct isp_provider *prov, struct isp_slot *ret) {
    const struct isp_host *host = &prov->card.host;
    char err[256] = "this program gives out no containers";

    if (!host->acquire)
        return take_own(prov, ret);
    if (host->slot_take && host->slot_take(host->user, ret, err, sizeof err) == 0)
        return true;
    isp_raise(prov, ISP_R_CONTAINERS, "%s", err);
    return false;
}

void isp_slot_put(struct isp_provider *prov, const struct isp_slot *slot) {
    struct isp_card *card = &prov->card;

    if (card->host.acquire) {
        card->host.slot_put(card->host.user, slot);
        return;
    }
    isp_card_adopt(card);
    pthread_mutex_lock(&card->lock);
    iotsafe_slots_put(&card->slots, &slot->own);
    pthread_mutex_unlock(&card->lock);
}

void isp_slot_hold(struct isp_provider *prov, struct isp_key *key) {
    struct isp_card *card = &prov->card;
    size_t i = 0;

    if (card->host.acquire)
        return;
    isp_card_adopt(card);
    pthread_mutex_lock(&card->lock);
    key->maker = pthread_self();
    key->age = ++card->generated;
    while (i < IOTSAFE_SLOTS_MAX && card->pending[i])
        i++;
    if (i < IOTSAFE_SLOTS_MAX) /* as many as there are containers */
        card->pending[i] = key;
    pthread_mutex_unlock(&card->lock);
}

void isp_slot_unhold(struct isp_provider *prov, const struct isp_key *key) {
    struct isp_card *card = &prov->card;

    if (card->host.acquire)
        return;
    isp_card_adopt(card);
    pthread_mutex_lock(&card->lock);
    for (size_t i = 0; i < IOTSAFE_SLOTS_MAX; i++) {
        if (card->pending[i] == key)
            card->pending[i] = NULL;
    }
    pthread_mutex_unlock(&card->lock);
}

/* One reference more, unless the last one is just being given up. */
static bool ref_if_alive(struct isp_key *key) {
    int refs = atomic_load(&key->refs);

    while (refs > 0) {
        if (atomic_compare_exchange_weak(&key->refs, &refs, refs + 1))
            return true;
    }
    return false;
}

struct isp_key *isp_slot_share(struct isp_provider *prov) {
    struct isp_card *card = &prov->card;
    struct isp_key *youngest = NULL;

    if (card->host.acquire)
        return NULL;
    isp_card_adopt(card);
    pthread_mutex_lock(&card->lock);
    for (size_t i = 0; i < IOTSAFE_SLOTS_MAX; i++) {
        struct isp_key *key = card->pending[i];

        if (key && pthread_equal(key->maker, pthread_self()) &&
            (!youngest || key->age > youngest->age))
            youngest = key;
    }
    if (card->slots.taken != (1U << card->slots.n_own) - 1 || (youngest && !ref_if_alive(youngest)))
        youngest = NULL;
    pthread_mutex_unlock(&card->lock);
    return youngest;
}

bool isp_slot_verifier(struct isp_provider *prov, struct iotsafe_ref *ret) {
    const struct isp_host *host = &prov->card.host;
    char err[256] = "this program has no container to verify with";

    if (!host->acquire)
        return verifier_own(prov, ret);
    if (host->verifier && host->verifier(host->user, ret, err, sizeof err) == 0)
        return true;
    isp_raise(prov, ISP_R_CONTAINERS, "%s", err);
    return false;
}
