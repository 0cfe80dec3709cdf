/* SPDX-License-Identifier: MIT
 *
 * Fuzz target: datagrams received with control messages of every kind (udp.c).
 * WRAP recvmmsg
 *
 * Oracle: slots are the caller's and do not overlap. Segment size and TOS are those of complete
 * control messages of the same datagram, else 0. A datagram that was truncated, or whose control
 * messages were, has length 0. Descriptors beyond the received datagrams are unchanged.
 */
#include "../../address.h"
#include "control.h"

#include <netinet/udp.h>

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define FD 7

static struct udp_slots slots;
static int received;

/* The kernel's answer for each datagram. */
static struct {
	int len, gso_size, tos, truncated;
	union address from;
} sent[BATCH_CAP];

/* Writes one control message: one that the socket requests, or SO_TIMESTAMP with any length. */
static void put_message(struct msghdr *header, size_t room, int k)
{
	uint32_t kind = take_below(16);
	uint8_t wide[64] = { 0 };
	uint8_t tos = (uint8_t)take(1);
	int value = tos;

	if (kind < 4) {
		put_cmsg(header, room, IPPROTO_IP, IP_TOS, &tos, sizeof(tos));
		sent[k].tos = tos;
	} else if (kind < 8) {
		put_cmsg(header, room, IPPROTO_IPV6, IPV6_TCLASS, &value, sizeof(value));
		sent[k].tos = tos;
	} else if (kind < 12) {
		value = (int)take(2);
		put_cmsg(header, room, IPPROTO_UDP, UDP_GRO, &value, sizeof(value));
		sent[k].gso_size = value;
	} else {
		put_cmsg(header, room, SOL_SOCKET, SO_TIMESTAMP, wide, take_below(sizeof(wide)));
	}
}

int __wrap_recvmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags, struct timespec *timeout);

int __wrap_recvmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags, struct timespec *timeout)
{
	ORACLE(fd == FD && count == (unsigned int)slots.count && flags == MSG_DONTWAIT && !timeout);
	if (take_below(16) == 15) {
		errno = answer_errno((uint8_t)take(1));
		received = 0;
		return -1;
	}
	received = (int)take_below(count + 1);
	for (int k = 0; k < received; k++) {
		struct msghdr *header = &messages[k].msg_hdr;
		size_t room = header->msg_controllen;
		uint32_t form = take(1);

		ORACLE(header->msg_iovlen == 1 && header->msg_iov->iov_len == (size_t)slots.stride);
		ORACLE(header->msg_iov->iov_base == arena.base + (size_t)k * (size_t)slots.stride);
		ORACLE(header->msg_namelen >= sizeof(struct sockaddr_in6));
		memset(header->msg_iov->iov_base, payload_byte(k & 3, 0), (size_t)slots.stride);
		sent[k].len = (int)(take(2) % ((uint32_t)slots.stride + 1));
		messages[k].msg_len = (unsigned int)sent[k].len;
		header->msg_flags = form & 1 ? MSG_TRUNC : 0;
		if (form & 2) {
			sent[k].from.ipv6.sin6_family = AF_INET6;
			sent[k].from.ipv6.sin6_port = htons(take(2));
			header->msg_namelen = sizeof(struct sockaddr_in6);
		} else {
			sent[k].from.ipv4 = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(take(2)) };
			header->msg_namelen = sizeof(struct sockaddr_in);
		}
		memcpy(header->msg_name, &sent[k].from, header->msg_namelen);
		header->msg_controllen = 0;
		for (uint32_t n = form >> 5; n; n--)
			put_message(header, room, k);
		sent[k].truncated = header->msg_flags;
	}
	return received;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct peer_row sources[BATCH_CAP];
	int count;

	input = (struct input){ data, size };
	slots = (struct udp_slots){ .stride = (int32_t)take_below(512), .count = 1 + (int32_t)take_below(12) };
	arena.len = (size_t)(slots.stride * slots.count);
	arena.base = malloc(arena.len + 1);
	memset(&batch, 0x55, sizeof(batch));
	memset(sources, 0x55, sizeof(sources));
	memset(sent, 0, sizeof(sent));
	count = udp_receive_batch(FD, arena, &batch, sources, slots);
	ORACLE(count <= slots.count && (count == received || (count < 0 && !received)));
	for (int32_t i = 0; i < BATCH_CAP; i++) {
		if (i >= count) {
			ORACLE(batch.off[i] == 0x55555555 && batch.len[i] == 0x55555555 && sources[i].port == 0x5555);
			continue;
		}
		ORACLE(batch.off[i] == i * slots.stride && batch.seg_count[i] == 1);
		ORACLE(batch.len[i] == (sent[i].truncated ? 0 : sent[i].len));
		ORACLE(sources[i].family == sent[i].from.any.sa_family);
		ORACLE(sources[i].port == ntohs(sent[i].from.ipv4.sin_port));
		if (!sent[i].truncated)
			ORACLE(batch.gso_size[i] == sent[i].gso_size && batch.tos[i] == sent[i].tos);
	}
	free(arena.base);
	return 0;
}
