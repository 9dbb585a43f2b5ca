#include "tb/number.h"

enum { EID_DIGITS = 32 };

char tb_luhn_digit(const char *digits, size_t n) {
    unsigned sum = 0;

    for (size_t i = 0; i < n; i++) {
        unsigned d = (unsigned)(digits[n - 1 - i] - '0');

        if (i % 2 == 0)
            d = d * 2 > 9 ? d * 2 - 9 : d * 2;
        sum += d;
    }
    return (char)('0' + (10 - sum % 10) % 10);
}

bool tb_digits_ok(struct tb_span s, size_t least, size_t most) {
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    return s.n >= least && s.n <= most;
}

bool tb_luhn_ok(struct tb_span number) {
    return tb_digits_ok(number, 2, SIZE_MAX) &&
           tb_luhn_digit((const char *)number.p, number.n - 1) == (char)number.p[number.n - 1];
}

void tb_eid_digits(const char digits[30], char ret[2]) {
    unsigned rest = 0;

    for (size_t i = 0; i < EID_DIGITS - 2; i++)
        rest = (rest * 10 + (unsigned)(digits[i] - '0')) % 97;
    rest = 98 - rest * 100 % 97;
    ret[0] = (char)('0' + rest / 10);
    ret[1] = (char)('0' + rest % 10);
}

bool tb_eid_ok(struct tb_span eid) {
    char check[2];

    if (!tb_digits_ok(eid, EID_DIGITS, EID_DIGITS))
        return false;
    tb_eid_digits((const char *)eid.p, check);
    return tb_span_eq(tb_span_sub(eid, EID_DIGITS - 2, 2), tb_span(check, sizeof check));
}

int tb_number_add(char *digits, size_t n, uint64_t add) {
    char sum[EID_DIGITS];
    uint64_t carry = add;

    if (n > sizeof sum)
        return TB_ERANGE;
    for (size_t i = n; i-- > 0;) {
        uint64_t d = (uint64_t)(digits[i] - '0') + carry % 10;

        carry = carry / 10 + d / 10;
        sum[i] = (char)('0' + d % 10);
    }
    if (carry)
        return TB_ERANGE;
    memcpy(digits, sum, n);
    return 0;
}
