/* SPDX-License-Identifier: MIT
 *
 * Merges segments of one inner flow into a superframe.
 *
 * The receiving stack then handles one packet instead of up to 64. This is the reverse of
 * segment.c, and what GRO does in software.
 *
 *   entry 0 │ Eth … L4 │ payload 0 │          run: │ Eth … L4 │ payload 0 │ payload 1 │ payload 2 │
 *   entry 1 │ Eth … L4 │ payload 1 │    ─────►          │
 *   entry 2 │ Eth … L4 │ payload 2 │                    └ of entry 0, with new lengths, checksums
 *
 * A superframe must segment into exactly the segments it was made of. All headers must therefore be
 * equal, except for fields that the kernel rewrites when it segments: IPv4 id, lengths, checksums,
 * the TCP sequence number and PSH.
 *
 *   a run goes on while                                  it ends behind a segment that
 *   - addresses, tags, TOS, TTL, DF, ports, TCP           - is shorter than the first
 *     acknowledgement, window and options agree           - has PSH
 *   - the TCP sequence continues, or it is UDP
 *   - the segment is not longer than the first           or at the end of the batch
 *
 * Checksums are verified before a segment joins a run, because the superframe gets a new checksum,
 * with which a corrupt segment would look valid. A corrupt segment is written alone, unchanged, and
 * the receiver drops it. The checksums of a segment that joins no run are not verified.
 *
 * Also written alone: fragments, IPv4 options, IPv6 extension headers, TCP without payload or with
 * a flag other than ACK and PSH (CWR, for example), UDP without a checksum, padded frames, and
 * existing superframes.
 */
#include "coalesce.h"

#include "checksum.h"
#include "inner.h"

#define IP_LEN_MAX 65535

/* Fills protocol and l4 from an IP header without options that is not a fragment. */
static int examine_ip(struct segment *segment, int32_t len)
{
	const uint8_t *ip = segment->frame + segment->ip;
	int32_t ip_len = len - segment->ip;

	if (segment->version == 4) {
		segment->protocol = ip[IPV4_PROTOCOL];
		segment->l4 = segment->ip + IPV4_HEADER_LEN;
		return ip[0] == 0x45 && load16(ip + IPV4_TOTAL_LEN) == ip_len &&
		       !(load16(ip + IPV4_FRAGMENT) & IPV4_FRAGMENT_MASK);
	}
	segment->protocol = ip[IPV6_NEXT_HEADER];
	segment->l4 = segment->ip + IPV6_HEADER_LEN;
	return load16(ip + IPV6_PAYLOAD_LEN) == ip_len - IPV6_HEADER_LEN;
}

static int examine_transport(const struct segment *segment, int32_t len, int merge)
{
	const uint8_t *l4 = segment->frame + segment->l4;

	if (segment->protocol == IPPROTO_TCP)
		return merge & MERGE_TCP && (l4[TCP_FLAGS] | TCP_PSH) == (TCP_ACK | TCP_PSH);
	return merge & MERGE_UDP && load16(l4 + UDP_LENGTH) == len - segment->l4 && load16(l4 + UDP_CHECKSUM);
}

static int32_t checksum_off(const struct segment *segment)
{
	return segment->protocol == IPPROTO_TCP ? TCP_CHECKSUM : UDP_CHECKSUM;
}

/**
 * coalesce_examine() - check whether entry i can join a run
 * @merge:	MERGE_*
 *
 * Examines the headers of this frame only; does not verify checksums.
 *
 * Return: true if the entry can join; the segment is then filled.
 */
int coalesce_examine(struct segment *segment, struct arena arena, const struct batch *batch, int32_t i, int merge)
{
	int32_t len = batch->len[i], l4_header_len;

	if (!merge || batch->gso_type[i] != FRAME_GSO_NONE || !arena_holds(arena, batch->off[i], len) ||
	    len < ETH_HEADER_LEN)
		return 0;
	segment->frame = arena.base + batch->off[i];
	segment->entry = i;
	segment->vni_idx = batch->vni_idx[i];
	segment->ip = network_offset(segment->frame, len);
	if (segment->ip < 0)
		return 0;
	segment->version = (uint8_t)ip_version(segment->frame, len, segment->ip);
	if (!segment->version || !examine_ip(segment, len))
		return 0;
	l4_header_len = transport_len(segment->frame, len, segment->l4, segment->protocol);
	if (!l4_header_len || !examine_transport(segment, len, merge))
		return 0;
	segment->payload = segment->l4 + l4_header_len;
	segment->payload_len = len - segment->payload;
	segment->postponed = batch->flags[i] & FRAME_NEEDS_CSUM;
	return segment->payload_len > 0 && (!segment->postponed || (batch->csum_start[i] == segment->l4 &&
								    batch->csum_off[i] == checksum_off(segment)));
}

static uint64_t pseudo_sum(const struct segment *segment, int32_t payload_len)
{
	const uint8_t *ip = segment->frame + segment->ip;
	uint32_t l4_len = (uint32_t)(segment->payload - segment->l4 + payload_len);

	if (segment->version == 4)
		return checksum_pseudo(ip + IPV4_ADDRESSES, IPV4_ADDRESSES_LEN, segment->protocol, l4_len);
	return checksum_pseudo(ip + IPV6_ADDRESSES, IPV6_ADDRESSES_LEN, segment->protocol, l4_len);
}

/*
 * True if all checksums are valid. A postponed checksum is valid if its field holds the correct
 * pseudo-header sum.
 */
static int verify(const struct segment *segment)
{
	const uint8_t *ip = segment->frame + segment->ip, *l4 = segment->frame + segment->l4;
	uint64_t pseudo = pseudo_sum(segment, segment->payload_len);
	size_t l4_len = (size_t)(segment->payload - segment->l4 + segment->payload_len);
	uint16_t stored;

	if (segment->version == 4 && checksum_fold(checksum_add(ip, IPV4_HEADER_LEN, 0)) != UINT16_MAX)
		return 0;
	if (!segment->postponed)
		return checksum_fold(checksum_add(l4, l4_len, pseudo)) == UINT16_MAX;
	memcpy(&stored, l4 + checksum_off(segment), sizeof(stored));
	return checksum_fold(stored) == checksum_fold(pseudo);
}

/* True if bytes [from, to) of both frames are equal. */
static int agree(const struct segment *a, const struct segment *b, int32_t from, int32_t to)
{
	return memcmp(a->frame + from, b->frame + from, (size_t)(to - from)) == 0;
}

static int same_network(const struct segment *a, const struct segment *b, int32_t distance)
{
	int32_t ip = a->ip;

	/* Version, TOS or traffic class and flow label; hop limit, protocol and addresses. */
	if (a->version == 6)
		return agree(a, b, 0, ip + IPV6_PAYLOAD_LEN) && agree(a, b, ip + IPV6_NEXT_HEADER, a->l4);
	if (!agree(a, b, 0, ip + IPV4_TOTAL_LEN) || !agree(a, b, ip + IPV4_FRAGMENT, ip + IPV4_CHECKSUM) ||
	    !agree(a, b, ip + IPV4_ADDRESSES, a->l4))
		return 0;
	return load16(a->frame + ip + IPV4_FRAGMENT) & IPV4_DF ||
	       load16(b->frame + ip + IPV4_ID) == (uint16_t)(load16(a->frame + ip + IPV4_ID) + distance);
}

static int same_transport(const struct segment *a, const struct segment *b, uint32_t distance)
{
	int32_t l4 = a->l4;

	if (a->protocol == IPPROTO_UDP)
		return agree(a, b, l4, l4 + UDP_LENGTH);
	return load32(b->frame + l4 + TCP_SEQUENCE) == load32(a->frame + l4 + TCP_SEQUENCE) + distance &&
	       agree(a, b, l4, l4 + TCP_SEQUENCE) && agree(a, b, l4 + TCP_ACK_NUMBER, l4 + TCP_FLAGS) &&
	       agree(a, b, l4 + TCP_WINDOW, l4 + TCP_CHECKSUM) && agree(a, b, l4 + TCP_URGENT, a->payload);
}

/* True if the segment continues the run according to its headers. */
static int follows(const struct run *run, const struct segment *next)
{
	const struct segment *first = &run->first;

	return !run->closed && run->count < RUN_MAX && next->payload_len <= first->payload_len &&
	       next->vni_idx == first->vni_idx && next->version == first->version &&
	       next->protocol == first->protocol && next->postponed == first->postponed && next->ip == first->ip &&
	       next->payload == first->payload &&
	       first->payload - first->ip + run->payload_len + next->payload_len <= IP_LEN_MAX &&
	       same_network(first, next, run->count) && same_transport(first, next, (uint32_t)run->payload_len);
}

static void take(struct run *run, const struct segment *segment)
{
	run->psh = segment->protocol == IPPROTO_TCP ? segment->frame[segment->l4 + TCP_FLAGS] & TCP_PSH : 0;
	run->entries[run->count] = segment->entry;
	run->iov[2 + run->count] =
		(struct iovec){ (void *)(segment->frame + segment->payload), (size_t)segment->payload_len };
	run->count++;
	run->payload_len += segment->payload_len;
	run->closed = run->psh || segment->payload_len < run->first.payload_len;
}

/**
 * coalesce_begin() - start a run with one segment
 */
void coalesce_begin(struct run *run, const struct segment *segment)
{
	run->first = *segment;
	run->count = 0;
	run->payload_len = 0;
	run->verified = 0;
	take(run, segment);
}

/**
 * coalesce_append() - append a segment to a run if it continues the run and checksums are valid
 *
 * Return: true if appended; otherwise the run has ended and the segment can start the next run.
 */
int coalesce_append(struct run *run, const struct segment *segment)
{
	if (!follows(run, segment))
		return 0;
	if (!run->verified)
		run->verified = verify(&run->first);
	if (!run->verified || !verify(segment))
		return 0;
	take(run, segment);
	return 1;
}

static void write_ip(const struct run *run, uint8_t *ip, int32_t ip_len)
{
	uint16_t sum;

	if (run->first.version == 6) {
		store16(ip + IPV6_PAYLOAD_LEN, (uint32_t)(ip_len - IPV6_HEADER_LEN));
		return;
	}
	store16(ip + IPV4_TOTAL_LEN, (uint32_t)ip_len);
	memset(ip + IPV4_CHECKSUM, 0, sizeof(sum));
	sum = (uint16_t)~checksum_fold(checksum_add(ip, IPV4_HEADER_LEN, 0));
	memcpy(ip + IPV4_CHECKSUM, &sum, sizeof(sum));
}

static uint8_t gso_type_of(const struct segment *segment)
{
	if (segment->protocol == IPPROTO_UDP)
		return FRAME_GSO_UDP_L4;
	return segment->version == 4 ? FRAME_GSO_TCPV4 : FRAME_GSO_TCPV6;
}

/**
 * coalesce_headers() - build the headers of the superframe for a run of two or more segments
 * @vnet:	receives the vnet header by which the kernel completes the checksum and, where
 *		needed, segments the superframe
 * @headers:	receives Ethernet to TCP or UDP header
 *
 * Return: bytes of the headers; the payloads follow as listed in run->iov.
 */
int32_t coalesce_headers(const struct run *run, struct virtio_net_hdr *vnet, uint8_t headers[RUN_HEADERS_MAX])
{
	const struct segment *first = &run->first;
	uint8_t *l4 = headers + first->l4;
	uint16_t sum = checksum_fold(pseudo_sum(first, run->payload_len));

	memcpy(headers, first->frame, (size_t)first->payload);
	write_ip(run, headers + first->ip, first->payload - first->ip + run->payload_len);
	if (first->protocol == IPPROTO_UDP)
		store16(l4 + UDP_LENGTH, (uint32_t)(UDP_HEADER_LEN + run->payload_len));
	else
		l4[TCP_FLAGS] |= run->psh;
	memcpy(l4 + checksum_off(first), &sum, sizeof(sum));
	*vnet = (struct virtio_net_hdr){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = gso_type_of(first),
		.hdr_len = (uint16_t)first->payload,
		.gso_size = (uint16_t)first->payload_len,
		.csum_start = (uint16_t)first->l4,
		.csum_offset = (uint16_t)checksum_off(first),
	};
	return first->payload;
}
