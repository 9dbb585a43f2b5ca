#include "provider.h"

#include <stdarg.h>

const OSSL_ITEM isp_reason_strings[] = {
    {ISP_R_CONFIG, (char[]){"bad provider configuration"}},
    {ISP_R_NO_TRANSPORT, (char[]){"no transport configured"}},
    {ISP_R_TRANSPORT, (char[]){"transport cannot be opened"}},
    {ISP_R_LINK, (char[]){"link to the card is broken"}},
    {ISP_R_TIMEOUT, (char[]){"card did not answer in time"}},
    {ISP_R_NO_CARD, (char[]){"no card"}},
    {ISP_R_NO_APPLET, (char[]){"no IoT SAFE applet on the card"}},
    {ISP_R_NOT_FOUND, (char[]){"object not on the card"}},
    {ISP_R_CARD_REFUSED, (char[]){"card refused"}},
    {ISP_R_CARD_ANSWER, (char[]){"card's answer makes no sense"}},
    {ISP_R_ADMINISTRATION, (char[]){"object is under remote administration"}},
    {ISP_R_MODEM_REFUSED, (char[]){"modem refused"}},
    {ISP_R_CARD_FAILED, (char[]){"card operation failed"}},
    {ISP_R_URI, (char[]){"bad iotsafe: URI"}},
    {ISP_R_REFERENCE, (char[]){"bad key reference"}},
    {ISP_R_KEY_TYPE, (char[]){"key type not supported"}},
    {ISP_R_KEY_MISMATCH, (char[]){"card holds another key than the reference says"}},
    {ISP_R_DIGEST, (char[]){"digest not supported"}},
    {ISP_R_BUFFER, (char[]){"buffer too small"}},
    {ISP_R_STATE, (char[]){"operation not initialised"}},
    {ISP_R_SOFTWARE, (char[]){"software operation failed"}},
    {ISP_R_BUSY, (char[]){"card is busy"}},
    {ISP_R_CONTAINERS, (char[]){"no free key container on the card"}},
    {ISP_R_PSK, (char[]){"pre-shared key cannot be used"}},
    {0, NULL},
};

void isp_raise_at(const struct isp_provider *prov, const char *file, int line, const char *func,
                  enum isp_reason reason, const char *fmt, ...) {
    va_list ap;

    if (!prov->new_error || !prov->vset_error)
        return;
    va_start(ap, fmt);
    prov->new_error(prov->core);
    if (prov->set_error_debug)
        prov->set_error_debug(prov->core, file, line, func);
    prov->vset_error(prov->core, (uint32_t)reason, fmt, ap);
    va_end(ap);
}
