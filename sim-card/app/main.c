/* sim-card: which part of the program is wanted. */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "tb/cli.h"

enum { EXIT_USAGE = 2 };

static const struct {
    const char *word;
    char *name; /* what the part calls itself in its messages */
    int (*fn)(int argc, char **argv);
} commands[] = {
    {"run", (char[]){"sim-card"}, card_command_run},
    {"personalise", (char[]){"sim-card personalise"}, card_command_personalise},
    {"personalize", (char[]){"sim-card personalise"}, card_command_personalise},
    {"inspect", (char[]){"sim-card inspect"}, card_command_inspect},
    {"verify-output", (char[]){"sim-card verify-output"}, card_command_verify_output},
};

int main(int argc, char **argv) {
    static const char *const words[] = {"run", "personalise", "inspect", "verify-output", NULL};
    const char *near;

    if (argc < 2 || argv[1][0] == '-')
        return card_command_run(argc, argv);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(commands[i].word, argv[1]) == 0) {
            argv[1] = commands[i].name;
            return commands[i].fn(argc - 1, argv + 1);
        }
    near = tb_nearest(argv[1], words);
    fprintf(stderr,
            "sim-card: unknown command '%s'%s%s%s\nTry 'sim-card --help' for more information.\n",
            argv[1], near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    return EXIT_USAGE;
}
