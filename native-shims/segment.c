/* SPDX-License-Identifier: MIT
 *
 * Splits a superframe into its segments: TCP (TSO) and UDP (USO) segmentation of the inner packet.
 *
 * Used on the path from a TAP to the underlay.
 *
 *   superframe │ VXLAN │ Eth … L4 │ payload 0 │ payload 1 │ … │ payload n │
 *                  └──────┬─────┘       │           │               │
 *                    rewritten          │           │               │
 *   segment k      │ headers k │ ───────┴───────────┘ where it lies
 *
 * Each segment gets its own header block; its payload stays in place and the kernel gathers both.
 * The superframe itself is never changed, because a flood sends the same superframe to each peer.
 *
 * Segments differ in the same fields as in Linux (tcp_gso_segment, __udp_gso_segment): lengths and
 * checksums; the IPv4 id is incremented; the TCP sequence number advances; CWR is set on the first
 * segment only, FIN and PSH on the last only.
 *
 * The checksum field of a superframe holds the sum of the pseudo-header with its full length.
 * The code reads this sum and does not compute it from the addresses. The result is therefore
 * correct for packets with a routing header too, and an incorrect sum of the sender stays
 * incorrect.
 */
#include "segment.h"

#include "checksum.h"
#include "inner.h"

#include <errno.h>

#define IP_LEN_MAX 65535

/*
 * TCP or UDP according to the GSO type; 0 if the type is unknown or does not match the IP version.
 */
static uint8_t protocol_of(int32_t gso_type, uint8_t version)
{
	switch (gso_type & ~FRAME_GSO_ECN) {
	case FRAME_GSO_TCPV4:
		return version == 4 ? IPPROTO_TCP : 0;
	case FRAME_GSO_TCPV6:
		return version == 6 ? IPPROTO_TCP : 0;
	case FRAME_GSO_UDP_L4:
		return version ? IPPROTO_UDP : 0;
	default:
		return 0;
	}
}

/*
 * True if the IP header leads to a transport header at l4. IPv6 extension headers are not parsed;
 * only their total length is accepted from the sender unchecked.
 */
static int leads_to(const uint8_t *ip, int32_t ip_len, uint8_t version, uint8_t protocol)
{
	if (version == 4)
		return ip_len >= IPV4_HEADER_LEN && ip_len == (ip[0] & 0x0f) << 2 && ip[IPV4_PROTOCOL] == protocol &&
		       !(load16(ip + IPV4_FRAGMENT) & IPV4_FRAGMENT_MASK);
	return ip_len > IPV6_HEADER_LEN || (ip_len == IPV6_HEADER_LEN && ip[IPV6_NEXT_HEADER] == protocol);
}

static int32_t checksum_off(const struct superframe *super)
{
	return super->l4 + (super->protocol == IPPROTO_TCP ? TCP_CHECKSUM : UDP_CHECKSUM);
}

/* Pseudo-header sum stored by the sender, minus the length (ones-complement subtraction). */
static uint64_t stored_pseudo(const struct superframe *super, int32_t l4_len)
{
	uint16_t stored;

	memcpy(&stored, super->bytes + checksum_off(super), sizeof(stored));
	return stored + (uint64_t)(uint16_t)~checksum_fold(htobe32((uint32_t)l4_len));
}

/**
 * segment_check() - locate and validate the headers of a superframe
 * @datagram:	entry i of the batch with its VXLAN header; its bytes are in the arena
 *
 * Ignores the length in the IP header and uses the frame's own length.
 *
 * Return: 0; -EINVAL when the columns contradict the bytes, the entry is not a superframe, or it
 * has too many segments.
 */
int segment_check(struct superframe *super, const uint8_t *datagram, const struct batch *batch, int32_t i)
{
	const uint8_t *frame = datagram + VXLAN_LEN;
	int32_t len, ip, l4, l4_header_len, segment_len;

	if (batch->csum_start[i] < VXLAN_LEN + ETH_HEADER_LEN || batch->csum_start[i] >= batch->len[i] ||
	    !(batch->flags[i] & FRAME_NEEDS_CSUM))
		return -EINVAL;
	len = batch->len[i] - VXLAN_LEN;
	l4 = batch->csum_start[i] - VXLAN_LEN;
	ip = network_offset(frame, len);
	if (ip < 0 || ip >= l4)
		return -EINVAL;
	super->version = (uint8_t)ip_version(frame, len, ip);
	super->protocol = protocol_of(batch->gso_type[i], super->version);
	if (!super->protocol || !leads_to(frame + ip, l4 - ip, super->version, super->protocol))
		return -EINVAL;
	l4_header_len = transport_len(frame, len, l4, super->protocol);
	if (!l4_header_len)
		return -EINVAL;

	super->bytes = datagram;
	super->ip = VXLAN_LEN + ip;
	super->l4 = VXLAN_LEN + l4;
	super->headers_len = VXLAN_LEN + l4 + l4_header_len;
	super->payload_len = batch->len[i] - super->headers_len;
	super->gso_size = batch->gso_size[i];
	if (super->headers_len > SEGMENT_HEADERS_MAX || super->payload_len < 1 || super->gso_size < 1 ||
	    super->gso_size > UINT16_MAX)
		return -EINVAL;
	segment_len = super->payload_len < super->gso_size ? super->payload_len : super->gso_size;
	if (super->headers_len - super->ip + segment_len > IP_LEN_MAX)
		return -EINVAL;
	super->count = (super->payload_len + super->gso_size - 1) / super->gso_size;
	if (super->count > (super->protocol == IPPROTO_TCP ? SEGMENTS_MAX_TCP : SEGMENTS_MAX_UDP))
		return -EINVAL;
	super->pseudo = stored_pseudo(super, len - l4);
	return 0;
}

static void write_ip(const struct superframe *super, int32_t k, uint8_t *ip, int32_t ip_len)
{
	int32_t header_len = super->l4 - super->ip;
	uint16_t sum;

	if (super->version == 6) {
		store16(ip + IPV6_PAYLOAD_LEN, (uint32_t)(ip_len - IPV6_HEADER_LEN));
		return;
	}
	store16(ip + IPV4_TOTAL_LEN, (uint32_t)ip_len);
	store16(ip + IPV4_ID, load16(ip + IPV4_ID) + (uint32_t)k);
	memset(ip + IPV4_CHECKSUM, 0, sizeof(sum));
	sum = (uint16_t)~checksum_fold(checksum_add(ip, (size_t)header_len, 0));
	memcpy(ip + IPV4_CHECKSUM, &sum, sizeof(sum));
}

static void write_tcp(const struct superframe *super, int32_t k, uint8_t *tcp)
{
	store32(tcp + TCP_SEQUENCE, load32(tcp + TCP_SEQUENCE) + (uint32_t)(k * super->gso_size));
	if (k > 0)
		tcp[TCP_FLAGS] &= (uint8_t)~TCP_CWR;
	if (k < super->count - 1)
		tcp[TCP_FLAGS] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
}

/*
 * A checksum of 0 is sent as 0xffff: 0 means "no checksum" in UDP, and both are equivalent in TCP
 * (RFC 768, RFC 1071).
 */
static void write_checksum(const struct superframe *super, uint8_t *headers, struct iovec payload)
{
	int32_t l4_header_len = super->headers_len - super->l4;
	uint8_t *field = headers + checksum_off(super);
	uint64_t sum = super->pseudo + htobe32((uint32_t)l4_header_len + (uint32_t)payload.iov_len);
	uint16_t checksum;

	memset(field, 0, sizeof(checksum));
	sum = checksum_add(headers + super->l4, (size_t)l4_header_len, sum);
	checksum = (uint16_t)~checksum_fold(checksum_add(payload.iov_base, payload.iov_len, sum));
	if (!checksum)
		checksum = UINT16_MAX;
	memcpy(field, &checksum, sizeof(checksum));
}

/**
 * segment_write() - write the headers of one segment
 * @k:		0 … count - 1
 * @headers:	buffer of headers_len bytes; receives VXLAN to TCP or UDP header
 *
 * Return: the payload of the segment, which lies in the superframe.
 */
struct iovec segment_write(const struct superframe *super, int32_t k, uint8_t *headers)
{
	int32_t start = k * super->gso_size, left = super->payload_len - start;
	int32_t len = left < super->gso_size ? left : super->gso_size;
	struct iovec payload = { (void *)(super->bytes + super->headers_len + start), (size_t)len };

	memcpy(headers, super->bytes, (size_t)super->headers_len);
	write_ip(super, k, headers + super->ip, super->headers_len - super->ip + len);
	if (super->protocol == IPPROTO_TCP)
		write_tcp(super, k, headers + super->l4);
	else
		store16(headers + super->l4 + UDP_LENGTH, (uint32_t)(UDP_HEADER_LEN + len));
	write_checksum(super, headers, payload);
	return payload;
}
