#pragma once
/* The UICC file system: a table of what every card has (ETSI TS 102 221 13, 3GPP TS 31.102 4) whose
 * contents follow from the subscriber's data until a command writes them. */
#include <stdbool.h>

#include "os/os.h"

enum fs_kind { FS_DF, FS_TRANSPARENT, FS_LINEAR, FS_CYCLIC };
enum fs_condition { FS_ALWAYS, FS_PIN1, FS_ADM, FS_NEVER };

enum {
    FS_MF = 0x3F00,
    FS_ADF = 0x7FFF, /* the application's directory: ADF.USIM */
    FS_EF_DIR = 0x2F00,
    FS_EF_UST = 0x6F38,
    FS_CONTENT_MAX = 2048,
};

struct fs_node {
    uint16_t fid, df;     /* df: file id of the directory it is in, 0 for the MF */
    uint8_t kind, sfi;    /* sfi 0: none */
    uint8_t read, update; /* enum fs_condition */
    uint16_t size;        /* bytes, or bytes of a record */
    uint8_t records;      /* 0: transparent, or as many as there is content for (EF.DIR) */
    /* Default content: each record begins with init; or fill appends all of it. What is missing is
     * FF. */
    const char *init; /* hex */
    void (*fill)(const struct card *card, struct tb_buf *out);
};

/* The access rules in use, in the order of EF.ARR's records; fs_rule() gives the record number. */
enum { FS_RULES = 5 };
extern const struct fs_rule { enum fs_condition read, update; } fs_rules[FS_RULES];
uint8_t fs_rule(const struct fs_node *node);

/* --- os/fs_table.c --- */
extern const struct fs_node fs_nodes[];
extern const size_t fs_nodes_n;
const struct fs_node *fs_mf(void);
const struct fs_node *fs_adf_usim(void);
extern const uint8_t fs_usim_aid[16];

/* --- os/fs.c --- */

/* The file with that id in directory df, NULL when absent. Everything below ADF.USIM is absent on a
 * card without IMSI. */
const struct fs_node *fs_child(const struct card *card, const struct fs_node *df, uint16_t fid);
const struct fs_node *fs_by_sfi(const struct card *card, const struct fs_node *df, uint8_t sfi);
const struct fs_node *fs_find(uint16_t df, uint16_t fid);
bool fs_has_usim(const struct card *card);

uint8_t fs_records(const struct card *card, const struct fs_node *node);
size_t fs_size(const struct card *card, const struct fs_node *node); /* all records together */

/* Appends the content, fs_size() bytes. */
void fs_content(const struct card *card, const struct fs_node *node, struct tb_buf *out);

/* Replaces part of the content, which has to fit, in NVM first. 9000, 6A84 or 6581. */
uint16_t fs_write(struct card *card, const struct fs_node *node, size_t offset,
                  struct tb_span data);

bool fs_allowed(const struct card *card, uint8_t condition);

/* spec: TS31102 4.2.8 whether service n is on in EF.UST, as it is now. */
bool fs_has_service(const struct card *card, unsigned n);

/* --- os/fcp.c --- */

/* spec: TS102221 11.1.1.3 appends the file control parameters under tag 62 (or 6F). */
void fs_put_fcp(const struct card *card, const struct fs_node *node, uint8_t tag,
                struct tb_buf *out);
