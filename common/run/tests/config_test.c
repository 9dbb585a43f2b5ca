#include "tb/config.h"

#include <errno.h>

#include "helper.h"

struct seen {
    char text[4096];
    const char *stop_at; /* key that the callback refuses */
};

static int note(const struct tb_config_entry *entry, const char *file, struct tb_error *e,
                void *user) {
    struct seen *s = user;
    size_t n = strlen(s->text);

    assert_non_null(strstr(file, test_dir));
    if (!entry->key)
        snprintf(s->text + n, sizeof s->text - n, "%d [%s]\n", entry->line, entry->section);
    else
        snprintf(s->text + n, sizeof s->text - n, "%d %s.%s=%s\n", entry->line, entry->section,
                 entry->key, entry->value);
    if (s->stop_at && entry->key && strcmp(entry->key, s->stop_at) == 0)
        return tb_error_set(e, TB_ERANGE, file, entry->line, "no %s here", entry->key);
    return 0;
}

static int read_text(const char *text, struct seen *s, struct tb_error *e) {
    s->text[0] = '\0';
    *e = (struct tb_error){0};
    write_text(in_dir("x.ini"), text);
    return tb_config_read(in_dir("x.ini"), note, s, e);
}

static void assert_reads(const char *text, const char *wanted) {
    struct seen s = {0};
    struct tb_error e;

    assert_int_equal(read_text(text, &s, &e), 0);
    assert_string_equal(s.text, wanted);
}

static void assert_fails(const char *text, int line, const char *message) {
    struct seen s = {0};
    struct tb_error e;

    assert_true(read_text(text, &s, &e) < 0);
    assert_string_equal(e.message, message);
    assert_int_equal(e.line, line);
    assert_string_equal(e.file, in_dir("x.ini"));
}

static void entries_come_in_order_with_their_lines(void **state) {
    (void)state;
    assert_reads("a = 1\n\n# comment\n[s]\n; comment\nb=2\n[t]\nb : 3\n",
                 "1 .a=1\n4 [s]\n6 s.b=2\n7 [t]\n8 t.b=3\n");
}

static void equal_and_empty_sections_are_told_apart(void **state) {
    (void)state;
    assert_reads("[file]\n[file]\na=1\n[file]\na=2\n",
                 "1 [file]\n2 [file]\n3 file.a=1\n4 [file]\n5 file.a=2\n");
}

static void blanks_comments_and_line_ends_mean_nothing(void **state) {
    (void)state;
    assert_reads("\xEF\xBB\xBF  a\t=  x y  ; comment\r\n   b = p;q#r\n\t[s] ; c\n  c=\n  d = \"z\"",
                 "1 .a=x y\n2 .b=p;q#r\n3 [s]\n4 s.c=\n5 s.d=\"z\"\n");
    assert_reads("", "");
    assert_reads("\n\n", "");
    assert_reads("# only this", "");
}

static void indented_line_does_not_continue_a_value(void **state) {
    (void)state;
    assert_reads("a = 1\n  b = 2\n", "1 .a=1\n2 .b=2\n");
    assert_fails("a = 1\n  more\n", 2, "neither 'key = value' nor '[section]'");
}

static void mistakes_are_named_with_their_line(void **state) {
    (void)state;
    assert_fails("a=1\nnothing\nb=2\n", 2, "neither 'key = value' nor '[section]'");
    assert_fails("a=1\n[open\n", 2, "']' is missing");
    assert_fails("[]\n", 1, "a section's name has 1 to 49 characters");
    assert_fails("[12345678901234567890123456789012345678901234567890]\n", 1,
                 "a section's name has 1 to 49 characters");
    assert_fails("[s] a = 1\n", 1, "nothing may follow a section's name");
    assert_fails("\n\n= 5\n", 3, "a name is missing before '='");
}

static void first_mistake_ends_it(void **state) {
    struct seen s = {.stop_at = "b"};
    struct tb_error e;

    (void)state;
    assert_int_equal(read_text("a=1\nb=2\nc=3\nnothing\n", &s, &e), TB_ERANGE);
    assert_string_equal(s.text, "1 .a=1\n2 .b=2\n");
    assert_string_equal(e.message, "no b here");
    assert_int_equal(e.line, 2);
}

static void long_values_are_whole_or_refused(void **state) {
    char text[9000] = "key = ";
    struct seen s = {0};
    struct tb_error e;

    (void)state;
    memset(text + 6, 'v', 3000);
    memcpy(text + 3006, "\nb=1\n", 6);
    assert_int_equal(read_text(text, &s, &e), 0);
    assert_int_equal(strspn(s.text + strlen("1 .key="), "v"), 3000);
    memset(text + 6, 'v', 8500);
    memcpy(text + 8506, "\nb=1\n", 6);
    assert_fails(text, 1, "the line is too long");
}

static void binary_is_refused(void **state) {
    struct seen s = {0};
    struct tb_error e;

    (void)state;
    write_file(in_dir("x.ini"), "a=1\nb=\0x\n", 9);
    assert_int_equal(tb_config_read(in_dir("x.ini"), note, &s, &e), TB_EPARSE);
    assert_string_equal(e.message, "a NUL byte: this is no text file");
    assert_int_equal(e.line, 2);
}

static void unreadable_file_is_named(void **state) {
    struct seen s = {0};
    struct tb_error e;

    (void)state;
    assert_int_equal(tb_config_read(in_dir("none"), note, &s, &e), -ENOENT);
    assert_string_equal(e.message, "No such file or directory");
    assert_string_equal(e.file, in_dir("none"));
    assert_int_equal(e.line, 0);
    assert_int_equal(tb_config_read(test_dir, note, &s, &e), -EISDIR);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_come_in_order_with_their_lines),
        cmocka_unit_test(equal_and_empty_sections_are_told_apart),
        cmocka_unit_test(blanks_comments_and_line_ends_mean_nothing),
        cmocka_unit_test(indented_line_does_not_continue_a_value),
        cmocka_unit_test(mistakes_are_named_with_their_line),
        cmocka_unit_test(first_mistake_ends_it),
        cmocka_unit_test(long_values_are_whole_or_refused),
        cmocka_unit_test(binary_is_refused),
        cmocka_unit_test(unreadable_file_is_named),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
