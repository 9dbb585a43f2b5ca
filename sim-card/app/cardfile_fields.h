#pragma once
/* The words of a *.card file: which keys each kind of section has and how their values are read. */
#include "cardfile.h"

struct cardfile_word {
    const char *name; /* NULL ends a list */
    unsigned value;
};

enum cardfile_type {
    CF_TEXT,  /* char * */
    CF_BYTES, /* struct cardfile_bytes: hex, or text in double quotes */
    CF_UINT,  /* number min..max */
    CF_WORD,  /* one of words */
    CF_SET,   /* any of words, separated by commas; "none" */
};

struct cardfile_field {
    const char *name; /* NULL ends a list */
    enum cardfile_type type;
    size_t offset, size; /* of the member in its struct; size of integers */
    const struct cardfile_word *words;
    unsigned min, max; /* CF_UINT; CF_BYTES: length */
};

/* Keys of a kind of section; the members are in struct cardfile for CARDFILE_CARD, in struct
 * cardfile_entry else. NULL for CARDFILE_SET and CARDFILE_PROFILE, whose keys are the file's and
 * the card's. */
const struct cardfile_field *cardfile_fields(enum cardfile_kind kind);

/* Reads text into the member of object that f describes. Returns 0 or TB_EPARSE with a message in
 * e. */
int cardfile_field_read(const struct cardfile_field *f, const char *text, void *object,
                        const char *file, int line, struct tb_error *e) TB_CHECKED;
