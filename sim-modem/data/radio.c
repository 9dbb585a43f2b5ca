#include "radio.h"

enum { SEGMENT = 1400, RTO_MIN_US = 1000000, RESENDS_MAX = 6 };

void radio_init(struct radio *r, enum tb_radio_profile profile, uint64_t seed) {
    *r = (struct radio){.profile = profile, .random = seed};
}

static const struct tb_radio *link_of(const struct radio *r) {
    return tb_latency_radio(r->profile);
}

static uint32_t draw_rtt(struct radio *r) {
    return tb_latency_jitter_us(&r->random, link_of(r)->rtt_us, link_of(r)->spread_us);
}

/* An answer closes a round trip; each exchange has a round trip time of its own, so that the
 * packets of one flight do not scatter. */
static void take_turn(struct radio *r, struct radio_flow *f, enum radio_dir dir) {
    bool up = dir == RADIO_UP;

    if (!f->begun || up != f->asked) {
        if (up || !f->begun)
            f->rtt_us = draw_rtt(r);
        if (!up && f->asked)
            r->round_trips++;
    }
    f->begun = true;
    f->asked = up;
}

/* When the last bit of n bytes has left the sender. */
static uint64_t serialise(struct radio *r, enum radio_dir dir, uint64_t now, uint64_t n) {
    uint32_t bps = dir == RADIO_UP ? link_of(r)->up_bps : link_of(r)->down_bps;
    uint64_t start = r->free_us[dir] > now ? r->free_us[dir] : now;

    if (!bps)
        return now;
    r->free_us[dir] = start + (n * 8 * 1000000 + bps - 1) / bps;
    return r->free_us[dir];
}

static uint64_t in_order(struct radio *r, struct radio_flow *f, enum radio_dir dir, uint64_t now,
                         uint64_t due) {
    if (due < f->last_us[dir])
        due = f->last_us[dir];
    f->last_us[dir] = due;
    r->waited_us += due - now;
    return due;
}

static uint64_t one_way(const struct radio *r, const struct radio_flow *f, enum radio_dir dir) {
    if (r->profile == TB_RADIO_OFF)
        return 0;
    return dir == RADIO_UP ? f->rtt_us / 2 : f->rtt_us - f->rtt_us / 2;
}

static uint64_t resend_delay(struct radio *r) {
    uint64_t rto = link_of(r)->rtt_us + 4 * (uint64_t)link_of(r)->spread_us, delay = 0;

    if (rto < RTO_MIN_US)
        rto = RTO_MIN_US;
    for (int i = 0; i < RESENDS_MAX && tb_latency_chance(&r->random, link_of(r)->loss_ppm); i++) {
        r->resent++;
        delay += rto;
        rto *= 2;
    }
    return delay;
}

uint64_t radio_stream(struct radio *r, struct radio_flow *f, enum radio_dir dir, uint64_t now,
                      uint64_t n) {
    uint64_t due;

    take_turn(r, f, dir);
    r->bytes[dir] += n;
    if (r->profile == TB_RADIO_OFF && f->last_us[dir] <= now)
        return now;
    due = serialise(r, dir, now, n) + one_way(r, f, dir);
    for (uint64_t at = 0; at < n; at += SEGMENT)
        due += resend_delay(r);
    return in_order(r, f, dir, now, due);
}

bool radio_datagram(struct radio *r, struct radio_flow *f, enum radio_dir dir, uint64_t now,
                    uint64_t n, uint64_t *ret_due) {
    uint64_t due;

    take_turn(r, f, dir);
    r->bytes[dir] += n;
    r->datagrams[dir]++;
    due = serialise(r, dir, now, n) + one_way(r, f, dir); /* a lost one takes the air as well */
    if (tb_latency_chance(&r->random, link_of(r)->loss_ppm)) {
        r->lost++;
        return false;
    }
    *ret_due = in_order(r, f, dir, now, due);
    return true;
}

uint64_t radio_round_trip(struct radio *r, struct radio_flow *f, uint64_t now) {
    uint64_t due = now + draw_rtt(r) + resend_delay(r);

    r->round_trips++;
    return in_order(r, f, RADIO_DOWN, now, due);
}
