#include "tb/pki.h"

#include <dirent.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tb/test.h"

/* A folder of its own for each test, removed with everything in it. */
struct folder {
    char path[64];
    char cert[96], key[96], other[96];
    struct tb_pki_ca ca;
    struct tb_error error;
};

static int make_folder(void **state) {
    struct folder *f = calloc(1, sizeof *f);
    const char *tmp = getenv("TMPDIR");

    snprintf(f->path, sizeof f->path, "%s/pki-XXXXXX", tmp && strlen(tmp) < 40 ? tmp : "/tmp");
    if (!mkdtemp(f->path))
        return -1;
    snprintf(f->cert, sizeof f->cert, "%s/ca.pem", f->path);
    snprintf(f->key, sizeof f->key, "%s/ca.key", f->path);
    snprintf(f->other, sizeof f->other, "%s/other", f->path);
    *state = f;
    return tb_pki_ca_init("Test CA", 10, &f->ca);
}

/* Calls each for every file; returns how many there are. */
static int for_each_file(const char *path, void (*each)(const char *file)) {
    DIR *d = opendir(path);
    struct dirent *e;
    int n = 0;

    while ((e = readdir(d))) {
        char file[400];

        if (e->d_name[0] == '.')
            continue;
        snprintf(file, sizeof file, "%s/%s", path, e->d_name);
        if (each)
            each(file);
        n++;
    }
    closedir(d);
    return n;
}

static void remove_file(const char *file) {
    unlink(file);
}

static int drop_folder(void **state) {
    struct folder *f = *state;

    tb_pki_ca_done(&f->ca);
    for_each_file(f->path, remove_file);
    rmdir(f->path);
    free(f);
    return 0;
}

static mode_t mode_of(const char *file) {
    struct stat st;

    assert_int_equal(stat(file, &st), 0);
    return st.st_mode & 07777;
}

static void write_text(const char *file, const char *text) {
    FILE *out = fopen(file, "w");

    assert_non_null(out);
    fputs(text, out);
    fclose(out);
}

static void a_ca_comes_back_from_its_files(void **state) {
    struct folder *f = *state;
    struct tb_pki_ca back;

    assert_int_equal(tb_pki_ca_save(&f->ca, f->cert, f->key, &f->error), 0);
    assert_int_equal(for_each_file(f->path, NULL), 2); /* nothing else left behind */
    assert_int_equal(mode_of(f->key), 0600);
    assert_int_equal(tb_pki_ca_load(f->cert, f->key, &back, &f->error), 0);
    assert_int_equal(X509_cmp(back.cert, f->ca.cert), 0);
    assert_int_equal(EVP_PKEY_eq(back.key, f->ca.key), 1);
    tb_pki_ca_done(&back);
}

static void a_ca_key_is_never_replaced(void **state) {
    struct folder *f = *state;
    struct tb_pki_ca other, back;

    assert_int_equal(tb_pki_ca_save(&f->ca, f->cert, f->key, &f->error), 0);
    assert_int_equal(tb_pki_ca_init("Other CA", 10, &other), 0);
    assert_int_equal(tb_pki_ca_save(&other, f->cert, f->key, &f->error), TB_ESTATE);
    assert_string_equal(f->error.file, f->key);
    assert_int_equal(tb_pki_ca_load(f->cert, f->key, &back, &f->error), 0); /* both as before */
    assert_int_equal(X509_cmp(back.cert, f->ca.cert), 0);
    tb_pki_ca_done(&other);
    tb_pki_ca_done(&back);
}

static void a_dangling_link_counts_as_a_key(void **state) {
    struct folder *f = *state;

    assert_int_equal(symlink("/nonexistent/elsewhere", f->key), 0);
    assert_int_equal(tb_pki_ca_save(&f->ca, f->cert, f->key, &f->error), TB_ESTATE);
}

static void files_that_do_not_belong_together_are_refused(void **state) {
    struct folder *f = *state;
    struct tb_pki_ca other, back = {NULL, NULL};

    assert_int_equal(tb_pki_ca_init("Other CA", 10, &other), 0);
    assert_int_equal(tb_pki_cert_save(f->ca.cert, f->cert, &f->error), 0);
    assert_int_equal(tb_pki_key_save(other.key, f->key, &f->error), 0);
    assert_int_equal(tb_pki_ca_load(f->cert, f->key, &back, &f->error), TB_EPARSE);
    assert_string_equal(f->error.file, f->key);
    assert_null(back.cert);
    tb_pki_ca_done(&other);
}

static void a_leaf_is_no_ca(void **state) {
    struct folder *f = *state;
    const struct tb_pki_request req = {
        .role = TB_PKI_CLIENT, .common_name = "x", .not_after_s = 1000};
    EVP_PKEY *key = EVP_EC_gen("P-256");
    struct tb_pki_ca back;
    X509 *cert;

    assert_int_equal(tb_pki_issue(&f->ca, key, &req, &cert), 0);
    assert_int_equal(tb_pki_cert_save(cert, f->cert, &f->error), 0);
    assert_int_equal(tb_pki_key_save(key, f->key, &f->error), 0);
    assert_int_equal(tb_pki_ca_load(f->cert, f->key, &back, &f->error), TB_EPARSE);
    assert_string_equal(f->error.file, f->cert);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static void certificates_and_keys_are_replaced_whole(void **state) {
    struct folder *f = *state;
    mode_t mask = umask(027);
    X509 *back;

    write_text(f->cert, "old");
    write_text(f->key, "old");
    assert_int_equal(chmod(f->key, 0644), 0);
    assert_int_equal(tb_pki_cert_save(f->ca.cert, f->cert, NULL), 0);
    assert_int_equal(tb_pki_key_save(f->ca.key, f->key, NULL), 0);
    umask(mask);
    assert_int_equal(mode_of(f->cert), 0640); /* the umask is respected */
    assert_int_equal(mode_of(f->key), 0600);
    assert_int_equal(for_each_file(f->path, NULL), 2);
    assert_int_equal(tb_pki_cert_load(f->cert, &back, NULL), 0);
    assert_int_equal(X509_cmp(back, f->ca.cert), 0);
    X509_free(back);
}

static void what_is_no_certificate_is_refused(void **state) {
    static const char *const texts[] = {
        "", "hello\n", "-----BEGIN CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"};
    struct folder *f = *state;
    X509 *cert = NULL;

    ERR_clear_error();
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        write_text(f->cert, texts[i]);
        assert_int_equal(tb_pki_cert_load(f->cert, &cert, &f->error), TB_EPARSE);
        assert_string_equal(f->error.file, f->cert);
        assert_string_equal(f->error.message, "no certificate in PEM form");
    }
    assert_null(cert);
    assert_int_equal(ERR_peek_error(), 0);
}

/* Nobody may be asked for a password: a daemon has no terminal. */
static void an_encrypted_key_is_refused(void **state) {
    struct folder *f = *state;
    struct tb_pki_ca back;
    FILE *out = fopen(f->key, "w");

    assert_int_equal(
        PEM_write_PKCS8PrivateKey(out, f->ca.key, EVP_aes_128_cbc(), "pass", 4, NULL, NULL), 1);
    fclose(out);
    assert_int_equal(tb_pki_cert_save(f->ca.cert, f->cert, &f->error), 0);
    assert_int_equal(tb_pki_ca_load(f->cert, f->key, &back, &f->error), TB_EPARSE);
    assert_string_equal(f->error.file, f->key);
}

static void missing_files_are_named(void **state) {
    struct folder *f = *state;
    struct tb_pki_ca back;
    X509 *cert;

    assert_int_equal(tb_pki_cert_load(f->other, &cert, &f->error), -ENOENT);
    assert_string_equal(f->error.file, f->other);
    assert_non_null(strstr(f->error.message, strerror(ENOENT)));
    assert_int_equal(tb_pki_cert_save(f->ca.cert, f->cert, &f->error), 0);
    assert_int_equal(tb_pki_ca_load(f->cert, f->other, &back, &f->error), -ENOENT);
    assert_string_equal(f->error.file, f->other);
}

static void what_cannot_be_written_leaves_nothing_behind(void **state) {
    struct folder *f = *state;
    char nowhere[128], endless[5000];

    snprintf(nowhere, sizeof nowhere, "%s/missing/ca.key", f->path);
    assert_int_equal(tb_pki_cert_save(f->ca.cert, nowhere, &f->error), -ENOENT);
    assert_int_equal(tb_pki_ca_save(&f->ca, f->cert, nowhere, &f->error), -ENOENT);
    assert_string_equal(f->error.file, nowhere);
    assert_int_equal(tb_pki_ca_save(&f->ca, nowhere, f->key, &f->error), -ENOENT);
    assert_string_equal(f->error.file, nowhere);
    memset(endless, 'x', sizeof endless - 1);
    endless[sizeof endless - 1] = '\0';
    assert_int_equal(tb_pki_key_save(f->ca.key, endless, &f->error), -ENAMETOOLONG);
    assert_int_equal(tb_pki_cert_save(f->ca.cert, f->path, &f->error), -EISDIR);
    assert_int_equal(for_each_file(f->path, NULL), 0);
}

int main(void) {
#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, drop_folder)
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(a_ca_comes_back_from_its_files),
        WITH_FOLDER(a_ca_key_is_never_replaced),
        WITH_FOLDER(a_dangling_link_counts_as_a_key),
        WITH_FOLDER(files_that_do_not_belong_together_are_refused),
        WITH_FOLDER(a_leaf_is_no_ca),
        WITH_FOLDER(certificates_and_keys_are_replaced_whole),
        WITH_FOLDER(what_is_no_certificate_is_refused),
        WITH_FOLDER(an_encrypted_key_is_refused),
        WITH_FOLDER(missing_files_are_named),
        WITH_FOLDER(what_cannot_be_written_leaves_nothing_behind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
