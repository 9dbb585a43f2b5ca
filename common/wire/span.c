#include "tb/span.h"

void tb_wipe(void *p, size_t n) {
    /* Called through a volatile pointer: the compiler cannot know it is memset and must not drop
     * it. */
    static void *(*const volatile fill)(void *, int, size_t) = memset;

    if (n > 0)
        fill(p, 0, n);
}
