#pragma once
/* What a command ends with: final result codes (V.250 5.7), +CME ERROR (27.007 9.2), +CMS ERROR
 * (27.005 3.2.5). */
#include <stdbool.h>

enum at_result {
    AT_OK = 0,
    AT_PENDING = 1, /* not final: the handler finishes the command later */
    AT_ERROR = -1,  /* syntax, unknown command: the same in every +CMEE mode */
    AT_NO_CARRIER = -2,
    AT_CME_BASE = -1000, /* AT_CME(n) */
    AT_CMS_BASE = -3000, /* AT_CMS(n) */
};
#define AT_CME(n) (AT_CME_BASE - (n))
#define AT_CMS(n) (AT_CMS_BASE - (n))

/* Causes this modem gives; texts for more of them are known to at_cme_text(). */
enum {
    CME_NOT_ALLOWED = 3,
    CME_NOT_SUPPORTED = 4,
    CME_NO_SIM = 10,
    CME_SIM_PIN = 11,
    CME_SIM_PUK = 12,
    CME_SIM_FAILURE = 13,
    CME_SIM_BUSY = 14,
    CME_WRONG_PASSWORD = 16,
    CME_MEMORY_FULL = 20,
    CME_NOT_FOUND = 22,
    CME_NO_NETWORK = 30,
    CME_PARAMETERS = 50,
    CME_UNKNOWN = 100,
    CMS_NOT_SUPPORTED = 303,
};

/* English text of a +CME ERROR number, NULL when it has none here. */
const char *at_cme_text(int n);

/* Basic result codes: text and number (V.250 table 1). */
const char *at_result_text(enum at_result r);
int at_result_number(enum at_result r);
