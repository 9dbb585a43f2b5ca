/* What the command line says about a listener. */
#include "app/listener.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <limits.h>
#include <openssl/ssl.h>

static const char *const kind_names[HUB_LISTENER_KINDS] = {
    [HUB_MQTTS] = "mqtts",         [HUB_MQTTS_PSK] = "mqtts_psk", [HUB_COAPS] = "coaps",
    [HUB_COAPS_PSK] = "coaps_psk", [HUB_HTTPS] = "https",         [HUB_METRICS] = "metrics",
};

static const char *const version_names[HUB_VERSIONS] = {"TLSv1.2", "TLSv1.3", "DTLSv1.2"};

const unsigned hub_time_bucket_us[HUB_TIME_BUCKETS] = {1000,   2500,   5000,    10000,   25000,
                                                       100000, 500000, 1000000, 2500000, 10000000};

const char *hub_listener_kind_name(enum hub_listener_kind k) {
    return kind_names[k];
}

const char *hub_version_name(enum hub_version v) {
    return version_names[v];
}

enum hub_version hub_version_of(const char *openssl_says) {
    for (unsigned v = 0; v < HUB_VERSIONS; v++) {
        if (strcmp(openssl_says, version_names[v]) == 0)
            return v;
    }
    return HUB_TLS12;
}

const char *hub_kind_shown(const struct hub_credential *c) {
    return c->id == 0 ? "none" : hub_cred_kind_name(c->kind);
}

bool hub_listener_is_psk(const struct hub_listener *l) {
    return l->kind == HUB_MQTTS_PSK || l->kind == HUB_COAPS_PSK;
}

const char *hub_listener_versions(const struct hub_listener *l) {
    return l->kind == HUB_METRICS             ? ""
           : l->min_version != l->max_version ? "1.2-1.3"
           : l->min_version == TLS1_2_VERSION ? "1.2"
                                              : "1.3";
}

int hub_versions_parse(const char *text, int *ret_min, int *ret_max) {
    static const struct {
        const char *text;
        int min, max;
    } known[] = {{"1.2", TLS1_2_VERSION, TLS1_2_VERSION},
                 {"1.3", TLS1_3_VERSION, TLS1_3_VERSION},
                 {"1.2-1.3", TLS1_2_VERSION, TLS1_3_VERSION}};

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(text, known[i].text) == 0) {
            *ret_min = known[i].min;
            *ret_max = known[i].max;
            return 0;
        }
    }
    return TB_EPARSE;
}

/* Which listeners know an option. */
#define OF(kind) (1U << HUB_##kind)
enum {
    WITH_TLS = OF(MQTTS) | OF(MQTTS_PSK) | OF(COAPS) | OF(COAPS_PSK) | OF(HTTPS),
    WITH_UDP = OF(COAPS) | OF(COAPS_PSK),
};

static int on_or_off(const char *value, const char *on, const char *off, bool *ret) {
    if (strcmp(value, on) != 0 && strcmp(value, off) != 0)
        return TB_EPARSE;
    *ret = strcmp(value, on) == 0;
    return 0;
}

static int set_text(char **ret, const char *value) {
    if (!*value)
        return TB_EPARSE;
    free(*ret);
    *ret = strdup(value);
    if (!*ret)
        abort();
    return 0;
}

static int set_tls(struct hub_listener *l, const char *value) {
    return hub_versions_parse(value, &l->min_version, &l->max_version);
}

static int set_resumption(struct hub_listener *l, const char *value) {
    return on_or_off(value, "on", "off", &l->resumption);
}

static int set_client_cert(struct hub_listener *l, const char *value) {
    return on_or_off(value, "optional", "required", &l->cert_optional);
}

static int set_tcp(struct hub_listener *l, const char *value) {
    return on_or_off(value, "on", "off", &l->tcp);
}

static int set_groups(struct hub_listener *l, const char *value) {
    return set_text(&l->groups, value);
}

static int set_ciphers(struct hub_listener *l, const char *value) {
    return set_text(&l->ciphers, value);
}

static int set_name(struct hub_listener *l, const char *value) {
    if (!hub_device_id_ok(value))
        return TB_EPARSE;
    snprintf(l->name, sizeof l->name, "%s", value);
    return 0;
}

static const struct setting {
    const char *name;
    unsigned kinds;
    int (*set)(struct hub_listener *l, const char *value);
    const char *wanted;
} settings[] = {
    {"tls", WITH_TLS, set_tls, "1.2, 1.3 or 1.2-1.3"},
    {"resumption", WITH_TLS, set_resumption, "on or off"},
    {"client-cert", OF(HTTPS), set_client_cert, "required or optional"},
    {"tcp", WITH_UDP, set_tcp, "on or off"},
    {"groups", WITH_TLS, set_groups, "a list"},
    {"ciphers", WITH_TLS, set_ciphers, "a list"},
    {"name", UINT_MAX, set_name, "letters, digits and . _ : -"},
};

static int apply(struct hub_listener *l, const char *option, char *word, struct tb_error *e) {
    const char *names[sizeof settings / sizeof *settings + 1] = {NULL};
    char *value = strchr(word, '=');
    const char *near;
    size_t i, n = 0;

    if (value)
        *value++ = '\0';
    for (i = 0; i < sizeof settings / sizeof *settings; i++) {
        if ((settings[i].kinds & 1U << l->kind) == 0)
            continue;
        names[n++] = settings[i].name;
        if (strcmp(settings[i].name, word) != 0)
            continue;
        return value && settings[i].set(l, value) == 0
                   ? 0
                   : tb_error_set(e, TB_EPARSE, NULL, 0, "--%s: %s=: %s is wanted, not \"%s\"",
                                  option, word, settings[i].wanted, value ? value : "");
    }
    near = tb_nearest(word, names);
    return tb_error_set(e, TB_EPARSE, NULL, 0, "--%s: no option \"%s\"%s%s", option, word,
                        near ? ", did you mean " : "", near ? near : "");
}

static void name_it(struct hub_listener *l, const char *option, unsigned n) {
    if (n > 1)
        snprintf(l->name, sizeof l->name, "%s-%u", option, n);
    else
        snprintf(l->name, sizeof l->name, "%s", option);
}

void hub_listener_done(struct hub_listener *l) {
    free(l->groups);
    free(l->ciphers);
    l->groups = l->ciphers = NULL;
}

int hub_listener_parse(enum hub_listener_kind kind, unsigned n, const char *text,
                       const struct hub_listener_defaults *d, struct hub_listener *ret,
                       struct tb_error *e) {
    struct hub_listener l = {.kind = kind,
                             .min_version = d->min_version,
                             .max_version = d->max_version,
                             .resumption = d->resumption,
                             .tcp = true};
    char option[16], *copy = strdup(text), *rest = copy, *word;
    int err;

    if (!copy)
        abort();
    snprintf(option, sizeof option, "%s", kind_names[kind]);
    for (char *p = strchr(option, '_'); p; p = strchr(p, '_'))
        *p = '-';
    name_it(&l, option, n);
    set_text(&l.groups, d->groups);
    if (!hub_listener_is_psk(&l))
        set_text(&l.ciphers, d->ciphers);
    word = strsep(&rest, ",");
    err = tb_addr_parse(word, &l.at, e);
    while (err == 0 && (word = strsep(&rest, ",")))
        err = apply(&l, option, word, e);
    free(copy);
    if (err < 0)
        hub_listener_done(&l);
    else
        *ret = l;
    return err;
}
