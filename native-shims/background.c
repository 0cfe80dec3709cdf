/* SPDX-License-Identifier: MIT
 *
 * Netlink requests on a thread of Node's pool, as promises.
 *
 * netlink_request() can wait for a lock of the kernel. On the main thread it would hold up the API
 * and the timers, so it runs in the background. The promise never rejects: it is resolved with the
 * bytes of the answer, or with a negative errno.
 */
#include "background.h"
#include "netlink.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct background_request {
	napi_async_work work;
	napi_deferred deferred;
	struct netlink_answer answer;
	int protocol;
	int err;
	size_t len;
	uint8_t messages[];
};

static void execute(napi_env env, void *data)
{
	struct background_request *request = data;

	(void)env;
	request->err = netlink_request(request->protocol, request->messages, request->len, &request->answer);
}

/* Returns a Uint8Array with a copy of the answer; NULL without memory. */
static napi_value bytes_of(napi_env env, const struct netlink_answer *answer)
{
	napi_value buffer, bytes;
	void *data;

	if (napi_create_arraybuffer(env, answer->len, &data, &buffer) != napi_ok)
		return NULL;
	if (answer->len > 0)
		memcpy(data, answer->data, answer->len);
	if (napi_create_typedarray(env, napi_uint8_array, answer->len, buffer, 0, &bytes) != napi_ok)
		return NULL;
	return bytes;
}

static void complete(napi_env env, napi_status status, void *data)
{
	struct background_request *request = data;
	napi_value result = NULL;

	if (status != napi_ok)
		request->err = -ECANCELED;
	if (!request->err)
		result = bytes_of(env, &request->answer);
	if (!result)
		napi_create_int32(env, request->err ? request->err : -ENOMEM, &result);
	napi_resolve_deferred(env, request->deferred, result);
	napi_delete_async_work(env, request->work);
	free(request->answer.data);
	free(request);
}

/**
 * request_in_background() - run netlink_request() on a thread of the pool
 * @messages:	copied
 * @promise:	receives the promise
 *
 * Return: 0 or -ENOMEM.
 */
int request_in_background(napi_env env, int protocol, const uint8_t *messages, size_t len, napi_value *promise)
{
	struct background_request *request = calloc(1, sizeof(*request) + len);
	napi_value name;

	if (!request)
		return -ENOMEM;
	request->protocol = protocol;
	request->len = len;
	memcpy(request->messages, messages, len);
	if (napi_create_string_utf8(env, "vtepd:netlink", NAPI_AUTO_LENGTH, &name) == napi_ok &&
	    napi_create_promise(env, &request->deferred, promise) == napi_ok &&
	    napi_create_async_work(env, NULL, name, execute, complete, request, &request->work) == napi_ok) {
		if (napi_queue_async_work(env, request->work) == napi_ok)
			return 0;
		napi_delete_async_work(env, request->work);
	}
	free(request);
	return -ENOMEM;
}
