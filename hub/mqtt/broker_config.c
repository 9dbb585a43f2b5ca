/* What the hub tells mosquitto: one Unix socket, names decided by the hub, nothing kept on disk. */
#include "mqtt/broker_config.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* What a PUBLISH may have beside its payload: a topic of any length, some properties. */
enum { PACKET_EXTRA = 128 << 10 };

/* mosquitto started by root gives up its rights, which would also make the kernel forget that it is
 * to die with us, and leave it without access to our folder: it stays who we are. */
static const char *own_name(void) {
    const struct passwd *p = getpwuid(geteuid());

    return p ? p->pw_name : "root";
}

static int write_text(const char *path, const char *text, struct tb_error *e) {
    FILE *f = fopen(path, "we");

    if (!f || fputs(text, f) < 0 || fclose(f) != 0)
        return tb_error_set(e, -errno, path, 0, "%s", strerror(errno));
    return 0;
}

static int write_access(const char *path, struct tb_error *e) {
    return write_text(
        path,
        "# Written by iot-hub at each start. Client ids are device ids, set by the hub.\n"
        "user $hub\n"
        "topic readwrite #\n"
        "pattern readwrite devices/%c/#\n",
        e);
}

static int write_config(const char *path, const char *dir, const char *socket, unsigned max_message,
                        struct tb_error *e) {
    char text[4096];
    int n = snprintf(text, sizeof text,
                     "# Written by iot-hub at each start.\n"
                     "user %s\n"
                     "per_listener_settings false\n"
                     "listener 0 %s\n"
                     "allow_anonymous true\n"
                     "acl_file %s/access.acl\n"
                     "allow_zero_length_clientid false\n"
                     "persistence false\n"
                     "sys_interval 0\n"
                     "connection_messages false\n"
                     "log_dest stderr\n"
                     "log_type error\n"
                     "log_type warning\n"
                     "max_inflight_messages 20\n"
                     "max_queued_messages 1000\n"
                     "max_packet_size %u\n",
                     own_name(), socket, dir, max_message + PACKET_EXTRA);

    if (n >= (int)sizeof text)
        return tb_error_set(e, -ENAMETOOLONG, dir, 0, "path too long");
    return write_text(path, text, e);
}

int hub_broker_configure(const char *dir, const char *socket, unsigned max_message,
                         struct tb_error *e) {
    const size_t limit = sizeof((struct sockaddr_un *)0)->sun_path - 1;
    char conf[4096], acl[4096];
    int err;

    if (strlen(socket) > limit)
        return tb_error_set(
            e, -ENAMETOOLONG, socket, 0,
            "a Unix socket's path has at most %zu characters: choose one with --broker-socket",
            limit);
    if (snprintf(conf, sizeof conf, "%s/mosquitto.conf", dir) >= (int)sizeof conf ||
        snprintf(acl, sizeof acl, "%s/access.acl", dir) >= (int)sizeof acl)
        return tb_error_set(e, -ENAMETOOLONG, dir, 0, "path too long");
    if (mkdir(dir, 0700) < 0 && errno != EEXIST)
        return tb_error_set(e, -errno, dir, 0, "cannot make the folder: %s", strerror(errno));
    /* A broker of an earlier run that was killed leaves its socket behind; mosquitto would refuse
     * to start. */
    if (unlink(socket) < 0 && errno != ENOENT)
        return tb_error_set(e, -errno, socket, 0, "cannot remove the old socket: %s",
                            strerror(errno));
    err = write_access(acl, e);
    return err < 0 ? err : write_config(conf, dir, socket, max_message, e);
}
