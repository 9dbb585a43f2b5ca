#pragma once
/* Keys of a security domain. spec: GPCS 11.8 PUT KEY; versions 01-0F are SCP80's, 30-3F SCP03's. */
#include "crypto/crypto.h"
#include "os/os.h"

enum {
    GP_KEY_DES = 0x80,
    GP_KEY_AES = 0x88,
    GP_KEY_MAX = 32,
    GP_KEYS = 3,
    GP_KEYSET_RECORD_MAX = 160
};

struct card_keyset {
    struct card_keyset *next;
    uint8_t version;
    uint8_t type;                     /* GP_KEY_… of all three */
    uint8_t len;                      /* bytes of each: 16, 24, 32 */
    uint8_t key[GP_KEYS][GP_KEY_MAX]; /* SCP03: ENC, MAC, DEK; SCP80: KIc, KID, KIK */
    /* SCP03: counts card challenges (3 bytes); SCP80: highest CNTR accepted (5 bytes). Never goes
     * back, and is in NVM before it is used. */
    uint64_t counter;
};

/* What STORE DATA put into a domain and GET DATA gives: 42 issuer number, 45 card number, CF
 * diversification data, 5F50 address of the manager. */
struct card_domain_data {
    struct card_domain_data *next;
    uint16_t tag;
    uint8_t n;
    uint8_t v[];
};
enum { GP_DATUM_MAX = 127 };

bool card_domain_data_allowed(uint32_t tag, size_t n);
struct card_domain_data *card_domain_data_new(uint16_t tag, struct tb_span value); /* NULL */
/* given; takes the place of what is there under its tag */
void card_domain_data_put(struct card_app *domain, struct card_domain_data *one);
const struct card_domain_data *card_domain_data_find(const struct card_app *domain, uint16_t tag);
void card_domain_data_free(struct card_app *domain);
void card_domain_data_record_key(const struct card_app *domain, uint16_t tag, struct tb_buf *key);

static inline bool gp_version_is_scp80(uint8_t version) {
    return version >= 0x01 && version <= 0x0F;
}

/* The set with that version; 0: the first that is for SCP03. NULL when there is none. */
struct card_keyset *card_keyset_find(const struct card_app *domain, uint8_t version);
/* ks is given, from malloc, and takes the place of one with its version. */
void card_keyset_put(struct card_app *domain, struct card_keyset *ks);
void card_keyset_remove(struct card_app *domain, struct card_keyset *ks); /* frees it */
void card_keyset_free(struct card_keyset *ks); /* wipes; NULL is a no-op */

/* Stores the set with counter as its new value, then takes it over. 9000's 0, or the status word.
 */
uint16_t card_keyset_count(struct card *card, const struct card_app *domain, struct card_keyset *ks,
                           uint64_t counter);

/* Key check value, 3 bytes. spec: GPCS B.5 AMD-D 4.1.4. TB_ECRYPTO. */
int card_keyset_kcv(const struct card_keyset *ks, unsigned key, uint8_t ret[3]) TB_CHECKED;

void card_keyset_record_key(const struct card_app *domain, uint8_t version, struct tb_buf *key);
void card_keyset_encode(const struct card_keyset *ks, struct tb_buf *out);
int card_keyset_decode(struct tb_span record, struct card_keyset *ret) TB_CHECKED;
