#pragma once
/* What the tests of this folder share. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tb/loop.h"
#include "tb/test.h"

/* A folder of its own for each test program run, removed by remove_dir(). */
static char test_dir[64];

static inline int make_dir(void **state) {
    (void)state;
    strcpy(test_dir, "/tmp/tb-XXXXXX");
    return mkdtemp(test_dir) ? 0 : -1;
}

static inline int remove_dir(void **state) {
    char command[128];

    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", test_dir);
    return system(command);
}

/* Valid until the fourth next call. */
static inline const char *in_dir(const char *name) {
    static char paths[4][256];
    static unsigned next;
    char *path = paths[next++ % 4];

    snprintf(path, sizeof paths[0], "%s/%s", test_dir, name);
    return path;
}

static inline void write_file(const char *path, const void *bytes, size_t n) {
    FILE *f = fopen(path, "we");

    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

static inline void write_text(const char *path, const char *text) {
    write_file(path, text, strlen(text));
}

/* The file as a heap string. */
static inline char *read_file(const char *path) {
    FILE *f = fopen(path, "re");
    char *text = NULL;
    size_t cap = 0;
    ssize_t n;

    if (!f)
        fail_msg("no file %s", path);
    n = getdelim(&text, &cap, '\0', f); /* to the end of a text */
    fclose(f);
    if (n < 0)
        text[0] = '\0';
    return text;
}

static inline void on_test_timeout(uv_timer_t *timer) {
    bool *passed = timer->data;

    *passed = true;
}

/* Runs the loop until *flag is not 0; fails the test after 20 s. */
static inline void run_until(uv_loop_t *loop, const int *flag) {
    uv_timer_t timer;
    bool too_late = false;

    uv_timer_init(loop, &timer);
    timer.data = &too_late;
    uv_timer_start(&timer, on_test_timeout, tb_timeout_ms(20000), 0);
    while (!*flag && !too_late)
        uv_run(loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(loop, UV_RUN_NOWAIT);
    assert_false(too_late);
}

/* Everything has been closed: the loop ends by itself. */
static inline void end_loop(uv_loop_t *loop) {
    uv_run(loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(loop), 0);
}
