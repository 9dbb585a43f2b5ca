/* The host of the iotsafe provider: this program's cards.
 *
 * OpenSSL's error queue is the thread's, and all fibers of the thread share it. A fiber that parks
 * here may leave something in it, and find something of another's when it comes back, which OpenSSL
 * would then take for the reason of its own state. So whoever comes back begins with an empty
 * queue; what the card has answered is not in there, but in struct dev_card_use. */
#include <openssl/err.h>
#include <stdio.h>

#include "channel_openssl.h"

static int acquire(void *user, void *card, const char *reader, struct iotsafe **ret, char *err,
                   size_t cap) {
    int r;

    (void)user;
    if (*reader) {
        snprintf(err, cap, "this device has one card, not one called %s", reader);
        return IOTSAFE_E_ABSENT;
    }
    r = dev_card_host_acquire(card, ret, err, cap);
    if (r < 0)
        ERR_clear_error();
    return r;
}

static void release(void *user, struct iotsafe *client, int result) {
    (void)user;
    (void)client;
    /* That a signature is not good is an answer like another, and OpenSSL's to tell. */
    dev_card_host_release(result == IOTSAFE_E_SIGNATURE ? 0 : result);
    ERR_clear_error();
}

static int slot_take(void *user, struct isp_slot *ret, char *err, size_t cap) {
    struct dev_card_slot slot;
    int r = dev_card_slot_take(&slot, err, cap);

    (void)user;
    ERR_clear_error();
    if (r == 0)
        *ret = (struct isp_slot){.own = slot.own, .peer = slot.peer, .card = slot.card};
    return r;
}

static void slot_put(void *user, const struct isp_slot *slot) {
    const struct dev_card_slot ours = {.own = slot->own, .peer = slot->peer, .card = slot->card};

    (void)user;
    dev_card_slot_put(&ours); /* wakes whoever waits for it */
}

static int verifier(void *user, struct iotsafe_ref *ret, char *err, size_t cap) {
    int r = dev_card_verifier(ret, err, cap);

    (void)user;
    ERR_clear_error();
    return r;
}

struct isp_host dev_openssl_host(void) {
    return (struct isp_host){.acquire = acquire,
                             .release = release,
                             .slot_take = slot_take,
                             .slot_put = slot_put,
                             .verifier = verifier};
}
