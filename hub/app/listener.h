#pragma once
/* A listener as the command line describes it: ADDR[,OPTION=VALUE…]. Each has its own policy and
 * its own figures. */
#include "http/http.h"
#include "registry/registry.h"
#include "tb/cli.h"
#include "tb/conn.h"
#include "tls/verdict.h"

enum hub_listener_kind {
    HUB_MQTTS,
    HUB_MQTTS_PSK,
    HUB_COAPS,
    HUB_COAPS_PSK,
    HUB_HTTPS,
    HUB_METRICS,
    HUB_LISTENER_KINDS
};
/* The member of the ready line: "mqtts_psk". The option is the same with a hyphen. */
const char *hub_listener_kind_name(enum hub_listener_kind k);

enum hub_version { HUB_TLS12, HUB_TLS13, HUB_DTLS12, HUB_VERSIONS };
const char *hub_version_name(enum hub_version v);          /* "TLSv1.2" … as OpenSSL says it */
enum hub_version hub_version_of(const char *openssl_says); /* an unknown one is HUB_TLS12 */
enum { HUB_KINDS_SHOWN = 3 /* x509, psk, none */, HUB_TIME_BUCKETS = 10 };
const char *hub_kind_shown(const struct hub_credential *c); /* "x509", "psk", "none" */

struct hub_tally {                                         /* since the start */
    uint64_t handshakes[HUB_VERSIONS][HUB_KINDS_SHOWN][2]; /* [][][1]: resumed */
    uint64_t refused[HUB_VERDICTS];
    uint64_t us, us_max;               /* of accepted handshakes */
    uint64_t faster[HUB_TIME_BUCKETS]; /* not cumulative; slower ones are in none */
};
extern const unsigned hub_time_bucket_us[HUB_TIME_BUCKETS]; /* upper bounds */

struct hub;
struct hub_front;
struct hub_coap;
struct hub_peer;
struct hub_tls;

struct hub_listener {
    enum hub_listener_kind kind;
    char name[HUB_DEVICE_MAX + 1]; /* unique */
    struct tb_addr at;             /* asked for */
    int min_version, max_version;  /* TLS1_2_VERSION, TLS1_3_VERSION. DTLS has 1.2 only */
    bool resumption;
    bool cert_optional;     /* https */
    bool tcp;               /* coaps: TCP beside UDP */
    char *groups, *ciphers; /* in OpenSSL's words; ciphers NULL: the default of a PSK listener */

    struct hub *hub;
    struct hub_front *front;   /* mqtts, mqtts-psk, https; NULL before and after */
    struct tb_listener *plain; /* metrics */
    struct hub_http_site site; /* https, metrics: what is behind it */
    struct hub_coap *coap;     /* coaps, coaps-psk */
    struct tb_addr real;       /* where it is, from start on; of coaps the UDP address */
    struct tb_addr real_tcp;   /* of coaps with tcp */
    struct hub_tally tally;
};

struct hub_listener_defaults { /* texts are copied */
    int min_version, max_version;
    bool resumption;
    const char *groups, *ciphers; /* ciphers of certificate listeners */
};

/* Fills *ret (zeroed) from one value of option --KIND. The name is the kind's, with -N when it is
 * the Nth of them (n from 1), unless name= says another. */
int hub_listener_parse(enum hub_listener_kind kind, unsigned n, const char *text,
                       const struct hub_listener_defaults *d, struct hub_listener *ret,
                       struct tb_error *e) TB_CHECKED;
void hub_listener_done(struct hub_listener *l); /* texts */
bool hub_listener_is_psk(const struct hub_listener *l);
/* "1.2", "1.3", "1.2-1.3"; "" without TLS. */
const char *hub_listener_versions(const struct hub_listener *l);
/* "1.2", "1.3" or "1.2-1.3". */
int hub_versions_parse(const char *text, int *ret_min, int *ret_max) TB_CHECKED;

/* listener_coap.c: for coaps and coaps-psk. l->coap is there afterwards. */
int hub_listener_open_coap(struct hub_listener *l, struct tb_error *e) TB_CHECKED;
/* listener_http.c: for https and metrics. */
int hub_listener_open_http(struct hub_listener *l, struct tb_error *e) TB_CHECKED;
/* listeners.c: over TLS. l->front is there afterwards. */
int hub_listener_open_front(struct hub_listener *l,
                            bool (*on_open)(struct hub_tls *t, const struct hub_peer *peer,
                                            void *user),
                            struct tb_error *e) TB_CHECKED;
