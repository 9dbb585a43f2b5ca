/* Sessions: whose turn it is, how its card is asked, what it holds of it. */
#include <mbedtls/error.h>
#include <mbedtls/platform_util.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"

#ifndef IOTSAFE_PSA_THREAD_LOCAL /* define as nothing where there is one thread and no such        \
                                    keyword */
#define IOTSAFE_PSA_THREAD_LOCAL _Thread_local
#endif

static IOTSAFE_PSA_THREAD_LOCAL struct session *current;

_Static_assert(sizeof(struct session) <= sizeof(struct iotsafe_psa_session),
               "the caller's storage is too small");

struct session *session_of(struct iotsafe_psa_session *s) {
    return (struct session *)(void *)s;
}

static const struct session *const_session_of(const struct iotsafe_psa_session *s) {
    return (const struct session *)(const void *)s;
}

struct session *session_current(void) {
    return current;
}

int iotsafe_psa_init(struct iotsafe_psa_session *storage, const struct iotsafe_psa_host *host,
                     unsigned offload) {
    struct session *s = session_of(storage);

    memset(storage, 0, sizeof *storage);
    if (!host->acquire || !host->release ||
        ((offload & IOTSAFE_PSA_DERIVE) && !(offload & IOTSAFE_PSA_ECDHE)) ||
        ((offload & IOTSAFE_PSA_ECDHE) && (!host->slot_take || !host->slot_put)) ||
        ((offload & IOTSAFE_PSA_VERIFY) && !host->verifier))
        return IOTSAFE_E_ARGUMENT;
    s->host = *host;
    s->offload = offload;
    return 0;
}

void session_drop_ephemeral(struct session *s, struct entry *e) {
    for (size_t i = 0; i < EPHEMERAL_MAX; i++) {
        if (s->ephemeral[i] == e)
            s->ephemeral[i] = NULL;
    }
    s->host.slot_put(s->host.user, &e->slot);
    table_drop(e);
}

void session_drop_shared(struct session *s) {
    s->secret.has_shared = false;
    mbedtls_platform_zeroize(s->secret.shared, sizeof s->secret.shared);
}

void iotsafe_psa_settle(struct iotsafe_psa_session *storage) {
    struct session *s = session_of(storage);

    for (size_t i = 0; i < EPHEMERAL_MAX; i++) {
        if (s->ephemeral[i])
            session_drop_ephemeral(s, s->ephemeral[i]);
    }
    table_drop(s->secret.shared_key);
    s->failed = 0;
    mbedtls_platform_zeroize(s->derivations, sizeof s->derivations);
    mbedtls_platform_zeroize(&s->secret, sizeof s->secret);
}

void iotsafe_psa_done(struct iotsafe_psa_session *s) {
    iotsafe_psa_settle(s);
    mbedtls_platform_zeroize(s, sizeof *s);
}

struct iotsafe_psa_session *iotsafe_psa_enter(struct iotsafe_psa_session *s) {
    struct session *before = current;

    current = s ? session_of(s) : NULL;
    return (struct iotsafe_psa_session *)(void *)before;
}

/* ---- asking ---- */

/* From now on, until it is settled, the session asks no card: Mbed TLS tries another certificate,
 * or another algorithm, when an operation fails, but what has failed once is not tried again. */
static void note(struct session *s, int error, uint16_t sw, const char *what) {
    if (s->failed)
        return;
    s->failed = error;
    s->trouble = (struct iotsafe_psa_trouble){error, sw, what};
}

psa_status_t session_status(int error) {
    switch (error) {
    case 0:
        return PSA_SUCCESS;
    case IOTSAFE_E_SIGNATURE:
        return PSA_ERROR_INVALID_SIGNATURE;
    case IOTSAFE_E_NO_MEMORY:
        return PSA_ERROR_INSUFFICIENT_MEMORY;
    case IOTSAFE_E_ARGUMENT:
        return PSA_ERROR_INVALID_ARGUMENT;
    case IOTSAFE_E_NOT_FOUND:
        return PSA_ERROR_DOES_NOT_EXIST;
    case IOTSAFE_E_UNSUPPORTED:
        return PSA_ERROR_NOT_SUPPORTED;
    case IOTSAFE_E_LINK:
    case IOTSAFE_E_TIMEOUT:
    case IOTSAFE_E_ABSENT:
        return PSA_ERROR_COMMUNICATION_FAILURE;
    default:
        return PSA_ERROR_HARDWARE_FAILURE;
    }
}

psa_status_t session_refuse(struct session *s, int error, const char *what) {
    note(s, error, 0, what);
    return session_status(error);
}

int session_ask(struct session *s, card_op *op, void *arg, uint32_t *counter, const char *what) {
    struct session *before = current;
    struct iotsafe *client = NULL;
    uint16_t sw = 0;
    int r;

    if (s->failed)
        return s->failed;
    current = NULL; /* whoever runs while this one is parked is not this session */
    r = s->host.acquire(s->host.user, &client);
    if (r == 0) {
        r = op(client, arg);
        if (r == IOTSAFE_E_CARD || r == IOTSAFE_E_NOT_FOUND || r == IOTSAFE_E_ADMIN)
            sw = iotsafe_last_sw(client);
        s->host.release(s->host.user, client, r);
    }
    current = before;
    if (r == 0 || r == IOTSAFE_E_SIGNATURE) /* an answer, too */
        ++*counter;
    else
        note(s, r, sw, what);
    return r;
}

int session_slot(struct session *s, struct entry *e) {
    struct session *before = current;
    int r;

    if (s->failed)
        return s->failed;
    current = NULL;
    r = s->host.slot_take(s->host.user, &e->slot, &e->peer);
    current = before;
    return r;
}

int session_verifier(struct session *s, struct iotsafe_ref *ret) {
    struct session *before = current;
    int r;

    if (s->failed)
        return s->failed;
    current = NULL;
    r = s->host.verifier(s->host.user, ret);
    current = before;
    return r;
}

struct iotsafe_psa_counters iotsafe_psa_counters(const struct iotsafe_psa_session *s) {
    return const_session_of(s)->counters;
}

struct iotsafe_psa_trouble iotsafe_psa_trouble(const struct iotsafe_psa_session *s) {
    return const_session_of(s)->trouble;
}

const char *iotsafe_psa_trouble_text(const struct iotsafe_psa_session *storage, char *buf,
                                     size_t cap) {
    const struct iotsafe_psa_trouble *t = &const_session_of(storage)->trouble;

    if (t->error == 0)
        snprintf(buf, cap, "%s", "");
    else if (t->error == IOTSAFE_E_CARD)
        snprintf(buf, cap, "%s: card answered %04X (%s)", t->what, (unsigned)t->sw,
                 iotsafe_sw_text(t->sw));
    else
        snprintf(buf, cap, "%s: %s", t->what, iotsafe_strerror(t->error));
    return buf;
}

/* ---- random numbers ---- */

static int random_op(struct iotsafe *c, void *arg) {
    struct session *s = arg;

    return iotsafe_random(c, s->secret.random, sizeof s->secret.random);
}

int iotsafe_psa_random(void *unused, unsigned char *out, size_t n) {
    struct session *s = current;

    (void)unused;
    if (!s || !(s->offload & IOTSAFE_PSA_RANDOM))
        return psa_generate_random(out, n) == PSA_SUCCESS ? 0
                                                          : MBEDTLS_ERR_PLATFORM_HW_ACCEL_FAILED;
    while (n > 0) {
        uint8_t *from;
        size_t part;

        if (s->secret.random_left == 0) {
            if (session_ask(s, random_op, s, &s->counters.random, "random number") < 0)
                return MBEDTLS_ERR_PLATFORM_HW_ACCEL_FAILED;
            s->secret.random_left = sizeof s->secret.random;
        }
        part = n < s->secret.random_left ? n : s->secret.random_left;
        from = s->secret.random + sizeof s->secret.random - s->secret.random_left;
        memcpy(out, from, part);
        mbedtls_platform_zeroize(from, part); /* no byte is given out twice */
        s->secret.random_left -= part;
        out += part;
        n -= part;
    }
    return 0;
}

/* ---- one card, one thread ---- */

static int client_acquire(void *user, struct iotsafe **ret) {
    struct iotsafe_psa_client *c = user;

    *ret = c->client;
    return 0;
}

static void client_release(void *user, struct iotsafe *client, int result) {
    (void)user;
    (void)client;
    (void)result;
}

static int client_slot_take(void *user, struct iotsafe_ref *ret_own, struct iotsafe_ref *ret_peer) {
    struct iotsafe_psa_client *c = user;
    const struct iotsafe_ref *peer = iotsafe_slots_peer(&c->slots);
    int r = peer ? iotsafe_slots_take(&c->slots, ret_own) : IOTSAFE_E_UNSUPPORTED;

    if (r == 0)
        *ret_peer = *peer;
    return r;
}

static void client_slot_put(void *user, const struct iotsafe_ref *own) {
    struct iotsafe_psa_client *c = user;

    iotsafe_slots_put(&c->slots, own);
}

static int client_verifier(void *user, struct iotsafe_ref *ret) {
    struct iotsafe_psa_client *c = user;
    const struct iotsafe_ref *slot = iotsafe_slots_verifier(&c->slots);

    if (!slot)
        return IOTSAFE_E_UNSUPPORTED;
    *ret = *slot;
    return 0;
}

struct iotsafe_psa_host iotsafe_psa_client_host(struct iotsafe_psa_client *c) {
    return (struct iotsafe_psa_host){client_acquire,  client_release,  client_slot_take,
                                     client_slot_put, client_verifier, c};
}
