#include "room.h"

#include <stdlib.h>

enum { LEAST = 512 };

void modem_room(struct tb_buf *b, size_t cap) {
    size_t size = b->cap ? b->cap : LEAST;
    uint8_t *p;

    if (cap <= b->cap)
        return;
    while (size < cap)
        size *= 2;
    p = malloc(size);
    if (!p)
        abort();
    if (b->n)
        memcpy(p, b->p, b->n);
    modem_room_free(b);
    b->p = p;
    b->cap = size;
}

void modem_room_free(struct tb_buf *b) {
    if (b->p)
        tb_wipe(b->p, b->cap);
    free(b->p);
    b->p = NULL;
    b->cap = 0;
}
