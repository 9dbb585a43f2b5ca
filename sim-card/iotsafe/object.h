#pragma once
/* IoT SAFE objects: containers for private keys, public keys, secrets and files, each with an id,
 * an optional label and attributes; and the set of them that an applet instance owns. */
#include "crypto/crypto.h"
#include "os/os.h"
#include "simcard/personalise.h"

enum { CARD_SECRET_MAX = 64 };

struct card_object {
    uint8_t cls; /* enum card_object_class */
    uint8_t id_len, label_len, pair_len;
    uint8_t id[TB_SAFE_MAX_ID], pair[TB_SAFE_MAX_ID], label[TB_SAFE_MAX_LABEL];
    uint8_t access, key_type, key_usage, crypto, sign_alg, key_agreement, key_derivation,
        file_usage;
    uint16_t hash;
    uint16_t seq;        /* order of creation */
    bool active;         /* tag 4A */
    bool locked;         /* remote administration is under way on it: 6984 */
    uint16_t capacity;   /* of a file */
    uint32_t generation; /* changes with the value: a session notices */
    uint8_t *value;      /* from malloc: scalar or DER, point or DER, secret, content */
    size_t value_len;
    struct card_key *key; /* parsed from value when first needed */
};

/* One set of objects. AIDs point to it. */
struct card_instance {
    struct card_instance *next;
    uint8_t number;
    bool damaged; /* a record could not be read: 6400 */
    uint16_t next_seq;
    size_t n;
    struct card_object **v; /* by class, then by seq: the order of the object list */
};

static inline struct tb_span card_object_id(const struct card_object *o) {
    return tb_span(o->id, o->id_len);
}

static inline struct tb_span card_object_label(const struct card_object *o) {
    return tb_span(o->label, o->label_len);
}

static inline struct tb_span card_object_value(const struct card_object *o) {
    return tb_span(o->value, o->value_len);
}

/* Volatile keys live in RAM only and die with the power. */
static inline bool card_key_type_volatile(uint8_t key_type) {
    return key_type == TB_SAFE_P256_VOLATILE || key_type == TB_SAFE_BP256_VOLATILE;
}

/* False for a type that is not of an asymmetric key. */
bool card_key_type_kind(uint8_t key_type, enum card_key_kind *ret);

void card_object_free(struct card_object *o); /* NULL is a no-op; wipes */

/* The parsed key of a private or public key object, borrowed. TB_EPARSE when the value is damaged.
 */
int card_object_key(struct card_object *o, struct card_key **ret) TB_CHECKED;

/* Takes a new value (given, from malloc; NULL empties) and its parsed key (given, may be NULL). */
void card_object_set(struct card_object *o, uint8_t *value, size_t n, struct card_key *key);

/* --- set --- */

struct card_instance *card_instance_get(struct card *card,
                                        uint8_t number); /* made if absent; NULL */
void card_instance_free(struct card_instance *in);
void card_instance_forget_volatile(struct card_instance *in);
struct card_object *card_instance_find(struct card_instance *in, enum card_object_class cls,
                                       struct tb_span id);
struct card_object *card_instance_find_label(struct card_instance *in, enum card_object_class cls,
                                             struct tb_span label);
/* o is given on success. TB_ENOMEM. */
int card_instance_add(struct card_instance *in, struct card_object *o) TB_CHECKED;
void card_instance_take(struct card_instance *in, struct card_object *o);   /* gives it back */
void card_instance_remove(struct card_instance *in, struct card_object *o); /* frees it */
size_t card_instance_count(const struct card_instance *in, enum card_object_class cls);

/* --- records (iotsafe/object_record.c) --- */

/* Key of an object's record: O instance class id. */
void card_object_record_key(uint8_t instance, const struct card_object *o, struct tb_buf *out);

/* The record of o as if its value and state were those given; a volatile value is left out. From
 * malloc, NULL when out of memory; the caller wipes and frees it. */
uint8_t *card_object_encode(const struct card_object *o, struct tb_span value, bool active,
                            size_t *ret_n);
void card_object_encode_free(uint8_t *record, size_t n);

/* TB_EPARSE for a damaged record, TB_EUNSUP for a newer format, TB_ENOMEM. *ret_instance is the set
 * it belongs to. */
int card_object_decode(struct tb_span key, struct tb_span record, uint8_t *ret_instance,
                       struct card_object **ret) TB_CHECKED;
