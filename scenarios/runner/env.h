#pragma once
/* Where things are: the programs beside this one, the scenarios, and the folder of a run. */
#include <stdbool.h>
#include <stddef.h>

#include "tb/error.h"

enum { SCN_PATH = 1024 };

struct scn_folder {
    char dir[SCN_PATH];  /* events.jsonl, apdu.pcapng, tls.keys, log/, state/ */
    char sock[64];       /* short: socket paths are limited to 107 characters */
    int lock, sock_lock; /* held as long as the run lives: what is not locked is left over */
};

/* The folder of the running program: the other programs are there too. */
const char *scn_bin_dir(void);
/* Where files that come with the project are: "scenarios", "profiles" (card files) or
 * "openssl.cnf.in", with what stands behind a slash below it. In $TESTBED_SOURCE, else as
 * installed, else in the sources we were built from. Returns dst. */
char *scn_data_path(const char *rel, char *dst, size_t cap);
/* The OpenSSL provider that belongs to this program. */
const char *scn_provider_module(void);

/* Makes the folder of a run: out, or a new one below $XDG_RUNTIME_DIR or /tmp when out is NULL. An
 * existing out is used when it is empty or holds an earlier run, whose files are removed first. */
int scn_folder_make(const char *out, struct scn_folder *ret, struct tb_error *e) TB_CHECKED;
/* An empty folder, or one that holds an earlier run, becomes ours: empty, with our mark. Anything
 * else is somebody's data. Returns a descriptor that keeps other runs away until it is closed. */
int scn_folder_claim(const char *dir, struct tb_error *e) TB_CHECKED;
/* Removes the sockets, and with all the whole folder. */
void scn_folder_remove(struct scn_folder *f, bool all);
/* A path inside; missing folders on the way are made. Returns dst. */
char *scn_folder_path(const struct scn_folder *f, const char *rel, char *dst, size_t cap);

/* The user's folder for runs: below $XDG_RUNTIME_DIR, or in /tmp. Returns dst. */
const char *scn_runtime_dir(char *dst, size_t cap);
/* Makes it, and refuses one that is somebody else's. */
int scn_runtime_dir_make(char *dst, size_t cap, struct tb_error *e) TB_CHECKED;
/* Makes a folder and those above it, mode 0700. 0 or a negative errno. */
int scn_make_dirs(const char *path);
/* Does a run in this folder still live? */
bool scn_folder_alive(const char *dir);
