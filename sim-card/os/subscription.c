#include <stdlib.h>

#include "os/os.h"
#include "simcard/personalise.h"
#include "usim/aka.h"

struct card_subscription *card_subscription_get(struct card *card, uint8_t number) {
    static const uint8_t refs[CARD_PINS] = {CARD_PIN1, CARD_PIN2, CARD_ADM1};
    struct card_subscription **at = &card->subs, *s;

    while (*at && (*at)->number < number)
        at = &(*at)->next;
    if (*at && (*at)->number == number)
        return *at;
    s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->number = number;
    for (size_t i = 0; i < CARD_PINS; i++)
        s->pins[i] = card_pin_default(refs[i]);
    s->next = *at;
    *at = s;
    return s;
}

static void free_one(struct card_subscription *s) {
    for (size_t i = 0; i < s->files_n; i++)
        free(s->files[i].p);
    free(s->files);
    tb_wipe(s->pins, sizeof s->pins);
    if (s->aka)
        tb_wipe(s->aka, sizeof *s->aka);
    free(s->aka);
    free(s);
}

void card_subscription_remove(struct card *card, uint8_t number) {
    struct card_subscription **at = &card->subs, *s;

    while ((*at)->number != number)
        at = &(*at)->next;
    s = *at;
    *at = s->next;
    free_one(s);
}

void card_subscriptions_free(struct card *card) {
    while (card->subs) {
        struct card_subscription *s = card->subs;

        card->subs = s->next;
        free_one(s);
    }
    card->cur = NULL;
}

void card_subscription_key(const struct card_subscription *s, struct tb_buf *key) {
    if (s->number == 0)
        return;
    tb_put_u8(key, CARD_REC_OF);
    tb_put_u8(key, s->number);
}
