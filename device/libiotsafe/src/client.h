#pragma once
/* What the files of the client share: the client itself, a call under way, and the table that
 * describes an operation to the engine in call.c. */
#include <stdbool.h>

#include "iotsafe/call.h"
#include "iotsafe/iotsafe.h"
#include "tb/safe.h"
#include "tb/span.h"
#include "tb/sw.h"

enum {
    CMD_MAX = 261, /* a short command APDU */
    LC_MAX = 255,
    ACC_MAX = 640,        /* the longest answer that is kept whole: RSA-4096 and some */
    POINT_LEN = 65,       /* 04 X Y of a 256-bit curve */
    BLOCK_FULL = 255,     /* what READ FILE gives without Le */
    STALLS_MAX = 8,       /* answers in a row without a byte of progress */
    EXCHANGES_MAX = 8192, /* commands of one call: the largest file in small blocks, not more */
    FILE_MAX = 0xFFFF,    /* offsets are P1 P2 */
    CHANNEL_MAX = 19,
};

struct iotsafe {
    struct iotsafe_transport *t;
    struct iotsafe_call *busy; /* the call under way, NULL: none */
    uint8_t aid[16];
    uint8_t aid_len;
    bool only_this_aid, basic_channel, close_sessions, interindustry_first;
    int le;
    uint8_t session;
    uint16_t max_answer; /* 1..256 */

    /* What is known of the card; volatile. */
    bool opened;        /* the application is selected on channel */
    bool proven;        /* it has answered a command since: the class byte is right */
    bool interindustry; /* class 0n instead of 8n */
    bool no_le;         /* it refuses commands that have data and Le (6700) … */
    bool le_proven;     /* … or took one, and does not */
    bool sig_8bit;      /* the card's applet codes the length of tag 33 in one byte */
    bool sig_der;       /* … and its value in DER */
    bool mute;          /* the last command was not answered in time */
    bool no_channels;   /* logical channels were tried and do not work here */
    uint8_t channel;
    uint8_t aid_found; /* 1 + number of the AID that was selected last; 0: none yet */

    uint16_t sw;
    struct iotsafe_stats stats;
    size_t cmd_len;
    uint8_t cmd[CMD_MAX];
    size_t acc_len; /* of the answer under way, or what a streaming operation left over */
    uint8_t acc[ACC_MAX];
};

enum phase {
    PHASE_DONE,
    PHASE_CHANNEL,   /* MANAGE CHANNEL open */
    PHASE_SELECT,    /* SELECT by AID */
    PHASE_UNDO,      /* MANAGE CHANNEL close after a failed opening */
    PHASE_OPERATION, /* the operation's own steps */
};

/* Steps of operations that have a session (IoT.05: signature, verification, PUT PUBLIC KEY). */
enum { STEP_INIT, STEP_UPDATE, STEP_CLOSE, STEP_CLOSE_FIRST };

struct call;

/* Reads information structures as they arrive, in pieces of any size. */
struct object_reader {
    struct iotsafe_object now; /* the object that is being read */
    bool begun, has_id, has_label, has_attribute;
};

/* Takes whole elements off the front of *in and calls emit for each finished object; with end set,
 * what is left is the last. An element that is not complete stays in *in. */
void objects_read(struct object_reader *o, struct tb_span *in, bool end,
                  void (*emit)(const struct iotsafe_object *object, void *user), void *user);

/* Application information (GET DATA P1 = 00). False when nothing in it is known. */
bool info_read(struct tb_span in, struct iotsafe_info *ret);

struct operation {
    unsigned flags;
    uint8_t init_ins; /* OP_SESSION: INS of INIT, UPDATE and close follow from it */
    uint8_t update_ins;
    /* Puts the data field of the current step, INIT or UPDATE (OP_SESSION), or the whole command
     * (others, by command_begin() and command_end()). 0 or IOTSAFE_E…. */
    int (*build)(struct call *k, struct tb_buf *out);
    /* Takes response data as it arrives. NULL: it is collected in the client for answer(). */
    int (*data)(struct call *k, struct tb_span data);
    /* The step is over with sw (success or a warning; errors are the engine's unless
     * OP_OWN_ERRORS): 1 there is another step, 0 done, or IOTSAFE_E…. */
    int (*answer)(struct call *k, uint16_t sw, struct tb_span data);
    /* The operation begins again from its first step. NULL: nothing to do but that. */
    void (*restart)(struct call *k);
};

enum {
    OP_ONCE =
        1, /* must not run twice when it may have been carried out: generation, raw commands */
    OP_SESSION = 2,
    OP_LONG = 4,        /* several commands */
    OP_OWN_ERRORS = 8,  /* answer() sees every status word that says the application is there */
    OP_RAW = 16,        /* answers go to the caller as they are */
    OP_SECRET = 32,     /* response data is key material: wipe it */
    OP_RELEASE = 64,    /* needs no application */
    OP_ANSWERS = 256,   /* the last UPDATE of the session has response data */
    OP_CHAINS = 512,    /* a long UPDATE is chained, not sent in blocks */
    OP_NOTHING = 128,   /* done as soon as the application is selected */
    OP_PLATFORM = 1024, /* for the card itself, not the application: on the basic channel where
                           there is one, and every status word is the caller's */
};

struct call {
    struct iotsafe *c;
    const struct operation *op;
    const struct operation *first; /* what op was at the beginning, and is again in a new start */
    const struct operation *next;  /* follows op when that is done; NULL: nothing */
    int result;                    /* in PHASE_DONE */
    int pending;                   /* result to finish with after PHASE_UNDO or a closing step */
    uint8_t phase;
    uint8_t step;
    uint8_t aid;        /* candidate under way in PHASE_SELECT */
    uint8_t aid_tried;  /* candidate that was tried out of turn, + 1 */
    bool built;         /* the client's cmd is out or to be sent */
    bool opened_here;   /* this call did the opening */
    bool reopened;      /* … a second time: no third */
    bool reset_seen;    /* the transport told of a reset: once is enough */
    bool le_corrected;  /* 6Cxx was followed for this command */
    bool admin_retried; /* 63CF, 6984, 6989 were answered with a new start */
    bool session_retried;
    bool fallback_basic;   /* after PHASE_UNDO select on the basic channel */
    bool fetch_after_data; /* 61xx came with data in front of it */
    bool refused;          /* the modem refused a command of the opening */
    uint16_t fetch;        /* GET RESPONSE is next: how many bytes, 0: no */
    uint16_t stalls, exchanges;
    bool updating; /* more UPDATE commands follow the one under way */
    size_t sent;   /* bytes of the UPDATE data field that went before it */

    /* The operation's arguments and state; which ones is the operation's matter. */
    const struct iotsafe_ref *ref, *ref2;
    const struct iotsafe_ref *put_ref; /* PUT PUBLIC KEY: container … */
    struct tb_span put_key;            /* … and key */
    struct tb_span in, in2;
    const uint8_t *ecdhe;
    uint8_t *out;
    size_t out_cap;
    size_t *ret_len;
    void *ret, *ret2;
    unsigned hash, alg;
    size_t done;  /* bytes or objects so far */
    size_t total; /* known end, 0: not known */
    size_t last;  /* bytes of the latest block */
    size_t block; /* … and of the one before */
    bool asked_size, other_form, next_page, excess;
    struct object_reader objects;
    void (*emit)(const struct iotsafe_object *object, void *user); /* user: the call */
    void (*listed)(struct call *k);                                /* NULL: nothing */
};

static inline struct call *call_of(struct iotsafe_call *call) {
    return (struct call *)(void *)call->opaque;
}

/* Prepares a call; the operation's file then fills in its arguments. 0, IOTSAFE_E_ARGUMENT (c
 * NULL), IOTSAFE_E_BUSY. */
int call_begin(struct iotsafe_call *call, struct iotsafe *c, const struct operation *op,
               struct call **ret);

/* Operations that are also a part of others, and the checks of their arguments. */
extern const struct operation op_put, op_ecdh, op_verify, op_list;
int put_arguments(struct call *k, const struct iotsafe_ref *public_key, const uint8_t *point,
                  size_t point_len);
int ecdh_arguments(struct call *k, const struct iotsafe_ref *private_key,
                   const struct iotsafe_ref *public_key, uint8_t *secret);
int verify_arguments(struct call *k, const struct iotsafe_ref *public_key, unsigned hash,
                     unsigned alg, const uint8_t *digest, size_t digest_len, const uint8_t *sig,
                     size_t sig_len);

/* Runs a prepared call over the client's transport, unless start failed already. */
int call_run(struct iotsafe_call *call, int start);

/* The card was reset before the call's first command: what was open is not. */
void call_reset_seen(struct call *k);

/* Header of an applet command; then put the data field; command_end() sets Lc and, when an answer
 * is expected, Le as the link wants it. */
void command_begin(const struct call *k, struct tb_buf *out, uint8_t ins, uint8_t p1, uint8_t p2);
void command_end(const struct call *k, struct tb_buf *out, bool answers);
/* A command without data that expects ne bytes, 1..256. */
void command_get(const struct call *k, struct tb_buf *out, uint8_t ins, uint8_t p1, uint8_t p2,
                 unsigned ne);

/* Puts 8x id or 7x label. */
void put_ref(struct tb_buf *out, enum iotsafe_object_type type, const struct iotsafe_ref *ref);
bool ref_ok(const struct iotsafe_ref *ref);

/* IOTSAFE_E… for a status word that is no success. */
int error_of_sw(uint16_t sw);

/* The point (or another key's value) in the answer of GENERATE KEY PAIR and READ PUBLIC KEY: 34 {49
 * {86}} in any length form, down to the bare point. False when there is none. */
bool find_public_key(struct tb_span data, struct tb_span *ret);
