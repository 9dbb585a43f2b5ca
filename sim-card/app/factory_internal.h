#pragma once
/* What the files of the factory share. */
#include <openssl/evp.h>

#include "factory.h"

/* What a section has become. */
struct made {
    const struct cardfile_entry *from;
    EVP_PKEY *public; /* [key] [public] with a value */
    X509 *cert;       /* [certificate] */
    struct made *next;
};

struct factory {
    const struct cardfile *f;
    const struct factory_options *opt;
    struct card_nvm *nvm;
    struct made *made; /* latest first */
    json_t *record, *domains, *applets, *keys, *certificates, *credentials, *psks;
    struct tb_error *e;
};

static inline struct tb_span factory_span(const struct cardfile_bytes *b) {
    return tb_span(b->p, b->n);
}

/* factory_subscription.c: a section each; 0, or what factory_refused() says. */
int factory_make_pin(struct factory *fy, const struct cardfile_entry *at) TB_CHECKED;
/* What the network has to know goes into record, member "usim". */
int factory_make_usim(struct factory *fy, const struct cardfile_entry *at, uint8_t subscription,
                      json_t *record) TB_CHECKED;
int factory_make_euicc(struct factory *fy, const struct cardfile_entry *at) TB_CHECKED;
int factory_make_subscription(struct factory *fy, const struct cardfile_entry *at) TB_CHECKED;
