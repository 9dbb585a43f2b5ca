/* The host of the PSA binding: this program's cards. */
#include <stdio.h>

#include "channel_mbedtls.h"

/* What the card itself could not be asked is this session's trouble, too. */
static int troubled(int r, const char *text) {
    struct dev_card_use *use = dev_card_current();

    if (r < 0 && use && !use->trouble.error) {
        use->trouble.error = r;
        snprintf(use->trouble.text, sizeof use->trouble.text, "%s", text);
    }
    return r;
}

static int acquire(void *user, struct iotsafe **ret) {
    char text[200];

    (void)user;
    return troubled(dev_card_host_acquire(NULL, ret, text, sizeof text), text);
}

static void release(void *user, struct iotsafe *client, int result) {
    (void)user;
    (void)client;
    /* "No" is a card's answer like another. */
    dev_card_host_release(result == IOTSAFE_E_SIGNATURE ? 0 : result);
}

static int slot_take(void *user, struct iotsafe_ref *ret_own, struct iotsafe_ref *ret_peer) {
    struct dev_card_slot slot;
    char text[200];
    int r = troubled(dev_card_slot_take(&slot, text, sizeof text), text);

    (void)user;
    if (r == 0) {
        *ret_own = slot.own;
        *ret_peer = slot.peer;
    }
    return r;
}

/* Called within the channel that has taken it: its card is the current one. */
static void slot_put(void *user, const struct iotsafe_ref *own) {
    const struct dev_card_use *use = dev_card_current();
    const struct dev_card_slot slot = {.own = *own, .card = use ? use->card : NULL};

    (void)user;
    if (slot.card)
        dev_card_slot_put(&slot);
}

static int verifier(void *user, struct iotsafe_ref *ret) {
    char text[200];

    (void)user;
    return troubled(dev_card_verifier(ret, text, sizeof text), text);
}

struct iotsafe_psa_host dev_mbedtls_host(void) {
    return (struct iotsafe_psa_host){acquire, release, slot_take, slot_put, verifier, NULL};
}
