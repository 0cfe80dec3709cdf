/* SPDX-License-Identifier: MIT
 *
 * N-API bindings: one JavaScript function per function of shim.h.
 *
 * Each binding validates its arguments (args.c), calls the function and returns its result. No
 * other file except args.c, background.c and poll.c uses node_api.h.
 *
 * The module is context-aware: any number of threads can load it, because it has no mutable global
 * variable. Pointers into typed arrays are valid for the duration of the call. Only poll_start()
 * keeps a JavaScript value after the call: its callback (poll.c).
 */
#include "args.h"
#include "background.h"
#include "netlink.h"
#include "poll.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/file.h>
#include <unistd.h>

/*
 * Bytes for NOTIFY_SOCKET: more than an address can have, so that notify_send() reports an address
 * that is too long.
 */
#define NOTIFY_PATH_SIZE 256

/* Bytes for the message. */
#define NOTIFY_SIZE 2048

/* Protocols of netlink(7) are numbered below MAX_LINKS of the kernel. */
#define NETLINK_PROTOCOL_MAX 31

static napi_value js_tap_open(napi_env env, napi_callback_info info)
{
	struct call call = begin_call(env, info, "tapOpen");
	char name[NAME_SIZE];
	bool multi_queue;

	arg_string(&call, 0, "name", name, sizeof(name));
	multi_queue = arg_bool(&call, 1, "multiQueue");
	return call.refused ? NULL : answer(&call, tap_open(name, multi_queue));
}

static napi_value js_tap_set_offload(napi_env env, napi_callback_info info)
{
	struct call call = begin_call(env, info, "tapSetOffload");
	int fd = arg_int(&call, 0, "fd");
	int32_t bits = arg_int_within(&call, 1, "bits", 0, INT32_MAX);

	return call.refused ? NULL : answer(&call, tap_set_offload(fd, (uint32_t)bits));
}

static napi_value js_tap_read_batch(napi_env env, napi_callback_info info)
{
	struct call call = begin_call(env, info, "tapReadBatch");
	int fd = arg_int(&call, 0, "fd");
	struct arena arena = arg_arena(&call, 1);
	struct batch *batch = arg_batch(&call, 2);
	int32_t start = arg_int_within(&call, 3, "start", 0, BATCH_CAP);
	int32_t vni_idx = arg_int(&call, 4, "vniIdx");
	struct tap_region region = arg_region(&call, 5, arena);

	return call.refused ? NULL : answer(&call, tap_read_batch(fd, arena, batch, start, vni_idx, region));
}

static napi_value js_tap_write_batch(napi_env env, napi_callback_info info)
{
	struct call call = begin_call(env, info, "tapWriteBatch");
	struct view fds = arg_ints(&call, 0, "fds", 0);
	struct arena arena = arg_arena(&call, 1);
	struct batch *batch = arg_batch(&call, 2);
	int32_t count = arg_int_within(&call, 3, "count", 0, BATCH_CAP);
	int merge = arg_int_within(&call, 4, "merge", 0, MERGE_TCP | MERGE_UDP);
	struct view result = arg_ints(&call, 5, "result", sizeof(struct merge_result) / sizeof(int32_t));

	if (call.refused)
		return NULL;
	return answer(&call, tap_write_batch(fds.data, fds.count, arena, batch, count, merge, result.data));
}

static napi_value js_udp_open(napi_env env, napi_callback_info info)
{
	struct call call = begin_call(env, info, "udpOpen");
	struct view row = arg_bytes(&call, 0, "local", sizeof(struct peer_row), 1);
	struct peer_row local;
	char device[NAME_SIZE];
	int options, receive_len, send_len, ttl;

	arg_string(&call, 1, "device", device, sizeof(device));
	options = arg_int_within(&call, 2, "options", 0, UDP_OPEN_ALL);
	receive_len = arg_int_within(&call, 3, "receiveLen", 0, INT32_MAX);
	send_len = arg_int_within(&call, 4, "sendLen", 0, INT32_MAX);
	ttl = arg_int_within(&call, 5, "ttl", 0, 255);
	if (call.refused)
		return NULL;
	memcpy(&local, row.data, sizeof(local));
	return answer(&call, udp_open(&local, device, options, receive_len, send_len, ttl));
}

static napi_value js_udp_bind_device(napi_env env, napi_callback_info info)
{
	struct call call = begin_call(env, info, "udpBindDevice");
	int fd = arg_int(&call, 0, "fd");
	char device[NAME_SIZE];

	arg_string(&call, 1, "device", device, sizeof(device));
	return call.refused ? NULL : answer(&call, udp_bind_device(fd, device));
}

static napi_value js_udp_set_mark(napi_env env, napi_callback_info info)
{
	struct call call = begin_call(env, info, "udpSetMark");
	int fd = arg_int(&call, 0, "fd");
	uint32_t mark = arg_mark(&call, 1);

	return call.refused ? NULL : answer(&call, udp_set_mark(fd, mark));
}

static napi_value js_udp_source(napi_env env, napi_callback_info info)
{
	struct call call = begin_call(env, info, "udpSource");
	struct view peer = arg_bytes(&call, 0, "peer", sizeof(struct peer_row), _Alignof(struct peer_row));
	char device[NAME_SIZE];
	uint32_t mark;
	struct view source;

	arg_string(&call, 1, "device", device, sizeof(device));
	mark = arg_mark(&call, 2);
	source = arg_bytes(&call, 3, "source", sizeof(struct peer_row), _Alignof(struct peer_row));
	return call.refused ? NULL : answer(&call, udp_source(peer.data, device, mark, source.data));
}

static napi_value js_udp_set_gro(napi_env env, napi_callback_info info)
{
	struct call call = begin_call(env, info, "udpSetGro");
	int fd = arg_int(&call, 0, "fd");
	bool on = arg_bool(&call, 1, "on");

	return call.refused ? NULL : answer(&call, udp_set_gro(fd, on));
}

static napi_value js_udp_select(napi_env env, napi_callback_info info)
{
	struct call call = begin_call(env, info, "udpSelect");
	int fd = arg_int(&call, 0, "fd");
	struct view program = arg_bytes(&call, 1, "program", 8, 4);

	return call.refused ? NULL : answer(&call, udp_select(fd, program.data, program.count));
}

static napi_value js_udp_receive_batch(napi_env env, napi_callback_info info)
{
	struct call call = begin_call(env, info, "udpReceiveBatch");
	int fd = arg_int(&call, 0, "fd");
	struct arena arena = arg_arena(&call, 1);
	struct batch *batch = arg_batch(&call, 2);
	struct peer_row *sources =
		arg_bytes(&call, 3, "sources", BATCH_CAP * sizeof(*sources), _Alignof(struct peer_row)).data;
	struct udp_slots slots = arg_slots(&call, 4, arena);

	return call.refused ? NULL : answer(&call, udp_receive_batch(fd, arena, batch, sources, slots));
}

static struct path_errors *arg_path_errors(struct call *call, int index)
{
	return arg_bytes(call, index, "errors", sizeof(struct path_errors), _Alignof(struct path_errors)).data;
}

static napi_value js_udp_send_batch(napi_env env, napi_callback_info info)
{
	struct call call = begin_call(env, info, "udpSendBatch");
	struct view fds = arg_ints(&call, 0, "fds", SEND_SOCKETS);
	struct view peers = arg_bytes(&call, 1, "peers", 0, _Alignof(struct peer_row));
	struct arena arena = arg_arena(&call, 2);
	struct batch *batch = arg_batch(&call, 3);
	int32_t count = arg_int_within(&call, 4, "count", 0, BATCH_CAP);
	int32_t train_max = arg_int_within(&call, 5, "trainMax", 1, BATCH_CAP);
	struct view refused = arg_ints(&call, 6, "refused", sizeof(struct refused_train) / sizeof(int32_t));
	struct tunnel *tunnel = arg_bytes(&call, 7, "tunnel", sizeof(*tunnel), _Alignof(struct tunnel)).data;
	struct path_errors *errors = arg_path_errors(&call, 8);
	size_t peer_count = peers.count / sizeof(struct peer_row);

	if (call.refused)
		return NULL;
	return answer(&call, udp_send_batch(fds.data, peers.data, peer_count, arena, batch, count, train_max,
					    refused.data, tunnel, errors));
}

static napi_value js_tunnel_open(napi_env env, napi_callback_info info)
{
	struct call call = begin_call(env, info, "tunnelOpen");
	char name[NAME_SIZE];

	arg_string(&call, 0, "name", name, sizeof(name));
	return call.refused ? NULL : answer(&call, tunnel_open(name));
}

static napi_value js_tunnel_attach(napi_env env, napi_callback_info info)
{
	struct call call = begin_call(env, info, "tunnelAttach");
	int ifindex = arg_int_within(&call, 0, "ifindex", 1, INT32_MAX);
	uint32_t mark = arg_mark(&call, 1);

	return call.refused ? NULL : answer(&call, tunnel_attach(ifindex, mark));
}

static napi_value js_flow_open(napi_env env, napi_callback_info info)
{
	struct call call = begin_call(env, info, "flowOpen");
	struct view fds = arg_ints(&call, 0, "fds", FLOW_FDS);

	return call.refused ? NULL : answer(&call, flow_open(fds.data));
}

static napi_value js_flow_attach(napi_env env, napi_callback_info info)
{
	struct call call = begin_call(env, info, "flowAttach");
	int program = arg_int(&call, 0, "program");
	int ifindex = arg_int_within(&call, 1, "ifindex", 1, INT32_MAX);
	bool egress = arg_bool(&call, 2, "egress");

	return call.refused ? NULL : answer(&call, flow_attach(program, ifindex, egress));
}

static napi_value js_flow_namespace(napi_env env, napi_callback_info info)
{
	struct call call = begin_call(env, info, "flowNamespace");

	return answer(&call, flow_namespace());
}

static napi_value js_flow_put(napi_env env, napi_callback_info info)
{
	struct call call = begin_call(env, info, "flowPut");
	int map = arg_int(&call, 0, "map");
	struct view key = arg_bytes(&call, 1, "key", FLOW_KEY_SIZE, 1);
	struct view value = arg_bytes(&call, 2, "value", FLOW_VALUE_SIZE, 1);

	return call.refused ? NULL : answer(&call, flow_put(map, key.data, value.data));
}

static napi_value js_flow_get(napi_env env, napi_callback_info info)
{
	struct call call = begin_call(env, info, "flowGet");
	int map = arg_int(&call, 0, "map");
	struct view key = arg_bytes(&call, 1, "key", FLOW_KEY_SIZE, 1);
	struct view value = arg_bytes(&call, 2, "value", FLOW_VALUE_SIZE, 1);

	return call.refused ? NULL : answer(&call, flow_get(map, key.data, value.data));
}

static napi_value js_flow_delete(napi_env env, napi_callback_info info)
{
	struct call call = begin_call(env, info, "flowDelete");
	int map = arg_int(&call, 0, "map");
	struct view key = arg_bytes(&call, 1, "key", FLOW_KEY_SIZE, 1);

	return call.refused ? NULL : answer(&call, flow_delete(map, key.data));
}

static napi_value js_tunnel_segmentation(napi_env env, napi_callback_info info)
{
	struct call call = begin_call(env, info, "tunnelSegmentation");
	char device[NAME_SIZE];

	arg_string(&call, 0, "device", device, sizeof(device));
	return call.refused ? NULL : answer(&call, tunnel_segmentation(device));
}

static napi_value js_device_tx_dropped(napi_env env, napi_callback_info info)
{
	struct call call = begin_call(env, info, "deviceTxDropped");
	int index = arg_int(&call, 0, "index");

	return call.refused ? NULL : answer(&call, device_tx_dropped(index));
}

static napi_value js_device_driver(napi_env env, napi_callback_info info)
{
	struct call call = begin_call(env, info, "deviceDriver");
	char device[NAME_SIZE];
	struct view driver = arg_bytes(&call, 1, "driver", DRIVER_NAME_SIZE, 1);

	arg_string(&call, 0, "device", device, sizeof(device));
	return call.refused ? NULL : answer(&call, device_driver(device, driver.data));
}

static napi_value js_udp_read_errors(napi_env env, napi_callback_info info)
{
	struct call call = begin_call(env, info, "udpReadErrors");
	int fd = arg_int(&call, 0, "fd");
	struct path_errors *errors = arg_path_errors(&call, 1);

	return call.refused ? NULL : answer(&call, udp_read_errors(fd, errors));
}

static napi_value js_wait_add(napi_env env, napi_callback_info info)
{
	struct call call = begin_call(env, info, "waitAdd");
	int wait_fd = arg_int(&call, 0, "waitFd");
	int fd = arg_int(&call, 1, "fd");
	int32_t token = arg_int_within(&call, 2, "token", 0, WAIT_ERROR_BIT - 1);
	bool readable = arg_bool(&call, 3, "readable");

	return call.refused ? NULL : answer(&call, wait_add(wait_fd, fd, token, readable));
}

static napi_value js_wait_remove(napi_env env, napi_callback_info info)
{
	struct call call = begin_call(env, info, "waitRemove");
	int wait_fd = arg_int(&call, 0, "waitFd");
	int fd = arg_int(&call, 1, "fd");

	return call.refused ? NULL : answer(&call, wait_remove(wait_fd, fd));
}

static napi_value js_wait_for(napi_env env, napi_callback_info info)
{
	struct call call = begin_call(env, info, "waitFor");
	int wait_fd = arg_int(&call, 0, "waitFd");
	int timeout_ms = arg_int_within(&call, 1, "timeoutMs", -1, INT32_MAX);
	int spin_us = arg_int_within(&call, 2, "spinUs", 0, WAIT_SPIN_MAX);
	struct wait_result *result =
		arg_bytes(&call, 3, "result", sizeof(*result), _Alignof(struct wait_result)).data;

	return call.refused ? NULL : answer(&call, wait_for(wait_fd, timeout_ms, spin_us, result));
}

static napi_value js_thread_set_slice(napi_env env, napi_callback_info info)
{
	struct call call = begin_call(env, info, "threadSetSlice");
	int us = arg_int_within(&call, 0, "us", 1, 1000000);

	return call.refused ? NULL : answer(&call, thread_set_slice(us));
}

static napi_value js_notify_send(napi_env env, napi_callback_info info)
{
	struct call call = begin_call(env, info, "notifySend");
	char path[NOTIFY_PATH_SIZE], message[NOTIFY_SIZE];

	arg_string(&call, 0, "path", path, sizeof(path));
	arg_string(&call, 1, "message", message, sizeof(message));
	return call.refused ? NULL : answer(&call, notify_send(path, message));
}

static napi_value js_wait_create(napi_env env, napi_callback_info info)
{
	struct call call = begin_call(env, info, "waitCreate");

	return answer(&call, wait_create());
}

static napi_value js_event_create(napi_env env, napi_callback_info info)
{
	struct call call = begin_call(env, info, "eventCreate");

	return answer(&call, event_create());
}

static napi_value js_netlink_open(napi_env env, napi_callback_info info)
{
	struct call call = begin_call(env, info, "netlinkOpen");
	int protocol = arg_int_within(&call, 0, "protocol", 0, NETLINK_PROTOCOL_MAX);
	struct view groups = arg_ints(&call, 1, "groups", 0);

	return call.refused ? NULL : answer(&call, netlink_open(protocol, groups.data, groups.count));
}

static napi_value js_netlink_receive(napi_env env, napi_callback_info info)
{
	struct call call = begin_call(env, info, "netlinkReceive");
	int fd = arg_int(&call, 0, "fd");
	struct view buffer = arg_bytes(&call, 1, "buffer", 1, 1);

	return call.refused ? NULL : answer(&call, netlink_receive(fd, buffer.data, buffer.count));
}

static napi_value js_netlink_request(napi_env env, napi_callback_info info)
{
	struct call call = begin_call(env, info, "netlinkRequest");
	int protocol = arg_int_within(&call, 0, "protocol", 0, NETLINK_PROTOCOL_MAX);
	struct view messages = arg_bytes(&call, 1, "messages", 1, 1);
	napi_value promise = NULL;

	if (call.refused)
		return NULL;
	if (request_in_background(env, protocol, messages.data, messages.count, &promise))
		napi_throw_error(env, "ENOMEM", "netlinkRequest: out of memory");
	return promise;
}

static napi_value js_policy_count(napi_env env, napi_callback_info info)
{
	struct call call = begin_call(env, info, "policyCount");

	return answer(&call, policy_count());
}

static napi_value js_cgroup_programs(napi_env env, napi_callback_info info)
{
	struct call call = begin_call(env, info, "cgroupPrograms");
	char path[PATH_MAX];
	int type = arg_int_within(&call, 1, "type", 0, INT32_MAX);

	arg_string(&call, 0, "path", path, sizeof(path));
	return call.refused ? NULL : answer(&call, cgroup_programs(path, type));
}

/* #syscalls close */
static int64_t close_fd(int fd)
{
	return close(fd) ? -errno : 0;
}

/* #syscalls fcntl */
static int64_t dup_fd(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	return copy < 0 ? -errno : copy;
}

/* #syscalls flock */
static int64_t file_lock(int fd)
{
	return flock(fd, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
}

/* Functions whose only argument is a descriptor. */
#define JS_OF_FD(js_function, js_name, function)                           \
	static napi_value js_function(napi_env env, napi_callback_info info) \
	{                                                                    \
		struct call call = begin_call(env, info, js_name);                  \
		int fd = arg_int(&call, 0, "fd");                              \
                                                                             \
		return call.refused ? NULL : answer(&call, function(fd));      \
	}
JS_OF_FD(js_tap_steer, "tapSteer", tap_steer)
JS_OF_FD(js_tap_unsteer, "tapUnsteer", tap_unsteer)
JS_OF_FD(js_flow_clear, "flowClear", flow_clear)
JS_OF_FD(js_udp_admit, "udpAdmit", udp_admit)
JS_OF_FD(js_udp_drops, "udpDrops", udp_drops)
JS_OF_FD(js_udp_port, "udpPort", udp_port)
JS_OF_FD(js_watch_clear, "watchClear", watch_clear)
JS_OF_FD(js_event_fire, "eventFire", event_fire)
JS_OF_FD(js_event_clear, "eventClear", event_clear)
JS_OF_FD(js_dup, "dup", dup_fd)
JS_OF_FD(js_file_lock, "fileLock", file_lock)
JS_OF_FD(js_close, "close", close_fd)

static napi_value js_poll_start(napi_env env, napi_callback_info info)
{
	struct call call = begin_call(env, info, "pollStart");
	int fd = arg_int(&call, 0, "fd");
	napi_valuetype type = napi_undefined;
	napi_value handle = NULL;
	char message[96];
	int err;

	napi_typeof(env, call.args[1], &type);
	if (type != napi_function)
		refuse(&call, "onReadable", "a function");
	if (call.refused)
		return NULL;
	err = poll_start(env, fd, call.args[1], &handle);
	if (!err)
		return handle;
	snprintf(message, sizeof(message), "pollStart: cannot watch fd %d: %s", fd, strerror(-err));
	napi_throw_error(env, "ERR_POLL", message);
	return NULL;
}

static napi_value js_poll_stop(napi_env env, napi_callback_info info)
{
	struct call call = begin_call(env, info, "pollStop");
	napi_valuetype type = napi_undefined;

	napi_typeof(env, call.args[0], &type);
	if (type != napi_object || poll_stop(env, call.args[0]))
		refuse(&call, "handle", "a handle returned by pollStart");
	return NULL;
}

static void export_functions(napi_env env, napi_value exports)
{
	static const struct {
		const char *name;
		napi_callback function;
	} functions[] = {
		{ "tapOpen", js_tap_open },
		{ "tapSteer", js_tap_steer },
		{ "tapUnsteer", js_tap_unsteer },
		{ "tapSetOffload", js_tap_set_offload },
		{ "tapReadBatch", js_tap_read_batch },
		{ "tapWriteBatch", js_tap_write_batch },
		{ "udpOpen", js_udp_open },
		{ "udpAdmit", js_udp_admit },
		{ "udpBindDevice", js_udp_bind_device },
		{ "udpSetMark", js_udp_set_mark },
		{ "udpSource", js_udp_source },
		{ "udpSetGro", js_udp_set_gro },
		{ "udpSelect", js_udp_select },
		{ "udpReceiveBatch", js_udp_receive_batch },
		{ "udpSendBatch", js_udp_send_batch },
		{ "udpReadErrors", js_udp_read_errors },
		{ "udpDrops", js_udp_drops },
		{ "udpPort", js_udp_port },
		{ "tunnelOpen", js_tunnel_open },
		{ "tunnelAttach", js_tunnel_attach },
		{ "tunnelSegmentation", js_tunnel_segmentation },
		{ "deviceTxDropped", js_device_tx_dropped },
		{ "deviceDriver", js_device_driver },
		{ "flowOpen", js_flow_open },
		{ "flowAttach", js_flow_attach },
		{ "flowNamespace", js_flow_namespace },
		{ "flowPut", js_flow_put },
		{ "flowGet", js_flow_get },
		{ "flowDelete", js_flow_delete },
		{ "flowClear", js_flow_clear },
		{ "netlinkOpen", js_netlink_open },
		{ "netlinkReceive", js_netlink_receive },
		{ "netlinkRequest", js_netlink_request },
		{ "policyCount", js_policy_count },
		{ "cgroupPrograms", js_cgroup_programs },
		{ "watchClear", js_watch_clear },
		{ "threadSetSlice", js_thread_set_slice },
		{ "notifySend", js_notify_send },
		{ "waitCreate", js_wait_create },
		{ "waitAdd", js_wait_add },
		{ "waitRemove", js_wait_remove },
		{ "waitFor", js_wait_for },
		{ "eventCreate", js_event_create },
		{ "eventFire", js_event_fire },
		{ "fileLock", js_file_lock },
		{ "eventClear", js_event_clear },
		{ "pollStart", js_poll_start },
		{ "pollStop", js_poll_stop },
		{ "dup", js_dup },
		{ "close", js_close },
	};

	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
		napi_value function;

		napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH, functions[i].function, NULL, &function);
		napi_set_named_property(env, exports, functions[i].name, function);
	}
}

static void export_layout(napi_env env, napi_value exports)
{
	napi_value layout, value;

	napi_create_object(env, &layout);
	for (size_t i = 0; i < shim_layout_count; i++) {
		napi_create_int32(env, shim_layout[i].value, &value);
		napi_set_named_property(env, layout, shim_layout[i].name, value);
	}
	napi_object_freeze(env, layout);
	napi_set_named_property(env, exports, "layout", layout);
}

NAPI_MODULE_INIT()
{
	export_functions(env, exports);
	export_layout(env, exports);
	return exports;
}
