#include <stdio.h>

#include "at/lex.h"
#include "tb/test.h"

/* All commands of a body as text: NAME form[:number](args) …, "!" for an error. */
static const char *commands(const char *body) {
    static const char *const forms[] = {
        [AT_FORM_EXEC] = "x", [AT_FORM_SET] = "=", [AT_FORM_READ] = "?", [AT_FORM_TEST] = "=?"};
    static char out[1024];
    struct tb_span in = tb_span_str(body);
    struct at_request q;
    int r;

    out[0] = '\0';
    while ((r = at_lex_next(&in, &q)) == 1) {
        char *end = out + strlen(out);

        end += sprintf(end, "%s%s%s", *out ? " " : "", q.name, forms[q.form]);
        if (q.has_number)
            end += sprintf(end, ":%u", q.number);
        if (q.args.n)
            sprintf(end, "(%.*s)", (int)q.args.n, (const char *)q.args.p);
    }
    if (r < 0)
        snprintf(out + strlen(out), sizeof out - strlen(out), *out ? " !" : "!");
    return out;
}

static void basic_commands_follow_each_other(void **state) {
    (void)state;
    assert_string_equal(commands(""), "");
    assert_string_equal(commands("E0V1Q0X4&C1"), "Ex:0 Vx:1 Qx:0 Xx:4 &Cx:1");
    assert_string_equal(commands("EVZ&f"), "Ex Vx Zx &Fx");
    assert_string_equal(commands("\\q3h"), "\\Qx:3 Hx");
    assert_string_equal(commands("E4294967296"),
                        "Ex:4294967295"); /* saturated: refused by its handler */
}

static void extended_commands_have_four_forms(void **state) {
    (void)state;
    assert_string_equal(commands("+csim"), "+CSIMx");
    assert_string_equal(commands("+CSIM?"), "+CSIM?");
    assert_string_equal(commands("+CSIM=?"), "+CSIM=?");
    assert_string_equal(commands("+CSIM=10,\"00\""), "+CSIM=(10,\"00\")");
    assert_string_equal(commands("+CSIM="), "+CSIM=");
    assert_string_equal(commands("^SBNR=?;$X;*Y;#Z;%A;!B;@C;_D"),
                        "^SBNR=? $Xx *Yx #Zx %Ax !Bx @Cx _Dx");
}

static void semicolons_separate(void **state) {
    (void)state;
    assert_string_equal(commands("E0V1Q0X4&C1+CMEE=1;+CREG=2"),
                        "Ex:0 Vx:1 Qx:0 Xx:4 &Cx:1 +CMEE=(1) +CREG=(2)");
    assert_string_equal(commands("+CMEE=1;"), "+CMEE=(1)");
    assert_string_equal(commands("+CMEE=1;E0"), "+CMEE=(1) Ex:0");
    assert_string_equal(commands("E0;V1"), "Ex:0 Vx:1");
    assert_string_equal(commands(";;+A;;+B;;"), "+Ax +Bx");
    assert_string_equal(commands("+X=\"a;b\";+Y"), "+X=(\"a;b\") +Yx");
}

static void dialling_takes_the_rest(void **state) {
    (void)state;
    assert_string_equal(commands("D*99***1#"), "Dx(*99***1#)");
    assert_string_equal(commands("H0D123;+CSQ"), "Hx:0 Dx(123;+CSQ)");
    assert_string_equal(commands("D"), "Dx");
}

static void registers(void **state) {
    (void)state;
    assert_string_equal(commands("S3?"), "S?:3");
    assert_string_equal(commands("S0=1S7=60"), "S=:0(1) S=:7(60)");
    assert_string_equal(commands("S3="), "S=:3");
    assert_string_equal(commands("S12"), "Sx:12");
}

static void errors_stop_where_they_are(void **state) {
    (void)state;
    assert_string_equal(commands("+"), "!");
    assert_string_equal(commands("+1"), "!");
    assert_string_equal(commands("E0+CSQ?x"), "Ex:0 !");
    assert_string_equal(commands("+X=\"open"), "!");
    assert_string_equal(commands("+X=\"open;+Y"), "!");
    assert_string_equal(commands("\"E0\""), "!");
    assert_string_equal(commands("E0&"), "Ex:0 !");
    assert_string_equal(commands("E0?"), "Ex:0 !");
    assert_string_equal(commands("9"), "!");
    assert_string_equal(commands("\xE9"), "!");
    assert_string_equal(commands("+ABCDEFGHIJKLMNOPQRSTUVWXYZ"), "!"); /* longer than any name */
}

/* Parameters as text: s(…) string, p(…) plain, - omitted, ! error. */
static const char *params(const char *text) {
    static char out[1024];
    struct at_args a = at_args(tb_span_str(text));
    struct at_arg arg;
    int r;

    out[0] = '\0';
    while ((r = at_args_next(&a, &arg)) == 1) {
        char *end = out + strlen(out);

        if (arg.kind == AT_ARG_OMITTED)
            sprintf(end, "-");
        else
            sprintf(end, "%c(%.*s)", arg.kind == AT_ARG_STRING ? 's' : 'p', (int)arg.text.n,
                    (const char *)arg.text.p);
    }
    if (r < 0)
        snprintf(out + strlen(out), sizeof out - strlen(out), "!");
    return out;
}

static void parameters_keep_their_place(void **state) {
    (void)state;
    assert_string_equal(params(""), "");
    assert_string_equal(params("10,\"00A4\""), "p(10)s(00A4)");
    assert_string_equal(params(",5"), "-p(5)");
    assert_string_equal(params("1,,\"\","), "p(1)-s()-");
    assert_string_equal(params("\"a,b;c=d e\""), "s(a,b;c=d e)");
    assert_string_equal(params("10,00A4000000"), "p(10)p(00A4000000)");
    assert_string_equal(params("\"a\"b"), "!");
    assert_string_equal(params("1,\"a"), "p(1)!");
}

static void numbers(void **state) {
    uint32_t v = 7;

    (void)state;
    assert_int_equal(at_parse_uint(tb_span_str("00042"), &v), 0);
    assert_int_equal(v, 42);
    assert_int_equal(at_parse_uint(tb_span_str("4294967295"), &v), 0);
    v = 7;
    assert_int_equal(at_parse_uint(tb_span_str("4294967296"), &v), TB_ERANGE);
    assert_int_equal(at_parse_uint(tb_span_str("99999999999999999999999999"), &v), TB_ERANGE);
    assert_int_equal(at_parse_uint(tb_span_str(""), &v), TB_EPARSE);
    assert_int_equal(at_parse_uint(tb_span_str("-1"), &v), TB_EPARSE);
    assert_int_equal(at_parse_uint(tb_span_str("1a"), &v), TB_EPARSE);
    assert_int_equal(v, 7);
}

static void escapes(void **state) {
    char dst[8];

    (void)state;
    assert_int_equal(at_unescape(tb_span_str("a\\22b\\5Cc"), dst, sizeof dst), 0);
    assert_string_equal(dst, "a\"b\\c");
    assert_int_equal(at_unescape(tb_span_str("\\5c"), dst, sizeof dst), 0);
    assert_string_equal(dst, "\\");
    assert_int_equal(at_unescape(tb_span_str("a\\2"), dst, sizeof dst), TB_EPARSE);
    assert_int_equal(at_unescape(tb_span_str("\\GG"), dst, sizeof dst), TB_EPARSE);
    assert_int_equal(at_unescape(tb_span_str("\\00"), dst, sizeof dst), TB_EPARSE);
    assert_int_equal(at_unescape(tb_span_str("1234567"), dst, sizeof dst), 0);
    assert_int_equal(at_unescape(tb_span_str("12345678"), dst, sizeof dst), TB_ESPACE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(basic_commands_follow_each_other),
        cmocka_unit_test(extended_commands_have_four_forms),
        cmocka_unit_test(semicolons_separate),
        cmocka_unit_test(dialling_takes_the_rest),
        cmocka_unit_test(registers),
        cmocka_unit_test(errors_stop_where_they_are),
        cmocka_unit_test(parameters_keep_their_place),
        cmocka_unit_test(numbers),
        cmocka_unit_test(escapes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
