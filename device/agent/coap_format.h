#pragma once
/* Names and numbers of CoAP. */
#include <stddef.h>

#include "tb/error.h"

/* Content format (IANA) of a media type, or of a number as text. Negative with *e filled. */
int dev_coap_format(const char *media_type, struct tb_error *e) TB_CHECKED;
/* The media type, or the number as text, in dst. */
const char *dev_coap_media_type(unsigned format, char *dst, size_t cap);
/* Code of a method (RFC 7252 12.1.1, 8132); negative with *e filled. */
int dev_coap_method(const char *name, struct tb_error *e) TB_CHECKED;
/* "2.05" */
const char *dev_coap_code(unsigned code, char *dst, size_t cap);
