#pragma once
/* Status words SW1 SW2 of ISO/IEC 7816-4, ETSI TS 102 221 and GSMA IoT.05, and what they mean. */
#include <stdbool.h>
#include <stdint.h>

enum {
    TB_SW_OK = 0x9000,
    TB_SW_MORE_LIST = 0x6300,     /* IoT.05: more data of the object list is available */
    TB_SW_ADMIN_DONE = 0x63CF,    /* IoT.05: done; remote administration completed meanwhile */
    TB_SW_INTEGRITY = 0x6400,     /* integrity problem of the applet store */
    TB_SW_MEMORY = 0x6581,        /* memory problem */
    TB_SW_LENGTH = 0x6700,        /* wrong length */
    TB_SW_CHANNEL = 0x6881,       /* logical channel not open or not supported */
    TB_SW_SM = 0x6882,            /* secure messaging not supported */
    TB_SW_LAST_EXPECTED = 0x6883, /* last command of the chain expected */
    TB_SW_CHAINING = 0x6884,      /* command chaining not supported here */
    TB_SW_FILE_TYPE = 0x6981,     /* command incompatible with the file structure */
    TB_SW_SECURITY = 0x6982,      /* security status not satisfied */
    TB_SW_BLOCKED = 0x6983,       /* authentication method blocked */
    TB_SW_INVALIDATED = 0x6984,   /* IoT.05: remote administration in progress on the object */
    TB_SW_CONDITIONS = 0x6985,    /* conditions of use not satisfied */
    TB_SW_NO_EF = 0x6986,         /* no current EF */
    TB_SW_CAPACITY = 0x6989,      /* IoT.05: no free session, or administration interfered */
    TB_SW_DATA = 0x6A80,          /* incorrect data */
    TB_SW_FUNCTION = 0x6A81,      /* function not supported; no logical channel free */
    TB_SW_NOT_FOUND = 0x6A82,     /* file, application or object not found */
    TB_SW_NO_RECORD = 0x6A83,     /* record not found */
    TB_SW_NO_SPACE = 0x6A84,      /* not enough memory */
    TB_SW_P1P2 = 0x6A86,          /* incorrect P1 P2, or offset out of bounds */
    TB_SW_LC_P1P2 = 0x6A87,       /* Lc inconsistent with P1 P2 */
    TB_SW_REF_NOT_FOUND = 0x6A88, /* referenced data not found */
    TB_SW_OFFSET = 0x6B00,        /* wrong P1 P2: offset outside the EF */
    TB_SW_INS = 0x6D00,           /* instruction not supported */
    TB_SW_VERIFY_FAILED = 0x6D01, /* IoT.05: the signature does not match */
    TB_SW_CLA = 0x6E00,           /* class not supported */
    TB_SW_UNKNOWN = 0x6F00,       /* no precise diagnosis */
    TB_SW_AUTH_MAC = 0x9862,      /* AUTHENTICATE: incorrect MAC */
    TB_SW_AUTH_CONTEXT = 0x9864,  /* AUTHENTICATE: security context not supported */
};

/* English text for a status word, e.g. "conditions of use not satisfied". Never NULL. */
const char *tb_sw_text(uint16_t sw);

/* 61xx or 9Fxx: response data waits to be fetched by GET RESPONSE. */
static inline bool tb_sw_more(uint16_t sw) {
    return (sw >> 8) == 0x61 || (sw >> 8) == 0x9F;
}

/* 9000, 91xx (success, a proactive command is pending), 63CF or 92xx: the command was carried out.
 */
static inline bool tb_sw_success(uint16_t sw) {
    return sw == TB_SW_OK || (sw >> 8) == 0x91 || (sw >> 8) == 0x92 || sw == TB_SW_ADMIN_DONE;
}
