/* Payloads in replies and events. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "protocol.h"
#include "tb/hex.h"

void dev_payload_put(json_t *members, struct tb_span payload) {
    json_t *text = json_stringn(payload.n ? (const char *)payload.p : "", payload.n);
    size_t n = 2 * payload.n;
    struct tb_buf out;
    char *hex;

    if (text) {
        json_object_set_new(members, "payload", text);
        return;
    }
    hex = malloc(n + 1); /* not UTF-8 */
    if (!hex)
        abort();
    out = tb_buf(hex, n);
    tb_put_hex(&out, payload, TB_HEX_LOWER);
    json_object_set_new(members, "payload_hex", json_stringn(hex, n));
    free(hex);
}

static int write_file(const char *path, struct tb_span body, struct tb_error *e) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644), r = 0;
    ssize_t n;

    if (fd < 0)
        return tb_error_set(e, -errno, path, 0, "%s: %s", path, strerror(errno));
    while (body.n && r == 0) {
        n = write(fd, body.p, body.n);
        if (n < 0 && errno != EINTR)
            r = tb_error_set(e, -errno, path, 0, "%s: %s", path, strerror(errno));
        else if (n > 0)
            body = tb_span_sub(body, (size_t)n, body.n - (size_t)n);
    }
    if (close(fd) < 0 && r == 0)
        r = tb_error_set(e, -errno, path, 0, "%s: %s", path, strerror(errno));
    return r;
}

int dev_answer_put(json_t *members, struct tb_span body, const char *content_type, const char *save,
                   struct tb_error *e) {
    int r = save ? write_file(save, body, e) : 0;

    json_object_set_new(members, "bytes", json_integer((json_int_t)body.n));
    if (content_type)
        json_object_set_new(members, "content_type", json_string(content_type));
    if (r < 0)
        return r;
    if (save)
        json_object_set_new(members, "payload_file", json_string(save));
    else if (body.n <= DEV_PAYLOAD_MAX)
        dev_payload_put(members, body);
    else
        return tb_error_set(e, TB_ERANGE, NULL, 0,
                            "the answer has %zu bytes: with \"save\" it goes to a file", body.n);
    return 0;
}
