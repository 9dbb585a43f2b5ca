#include "tb/test.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "simcard/nvm.h"

struct fixture {
    char dir[32], path[64];
};

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);

    strcpy(f->dir, "/tmp/tb-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof f->path, "%s/card.db", f->dir);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};
    struct fixture *f = *state;

    for (size_t i = 0; i < 4; i++) {
        char name[96];

        snprintf(name, sizeof name, "%s%s", f->path, suffixes[i]);
        unlink(name);
    }
    rmdir(f->dir);
    free(f);
    return 0;
}

static struct card_nvm *open_store(const struct fixture *f) {
    struct tb_error e = {0};
    struct card_nvm *nvm = NULL;
    int r = card_nvm_sqlite_open(f->path, &nvm, &e);

    if (r < 0)
        print_error("%s: %s\n", e.file, e.message);
    assert_int_equal(r, 0);
    return nvm;
}

static void put(struct card_nvm *nvm, const char *key, const char *value) {
    assert_int_equal(nvm->ops->put(nvm, tb_span_str(key), tb_span_str(value)), 0);
}

/* Appends "key=value " for each entry. */
static int dump_entry(struct tb_span key, struct tb_span value, void *user) {
    char *out = user;

    sprintf(out + strlen(out), "%.*s=%.*s ", (int)key.n, (const char *)key.p, (int)value.n,
            (const char *)value.p);
    return 0;
}

static const char *dump(struct card_nvm *nvm) {
    static char out[512];

    out[0] = 0;
    assert_int_equal(nvm->ops->each(nvm, dump_entry, out), 0);
    return out;
}

static void keeps_what_was_committed_in_key_order(void **state) {
    struct card_nvm *nvm = open_store(*state);

    assert_int_equal(nvm->ops->begin(nvm), 0);
    put(nvm, "b", "2");
    put(nvm, "a", "1");
    put(nvm, "ab", "");
    put(nvm, "b", "3");
    assert_int_equal(nvm->ops->commit(nvm), 0);
    card_nvm_free(nvm);

    nvm = open_store(*state);
    assert_string_equal(dump(nvm), "a=1 ab= b=3 ");
    card_nvm_free(nvm);
}

static int expect_entry(struct tb_span key, struct tb_span value, void *user) {
    const struct tb_span *expected = user;

    assert_true(tb_span_eq(key, expected[0]));
    assert_true(tb_span_eq(value, expected[1]));
    return 7;
}

static void takes_any_bytes_as_key_and_value(void **state) {
    struct tb_span entry[2] = {TB_BYTES(0x00, 0xFF, 0x00), TB_BYTES(0x00, 0x27, 0x00)};
    struct card_nvm *nvm = open_store(*state);

    assert_int_equal(nvm->ops->begin(nvm), 0);
    assert_int_equal(nvm->ops->put(nvm, entry[0], entry[1]), 0);
    assert_int_equal(nvm->ops->del(nvm, TB_BYTES(0x00, 0xFF)), 0); /* absent: only a prefix */
    assert_int_equal(nvm->ops->commit(nvm), 0);
    assert_int_equal(nvm->ops->each(nvm, expect_entry, entry), 7);
    card_nvm_free(nvm);
}

static void rollback_restores_the_old_state(void **state) {
    struct card_nvm *nvm = open_store(*state);

    assert_int_equal(nvm->ops->begin(nvm), 0);
    put(nvm, "a", "1");
    assert_int_equal(nvm->ops->commit(nvm), 0);
    assert_int_equal(nvm->ops->begin(nvm), 0);
    put(nvm, "a", "2");
    assert_int_equal(nvm->ops->del(nvm, tb_span_str("a")), 0);
    nvm->ops->rollback(nvm);
    assert_string_equal(dump(nvm), "a=1 ");
    nvm->ops->rollback(nvm); /* without a transaction: nothing happens */
    card_nvm_free(nvm);
}

static void a_power_cut_before_commit_leaves_the_old_state(void **state) {
    struct card_nvm *nvm = open_store(*state);

    assert_int_equal(nvm->ops->begin(nvm), 0);
    put(nvm, "a", "1");
    assert_int_equal(nvm->ops->commit(nvm), 0);
    assert_int_equal(nvm->ops->begin(nvm), 0);
    put(nvm, "a", "2");
    card_nvm_free(nvm);
    nvm = open_store(*state);
    assert_string_equal(dump(nvm), "a=1 ");
    card_nvm_free(nvm);
}

static int stop_at_once(struct tb_span key, struct tb_span value, void *user) {
    (void)key;
    (void)value;
    ++*(int *)user;
    return 42;
}

static void each_stops_when_told(void **state) {
    struct card_nvm *nvm = open_store(*state);
    int calls = 0;

    assert_int_equal(nvm->ops->begin(nvm), 0);
    put(nvm, "a", "1");
    put(nvm, "b", "1");
    assert_int_equal(nvm->ops->commit(nvm), 0);
    assert_int_equal(nvm->ops->each(nvm, stop_at_once, &calls), 42);
    assert_int_equal(calls, 1);
    card_nvm_free(nvm);
}

static void file_is_private_from_the_start(void **state) {
    struct fixture *f = *state;
    struct card_nvm *nvm;
    struct stat st;
    char wal[96];
    mode_t old = umask(0);

    nvm = open_store(f);
    assert_int_equal(nvm->ops->begin(nvm), 0);
    put(nvm, "a", "1");
    assert_int_equal(nvm->ops->commit(nvm), 0);
    umask(old);
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    snprintf(wal, sizeof wal, "%s-wal", f->path);
    assert_int_equal(stat(wal, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    card_nvm_free(nvm);
}

static void a_second_card_on_the_store_is_refused(void **state) {
    struct fixture *f = *state;
    struct card_nvm *nvm = open_store(f), *second = NULL;
    struct tb_error e = {0};

    assert_int_equal(card_nvm_sqlite_open(f->path, &second, &e), TB_ESTATE);
    assert_null(second);
    assert_non_null(strstr(e.message, "another sim-card"));
    assert_string_equal(e.file, f->path);
    card_nvm_free(nvm);
    card_nvm_free(open_store(f)); /* free again */
}

static void a_reader_sees_the_store_of_a_running_card(void **state) {
    struct fixture *f = *state;
    struct card_nvm *nvm = open_store(f), *reader = NULL;
    struct tb_error e = {0};

    assert_int_equal(nvm->ops->begin(nvm), 0);
    put(nvm, "a", "1");
    assert_int_equal(nvm->ops->commit(nvm), 0);
    assert_int_equal(nvm->ops->begin(nvm), 0);
    put(nvm, "a", "2");
    assert_int_equal(card_nvm_sqlite_open_read(f->path, &reader, &e), 0);
    assert_string_equal(dump(reader), "a=1 ");
    assert_int_equal(reader->ops->put(reader, tb_span_str("a"), tb_span_str("3")), TB_ESTORE);
    card_nvm_free(reader);
    assert_int_equal(nvm->ops->commit(nvm), 0);
    card_nvm_free(nvm);
}

static void an_absent_store_is_not_made_by_reading(void **state) {
    struct fixture *f = *state;
    struct card_nvm *nvm = NULL;
    struct tb_error e = {0};

    assert_int_equal(card_nvm_sqlite_open_read(f->path, &nvm, &e), TB_ENOTFOUND);
    assert_int_equal(access(f->path, F_OK), -1);
}

static void write_file(const char *path, const char *text) {
    FILE *out = fopen(path, "w");

    assert_non_null(out);
    fputs(text, out);
    fclose(out);
}

static void refuses_files_that_are_no_store(void **state) {
    struct fixture *f = *state;
    struct card_nvm *nvm = NULL;
    struct tb_error e = {0};
    char beyond[96];

    write_file(f->path,
               "this text is no data base at all, and longer than the header of one would be: "
               "................................................................");
    assert_int_equal(card_nvm_sqlite_open(f->path, &nvm, &e), TB_ESTORE);
    assert_non_null(strstr(e.message, "not a card store"));
    snprintf(beyond, sizeof beyond, "%s/absent/card.db", f->dir);
    assert_int_equal(card_nvm_sqlite_open(beyond, &nvm, &e), -2 /* ENOENT */);
}

/* The child writes the same number under two keys in one transaction, again and again, and reports
 * each committed number. */
static void storm(const char *path, int report) {
    struct card_nvm *nvm;
    struct tb_error e;

    if (card_nvm_sqlite_open(path, &nvm, &e) < 0)
        _exit(1);
    for (uint32_t n = 1;; n++) {
        const struct tb_span value = tb_span(&n, sizeof n);

        if (nvm->ops->begin(nvm) < 0 || nvm->ops->put(nvm, TB_BYTES('a'), value) < 0 ||
            nvm->ops->put(nvm, TB_BYTES('b'), value) < 0 || nvm->ops->commit(nvm) < 0)
            _exit(1);
        if (write(report, &n, sizeof n) != sizeof n)
            _exit(1);
    }
}

struct pair {
    uint32_t a, b;
};

static int read_pair(struct tb_span key, struct tb_span value, void *user) {
    struct pair *p = user;

    assert_int_equal(value.n, sizeof(uint32_t));
    memcpy(key.p[0] == 'a' ? &p->a : &p->b, value.p, value.n);
    return 0;
}

static void kill_in_a_storm_of_writes_leaves_a_committed_state(void **state) {
    struct fixture *f = *state;

    for (uint32_t round = 1; round <= 8; round++) {
        uint32_t last = 0, n;
        struct pair got = {0, 0};
        struct card_nvm *nvm;
        int fds[2], status;
        pid_t pid;

        assert_int_equal(pipe(fds), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            storm(f->path, fds[1]);
        close(fds[1]);
        while (last < 3 * round && read(fds[0], &n, sizeof n) == sizeof n)
            last = n;
        kill(pid, SIGKILL); /* in the middle of whatever it does now */
        while (read(fds[0], &n, sizeof n) == sizeof n)
            last = n; /* what it had reported until then */
        close(fds[0]);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));

        nvm = open_store(f);
        assert_int_equal(nvm->ops->each(nvm, read_pair, &got), 0);
        assert_int_equal(got.a, got.b);                  /* never half a transaction */
        assert_true(got.a == last || got.a == last + 1); /* nothing that was promised is lost */
        card_nvm_free(nvm);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(keeps_what_was_committed_in_key_order, setup, teardown),
        cmocka_unit_test_setup_teardown(takes_any_bytes_as_key_and_value, setup, teardown),
        cmocka_unit_test_setup_teardown(rollback_restores_the_old_state, setup, teardown),
        cmocka_unit_test_setup_teardown(a_power_cut_before_commit_leaves_the_old_state, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(each_stops_when_told, setup, teardown),
        cmocka_unit_test_setup_teardown(file_is_private_from_the_start, setup, teardown),
        cmocka_unit_test_setup_teardown(a_second_card_on_the_store_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_reader_sees_the_store_of_a_running_card, setup, teardown),
        cmocka_unit_test_setup_teardown(an_absent_store_is_not_made_by_reading, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_files_that_are_no_store, setup, teardown),
        cmocka_unit_test_setup_teardown(kill_in_a_storm_of_writes_leaves_a_committed_state, setup,
                                        teardown),
    };

    return cmocka_run_group_tests_name("nvm_sqlite", tests, NULL, NULL);
}
