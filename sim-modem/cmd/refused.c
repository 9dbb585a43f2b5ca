/* Commands of stages that are not built: known, so that the TE hears the error of the family
 * instead of a bare ERROR. */
#include "cmd.h"

/* spec: TS27.005 3.2.5 303 operation not supported */
int cmd_no_sms(struct modem *m, struct at_channel *ch, struct at_args args) {
    (void)m, (void)ch, (void)args;
    return AT_CMS(CMS_NOT_SUPPORTED);
}

/* TLS and MQTT inside the module. */
int cmd_no_tls(struct modem *m, struct at_channel *ch, struct at_args args) {
    (void)m, (void)ch, (void)args;
    return AT_CME(CME_NOT_SUPPORTED);
}

int cmd_cmux(struct modem *m, struct at_channel *ch, struct at_args args) {
    (void)m, (void)ch, (void)args;
    return AT_CME(CME_NOT_SUPPORTED);
}
