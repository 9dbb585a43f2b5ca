/* iotsafe-keyref: writes the PEM file that stands where programs want a private key file. */
#include <argp.h>
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "iotsafe/iotsafe.h"
#include "ref.h"
#include "tb/hex.h"
#include "tb/pki.h"

/* The C library looks for it: hidden, as everything else of ours, it would not be found. */
__attribute__((visibility("default"))) const char *argp_program_version =
    "iotsafe-keyref " TB_VERSION;

struct options {
    struct isp_uri uri;
    struct iotsafe_ref public_ref;
    bool has_public_ref;
    const char *cert, *transport, *out;
};

enum { OPT_ID = 256, OPT_LABEL, OPT_READER, OPT_PUBLIC_ID, OPT_CERT, OPT_TRANSPORT };

static const struct argp_option option_table[] = {
    {"id", OPT_ID, "HEX", 0, "identifier of the private key on the card, 1 to 20 bytes", 0},
    {"label", OPT_LABEL, "TEXT", 0, "its label, when it is named by label", 0},
    {"reader", OPT_READER, "NAME", 0, "which card, for programs that have several", 0},
    {"cert", OPT_CERT, "FILE", 0, "take the public key from this certificate (PEM)", 0},
    {"transport", OPT_TRANSPORT, "SPEC", 0,
     "read the public key from the card at this transport, for instance at:unix:/run/modem.sock",
     0},
    {"public-id", OPT_PUBLIC_ID, "HEX", 0,
     "identifier of the public key on the card, when it is not the private key's", 0},
    {"out", 'o', "FILE", 0, "write to this file instead of standard output", 0},
    {0},
};

static void take_hex(struct argp_state *state, const char *text, struct iotsafe_ref *ref) {
    struct tb_buf id = TB_BUF(ref->id);

    if (tb_hex_decode(tb_span_str(text), &id) < 0 || id.n == 0)
        argp_error(state, "%s is not 1 to 20 bytes in hex", text);
    ref->id_len = (uint8_t)id.n;
}

static error_t parse_option(int key, char *arg, struct argp_state *state) {
    struct options *o = state->input;
    const char *text = arg ? arg : ""; /* every option has one */
    size_t n = strlen(text);

    switch (key) {
    case OPT_ID:
        take_hex(state, text, &o->uri.ref);
        o->uri.has_ref = true;
        return 0;
    case OPT_LABEL:
        if (n < 1 || n > sizeof o->uri.ref.label)
            argp_error(state, "a label has 1 to 60 bytes");
        memcpy(o->uri.ref.label, text, n);
        o->uri.ref.label_len = (uint8_t)n;
        o->uri.has_ref = true;
        return 0;
    case OPT_READER:
        if (n < 1 || n >= sizeof o->uri.reader)
            argp_error(state, "a reader name has 1 to 63 bytes");
        memcpy(o->uri.reader, text, n);
        return 0;
    case OPT_PUBLIC_ID:
        take_hex(state, text, &o->public_ref);
        o->has_public_ref = true;
        return 0;
    case OPT_CERT:
        o->cert = text;
        return 0;
    case OPT_TRANSPORT:
        o->transport = text;
        return 0;
    case 'o':
        o->out = text;
        return 0;
    case ARGP_KEY_ARG:
        return ARGP_ERR_UNKNOWN;
    case ARGP_KEY_END:
        if (!o->uri.has_ref || (o->uri.ref.id_len && o->uri.ref.label_len))
            argp_error(state, "give --id or --label");
        if (o->cert && o->transport)
            argp_error(state, "give --cert or --transport, not both");
        if (o->has_public_ref && !o->transport)
            argp_error(state, "--public-id goes with --transport");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    option_table,
    parse_option,
    NULL,
    "Writes a reference to a private key in an IoT SAFE card as PEM. OpenSSL's iotsafe provider "
    "lets programs use "
    "that file as their private key file."
    "\vWith --cert or --transport the reference holds the public key, and programs start without "
    "asking the "
    "card. Without either they read it from the card each time they load the key.\n\n"
    "  iotsafe-keyref --id 01 --cert device.pem > device.key",
    NULL,
    NULL,
    NULL};

static EVP_PKEY *key_of_cert(const char *file) {
    struct tb_error e;
    EVP_PKEY *key;
    X509 *x;

    if (tb_pki_cert_load(file, &x, &e) < 0) {
        fprintf(stderr, "iotsafe-keyref: %s: %s\n", file, e.message);
        return NULL;
    }
    key = X509_get_pubkey(x);
    X509_free(x);
    return key;
}

static EVP_PKEY *key_of_card(const struct options *o) {
    const struct iotsafe_ref *ref = o->has_public_ref ? &o->public_ref : &o->uri.ref;
    struct iotsafe_transport *t;
    struct iotsafe *card;
    uint8_t point[65];
    char err[256] = "";
    size_t n = 0;
    EVP_PKEY *key;
    int r;

    r = iotsafe_transport_open(o->transport, &t, err, sizeof err);
    if (r < 0) {
        fprintf(stderr, "iotsafe-keyref: %s: %s\n", o->transport, err);
        return NULL;
    }
    r = iotsafe_open(t, NULL, &card);
    if (r < 0) {
        iotsafe_transport_close(t);
        fprintf(stderr, "iotsafe-keyref: %s\n", iotsafe_strerror(r));
        return NULL;
    }
    r = iotsafe_read_public_key(card, ref, point, sizeof point, &n);
    if (r < 0 || n != sizeof point)
        fprintf(stderr, "iotsafe-keyref: READ PUBLIC KEY: %s (SW %04X)\n",
                r < 0 ? iotsafe_strerror(r) : "no EC key", iotsafe_last_sw(card));
    iotsafe_close(card);
    if (r < 0 || n != sizeof point)
        return NULL;
    if (tb_pki_ec_public("P-256", tb_span(point, n), &key) < 0 &&
        tb_pki_ec_public("brainpoolP256r1", tb_span(point, n), &key) < 0) {
        fprintf(stderr, "iotsafe-keyref: the card's point is on no curve of IoT SAFE\n");
        return NULL;
    }
    return key;
}

static int write_reference(const struct options *o, EVP_PKEY *pub) {
    uint8_t uri_room[ISP_URI_MAX], der_room[ISP_REFERENCE_MAX];
    struct tb_buf uri = TB_BUF(uri_room), der = TB_BUF(der_room);
    unsigned char *spki = NULL;
    int n = pub ? i2d_PUBKEY(pub, &spki) : 0, ok;
    FILE *out;

    isp_uri_put(&uri, &o->uri);
    isp_reference_put(&der, tb_buf_span(&uri), tb_span(spki, n > 0 ? (size_t)n : 0));
    OPENSSL_free(spki);
    if (n < 0 || n > ISP_SPKI_MAX || !tb_buf_ok(&uri) || !tb_buf_ok(&der)) {
        fprintf(stderr, "iotsafe-keyref: the public key does not fit into a reference\n");
        return 1;
    }
    out = o->out ? fopen(o->out, "w") : stdout;
    if (!out) {
        fprintf(stderr, "iotsafe-keyref: %s: %s\n", o->out, strerror(errno));
        return 1;
    }
    ok = PEM_write(out, ISP_PEM_LABEL, "", der.p, (long)der.n) > 0;
    if (fclose(out) != 0 || !ok) {
        fprintf(stderr, "iotsafe-keyref: %s: %s\n", o->out ? o->out : "standard output",
                strerror(errno));
        return 1;
    }
    return 0;
}

int main(int argc, char **argv) {
    struct options o = {0};
    EVP_PKEY *pub = NULL;
    int status;

    argp_err_exit_status = 2;
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    if (o.cert || o.transport) {
        pub = o.cert ? key_of_cert(o.cert) : key_of_card(&o);
        if (!pub)
            return 1;
    }
    status = write_reference(&o, pub);
    EVP_PKEY_free(pub);
    return status;
}
