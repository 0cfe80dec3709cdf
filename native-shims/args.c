/* SPDX-License-Identifier: MIT
 *
 * Conversion and validation of JavaScript arguments.
 *
 * The checks concern a call as a whole: types, lengths, alignment, indices of the batch, regions of
 * the arena. An invalid argument is a bug of the caller and throws an exception that names function
 * and argument. Single descriptors are checked where they are used.
 */
#include "args.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void refuse(struct call *call, const char *argument, const char *wanted)
{
	char message[160];

	if (call->refused)
		return;
	call->refused = true;
	snprintf(message, sizeof(message), "%s: %s must be %s", call->name, argument, wanted);
	napi_throw_range_error(call->env, "ERR_INVALID_ARG_VALUE", message);
}

/* A missing argument has the value undefined, which every arg_ function refuses. */
struct call begin_call(napi_env env, napi_callback_info info, const char *name)
{
	struct call call = { .env = env, .name = name };
	size_t count = ARGS_MAX;

	napi_get_cb_info(env, info, &count, call.args, NULL, NULL);
	return call;
}

napi_value answer(const struct call *call, int64_t value)
{
	napi_value result = NULL;

	napi_create_int64(call->env, value, &result);
	return result;
}

int32_t arg_int(struct call *call, int index, const char *argument)
{
	double value;

	if (napi_get_value_double(call->env, call->args[index], &value) == napi_ok && value >= INT32_MIN &&
	    value <= INT32_MAX && trunc(value) == value)
		return (int32_t)value;
	refuse(call, argument, "a 32-bit integer");
	return 0;
}

int32_t arg_int_within(struct call *call, int index, const char *argument, int32_t min, int32_t max)
{
	int32_t value = arg_int(call, index, argument);
	char wanted[64];

	if (value >= min && value <= max)
		return value;
	snprintf(wanted, sizeof(wanted), "an integer from %d to %d", min, max);
	refuse(call, argument, wanted);
	return min;
}

/* A packet mark (SO_MARK): any unsigned 32-bit integer. */
uint32_t arg_mark(struct call *call, int index)
{
	double value;

	if (napi_get_value_double(call->env, call->args[index], &value) == napi_ok && value >= 0 &&
	    value <= UINT32_MAX && trunc(value) == value)
		return (uint32_t)value;
	refuse(call, "mark", "an integer from 0 to 4294967295");
	return 0;
}

bool arg_bool(struct call *call, int index, const char *argument)
{
	bool value = false;

	if (napi_get_value_bool(call->env, call->args[index], &value) != napi_ok)
		refuse(call, argument, "a boolean");
	return value;
}

void arg_string(struct call *call, int index, const char *argument, char *buffer, size_t size)
{
	size_t len = 0, copied;

	buffer[0] = '\0';
	if (napi_get_value_string_utf8(call->env, call->args[index], NULL, 0, &len) != napi_ok || len >= size) {
		char wanted[64];

		snprintf(wanted, sizeof(wanted), "a string of at most %zu bytes", size - 1);
		refuse(call, argument, wanted);
		return;
	}
	napi_get_value_string_utf8(call->env, call->args[index], buffer, size, &copied);
	if (strlen(buffer) != len)
		refuse(call, argument, "a string without NUL");
}

/* Reads a typed array of at least min elements; a SharedArrayBuffer is allowed. */
static struct view arg_view(struct call *call, int index, const char *argument, napi_typedarray_type wanted_type,
			    size_t min, size_t align)
{
	struct view view = { 0 };
	napi_typedarray_type type;
	char wanted[96];

	if (napi_get_typedarray_info(call->env, call->args[index], &type, &view.count, &view.data, NULL, NULL) ==
		    napi_ok &&
	    type == wanted_type && view.count >= min && (uintptr_t)view.data % align == 0)
		return view;
	snprintf(wanted, sizeof(wanted), "%s of at least %zu elements, aligned to %zu bytes",
		 wanted_type == napi_int32_array ? "an Int32Array" : "a Uint8Array", min, align);
	refuse(call, argument, wanted);
	return (struct view){ 0 };
}

struct view arg_bytes(struct call *call, int index, const char *argument, size_t min, size_t align)
{
	return arg_view(call, index, argument, napi_uint8_array, min, align);
}

struct view arg_ints(struct call *call, int index, const char *argument, size_t min)
{
	return arg_view(call, index, argument, napi_int32_array, min, _Alignof(int32_t));
}

struct arena arg_arena(struct call *call, int index)
{
	struct view view = arg_bytes(call, index, "arena", 1, 1);

	return (struct arena){ view.data, view.count };
}

struct batch *arg_batch(struct call *call, int index)
{
	return arg_bytes(call, index, "batch", sizeof(struct batch), _Alignof(struct batch)).data;
}

struct tap_region arg_region(struct call *call, int index, struct arena arena)
{
	int32_t most = arena.len < INT32_MAX ? (int32_t)arena.len : INT32_MAX;
	int32_t off = arg_int_within(call, index, "regionOff", 0, most);

	return (struct tap_region){
		.off = off,
		.end = arg_int_within(call, index + 1, "regionEnd", off, most),
		.headroom = arg_int_within(call, index + 2, "headroom", 0, UINT16_MAX),
		.slot_len = arg_int_within(call, index + 3, "slotLen", 1, INT32_MAX),
	};
}

struct udp_slots arg_slots(struct call *call, int index, struct arena arena)
{
	struct udp_slots slots = {
		.count = arg_int_within(call, index, "slots", 0, BATCH_CAP),
		.stride = arg_int_within(call, index + 1, "slotStride", 1, INT32_MAX),
	};
	int64_t end = (int64_t)slots.count * slots.stride;

	if (end > INT32_MAX || (uint64_t)end > arena.len)
		refuse(call, "slots * slotStride", "within the arena");
	return slots;
}
