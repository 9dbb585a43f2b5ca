/* OpenSSL's view of a connection: what tb_conn offered is read from where it lies, what OpenSSL
 * writes is collected so that a flight leaves in one write. */
#include <stdlib.h>
#include <string.h>

#include "tls/internal.h"

static int bio_read(BIO *b, char *dst, size_t cap, size_t *ret) {
    struct hub_tls *t = BIO_get_data(b);
    struct tb_span part;

    BIO_clear_retry_flags(b);
    if (t->in.n == 0) {
        BIO_set_retry_read(b);
        return 0;
    }
    part = tb_span_sub(t->in, 0, cap);
    if (!tb_take(&t->in, part.n, &part))
        return 0;
    memcpy(dst, part.p, part.n);
    *ret = part.n;
    return 1;
}

static int bio_write(BIO *b, const char *src, size_t n, size_t *ret) {
    struct hub_tls *t = BIO_get_data(b);

    BIO_clear_retry_flags(b);
    hub_front_put_out(t->front, src, n);
    *ret = n;
    return 1;
}

static long bio_ctrl(BIO *b, int cmd, long num, void *ptr) {
    (void)b, (void)num, (void)ptr;
    return cmd == BIO_CTRL_FLUSH;
}

BIO_METHOD *hub_tls_bio_method(void) {
    BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "tb_conn");

    if (!m || !BIO_meth_set_read_ex(m, bio_read) || !BIO_meth_set_write_ex(m, bio_write) ||
        !BIO_meth_set_ctrl(m, bio_ctrl))
        abort();
    return m;
}

BIO *hub_tls_bio(BIO_METHOD *m, struct hub_tls *t) {
    BIO *b = BIO_new(m);

    if (!b)
        abort();
    BIO_set_data(b, t);
    BIO_set_init(b, 1);
    return b;
}

void hub_front_put_out(struct hub_front *f, const void *p, size_t n) {
    if (f->out.cap - f->out.n < n) {
        size_t cap = 2 * f->out.cap + n;
        uint8_t *grown = realloc(f->out.p, cap);

        if (!grown)
            abort();
        f->out.p = grown;
        f->out.cap = cap;
    }
    tb_put(&f->out, tb_span(p, n));
}
