#pragma once
/* Between the engine (call.c) and the opening of the application (open.c). */
#include "client.h"
#include "tb/apdu.h"

/* Ends the call: the client is free. */
void call_finish(struct call *k, int result);

/* The same, for the return statement of a start function. */
static inline int call_fail(struct call *k, int err) {
    call_finish(k, err);
    return err;
}

/* The application is selected: go on with the operation from its first step. */
void call_enter_operation(struct call *k);

/* Begins to open: a channel, then the application. Whatever was open is forgotten. */
void open_begin(struct call *k);

/* Puts the command of the current opening phase. */
void open_build(struct call *k, struct tb_buf *out);

/* The command of the current opening phase was answered with sw. */
void open_done(struct call *k, uint16_t sw);

/* A logical channel is in use that can be given up for the basic one. */
bool open_can_fall_back(const struct call *k);
void open_fall_back(struct call *k);

/* GET DATA of the object that the call refers to, and its answer: false when it tells of no such
 * object. */
void object_build(struct call *k, struct tb_buf *out, enum iotsafe_object_type type);
bool object_read(struct tb_span data, enum iotsafe_object_type type, struct iotsafe_object *ret);
