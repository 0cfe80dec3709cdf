/* SPDX-License-Identifier: MIT
 *
 * Conversion of JavaScript arguments to C; see args.c.
 *
 * After an arg_ function has refused an argument, the returned values must not be used. Check
 * call.refused once after converting all arguments.
 */
#ifndef VTEPD_ARGS_H
#define VTEPD_ARGS_H

#include "shim.h"

#include <stdbool.h>

#include <node_api.h>

#define ARGS_MAX 9

/*
 * Bytes for a device name: more than the kernel accepts, so that a longer name gets the error of
 * the kernel.
 */
#define NAME_SIZE 64

/**
 * struct call - arguments of one call
 * @name:	name of the JavaScript function, for messages
 * @refused:	an exception is pending; values returned by arg_ functions must not be used
 */
struct call {
	napi_env env;
	const char *name;
	napi_value args[ARGS_MAX];
	bool refused;
};

/* Memory of a typed array. */
struct view {
	void *data;
	size_t count;
};

struct call begin_call(napi_env env, napi_callback_info info, const char *name);
napi_value answer(const struct call *call, int64_t value);
void refuse(struct call *call, const char *argument, const char *wanted);

int32_t arg_int(struct call *call, int index, const char *argument);
int32_t arg_int_within(struct call *call, int index, const char *argument, int32_t min, int32_t max);
uint32_t arg_mark(struct call *call, int index);
bool arg_bool(struct call *call, int index, const char *argument);
void arg_string(struct call *call, int index, const char *argument, char *buffer, size_t size);
struct view arg_bytes(struct call *call, int index, const char *argument, size_t min, size_t align);
struct view arg_ints(struct call *call, int index, const char *argument, size_t min);
struct arena arg_arena(struct call *call, int index);
struct batch *arg_batch(struct call *call, int index);
struct tap_region arg_region(struct call *call, int index, struct arena arena);
struct udp_slots arg_slots(struct call *call, int index, struct arena arena);

#endif
