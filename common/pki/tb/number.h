#pragma once
/* Decimal numbers of cards and subscribers, as digits: they have up to 32 and may begin with 0. */
#include "tb/error.h"
#include "tb/span.h"

/* spec: ITU-T E.118, ISO/IEC 7812-1 B: the check digit ('0' … '9') that follows n digits. */
char tb_luhn_digit(const char *digits, size_t n);
/* At least two digits, the last of which checks the others. */
bool tb_luhn_ok(struct tb_span number);

/* spec: SGP.29 2.2: the two digits that end an EID whose first 30 are given. */
void tb_eid_digits(const char digits[30], char ret[2]);
bool tb_eid_ok(struct tb_span eid);

bool tb_digits_ok(struct tb_span s, size_t least, size_t most);

/* Adds to the number in its n digits; TB_ERANGE when it needs more of them. */
int tb_number_add(char *digits, size_t n, uint64_t add) TB_CHECKED;
