#include "tb/config.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ini.h>

/* inih keeps 50 bytes of a section's name and cuts longer ones silently. */
enum { MAX_SECTION = 49 };
#ifdef TB_INIH_LIMITS
enum { MAX_LINE = 8192 };
#endif

/* inih calls back with neither line numbers nor section starts (build options that distributions
 * leave off), and cuts long lines silently. All three are known to whoever hands it the lines: so
 * we do that. */
struct reader {
    FILE *f;
    const char *file;
    tb_config_fn *fn;
    void *user;
    struct tb_error *e;
    int line;
    int result;
    bool expected; /* an entry, from the line that inih has got last */
    char section[MAX_SECTION + 1];
};

static int complain(struct reader *r, int code, const char *message) {
    r->result = tb_error_set(r->e, code, r->file, r->line, "%s", message);
    return r->result;
}

static void hand_over(struct reader *r, const char *key, const char *value) {
    const struct tb_config_entry entry = {r->section, key, value, r->line};

    r->result = r->fn(&entry, r->file, r->e, r->user);
}

/* A line that begins with '[' begins a section. */
static void begin_section(struct reader *r, const char *line) {
    const char *end = strchr(line, ']');
    size_t n;

    if (!end) {
        complain(r, TB_EPARSE, "']' is missing");
        return;
    }
    n = (size_t)(end - line - 1);
    if (n == 0 || n > MAX_SECTION) {
        complain(r, TB_ERANGE, "a section's name has 1 to 49 characters");
        return;
    }
    if (end[1 + strspn(end + 1, " \t\r\n")] != '\0' && end[1 + strspn(end + 1, " \t")] != ';' &&
        end[1 + strspn(end + 1, " \t")] != '#') {
        complain(r, TB_EPARSE, "nothing may follow a section's name");
        return;
    }
    memcpy(r->section, line + 1, n);
    r->section[n] = '\0';
    hand_over(r, NULL, NULL);
}

/* Reads one line with its line end into dst[cap]. Its length, 0 at the end of the file, or
 * negative. */
static int read_line(struct reader *r, char *dst, int cap) {
    int n = 0, c = 0;

    while (c != '\n' && (c = getc(r->f)) != EOF) {
        if (c == '\0')
            return complain(r, TB_EPARSE, "a NUL byte: this is no text file");
        if (n + 2 > cap)
            return complain(r, TB_ERANGE, "the line is too long");
        dst[n++] = (char)c;
    }
    if (ferror(r->f))
        return complain(r, -errno, strerror(errno));
    dst[n] = '\0';
    return n;
}

/* The next line for inih, or NULL to end it. */
static char *next_line(char *dst, int cap, void *stream) {
    struct reader *r = stream;
    size_t skip = 0;
    int n;

    /* inih would go on behind a line that says nothing, and tell at the end. */
    if (r->expected && r->result == 0)
        complain(r, TB_EPARSE, "neither 'key = value' nor '[section]'");
    if (r->result < 0)
        return NULL;
    r->line++;
    n = read_line(r, dst, cap);
    if (n <= 0)
        return NULL;
    if (r->line == 1 && strncmp(dst, "\xEF\xBB\xBF", 3) == 0)
        skip = 3;
    /* Indentation is for people; to inih it would mean the continuation of a value. */
    skip += strspn(dst + skip, " \t");
    memmove(dst, dst + skip, (size_t)n - skip + 1);
    r->expected = !strchr("[;#\r\n", dst[0]); /* nor at the end of an unfinished last line */
    if (dst[0] == '[')
        begin_section(r, dst);
    return r->result < 0 ? NULL : dst;
}

static int on_entry(void *user, const char *section, const char *name, const char *value) {
    struct reader *r = user;

    (void)section; /* ours is the same, and known earlier */
    r->expected = false;
    if (r->result == 0 && name && value) {
        if (name[0] == '\0')
            complain(r, TB_EPARSE, "a name is missing before '='");
        else
            hand_over(r, name, value);
    }
    return r->result == 0;
}

int tb_config_read(const char *file, tb_config_fn *fn, void *user, struct tb_error *e) {
    struct reader r = {.file = file, .fn = fn, .user = user, .e = e};

    r.f = fopen(file, "re");
    if (!r.f)
        return tb_error_set(e, -errno, file, 0, "%s", strerror(errno));
#ifdef TB_INIH_LIMITS /* elsewhere the limit is fixed when inih is built, and a longer line        \
                         refused */
    ini_max_line = MAX_LINE;
    ini_use_stack = false;
    ini_initial_alloc = MAX_LINE;
#endif
    if (ini_parse_stream(next_line, &r, on_entry, &r) < 0)
        abort(); /* out of memory */
    fclose(r.f);
    return r.result;
}
