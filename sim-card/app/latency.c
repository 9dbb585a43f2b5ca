#include "latency.h"

#include <stdio.h>
#include <string.h>

#include "tb/apdu.h"
#include "tb/cli.h"

static const char *const link_names[] = {"off", "11", "94", "95", "96", "97", NULL};
static const uint8_t link_ta1s[] = {0, 0x11, 0x94, 0x95, 0x96, 0x97};

static int find(const char *what, const char *const *names, const char *text, struct tb_error *e) {
    int i = tb_latency_find(names, text);
    const char *near = i < 0 ? tb_nearest(text, names) : NULL;
    char all[128];
    size_t n = 0;

    if (i >= 0)
        return i;
    for (; *names && n < sizeof all; names++)
        n += (size_t)snprintf(all + n, sizeof all - n, "%s%s", n ? ", " : "", *names);
    return tb_error_set(e, TB_EPARSE, NULL, 0, "%s: no '%s'%s%s%s; there are %s", what, text,
                        near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "", all);
}

int card_latency_set(struct card_latency *l, const char *profile, const char *link,
                     struct tb_error *e) {
    int p = profile ? find("latency", tb_latency_card_names, profile, e) : 0;
    int k = p >= 0 && link ? find("link", link_names, link, e) : 0;

    if (p < 0 || k < 0)
        return TB_EPARSE;
    if (profile)
        l->profile = (enum tb_card_profile)p;
    if (link)
        l->link_ta1 = link_ta1s[k];
    return 0;
}

/* Lc of a command as the interface carries it. */
static uint32_t data_length(struct tb_span command) {
    struct tb_apdu a;

    return tb_apdu_parse(command, TB_APDU_TRAILING, &a) == 0 ? (uint32_t)a.data.n : 0;
}

/* Microseconds of the operation and what goes with it. */
static uint64_t op_us(enum tb_card_profile p, enum tb_card_op work) {
    uint64_t us = tb_latency_card_us(p, TB_CARD_APDU);

    if (work != TB_CARD_APDU)
        us += tb_latency_card_us(p, work);
    if (work == TB_CARD_ECDH)
        us += tb_latency_card_us(p, TB_CARD_LOAD_PEER);
    return us;
}

uint64_t card_latency_note(struct card_latency *l, const struct card_event *event) {
    uint32_t bytes = tb_latency_link_bytes(
        data_length(event->command), event->response.n > 2 ? (uint32_t)event->response.n - 2 : 0);
    uint64_t us;

    l->link_bytes += bytes;
    l->ops[TB_CARD_APDU]++;
    if (event->work != TB_CARD_APDU)
        l->ops[event->work]++;
    if (event->work == TB_CARD_ECDH)
        l->ops[TB_CARD_LOAD_PEER]++;
    us = op_us(l->profile, event->work);
    if (l->link_ta1)
        us += tb_latency_link_bytes_us(l->link_ta1, TB_LINK_HZ, bytes);
    l->waited_us += us;
    return us;
}

static json_t *number(uint64_t n) {
    return json_integer((json_int_t)n);
}

static json_t *modelled(const struct card_latency *l, enum tb_card_profile p) {
    json_t *costs = json_object();
    uint64_t total = 0;

    for (unsigned op = 0; op < TB_CARD_OPS; op++) {
        uint64_t us = l->ops[op] * tb_latency_card_us(p, op);

        json_object_set_new(costs, tb_latency_card_op_str(op), number(us));
        total += us;
    }
    json_object_set_new(costs, "total", number(total));
    return costs;
}

void card_latency_describe(const struct card_latency *l, json_t *reply) {
    json_t *operations = json_object(), *costs = json_object(), *link = json_object();

    for (unsigned op = 0; op < TB_CARD_OPS; op++)
        json_object_set_new(operations, tb_latency_card_op_str(op), number(l->ops[op]));
    for (unsigned p = TB_CARD_OFF + 1; p < TB_CARD_PROFILES; p++)
        json_object_set_new(costs, tb_latency_card_names[p], modelled(l, p));
    for (unsigned i = 1; link_names[i]; i++)
        json_object_set_new(
            link, link_names[i],
            number(tb_latency_link_bytes_us(link_ta1s[i], TB_LINK_HZ, l->link_bytes)));
    json_object_set_new(reply, "profile", json_string(tb_latency_card_names[l->profile]));
    for (unsigned i = 0; link_names[i]; i++)
        if (link_ta1s[i] == l->link_ta1)
            json_object_set_new(reply, "link", json_string(link_names[i]));
    json_object_set_new(reply, "operations", operations);
    json_object_set_new(reply, "modelled_us", costs);
    json_object_set_new(reply, "link_bytes", number(l->link_bytes));
    json_object_set_new(reply, "link_us", link);
    json_object_set_new(reply, "waited_us", number(l->waited_us));
}
