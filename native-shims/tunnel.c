/* SPDX-License-Identifier: MIT
 *
 * Sends superframes whole to a device that segments tunnelled ones (tx-udp_tnl-segmentation).
 *
 * Most server network cards and veth have this feature.
 *
 *   superframe ─► outer TAP ─► program at ingress ─► underlay device ─► segments (veth: whole)
 *
 * No socket accepts a datagram that contains a superframe. A TAP accepts it (TUN_F_UDP_TUNNEL_GSO,
 * Linux 6.17). The kernel treats what is written to a TAP as an Ethernet frame that arrives from a
 * network, so this file writes the Ethernet, IP and UDP headers. The program redirects the packet
 * to the device given by the routing table, as the stack would. No netfilter hook, conntrack entry
 * or host setting is involved, and route changes take effect.
 *
 * Packets sent here and packets of the pool's sockets have the same addresses, ports, TTL and DF.
 * Packets of both kinds have been sent when the call returns, so the frames of a flow keep their
 * order. The outer TAP is used for IPv4 only. On IPv6 the flow label would differ from the one that
 * the kernel sets on the datagrams of a socket, and a router that hashes flow labels could send the
 * two kinds on different paths.
 *
 * IPsec policies and output firewall rules do not apply to these packets. The code that opens the
 * outer TAP (superframes/tunnel-offload.ts) must therefore check for policies.
 */
#include "tunnel.h"

#include "checksum.h"
#include "inner.h"

#include <errno.h>
#include <unistd.h>

#include <linux/if_ether.h>

/* Defined by virtio_net.h since Linux 6.17 */
#define GSO_UDP_TUNNEL_IPV4 0x20
#define F_UDP_TUNNEL_CSUM 8

#define OUTER_IP ETH_HEADER_LEN
#define OUTER_UDP (OUTER_IP + IPV4_HEADER_LEN)
#define OUTER_LEN (OUTER_UDP + UDP_HEADER_LEN)
#define IP_LEN_MAX 65535

/*
 * Writes the IP header of entry i. len: bytes of UDP header and payload. count: segments, each of
 * which needs an IPv4 id.
 */
static void write_ip(struct tunnel *tunnel, const struct peer_row *peer, const struct batch *batch, int32_t i,
		     uint8_t *ip, int32_t len, int32_t count)
{
	uint16_t sum;

	memset(ip, 0, IPV4_HEADER_LEN);
	ip[0] = 0x45;
	ip[IPV4_TOS] = (uint8_t)batch->tos[i];
	store16(ip + IPV4_TOTAL_LEN, (uint32_t)(IPV4_HEADER_LEN + len));
	store16(ip + IPV4_ID, (uint32_t)tunnel->id);
	tunnel->id = (tunnel->id + count) & UINT16_MAX;
	store16(ip + IPV4_FRAGMENT, tunnel->options & TUNNEL_DF ? IPV4_DF : 0);
	ip[IPV4_TTL] = (uint8_t)tunnel->ttl;
	ip[IPV4_PROTOCOL] = IPPROTO_UDP;
	memcpy(ip + IPV4_ADDRESSES, tunnel->local, sizeof(tunnel->local));
	memcpy(ip + IPV4_ADDRESSES + sizeof(tunnel->local), peer->addr, sizeof(tunnel->local));
	sum = (uint16_t)~checksum_fold(checksum_add(ip, IPV4_HEADER_LEN, 0));
	memcpy(ip + IPV4_CHECKSUM, &sum, sizeof(sum));
}

/*
 * Writes the UDP header. Its checksum, if enabled, is postponed: the field holds the pseudo-header
 * sum.
 */
static void write_udp(const struct tunnel *tunnel, const struct peer_row *peer, int32_t src_port_idx, uint8_t *udp,
		      int32_t len)
{
	uint16_t sum = 0;

	store16(udp, (uint32_t)tunnel->ports[src_port_idx]);
	store16(udp + 2, peer->port);
	store16(udp + UDP_LENGTH, (uint32_t)len);
	if (tunnel->options & TUNNEL_CHECKSUM)
		sum = checksum_fold(checksum_add(udp - IPV4_ADDRESSES_LEN, IPV4_ADDRESSES_LEN,
						 htobe32((uint32_t)(IPPROTO_UDP + len))));
	memcpy(udp + UDP_CHECKSUM, &sum, sizeof(sum));
}

static struct tunnel_vnet describe(const struct tunnel *tunnel, const struct superframe *super,
				   const struct batch *batch, int32_t i)
{
	struct tunnel_vnet vnet;

	memset(&vnet, 0, sizeof(vnet));
	vnet.plain.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM | (tunnel->options & TUNNEL_CHECKSUM ? F_UDP_TUNNEL_CSUM : 0);
	vnet.plain.gso_type = (uint8_t)(batch->gso_type[i] | GSO_UDP_TUNNEL_IPV4);
	vnet.plain.hdr_len = (uint16_t)(OUTER_LEN + super->headers_len);
	vnet.plain.gso_size = (uint16_t)super->gso_size;
	vnet.plain.csum_start = (uint16_t)(OUTER_LEN + super->l4);
	vnet.plain.csum_offset = TCP_CHECKSUM;
	vnet.outer_th_offset = OUTER_UDP;
	vnet.inner_nh_offset = (uint16_t)(OUTER_LEN + super->ip);
	return vnet;
}

/**
 * tunnel_takes() - check whether the superframe of entry i may be sent whole to this peer
 *
 * Only TCP is sent whole. A peer on this machine can receive a superframe unsplit. A UDP superframe
 * would arrive there as one datagram with a segment size, as a train of datagrams does. Only the
 * payload, which its sender chooses, would distinguish the two. A superframe is refused when one of
 * its segments would exceed the path MTU, because the device does not check the size of the
 * segments. A superframe is also refused if its DF setting differs from that of the outer TAP. The
 * outer TAP uses the source ports of the pool with its own DF setting, and a flow must keep its
 * source port.
 */
int tunnel_takes(const struct tunnel *tunnel, const struct peer_row *peer, const struct superframe *super,
		 const struct batch *batch, int32_t i)
{
	int32_t outer_ip = IPV4_HEADER_LEN + UDP_HEADER_LEN + super->headers_len;

	return tunnel->fd >= 0 && peer->flags & PEER_TUNNEL && peer->family == AF_INET && super->count > 1 &&
	       super->protocol == IPPROTO_TCP &&
	       batch->df[i] == (tunnel->options & TUNNEL_DF ? DF_SET : DF_CLEAR) &&
	       outer_ip + super->gso_size <= tunnel->mtu && outer_ip + super->payload_len <= IP_LEN_MAX;
}

/**
 * tunnel_send() - send a superframe accepted by tunnel_takes()
 * @i:	index of its descriptor
 *
 * #syscalls writev
 * Return: 0; else the errno of writev, and nothing was sent.
 */
int tunnel_send(struct tunnel *tunnel, const struct peer_row *peer, const struct superframe *super,
		const struct batch *batch, int32_t i)
{
	struct tunnel_vnet vnet = describe(tunnel, super, batch, i);
	int32_t len = super->headers_len + super->payload_len, udp_len = UDP_HEADER_LEN + len;
	uint8_t outer[OUTER_LEN] = { 0 };
	struct iovec iov[] = { { &vnet, sizeof(vnet) }, { outer, sizeof(outer) }, { (void *)super->bytes, (size_t)len } };

	store16(outer + ETH_HEADER_LEN - 2, ETH_P_IP);
	write_ip(tunnel, peer, batch, i, outer + OUTER_IP, udp_len, super->count);
	write_udp(tunnel, peer, batch->src_port_idx[i], outer + OUTER_UDP, udp_len);
	return writev(tunnel->fd, iov, 3) < 0 ? -errno : 0;
}
