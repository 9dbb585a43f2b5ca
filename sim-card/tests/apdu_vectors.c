/* Runs *.apdu vector files: `> command` and `< answer` in hex, X for any nibble, `...` for any
 * bytes; blanks do not count. Lines that begin with @ set the scene:
 *
 *   @card [knob=value ...]   a new card, personalised by fixture.c, its profiles changed
 *   @reset                   warm reset
 *
 * A file begins with a default card. Everything else (#) is comment; `# spec:` names the clause. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"

struct state {
    const char *path;
    int line, checks, failures;
    struct card *card;
    struct card_nvm *nvm;
    char *answer;
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
            *to++ = (char)toupper((unsigned char)*text);
    *to = '\0';
}

/* want may hold one "..." */
static bool matches(const char *want, const char *got) {
    const char *dots = strstr(want, "...");
    size_t head = dots ? (size_t)(dots - want) : strlen(want), tail = dots ? strlen(dots + 3) : 0;
    size_t n = strlen(got);

    if (dots ? n < head + tail : n != head)
        return false;
    for (size_t i = 0; i < head; i++)
        if (want[i] != 'X' && want[i] != got[i])
            return false;
    for (size_t i = 0; i < tail; i++)
        if (dots[3 + i] != 'X' && dots[3 + i] != got[n - tail + i])
            return false;
    return true;
}

static void check(struct state *s, const char *want) {
    s->checks++;
    if (s->answer && matches(want, s->answer))
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
    const char *answer = fx_run(s->card, hex);

    free(s->answer);
    s->answer = malloc(strlen(answer) + 1);
    if (s->answer)
        strcpy(s->answer, answer);
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
                command(&s, line + 1);
            else
                check(&s, line + 1);
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
