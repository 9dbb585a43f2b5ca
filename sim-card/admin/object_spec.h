#pragma once
/* From the description of an object to the object. */
#include "iotsafe/object.h"

/* Checks spec against the limits of IoT.05, fills in what it leaves open, and checks that a key is
 * one. TB_ERANGE, TB_EPARSE, TB_ENOMEM; *ret is the caller's. */
int card_object_from_spec(const struct card_object_spec *spec, struct card_object **ret) TB_CHECKED;
