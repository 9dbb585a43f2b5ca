#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/stat.h>
#include <termios.h>

#include "helper.h"
#include "tb/pty.h"

struct line {
    uv_loop_t loop;
    struct tb_pty *pty;
    char got[1 << 18];
    size_t n_got;
    size_t keep;    /* bytes that on_data leaves */
    int came, left; /* calls of on_clients */
    int news;       /* anything happened */
    int closed, why, drained;
    bool echo;
};

static size_t on_data(struct tb_pty *p, struct tb_span data, void *user) {
    struct line *l = user;
    size_t n = data.n > l->keep ? data.n - l->keep : 0;

    assert_true(l->n_got + n <= sizeof l->got);
    memcpy(l->got + l->n_got, data.p, n);
    l->n_got += n;
    l->news = 1;
    if (l->echo)
        assert_true(tb_pty_write(p, &data, 1) >= 0);
    return n;
}

static void on_clients(struct tb_pty *p, bool present, void *user) {
    struct line *l = user;

    (void)p;
    l->news = 1;
    if (present)
        l->came++;
    else
        l->left++;
}

static void on_closed(int why, void *user) {
    struct line *l = user;

    l->closed++;
    l->why = why;
    l->news = 1;
}

static void on_drain(struct tb_pty *p, void *user) {
    struct line *l = user;

    (void)p;
    l->drained++;
    l->news = 1;
}

static const struct tb_pty_ops ops = {on_data, on_clients, on_drain, on_closed};

static int open_line(void **state) {
    struct line *l = calloc(1, sizeof *l);

    if (make_dir(state) < 0 || !l)
        return -1;
    uv_loop_init(&l->loop);
    assert_int_equal(tb_pty_open(&l->loop, in_dir("tty"), &ops, l, &l->pty, NULL), 0);
    *state = l;
    return 0;
}

static int close_line(void **state) {
    struct line *l = *state;

    if (l->pty && !l->closed)
        tb_pty_close(l->pty, 0);
    end_loop(&l->loop);
    assert_int_equal(l->closed, 1);
    free(l);
    return remove_dir(state);
}

static int client(void) {
    int fd = open(in_dir("tty"), O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

static void until(struct line *l, const int *counter, int value) {
    while (*counter < value) {
        l->news = 0;
        run_until(&l->loop, &l->news);
    }
    assert_int_equal(*counter, value);
}

static void until_got(struct line *l, const char *text) {
    while (l->n_got < strlen(text)) {
        l->news = 0;
        run_until(&l->loop, &l->news);
    }
    assert_int_equal(l->n_got, strlen(text));
    assert_memory_equal(l->got, text, l->n_got);
    l->n_got = 0;
}

/* Reads until n bytes have come, running the loop meanwhile. */
static void read_exactly(struct line *l, int fd, char *dst, size_t n) {
    uint64_t end = tb_clock_mono_ms() + tb_timeout_ms(20000);

    for (size_t have = 0; have < n;) {
        ssize_t r = read(fd, dst + have, n - have);

        if (r > 0) {
            have += (size_t)r;
            continue;
        }
        assert_true(r < 0 && errno == EAGAIN);
        assert_true(tb_clock_mono_ms() < end);
        uv_run(&l->loop, UV_RUN_NOWAIT);
    }
}

static void is_raw_before_anybody_comes(void **state) {
    struct line *l = *state;
    struct termios t;
    int fd = client();

    assert_int_equal(tcgetattr(fd, &t), 0);
    assert_int_equal(t.c_lflag & (tcflag_t)(ECHO | ICANON | ISIG | IEXTEN), 0);
    assert_int_equal(t.c_iflag & (tcflag_t)(ICRNL | INLCR | IXON), 0);
    assert_int_equal(t.c_oflag & (tcflag_t)OPOST, 0);
    close(fd);
    (void)l;
}

static void link_leads_to_the_slave(void **state) {
    struct line *l = *state;
    char target[128] = "";

    assert_true(readlink(in_dir("tty"), target, sizeof target - 1) > 0);
    assert_string_equal(target, tb_pty_slave(l->pty));
}

static void bytes_pass_both_ways_unchanged(void **state) {
    struct line *l = *state;
    char all[256], back[256];
    int fd = client();

    for (int i = 0; i < 256; i++)
        all[i] = (char)i;
    l->echo = true;
    assert_int_equal(write(fd, all, sizeof all), sizeof all);
    read_exactly(l, fd, back, sizeof back);
    assert_memory_equal(all, back, sizeof all);
    close(fd);
    until(l, &l->left, 1);
}

static void clients_come_and_go(void **state) {
    struct line *l = *state;

    for (int i = 1; i <= 5; i++) {
        int fd = client();

        until(l, &l->came, i);
        close(fd);
        until(l, &l->left, i);
    }
}

static void two_clients_are_present_until_the_last_leaves(void **state) {
    struct line *l = *state;
    int a = client(), b = client();

    until(l, &l->came, 1);
    close(a);
    assert_int_equal(write(b, "x", 1), 1);
    until_got(l, "x");
    assert_int_equal(l->left, 0);
    a = client();
    close(b);
    assert_int_equal(write(a, "y", 1), 1);
    until_got(l, "y");
    assert_int_equal(l->left, 0);
    close(a);
    until(l, &l->left, 1);
    assert_int_equal(l->came, 1);
}

static void last_words_of_a_client_arrive(void **state) {
    struct line *l = *state;
    int fd = client();

    /* Open, write and close before we look: as `echo AT > tty`. */
    assert_int_equal(write(fd, "AT\r", 3), 3);
    close(fd);
    until(l, &l->left, 1);
    until_got(l, "AT\r");
    assert_int_equal(l->came, 1);
}

static void client_gone_without_a_word_is_no_news(void **state) {
    struct line *l = *state;

    close(client());
    assert_int_equal(l->came, 0);
    close(client());
    for (int i = 0; i < 20; i++)
        uv_run(&l->loop, UV_RUN_NOWAIT);
    assert_int_equal(l->came, l->left);
}

static void output_without_a_client_is_dropped(void **state) {
    struct line *l = *state;
    const struct tb_span old = tb_span_str("old news"), new = tb_span_str("new");
    char got[16];
    int fd;

    assert_int_equal(tb_pty_write(l->pty, &old, 1), 1);
    fd = client();
    until(l, &l->came, 1);
    assert_int_equal(tb_pty_write(l->pty, &new, 1), 1);
    read_exactly(l, fd, got, 3);
    assert_memory_equal(got, "new", 3);
    assert_int_equal(read(fd, got, sizeof got), -1);
    close(fd);
}

static void unread_output_does_not_reach_the_next_client(void **state) {
    struct line *l = *state;
    char *much = calloc(1, 100000), got[16];
    const struct tb_span old = tb_span(much, 100000), new = tb_span_str("new");
    int fd = client();

    until(l, &l->came, 1);
    assert_true(tb_pty_write(l->pty, &old, 1) >= 0); /* fills the kernel's buffers and our queue */
    uv_run(&l->loop, UV_RUN_NOWAIT);
    close(fd);
    until(l, &l->left, 1);
    fd = client();
    until(l, &l->came, 2);
    assert_int_equal(tb_pty_write(l->pty, &new, 1), 1);
    read_exactly(l, fd, got, 3);
    assert_memory_equal(got, "new", 3);
    close(fd);
    free(much);
}

static void half_a_command_does_not_reach_the_next_client(void **state) {
    struct line *l = *state;
    int fd = client();

    l->keep = 100;
    assert_int_equal(write(fd, "AT+CS", 5), 5);
    close(fd);
    until(l, &l->left, 1);
    assert_int_equal(l->n_got, 0);
    l->keep = 0;
    fd = client();
    assert_int_equal(write(fd, "AT\r", 3), 3);
    until_got(l, "AT\r");
    close(fd);
}

static void settings_of_a_client_end_with_it(void **state) {
    struct line *l = *state;
    struct termios t;
    int fd = client();

    assert_int_equal(tcgetattr(fd, &t), 0);
    t.c_lflag |= ECHO | ICANON;
    assert_int_equal(tcsetattr(fd, TCSANOW, &t), 0);
    until(l, &l->came, 1);
    close(fd);
    until(l, &l->left, 1);
    is_raw_before_anybody_comes(state);
}

static void slow_reader_gets_everything_in_order(void **state) {
    struct line *l = *state;
    const size_t n = 300000;
    unsigned char *much = malloc(n), *got = malloc(n);
    int fd = client(), room = 1;

    for (size_t i = 0; i < n; i++)
        much[i] = (unsigned char)(i * 7 + i / 251);
    until(l, &l->came, 1);
    for (size_t at = 0; at < n; at += 1000) {
        const struct tb_span pieces[] = {tb_span(much + at, 300), tb_span(much + at + 300, 700)};

        room = tb_pty_write(l->pty, pieces, 2);
        assert_true(room >= 0);
    }
    assert_int_equal(room, 0); /* the high mark is passed */
    read_exactly(l, fd, (char *)got, n);
    assert_memory_equal(got, much, n);
    assert_int_equal(l->drained, 1);
    close(fd);
    free(much);
    free(got);
}

static void overrun_drops_bytes_but_keeps_the_line(void **state) {
    struct line *l = *state;
    char *much = calloc(1, 1 << 19);
    const struct tb_span block = tb_span(much, 1 << 19);
    int fd = client(), r = 0;

    until(l, &l->came, 1);
    for (int i = 0; i < 3 && r >= 0; i++)
        r = tb_pty_write(l->pty, &block, 1);
    assert_int_equal(r, UV_ENOBUFS);
    assert_int_equal(write(fd, "AT\r", 3), 3);
    until_got(l, "AT\r");
    assert_int_equal(l->closed, 0);
    close(fd);
    free(much);
}

static void input_nobody_consumes_closes_the_line(void **state) {
    struct line *l = *state;
    char block[4096] = "";
    int fd = client();

    l->keep = SIZE_MAX;
    while (!l->closed) {
        if (write(fd, block, sizeof block) < 0)
            assert_true(errno == EAGAIN || errno == EIO);
        uv_run(&l->loop, UV_RUN_NOWAIT);
    }
    assert_int_equal(l->why, TB_ERANGE);
    close(fd);
}

static void link_is_replaced_and_removed(void **state) {
    struct line *l = *state;
    struct line other = {0};
    char target[128] = "";
    struct stat st;

    /* A second line takes the name over, as after a crash of the first program. */
    assert_int_equal(tb_pty_open(&l->loop, in_dir("tty"), &ops, &other, &other.pty, NULL), 0);
    assert_true(readlink(in_dir("tty"), target, sizeof target - 1) > 0);
    assert_string_equal(target, tb_pty_slave(other.pty));
    tb_pty_close(l->pty, 0); /* not its link any more */
    assert_int_equal(lstat(in_dir("tty"), &st), 0);
    tb_pty_close(other.pty, 0);
    assert_int_equal(lstat(in_dir("tty"), &st), -1);
    uv_run(&l->loop, UV_RUN_DEFAULT);
    assert_int_equal(other.closed, 1);
}

static void file_in_the_links_place_is_refused(void **state) {
    struct line *l = *state;
    struct tb_pty *p = NULL;
    struct tb_error e = {0};
    char *text;

    write_text(in_dir("file"), "precious");
    assert_int_equal(tb_pty_open(&l->loop, in_dir("file"), &ops, l, &p, &e), -EEXIST);
    assert_null(p);
    assert_string_equal(e.message, "exists and is no symbolic link");
    text = read_file(in_dir("file"));
    assert_string_equal(text, "precious");
    free(text);
    assert_int_equal(tb_pty_open(&l->loop, in_dir("no/such"), &ops, l, &p, &e), -ENOENT);
}

static void pause_stops_input_and_resume_offers_it(void **state) {
    struct line *l = *state;
    int fd = client();

    until(l, &l->came, 1);
    tb_pty_pause(l->pty);
    assert_int_equal(write(fd, "AT\r", 3), 3);
    for (int i = 0; i < 5; i++)
        uv_run(&l->loop, UV_RUN_NOWAIT);
    assert_int_equal(l->n_got, 0);
    tb_pty_resume(l->pty);
    until_got(l, "AT\r");
    close(fd);
    until(l, &l->left, 1);
}

static void client_that_leaves_a_paused_line_costs_nothing(void **state) {
    struct line *l = *state;
    char *much = calloc(1, 100000);
    const struct tb_span block = tb_span(much, 100000);
    struct pollfd loop_fd = {.fd = uv_backend_fd(&l->loop), .events = POLLIN};
    int fd = client();

    until(l, &l->came, 1);
    assert_int_equal(tb_pty_write(l->pty, &block, 1), 0);
    tb_pty_pause(l->pty);
    assert_int_equal(write(fd, "bye", 3), 3);
    close(fd);
    for (int i = 0; i < 5; i++)
        uv_run(&l->loop, UV_RUN_NOWAIT);
    assert_int_equal(poll(&loop_fd, 1, 0), 0); /* the loop sleeps */
    assert_int_equal(l->drained, 1);
    assert_int_equal(l->left, 0); /* its last words come first */
    tb_pty_resume(l->pty);
    until(l, &l->left, 1);
    until_got(l, "bye");
    free(much);
}

static void close_with_a_client_present(void **state) {
    struct line *l = *state;
    int fd = client();

    until(l, &l->came, 1);
    tb_pty_close(l->pty, 7);
    tb_pty_close(l->pty, 8);
    assert_int_equal(tb_pty_write(l->pty, NULL, 0), TB_ECLOSED);
    until(l, &l->closed, 1);
    assert_int_equal(l->why, 7);
    close(fd);
}

#define LINE_TEST(f) cmocka_unit_test_setup_teardown(f, open_line, close_line)

int main(void) {
    const struct CMUnitTest tests[] = {
        LINE_TEST(is_raw_before_anybody_comes),
        LINE_TEST(link_leads_to_the_slave),
        LINE_TEST(bytes_pass_both_ways_unchanged),
        LINE_TEST(clients_come_and_go),
        LINE_TEST(two_clients_are_present_until_the_last_leaves),
        LINE_TEST(last_words_of_a_client_arrive),
        LINE_TEST(client_gone_without_a_word_is_no_news),
        LINE_TEST(output_without_a_client_is_dropped),
        LINE_TEST(unread_output_does_not_reach_the_next_client),
        LINE_TEST(half_a_command_does_not_reach_the_next_client),
        LINE_TEST(settings_of_a_client_end_with_it),
        LINE_TEST(slow_reader_gets_everything_in_order),
        LINE_TEST(overrun_drops_bytes_but_keeps_the_line),
        LINE_TEST(input_nobody_consumes_closes_the_line),
        LINE_TEST(link_is_replaced_and_removed),
        LINE_TEST(file_in_the_links_place_is_refused),
        LINE_TEST(pause_stops_input_and_resume_offers_it),
        LINE_TEST(client_that_leaves_a_paused_line_costs_nothing),
        LINE_TEST(close_with_a_client_present),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
