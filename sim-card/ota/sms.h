#pragma once
/* Short messages as they carry secured packets. Bytes only. spec: 3GPP TS 23.040 9,
 * TS 31.111 7.1.1, TS 31.115 4 */
#include "tb/error.h"
#include "tb/span.h"

enum {
    SMS_UD_MAX = 140,  /* bytes of user data in one message */
    SMS_PARTS_MAX = 8, /* of one packet: TS 102 225 has no bound, 1 KiB is what we keep */
    SMS_PACKET_MAX = SMS_PARTS_MAX * SMS_UD_MAX,
};

struct sms_part {                /* spans borrow from the envelope */
    struct tb_span data;         /* user data without its header */
    struct tb_span smsc, sender; /* as coded in the message; empty: not told */
    uint8_t pid, dcs;
    uint16_t reference;
    uint8_t total, number; /* of a concatenated message; 1 and 1 else */
    bool secured; /* the header says: command packet. Parts after the first do not say it */
};

/* Takes the data of an ENVELOPE (D1) apart. TB_EPARSE; TB_EUNSUP for an envelope of another kind or
 * a message that is no SMS-DELIVER. */
int sms_parse_envelope(struct tb_span envelope, struct sms_part *ret) TB_CHECKED;

/* What has come of one concatenated message. Zeroed to begin with. */
struct sms_reassembly {
    uint16_t reference;
    uint8_t total, got;
    uint8_t n[SMS_PARTS_MAX];
    uint8_t part[SMS_PARTS_MAX][SMS_UD_MAX];
};

/* Takes a part. 1: the packet is whole, *ret lies in r; 0: more is to come. A part of another
 * message throws away what was there: two at once are not kept. TB_ESPACE for more parts than that,
 * TB_EPARSE when the part does not fit to the others. */
int sms_reassemble(struct sms_reassembly *r, const struct sms_part *part,
                   uint8_t whole[SMS_PACKET_MAX], struct tb_span *ret) TB_CHECKED;

/* Appends an SMS-SUBMIT TPDU with ud as user data, header included, to the sender of a message. */
void sms_put_submit(struct tb_buf *out, struct tb_span to, struct tb_span ud);
