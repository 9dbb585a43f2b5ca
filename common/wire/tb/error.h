#pragma once
/* Result codes. A function that can fail returns int: 0 or a count is good, negative is bad.
 * errno and libuv codes (-1 … -4095) pass through unchanged; ours start at -5000. */

#define TB_CHECKED __attribute__((warn_unused_result))

enum tb_err {
    TB_EPARSE = -5000,    /* input is not what the specification allows */
    TB_EMORE = -5001,     /* input ends too early; more bytes may complete it */
    TB_ESPACE = -5002,    /* output buffer too small */
    TB_ERANGE = -5003,    /* a value is outside the limits of the specification */
    TB_ENOTFOUND = -5004, /* what was asked for does not exist */
    TB_EPROTO = -5005,    /* the peer broke the protocol */
    TB_ETIMEOUT = -5006,  /* a deadline passed */
    TB_ECLOSED = -5007,   /* the peer, or we, closed the connection */
    TB_ECRYPTO = -5008,   /* a cryptographic library call failed */
    TB_ESTORE = -5009,    /* persistent storage failed */
    TB_ECARD = -5010,     /* the card answered with an error status word */
    TB_ENOMEM = -5011,    /* out of memory (libraries only: programs abort) */
    TB_EUNSUP = -5012,    /* valid, but this build or peer cannot do it */
    TB_ESTATE = -5013,    /* not now: the object is in the wrong state */
};

/* A message for a person about a file, filled by parsers of user files. line is 1-based, 0 when the
 * error has no line. */
struct tb_error {
    char file[256];
    int line;
    char message[512];
};

/* A static English text for any code of this project, libuv or errno. Never NULL. */
const char *tb_strerror(int err);

/* Fills *e (ignored when NULL) and returns code, for `return tb_error_set(...)` in a parser. */
int tb_error_set(struct tb_error *e, int code, const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
