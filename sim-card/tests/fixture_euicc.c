/* An eUICC for tests. Profile 1, "red", is enabled; 2, "blue", has a PIN, an issuer domain with
 * keys and an applet with a secret of its own; 3 is for testing and has no USIM; 4 serves for
 * provisioning and may not be deleted. Red has an applet of its own too; those of all well-known
 * AIDs are on the platform. */
#include <assert.h>

#include "fixture.h"

static const uint8_t key[16] = {0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47,
                                0x48, 0x49, 0x4A, 0x4B, 0x4C, 0x4D, 0x4E, 0x4F};

static void check(int r) {
    assert(r == 0);
    (void)r;
}

static void identities(struct card_nvm *nvm) {
    static const uint8_t opc[16] = {1, 2, 3, 4};
    const struct card_identity own = {.iccid = "89000000000000000000"},
                               blue = {.subscription = 2,
                                       .iccid = "89000123456789012346",
                                       .imsi = "002020123456789",
                                       .spn = "testbed blue"},
                               test = {.subscription = 3, .iccid = "8900012345678901237"},
                               boot = {.subscription = 4,
                                       .iccid = "89000123456789012348",
                                       .imsi = "003030123456789"};
    const struct card_usim_spec usim = {
        .subscription = 2, .k = tb_span(key, sizeof key), .opc = tb_span(opc, sizeof opc)};
    const struct card_pin_spec pin = {
        .subscription = 2, .ref = CARD_PIN1, .pin = "5678", .enabled = true};

    check(card_perso_identity(nvm, &own));
    check(card_perso_identity(nvm, &blue));
    check(card_perso_identity(nvm, &test));
    check(card_perso_identity(nvm, &boot));
    check(card_perso_usim(nvm, &usim));
    check(card_perso_pin(nvm, &pin));
}

static void profiles(struct card_nvm *nvm) {
    static const uint8_t eid[] = {0x89, 0x04, 0x90, 0x32, 0x12, 0x34, 0x51, 0x23,
                                  0x45, 0x12, 0x34, 0x56, 0x78, 0x90, 0x12, 0x35};
    static const uint8_t own[] = {0x30, 0x03, 0x02, 0x01, 0x01},
                         maker[] = {0x30, 0x03, 0x02, 0x01, 0x02};
    const struct card_euicc_spec euicc = {.eid = tb_span(eid, sizeof eid),
                                          .key = tb_span(fx_scalar, sizeof fx_scalar),
                                          .certificate = tb_span(own, sizeof own),
                                          .eum = tb_span(maker, sizeof maker),
                                          .smdp = "smdp.example.com",
                                          .smds = "smds.example.com"};
    const struct card_subscription_spec all[] = {
        {.number = 1,
         .enabled = true,
         .cls = CARD_CLASS_OPERATIONAL,
         .nickname = "first",
         .provider = "testbed red",
         .name = "red plan",
         .notify = "smdp.example.com"},
        {.number = 2,
         .cls = CARD_CLASS_OPERATIONAL,
         .provider = "testbed blue",
         .name = "blue plan",
         .notify = "smdp.example.com"},
        {.number = 3, .cls = CARD_CLASS_TEST, .name = "test"},
        {.number = 4, .cls = CARD_CLASS_PROVISIONING, .forbid = CARD_FORBID_DELETE},
    };

    check(card_perso_euicc(nvm, &euicc));
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        check(card_perso_subscription(nvm, &all[i]));
}

static void applications(struct card_nvm *nvm) {
    static const uint8_t issuer[] = {0xA0, 0x00, 0x00, 0x01, 0x51, 0x00, 0x00, 0x00},
                         red[] = {0xA0, 0x00, 0x00, 0x05, 0x59, 0x00, 0x11, 0x01},
                         blue[] = {0xA0, 0x00, 0x00, 0x05, 0x59, 0x00, 0x11, 0x02}, id[] = {0x01};
    const struct card_app_spec domain = {.aid = tb_span(issuer, sizeof issuer), .placement = 2},
                               applets[] = {
                                   {.aid = tb_span(red, sizeof red),
                                    .instance = 11,
                                    .profile = card_profile_find("gsma"),
                                    .placement = 1},
                                   {.aid = tb_span(blue, sizeof blue),
                                    .domain = tb_span(issuer, sizeof issuer),
                                    .instance = 12,
                                    .profile = card_profile_find("gsma"),
                                    .placement = 2},
                               };
    const struct card_keys_spec keys = {
        .version = 0x30, .keys = {{key, sizeof key}, {key, sizeof key}, {key, sizeof key}}};

    check(card_perso_app(nvm, &domain));
    check(card_perso_keys(nvm, domain.aid, 2, &keys));
    for (size_t i = 0; i < 2; i++) {
        const struct card_object_spec file = {.cls = CARD_FILE,
                                              .id = tb_span(id, sizeof id),
                                              .access = TB_SAFE_READ,
                                              .value = tb_span_str(i ? "blue" : "red")};

        check(card_perso_app(nvm, &applets[i]));
        check(card_perso_object(nvm, applets[i].instance, &file));
    }
}

void fx_euicc(struct card_nvm *nvm) {
    identities(nvm);
    profiles(nvm);
    applications(nvm);
}
