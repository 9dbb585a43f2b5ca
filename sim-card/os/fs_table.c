/* The tree, one row per file. spec: TS102221 13.1-13.6 TS31102 4.2 */
#include "os/fs.h"
#include "os/fs_fill.h"

const uint8_t fs_usim_aid[16] = {0xA0, 0x00, 0x00, 0x00, 0x87, 0x10, 0x02, 0xFF,
                                 0xFF, 0xFF, 0xFF, 0x89, 0x07, 0x09, 0x00, 0x00};

#define T FS_TRANSPARENT
#define L FS_LINEAR

/* clang-format off */
const struct fs_node fs_nodes[] = {
    /* fid     df      kind sfi   read       update    size rec  default content */
    {FS_MF,   0,      FS_DF, 0,  FS_ALWAYS, FS_NEVER,   0,  0,  NULL, NULL},
    {FS_ADF,  FS_MF,  FS_DF, 0,  FS_ALWAYS, FS_NEVER,   0,  0,  NULL, NULL},

    {0x2FE2,  FS_MF,  T, 0x02,   FS_ALWAYS, FS_NEVER,  10,  0,  NULL, fs_fill_iccid},
    {FS_EF_DIR, FS_MF, L, 0x1E,  FS_ALWAYS, FS_ADM,    38,  0,  NULL, fs_fill_dir},
    {0x2F05,  FS_MF,  T, 0x05,   FS_ALWAYS, FS_PIN1,    4,  0,  "656E", NULL},          /* PL */
    {0x2F06,  FS_MF,  L, 0x06,   FS_ALWAYS, FS_ADM,    24,  5,  NULL, fs_fill_arr},
    {0x2F08,  FS_MF,  T, 0x08,   FS_ALWAYS, FS_ADM,     5,  0,  "0A3C000000", NULL},    /* UMPC */

    {0x6F05,  FS_ADF, T, 0x02,   FS_ALWAYS, FS_PIN1,    4,  0,  "656E", NULL},          /* LI */
    {0x6F06,  FS_ADF, L, 0x17,   FS_ALWAYS, FS_ADM,    24,  5,  NULL, fs_fill_arr},
    {0x6F07,  FS_ADF, T, 0x07,   FS_PIN1,   FS_ADM,     9,  0,  NULL, fs_fill_imsi},
    {0x6F08,  FS_ADF, T, 0x08,   FS_PIN1,   FS_PIN1,   33,  0,  "07", NULL},            /* Keys */
    {0x6F09,  FS_ADF, T, 0x09,   FS_PIN1,   FS_PIN1,   33,  0,  "07", NULL},            /* KeysPS */
    {0x6F31,  FS_ADF, T, 0x12,   FS_PIN1,   FS_ADM,     1,  0,  "05", NULL},            /* HPPLMN */
    {0x6F38,  FS_ADF, T, 0x04,   FS_PIN1,   FS_ADM,    17,  0,  NULL, fs_fill_ust},
    {0x6F3C,  FS_ADF, L, 0,      FS_PIN1,   FS_PIN1,  176, 10,  "00", NULL},            /* SMS */
    {0x6F40,  FS_ADF, L, 0,      FS_PIN1,   FS_PIN1,   28,  1,  NULL, fs_fill_msisdn},
    {0x6F42,  FS_ADF, L, 0,      FS_PIN1,   FS_PIN1,   40,  1,  NULL, fs_fill_smsp},
    {0x6F43,  FS_ADF, T, 0,      FS_PIN1,   FS_PIN1,    2,  0,  NULL, NULL},            /* SMSS */
    {0x6F46,  FS_ADF, T, 0,      FS_ALWAYS, FS_ADM,    17,  0,  NULL, fs_fill_spn},
    {0x6F5B,  FS_ADF, T, 0x0F,   FS_PIN1,   FS_PIN1,    6,  0,  "F00000F00000", NULL},  /* START-HFN */
    {0x6F5C,  FS_ADF, T, 0x10,   FS_PIN1,   FS_PIN1,    3,  0,  NULL, NULL},            /* THRESHOLD */
    {0x6F60,  FS_ADF, T, 0x0A,   FS_PIN1,   FS_PIN1,   40,  0,  NULL, fs_fill_plmn_act},
    {0x6F61,  FS_ADF, T, 0x11,   FS_PIN1,   FS_ADM,    40,  0,  NULL, fs_fill_plmn_act},
    {0x6F62,  FS_ADF, T, 0x13,   FS_PIN1,   FS_ADM,    40,  0,  NULL, fs_fill_hplmn_act},
    {0x6F73,  FS_ADF, T, 0x0C,   FS_PIN1,   FS_PIN1,   14,  0,
     "FFFFFFFFFFFFFFFFFFFF0000FF01", NULL},                                             /* PSLOCI */
    {0x6F78,  FS_ADF, T, 0x06,   FS_PIN1,   FS_ADM,     2,  0,  NULL, fs_fill_acc},
    {0x6F7B,  FS_ADF, T, 0x0D,   FS_PIN1,   FS_PIN1,   12,  0,  NULL, NULL},            /* FPLMN */
    {0x6F7E,  FS_ADF, T, 0x0B,   FS_PIN1,   FS_PIN1,   11,  0,
     "FFFFFFFFFFFFFF0000FF01", NULL},                                                   /* LOCI */
    {0x6FAD,  FS_ADF, T, 0x03,   FS_ALWAYS, FS_ADM,     4,  0,  NULL, fs_fill_ad},
    {0x6FB7,  FS_ADF, L, 0x01,   FS_ALWAYS, FS_ADM,     4,  2,  NULL, fs_fill_ecc},
    {0x6FC4,  FS_ADF, T, 0,      FS_PIN1,   FS_PIN1,   46,  0,  NULL, NULL},            /* NETPAR */
    {0x6FC5,  FS_ADF, L, 0x19,   FS_ALWAYS, FS_ADM,    40,  1,  NULL, fs_fill_pnn},
    {0x6FC6,  FS_ADF, L, 0x1A,   FS_ALWAYS, FS_ADM,     8,  1,  NULL, fs_fill_opl},
    {0x6FE3,  FS_ADF, T, 0x1E,   FS_PIN1,   FS_PIN1,   18,  0,
     "0BF6FFFFFFFFFFFFFFFFFFFFFFFFFF000001", NULL},                                     /* EPSLOCI */
    {0x6FE4,  FS_ADF, L, 0x18,   FS_PIN1,   FS_PIN1,   54,  1,  "A000", NULL},          /* EPSNSC */
};
/* clang-format on */

const size_t fs_nodes_n = sizeof fs_nodes / sizeof fs_nodes[0];

const struct fs_node *fs_mf(void) {
    return &fs_nodes[0];
}

const struct fs_node *fs_adf_usim(void) {
    return &fs_nodes[1];
}
