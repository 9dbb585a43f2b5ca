/* Fuzz target: what a client of the packet service sends. The first byte says which message the
 * rest begins with, as for the server; what is taken has to be a whole message that says the same
 * when it is written again. */
#include <assert.h>
#include <stdlib.h>

#include "data/socks.h"

static void check_addr(const struct socks_addr *a) {
    assert(a->type == SOCKS_IPV4 || a->type == SOCKS_IPV6 || a->type == SOCKS_NAME);
    if (a->type != SOCKS_NAME)
        return;
    assert(a->name[0] && strlen(a->name) <= 255);
    for (const char *c = a->name; *c; c++)
        assert(*c > ' ' && *c <= '~');
}

/* Written as the server would write it, and taken as a client's. */
static void round_trip(const struct socks_addr *a) {
    uint8_t room[SOCKS_UDP_HEADER_MAX];
    struct tb_buf out = TB_BUF(room);
    struct socks_addr back;
    struct tb_span in;

    if (a->type == SOCKS_NAME)
        return;
    socks_put_datagram(&out, a);
    assert(tb_buf_ok(&out));
    in = tb_buf_span(&out);
    assert(socks_take_datagram(&in, &back) == 1 && in.n == 0);
    assert(back.type == a->type && back.port == a->port && memcmp(back.ip, a->ip, 16) == 0);
}

static void client(struct tb_span in) {
    struct socks_addr to;
    uint8_t command = 0;
    bool none = false;

    if (socks_take_greeting(&in, &none) < 1)
        return;
    if (socks_take_request(&in, &command, &to) < 1)
        return;
    check_addr(&to);
    round_trip(&to);
}

/* More bytes never turn "not yet" into a different message. */
static void by_pieces(struct tb_span all) {
    struct socks_addr whole, part;
    uint8_t command = 0;
    struct tb_span in = all;
    int r = socks_take_request(&in, &command, &whole);

    for (size_t n = 0; n < all.n && n < SOCKS_REQUEST_MAX; n++) {
        struct tb_span some = tb_span_sub(all, 0, n);
        int early = socks_take_request(&some, &command, &part);

        assert(early == 0 || early == r || (r == 0 && early < 0));
        if (early == 1)
            assert(part.port == whole.port && part.type == whole.type);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct tb_span in = tb_span(data, size);
    struct socks_addr to;
    uint32_t what;

    if (!tb_take_be(&in, 1, &what))
        return 0;
    if (what % 3 == 0) {
        client(in);
    } else if (what % 3 == 1) {
        by_pieces(in);
    } else if (socks_take_datagram(&in, &to) == 1) {
        check_addr(&to);
        round_trip(&to);
    }
    return 0;
}
