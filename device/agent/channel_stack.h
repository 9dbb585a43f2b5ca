#pragma once
/* What a TLS library has to bring to stand behind channel.h.
 *
 * channel.c calls its functions with the channel's card as the current one (dev_card_current()),
 * with the deadline of a handshake as the task's limit, and gives back what a channel has taken
 * from the card when it is closed: an implementation need not care about any of it. */
#include "channel.h"

struct dev_tls_ops {
    /* Fills *ret with a channel whose ops and stream are set; the rest is channel.c's. */
    int (*open)(struct dev_tls *t, struct dev_stream *stream, struct dev_channel **ret,
                struct dev_failure *why);
    void (*free)(struct dev_tls *t);
};
struct dev_tls { /* first member of every implementation */
    const struct dev_tls_ops *ops;
    struct dev_card *card; /* set by channel.c */
};

/* use: what the card is asked for while it is made, and what trouble there was. */
int dev_tls_openssl(const struct dev_tls_config *cfg, struct dev_card_use *use,
                    struct dev_tls **ret, struct dev_failure *why) TB_CHECKED;
#ifdef DEV_WITH_MBEDTLS
int dev_tls_mbedtls(const struct dev_tls_config *cfg, struct dev_card_use *use,
                    struct dev_tls **ret, struct dev_failure *why) TB_CHECKED;
#endif
