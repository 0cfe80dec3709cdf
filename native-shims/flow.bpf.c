/* SPDX-License-Identifier: MIT
 *
 * Kernel forwarding of known TCP flows (docs/decisions/0008).
 *
 * Three programs apply user space's forwarding decisions to frames of MACs for which user space has
 * stored a decision. Any other frame passes on to user space.
 *
 *   TAP ─► flow_out ─► vxlan device of a private namespace ─► by_route ─► underlay
 *   underlay ─► flow_in ─► private namespace ─► its vxlan device ─► flow_arrived ─► TAP
 *
 * by_route is in tunnel_device.c. The vxlan device adds and removes the outer headers, including
 * checksums; it makes no decision.
 *
 * scripts/flow-program.mjs compiles this file into flow_program.h, which the build includes, so
 * only a change of this file requires clang.
 */
#include <stddef.h>

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>

#define SECTION(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))

/* Helper functions of <linux/bpf.h>, by number */
static void *(*map_lookup)(void *map, const void *key) = (void *)1;
static __u64 (*ktime_get_ns)(void) = (void *)5;
static long (*get_tunnel_key)(struct __sk_buff *skb, void *key, __u32 size, __u64 flags) = (void *)20;
static long (*set_tunnel_key)(struct __sk_buff *skb, void *key, __u32 size, __u64 flags) = (void *)21;
static long (*redirect)(__u32 ifindex, __u64 flags) = (void *)23;
static long (*redirect_peer)(__u32 ifindex, __u64 flags) = (void *)155;
static long (*load_bytes)(const void *skb, __u32 offset, void *to, __u32 len) = (void *)26;

#define PASS (-1)
#define DROP 2
#define INGRESS 1

/* Maps, created by the loader (flow.c). Only their addresses are used. */
extern char flow_config, flow_taps, flow_vnis, flow_rows, flow_counts;

/* The only entry of flow_config. A local address of 0 disables flow_out and flow_in. */
struct config {
	__u32 local; /* network byte order, like peer */
	__u32 vxlan; /* ifindex of the vxlan device */
	__u32 lead;  /* ifindex of the veth end outside the private namespace */
	__u32 port;  /* UDP port of VXLAN */
};

#define TO_STATION 0
#define FROM_STATION 1

struct row_key {
	__u32 vni;
	__u8 mac[6]; /* of the remote station */
	__u8 way;    /* TO_STATION or FROM_STATION; different workers may own the two directions */
	__u8 zero;
};

#define ROW_DF 1
#define ROW_NO_CHECKSUM 2
#define TOS_INHERITED 256

/* Lease: user space decided that frames to a station, or from it, pass through this peer. */
struct row {
	__u32 until; /* end of the lease: CLOCK_MONOTONIC, ms, 32 bits */
	__u32 peer;
	__u32 frame_limit; /* bytes of the largest frame that fits the path MTU */
	__u32 tos;
	__u32 ttl;
	__u32 options;
	__u32 slot; /* index in flow_counts */
	__u32 zero;
};

struct counts {
	__u64 out_frames;
	__u64 out_bytes;
	__u64 in_frames;
	__u64 in_bytes;
};

/* Outer headers: IPv4 without options, UDP, VXLAN; and the inner Ethernet header. */
struct outer {
	__u8 version_len, tos;
	__u16 total_len, id, fragment;
	__u8 ttl, protocol;
	__u16 checksum;
	__u32 source, destination;
	__u16 source_port, destination_port, udp_len, udp_checksum;
	__u32 vxlan_flags, vni;
	struct ethhdr ethernet;
} __attribute__((packed));

#define PACKET_HOST 0
#define VXLAN_FLAGS __builtin_bswap32(0x08000000)
#define IPV4_LEN 20
#define IPV6_LEN 40
#define TCP_LEN_MIN 20
#define IP_CE 3
/* Minimum bytes of an Ethernet frame; shorter frames are padded. */
#define FRAME_MIN 60
/* Maximum time between flow_in and flow_arrived, ms: added to the end of the lease. */
#define GRACE 1000
/* An outer IP packet has at most 65,535 bytes; its IP, UDP and VXLAN headers use 36. */
#define FRAME_MAX (65535 - 36)

INLINE int holds(__u32 until)
{
	return (__s32)(until - (__u32)(ktime_get_ns() / 1000000)) > 0;
}

/*
 * True if an IP packet from `at` to `end` fills the frame, apart from padding to the minimum
 * length.
 */
INLINE int fills(struct __sk_buff *skb, __u32 at, __u32 end)
{
	if (end == skb->len)
		return 1;
	return !skb->gso_size && end < skb->len && skb->len - (at - ETH_HLEN) <= FRAME_MIN;
}

/*
 * Plain TCP: no SYN or RST, no IP options, not fragmented, no CE mark. The IP packet fills the
 * frame.
 */
struct plain_tcp {
	__u32 headers_len; /* Ethernet to TCP */
	__u8 tos;
};

INLINE int read_plain_tcp(struct __sk_buff *skb, __u32 at, __u16 type, struct plain_tcp *tcp)
{
	__u8 ip[IPV6_LEN], l4[TCP_LEN_MIN];
	__u32 l4_at;

	if (type == __builtin_bswap16(ETH_P_IP)) {
		if (load_bytes(skb, at, ip, IPV4_LEN) || ip[0] != 0x45 || ip[9] != IPPROTO_TCP || ip[6] & 0x3f || ip[7] ||
		    !fills(skb, at, at + (ip[2] << 8 | ip[3])))
			return 0;
		tcp->tos = ip[1];
		l4_at = at + IPV4_LEN;
	} else if (type == __builtin_bswap16(ETH_P_IPV6)) {
		if (load_bytes(skb, at, ip, IPV6_LEN) || ip[6] != IPPROTO_TCP ||
		    !fills(skb, at, at + IPV6_LEN + (ip[4] << 8 | ip[5])))
			return 0;
		tcp->tos = (__u8)(ip[0] << 4 | ip[1] >> 4);
		l4_at = at + IPV6_LEN;
	} else
		return 0;
	if ((tcp->tos & IP_CE) == IP_CE || load_bytes(skb, l4_at, l4, TCP_LEN_MIN) || l4[13] & 0x06)
		return 0;
	tcp->headers_len = l4_at + (l4[12] >> 4) * 4;
	return tcp->headers_len <= skb->len;
}

/* Counts a superframe like user space: the frames that it represents, and their bytes. */
INLINE void count(__u64 *frames, __u64 *bytes, struct __sk_buff *skb, __u32 headers_len)
{
	__u32 segments = 1;

	if (skb->gso_size && skb->len > headers_len)
		segments = (skb->len - headers_len + skb->gso_size - 1) / skb->gso_size;
	__sync_fetch_and_add(frames, segments);
	__sync_fetch_and_add(bytes, skb->len + (__u64)(segments - 1) * headers_len);
}

/* Egress of the TAP: frames to a remote station. */
SECTION("tcx/flow_out") int flow_out(struct __sk_buff *skb)
{
	__u32 zero = 0, tap = skb->ifindex, largest = skb->len;
	struct plain_tcp tcp = {};
	struct bpf_tunnel_key outer = {};
	struct row_key key = {};
	struct ethhdr ethernet;
	struct config *config;
	struct counts *counts;
	struct row *row;
	__u32 *vni;

	if (skb->vlan_present || skb->len > FRAME_MAX || load_bytes(skb, 0, &ethernet, sizeof(ethernet)))
		return PASS;
	config = map_lookup(&flow_config, &zero);
	vni = map_lookup(&flow_taps, &tap);
	if (!config || !config->local || !vni)
		return PASS;
	key.vni = *vni;
	key.way = TO_STATION;
	__builtin_memcpy(key.mac, ethernet.h_dest, sizeof(key.mac));
	row = map_lookup(&flow_rows, &key);
	if (!row || !holds(row->until) || !read_plain_tcp(skb, ETH_HLEN, ethernet.h_proto, &tcp))
		return PASS;
	if (skb->gso_size)
		largest = tcp.headers_len + skb->gso_size;
	counts = map_lookup(&flow_counts, &row->slot);
	if (largest > row->frame_limit || !counts)
		return PASS;
	outer.tunnel_id = key.vni;
	outer.remote_ipv4 = __builtin_bswap32(row->peer);
	outer.local_ipv4 = __builtin_bswap32(config->local);
	outer.tunnel_tos = (row->tos == TOS_INHERITED ? tcp.tos : row->tos) & ~IP_CE;
	outer.tunnel_ttl = row->ttl;
	if (set_tunnel_key(skb, &outer, sizeof(outer),
			   (row->options & ROW_DF ? BPF_F_DONT_FRAGMENT : 0) |
				   (row->options & ROW_NO_CHECKSUM ? BPF_F_ZERO_CSUM_TX : 0)))
		return PASS;
	count(&counts->out_frames, &counts->out_bytes, skb, tcp.headers_len);
	return redirect(config->vxlan, 0);
}

/*
 * True if the packet is a train, whose datagrams may belong to several VNIs. False if the packet is
 * one datagram that contains a superframe.
 *
 * The length in the inner IP header cannot distinguish the two, because the sender of the inner
 * packet chooses it. The VXLAN header of the second datagram can, because a VTEP writes it. In a
 * superframe, inner payload lies there. If that payload looks like a VXLAN header, the packet goes
 * to user space, which handles every frame correctly.
 */
INLINE int is_train(struct __sk_buff *skb)
{
	__u32 flags = 0;

	return skb->gso_size &&
	       (load_bytes(skb, ETH_HLEN + offsetof(struct outer, vxlan_flags) + skb->gso_size, &flags, sizeof(flags)) ||
		flags == VXLAN_FLAGS);
}

/* Ingress of the underlay's device: datagrams whose source is the peer of the station's lease. */
SECTION("tcx/flow_in") int flow_in(struct __sk_buff *skb)
{
	struct plain_tcp tcp = {};
	struct row_key key = {};
	struct config *config;
	struct outer outer;
	struct row *row;
	__u32 zero = 0;

	if (skb->protocol != __builtin_bswap16(ETH_P_IP) || skb->pkt_type != PACKET_HOST || skb->vlan_present ||
	    load_bytes(skb, ETH_HLEN, &outer, sizeof(outer)))
		return PASS;
	config = map_lookup(&flow_config, &zero);
	if (!config || !config->local || outer.destination != config->local || outer.version_len != 0x45 ||
	    outer.protocol != IPPROTO_UDP || outer.fragment & __builtin_bswap16(0x3fff) || (outer.tos & IP_CE) == IP_CE ||
	    outer.destination_port != __builtin_bswap16(config->port) ||
	    outer.vxlan_flags != VXLAN_FLAGS || outer.vni & __builtin_bswap32(0xff) ||
	    outer.ethernet.h_dest[0] & 1)
		return PASS;
	key.vni = __builtin_bswap32(outer.vni) >> 8;
	key.way = FROM_STATION;
	__builtin_memcpy(key.mac, outer.ethernet.h_source, sizeof(key.mac));
	row = map_lookup(&flow_rows, &key);
	if (!row || row->peer != outer.source || !holds(row->until) || !map_lookup(&flow_vnis, &key.vni) ||
	    !read_plain_tcp(skb, ETH_HLEN + sizeof(outer), outer.ethernet.h_proto, &tcp) || is_train(skb))
		return PASS;
	/*
	 * Moves the packet into the private namespace at once. If the veth device sent the packet,
	 * it would wait in a queue for the next softirq.
	 */
	return redirect_peer(config->lead, 0);
}

/*
 * Ingress of the vxlan device: checks the decapsulated frame again against its source peer.
 *
 * No train should arrive here, because flow_in passes trains to user space. If a train did arrive,
 * this program would check each of its datagrams separately.
 */
SECTION("tcx/flow_arrived") int flow_arrived(struct __sk_buff *skb)
{
	struct bpf_tunnel_key outer = {};
	struct plain_tcp tcp = {};
	struct row_key key = {};
	struct ethhdr ethernet;
	struct counts *counts;
	struct row *row;
	__u32 *tap;

	if (get_tunnel_key(skb, &outer, sizeof(outer), 0) || load_bytes(skb, 0, &ethernet, sizeof(ethernet)) ||
	    ethernet.h_dest[0] & 1 || !read_plain_tcp(skb, ETH_HLEN, ethernet.h_proto, &tcp))
		return DROP;
	key.vni = outer.tunnel_id;
	key.way = FROM_STATION;
	__builtin_memcpy(key.mac, ethernet.h_source, sizeof(key.mac));
	tap = map_lookup(&flow_vnis, &key.vni);
	row = map_lookup(&flow_rows, &key);
	if (!tap || !row || __builtin_bswap32(row->peer) != outer.remote_ipv4 || !holds(row->until + GRACE))
		return DROP;
	counts = map_lookup(&flow_counts, &row->slot);
	if (!counts)
		return DROP;
	count(&counts->in_frames, &counts->in_bytes, skb, tcp.headers_len);
	return redirect(*tap, INGRESS);
}
