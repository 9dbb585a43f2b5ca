/* What the identifiers of card keys, and the tokens of pre-shared keys, stand for. The only state
 * that all sessions share. */
#include <mbedtls/threading.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* Identifiers that the library leaves to built-in keys of the platform, of which it has none
 * (MBEDTLS_PSA_CRYPTO_BUILTIN_KEYS is off). The rest of the vendor's range is not free: volatile
 * keys get theirs from it. */
#define FIRST_ID MBEDTLS_PSA_KEY_ID_BUILTIN_MIN
#define ID_COUNT (MBEDTLS_PSA_KEY_ID_BUILTIN_MAX - MBEDTLS_PSA_KEY_ID_BUILTIN_MIN + 1)
/* An identifier is given out again only when that many others were: whoever destroys one too late
 * does not hit another's key. */
enum { REST = 64 };

struct place {
    struct entry *entry; /* NULL: free */
    size_t next;         /* in the queue of the free ones */
};
static struct place *places;
static size_t n_places, cap_places;
static size_t free_first, free_last, n_free;

/* The library's own, for its own tables: initialised when it is, whatever threads there are. Held
 * for moments, and never while the library or a host is called. */
static void lock(void) {
#if defined(MBEDTLS_THREADING_C)
    (void)mbedtls_mutex_lock(&mbedtls_threading_psa_globaldata_mutex);
#endif
}

static void unlock(void) {
#if defined(MBEDTLS_THREADING_C)
    (void)mbedtls_mutex_unlock(&mbedtls_threading_psa_globaldata_mutex);
#endif
}

static bool grow(void) {
    size_t cap = cap_places ? 2 * cap_places : 64;
    struct place *more;

    if (n_places < cap_places)
        return true;
    if (n_places == ID_COUNT)
        return false;
    if (cap > ID_COUNT)
        cap = ID_COUNT;
    more = realloc(places, cap * sizeof *more);
    if (!more)
        return false;
    places = more;
    cap_places = cap;
    return true;
}

/* The index of a free place, or ID_COUNT. */
static size_t take_place(void) {
    size_t i = free_first;

    if (n_free > REST || (n_free > 0 && n_places == ID_COUNT)) {
        free_first = places[i].next;
        n_free--;
        return i;
    }
    return grow() ? n_places++ : ID_COUNT;
}

static void give_place(size_t i) {
    places[i].entry = NULL;
    if (n_free == 0)
        free_first = i;
    else
        places[free_last].next = i;
    free_last = i;
    n_free++;
}

bool table_is_card_id(psa_key_id_t id) {
    return id >= FIRST_ID && id - FIRST_ID < ID_COUNT;
}

struct entry *table_add(enum kind kind) {
    struct entry *e = calloc(1, sizeof *e);
    size_t i;

    if (!e)
        return NULL;
    e->kind = kind;
    lock();
    i = take_place();
    if (i < ID_COUNT) {
        e->id = FIRST_ID + (psa_key_id_t)i;
        places[i].entry = e;
    }
    unlock();
    if (i == ID_COUNT) {
        free(e);
        return NULL;
    }
    return e;
}

struct entry *table_find(psa_key_id_t id) {
    struct entry *e = NULL;

    if (!table_is_card_id(id))
        return NULL;
    lock();
    if (id - FIRST_ID < n_places)
        e = places[id - FIRST_ID].entry;
    unlock();
    return e;
}

/* A token ends in the identifier of its entry, so that finding it costs the same for one card as
 * for thousands. */
struct entry *table_find_psk(const uint8_t *data, size_t n) {
    psa_key_id_t id = 0;
    struct entry *e;

    if (n != TOKEN)
        return NULL;
    memcpy(&id, data + TOKEN - sizeof id, sizeof id);
    e = table_find(id);
    return e && e->kind == KIND_PSK && memcmp(e->token, data, TOKEN) == 0 ? e : NULL;
}

void table_drop(struct entry *e) {
    if (!e)
        return;
    lock();
    give_place(e->id - FIRST_ID);
    unlock();
    free(e);
}

/* ---- what the program registers ---- */

static int add_ref(enum kind kind, const struct iotsafe_ref *ref, struct entry **ret) {
    if (ref->id_len > sizeof ref->id || ref->label_len > sizeof ref->label ||
        (ref->id_len == 0 && ref->label_len == 0))
        return IOTSAFE_E_ARGUMENT;
    *ret = table_add(kind);
    if (!*ret)
        return IOTSAFE_E_NO_MEMORY;
    (*ret)->ref = *ref;
    return 0;
}

int iotsafe_psa_key(const struct iotsafe_ref *ref, psa_key_id_t *ret) {
    struct entry *e;
    int r = add_ref(KIND_SIGN, ref, &e);

    if (r == 0)
        *ret = e->id; /* NOLINT(clang-analyzer-unix.Malloc): it is in the table */
    return r;
}

int iotsafe_psa_psk(const struct iotsafe_ref *ref, uint8_t ret_token[TOKEN]) {
    struct entry *e;
    int r = add_ref(KIND_PSK, ref, &e);

    if (r < 0)
        return r;
    if (psa_generate_random(e->token, TOKEN) != PSA_SUCCESS) {
        table_drop(e);
        return IOTSAFE_E_NO_MEMORY;
    }
    memcpy(e->token + TOKEN - sizeof e->id, &e->id, sizeof e->id);
    memcpy(ret_token, e->token, TOKEN);
    return 0;
}

void iotsafe_psa_forget_key(psa_key_id_t id) {
    struct entry *e = table_find(id);

    if (e && e->kind == KIND_SIGN)
        table_drop(e);
}

void iotsafe_psa_forget_psk(const uint8_t token[TOKEN]) {
    table_drop(table_find_psk(token, TOKEN));
}
