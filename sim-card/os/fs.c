#include "os/fs.h"

#include <assert.h>
#include <stdlib.h>

#include "gp/registry.h"
#include "os/pin.h"
#include "simcard/personalise.h"
#include "tb/hex.h"

const struct fs_rule fs_rules[FS_RULES] = {
    {FS_ALWAYS, FS_ADM}, {FS_ALWAYS, FS_NEVER}, {FS_ALWAYS, FS_PIN1},
    {FS_PIN1, FS_PIN1},  {FS_PIN1, FS_ADM},
};

uint8_t fs_rule(const struct fs_node *node) {
    if (node->kind == FS_DF)
        return 1;
    for (unsigned i = 0; i < FS_RULES; i++)
        if (fs_rules[i].read == node->read && fs_rules[i].update == node->update)
            return (uint8_t)(i + 1);
    assert(false); /* a file whose access rule is not in EF.ARR */
    return 0;
}

bool fs_has_usim(const struct card *card) {
    return card->cur->id.imsi[0] != '\0';
}

static bool is_present(const struct card *card, const struct fs_node *node) {
    return (node->fid != FS_ADF && node->df != FS_ADF) || fs_has_usim(card);
}

const struct fs_node *fs_find(uint16_t df, uint16_t fid) {
    for (size_t i = 0; i < fs_nodes_n; i++)
        if (fs_nodes[i].df == df && fs_nodes[i].fid == fid)
            return &fs_nodes[i];
    return NULL;
}

const struct fs_node *fs_child(const struct card *card, const struct fs_node *df, uint16_t fid) {
    const struct fs_node *node = fid == FS_ADF ? NULL : fs_find(df->fid, fid);

    return node && is_present(card, node) ? node : NULL;
}

const struct fs_node *fs_by_sfi(const struct card *card, const struct fs_node *df, uint8_t sfi) {
    for (size_t i = 0; sfi != 0 && i < fs_nodes_n; i++)
        if (fs_nodes[i].df == df->fid && fs_nodes[i].sfi == sfi && is_present(card, &fs_nodes[i]))
            return &fs_nodes[i];
    return NULL;
}

uint8_t fs_records(const struct card *card, const struct fs_node *node) {
    size_t n = fs_has_usim(card) ? 1 : 0;

    if (node->fid != FS_EF_DIR)
        return node->records;
    for (size_t i = 0; i < card->apps_n; i++)
        n += card_app_listed(card, card->apps[i]) ? 1 : 0;
    return (uint8_t)(n > 0 ? n : 1);
}

size_t fs_size(const struct card *card, const struct fs_node *node) {
    return node->kind == FS_TRANSPARENT ? node->size : (size_t)node->size * fs_records(card, node);
}

static const struct card_file *written(const struct card *card, const struct fs_node *node) {
    for (size_t i = 0; i < card->cur->files_n; i++)
        if (card->cur->files[i].node == node)
            return &card->cur->files[i];
    return NULL;
}

static void put_initial(const struct fs_node *node, size_t unit, struct tb_buf *out) {
    size_t start = out->n;

    if (node->init && tb_hex_decode(tb_span_str(node->init), out) < 0)
        out->overflow = true; /* cannot happen: the table's own text */
    while (!out->overflow && out->n - start < unit)
        tb_put_u8(out, 0xFF);
}

void fs_content(const struct card *card, const struct fs_node *node, struct tb_buf *out) {
    const struct card_file *f = written(card, node);
    size_t size = fs_size(card, node), start = out->n;

    if (f) {
        tb_put(out, tb_span_sub(tb_span(f->p, f->n), 0, size));
    } else if (node->fill) {
        node->fill(card, out);
    } else {
        size_t unit = node->kind == FS_TRANSPARENT ? size : node->size;

        for (size_t i = 0; i < size; i += unit)
            put_initial(node, unit, out);
    }
    while (!out->overflow && out->n - start < size)
        tb_put_u8(out, 0xFF); /* a file that grew since its record was written */
}

bool fs_allowed(const struct card *card, uint8_t condition) {
    const struct card_pin_state *pin;

    if (condition == FS_ALWAYS || condition == FS_NEVER)
        return condition == FS_ALWAYS;
    if (card->over_the_air)
        return true;
    for (size_t i = 0; i < CARD_PINS; i++) {
        pin = &card->cur->pins[i];
        if (pin->ref == (condition == FS_PIN1 ? CARD_PIN1 : CARD_ADM1))
            return pin->exists && (!pin->enabled || pin->verified);
    }
    return false;
}

/* A place for node's content, which may be there already, among the files that were written. */
static struct card_file *place(struct card_subscription *s, const struct fs_node *node) {
    struct card_file *files;

    for (size_t i = 0; i < s->files_n; i++)
        if (s->files[i].node == node)
            return &s->files[i];
    files = realloc(s->files, (s->files_n + 1) * sizeof *files);
    if (!files)
        return NULL;
    s->files = files;
    return &files[s->files_n];
}

uint16_t fs_write(struct card *card, const struct fs_node *node, size_t offset,
                  struct tb_span data) {
    size_t size = fs_size(card, node);
    uint8_t key[CARD_REC_KEY_MAX];
    struct tb_buf k = TB_BUF(key);
    struct card_file *file = place(card->cur, node);
    struct tb_buf b = tb_buf(malloc(1 + size), 1 + size);
    struct card_write w;
    uint16_t sw;

    assert(offset + data.n <= size);
    if (!file || !b.p) {
        free(b.p);
        return TB_SW_NO_SPACE;
    }
    card_subscription_key(card->cur, &k);
    tb_put_u8(&k, CARD_REC_FILE);
    tb_put_be16(&k, node->df);
    tb_put_be16(&k, node->fid);
    tb_put_u8(&b, CARD_RECORD_FORMAT);
    fs_content(card, node, &b);
    memcpy(b.p + 1 + offset, data.p, data.n);
    w = (struct card_write){tb_buf_span(&k), tb_buf_span(&b)};
    sw = card_store(card, &w, 1);
    if (sw != 0) {
        free(b.p);
        return sw;
    }
    memmove(b.p, b.p + 1, size);
    if (file == &card->cur->files[card->cur->files_n])
        card->cur->files_n++;
    else
        free(file->p);
    *file = (struct card_file){node, size, b.p};
    return TB_SW_OK;
}

bool fs_has_service(const struct card *card, unsigned n) {
    uint8_t content[FS_CONTENT_MAX];
    struct tb_buf out = TB_BUF(content);
    const struct fs_node *ust = fs_find(FS_ADF, FS_EF_UST);
    size_t at = (n - 1) / 8;

    if (!ust || !fs_has_usim(card))
        return false;
    fs_content(card, ust, &out);
    return at < out.n && content[at] & 1u << (n - 1) % 8;
}
