#include <stdio.h>
#include <string.h>

#include "app.h"
#include "tb/config.h"

static int set(struct modem_quirks *q, const char *key, const char *value, const char *file,
               int line, struct tb_error *e) {
    const char *near;
    int r = modem_quirks_set(q, key, value);

    if (r == TB_ENOTFOUND) {
        near = tb_nearest(key, modem_quirks_keys());
        return tb_error_set(e, r, file, line, "no quirk is called \"%s\"%s%s%s", key,
                            near ? ", did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    }
    if (r < 0)
        return tb_error_set(e, r, file, line, "\"%s\" is no value for %s", value, key);
    return 0;
}

static int on_entry(const struct tb_config_entry *entry, const char *file, struct tb_error *e,
                    void *user) {
    if (!entry->key)
        return tb_error_set(e, TB_EPARSE, file, entry->line, "a model has no sections");
    return set(user, entry->key, entry->value, file, entry->line, e);
}

/* KEY=VALUE of the command line. */
static int set_pair(struct modem_quirks *q, const char *pair, struct tb_error *e) {
    const char *eq = strchr(pair, '=');
    char key[64];

    if (!eq || (size_t)(eq - pair) >= sizeof key)
        return tb_error_set(e, TB_EPARSE, NULL, 0, "--quirk wants KEY=VALUE, not \"%s\"", pair);
    snprintf(key, sizeof key, "%.*s", (int)(eq - pair), pair);
    return set(q, key, eq + 1, NULL, 0, e);
}

int model_load(const char *name, const struct tb_strv *quirks, struct modem_quirks *ret,
               struct tb_error *e) {
    struct modem_quirks q;
    const char *near;
    int r = modem_quirks_find(name, &q);

    if (r == TB_ENOTFOUND && !strchr(name, '/') && !strchr(name, '.')) {
        near = tb_nearest(name, modem_quirks_names());
        return tb_error_set(e, r, NULL, 0, "no model is called \"%s\"%s%s%s", name,
                            near ? ", did you mean \"" : "", near ? near : "",
                            near ? "\"?" : " (a file needs a '/' or '.' in its name)");
    }
    if (r == TB_ENOTFOUND) {
        modem_quirks_default(&q);
        r = tb_config_read(name, on_entry, &q, e);
    }
    for (size_t i = 0; i < quirks->n && r == 0; i++)
        r = set_pair(&q, quirks->v[i], e);
    if (r == 0)
        *ret = q;
    return r;
}
