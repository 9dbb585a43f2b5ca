/* sim-card inspect: what is on a card. */
#include <stdio.h>
#include <stdlib.h>

#include "certificate_text.h"
#include "commands.h"
#include "simcard/list.h"
#include "store.h"
#include "tb/cli.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct options {
    struct tb_cli_common common;
    char *store;
    bool json;
};

static const struct tb_opt opts[] = {
    {"store", 's', "FILE", "The card's store; a card may run on it meanwhile", TB_OPT_STRING,
     offsetof(struct options, store), NULL},
    {"json", 'j', NULL, "One JSON object for programs", TB_OPT_FLAG, offsetof(struct options, json),
     NULL},
    {0},
};

static const struct tb_cli cli = {
    .program = "sim-card inspect",
    .doc = "Shows what is on a card: identity, applets, objects. Secrets are not shown.\v"
           "Exit status: 0 shown, 1 no readable card there, 2 usage.",
    .opts = opts,
};

/* The report as JSON; what people read is printed from it. */

static json_t *knobs(const struct card_profile *profile) {
    json_t *all = json_object();

    for (const char *const *knob = card_profile_knobs(); *knob; knob++) {
        char text[CARD_KNOB_TEXT];

        if (card_profile_get(profile, *knob, text, sizeof text) == 0)
            json_object_set_new(all, *knob, json_string(text));
    }
    return all;
}

static const char *life_name(uint8_t life, bool issuer) {
    if (life & 0x80 && !issuer)
        return "locked";
    switch (life) {
    case 0x01:
        return "op-ready";
    case 0x03:
        return "installed";
    case 0x07:
        return issuer ? "initialized" : "selectable";
    case 0x0F:
        return issuer ? "secured" : "personalized";
    case 0x7F:
        return "card-locked";
    case 0xFF:
        return "terminated";
    default:
        return "of its own";
    }
}

static int add_applet(const struct card_applet_info *applet, void *user) {
    const char *known = NULL;
    json_t *o;

    for (const struct tb_safe_aid *a = tb_safe_aids; a->len; a++)
        if (tb_span_eq(applet->aid, tb_span(a->aid, a->len)))
            known = a->name;
    o = json_pack("{s:o, s:s*, s:i, s:s, s:o, s:s, s:i}", "aid", card_json_upper_hex(applet->aid),
                  "known_as", known, "instance", (int)applet->instance, "profile",
                  applet->profile->name, "knobs", knobs(applet->profile), "life",
                  life_name(applet->life, false), "placement", (int)applet->placement);

    if (applet->domain.n)
        json_object_set_new(o, "domain", card_json_upper_hex(applet->domain));
    if (applet->tar.n) {
        json_object_set_new(o, "tar", card_json_upper_hex(applet->tar));
        json_object_set_new(o, "msl", json_integer(applet->msl));
    }
    json_array_append_new(user, o);
    return 0;
}

static int add_domain(const struct card_domain_info *domain, void *user) {
    json_t *o = json_pack("{s:o, s:s, s:o, s:i, s:[]}", "aid", card_json_upper_hex(domain->aid),
                          "life", life_name(domain->life, domain->domain.n == 0), "privileges",
                          card_json_upper_hex(tb_span(domain->privileges, 3)), "placement",
                          (int)domain->placement, "key_versions");

    if (domain->domain.n)
        json_object_set_new(o, "domain", card_json_upper_hex(domain->domain));
    if (domain->tar.n) {
        json_object_set_new(o, "tar", card_json_upper_hex(domain->tar));
        json_object_set_new(o, "msl", json_integer(domain->msl));
    }
    for (size_t i = 0; i < domain->keysets; i++)
        json_array_append_new(json_object_get(o, "key_versions"),
                              card_json_upper_hex(tb_span(&domain->versions[i], 1)));
    json_array_append_new(user, o);
    return 0;
}

static const char *type_name(uint8_t type) {
    switch (type) {
    case TB_SAFE_RSA2048:
        return "rsa2048";
    case TB_SAFE_P256:
        return "p256";
    case TB_SAFE_P256_VOLATILE:
        return "p256-volatile";
    case TB_SAFE_BP256:
        return "brainpool256";
    case TB_SAFE_BP256_VOLATILE:
        return "brainpool256-volatile";
    case TB_SAFE_HMAC:
        return "hmac";
    case TB_SAFE_AES:
        return "aes";
    default:
        return "unknown";
    }
}

struct bit {
    unsigned bit;
    const char *name;
};

static json_t *bits(unsigned value, const struct bit *names) {
    json_t *all = json_array();

    for (; names->name; names++)
        if (value & names->bit)
            json_array_append_new(all, json_string(names->name));
    return all;
}

static json_t *functions_of(const struct card_object_spec *spec) {
    static const struct bit private_key[] = {{TB_SAFE_CAN_SIGN, "sign"},
                                             {TB_SAFE_CAN_GENERATE, "generate"},
                                             {TB_SAFE_CAN_AGREE, "agree"},
                                             {TB_SAFE_CAN_DERIVE, "derive"},
                                             {0, NULL}};
    static const struct bit public_key[] = {{TB_SAFE_CAN_SIGN, "verify"},
                                            {TB_SAFE_CAN_GENERATE, "generate"},
                                            {TB_SAFE_CAN_AGREE, "agree"},
                                            {TB_SAFE_CAN_DERIVE, "derive"},
                                            {0, NULL}};

    return bits(spec->crypto, spec->cls == CARD_PUBLIC ? public_key : private_key);
}

static void describe_file(json_t *o, const struct card_object_spec *spec) {
    X509 *cert = card_certificate_in(spec->value);

    json_object_set_new(o, "usage",
                        json_string(spec->file_usage == TB_SAFE_FILE_X509 ? "x509" : "general"));
    json_object_set_new(o, "size", json_integer((json_int_t)spec->value.n));
    json_object_set_new(o, "capacity", json_integer((json_int_t)spec->capacity));
    if (!cert)
        return;
    json_object_set_new(o, "certificate",
                        json_pack("{s:o, s:o, s:o}", "subject", card_json_subject(cert),
                                  "fingerprint", card_json_fingerprint(cert), "not_after",
                                  card_json_not_after(cert)));
    X509_free(cert);
}

static int add_object(uint8_t instance, const struct card_object_spec *spec, void *user) {
    static const char *const classes[] = {[CARD_PRIVATE] = "private",
                                          [CARD_PUBLIC] = "public",
                                          [CARD_SECRET] = "secret",
                                          [CARD_FILE] = "file"};
    static const struct bit access[] = {
        {TB_SAFE_READ, "read"}, {TB_SAFE_UPDATE, "update"}, {0, NULL}};
    json_t *o = json_pack("{s:s, s:i, s:o}", "class", classes[spec->cls], "instance", (int)instance,
                          "id", card_json_upper_hex(spec->id));

    if (spec->label.n) {
        json_t *label = json_stringn((const char *)spec->label.p, spec->label.n);

        json_object_set_new(o, "label", label ? label : card_json_hex(spec->label)); /* not UTF-8 */
    }
    json_object_set_new(o, "active", json_boolean(!spec->inactive));
    json_object_set_new(o, "access", bits(spec->access, access));
    if (spec->cls == CARD_FILE) {
        describe_file(o, spec);
    } else {
        json_object_set_new(o, "type", json_string(type_name(spec->key_type)));
        json_object_set_new(o, "functions", functions_of(spec));
    }
    if (spec->cls == CARD_PUBLIC && spec->value.n)
        json_object_set_new(o, "value", card_json_hex(spec->value));
    if (spec->cls == CARD_PRIVATE && spec->pair.n)
        json_object_set_new(o, "pair", card_json_upper_hex(spec->pair));
    json_array_append_new(user, o);
    return 0;
}

static int add_subscription(const struct card_subscription_info *s, void *user) {
    json_array_append_new(user, json_pack("{s:i, s:s, s:s, s:b, s:s, s:s, s:s}", "number",
                                          (int)s->number, "iccid", s->iccid, "imsi", s->imsi,
                                          "enabled", (int)s->enabled, "nickname", s->nickname,
                                          "provider", s->provider, "name", s->name));
    return 0;
}

static json_t *report(const struct card *card) {
    json_t *r = json_object(), *domains = json_array(), *applets = json_array(),
           *objects = json_array();
    char iccid[21], imsi[16], eid[33];

    card_iccid(card, iccid);
    card_imsi(card, imsi);
    json_object_set_new(r, "iccid", json_string(iccid));
    if (*imsi)
        json_object_set_new(r, "imsi", json_string(imsi));
    json_object_set_new(r, "atr", card_json_upper_hex(card_atr(card)));
    card_eid(card, eid);
    if (*eid) {
        json_t *subscriptions = json_array();

        (void)card_each_subscription(card, add_subscription, subscriptions);
        json_object_set_new(r, "eid", json_string(eid));
        json_object_set_new(r, "subscriptions", subscriptions);
    }
    (void)card_each_domain(card, add_domain, domains);
    (void)card_each_applet(card, add_applet, applets);
    (void)card_each_object(card, add_object, objects);
    json_object_set_new(r, "domains", domains);
    json_object_set_new(r, "applets", applets);
    json_object_set_new(r, "objects", objects);
    return r;
}

/* For people. */

static const char *text(const json_t *o, const char *key) {
    const char *s = json_string_value(json_object_get(o, key));

    return s ? s : "";
}

static void print_words(const json_t *words, const char *before) {
    const json_t *word;
    size_t i;

    json_array_foreach(words, i, word) {
        printf("%s%s", i ? "+" : before, json_string_value(word));
    }
}

static void print_object(const json_t *o) {
    const json_t *cert = json_object_get(o, "certificate");
    char label[80];

    snprintf(label, sizeof label, "\"%s\"", text(o, "label"));
    printf("  %-8s%-10s%-32s", text(o, "class"), text(o, "id"), label);
    if (strcmp(text(o, "class"), "file") == 0)
        printf("%s, %lld of %lld bytes", text(o, "usage"),
               (long long)json_integer_value(json_object_get(o, "size")),
               (long long)json_integer_value(json_object_get(o, "capacity")));
    else
        printf("%s", text(o, "type"));
    print_words(json_object_get(o, "functions"), ", ");
    print_words(json_object_get(o, "access"), ", device may ");
    printf("%s\n", json_is_true(json_object_get(o, "active")) ? "" : ", empty");
    if (cert)
        printf("%50s  %s, until %s\n", "", text(cert, "subject"), text(cert, "not_after"));
}

static void print_report(const json_t *r) {
    const json_t *applets = json_object_get(r, "applets"), *objects = json_object_get(r, "objects"),
                 *o;
    long long instance = -1;
    size_t i;

    printf("ICCID  %s\nIMSI   %s\nATR    %s\n\n", text(r, "iccid"),
           *text(r, "imsi") ? text(r, "imsi") : "none", text(r, "atr"));
    if (*text(r, "eid"))
        printf("EID    %s\n", text(r, "eid"));
    json_array_foreach(json_object_get(r, "subscriptions"), i, o) {
        printf("profile %lld  ICCID %s, IMSI %s, \"%s\" of \"%s\"%s\n",
               (long long)json_integer_value(json_object_get(o, "number")), text(o, "iccid"),
               *text(o, "imsi") ? text(o, "imsi") : "none", text(o, "name"), text(o, "provider"),
               json_is_true(json_object_get(o, "enabled")) ? ", enabled" : "");
    }
    if (*text(r, "eid"))
        printf("\n");
    json_array_foreach(json_object_get(r, "domains"), i, o) {
        printf("domain %-33s %s%s%s", text(o, "aid"), text(o, "life"),
               *text(o, "domain") ? ", belongs to " : ", the issuer's", text(o, "domain"));
        if (*text(o, "tar"))
            printf(", TAR %s", text(o, "tar"));
        if (json_array_size(json_object_get(o, "key_versions")) == 0)
            printf(", no keys");
        else
            print_words(json_object_get(o, "key_versions"), ", keys ");
        printf("\n");
    }
    if (json_array_size(applets) == 0)
        printf("no IoT SAFE applet\n");
    json_array_foreach(applets, i, o) {
        printf("applet %-33s instance %lld, profile %s%s%s%s, of %s%s%s\n", text(o, "aid"),
               (long long)json_integer_value(json_object_get(o, "instance")), text(o, "profile"),
               *text(o, "known_as") ? " (AID of " : "", text(o, "known_as"),
               *text(o, "known_as") ? ")" : "", text(o, "domain"),
               strcmp(text(o, "life"), "selectable") == 0 ? "" : ", ",
               strcmp(text(o, "life"), "selectable") == 0 ? "" : text(o, "life"));
    }
    json_array_foreach(objects, i, o) {
        long long its = json_integer_value(json_object_get(o, "instance"));

        if (its != instance)
            printf("\ninstance %lld\n", its);
        instance = its;
        print_object(o);
    }
}

static int inspect(const struct options *opt, struct tb_error *e) {
    struct card_config cfg = {0};
    struct card_nvm *nvm;
    struct card *card;
    json_t *r;
    int err = card_store_read(opt->store, &nvm, e);

    if (err < 0)
        return err;
    cfg.nvm = nvm;
    card = card_new(&cfg, &err);
    if (!card) {
        card_nvm_free(nvm);
        return tb_error_set(e, err, opt->store, 0, "this card cannot be read: %s",
                            tb_strerror(err));
    }
    r = report(card);
    if (opt->json) {
        json_dumpf(r, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        print_report(r);
    }
    json_decref(r);
    card_free(card);
    card_nvm_free(nvm);
    return fflush(stdout) == EOF ? tb_error_set(e, TB_ECLOSED, NULL, 0, "cannot write") : 0;
}

int card_command_inspect(int argc, char **argv) {
    struct options opt = {0};
    struct tb_error e = {0};
    int r;

    tb_cli_parse(&cli, argc, argv, &opt, NULL);
    if (!opt.store) {
        fprintf(stderr, "sim-card inspect: --store is missing\nTry 'sim-card inspect --help' for "
                        "more information.\n");
        return EXIT_USAGE;
    }
    r = inspect(&opt, &e);
    if (r < 0)
        fprintf(stderr, "%s%s%s\n", e.file, e.file[0] ? ": " : "", e.message);
    tb_cli_done(&cli, &opt);
    return r < 0 ? EXIT_FAILED : 0;
}
