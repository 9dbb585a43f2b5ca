/* at: AT commands on the living bed's modem, over its Unix socket, with the answer as a terminal
 * shows it. */
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "living.h"
#include "options.h"
#include "tb/loop.h"
#include "verbs.h"

enum { ANSWER_MAX = 1 << 17, DEADLINE_MS = 60000 };

static int dial(const char *path) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd;

    if (strlen(path) >= sizeof a.sun_path)
        return -ENAMETOOLONG;
    memcpy(a.sun_path, path, strlen(path) + 1);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0) {
        int r = -errno;

        close(fd);
        return r;
    }
    return fd;
}

/* 1: good, 0: an error result, -1: not final. */
static int final_result(const char *line) {
    static const char *const bad[] = {"ERROR",       "+CME ERROR", "+CMS ERROR", "NO CARRIER",
                                      "NO DIALTONE", "BUSY",       "NO ANSWER"};

    if (strcmp(line, "OK") == 0 || strncmp(line, "CONNECT", 7) == 0)
        return 1;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (strncmp(line, bad[i], strlen(bad[i])) == 0)
            return 0;
    return -1;
}

/* Prints whole lines off the front of text as they come; returns the final result or -1. */
static int print_lines(char *text, size_t *n, bool quiet) {
    int result = -1;
    char *nl;

    text[*n] = 0;
    while (result < 0 && (nl = strchr(text, '\n'))) {
        size_t used = (size_t)(nl - text) + 1;

        *nl = 0;
        if (nl > text && nl[-1] == '\r')
            nl[-1] = 0;
        if (text[0] && text[0] != '\r') {
            if (!quiet)
                printf("%s\n", text);
            result = final_result(text);
        }
        *n -= used;
        memmove(text, text + used, *n + 1);
    }
    return result;
}

static int exchange(int fd, const char *command, bool quiet) {
    static char answer[ANSWER_MAX];
    uint64_t end = tb_clock_mono_ms() + DEADLINE_MS;
    char line[4096];
    size_t n = 0;
    int len = snprintf(line, sizeof line, "%s\r", command), result = -1;

    if (len >= (int)sizeof line || write(fd, line, (size_t)len) != len)
        return -1;
    while (result < 0) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        uint64_t now = tb_clock_mono_ms();
        ssize_t got;

        if (now >= end || poll(&p, 1, (int)(end - now)) <= 0 || n == sizeof answer - 1)
            return -1;
        got = read(fd, answer + n, sizeof answer - 1 - n);
        if (got <= 0)
            return -1;
        n += (size_t)got;
        result = print_lines(answer, &n, quiet);
    }
    return result;
}

int scn_verb_at(int argc, char **argv) {
    struct scn_options o;
    const char *where;
    json_t *bed;
    int fd, r = 0;

    scn_options_parse(argc, argv, "r", "COMMAND...",
                      "Sends AT commands to the modem of the living bed and prints the answers.\v"
                      "Exit code 1 when the modem answers with an error. Example: testbed at "
                      "'AT+CCID' 'AT+CSIM=10,\"00A4000000\"'",
                      &o);
    if (o.n_files == 0) {
        fprintf(stderr, "testbed: at: which command? For example AT+CIMI\n");
        return 2;
    }
    bed = scn_living_bed_open(o.run);
    if (!bed)
        return 3;
    where = scn_living_bed_text(bed, "at", "unix");
    fd = where ? dial(where) : -ENOENT;
    json_decref(bed);
    if (fd < 0) {
        fprintf(stderr, "testbed: at: the modem does not answer: %s\n", strerror(-fd));
        return 3;
    }
    if (exchange(fd, "ATE0", true) < 0)
        r = 3;
    for (int i = 0; i < o.n_files && r == 0; i++) {
        int result = exchange(fd, o.files[i], false);

        if (result < 0) {
            fprintf(stderr, "testbed: at: no final result\n");
            r = 3;
        } else if (result == 0) {
            r = 1;
        }
    }
    close(fd);
    return r;
}
