#include "bed.h"
#include <stdio.h>
static void smoke(void **s) {
    struct bed *b = bed_new(NULL);
    (void)s;
    printf("%s\n", b->events);
    static const char *l[] = {"AT\r",
                              "AT+CIMI\r",
                              "AT+CCID\r",
                              "ATI\r",
                              "AT+CSIM=10,\"0070000001\"\r",
                              "AT+CCHO=\"A0000005590010\"\r",
                              "AT+CGLA=1,10,\"8184000020\"\r",
                              "AT+CRSM=176,28423,0,0,9\r",
                              "AT+CREG=2;+CREG?\r",
                              "AT+COPS=?\r",
                              "AT+COPS?;+CSQ;+CESQ\r",
                              "AT+CUAD\r",
                              "AT+CCLK?\r",
                              "AT+CLAC\r",
                              "ATE0V1Q0X4&C1+CMEE=1;+CREG=2\r",
                              "AT+CPIN?\r",
                              "AT+CGLA=9,10,\"8184000020\"\r",
                              "AT+CMGF=0\r",
                              "AT+CNUM\r"};
    for (unsigned i = 0; i < sizeof l / sizeof *l; i++)
        printf("> %s\n%s", l[i], bed_at(b, l[i]));
    printf("%s", b->log);
    bed_free(b);
}
int main(void) {
    const struct CMUnitTest t[] = {cmocka_unit_test(smoke)};
    return cmocka_run_group_tests(t, NULL, NULL);
}
