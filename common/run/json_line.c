#include "json_line.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool tb_take_line(struct tb_span *in, struct tb_span *ret) {
    const uint8_t *end = in->n ? memchr(in->p, '\n', in->n) : NULL;
    struct tb_span line, eol;

    if (!end || !tb_take(in, (size_t)(end - in->p), &line) || !tb_take(in, 1, &eol))
        return false;
    if (line.n > 0 && line.p[line.n - 1] == '\r')
        line.n--;
    *ret = line;
    return true;
}

json_t *tb_json_object(struct tb_span line, char *error, size_t cap) {
    json_error_t e;
    json_t *o = json_loadb((const char *)line.p, line.n, JSON_REJECT_DUPLICATES, &e);

    if (!o) {
        snprintf(error, cap, "not JSON: %s near column %d", e.text, e.column);
    } else if (!json_is_object(o)) {
        snprintf(error, cap, "not a JSON object");
        json_decref(o);
        o = NULL;
    }
    return o;
}

static int append(const char *text, size_t n, void *user) {
    const struct tb_span piece = tb_span(text, n);

    tb_outbuf_append(user, &piece, 1, 0);
    return 0;
}

char *tb_json_line(const json_t *o, size_t *ret_n) {
    const struct tb_span eol = TB_BYTES('\n');
    struct tb_outbuf b = {0};

    if (json_dump_callback(o, append, &b, JSON_COMPACT) < 0)
        abort(); /* out of memory: what jansson has built it can write */
    tb_outbuf_append(&b, &eol, 1, 0);
    *ret_n = b.n;
    return (char *)b.p;
}

bool tb_each_line(struct tb_outbuf *partial, struct tb_span data, size_t limit,
                  bool (*fn)(struct tb_span line, void *user), void *user) {
    struct tb_span line, rest = data;

    while (tb_take_line(&rest, &line)) {
        if (partial->n + line.n > limit)
            return false;
        if (partial->n > 0) {
            tb_outbuf_append(partial, &line, 1, 0);
            line = tb_span(partial->p, partial->n);
            partial->n = 0;
            if (line.n > 0 && line.p[line.n - 1] == '\r') /* its LF came alone */
                line.n--;
        }
        if (!fn(line, user))
            return false;
    }
    tb_outbuf_append(partial, &rest, 1, 0);
    return partial->n <= limit;
}
