/* Runs *.apdu vector files: `> command` and `< answer` in hex, X for any nibble, `...` for any
 * bytes; blanks do not count. Lines that begin with @ set the scene:
 *
 *   @card [knob=value ...]   a new card, personalised by fixture.c, its profiles changed
 *   @reset                   warm reset
 *
 * A file begins with a default card. Everything else (#) is comment; `# spec:` names the clause. */
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"

enum { VARS = 16 };

struct var {
    char name[16];
    char hex[1024];
};

struct state {
    const char *path;
    int line, checks, failures;
    struct card *card;
    struct card_nvm *nvm;
    char *answer;
    struct var vars[VARS];
};

static void new_card(struct state *s, const char *knobs) {
    card_free(s->card);
    card_nvm_free(s->nvm);
    s->card = fx_card(knobs && *knobs ? knobs : NULL, &s->nvm);
}

static void squeeze(char *text) {
    char *to = text;

    for (; *text; text++)
        if (!isspace((unsigned char)*text))
            *to++ = *text;
    *to = '\0';
}

static struct var *find_var(struct state *s, const char *name, size_t n) {
    for (size_t i = 0; i < VARS; i++)
        if (strlen(s->vars[i].name) == n && strncmp(s->vars[i].name, name, n) == 0)
            return &s->vars[i];
    return NULL;
}

static void keep_var(struct state *s, const char *name, size_t n, const char *hex, size_t hex_n) {
    struct var *v = find_var(s, name, n);

    if (!v)
        v = find_var(s, "", 0);
    if (!v || n >= sizeof v->name || hex_n >= sizeof v->hex) {
        printf("%s:%d: too many or too long variables\n", s->path, s->line);
        s->failures++;
        return;
    }
    snprintf(v->name, sizeof v->name, "%.*s", (int)n, name);
    snprintf(v->hex, sizeof v->hex, "%.*s", (int)hex_n, hex);
}

/* {name} in a line becomes what it stands for; {name:N} is left alone. */
static const char *expand(struct state *s, const char *line) {
    static char text[131072];
    size_t n = 0;

    while (*line && n + 1 < sizeof text) {
        const char *end = *line == '{' ? strpbrk(line, ":}") : NULL;
        struct var *v = end && *end == '}' ? find_var(s, line + 1, (size_t)(end - line - 1)) : NULL;

        if (v) {
            n += (size_t)snprintf(text + n, sizeof text - n, "%s", v->hex);
            line = end + 1;
        } else {
            text[n++] = *line++;
        }
    }
    text[n] = '\0';
    return text;
}

/* Matches one part without "..."; *got moves behind it. */
static bool match_part(struct state *s, const char *want, size_t want_n, const char **got) {
    const char *g = *got, *end = want + want_n;

    while (want < end) {
        if (*want == '{') {
            const char *colon = strchr(want, ':');
            size_t n = colon ? 2 * (size_t)strtoul(colon + 1, NULL, 10) : 0;

            if (!colon || strlen(g) < n)
                return false;
            keep_var(s, want + 1, (size_t)(colon - want - 1), g, n);
            g += n;
            want = strchr(want, '}') + 1;
        } else {
            if (!*g || (*want != 'X' && *want != *g))
                return false;
            want++;
            g++;
        }
    }
    *got = g;
    return true;
}

static bool matches(struct state *s, const char *want, const char *got) {
    const char *dots = strstr(want, "..."), *tail;

    if (!match_part(s, want, dots ? (size_t)(dots - want) : strlen(want), &got))
        return false;
    if (!dots)
        return *got == '\0';
    tail = dots + 3;
    if (strlen(got) < strlen(tail))
        return false;
    got += strlen(got) - strlen(tail);
    return match_part(s, tail, strlen(tail), &got);
}

static void check(struct state *s, const char *want) {
    s->checks++;
    if (s->answer && matches(s, want, s->answer))
        return;
    s->failures++;
    printf("%s:%d: wanted %s\n%*s got    %s\n", s->path, s->line, want, (int)strlen(s->path) + 1,
           "", s->answer ? s->answer : "(no command)");
}

static void directive(struct state *s, char *text) {
    if (strncmp(text, "@card", 5) == 0) {
        char *knobs = text + 5;

        while (*knobs == ' ')
            knobs++;
        new_card(s, knobs);
    } else if (strcmp(text, "@reset") == 0) {
        if (card_reset(s->card) < 0)
            s->failures++;
    } else {
        printf("%s:%d: unknown directive %s\n", s->path, s->line, text);
        s->failures++;
    }
}

static void command(struct state *s, const char *hex) {
    free(s->answer);
    s->answer = strdup(fx_run(s->card, hex));
}

static int run_file(const char *path) {
    static char line[65536];
    struct state s = {.path = path};
    FILE *f = fopen(path, "r");

    if (!f) {
        perror(path);
        return -1;
    }
    new_card(&s, NULL);
    while (fgets(line, sizeof line, f)) {
        s.line++;
        line[strcspn(line, "#\r\n")] = '\0';
        for (size_t n = strlen(line); n > 0 && line[n - 1] == ' '; n--)
            line[n - 1] = '\0';
        if (line[0] == '@') {
            directive(&s, line);
        } else if (line[0] == '>' || line[0] == '<') {
            squeeze(line);
            if (line[0] == '>')
                command(&s, expand(&s, line + 1));
            else
                check(&s, expand(&s, line + 1));
        } else if (line[0]) {
            printf("%s:%d: neither command nor answer\n", path, s.line);
            s.failures++;
        }
    }
    fclose(f);
    card_free(s.card);
    card_nvm_free(s.nvm);
    free(s.answer);
    printf("%s: %d answers, %d wrong\n", path, s.checks, s.failures);
    return s.failures > 0 || s.checks == 0 ? -1 : 0;
}

int main(int argc, char **argv) {
    int r = argc < 2 ? 1 : 0;

    for (int i = 1; i < argc; i++)
        if (run_file(argv[i]) < 0)
            r = 1;
    return r;
}
