#include "result.h"

#include <stddef.h>

/* spec: TS27.007 9.2 error numbers and texts */
static const struct {
    int n;
    const char *text;
} cme[] = {
    {0, "phone failure"},
    {1, "no connection to phone"},
    {2, "phone-adaptor link reserved"},
    {3, "operation not allowed"},
    {4, "operation not supported"},
    {5, "PH-SIM PIN required"},
    {6, "PH-FSIM PIN required"},
    {7, "PH-FSIM PUK required"},
    {10, "SIM not inserted"},
    {11, "SIM PIN required"},
    {12, "SIM PUK required"},
    {13, "SIM failure"},
    {14, "SIM busy"},
    {15, "SIM wrong"},
    {16, "incorrect password"},
    {17, "SIM PIN2 required"},
    {18, "SIM PUK2 required"},
    {20, "memory full"},
    {21, "invalid index"},
    {22, "not found"},
    {23, "memory failure"},
    {24, "text string too long"},
    {25, "invalid characters in text string"},
    {26, "dial string too long"},
    {27, "invalid characters in dial string"},
    {30, "no network service"},
    {31, "network timeout"},
    {32, "network not allowed - emergency calls only"},
    {50, "Incorrect parameters"},
    {51, "command implemented but currently disabled"},
    {52, "command aborted by user"},
    {100, "unknown"},
    {148, "unspecified PS error"},
};

const char *at_cme_text(int n) {
    for (size_t i = 0; i < sizeof cme / sizeof *cme; i++)
        if (cme[i].n == n)
            return cme[i].text;
    return NULL;
}

const char *at_result_text(enum at_result r) {
    return r == AT_OK ? "OK" : r == AT_NO_CARRIER ? "NO CARRIER" : "ERROR";
}

int at_result_number(enum at_result r) {
    return r == AT_OK ? 0 : r == AT_NO_CARRIER ? 3 : 4;
}
