/* SPDX-License-Identifier: MIT
 *
 * Reference implementation of Linux's checksum completion and segmentation.
 *
 * It is simple, slow and shares no code with the offloads under test. It uses the virtio_net_hdr
 * and reads all other information from the bytes, as tcp_gso_segment, __udp_gso_segment,
 * inet_gso_segment and skb_checksum_help do.
 *
 * A checksum of zero is written as 0xffff. Both forms are equivalent in TCP and IPv4 (RFC 1071),
 * and Linux itself writes either, depending on the code that sums.
 */
#ifndef VTEPD_TEST_GSO_H
#define VTEPD_TEST_GSO_H

#include "net.h"

#include <netinet/in.h>

#include <linux/virtio_net.h>

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

/* A superframe as parsed by Linux. */
struct whole {
	const uint8_t *frame;
	int len, version, protocol, ip, l4, payload, size, count;
};

static inline uint16_t get16(const uint8_t *bytes)
{
	return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

/* Offset of the network header, after any number of tags; -1 if the frame ends earlier. */
static inline int gso_network(const uint8_t *frame, int len)
{
	int ip = 14;

	while (ip <= len && (get16(frame + ip - 2) == 0x8100 || get16(frame + ip - 2) == 0x88a8))
		ip += 4;
	return ip <= len ? ip : -1;
}

/*
 * Follows the headers of an IP packet to its transport header. Returns the protocol, or -1 if there
 * is no transport header.
 */
static inline int gso_transport(const uint8_t *frame, int len, int ip, int version, int *l4)
{
	int protocol;

	if (len - ip < (version == 4 ? 20 : 40) || frame[ip] >> 4 != version)
		return -1;
	if (version == 4) {
		*l4 = ip + (frame[ip] & 15) * 4;
		return get16(frame + ip + 6) & 0x3fff ? -1 : frame[ip + 9];
	}
	*l4 = ip + 40;
	protocol = frame[ip + 6];
	while ((protocol == 0 || protocol == 43 || protocol == 60) && *l4 + 8 <= len) {
		protocol = frame[*l4];
		*l4 += 8 * (frame[*l4 + 1] + 1);
	}
	return protocol;
}

/*
 * Parses a superframe. Returns false if Linux would refuse the superframe, or if the vnet header
 * contradicts the bytes.
 */
static inline int gso_open(struct whole *whole, const uint8_t *frame, int len, const struct virtio_net_hdr *vnet)
{
	int type = vnet->gso_type & ~VIRTIO_NET_HDR_GSO_ECN, l4 = 0, check_off;

	*whole = (struct whole){ .frame = frame, .len = len, .size = vnet->gso_size, .l4 = vnet->csum_start };
	whole->ip = gso_network(frame, len);
	if (whole->ip < 0 || vnet->flags != VIRTIO_NET_HDR_F_NEEDS_CSUM || !vnet->gso_size)
		return 0;
	whole->version = get16(frame + whole->ip - 2) == 0x0800 ? 4 : get16(frame + whole->ip - 2) == 0x86dd ? 6 : 0;
	if (!whole->version)
		return 0;
	whole->protocol = gso_transport(frame, len, whole->ip, whole->version, &l4);
	if (l4 != whole->l4)
		return 0;
	if (type == (whole->version == 4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6)) {
		if (whole->protocol != IPPROTO_TCP || len - l4 < 20 || frame[l4 + 12] >> 4 < 5)
			return 0;
		whole->payload = l4 + (frame[l4 + 12] >> 4) * 4;
		check_off = 16;
	} else {
		if (type != VIRTIO_NET_HDR_GSO_UDP_L4 || vnet->gso_type != type || whole->protocol != IPPROTO_UDP)
			return 0;
		whole->payload = l4 + 8;
		check_off = 6;
	}
	whole->count = (len - whole->payload + whole->size - 1) / whole->size;
	return vnet->csum_offset == check_off && whole->payload < len &&
	       (!vnet->hdr_len || vnet->hdr_len == whole->payload);
}

/*
 * True if lengths and IPv4 checksum are those of the whole superframe. A stack that accepts the
 * superframe unsplit relies on them.
 */
static inline int gso_is_sealed(const struct whole *whole)
{
	const uint8_t *ip = whole->frame + whole->ip, *l4 = whole->frame + whole->l4;

	if (whole->protocol == IPPROTO_UDP && get16(l4 + 4) != whole->len - whole->l4)
		return 0;
	if (whole->version == 6)
		return get16(ip + 4) == whole->len - whole->ip - 40;
	return get16(ip + 2) == whole->len - whole->ip && sum16(ip, (size_t)(whole->l4 - whole->ip), 0) == 0xffff;
}

/* Completes a checksum whose field contains the pseudo-header sum, as Linux does for NEEDS_CSUM. */
static inline void gso_finish(uint8_t *frame, int len, int start, int off)
{
	uint16_t sum = (uint16_t)~sum16(frame + start, (size_t)(len - start), 0);

	put16(frame + start + off, sum ? sum : 0xffff);
}

static inline void gso_cut_ip(uint8_t *out, int len, const struct whole *whole, int k)
{
	uint8_t *ip = out + whole->ip;
	uint16_t sum;

	if (whole->version == 6) {
		put16(ip + 4, (uint16_t)(len - whole->ip - 40));
		return;
	}
	put16(ip + 2, (uint16_t)(len - whole->ip));
	put16(ip + 4, (uint16_t)(get16(ip + 4) + k));
	put16(ip + 10, 0);
	sum = (uint16_t)~sum16(ip, (size_t)(whole->l4 - whole->ip), 0);
	put16(ip + 10, sum);
}

static inline void gso_cut_tcp(uint8_t *tcp, const struct whole *whole, int k)
{
	uint32_t sequence = (uint32_t)get16(tcp + 4) << 16 | get16(tcp + 6);

	sequence += (uint32_t)k * (uint32_t)whole->size;
	put16(tcp + 4, (uint16_t)(sequence >> 16));
	put16(tcp + 6, (uint16_t)sequence);
	if (k != 0)
		tcp[13] &= 0x7f; /* CWR */
	if (k != whole->count - 1)
		tcp[13] &= 0xf6; /* FIN, PSH */
}

/* Writes segment k as a separate frame. Returns its length. */
static inline int gso_cut(uint8_t *out, const struct whole *whole, int k)
{
	int at = whole->payload + k * whole->size;
	int payload_len = whole->len - at < whole->size ? whole->len - at : whole->size;
	int len = whole->payload + payload_len, check_off = whole->protocol == IPPROTO_TCP ? 16 : 6;
	uint8_t *l4 = out + whole->l4;
	uint32_t sum;

	memcpy(out, whole->frame, (size_t)whole->payload);
	memcpy(out + whole->payload, whole->frame + at, (size_t)payload_len);
	gso_cut_ip(out, len, whole, k);
	if (whole->protocol == IPPROTO_TCP)
		gso_cut_tcp(l4, whole, k);
	else
		put16(l4 + 4, (uint16_t)(len - whole->l4));
	/*
	 * The stored pseudo-header sum, with the length of this segment instead of the total
	 * length.
	 */
	sum = get16(l4 + check_off) + (uint32_t)(uint16_t)~(whole->len - whole->l4) + (uint32_t)(len - whole->l4);
	put16(l4 + check_off, sum16(NULL, 0, sum));
	gso_finish(out, len, whole->l4, check_off);
	return len;
}

#endif
