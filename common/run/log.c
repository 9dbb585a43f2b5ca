#include "tb/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tb/cli.h"
#include "tb/loop.h"
#include "tb/span.h"

enum { MAX_COMPONENTS = 32, MAX_NAME = 32, MAX_LINE = 4096 };

static const char *const level_names[] = {"error", "warn", "info", "debug", NULL};

/* Set once at start, before threads: read without a lock afterwards. */
static struct setup {
    enum tb_log_level level;
    bool json;
    unsigned n;
    struct {
        char name[MAX_NAME];
        enum tb_log_level level;
    } component[MAX_COMPONENTS];
} setup = {.level = TB_LOG_INFO};

static int parse_level(const char *text, size_t n, enum tb_log_level *ret, struct tb_error *e) {
    char name[MAX_NAME];
    const char *near;

    for (unsigned i = 0; level_names[i]; i++) {
        if (strlen(level_names[i]) == n && memcmp(level_names[i], text, n) == 0) {
            *ret = (enum tb_log_level)i;
            return 0;
        }
    }
    snprintf(name, sizeof name, "%.*s", (int)n, text);
    near = tb_nearest(name, level_names);
    return tb_error_set(e, TB_EPARSE, NULL, 0, "unknown log level '%s'%s%s%s", name,
                        near ? ": did you mean '" : " (error, warn, info, debug)", near ? near : "",
                        near ? "'?" : "");
}

/* One item of the list: "level" or "component=level". */
static int parse_item(struct setup *s, const char *item, size_t n, struct tb_error *e) {
    const char *eq = memchr(item, '=', n);
    size_t name_n = eq ? (size_t)(eq - item) : 0;

    if (!eq)
        return parse_level(item, n, &s->level, e);
    if (name_n == 0 || name_n >= MAX_NAME)
        return tb_error_set(e, TB_EPARSE, NULL, 0, "bad component in log level '%.*s'", (int)n,
                            item);
    if (s->n == MAX_COMPONENTS)
        return tb_error_set(e, TB_ERANGE, NULL, 0, "more than %d components in the log level",
                            MAX_COMPONENTS);
    memcpy(s->component[s->n].name, item, name_n);
    s->component[s->n].name[name_n] = '\0';
    s->n++;
    return parse_level(eq + 1, n - name_n - 1, &s->component[s->n - 1].level, e);
}

int tb_log_setup(const char *spec, int json, struct tb_error *e) {
    struct setup s = {.level = TB_LOG_INFO, .json = json != 0};

    while (*spec) {
        size_t n = strcspn(spec, ",");
        int r = parse_item(&s, spec, n, e);

        if (r < 0)
            return r;
        spec += n;
        if (*spec == ',')
            spec++;
    }
    setup = s;
    return 0;
}

int tb_log_enabled(const char *component, enum tb_log_level level) {
    /* The last mention wins. */
    for (unsigned i = setup.n; i > 0; i--)
        if (strcmp(setup.component[i - 1].name, component) == 0)
            return level <= setup.component[i - 1].level;
    return level <= setup.level;
}

/* Appends text so that it stays one line: whoever sends us bytes must not be able to forge a line
 * of the log. */
static void put_plain(struct tb_buf *b, const char *text) {
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;

        if (c < 0x20 || c == 0x7F) {
            char hex[5];

            snprintf(hex, sizeof hex, "\\x%02x", c);
            tb_put(b, tb_span_str(hex));
        } else {
            tb_put_u8(b, c);
        }
    }
}

/* As the inside of a JSON string. Bytes that are no ASCII become U+00xx: a log line is valid JSON
 * whatever is in it. */
static void put_json(struct tb_buf *b, const char *text) {
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;

        if (c == '"' || c == '\\') {
            tb_put_u8(b, '\\');
            tb_put_u8(b, c);
        } else if (c < 0x20 || c >= 0x7F) {
            char hex[7];

            snprintf(hex, sizeof hex, "\\u%04x", c);
            tb_put(b, tb_span_str(hex));
        } else {
            tb_put_u8(b, c);
        }
    }
}

void tb_log(const char *component, enum tb_log_level level, const char *fmt, ...) {
    char message[MAX_LINE / 8], head[128];
    uint8_t line[MAX_LINE];
    struct tb_buf b = TB_BUF(line);
    uint64_t now = tb_clock_mono_ms();
    int saved = errno, n;
    va_list ap;

    if (!tb_log_enabled(component, level))
        return;
    va_start(ap, fmt);
    n = vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    if (n < 0)
        snprintf(message, sizeof message, "(unprintable)");
    else if ((size_t)n >= sizeof message)
        memcpy(message + sizeof message - 4, "...", 4);
    if (setup.json) {
        snprintf(
            head, sizeof head,
            "{\"ts\":%lld,\"mono\":%llu,\"level\":\"%s\",\"component\":\"%.32s\",\"message\":\"",
            (long long)tb_clock_wall_ms(), (unsigned long long)now, level_names[level], component);
        tb_put(&b, tb_span_str(head));
        put_json(&b, message);
        tb_put(&b, tb_span_str("\"}\n"));
    } else {
        snprintf(head, sizeof head, "%llu.%03u %s %.32s: ", (unsigned long long)(now / 1000),
                 (unsigned)(now % 1000), level_names[level], component);
        tb_put(&b, tb_span_str(head));
        put_plain(&b, message);
        tb_put_u8(&b, '\n');
    }
    /* One write per line: lines of several threads and processes do not mix. A log that cannot be
     * written is not worth ending for. */
    if (write(STDERR_FILENO, line, b.n) < 0) {
    }
    errno = saved;
}
