/* Memory that runs out: allocation k fails, for every k, in every command, in the factory and in
 * card_new(). The answer is a status word or TB_ENOMEM, nothing has changed, and the card goes on.
 * The linker wraps the allocator for our own code; OpenSSL has its own hooks. */
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

#include "fixture.h"
#include "simcard/admin.h"
#include "tb/test.h"

#define SELECT "01A4040007A0000005590010"
#define HASH   "9E20BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"

/* another key, put into the peer slot, and its signature */
#define POINT_B                                                                                    \
    "515C3D6EB9E396B904D3FECA7F54FDCD0CC1E997BF375DCA515AD0A6C3B4035F"                             \
    "4536BE3A50F318FBF9A5475902A221502BEF0D57E08C53B2CC0A56F17D9F9354"
#define SIGNATURE_B                                                                                \
    "471C3E758C4904285BBA7E53118ED0F524ADEB0757D25BD2F8E7B0D76DFA714C"                             \
    "97314465A597855D57EB3935F35D4FE72C7343E7411DA802469CB286B0FB46AB"
#define PUT_B "8124000003850105", "81D880004734454943864104" POINT_B

#define ISD     "00A4040C08A000000151000000"
#define SESSION "session" /* fx_open_session() */
#define TARGET  "80E620000D000007A0000005590010000000"
#define KEY     "8810C62E5212589B9EAF19AE940D03C3B7C203F2A8DF"
#define SSD                                                                                        \
    "80E60C002807A000000151535008A00000015153504110A00000055910100102736456616C7565038040000000"
#define APPLET "80E60C002008F0494F545341464509F0494F54534146450106F05341464501010002C90000"

#define ISDR    "00A4040C10A0000005591010FFFFFFFF8900000100"
#define ENABLE  "80E2910014BF3111A00C5A0A980010325476981032648101FF"
#define SWITCH  "80E2910014BF3111A00C5A0A98001032547698103264810100"
#define DISABLE "80E2910014BF3211A00C5A0A98001032547698103254810100"

static unsigned countdown; /* 0: nothing fails */
static bool failed_one, failed_openssl;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

static bool fails(void) {
    if (countdown == 0 || --countdown > 0)
        return false;
    failed_one = true;
    return true;
}

void *__wrap_malloc(size_t n) {
    return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size) {
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n) {
    return fails() ? NULL : __real_realloc(p, n);
}

static void arm(unsigned k) {
    countdown = k;
    failed_one = failed_openssl = false;
}

/* Our own code makes a handful of allocations; OpenSSL's hundreds are sampled. */
static unsigned next(unsigned k) {
    return k < 40 ? k + 1 : k + k / 32;
}

/* False when fewer than k allocations were made: the end of the series. */
static bool disarm(void) {
    countdown = 0;
    return failed_one;
}

static void *openssl_malloc(size_t n, const char *file, int line) {
    (void)file;
    (void)line;
    if (!fails())
        return __real_malloc(n);
    failed_openssl = true;
    return NULL;
}

static void *openssl_realloc(void *p, size_t n, const char *file, int line) {
    (void)file;
    (void)line;
    if (!fails())
        return __real_realloc(p, n);
    failed_openssl = true;
    return NULL;
}

static void openssl_free(void *p, const char *file, int line) {
    (void)file;
    (void)line;
    free(p);
}

enum { PREPARATIONS = 5 };

struct tortured {
    const char *before[PREPARATIONS], *command;
    const char *knobs;
};

static const struct tortured commands[] = {
    {{NULL}, SELECT, NULL}, /* opens a channel */
    {{NULL}, "0070000001", NULL},
    {{NULL}, "0070000003", NULL},
    {{SELECT}, SELECT, NULL},
    {{SELECT}, "8184000000", NULL},
    {{SELECT}, "81840000000800", NULL},
    {{SELECT}, "81CB000044", NULL},
    {{SELECT}, "81CB010000", NULL},
    {{SELECT}, "81CB010000", "delivery=t0"},
    {{SELECT}, "81CBC10003840101", NULL},
    {{SELECT}, "81B0000003830102", NULL},
    {{SELECT}, "81B0000000000383010300 00", NULL},
    {{SELECT}, "81CD000003850101", NULL},
    {{SELECT}, "81CD000003850101", "delivery=t0"},
    {{SELECT}, "81CD00000385010A", NULL},
    {{SELECT}, "812A00010D840101A1010391020001920104", NULL},
    {{SELECT, "812A00010D840101A1010391020001920104"}, "812B800122" HASH, NULL},
    {{SELECT, "812A00010D84010AA1010391020001920101"}, "812B800122" HASH, NULL},
    {{SELECT, PUT_B, "812C00010D850105A1010391020001920104"},
     "812D800165" HASH "330040" SIGNATURE_B,
     NULL},
    {{SELECT, "812C00010D850101A1010391020001920104"}, "812D800122" HASH, NULL},
    {{SELECT}, "812A00000986010CA10101920108", NULL},
    {{SELECT, "812A00000986010CA10101920108"}, "812B8000049F024142", NULL},
    {{SELECT}, "81B9000003840104", NULL},
    {{SELECT}, "81B90000058403303036", NULL},
    {{SELECT}, "81B9000003840155", "create_on_demand=on"},
    {{SELECT}, "8124000003850105", NULL},
    {{SELECT}, "8124000003850155", "create_on_demand=on"},
    {{SELECT, "8124000003850105"}, "81D880004734454943864104" POINT_B, NULL},
    {{SELECT, "8124000003850105"}, "81D800000334010A", NULL},
    {{SELECT}, "8148000012860106D20A61637469766174696F6ED30110", NULL},
    {{SELECT}, "814A00000D860106D5040000000091020001", NULL},
    {{SELECT}, "91CD000003850101", NULL},
    {{SELECT, "91CD00000185"}, "81CD0000020101", NULL},
    {{SELECT, "81B9000003840104", "8124000003850101"}, "8146000006840104850104", NULL},
    {{ISD, SESSION}, "80D800814331" KEY KEY KEY, NULL},
    {{ISD, SESSION}, "80D830814333" KEY KEY KEY, NULL},
    {{ISD, SESSION}, "80D830021730" KEY, NULL},
    {{ISD, SESSION}, "80E4000003D20101", NULL},
    {{ISD, SESSION}, SSD, NULL},
    {{ISD, SESSION}, APPLET, NULL},
    {{ISD, SESSION, SSD, APPLET},
     "80E610001C10A00000055910100102736456616C75650006F05341464501000000",
     NULL},
    {{ISD, SESSION, SSD}, "80E6400017000010A00000055910100102736456616C756501800000", NULL},
    {{ISD, SESSION}, "80F0408007A0000002480400", NULL},
    {{ISD, SESSION}, "80F0807F", NULL},
    {{ISD, SESSION}, "80E40000094F07A0000002480400", NULL},
    {{ISD, SESSION, SSD, APPLET}, "80E40080124F10A00000055910100102736456616C7565", NULL},
    {{ISD, SESSION}, "80E288001600700642048900012300CF0A0A0B0C0D0E0F10111213", NULL},
    {{ISD, SESSION},
     "80E288006900B933B90F950110800188810110820101830133B90F950110800188810110820102830133B90F95011"
     "0800188810110820103830133811330C62E5212589B9EAF19AE940D03C3B7C2C62E5212589B9EAF19AE940D03C3B7"
     "C2C62E5212589B9EAF19AE940D03C3B7C2",
     NULL},
    {{ISD, SESSION, TARGET}, "80E2800009740783014420020010", NULL},
    {{ISD, SESSION, TARGET, "80E28000057503830108"}, "80E2800006770431383833", NULL},
    {{ISD, SESSION, TARGET}, "80E281000B7109840155850155480113", NULL},
    {{ISD, SESSION, TARGET}, "80E28000057603830103", NULL},
    {{ISD, SESSION, TARGET}, "80E28000167D14840101500F300D310B300906035504030C026430", NULL},
    {{ISD, SESSION}, TARGET, NULL},
    {{ISD, SESSION, TARGET},
     "80E2010005"
     "7E03830103"
     "00",
     NULL},
    {{ISD, SESSION, TARGET}, "80E2000004770A3939", NULL},
    {{ISDR}, ENABLE, "euicc"},
    {{ISDR}, SWITCH, "euicc"},
    {{ISDR}, DISABLE, "euicc"},
    {{ISDR}, "80E291000FBF330C5A0A98001032547698103264", "euicc"},
    {{ISDR}, "80E2910007BF3404820205E0", "euicc"},
    {{ISDR, ENABLE}, "80E2910006BF58038001FF", "euicc"},
    {{ISDR}, "80E2910012BF290F5A0A98001032547698103264900141", "euicc"},
    {{ISDR}, "80E291000EBF3F0B80096C6F63616C686F7374", "euicc"},
    {{ISDR, ENABLE}, "80E2910006BF3003800101", "euicc"},
    {{ISDR}, "80E2910003BF2D0000", "euicc"},
    {{ISDR, ENABLE}, "80E2910003BF280000", "euicc"},
    {{ISDR, ENABLE}, "80E2910003BF2B0000", "euicc"},
    {{ISDR}, "80E2110003BF3E03", "euicc"},
    {{ISDR, "80E2110003BF3E03"}, "80E29101035C015A", "euicc"},
    {{NULL}, "00A4040010A0000005591010FFFFFFFF8900000200", "euicc"},
    {{NULL}, "00A40004023F0000", NULL},
    {{NULL}, "00A40004023F00", NULL},
    {{NULL}, "80F20000", NULL},
    {{NULL}, "00B0820000", NULL},
    {{NULL}, "0084000008", NULL},
    {{NULL}, "00B201F400", NULL},
    {{"00A4040C07A0000000871002"}, "00D68B000100", NULL},
    {{NULL}, "002000010831313131FFFFFFFF", NULL},
};

enum { COMMANDS = sizeof commands / sizeof commands[0], STATE_MAX = 20000 };

static bool is_of_memory(const char *answer) {
    return strcmp(answer, "6A84") == 0 || strcmp(answer, "6581") == 0 ||
           strcmp(answer, "6F00") == 0 || strcmp(answer, "6400") == 0 ||
           strcmp(answer, "6881") == 0 || /* the channel that SELECT was to open */
           (failed_openssl &&
            strcmp(answer, "6A80") == 0); /* it does not always say why it refused a key */
}

static void run(struct card *card, const char *command) {
    if (strcmp(command, SESSION) == 0)
        fx_open_session(card);
    else
        fx_run(card, command);
}

/* Objects, public keys, files, as a fresh channel sees them. */
static void observe(struct card *card, char *state) {
    static const char *const probes[] = {"41A4040007A0000002480400",
                                         "C1CB0100000800",
                                         "C1CD0000058503303037",
                                         "C1CD000003850105",
                                         "C1CD000003850155",
                                         "41A4040C07A0000000871002",
                                         "41B08B000B",
                                         "41A4040C08A000000151000000",
                                         "C1CA00E000",
                                         "C1CA2F0000",
                                         "C1CA004200",
                                         "41A4040C10A0000005591010FFFFFFFF8900000100",
                                         "C1E2910003BF2D0000",
                                         "C1E2910003BF280000",
                                         "41A4000C022FE2",
                                         "41B000000A"};
    size_t n = 0;

    for (size_t i = 0; i < sizeof probes / sizeof probes[0]; i++)
        n += (size_t)snprintf(state + n, STATE_MAX - n, "%s\n", fx_run(card, probes[i]));
    assert_true(n < STATE_MAX);
    fx_run(card, "0070800500");
}

/* The status word of the command when memory does not fail. */
static void run_normally(const struct tortured *t, char sw[5]) {
    struct card_nvm *nvm;
    struct card *card = fx_card(t->knobs, &nvm);
    const char *answer;

    for (size_t i = 0; i < PREPARATIONS && t->before[i]; i++)
        run(card, t->before[i]);
    answer = fx_run(card, t->command);
    snprintf(sw, 5, "%s", answer + strlen(answer) - 4);
    card_free(card);
    card_nvm_free(nvm);
}

/* True while allocation k exists. */
static bool fail_at(const struct tortured *t, unsigned k, const char *normal) {
    static char before[STATE_MAX], after[STATE_MAX];
    struct card_nvm *nvm;
    struct card *card = fx_card(t->knobs, &nvm);
    const struct card_config cfg = {.nvm = nvm};
    char sw[5];
    const char *answer;
    bool more;
    int r;

    for (size_t i = 0; i < PREPARATIONS && t->before[i]; i++)
        run(card, t->before[i]);
    observe(card, after);
    arm(k);
    answer = fx_run(card, t->command);
    more = disarm();
    snprintf(sw, sizeof sw, "%s", answer + strlen(answer) - 4);
    if (strcmp(sw, normal) != 0) {
        if (!more || !is_of_memory(sw))
            fail_msg("%s, allocation %u: %s, normally %s", t->command, k, sw, normal);
        observe(card, before);
        if (strcmp(before, after) != 0)
            print_error("%s, allocation %u: %s\n", t->command, k, sw);
        assert_string_equal(before, after);
    }
    card_free(card);
    card = card_new(&cfg, &r);
    assert_non_null(card);
    card_free(card);
    card_nvm_free(nvm);
    return more;
}

static void commands_answer_and_change_nothing(void **state) {
    (void)state;
    for (size_t i = 0; i < COMMANDS; i++) {
        char normal[5];

        run_normally(&commands[i], normal);
        for (unsigned k = 1; fail_at(&commands[i], k, normal); k = next(k))
            assert_true(k < 5000);
    }
}

/* Once memory is there again, the same command works. */
static void commands_work_afterwards(void **state) {
    (void)state;
    for (size_t i = 0; i < COMMANDS; i++) {
        struct card_nvm *nvm;
        struct card *card = fx_card(commands[i].knobs, &nvm);
        char answer[8];

        for (size_t b = 0; b < PREPARATIONS && commands[i].before[b]; b++)
            run(card, commands[i].before[b]);
        arm(1);
        snprintf(answer, sizeof answer, "%s", fx_run(card, commands[i].command));
        if (disarm() && is_of_memory(answer)) {
            for (size_t b = 0; b < PREPARATIONS && commands[i].before[b]; b++)
                run(card, commands[i].before[b]);
            assert_false(is_of_memory(fx_run(card, commands[i].command)));
        }
        card_free(card);
        card_nvm_free(nvm);
    }
}

static void a_card_is_made_or_not(void **state) {
    struct card_nvm *nvm = fx_memory(NULL);
    const struct card_config cfg = {.nvm = nvm};
    bool more = true;

    (void)state;
    for (unsigned k = 1; more; k = next(k)) {
        struct card *card;
        struct tb_span atr;
        int r = 0;

        arm(k);
        card = card_new(&cfg, &r);
        if (card && card_power_on(card, &atr) < 0)
            assert_true(failed_one);
        more = disarm();
        if (!card)
            assert_int_equal(r, TB_ENOMEM);
        card_free(card);
    }
    card_nvm_free(nvm);
}

static int count(struct tb_span key, struct tb_span value, void *user) {
    (void)key;
    *(size_t *)user += value.n;
    return 0;
}

static size_t size_of(struct card_nvm *nvm) {
    size_t n = 0;

    assert_int_equal(nvm->ops->each(nvm, count, &n), 0);
    return n;
}

static int factory_step(struct card_nvm *nvm, int step) {
    const struct card_identity id = {.iccid = "89000123456789012345"};
    const struct card_pin_spec pin = {.ref = CARD_PIN1, .pin = "1234"};
    const struct card_object_spec key = {.cls = CARD_PRIVATE,
                                         .id = TB_BYTES(0x61),
                                         .access = 2,
                                         .key_type = TB_SAFE_P256,
                                         .value = tb_span(fx_scalar, 32)};
    uint8_t out[1024];
    struct tb_buf b = TB_BUF(out);

    switch (step) {
    case 0:
        return card_perso_identity(nvm, &id);
    case 1:
        return card_perso_pin(nvm, &pin);
    case 2:
        return card_perso_applet(nvm, TB_BYTES(0xA0, 0, 0, 5, 0x59, 0x77), 0,
                                 card_profile_find("gsma"));
    case 3:
        return card_perso_object(nvm, 0, &key);
    case 4:
        return card_perso_generate(nvm, 0, TB_BYTES(0x30, 0x30, 0x36), &b);
    case 5:
        return card_perso_csr(nvm, 0, TB_BYTES(0x01), "device", &b);
    default:
        return card_perso_file(nvm, 0, TB_BYTES(0x08), tb_span_str("1883"));
    }
}

static void the_factory_fails_cleanly(void **state) {
    (void)state;
    for (int step = 0; step < 7; step++) {
        bool more = true;

        for (unsigned k = 1; more; k = next(k)) {
            struct card_nvm *nvm = fx_memory(NULL);
            size_t before;
            int r;

            before = size_of(nvm);
            arm(k);
            r = factory_step(nvm, step);
            more = disarm();
            if (r < 0)
                assert_int_equal(size_of(nvm), before);
            if (r != 0 && !(more && (r == TB_ENOMEM || r == TB_ECRYPTO || r == TB_EPARSE)))
                fail_msg("step %d, allocation %u: %s", step, k, tb_strerror(r));
            card_nvm_free(nvm);
        }
    }
}

static void administration_fails_cleanly(void **state) {
    static char before[STATE_MAX], after[STATE_MAX];
    bool more = true;

    (void)state;
    for (unsigned k = 1; more; k = next(k)) {
        const uint8_t new_id = 0x44, id = 0x08, old_id = 0x03;
        const struct card_object_spec made = {
            .cls = CARD_FILE, .id = {&new_id, 1}, .access = 1, .value = tb_span_str("new")};
        const struct card_object_spec changed = {
            .cls = CARD_FILE, .id = {&id, 1}, .access = 1, .value = tb_span_str("changed")};
        struct card_nvm *nvm;
        struct card *card = fx_card(NULL, &nvm);
        bool ok;

        observe(card, before);
        arm(k);
        ok = card_admin_begin(card, 0) == 0 && card_admin_put(card, &made) == 0 &&
             card_admin_put(card, &changed) == 0 &&
             card_admin_delete(card, CARD_FILE, tb_span(&old_id, 1)) == 0 &&
             card_admin_commit(card) == 0;
        more = disarm();
        card_admin_abort(card);
        observe(card, after);
        assert_true((strcmp(before, after) == 0) == !ok);
        card_free(card);
        card_nvm_free(nvm);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_answer_and_change_nothing),
        cmocka_unit_test(commands_work_afterwards),
        cmocka_unit_test(a_card_is_made_or_not),
        cmocka_unit_test(the_factory_fails_cleanly),
        cmocka_unit_test(administration_fails_cleanly),
    };

    if (CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free) != 1)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
