/* "Did you mean …?" */
#include <ctype.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "tb/cli.h"

enum { LONGEST = 48 };

static unsigned min3(unsigned a, unsigned b, unsigned c) {
    unsigned m = a < b ? a : b;

    return m < c ? m : c;
}

/* Edits between a and b, a swap of neighbours counting as one (optimal string alignment). */
static unsigned distance(const char *a, const char *b) {
    unsigned row[3][LONGEST + 1], *before = row[0], *last = row[1], *now = row[2];
    size_t n = strlen(a), m = strlen(b);

    if (n > LONGEST || m > LONGEST)
        return UINT_MAX;
    for (unsigned j = 0; j <= m; j++)
        last[j] = j;
    for (size_t i = 1; i <= n; i++) {
        unsigned *spare = before;

        now[0] = (unsigned)i;
        for (size_t j = 1; j <= m; j++) {
            char x = (char)tolower((unsigned char)a[i - 1]);
            char y = (char)tolower((unsigned char)b[j - 1]);

            now[j] = min3(last[j] + 1, now[j - 1] + 1, last[j - 1] + (x != y));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < now[j])
                now[j] = before[j - 2] + 1;
        }
        before = last;
        last = now;
        now = spare;
    }
    return last[m];
}

const char *tb_nearest(const char *text, const char *const *names) {
    const char *best = NULL;
    unsigned best_distance = 0;

    for (; *names; names++) {
        size_t n = strlen(*names), longer = strlen(text) > n ? strlen(text) : n;
        unsigned d = distance(text, *names);

        if (d <= (longer + 2) / 3 && d < longer && (!best || d < best_distance)) {
            best = *names;
            best_distance = d;
        }
    }
    return best;
}
