#include "store.h"

#include <unistd.h>

static int any(struct tb_span key, struct tb_span value, void *user) {
    (void)key;
    (void)value;
    (void)user;
    return 1;
}

static int taken(const char *path, struct tb_error *e) {
    return tb_error_set(e, TB_ESTATE, path, 0,
                        "there is a card in this store already; choose another file, or --force to "
                        "destroy that card");
}

int card_store_check_free(const char *path, struct tb_error *e) {
    struct card_nvm *nvm;
    int r;

    if (access(path, F_OK) < 0)
        return 0;
    r = card_nvm_sqlite_open_read(path, &nvm, e);
    if (r == TB_ENOTFOUND)
        return 0; /* an empty file */
    if (r < 0)
        return r;
    r = nvm->ops->each(nvm, any, NULL);
    card_nvm_free(nvm);
    if (r < 0)
        return tb_error_set(e, r, path, 0, "cannot read the card store: %s", tb_strerror(r));
    return r == 0 ? 0 : taken(path, e);
}

static int put_into(struct tb_span key, struct tb_span value, void *user) {
    struct card_nvm *to = user;

    return to->ops->put(to, key, value);
}

static int delete_from(struct tb_span key, struct tb_span value, void *user) {
    struct card_nvm *to = user;

    (void)value;
    return to->ops->del(to, key);
}

int card_store_write(const char *path, struct card_nvm *card, bool replace, struct tb_error *e) {
    struct card_nvm *to;
    int r = card_nvm_sqlite_open(path, &to, e);

    if (r < 0)
        return r;
    r = to->ops->begin(to);
    if (r == 0)
        r = to->ops->each(to, replace ? delete_from : any, to);
    if (r == 1) {
        to->ops->rollback(to);
        card_nvm_free(to);
        return taken(path, e);
    }
    if (r == 0)
        r = card->ops->each(card, put_into, to);
    if (r == 0)
        r = to->ops->commit(to);
    if (r < 0) {
        to->ops->rollback(to);
        tb_error_set(e, r, path, 0, "cannot write the card store: %s", tb_strerror(r));
    }
    card_nvm_free(to);
    return r;
}

int card_store_write_new(const char *path, struct card_nvm *card, struct tb_error *e) {
    struct card_nvm *to;
    int r = card_nvm_sqlite_create(path, &to, e);

    if (r < 0)
        return r;
    r = to->ops->begin(to);
    if (r == 0)
        r = card->ops->each(card, put_into, to);
    if (r == 0)
        r = to->ops->commit(to);
    card_nvm_free(to);
    return r < 0 ? tb_error_set(e, r, path, 0, "cannot write the card store: %s", tb_strerror(r))
                 : 0;
}

int card_store_read(const char *path, struct card_nvm **ret, struct tb_error *e) {
    struct card_nvm *from, *to;
    int r = card_nvm_sqlite_open_read(path, &from, e);

    if (r < 0)
        return r;
    to = card_nvm_mem_new(0);
    r = to->ops->begin(to);
    if (r == 0)
        r = from->ops->each(from, put_into, to);
    if (r == 0)
        r = to->ops->commit(to);
    card_nvm_free(from);
    if (r < 0) {
        card_nvm_free(to);
        return tb_error_set(e, r, path, 0, "cannot read the card store: %s", tb_strerror(r));
    }
    *ret = to;
    return 0;
}
