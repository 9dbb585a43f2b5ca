#include "tb/markup.h"

#include <stdlib.h>

#include "helper.h"

static void what_markup_would_read_is_escaped(void **state) {
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);

    (void)state;
    tb_put_markup(f, "a<b> & \"c\"\x01\n\t\xC3\xA9");
    fclose(f);
    assert_string_equal(text, "a&lt;b&gt; &amp; &quot;c&quot;?\n\t\xC3\xA9");
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_markup_would_read_is_escaped)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
