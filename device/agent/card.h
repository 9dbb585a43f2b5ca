#pragma once
/* The device's card: a client of libiotsafe over a link, used by one task at a time. */
#include <uv.h>

#include "iotsafe/iotsafe.h"
#include "isp.h"
#include "task.h"
#include "tb/error.h"

struct dev_card;

/* Opens nothing yet. link: see link.h. aid: hex, NULL for the well-known ones. */
int dev_card_new(uv_loop_t *loop, const char *link, const char *aid, struct dev_card **ret,
                 struct tb_error *e) TB_CHECKED;
/* From the loop's stack: without a word to the card. NULL is a no-op. */
void dev_card_free(struct dev_card *card);

/* For tasks: the client, for this task alone until dev_card_put(). */
int dev_card_take(struct dev_card *card, struct iotsafe **ret) TB_CHECKED;
void dev_card_put(struct dev_card *card, int result);

/* For tasks: a whole file. The result is an IOTSAFE_E… code; *ret is allocated. */
int dev_card_read_file(struct dev_card *card, const struct iotsafe_ref *file, uint8_t **ret,
                       size_t *ret_len) TB_CHECKED;

/* Gives the logical channel back, for tasks. */
void dev_card_release(struct dev_card *card);

/* For isp_set_host(). */
struct isp_host dev_card_host(struct dev_card *card);

/* What the last operation that failed since dev_card_forget() was about; text "" when none did. */
struct dev_card_trouble {
    int error;
    uint16_t sw; /* 0 when the card did not answer */
    char text[512];
};
const struct dev_card_trouble *dev_card_trouble(const struct dev_card *card);
void dev_card_forget(struct dev_card *card);

void dev_card_stats(const struct dev_card *card, struct iotsafe_stats *ret);
