/* All of the NVM into RAM, once. */
#include <stdlib.h>

#include "admin/identity.h"
#include "euicc/euicc.h"
#include "gp/domain.h"
#include "gp/registry.h"
#include "iotsafe/object.h"
#include "os/fs.h"
#include "os/os.h"
#include "os/pin.h"
#include "usim/aka.h"

struct card_pin_state card_pin_default(uint8_t ref) {
    struct card_pin_state pin = {.ref = ref,
                                 .exists = ref != CARD_ADM1,
                                 .enabled = ref != CARD_PIN1,
                                 .has_puk = true,
                                 .tries = CARD_PIN_TRIES,
                                 .unblock_tries = CARD_UNBLOCK_TRIES};

    memcpy(pin.pin, "0000\xFF\xFF\xFF\xFF", sizeof pin.pin);
    memset(pin.puk, '0', sizeof pin.puk);
    return pin;
}

/* The domain is only named so far: card_registry_complete() finds it. */
static struct card_app *named(struct tb_span aid) {
    struct card_app *app = calloc(1, sizeof *app);

    if (app) {
        memcpy(app->aid, aid.p, aid.n);
        app->aid_len = (uint8_t)aid.n;
    }
    return app;
}

static int load_app(struct card *card, struct tb_span key, struct tb_span value) {
    struct card_app *app = calloc(1, sizeof *app);
    struct tb_span domain;
    uint8_t kind, instance = 0;
    uint16_t seq;
    int r = app ? card_app_decode(value, &instance, &domain, app) : TB_ENOMEM;

    if (r == 0 && (!tb_take_u8(&key, &kind) || !tb_take_be16(&key, &seq) || key.n != 0))
        r = TB_EPARSE;
    if (r == 0) {
        app->seq = seq;
        if (domain.n)
            app->domain = named(domain);
        if (app->kind == CARD_APP_SAFE)
            app->instance = card_instance_get(card, instance);
        if ((domain.n && !app->domain) || (app->kind == CARD_APP_SAFE && !app->instance))
            r = TB_ENOMEM;
    }
    if (r == 0)
        r = card_registry_add(card, app);
    if (r < 0 && app) {
        card_app_free(app->domain);
        card_app_free(app);
    }
    return r == TB_ERANGE ? TB_EPARSE : r;
}

static struct card_app *domain_of(const struct card *card, uint16_t seq) {
    for (size_t i = 0; i < card->apps_n; i++)
        if (card->apps[i]->seq == seq && card->apps[i]->kind == CARD_APP_DOMAIN)
            return card->apps[i];
    return NULL;
}

/* Domains come before their keys, in the order of the map: A, then D. */
static int load_keyset(struct card *card, struct tb_span key, struct tb_span value) {
    struct card_keyset *ks = calloc(1, sizeof *ks);
    struct card_app *domain = NULL;
    uint8_t kind, version = 0;
    uint16_t seq;
    int r = ks ? card_keyset_decode(value, ks) : TB_ENOMEM;

    if (r == 0 && (!tb_take_u8(&key, &kind) || !tb_take_be16(&key, &seq) ||
                   !tb_take_u8(&key, &version) || key.n != 0 || version == 0))
        r = TB_EPARSE;
    if (r == 0)
        domain = domain_of(card, seq);
    if (r == 0 && !domain)
        r = TB_EPARSE;
    if (r < 0) {
        card_keyset_free(ks);
        return r;
    }
    ks->version = version;
    card_keyset_put(domain, ks);
    return 0;
}

static int load_domain_data(struct card *card, struct tb_span key, struct tb_span value) {
    struct card_domain_data *one;
    struct card_app *domain;
    uint8_t kind;
    uint16_t seq = 0, tag = 0;
    int r = card_record_open(&value);

    if (r < 0)
        return r;
    if (!tb_take_u8(&key, &kind) || !tb_take_be16(&key, &seq) || !tb_take_be16(&key, &tag) ||
        key.n != 0 || !card_domain_data_allowed(tag, value.n))
        return TB_EPARSE;
    domain = domain_of(card, seq);
    if (!domain)
        return TB_EPARSE;
    one = card_domain_data_new(tag, value);
    if (!one)
        return TB_ENOMEM;
    card_domain_data_put(domain, one);
    return 0;
}

static int load_file(struct card_subscription *sub, struct tb_span key, struct tb_span value) {
    struct card_file *files;
    const struct fs_node *node;
    uint8_t kind, *content;
    uint16_t df, fid;
    int r = card_record_open(&value);

    if (r < 0)
        return r;
    if (!tb_take_u8(&key, &kind) || !tb_take_be16(&key, &df) || !tb_take_be16(&key, &fid))
        return TB_EPARSE;
    node = fs_find(df, fid);
    if (!node || value.n == 0 || value.n > FS_CONTENT_MAX)
        return TB_EPARSE;
    files = realloc(sub->files, (sub->files_n + 1) * sizeof *files);
    if (!files)
        return TB_ENOMEM;
    sub->files = files;
    content = malloc(value.n);
    if (!content)
        return TB_ENOMEM;
    memcpy(content, value.p, value.n);
    files[sub->files_n++] = (struct card_file){node, value.n, content};
    return 0;
}

static int load_pin(struct card_subscription *sub, struct tb_span key, struct tb_span value) {
    if (key.n != 2)
        return TB_EPARSE;
    for (size_t i = 0; i < CARD_PINS; i++)
        if (sub->pins[i].ref == key.p[1])
            return card_pin_decode(value, &sub->pins[i]);
    return TB_EPARSE;
}

static int load_aka(struct card_subscription *sub, struct tb_span value) {
    if (!sub->aka)
        sub->aka = malloc(sizeof *sub->aka);
    return sub->aka ? card_aka_decode(value, sub->aka) : TB_ENOMEM;
}

/* What belongs to a subscription. */
static int load_of(struct card *card, uint8_t number, struct tb_span key, struct tb_span value) {
    struct card_subscription *sub = card_subscription_get(card, number);

    if (!sub)
        return TB_ENOMEM;
    switch (key.n ? key.p[0] : 0) {
    case CARD_REC_FILE:
        return load_file(sub, key, value);
    case CARD_REC_IDENTITY:
        return card_identity_decode(value, &sub->id);
    case CARD_REC_AKA:
        return load_aka(sub, value);
    case CARD_REC_PIN:
        return load_pin(sub, key, value);
    default:
        return TB_EPARSE;
    }
}

/* A damaged object spoils its own set only: that applet answers 6400, the rest of the card works.
 */
static int load_object(struct card *card, struct tb_span key, struct tb_span value) {
    struct card_instance *in;
    struct card_object *o = NULL;
    uint8_t number;
    int r = card_object_decode(key, value, &number, &o);

    if (r < 0 && r != TB_EPARSE)
        return r;
    if (r < 0) {
        if (key.n < 2)
            return TB_EPARSE;
        number = key.p[1];
    }
    in = card_instance_get(card, number);
    if (!in) {
        card_object_free(o);
        return TB_ENOMEM;
    }
    if (!o) {
        in->damaged = true;
        return 0;
    }
    r = card_instance_add(in, o);
    if (r < 0)
        card_object_free(o);
    return r;
}

static int load_entry(struct tb_span key, struct tb_span value, void *user) {
    struct card *card = user;

    switch (key.n ? key.p[0] : 0) {
    case CARD_REC_APPLET:
        return load_app(card, key, value);
    case CARD_REC_KEYSET:
        return load_keyset(card, key, value);
    case CARD_REC_DOMAIN_DATA:
        return load_domain_data(card, key, value);
    case CARD_REC_OBJECT:
        return load_object(card, key, value);
    case CARD_REC_EUICC:
    case CARD_REC_NOTIFICATION:
        return card_euicc_load(card, key, value);
    case CARD_REC_VERSION:
        card->has_version = true;
        return 0;
    case CARD_REC_OF:
        if (key.n < 3 || key.p[1] == 0)
            return TB_EPARSE;
        return load_of(card, key.p[1], tb_span_sub(key, 2, key.n - 2), value);
    default:
        return load_of(card, 0, key, value);
    }
}

/* What card_registry_complete() would have looked up. */
static void drop_names(struct card *card) {
    for (size_t i = 0; i < card->apps_n; i++) {
        card_app_free(card->apps[i]->domain);
        card->apps[i]->domain = NULL;
    }
}

int card_load(struct card *card) {
    static const uint8_t version_key = CARD_REC_VERSION;
    uint8_t *version;
    size_t n;
    int r;

    card->cur = card_subscription_get(card, 0);
    if (!card->cur)
        return TB_ENOMEM;
    /* The version first: what follows may not be ours to read. */
    r = card_nvm_get(card->nvm, tb_span(&version_key, 1), &version, &n);
    if (r > 0) {
        r = card_store_check_version(tb_span(version, n));
        free(version);
    }
    if (r < 0)
        return r;
    r = card->nvm->ops->each(card->nvm, load_entry, card);
    if (r >= 0)
        r = card_euicc_complete(card);
    if (r < 0) {
        drop_names(card);
        return r;
    }
    return card_registry_complete(card);
}

void card_unload(struct card *card) {
    while (card->instances) {
        struct card_instance *in = card->instances;

        card->instances = in->next;
        card_instance_free(in);
    }
    for (size_t i = 0; i < card->apps_n; i++)
        card_app_free(card->apps[i]);
    free(card->apps);
    card_euicc_free(card->euicc);
    card_subscriptions_free(card);
}
