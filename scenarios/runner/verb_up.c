/* up: a living bed until Ctrl-C. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host.h"
#include "living.h"
#include "options.h"
#include "verbs.h"

struct up {
    struct tb_loop *loop;
    struct scn_folder folder;
    struct scn_host *host;
    bool done;
    int exit_code;
};

static void on_line(const char *text, void *user) {
    (void)user;
    printf("%s\n", text);
    fflush(stdout);
}

static void on_done(struct scn_host *h, void *user) {
    const struct scn_result *x = scn_host_result(h);
    struct up *up = user;

    up->done = true;
    if (x->status != SCN_PASS) {
        fprintf(stderr, "testbed: %s\n", x->message);
        up->exit_code = tb_loop_signal(up->loop) ? 128 + tb_loop_signal(up->loop) : 3;
    }
    tb_loop_stop(up->loop, up->exit_code);
}

static void on_stop(void *arg) {
    struct up *up = arg;

    if (!up->done)
        scn_host_interrupt(up->host);
}

/* NAME of sim-card/profiles, or a FILE: its path. Tells what there is when there is no such thing.
 */
static int find_profile(const char *given, char *dst, size_t cap) {
    char folder[SCN_PATH];
    struct dirent *entry;
    DIR *d;

    scn_data_path("profiles", folder, sizeof folder);
    if (strchr(given, '/') || strchr(given, '.'))
        snprintf(dst, cap, "%s", given);
    else
        snprintf(dst, cap, "%s/%s.card", folder, given);
    if (access(dst, R_OK) == 0)
        return 0;
    fprintf(stderr, "testbed: up: no card profile '%s' (%s: %s); there is:", given, dst,
            strerror(errno));
    d = opendir(folder);
    while (d && (entry = readdir(d))) {
        char *dot = strrchr(entry->d_name, '.');

        if (dot && strcmp(dot, ".card") == 0)
            fprintf(stderr, " %.*s", (int)(dot - entry->d_name), entry->d_name);
    }
    if (d)
        closedir(d);
    fputs(", or a file\n", stderr);
    return 2;
}

int scn_verb_up(int argc, char **argv) {
    char profile[2 * SCN_PATH];
    struct scn_options o;
    struct up up = {0};
    struct tb_error e = {0};
    json_t *settings, *parameters = json_object();

    scn_options_parse(
        argc, argv, "ojp", "",
        "Starts a hub, a factory-made card behind a modem and an idle device, prints "
        "where everything is, and runs until Ctrl-C.\v"
        "With --json one line is printed once everything is ready: at.pty, at.tcp, "
        "at.unix, vpcd, ctl.*, hub.*, openssl_conf, openssl_offload_conf, key_ref, "
        "client_cert, ca, psk_identity, psk_handle, device_id, run_dir (in it bed.env, the "
        "same for a shell). Unmodified OpenSSL programs use the card's key with "
        "OPENSSL_CONF=<openssl_conf> and key_ref as "
        "their key file.",
        &o);
    if (o.n_files) {
        fprintf(stderr, "testbed: up takes no arguments\n");
        return 2;
    }
    if (find_profile(o.profile ? o.profile : "factory", profile, sizeof profile))
        return 2;
    if (scn_folder_make(o.out, &up.folder, &e) < 0) {
        fprintf(stderr, "testbed: %s: %s\n", e.file, e.message);
        return 3;
    }
    settings = json_pack("{s:b,s:s,s:s,s:s}", "json", o.json, "profile", profile, "model",
                         o.model ? o.model : "generic", "module", scn_provider_module());
    up.loop = tb_loop_new(false);
    tb_loop_on_stop(up.loop, on_stop, &up);
    up.host = scn_host_start(&(struct scn_host_config){.loop = up.loop,
                                                       .folder = &up.folder,
                                                       .file = "@up",
                                                       .parameters = parameters,
                                                       .settings = settings,
                                                       .on_line = on_line,
                                                       .on_done = on_done,
                                                       .user = &up});
    tb_loop_run(up.loop);
    scn_living_bed_forget();
    scn_host_free(up.host);
    /* A broken bed's logs are what one wants to read now. */
    scn_folder_remove(&up.folder, !o.out && up.exit_code != 3);
    if (up.exit_code == 3)
        fprintf(stderr, "testbed: logs are in %s\n", up.folder.dir);
    json_decref(settings);
    json_decref(parameters);
    return up.exit_code;
}
