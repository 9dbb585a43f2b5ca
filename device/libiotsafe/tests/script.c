#include "script.h"

#include <string.h>

#include "tb/hex.h"

size_t unhex(const char *hex, uint8_t *buf, size_t cap) {
    struct tb_buf out = tb_buf(buf, cap);

    assert_int_equal(tb_hex_decode_loose(tb_span_str(hex), &out), 0);
    return out.n;
}

void assert_hex(const uint8_t *got, size_t n, const char *hex) {
    uint8_t want[4096];
    size_t m = unhex(hex, want, sizeof want);
    char a[8200], b[8200];

    tb_hex_str(a, sizeof a, tb_span(got, n));
    tb_hex_str(b, sizeof b, tb_span(want, m));
    assert_string_equal(a, b);
}

static int failure(const char *name) {
    static const struct {
        const char *name;
        int err;
    } table[] = {{"", 0},
                 {"LINK", IOTSAFE_E_LINK},
                 {"TIMEOUT", IOTSAFE_E_TIMEOUT},
                 {"ABSENT", IOTSAFE_E_ABSENT},
                 {"REFUSED", IOTSAFE_E_REFUSED},
                 {"RESET", IOTSAFE_E_RESET},
                 {"BUSY", IOTSAFE_E_BUSY}};

    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (strcmp(table[i].name, name) == 0)
            return table[i].err;
    }
    return 1;
}

static int script_card(void *user, const uint8_t *cmd, size_t cmd_len, uint8_t *rsp,
                       size_t rsp_cap) {
    struct script *s = user;
    int r;

    if (!s->at) /* closing */
        return IOTSAFE_E_LINK;
    if (!s->at->command) {
        char text[600];

        fail_msg("command beyond the script: %s",
                 tb_hex_str(text, sizeof text, tb_span(cmd, cmd_len)));
    }
    assert_hex(cmd, cmd_len, s->at->command);
    r = failure(s->at->response);
    if (r == 1)
        r = (int)unhex(s->at->response, rsp, rsp_cap);
    s->at++;
    s->done++;
    return r;
}

struct iotsafe *script_open(struct script *script, const struct exchange *exchanges,
                            const struct iotsafe_options *opt, unsigned transport_flags) {
    struct iotsafe_transport *t;
    struct iotsafe *c;

    *script = (struct script){.at = exchanges};
    assert_int_equal(iotsafe_transport_mem(script_card, script, &t), 0);
    t->flags = transport_flags;
    assert_int_equal(iotsafe_open(t, opt, &c), 0);
    return c;
}

void script_close(struct iotsafe *c, struct script *script) {
    if (script->at->command)
        fail_msg("not asked for: %s", script->at->command);
    script->at = NULL;
    iotsafe_close(c);
}
