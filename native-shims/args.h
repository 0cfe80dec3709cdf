/* SPDX-License-Identifier: MIT
 *
 * Arguments of JavaScript as C has them; see args.c. After any of the arg_ functions has refused one, what they return
 * is not to be used: look at call.refused once, when all have been taken.
 */
#ifndef VTEPD_ARGS_H
#define VTEPD_ARGS_H

#include "shim.h"

#include <stdbool.h>

#include <node_api.h>

#define ARGS_MAX 9

/* Bytes for a device name: more than the kernel takes, so that its own answer gets through. */
#define NAME_SIZE 64

/**
 * struct call - the arguments of one call, and whether one of them was refused
 * @name:	of the JavaScript function, for messages
 * @refused:	an exception is pending; what the arg_ functions return then is not to be used
 */
struct call {
	napi_env env;
	const char *name;
	napi_value args[ARGS_MAX];
	bool refused;
};

/* What a typed array lies over. */
struct view {
	void *data;
	size_t count;
};

struct call begin_call(napi_env env, napi_callback_info info, const char *name);
napi_value answer(const struct call *call, int64_t value);
void refuse(struct call *call, const char *argument, const char *wanted);

int32_t arg_int(struct call *call, int index, const char *argument);
int32_t arg_int_within(struct call *call, int index, const char *argument, int32_t min, int32_t max);
bool arg_bool(struct call *call, int index, const char *argument);
void arg_string(struct call *call, int index, const char *argument, char *buffer, size_t size);
struct view arg_bytes(struct call *call, int index, const char *argument, size_t min, size_t align);
struct view arg_ints(struct call *call, int index, const char *argument, size_t min);
struct arena arg_arena(struct call *call, int index);
struct batch *arg_batch(struct call *call, int index);
struct tap_region arg_region(struct call *call, int index, struct arena arena);
struct udp_slots arg_slots(struct call *call, int index, struct arena arena);

#endif
