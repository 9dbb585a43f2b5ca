#include "tb/trace.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "helper.h"

/* Walks the blocks of a capture; returns the number of packets, checking that every block is whole.
 */
static unsigned packets(const char *path, uint32_t *ret_last_packet_len) {
    FILE *f = fopen(path, "re");
    uint32_t head[2], tail, fixed[5];
    unsigned n = 0;

    assert_non_null(f);
    while (fread(head, 4, 2, f) == 2) {
        assert_true(head[1] >= 12 && head[1] % 4 == 0);
        if (head[0] == 6) {
            n++;
            assert_int_equal(fread(fixed, 4, 5, f), 5);
            assert_int_equal(fseek(f, -20, SEEK_CUR), 0);
            *ret_last_packet_len = fixed[4];
        }
        assert_int_equal(fseek(f, (long)head[1] - 12, SEEK_CUR), 0);
        assert_int_equal(fread(&tail, 4, 1, f), 1);
        assert_int_equal(tail, head[1]);
    }
    assert_true(feof(f));
    fclose(f);
    return n;
}

static const struct tb_span select_mf = {(const uint8_t[]){0x00, 0xA4, 0x00, 0x0C, 2, 0x3F, 0x00},
                                         7};
static const struct tb_span ok = {(const uint8_t[]){0x90, 0x00}, 2};

static struct tb_trace *open_trace(const char *program) {
    struct tb_trace *t;
    struct tb_error e;

    assert_int_equal(tb_trace_open(in_dir("a.pcapng"), program, &t, &e), 0);
    return t;
}

static void records_are_whole_for_all_lengths(void **state) {
    struct tb_trace *t = open_trace("test");
    uint8_t bytes[300];
    uint32_t len = 0;

    (void)state;
    memset(bytes, 0x5A, sizeof bytes);
    for (size_t n = 4; n < 20; n++) {
        char comment[32];

        snprintf(comment, sizeof comment, "%.*s", (int)n, "abcdefghijklmnopqrstuvw");
        tb_trace_apdu(t, tb_span(bytes, n), tb_span(bytes, n / 2), comment);
        assert_int_equal(packets(in_dir("a.pcapng"), &len), n - 3); /* flushed at once */
        assert_int_equal(len, 44 + n + n / 2);
    }
    tb_trace_close(t);
    tb_trace_close(NULL);
}

static void capture_is_continued(void **state) {
    struct tb_trace *t = open_trace("one");
    uint32_t len;

    (void)state;
    tb_trace_apdu(t, select_mf, ok, NULL);
    tb_trace_close(t);
    t = open_trace("two");
    tb_trace_apdu(t, select_mf, ok, "");
    tb_trace_close(t);
    assert_int_equal(packets(in_dir("a.pcapng"), &len), 2);
}

static void overlong_exchange_and_comment_are_cut(void **state) {
    struct tb_trace *t = open_trace("test");
    uint8_t *bytes = calloc(1, 66000);
    char comment[1000];
    uint32_t len;

    (void)state;
    memset(comment, 'c', sizeof comment - 1);
    comment[sizeof comment - 1] = '\0';
    tb_trace_apdu(t, tb_span(bytes, 65535), tb_span(bytes, 65536), comment);
    tb_trace_apdu(t, select_mf, tb_span(bytes, 66000), comment);
    tb_trace_close(t);
    assert_int_equal(packets(in_dir("a.pcapng"), &len), 2);
    assert_int_equal(len, 65535);
    free(bytes);
}

static void foreign_file_is_refused_and_left_alone(void **state) {
    struct tb_trace *t = NULL;
    struct tb_error e;
    char *text;

    (void)state;
    write_text(in_dir("a.pcapng"), "my diary");
    assert_int_equal(tb_trace_open(in_dir("a.pcapng"), "test", &t, &e), TB_EPROTO);
    assert_string_equal(e.message, "exists and is no capture of this testbed");
    assert_null(t);
    text = read_file(in_dir("a.pcapng"));
    assert_string_equal(text, "my diary");
    free(text);
    assert_int_equal(tb_trace_open(in_dir("no/such"), "test", &t, &e), -ENOENT);
}

static void programs_that_start_together_share_a_file(void **state) {
    enum { PROGRAMS = 8, RECORDS = 200 };
    uint32_t len;
    int status;

    (void)state;
    for (int i = 0; i < PROGRAMS; i++) {
        if (fork() == 0) {
            struct tb_trace *t;
            uint8_t bytes[2000] = {0};

            if (tb_trace_open(in_dir("a.pcapng"), "child", &t, NULL) < 0)
                _exit(1);
            for (size_t n = 0; n < RECORDS; n++)
                tb_trace_apdu(t, tb_span(bytes, 5 + n * 7), ok, NULL);
            tb_trace_close(t);
            _exit(0);
        }
    }
    for (int i = 0; i < PROGRAMS; i++) {
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    assert_int_equal(packets(in_dir("a.pcapng"), &len), PROGRAMS * RECORDS);
}

static void full_disk_ends_the_capture_not_the_program(void **state) {
    int status;

    (void)state;
    if (fork() == 0) {
        const struct rlimit limit = {1000, 1000};
        struct tb_trace *t = open_trace("test");

        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &limit);
        if (!freopen("/dev/null", "w", stderr))
            _exit(1);
        for (int i = 0; i < 100; i++)
            tb_trace_apdu(t, select_mf, ok, NULL);
        tb_trace_close(t);
        _exit(0);
    }
    assert_true(wait(&status) > 0);
    assert_int_equal(status, 0);
}

#define DIR_TEST(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)

/* For trace_test.py: a capture that tshark is to read. */
static int write_sample(const char *path, const char *program) {
    struct tb_error e;
    struct tb_trace *t;

    if (tb_trace_open(path, program, &t, &e) < 0) {
        fprintf(stderr, "%s\n", e.message);
        return 1;
    }
    tb_trace_apdu(t, TB_BYTES(0x00, 0xA4, 0x04, 0x00, 7, 0xA0, 0, 0, 0, 0x87, 0x10, 0x02),
                  TB_BYTES(0x61, 0x10), "csim");
    tb_trace_apdu(t, TB_BYTES(0x00, 0xB0, 0x00, 0x00, 5), TB_BYTES(1, 2, 3, 4, 5, 0x90, 0x00),
                  NULL);
    tb_trace_apdu(t, TB_BYTES(0x81, 0x84, 0x00, 0x00, 8), TB_BYTES(0x6A, 0x82), "get random");
    tb_trace_close(t);
    return 0;
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        DIR_TEST(records_are_whole_for_all_lengths),
        DIR_TEST(capture_is_continued),
        DIR_TEST(overlong_exchange_and_comment_are_cut),
        DIR_TEST(foreign_file_is_refused_and_left_alone),
        DIR_TEST(programs_that_start_together_share_a_file),
        DIR_TEST(full_disk_ends_the_capture_not_the_program),
    };

    if (argc == 3)
        return write_sample(argv[1], argv[2]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
