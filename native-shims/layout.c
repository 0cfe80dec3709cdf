/* SPDX-License-Identifier: MIT
 *
 * Layout of the shared structures, exported to TypeScript.
 *
 * TypeScript compares these numbers with its own at load (src/abi/layout.ts) and refuses a shim of
 * another build, whose columns it would misread. Names are those of TypeScript.
 */
#include "shim.h"

#define BATCH_COLUMN(name, member) { "offsetof.batch." name, offsetof(struct batch, member) }
#define PEER_ROW_FIELD(name, member) { "offsetof.peerRow." name, offsetof(struct peer_row, member) }
#define TUNNEL_FIELD(name, member) { "offsetof.tunnel." name, offsetof(struct tunnel, member) }
#define PATH_ERROR_FIELD(name, member) { "offsetof.pathError." name, offsetof(struct path_error, member) }
#define WAIT_FIELD(name, member) { "offsetof.waitResult." name, offsetof(struct wait_result, member) }

const struct layout_entry shim_layout[] = {
	{ "abi", SHIM_ABI_VERSION },
	{ "BATCH_CAP", BATCH_CAP },
	{ "SOURCE_SOCKETS", SOURCE_SOCKETS },
	{ "SEND_SOCKETS", SEND_SOCKETS },
	{ "VXLAN_LEN", VXLAN_LEN },
	{ "PATH_ERRORS_CAP", PATH_ERRORS_CAP },
	{ "WAIT_CAP", WAIT_CAP },
	{ "WAIT_ERROR_BIT", WAIT_ERROR_BIT },
	{ "sizeof.batch", sizeof(struct batch) },
	BATCH_COLUMN("off", off),
	BATCH_COLUMN("len", len),
	BATCH_COLUMN("vniIdx", vni_idx),
	BATCH_COLUMN("peerIdx", peer_idx),
	BATCH_COLUMN("srcPortIdx", src_port_idx),
	BATCH_COLUMN("tos", tos),
	BATCH_COLUMN("df", df),
	BATCH_COLUMN("gsoType", gso_type),
	BATCH_COLUMN("gsoSize", gso_size),
	BATCH_COLUMN("csumStart", csum_start),
	BATCH_COLUMN("csumOff", csum_off),
	BATCH_COLUMN("flags", flags),
	BATCH_COLUMN("segCount", seg_count),
	BATCH_COLUMN("ifindex", ifindex),
	BATCH_COLUMN("verdict", verdict),
	BATCH_COLUMN("status", status),
	{ "sizeof.peerRow", sizeof(struct peer_row) },
	PEER_ROW_FIELD("family", family),
	PEER_ROW_FIELD("port", port),
	PEER_ROW_FIELD("addr", addr),
	PEER_ROW_FIELD("scopeId", scope_id),
	PEER_ROW_FIELD("vniIdx", vni_idx),
	PEER_ROW_FIELD("flags", flags),
	{ "PEER_TUNNEL", PEER_TUNNEL },
	{ "PEER_HELD", PEER_HELD },
	{ "sizeof.tunnel", sizeof(struct tunnel) },
	TUNNEL_FIELD("fd", fd),
	TUNNEL_FIELD("local", local),
	TUNNEL_FIELD("mtu", mtu),
	TUNNEL_FIELD("ttl", ttl),
	TUNNEL_FIELD("options", options),
	TUNNEL_FIELD("id", id),
	TUNNEL_FIELD("error", error),
	TUNNEL_FIELD("ports", ports),
	{ "sizeof.pathError", sizeof(struct path_error) },
	PATH_ERROR_FIELD("family", family),
	PATH_ERROR_FIELD("port", port),
	PATH_ERROR_FIELD("addr", addr),
	PATH_ERROR_FIELD("scopeId", scope_id),
	PATH_ERROR_FIELD("mtu", mtu),
	PATH_ERROR_FIELD("origin", origin),
	{ "sizeof.pathErrors", sizeof(struct path_errors) },
	{ "offsetof.pathErrors.count", offsetof(struct path_errors, count) },
	{ "sizeof.waitResult", sizeof(struct wait_result) },
	WAIT_FIELD("nowMs", now_ms),
	WAIT_FIELD("waitedMs", waited_ms),
	WAIT_FIELD("tokens", tokens),
};
const size_t shim_layout_count = sizeof(shim_layout) / sizeof(shim_layout[0]);
