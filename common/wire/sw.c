#include "tb/sw.h"

#include <stddef.h>

struct text {
    uint16_t sw;
    const char *text;
};

static const struct text exact[] = {
    {TB_SW_OK, "success"},
    {0x6200, "warning, nothing changed"},
    {0x6281, "returned data may be corrupted"},
    {0x6282, "end of file reached before Le bytes"},
    {0x6283, "selected file invalidated"},
    {0x6285, "selected file terminated"},
    {TB_SW_MORE_LIST, "more data available"},
    {TB_SW_ADMIN_DONE, "success, remote administration completed meanwhile"},
    {TB_SW_INTEGRITY, "integrity problem"},
    {0x6500, "no precise diagnosis, memory changed"},
    {TB_SW_MEMORY, "memory problem"},
    {TB_SW_LENGTH, "wrong length"},
    {0x6800, "function of the class byte not supported"},
    {TB_SW_CHANNEL, "logical channel not available"},
    {TB_SW_SM, "secure messaging not supported"},
    {TB_SW_LAST_EXPECTED, "last command of the chain expected"},
    {TB_SW_CHAINING, "command chaining not supported"},
    {TB_SW_FILE_TYPE, "command incompatible with file structure"},
    {TB_SW_SECURITY, "security status not satisfied"},
    {TB_SW_BLOCKED, "authentication method blocked"},
    {TB_SW_INVALIDATED, "referenced data invalidated"},
    {TB_SW_CONDITIONS, "conditions of use not satisfied"},
    {TB_SW_NO_EF, "no current file"},
    {TB_SW_CAPACITY, "no capacity, or remote administration interfered"},
    {TB_SW_DATA, "incorrect data"},
    {TB_SW_FUNCTION, "function not supported, or no logical channel free"},
    {TB_SW_NOT_FOUND, "file, application or object not found"},
    {TB_SW_NO_RECORD, "record not found"},
    {TB_SW_NO_SPACE, "not enough memory"},
    {TB_SW_P1P2, "incorrect P1 P2"},
    {TB_SW_LC_P1P2, "Lc inconsistent with P1 P2"},
    {TB_SW_REF_NOT_FOUND, "referenced data not found"},
    {TB_SW_OFFSET, "wrong P1 P2"},
    {TB_SW_INS, "instruction not supported"},
    {TB_SW_VERIFY_FAILED, "signature does not match"},
    {TB_SW_CLA, "class not supported"},
    {TB_SW_UNKNOWN, "no precise diagnosis"},
    {0x9300, "toolkit is busy"},
    {TB_SW_AUTH_MAC, "authentication error, incorrect MAC"},
    {TB_SW_AUTH_CONTEXT, "authentication error, security context not supported"},
};

/* By SW1, when SW2 is a number or has no text of its own. */
static const char *const by_sw1[256] = {
    [0x61] = "more data available by GET RESPONSE",
    [0x62] = "warning, nothing changed",
    [0x63] = "warning, memory changed",
    [0x64] = "execution error, nothing changed",
    [0x65] = "execution error, memory changed",
    [0x66] = "security problem",
    [0x67] = "wrong length",
    [0x68] = "function of the class byte not supported",
    [0x69] = "command not allowed",
    [0x6A] = "wrong parameters",
    [0x6B] = "wrong P1 P2",
    [0x6C] = "wrong Le",
    [0x6D] = "instruction not supported",
    [0x6E] = "class not supported",
    [0x6F] = "no precise diagnosis",
    [0x91] = "success, proactive command pending",
    [0x92] = "success after internal retries",
    [0x98] = "security problem",
    [0x9F] = "success, data available by GET RESPONSE",
};

const char *tb_sw_text(uint16_t sw) {
    const char *text = by_sw1[sw >> 8];

    for (size_t i = 0; i < sizeof exact / sizeof *exact; i++)
        if (exact[i].sw == sw)
            return exact[i].text;
    if ((sw & 0xFFF0) == 0x63C0)
        return "verification failed, tries remain";
    return text ? text : "unknown status word";
}
