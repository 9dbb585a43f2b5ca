#pragma once
/* The factory: turns a *.card file into the NVM of a card and into the record that the card's owner
 * imports into the hub's registry. */
#include <jansson.h>

#include "cardfile.h"
#include "tb/pki.h"

struct factory_options {
    const struct tb_pki_ca *issuer; /* NULL: certificates to issue are an error */
    X509 *server_ca;                /* what "certificate = ca" is; NULL: the issuer's certificate */
    bool export_secrets;            /* put PSKs into the record */
};

/* Makes keys and certificates and puts everything into nvm, which must be blank; when it fails nvm
 * holds a part and is to be thrown away. *ret_record is one member of "cards" as docs/card.md
 * describes it, a new reference. */
int factory_make(const struct cardfile *f, const struct factory_options *opt, struct card_nvm *nvm,
                 json_t **ret_record, struct tb_error *e) TB_CHECKED;
