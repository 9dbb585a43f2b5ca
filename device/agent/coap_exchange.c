/* Requests under way and observations of a CoAP session, and what is to be told of them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coap_internal.h"

void dev_coap_exchange_free(struct dev_coap_exchange *x) {
    free(x->path);
    free(x->accept);
    free(x->save);
    free(x->body);
    free(x);
}

void dev_coap_drop(struct dev_coap_protocol *c, struct dev_coap_exchange *x) {
    struct dev_coap_exchange **at = &c->exchanges;

    while (*at != x)
        at = &(*at)->next;
    *at = x->next;
    dev_coap_exchange_free(x);
}

void dev_coap_append(struct dev_coap_protocol *c, struct dev_coap_exchange *x) {
    struct dev_coap_exchange **at = &c->exchanges;

    while (*at)
        at = &(*at)->next;
    *at = x;
}

struct dev_coap_exchange *dev_coap_by_token(struct dev_coap_protocol *c, coap_bin_const_t token) {
    struct dev_coap_exchange *x = c->exchanges;

    while (x && (x->token_n == 0 || x->token_n != token.length ||
                 memcmp(x->token, token.s, token.length) != 0))
        x = x->next;
    return x;
}

struct dev_coap_exchange *dev_coap_observation(struct dev_coap_protocol *c, const char *path) {
    struct dev_coap_exchange *x = c->exchanges;

    while (x && (!x->observe || strcmp(x->path, path) != 0))
        x = x->next;
    return x;
}

/* ---- what is told ---- */

struct dev_coap_told *dev_coap_tell(struct dev_coap_protocol *c, unsigned id, const char *event,
                                    json_t *members) {
    struct dev_coap_told *t = calloc(1, sizeof *t);

    if (!t)
        abort();
    t->id = id;
    t->event = event;
    t->members = members;
    *c->last_told = t;
    c->last_told = &t->next;
    return t;
}

void dev_coap_tell_failed(struct dev_coap_protocol *c, unsigned id, int status, const char *why) {
    struct dev_coap_told *t;

    if (id == 0)
        return;
    t = dev_coap_tell(c, id, NULL, NULL);
    t->status = status;
    snprintf(t->why, sizeof t->why, "%s", why);
}

/* Neither the request nor the end of the observation was answered. */
void dev_coap_fail(struct dev_coap_protocol *c, struct dev_coap_exchange *x, int status,
                   const char *why) {
    dev_coap_tell_failed(c, x->id, status, why);
    dev_coap_tell_failed(c, x->cancel_id, status, why);
    dev_coap_drop(c, x);
}
