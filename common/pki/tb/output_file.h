#pragma once
/* The SIM supplier's output file (docs/factory.md): CSV, first row the names of the columns, then
 * one row per credential. What is here knows the columns and what may stand in them; sim-card
 * writes and verifies such files, iot-hub imports them. */
#include "tb/csv.h"
#include "tb/transport_key.h"

enum tb_out_column {
    TB_OUT_ICCID,
    TB_OUT_EID,
    TB_OUT_IMSI,
    TB_OUT_MSISDN,
    TB_OUT_APPLET_AID,
    TB_OUT_APPLET_VARIANT,
    TB_OUT_CONTAINER,
    TB_OUT_ROLE,
    TB_OUT_KIND,
    TB_OUT_SPKI,
    TB_OUT_CERT,
    TB_OUT_PSK_ID,
    TB_OUT_PSK_WRAPPED,
    TB_OUT_KEK_ID,
    TB_OUT_KCV,
    TB_OUT_LABEL,
    TB_OUT_OTA_AID,
    TB_OUT_OTA_TAR,
    TB_OUT_OTA_KVN,
    TB_OUT_OTA_MSL,
    TB_OUT_OTA_KIC,
    TB_OUT_OTA_KID,
    TB_OUT_OTA_KIK,
    TB_OUT_OTA_KCV,
    TB_OUT_COLUMNS,
};
extern const char *const tb_out_names[TB_OUT_COLUMNS + 1]; /* in that order; NULL ends it */

enum {
    TB_OUT_SPKI_MAX = 600,  /* bytes of DER */
    TB_OUT_CERT_MAX = 4096, /* likewise */
    TB_OUT_FIELDS_MAX = 64, /* columns of a file, with those that are not known */
};

/* Which column of a file is which: -1 for one that is not there. */
struct tb_out_header {
    int at[TB_OUT_COLUMNS];
    size_t n;                     /* fields of a row */
    size_t unknown;               /* columns that are passed over */
    struct tb_span first_unknown; /* borrowed from the row */
};

/* Takes the first row; names in either case, in any order. TB_EPARSE when ICCID is missing or a
 * name stands there twice. */
int tb_out_header(const struct tb_span *fields, size_t n, struct tb_out_header *ret,
                  struct tb_error *e) TB_CHECKED;

enum tb_out_kind { TB_OUT_NO_CREDENTIAL, TB_OUT_X509, TB_OUT_PSK };

/* A row, checked and decoded. Spans of text are borrowed from the row, as is nothing else. */
struct tb_out_row {
    struct tb_span iccid, eid, imsi, msisdn, aid_hex, container, psk_id, kek_id, label;
    unsigned variant; /* 1, 2; 0: not said */
    bool bootstrap;
    enum tb_out_kind kind;
    size_t spki_n, cert_n, psk_wrapped_n;
    uint8_t psk_wrapped[TB_KEK_WRAPPED_MAX];
    bool has_kcv;
    uint8_t kcv[TB_KCV];
    bool has_ota;
    struct tb_span ota_aid_hex;
    uint8_t ota_tar[3], ota_kvn, ota_msl;
    uint8_t ota_wrapped[3][TB_KEK_WRAPPED_MAX];
    size_t ota_wrapped_n[3];
    bool has_ota_kcv;
    uint8_t ota_kcv[3][TB_KCV];
    uint8_t spki[TB_OUT_SPKI_MAX], cert[TB_OUT_CERT_MAX];
};

/* What is wrong with a row: the column, why, and what would be right. */
struct tb_out_complaint {
    const char *column;
    char reason[160];
};

/* Checks everything that can be checked without keys: digits and check digits, words, base64, DER,
 * and that the certificate is for the public key. TB_EPARSE with *why filled. */
int tb_out_row(const struct tb_out_header *h, const struct tb_span *fields, size_t n,
               struct tb_out_row *ret, struct tb_out_complaint *why) TB_CHECKED;

/* Unwraps the row's secrets with kek and compares check values: n of secret (TB_KEK_SECRET_MAX) and
 * of ota[i], 0 where there is none. TB_EPARSE with *why filled; TB_ENOTFOUND when kek is not the
 * row's. */
struct tb_out_secrets { /* wipe it */
    uint8_t psk[TB_KEK_SECRET_MAX], ota[3][32];
    size_t psk_n, ota_n[3];
};
int tb_out_unwrap(const struct tb_out_row *row, const struct tb_kek *kek,
                  struct tb_out_secrets *ret, struct tb_out_complaint *why) TB_CHECKED;

/* SubjectPublicKeyInfo inside a certificate, both DER: borrowed. TB_EPARSE. */
int tb_cert_spki(struct tb_span cert, struct tb_span *ret) TB_CHECKED;
/* DER of the SubjectPublicKeyInfo of an EC key given by its uncompressed point of 65 bytes: 91
 * bytes for P-256, 92 for brainpoolP256r1. TB_EUNSUP for other groups. */
int tb_spki_of_point(const char *group, struct tb_span point, struct tb_buf *out) TB_CHECKED;
