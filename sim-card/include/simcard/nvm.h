#pragma once
/* Non-volatile memory of a card: a small ordered map from keys to blobs, changed in transactions.
 * The card begins one with the first write of a command and commits before it answers; after a kill
 * at any instant the memory holds the old state or the new one. Implementations: nvm_mem.c (tests,
 * fleets), nvm_sqlite.c, nvm_tear.c (power cuts). */
#include "tb/error.h"
#include "tb/span.h"

struct card_nvm;

struct card_nvm_ops {
    /* Calls fn for each entry in key order; stops and returns fn's result when that is not 0. */
    int (*each)(struct card_nvm *nvm,
                int (*fn)(struct tb_span key, struct tb_span value, void *user), void *user);
    int (*begin)(struct card_nvm *nvm);
    int (*put)(struct card_nvm *nvm, struct tb_span key,
               struct tb_span value);                     /* inside a transaction */
    int (*del)(struct card_nvm *nvm, struct tb_span key); /* absent key: 0 */
    int (*commit)(struct card_nvm *nvm);                  /* durable when it returns 0 */
    void (*rollback)(struct card_nvm *nvm);
    void (*free)(struct card_nvm *nvm);
};

struct card_nvm { /* first member of every implementation */
    const struct card_nvm_ops *ops;
};

/* In memory. limit: bytes of all keys and values, 0 for no limit; a put beyond it is TB_ESPACE (SW
 * 6A84). */
struct card_nvm *card_nvm_mem_new(size_t limit);

/* In a SQLite file (WAL, synchronous=FULL), created with mode 0600 when absent; TB_ESTATE when
 * another process has it open. Link simcard_store. */
int card_nvm_sqlite_open(const char *path, struct card_nvm **ret, struct tb_error *e) TB_CHECKED;
/* A new file (one that is there is deleted) for a factory that makes many and brings all of them to
 * the disk itself: no commit waits for it, so until then a power cut may leave half a store. */
int card_nvm_sqlite_create(const char *path, struct card_nvm **ret, struct tb_error *e) TB_CHECKED;
/* The same file to read from, also while a card runs on it. TB_ENOTFOUND when absent or empty. */
int card_nvm_sqlite_open_read(const char *path, struct card_nvm **ret,
                              struct tb_error *e) TB_CHECKED;

/* Wraps inner (given) and asks before each write: 0 lets it happen, a negative value is what it
 * fails with. After TB_ESTORE power is gone: a transaction that was open is as if it had never
 * begun. NULL when out of memory. */
enum card_nvm_write { CARD_NVM_BEGIN, CARD_NVM_PUT, CARD_NVM_DEL, CARD_NVM_COMMIT };
typedef int card_nvm_may_fn(enum card_nvm_write what, void *user);
struct card_nvm *card_nvm_guard_new(struct card_nvm *inner, card_nvm_may_fn *may, void *user);

/* Wraps inner (given): the cut-th write operation from now on (begin, put, del and commit each
 * count as one) and all later ones fail as if power had gone: what inner holds afterwards is what a
 * real power cut leaves. */
struct card_nvm *card_nvm_tear_new(struct card_nvm *inner, unsigned cut);
void card_nvm_tear_cut(struct card_nvm *tear, unsigned cut); /* sets it anew, from now on */

void card_nvm_free(struct card_nvm *nvm); /* NULL is a no-op */
