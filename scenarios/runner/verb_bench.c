/* bench: hands over to the benchmark program beside this one. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "env.h"
#include "verbs.h"

int scn_verb_bench(int argc, char **argv) {
    char program[SCN_PATH + 16];

    (void)argc;
    snprintf(program, sizeof program, "%s/iot-bench", scn_bin_dir());
    argv[0] = program;
    execv(program, argv);
    fprintf(stderr, "testbed: bench: %s: %s%s\n", program, strerror(errno),
            errno == ENOENT ? " (benchmarks are not installed: ./testbed bench in the sources)"
                            : "");
    return 3;
}
