#pragma once
/* Options of iot-device: of the device, and of each of its applications. */
#include "protocol.h"
#include "session.h"
#include "tb/cli.h"
#include "tb/error.h"

struct dev_options {
    struct tb_cli_common common;
    /* the device */
    char *link, *aid, *keylog;
    bool once;
    /* an application: where to, and as whom */
    char *hub, *server_name, *via, *stack, *tls, *ca, *cert, *key;
    char *psk, *psk_identity, *psk_exchange, *offload, *ciphers;
    bool resume;
    /* MQTT */
    char *client_id, *user, *password, *mqtt;
    bool keep_session;
    struct tb_strv subscribe, publish;
    unsigned qos, keep_alive;
    /* CoAP and HTTP */
    struct tb_strv request, observe;
    char *content_type;
    unsigned ack_timeout, max_retransmit, coap_ping;
    /* when */
    unsigned timeout, reconnect_min, reconnect_max;
    bool no_reconnect, no_connect;
};

extern const struct tb_cli dev_cli;
/* Ends with NULL: what a section must not have. */
extern const char *const dev_device_options[];

/* 0, or negative with *e filled; the texts of o are borrowed by *ret. keylog may be NULL. name: of
 * the application, NULL when it is the only one. */
int dev_options_session(const struct dev_options *o, const char *name,
                        void (*keylog)(const char *line, void *user), void *keylog_user,
                        struct dev_session_config *ret, struct tb_error *e) TB_CHECKED;
/* A new protocol as o wants it; where o is what dev_options_session() has accepted. */
struct dev_protocol *dev_options_protocol(const struct dev_options *o, const char *name,
                                          uv_loop_t *loop, const struct dev_session_config *cfg);

/* "METHOD PATH", "METHOD PATH=TEXT": what a request says. The texts of *ret lie in room, a copy on
 * the heap. */
int dev_request_parse(const char *text, struct dev_request *ret, char **ret_room,
                      struct tb_error *e) TB_CHECKED;
