#include "tb/markup.h"

void tb_put_markup(FILE *f, const char *text) {
    for (; *text; text++) {
        switch (*text) {
        case '&':
            fputs("&amp;", f);
            break;
        case '<':
            fputs("&lt;", f);
            break;
        case '>':
            fputs("&gt;", f);
            break;
        case '"':
            fputs("&quot;", f);
            break;
        default:
            fputc((unsigned char)*text < 0x20 && *text != '\n' && *text != '\t' ? '?' : *text, f);
        }
    }
}
