#include "tb/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cardfile.h"

#define IDENTITY "[card]\niccid = 8988211000000000011\nimsi = 001010000000001\n"
#define APPLET   "[applet]\naid = A0000005590010\n"

struct fixture {
    char path[32];
    struct cardfile *f;
    struct tb_error e;
};

static int setup(void **state) {
    struct fixture *t = calloc(1, sizeof *t);
    int fd;

    strcpy(t->path, "/tmp/tb-card-XXXXXX");
    fd = mkstemp(t->path);
    assert_true(fd >= 0);
    close(fd);
    *state = t;
    return 0;
}

static int teardown(void **state) {
    struct fixture *t = *state;

    cardfile_free(t->f);
    unlink(t->path);
    free(t);
    return 0;
}

static int read_text(struct fixture *t, const char *text, const struct cardfile_override *with) {
    FILE *out = fopen(t->path, "w");

    assert_non_null(out);
    fputs(text, out);
    fclose(out);
    cardfile_free(t->f);
    t->f = NULL;
    memset(&t->e, 0, sizeof t->e);
    return cardfile_read(t->path, with, &t->f, &t->e);
}

static void accepted(struct fixture *t, const char *text) {
    int r = read_text(t, text, NULL);

    if (r < 0)
        print_error("line %d: %s\n", t->e.line, t->e.message);
    assert_int_equal(r, 0);
}

/* Reading text fails at that line with a message that contains words. */
static void refused(struct fixture *t, const char *text, int line, const char *words) {
    assert_true(read_text(t, text, NULL) < 0);
    assert_null(t->f);
    if (!strstr(t->e.message, words) || t->e.line != line)
        print_error("line %d: %s\n", t->e.line, t->e.message);
    assert_non_null(strstr(t->e.message, words));
    assert_int_equal(t->e.line, line);
    assert_string_equal(t->e.file, t->path);
}

static const struct cardfile_entry *entry(struct fixture *t, enum cardfile_kind kind,
                                          const char *name) {
    const struct cardfile_entry *at = cardfile_find(t->f, kind, name);

    assert_non_null(at);
    return at;
}

static void assert_bytes(const struct cardfile_bytes *b, const char *text) {
    assert_int_equal(b->n, strlen(text));
    assert_memory_equal(b->p, text, b->n);
}

static void identity_is_all_a_card_needs(void **state) {
    struct fixture *t = *state;

    accepted(t, IDENTITY "spn = Red\nmnc_digits = 3\natr = 3B 00\n");
    assert_string_equal(t->f->iccid, "8988211000000000011");
    assert_string_equal(t->f->imsi, "001010000000001");
    assert_string_equal(t->f->spn, "Red");
    assert_int_equal(t->f->mnc_digits, 3);
    assert_int_equal(t->f->atr.n, 2);
    assert_null(t->f->first);
}

static void bytes_are_hex_or_quoted_text(void **state) {
    struct fixture *t = *state;

    accepted(t, IDENTITY APPLET "[key a]\nid = \"006\"\n[key b]\nid = 0a:0B\n");
    assert_bytes(&entry(t, CARDFILE_KEY, "a")->id, "006");
    assert_bytes(&entry(t, CARDFILE_KEY, "b")->id, "\x0A\x0B");
}

static void a_key_signs_unless_told_otherwise(void **state) {
    struct fixture *t = *state;
    const struct cardfile_entry *k;

    accepted(t, IDENTITY APPLET "[key k]\nid = 01\n");
    k = entry(t, CARDFILE_KEY, "k");
    assert_int_equal(k->type, TB_SAFE_P256);
    assert_int_equal(k->functions, TB_SAFE_CAN_SIGN);
    assert_int_equal(k->sign_alg, TB_SAFE_ECDSA);
    assert_int_equal(k->hash, TB_SAFE_SHA256);
    assert_int_equal(k->usage, TB_SAFE_USE_GENERAL);
    assert_int_equal(k->access, 0);
    assert_int_equal(k->public_access, TB_SAFE_READ);
    assert_int_equal(k->value, CARDFILE_GENERATE);
}

#define DOMAINS                                                                                    \
    "[domain isd]\n[domain sp]\naid = F0000000AA\ndomain = isd\ntar = 010203\nmsl = 0x16\n"

static void domains_own_keys_and_applets(void **state) {
    struct fixture *t = *state;
    const struct cardfile_entry *sp;

    accepted(t, IDENTITY DOMAINS "[keys k]\ndomain = sp\nversion = 0x30\n"
                                 "key = 404142434445464748494A4B4C4D4E4F\n" APPLET
                                 "domain = sp\nplacement = 1\nvariant = type2\n");
    sp = entry(t, CARDFILE_DOMAIN, "sp");
    assert_string_equal(sp->domain, "isd");
    assert_int_equal(sp->msl, 0x16);
    assert_bytes(&sp->tar, "\1\2\3");
    assert_int_equal(entry(t, CARDFILE_KEYS, "k")->version, 0x30);
    assert_int_equal(entry(t, CARDFILE_APPLET, "")->type, 2);
}

static void what_does_not_fit_a_domain_is_refused(void **state) {
    struct fixture *t = *state;

    refused(t, IDENTITY "[domain a]\n[domain b]\n", 5, "one issuer's domain in a place");
    refused(t, IDENTITY "[domain a]\n[domain b]\ndomain = a\n", 5, "'aid' is missing");
    refused(t, IDENTITY "[domain a]\naid = F000000001\ndomain = a\n", 4, "belongs to itself");
    refused(t, IDENTITY "[domain isd]\nauthorized = yes\n", 4, "leave 'authorized' out");
    refused(t, IDENTITY "[domain isd]\nmsl = 1\n", 4, "without 'tar'");
    refused(t, IDENTITY "[domain isd]\nplacement = 1\n" APPLET "domain = isd\n", 6,
            "in another profile");
    refused(t, IDENTITY DOMAINS APPLET "domain = ps\n", 10, "did you mean 'sp'");
    refused(t, IDENTITY DOMAINS "[applet]\naid = F0000000AA\n", 10, "is taken by [domain sp]");
    refused(t, IDENTITY DOMAINS "[keys k]\nversion = 1\n", 10, "'domain' is missing");
    refused(t,
            IDENTITY DOMAINS
            "[keys k]\ndomain = sp\nversion = 1\nenc = 404142434445464748494A4B4C4D4E4F\n",
            10, "of one length");
    refused(t, IDENTITY DOMAINS "[keys k]\ndomain = sp\nversion = 0x30\ntype = des\n", 10, "SCP80");
    refused(t,
            IDENTITY DOMAINS
            "[keys k]\ndomain = sp\nversion = 1\n[keys l]\ndomain = sp\nversion = 1\n",
            13, "of that version already");
}

#define EUICC                                                                                      \
    "[card]\niccid = 8988211000000000011\n[euicc]\neid = 89049032123451234512345678901235\n"
#define RED "[subscription red]\nnumber = 1\niccid = 8988211000000000029\nimsi = 001010000000001\n"

static void an_euicc_has_subscriptions(void **state) {
    struct fixture *t = *state;
    const struct cardfile_entry *red;

    accepted(t, EUICC RED "enabled = yes\nforbid = disable, delete\nspn = red\n" APPLET
                          "placement = 1\n");
    red = entry(t, CARDFILE_SUBSCRIPTION, "red");
    assert_int_equal(red->number, 1);
    assert_true(red->enabled);
    assert_int_equal(red->cls, CARD_CLASS_OPERATIONAL);
    assert_int_equal(red->forbid, CARD_FORBID_DISABLE | CARD_FORBID_DELETE);
    assert_string_equal(red->imsi, "001010000000001");
}

static void what_does_not_fit_an_euicc_is_refused(void **state) {
    struct fixture *t = *state;

    refused(t, IDENTITY "[euicc]\neid = 89049032123451234512345678901235\n", 4, "out of [card]");
    refused(
        t, "[card]\niccid = 8988211000000000011\n[euicc]\neid = 89049032123451234512345678901236\n",
        3, "have to be 35");
    refused(t, EUICC "[euicc]\neid = 89049032123451234512345678901235\n", 5, "described already");
    refused(t, "[card]\niccid = 8988211000000000011\n[euicc]\n", 3, "'eid' is missing");
    refused(t, IDENTITY RED, 4, "write [euicc]");
    refused(t, EUICC "[usim]\n", 5, "in [subscription] sections");
    refused(t, EUICC "[subscription]\n", 5, "needs a name");
    refused(t, EUICC "[subscription a]\nnumber = 1\n", 5, "'iccid' is missing");
    refused(t, EUICC "[subscription a]\nnumber = 0\n", 6, "not a number from 1 to 255");
    refused(t, EUICC "[subscription a]\nnumber = 2\niccid = 1\n", 5, "18 to 20 digits");
    refused(t, EUICC RED "[subscription b]\nnumber = 1\niccid = 8988211000000000037\n", 9,
            "'number' is taken");
    refused(t, EUICC RED "[subscription b]\nnumber = 2\niccid = 8988211000000000029\n", 9,
            "'iccid' is taken");
    refused(t,
            EUICC RED "enabled = yes\n[subscription b]\nnumber = 2\n"
                      "iccid = 8988211000000000037\nenabled = yes\n",
            10, "one subscription at most");
    refused(t, EUICC RED "puk1 = 12345678\n", 5, "without 'pin1'");
    refused(t, EUICC RED "class = operatoinal\n", 9, "did you mean 'operational'");
    refused(t, EUICC RED APPLET "placement = 2\n", 9, "no [subscription] has that number");
}

static void a_volatile_key_is_for_key_agreement(void **state) {
    struct fixture *t = *state;
    const struct cardfile_entry *k;

    accepted(t, IDENTITY APPLET "[key k]\nid = 01\ntype = p256-volatile\n");
    k = entry(t, CARDFILE_KEY, "k");
    assert_int_equal(k->functions, TB_SAFE_CAN_GENERATE | TB_SAFE_CAN_AGREE);
    assert_int_equal(k->sign_alg, 0);
    assert_int_equal(k->access, TB_SAFE_UPDATE);
    assert_int_equal(k->public_access, TB_SAFE_READ | TB_SAFE_UPDATE);
    assert_int_equal(k->value, CARDFILE_EMPTY);
}

static void sets_take_several_words(void **state) {
    struct fixture *t = *state;
    const struct cardfile_entry *k;

    accepted(t, IDENTITY APPLET "[key k]\nid = 01\ntype = rsa2048\nfunctions = sign,generate\n"
                                "signature = rsa-pss\nhash = sha256, sha512\naccess = none\n");
    k = entry(t, CARDFILE_KEY, "k");
    assert_int_equal(k->functions, TB_SAFE_CAN_SIGN | TB_SAFE_CAN_GENERATE);
    assert_int_equal(k->sign_alg, TB_SAFE_RSA_PSS);
    assert_int_equal(k->hash, TB_SAFE_SHA256 | TB_SAFE_SHA512);
    assert_int_equal(k->access, 0);
}

static void variables_are_replaced_and_the_command_line_wins(void **state) {
    struct fixture *t = *state;
    char *set[] = {(char[]){"who=blue"}, NULL};
    const struct cardfile_override with = {.iccid = "8988211000000000029", .set = set};
    static const char text[] = "[set]\nwho = red\nwhole = x${who}y\n" IDENTITY APPLET
                               "[file f]\nid = 01\ntext = ${whole} ${iccid}\n";

    accepted(t, text);
    assert_string_equal(entry(t, CARDFILE_FILE, "f")->text, "xredy 8988211000000000011");
    assert_int_equal(read_text(t, text, &with), 0);
    assert_string_equal(entry(t, CARDFILE_FILE, "f")->text, "xbluey 8988211000000000029");
    assert_string_equal(t->f->iccid, "8988211000000000029");
    assert_string_equal(t->f->imsi, "001010000000001");
}

static void numbers_may_come_from_the_command_line_alone(void **state) {
    struct fixture *t = *state;
    const struct cardfile_override with = {.iccid = "8988211000000000029",
                                           .imsi = "001010000000002"};

    assert_int_equal(read_text(t, "[card]\nspn = x\n", &with), 0);
    assert_string_equal(t->f->iccid, "8988211000000000029");
    assert_string_equal(t->f->imsi, "001010000000002");
}

static void an_override_without_variable_is_an_error(void **state) {
    struct fixture *t = *state;
    char *near[] = {(char[]){"wo=blue"}, NULL}, *odd[] = {(char[]){"blue"}, NULL};
    const struct cardfile_override with_near = {.set = near}, with_odd = {.set = odd};

    assert_true(read_text(t, "[set]\nwho = red\n" IDENTITY, &with_near) < 0);
    assert_non_null(strstr(t->e.message, "did you mean 'who'?"));
    assert_true(read_text(t, IDENTITY, &with_odd) < 0);
    assert_non_null(strstr(t->e.message, "want name=value"));
}

static void profile_is_built_in_or_the_files_own(void **state) {
    struct fixture *t = *state;
    const struct cardfile_entry *p;

    accepted(t, IDENTITY "[profile mine]\nbase = gsma\nsig_len = 8\nmax_block = 100\n"
                         "[applet]\naid = A0000005590010\nprofile = mine\n"
                         "[applet]\naid = A0000002480400\nprofile = orange\n");
    p = entry(t, CARDFILE_PROFILE, "mine");
    assert_string_equal(p->knobs.name, "mine");
    assert_int_equal(p->knobs.sig_len, TB_SAFE_LEN_8);
    assert_int_equal(p->knobs.max_block, 100);
}

static void misspelt_words_get_the_nearest_right_one(void **state) {
    struct fixture *t = *state;

    refused(t, IDENTITY "[kei a]\n", 4, "did you mean 'key'?");
    refused(t, IDENTITY "icid = 1\n", 4, "did you mean 'iccid'?");
    refused(t, IDENTITY APPLET "[key a]\nlable = x\n", 7, "did you mean 'label'?");
    refused(t, IDENTITY APPLET "[key a]\nfunctions = sing\n", 7, "did you mean 'sign'?");
    refused(t, IDENTITY APPLET "[key a]\ntype = p257\n", 7, "did you mean 'p256'?");
    refused(t, IDENTITY "[applet]\naid = A0000005590010\nprofile = gmsa\n", 4,
            "did you mean 'gsma'?");
    refused(t, IDENTITY "[profile p]\nsig_le = 8\n", 5, "did you mean 'sig_len'?");
    refused(t, IDENTITY "[profile p]\nbase = gmsa\n", 5, "did you mean 'gsma'?");
    refused(t, "[set]\nname = x\n" IDENTITY "spn = ${nam}\n", 6, "did you mean 'name'?");
    refused(t, IDENTITY APPLET "[key a]\nid = 01\n[certificate c]\nkey = b\n[key bb]\nid = 02\n", 8,
            "did you mean 'bb'?");
    refused(t,
            IDENTITY APPLET
            "[key a]\nid=01\n[certificate cert]\nkey=a\n[file f]\nid=02\ncertificate=cerd\n",
            10, "did you mean 'cert'?");
}

static void values_outside_their_limits_are_refused(void **state) {
    struct fixture *t = *state;

    refused(t, IDENTITY "mnc_digits = 4\n", 4, "from 2 to 3");
    refused(t, IDENTITY "mnc_digits = two\n", 4, "not a number");
    refused(t, IDENTITY "atr = 3G\n", 4, "not hexadecimal");
    refused(t, IDENTITY "spn =\n", 4, "no value");
    refused(t, IDENTITY "[applet]\naid = A000000559001000000000000000000000\n", 5,
            "allowed are 5 to 16");
    refused(t, IDENTITY APPLET "[key a]\nid = 000102030405060708090A0B0C0D0E0F1011121314\n", 7,
            "allowed are 1 to 20");
    refused(t, IDENTITY "[profile p]\nsig_len = 9\n", 5, "cannot be '9'");
    refused(t, "[card]\niccid = 89\n", 0, "18 to 20 digits");
    refused(t, "[card]\niccid = 8988211000000000011\nimsi = x\n", 0, "6 to 15 digits");
    refused(t, "[card]\nspn = x\n", 0, "no ICCID");
}

static void contradictions_are_refused(void **state) {
    struct fixture *t = *state;

    refused(t, IDENTITY "[card]\n", 4, "already in line 1");
    refused(t, IDENTITY "iccid = 8988211000000000011\n", 4, "two 'iccid'");
    refused(t, IDENTITY APPLET "[key a]\nid = 01\n[key a]\n", 8, "already in line 6");
    refused(t, IDENTITY "[key]\n", 4, "needs a name");
    refused(t, IDENTITY "[set x]\n", 4, "takes no name");
    refused(t, "x = 1\n", 1, "before the first section");
    refused(t, IDENTITY APPLET "[key a]\nlabel = x\n", 6, "'id' is missing");
    refused(t, IDENTITY APPLET "[key a]\nid = 01\n[key b]\nid = 01\n", 8,
            "taken by [key a] in line 6");
    refused(t, IDENTITY APPLET "[key a]\nid = 01\n[public b]\nid = 01\n", 8,
            "taken by [key a] in line 6");
    refused(t, IDENTITY APPLET APPLET, 6, "AID A0000005590010 is taken");
    refused(t, IDENTITY APPLET "[key a]\nid = 01\ninstance = 1\n", 6,
            "no [applet] has instance = 1");
    refused(t, IDENTITY APPLET "[key a]\nid = 01\nvalue = empty\nfrom = x\n", 6,
            "exclude each other");
    refused(t, IDENTITY APPLET "[key a]\nid = 01\ntype = p256-volatile\nvalue = generate\n", 6,
            "volatile");
    refused(t, IDENTITY APPLET "[key a]\nid=01\ncopy_of=b\n", 6, "no [key b]");
    refused(t, IDENTITY APPLET "[key a]\nid=01\nvalue=empty\n[key b]\nid=02\ncopy_of=a\n", 9,
            "without a value");
    refused(
        t, IDENTITY APPLET "[key a]\nid=01\n[key b]\nid=02\ncopy_of=a\n[key c]\nid=03\ncopy_of=b\n",
        11, "name the original");
    refused(t, IDENTITY APPLET "[key a]\nid=01\n[key b]\nid=02\ntype=rsa2048\ncopy_of=a\n", 8,
            "original's");
    refused(t, IDENTITY APPLET "[key a]\nid=01\nfrom=x\ncopy_of=b\n", 6, "exclude each other");
    refused(t, IDENTITY APPLET "[key a]\nid=01\ntype=rsa2048\nfunctions=agree\n", 6,
            "cannot agree");
    refused(t, IDENTITY APPLET "[key a]\nid=01\nvalue=empty\n[certificate c]\nkey=a\n", 9,
            "no value");
    refused(t, IDENTITY APPLET "[certificate ca]\nkey = a\n", 6, "always means the CA");
    refused(t, IDENTITY APPLET "[secret s]\nid = 01\nhex = 00\nrandom = 5\n", 6,
            "exclude each other");
    refused(t, IDENTITY APPLET "[secret s]\nid = 01\ntype = aes\nrandom = 32\n", 6, "16 bytes");
    refused(t, IDENTITY APPLET "[secret s]\nid = 01\ntype = aes\nfunctions = derive\n", 6,
            "nothing can be derived");
    refused(t, IDENTITY APPLET "[file f]\nid = 01\n", 6, "needs 'capacity'");
    refused(t, IDENTITY APPLET "[file f]\nid = 01\ntext = x\nformat = pem\n", 6,
            "'format' is for certificates");
    refused(t, IDENTITY "[pin pin3]\npin = 1234\n", 4, "[pin adm1]");
    refused(t, IDENTITY "[pin adm1]\npin = 1234\nenabled = no\n", 4, "only pin1");
    refused(t, IDENTITY "[profile p]\nsig_len = 8\nbase = gsma\n", 6, "base must be the first");
    refused(t, IDENTITY "[profile p]\n", 4, "empty");
}

static void same_ids_may_stand_in_different_stores(void **state) {
    struct fixture *t = *state;

    accepted(t, IDENTITY APPLET
             "[applet]\naid = A0000002480400\ninstance = 1\n"
             "[key a]\nid = 01\n[key b]\nid = 01\ninstance = 1\n[file c]\nid = 01\ntext = x\n"
             "[secret d]\nid = 01\nrandom = 16\n");
}

static void secrets_do_not_show_in_messages(void **state) {
    struct fixture *t = *state;

    refused(t, IDENTITY APPLET "[secret s]\nid = 01\nhex = 00112233445566GG\n", 8,
            "not hexadecimal");
    assert_null(strstr(t->e.message, "001122"));
}

static void paths_are_relative_to_the_file(void **state) {
    struct fixture *t = *state;
    char *path;

    accepted(t, IDENTITY);
    path = cardfile_path(t->f, "key.pem");
    assert_string_equal(path, "/tmp/key.pem");
    free(path);
    path = cardfile_path(t->f, "/key.pem");
    assert_string_equal(path, "/key.pem");
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(identity_is_all_a_card_needs),
        TEST(bytes_are_hex_or_quoted_text),
        TEST(a_key_signs_unless_told_otherwise),
        TEST(domains_own_keys_and_applets),
        TEST(what_does_not_fit_a_domain_is_refused),
        TEST(an_euicc_has_subscriptions),
        TEST(what_does_not_fit_an_euicc_is_refused),
        TEST(a_volatile_key_is_for_key_agreement),
        TEST(sets_take_several_words),
        TEST(variables_are_replaced_and_the_command_line_wins),
        TEST(numbers_may_come_from_the_command_line_alone),
        TEST(an_override_without_variable_is_an_error),
        TEST(profile_is_built_in_or_the_files_own),
        TEST(misspelt_words_get_the_nearest_right_one),
        TEST(values_outside_their_limits_are_refused),
        TEST(contradictions_are_refused),
        TEST(same_ids_may_stand_in_different_stores),
        TEST(secrets_do_not_show_in_messages),
        TEST(paths_are_relative_to_the_file),
    };

    return cmocka_run_group_tests_name("cardfile", tests, NULL, NULL);
}
