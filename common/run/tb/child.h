#pragma once
/* Child processes that cannot outlive us, and that leave nothing behind.
 *
 * Each is the leader of its own process group. When it has ended, what is left in its group is
 * killed before the number is given back. When we end, by whatever cause, the kernel sends it
 * SIGKILL (PR_SET_PDEATHSIG: third-party daemons need not cooperate; programs of ours ask for
 * SIGTERM instead, see tb_loop_new()). The kernel ties this to the thread that starts the child, so
 * start children from the thread that runs the loop. SIGCHLD is not used; others may. */
#include <uv.h>

#include "tb/error.h"

struct tb_child;

struct tb_child_spec {
    const char *name;        /* for messages; copied */
    const char *const *argv; /* NULL-terminated; argv[0] looked up in PATH; copied */
    const char *const *env;  /* NULL-terminated KEY=VALUE added to ours, "KEY=" with empty value
                                unsets; NULL: none */
    const char *cwd;         /* NULL: ours */
    const char *log_file;    /* stdout and stderr are appended there; NULL: ours */
    int ready_fd;            /* -1, or the number the child's ready pipe gets there (--ready-fd) */
    int stdin_fd;            /* -1: /dev/null */
};

struct tb_child_ops {
    /* The first line on the ready pipe, without its newline. NULL: not wanted. At most once, and
     * before on_exit; a line above 64 KiB is not reported. */
    void (*on_ready)(struct tb_child *c, const char *line, void *user);
    /* The process has ended and is reaped. Last call; c is freed after it. status: exit code, or
     * 128 + signal. */
    void (*on_exit)(struct tb_child *c, int status, void *user);
};

/* Returns 0 when the program runs: a program that cannot be executed is an error here, and then no
 * callback comes. Its signal handling is the default, its descriptors are 0, 1, 2 and ready_fd (not
 * below 3) only. */
int tb_child_start(uv_loop_t *loop, const struct tb_child_spec *spec,
                   const struct tb_child_ops *ops, void *user, struct tb_child **ret) TB_CHECKED;
/* Also the number of its process group. */
int tb_child_pid(const struct tb_child *c);
/* SIGTERM to the process now, SIGKILL to its group after grace_ms; idempotent. on_exit still comes.
 */
void tb_child_stop(struct tb_child *c, unsigned grace_ms);
void tb_child_kill(struct tb_child *c, int signum);

/* Called by a program that was given --ready-fd: writes line + "\n" and closes fd. fd -1: no-op.
 * 0, or a negative errno when the line could not be written. */
int tb_ready_tell(int fd, const char *json_line);
