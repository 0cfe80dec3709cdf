/* SPDX-License-Identifier: MIT
 *
 * Readiness of a descriptor as an event of Node's event loop.
 *
 * The `dgram` engine runs on that loop and cannot block in wait_for(), but Node has no class that
 * watches a TAP. This is the only use of uv.h.
 *
 * Events are level-triggered, as in wait.c. A watcher belongs to the thread that started it and
 * keeps that thread's loop alive. libuv allows one watcher per descriptor and loop, and requires
 * the descriptor to stay open until the watcher is stopped.
 *
 * A watcher has two owners: the loop, until it has closed the uv handle, and the JavaScript object,
 * until it is garbage-collected. The owner that releases the watcher last also frees its memory. A
 * clean-up hook closes open watchers when the thread ends.
 */
#include "poll.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include <uv.h>

/**
 * struct watcher - JavaScript callback and the uv handle that calls it
 * @cleanup:	keeps the environment alive until the loop has released the watcher
 * @closing:	uv_close() has been called
 * @closed:	the loop has released the watcher
 * @collected:	the JavaScript object has been garbage-collected
 */
struct watcher {
	uv_poll_t uv;
	napi_env env;
	napi_ref callback;
	napi_async_context async;
	napi_async_cleanup_hook_handle cleanup;
	bool closing;
	bool closed;
	bool collected;
};

/*
 * Distinguishes these handles from other objects, so that poll_stop() never uses a foreign pointer.
 */
static const napi_type_tag watcher_tag = { 0x7674657064207761, 0x7463686572202331 };

static void free_if_unowned(struct watcher *watcher)
{
	if (watcher->closed && watcher->collected)
		free(watcher);
}

static void on_collected(napi_env env, void *data, void *hint)
{
	struct watcher *watcher = data;

	(void)env;
	(void)hint;
	watcher->collected = true;
	free_if_unowned(watcher);
}

static void on_closed(uv_handle_t *uv)
{
	struct watcher *watcher = uv->data;

	napi_delete_reference(watcher->env, watcher->callback);
	napi_async_destroy(watcher->env, watcher->async);
	napi_remove_async_cleanup_hook(watcher->cleanup);
	watcher->closed = true;
	free_if_unowned(watcher);
}

static void close_watcher(struct watcher *watcher)
{
	if (watcher->closing)
		return;
	watcher->closing = true;
	uv_close((uv_handle_t *)&watcher->uv, on_closed);
}

static void on_env_cleanup(napi_async_cleanup_hook_handle hook, void *data)
{
	(void)hook;
	close_watcher(data);
}

/* An exception of the callback is an uncaught exception, as in any other event handler. */
static void on_readable(uv_poll_t *uv, int status, int events)
{
	struct watcher *watcher = uv->data;
	napi_env env = watcher->env;
	napi_handle_scope scope;
	napi_value global, callback, error;

	(void)status; /* the following read returns the error */
	(void)events;
	if (napi_open_handle_scope(env, &scope) != napi_ok)
		return;
	napi_get_global(env, &global);
	napi_get_reference_value(env, watcher->callback, &callback);
	if (napi_make_callback(env, watcher->async, global, callback, 0, NULL, NULL) == napi_pending_exception &&
	    napi_get_and_clear_last_exception(env, &error) == napi_ok)
		napi_fatal_exception(env, error);
	napi_close_handle_scope(env, scope);
}

/*
 * Creates the references before the first event can occur; from then on the loop owns the watcher.
 */
static void attach(struct watcher *watcher, napi_value callback, napi_value *handle)
{
	napi_env env = watcher->env;
	napi_value name;

	napi_create_string_utf8(env, "vtepd:poll", NAPI_AUTO_LENGTH, &name);
	napi_async_init(env, NULL, name, &watcher->async);
	napi_create_reference(env, callback, 1, &watcher->callback);
	napi_add_async_cleanup_hook(env, on_env_cleanup, watcher, &watcher->cleanup);
	napi_create_object(env, handle);
	napi_type_tag_object(env, *handle, &watcher_tag);
	napi_wrap(env, *handle, watcher, on_collected, NULL, NULL);
}

/**
 * poll_start() - call back whenever a descriptor is readable or in error
 * @callback:	function called without arguments
 * @handle:	set to the object for poll_stop()
 *
 * #syscalls epoll_ctl ioctl
 * Return: 0 or a negative errno (libuv's errors are errnos on Linux); -EEXIST already watched.
 */
int poll_start(napi_env env, int fd, napi_value callback, napi_value *handle)
{
	struct watcher *watcher = calloc(1, sizeof(*watcher));
	struct uv_loop_s *loop;
	int err;

	if (!watcher)
		return -ENOMEM;
	napi_get_uv_event_loop(env, &loop);
	err = uv_poll_init(loop, &watcher->uv, fd);
	if (err) {
		free(watcher);
		return err;
	}
	watcher->uv.data = watcher;
	watcher->env = env;
	attach(watcher, callback, handle);
	err = uv_poll_start(&watcher->uv, UV_READABLE, on_readable);
	if (err)
		close_watcher(watcher);
	return err;
}

/**
 * poll_stop() - stop the callbacks; idempotent
 *
 * #syscalls epoll_ctl
 * Return: 0; -EINVAL not a handle of poll_start().
 */
int poll_stop(napi_env env, napi_value handle)
{
	struct watcher *watcher;
	bool ours = false;

	if (napi_check_object_type_tag(env, handle, &watcher_tag, &ours) != napi_ok || !ours ||
	    napi_unwrap(env, handle, (void **)&watcher) != napi_ok)
		return -EINVAL;
	close_watcher(watcher);
	return 0;
}
