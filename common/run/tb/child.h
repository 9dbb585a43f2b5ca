#pragma once
/* Child processes that cannot outlive us: PR_SET_PDEATHSIG, own process group, TERM then KILL. */
#include <uv.h>

#include "tb/error.h"

struct tb_child;

struct tb_child_spec {
    const char *name;        /* for messages; copied */
    const char *const *argv; /* NULL-terminated; argv[0] looked up in PATH; copied */
    const char *const *env;  /* NULL-terminated KEY=VALUE added to ours, "KEY=" with empty value unsets; NULL: none */
    const char *cwd;         /* NULL: ours */
    const char *log_file;    /* stdout and stderr are appended there; NULL: ours */
    int ready_fd;            /* -1, or the number the child's ready pipe gets there (--ready-fd) */
    int stdin_fd;            /* -1: /dev/null */
};

struct tb_child_ops {
    /* One JSON line arrived on the ready pipe (without the newline), at most once. NULL: not wanted. */
    void (*on_ready)(struct tb_child *c, const char *line, void *user);
    /* The process has ended and is reaped. Last call; c is freed after it. status: exit code, or 128 + signal. */
    void (*on_exit)(struct tb_child *c, int status, void *user);
};

int tb_child_start(uv_loop_t *loop, const struct tb_child_spec *spec, const struct tb_child_ops *ops, void *user,
                   struct tb_child **ret) TB_CHECKED;
int tb_child_pid(const struct tb_child *c);
/* SIGTERM now, SIGKILL after grace_ms; idempotent. on_exit still comes. */
void tb_child_stop(struct tb_child *c, unsigned grace_ms);
void tb_child_kill(struct tb_child *c, int signum);

/* Called by a program that was given --ready-fd: writes line + "\n" and closes fd. fd -1: no-op. */
int tb_ready_tell(int fd, const char *json_line);
