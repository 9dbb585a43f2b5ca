#pragma once
/* GSMA IoT.05 (IoT SAFE) on the wire: instruction codes, tags, values, and the applet's own TLV
 * length rules. Shared by the card and by the middleware; names follow IoT.05. */
#include "tb/error.h"
#include "tb/span.h"
#include "tb/tlv.h"

enum tb_safe_ins {
    TB_SAFE_PUT_PUBLIC_INIT = 0x24,
    TB_SAFE_COMPUTE_SIGNATURE_INIT = 0x2A,
    TB_SAFE_COMPUTE_SIGNATURE_UPDATE = 0x2B,
    TB_SAFE_VERIFY_SIGNATURE_INIT = 0x2C,
    TB_SAFE_VERIFY_SIGNATURE_UPDATE = 0x2D,
    TB_SAFE_COMPUTE_DH = 0x46,
    TB_SAFE_COMPUTE_PRF = 0x48,
    TB_SAFE_COMPUTE_HKDF = 0x4A,
    TB_SAFE_GET_RANDOM = 0x84,
    TB_SAFE_READ_FILE = 0xB0,
    TB_SAFE_GENERATE_KEY_PAIR = 0xB9,
    TB_SAFE_GET_DATA = 0xCB,
    TB_SAFE_READ_PUBLIC_KEY = 0xCD,
    TB_SAFE_PUT_PUBLIC_UPDATE = 0xD8,
    TB_INS_MANAGE_CHANNEL = 0x70,
    TB_INS_SELECT = 0xA4,
    TB_INS_GET_RESPONSE = 0xC0,
};

enum tb_safe_tag {
    TB_SAFE_T_VERSION = 0x10,
    TB_SAFE_T_APPLET_ID = 0x11,
    TB_SAFE_T_FILE_SIZE = 0x20,
    TB_SAFE_T_FILE_USAGE = 0x21,
    TB_SAFE_T_SIGNATURE = 0x33,
    TB_SAFE_T_PUBLIC_KEY = 0x34,
    TB_SAFE_T_EC_KEY = 0x49,
    TB_SAFE_T_STATE = 0x4A,
    TB_SAFE_T_KEY_TYPE = 0x4B,
    TB_SAFE_T_KEY_USAGE = 0x4E,
    TB_SAFE_T_ACCESS = 0x60,
    TB_SAFE_T_CRYPTO = 0x61,
    TB_SAFE_T_KEY_AGREEMENT = 0x6F,
    TB_SAFE_T_FILE_LABEL = 0x73,
    TB_SAFE_T_PRIVATE_LABEL = 0x74,
    TB_SAFE_T_PUBLIC_LABEL = 0x75,
    TB_SAFE_T_SECRET_LABEL = 0x76,
    TB_SAFE_T_FILE_ID = 0x83,
    TB_SAFE_T_PRIVATE_ID = 0x84,
    TB_SAFE_T_PUBLIC_ID = 0x85,
    TB_SAFE_T_SECRET_ID = 0x86, /* also the EC point inside 49 */
    TB_SAFE_T_EC_POINT = 0x86,
    TB_SAFE_T_APP_CRYPTO = 0x90,
    TB_SAFE_T_HASH = 0x91,
    TB_SAFE_T_SIGN_ALG = 0x92,
    TB_SAFE_T_APP_KEY_AGREEMENT = 0x93,
    TB_SAFE_T_KEY_DERIVATION = 0x94,
    TB_SAFE_T_LAST_BLOCK = 0x9A,
    TB_SAFE_T_FULL_TEXT = 0x9B,
    TB_SAFE_T_INTERMEDIATE_HASH = 0x9C,
    TB_SAFE_T_HASHED_COUNT = 0x9D,
    TB_SAFE_T_FINAL_HASH = 0x9E,
    TB_SAFE_T_CMAC_DATA = 0x9F, /* an extension seen in the field, as are TB_SAFE_AES_CMAC, _AES */
    TB_SAFE_T_MODE = 0xA1,
    TB_SAFE_T_MAX_FILES = 0xB1,
    TB_SAFE_T_MAX_PRIVATE = 0xB2,
    TB_SAFE_T_MAX_PUBLIC = 0xB3,
    TB_SAFE_T_MAX_SECRET = 0xB4,
    TB_SAFE_T_MAX_SESSIONS = 0xB7,
    TB_SAFE_T_PRIVATE_INFO = 0xC1,
    TB_SAFE_T_PUBLIC_INFO = 0xC2,
    TB_SAFE_T_FILE_INFO = 0xC3,
    TB_SAFE_T_SECRET_INFO = 0xC4,
    TB_SAFE_T_SECRET = 0xD1,
    TB_SAFE_T_LABEL_SEED = 0xD2,
    TB_SAFE_T_PRF_LENGTH = 0xD3,
    TB_SAFE_T_PSK_ECDHE = 0xD4,
    TB_SAFE_T_SALT = 0xD5,
};

/* Values. Bitmaps, which may be combined: hash (91), signature (92), key derivation (94),
 * cryptographic functions (61, 90), access (60). All others, like key agreement (6F, 93), mode of
 * operation (A1), state (4A), key usage (4E), file usage (21) and key type (4B), are one value. */
enum { TB_SAFE_SHA256 = 1, TB_SAFE_SHA384 = 2, TB_SAFE_SHA512 = 4 };
enum { TB_SAFE_RSA_PKCS1 = 1, TB_SAFE_RSA_PSS = 2, TB_SAFE_ECDSA = 4, TB_SAFE_AES_CMAC = 8 };
enum { TB_SAFE_PRF = 1, TB_SAFE_HKDF = 2 };
enum {
    TB_SAFE_CAN_SIGN = 1,
    TB_SAFE_CAN_GENERATE = 2,
    TB_SAFE_CAN_AGREE = 4,
    TB_SAFE_CAN_DERIVE = 8,
};
enum { TB_SAFE_READ = 1, TB_SAFE_UPDATE = 2 };
enum { TB_SAFE_ECKA = 1 };
enum {
    TB_SAFE_MODE_FULL_TEXT = 1,
    TB_SAFE_MODE_LAST_BLOCK = 2,
    TB_SAFE_MODE_FINAL_HASH = 3,
};
enum { TB_SAFE_DEACTIVATED = 0, TB_SAFE_ACTIVATED = 1 };
enum { TB_SAFE_USE_GENERAL = 1, TB_SAFE_USE_TLS12 = 2, TB_SAFE_USE_TLS13 = 3 };
enum { TB_SAFE_FILE_GENERAL = 1, TB_SAFE_FILE_X509 = 2 };
enum tb_safe_key_type {
    TB_SAFE_RSA2048 = 0x03,
    TB_SAFE_P256 = 0x13,
    TB_SAFE_P256_VOLATILE = 0x14,
    TB_SAFE_BP256 = 0x23,
    TB_SAFE_BP256_VOLATILE = 0x24,
    TB_SAFE_HMAC = 0xA0,
    TB_SAFE_AES = 0xB0,
};

enum { TB_SAFE_MAX_ID = 20, TB_SAFE_MAX_LABEL = 60, TB_SAFE_POINT = 65, TB_SAFE_PUBLIC_TLV = 71 };

/* How a card codes the length of tag 33. */
enum tb_safe_len { TB_SAFE_LEN_8, TB_SAFE_LEN_16, TB_SAFE_LEN_BER };

/* Reads one applet TLV (tag always one byte) off the front of *in under the tolerant length rule
 * that serves all deployed clients and cards. The first of these that applies:
 *  1. 16-bit big-endian length, when its first byte is 00 and the element ends exactly at the end
 * of *in; for tag 33, when its first byte is 00 or 01 and the element fits at all;
 *  2. for tag 9B a 24-bit big-endian length whose first byte is 00, when the value ends at the end
 *     of *in or before a tag 33;
 *  3. 81 LL, 82 HH LL, 83 HH MM LL on tags 9B, 34 and 33: BER, when minimal and the value ends at
 *     the end of *in or before a tag 33;
 *  4. one plain byte; not for a tag 33 of less than two bytes that does not end *in, which is a cut
 *     16-bit form and no signature;
 *  5. as 3, not minimal: what would not fit as a plain byte.
 * Returns 1, 0 at the end, TB_EPARSE with everything untouched. */
int tb_safe_next(struct tb_span *in, struct tb_tlv *ret) TB_CHECKED;

/* First element with that tag: 1, 0 when absent, TB_EPARSE when the list is malformed. */
int tb_safe_find(struct tb_span in, uint8_t tag, struct tb_span *ret_value) TB_CHECKED;

/* Appends tag, length in the given form, value. Sets overflow for a value too long for the form:
 * 255, 65535 or FFFFFF bytes. */
void tb_put_safe(struct tb_buf *out, uint8_t tag, enum tb_safe_len form, struct tb_span value);

/* Well-known AIDs: name for a person, bytes. */
struct tb_safe_aid {
    const char *name;
    uint8_t len;
    uint8_t aid[16];
};
extern const struct tb_safe_aid tb_safe_aids[]; /* ends with len 0; the GSMA one comes first */
