/* SPDX-License-Identifier: MIT
 *
 * Header offsets of an inner frame: Ethernet with up to two VLAN tags, IPv4 or IPv6, TCP or UDP.
 *
 * segment.c and coalesce.c share this parser; each adds its own checks. All bytes are untrusted: an
 * offset is returned only if the headers in front of it are complete.
 */
#ifndef VTEPD_INNER_H
#define VTEPD_INNER_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#include <netinet/in.h>

#define ETH_HEADER_LEN 14
#define VLAN_TAG_LEN 4
#define VLAN_TAGS_MAX 2
#define IPV4_HEADER_LEN 20
#define IPV6_HEADER_LEN 40
#define TCP_HEADER_LEN 20
#define UDP_HEADER_LEN 8

/* Offsets in an IPv4 header, RFC 791 §3.1 */
#define IPV4_TOTAL_LEN 2
#define IPV4_ID 4
#define IPV4_FRAGMENT 6
#define IPV4_TOS 1
#define IPV4_TTL 8
#define IPV4_PROTOCOL 9
#define IPV4_CHECKSUM 10
#define IPV4_ADDRESSES 12
#define IPV4_ADDRESSES_LEN 8

#define IPV4_DF 0x4000
#define IPV4_FRAGMENT_MASK 0x3fff /* more fragments, or an offset */

/* Offsets in an IPv6 header, RFC 8200 §3 */
#define IPV6_PAYLOAD_LEN 4
#define IPV6_NEXT_HEADER 6
#define IPV6_ADDRESSES 8
#define IPV6_ADDRESSES_LEN 32

/* Offsets in a TCP header, RFC 9293 §3.1 */
#define TCP_SEQUENCE 4
#define TCP_ACK_NUMBER 8
#define TCP_DATA_OFFSET 12
#define TCP_FLAGS 13
#define TCP_WINDOW 14
#define TCP_CHECKSUM 16
#define TCP_URGENT 18

#define TCP_FIN 0x01
#define TCP_PSH 0x08
#define TCP_ACK 0x10
#define TCP_CWR 0x80

/* Offsets in a UDP header, RFC 768 */
#define UDP_LENGTH 4
#define UDP_CHECKSUM 6

static inline uint16_t load16(const uint8_t *bytes)
{
	return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static inline void store16(uint8_t *bytes, uint32_t value)
{
	bytes[0] = (uint8_t)(value >> 8);
	bytes[1] = (uint8_t)value;
}

static inline uint32_t load32(const uint8_t *bytes)
{
	uint32_t value;

	memcpy(&value, bytes, sizeof(value));
	return be32toh(value);
}

static inline void store32(uint8_t *bytes, uint32_t value)
{
	value = htobe32(value);
	memcpy(bytes, &value, sizeof(value));
}

/*
 * Offset of the network header, after up to two VLAN tags; the EtherType is just before it. -1 if
 * the frame ends within its Ethernet header or a tag.
 */
static inline int32_t network_offset(const uint8_t *frame, int32_t len)
{
	int32_t off = ETH_HEADER_LEN;

	for (int tags = 0; tags < VLAN_TAGS_MAX && off <= len; tags++) {
		uint16_t type = load16(frame + off - 2);

		if (type != 0x8100 && type != 0x88a8)
			return off;
		off += VLAN_TAG_LEN;
	}
	return off <= len ? off : -1;
}

/*
 * IP version, 4 or 6, if EtherType and version field agree and the fixed header is complete; else
 * 0.
 */
static inline int ip_version(const uint8_t *frame, int32_t len, int32_t ip)
{
	uint16_t type = load16(frame + ip - 2);

	if (type == 0x0800 && len - ip >= IPV4_HEADER_LEN && frame[ip] >> 4 == 4)
		return 4;
	return type == 0x86dd && len - ip >= IPV6_HEADER_LEN && frame[ip] >> 4 == 6 ? 6 : 0;
}

/* Bytes of the TCP or UDP header at l4, including options; 0 if it is incomplete. */
static inline int32_t transport_len(const uint8_t *frame, int32_t len, int32_t l4, uint8_t protocol)
{
	int32_t header_len;

	if (protocol == IPPROTO_UDP)
		return len - l4 >= UDP_HEADER_LEN ? UDP_HEADER_LEN : 0;
	if (protocol != IPPROTO_TCP || len - l4 < TCP_HEADER_LEN)
		return 0;
	header_len = frame[l4 + TCP_DATA_OFFSET] >> 4 << 2;
	return header_len >= TCP_HEADER_LEN && header_len <= len - l4 ? header_len : 0;
}

#endif
