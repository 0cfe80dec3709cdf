/* SPDX-License-Identifier: MIT
 *
 * Superframes that leave whole, for a device that cuts up tunnelled ones by itself (tx-udp_tnl-segmentation:
 * most server network cards, and veth).
 *
 *   superframe ─► outer TAP ─► program at its ingress ─► underlay device ─► segments, or whole over veth
 *
 * No socket takes a datagram that is a superframe inside. A TAP does (TUN_F_UDP_TUNNEL_GSO, Linux 6.17): what is
 * written to it is an Ethernet frame that comes in from a network of its own, so Ethernet, IP and UDP headers are
 * written here. The program hands it to the device that the routing table names, as the stack would have: no
 * netfilter hook, no conntrack entry and no setting of the host is involved, and a route that changes is followed.
 *
 * What passes by this way and what by a socket of the pool has the same addresses, ports, TTL and DF. Both are done
 * when the call returns, so the frames of a flow keep their order. IPv4 only: on IPv6 the flow label that the
 * kernel gives a socket's datagrams would differ from ours, and routers may choose a path by it.
 *
 * IPsec policies and firewall rules for output don't see these packets: whoever opens the device has to look for
 * policies (superframes/tunnel-offload.ts does).
 */
#include "tunnel.h"

#include "checksum.h"
#include "inner.h"

#include <errno.h>
#include <unistd.h>

#include <linux/if_ether.h>

/* Of virtio_net.h since Linux 6.17 */
#define GSO_UDP_TUNNEL_IPV4 0x20
#define F_UDP_TUNNEL_CSUM 8

#define OUTER_IP ETH_HEADER_LEN
#define OUTER_UDP (OUTER_IP + IPV4_HEADER_LEN)
#define OUTER_LEN (OUTER_UDP + UDP_HEADER_LEN)
#define IP_LEN_MAX 65535

/* The IP header of entry i, a datagram of len bytes from its UDP header on that becomes count of them. */
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

/* Its checksum is postponed, if there is to be one: the field holds the sum of the pseudo-header. */
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
 * tunnel_takes() - may this superframe, of entry i, leave whole to this peer?
 *
 * TCP only. A UDP superframe that reaches a peer on this machine uncut would be one datagram with a stated segment
 * size there, as a train of datagrams is, and nothing but its sender's word could tell the two apart.
 * Not when one of its segments would exceed the path: the device cuts without looking. Nor with another DF than
 * the tunnel's: the source ports are of a pool with that one, and a flow is to keep its port.
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
 * tunnel_send() - send a superframe that tunnel_takes()
 * @i:	its descriptor
 *
 * #syscalls writev
 * Return: 0; else what writev says, and nothing was sent.
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
