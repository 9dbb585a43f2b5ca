#pragma once
/* Secured packets over the air: the command packet taken apart, the response packet put together.
 * Bytes only. spec: TS102225 5, 3GPP TS 31.115 */
#include "gp/domain.h"

enum scp80_status { /* spec: TS102225 table 5 */
                    SCP80_OK = 0x00,
                    SCP80_CC_FAILED = 0x01,
                    SCP80_COUNTER_LOW = 0x02,
                    SCP80_COUNTER_HIGH = 0x03,
                    SCP80_COUNTER_BLOCKED = 0x04,
                    SCP80_CIPHERING = 0x05,
                    SCP80_SECURITY =
                        0x06, /* unidentified: no such key, an algorithm we do not have */
                    SCP80_NO_MEMORY = 0x07,
                    SCP80_MORE_TIME = 0x08,
                    SCP80_NO_TAR = 0x09,
                    SCP80_LEVEL = 0x0A, /* less security than the application asks for */
                    SCP80_BY_SUBMIT = 0x0B,
};

enum {
    SCP80_HEADER = 13, /* CHL without a checksum */
    SCP80_CC_MAX = 8,
};

enum scp80_counting { SCP80_NO_COUNTER, SCP80_NO_CHECK, SCP80_HIGHER, SCP80_NEXT };
enum scp80_check { SCP80_NONE, SCP80_RC, SCP80_CC, SCP80_DS };
enum scp80_por { SCP80_POR_NEVER, SCP80_POR_ALWAYS, SCP80_POR_ON_ERROR };

struct scp80_command { /* spans borrow from the packet */
    uint8_t spi[2], kic, kid, tar[3];
    struct tb_span head;    /* CPL … TAR, which the checksum covers */
    struct tb_span secured; /* from CNTR on, as it came */
};

/* Takes the header of a whole command packet (CPL first) apart. TB_EPARSE when lengths do not add
 * up: there is no one to answer then. */
int scp80_parse(struct tb_span packet, struct scp80_command *ret) TB_CHECKED;

static inline enum scp80_counting scp80_counting(const uint8_t spi[2]) {
    return (enum scp80_counting)(spi[0] >> 3 & 3);
}
static inline enum scp80_check scp80_check(uint8_t spi1) {
    return (enum scp80_check)(spi1 & 3);
}
static inline bool scp80_ciphered(const uint8_t spi[2]) {
    return spi[0] & 0x04;
}
static inline enum scp80_por scp80_por(const uint8_t spi[2]) {
    return (enum scp80_por)(spi[1] & 3);
}
static inline bool scp80_por_by_submit(const uint8_t spi[2]) {
    return spi[1] & 0x20;
}

/* True when spi1 gives at least what msl asks for: counter, ciphering, checksum. spec: TS102226
 * 8.2.1.3.2.4 */
bool scp80_level_reached(uint8_t spi1, uint8_t msl);

/* Deciphers and checks a command. ks_kic and ks_kid: the key sets that KIc and KID name, NULL when
 * there are none. plain: room for c->secured.n bytes. *ret_counter is CNTR (0 without), *ret_data
 * lies in plain. The counter is not judged. SCP80_OK, _CC_FAILED, _CIPHERING, _SECURITY. */
enum scp80_status scp80_open(const struct scp80_command *c, const struct card_keyset *ks_kic,
                             const struct card_keyset *ks_kid, uint8_t *plain,
                             uint64_t *ret_counter, struct tb_span *ret_data);

/* What a counter means that is asked for as spi says, when the highest so far was last. */
enum scp80_status scp80_judge(const uint8_t spi[2], uint64_t counter, uint64_t last);

/* Appends the user data of the response: header element, then the packet, secured as SPI2 of the
 * command asks. data: what the application answered. TB_ESPACE, TB_ECRYPTO. */
int scp80_respond(const struct scp80_command *c, const struct card_keyset *ks_kic,
                  const struct card_keyset *ks_kid, uint64_t counter, enum scp80_status status,
                  struct tb_span data, struct tb_buf *out) TB_CHECKED;
