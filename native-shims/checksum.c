/* SPDX-License-Identifier: MIT
 *
 * Internet checksum (RFC 1071), with 32-byte vectors for long data.
 *
 * Every load uses memcpy for two reasons. Frames lie at any address. And the compiler moved a load
 * through a cast pointer ahead of the store of a header field, so that the load returned the old
 * value. The 64-bit lanes sum 32-bit words and cannot overflow, because an overflow takes 2^32
 * words in one lane.
 *
 * The code uses the vector types of the compiler, so it compiles to what the target provides: pairs
 * of SSE2 or NEON registers. A second copy is compiled for AVX2 and used if the processor supports
 * AVX2.
 */
#include "checksum.h"

#include <endian.h>
#include <string.h>

typedef uint64_t lanes __attribute__((vector_size(32)));

#define BLOCK_LEN (2 * sizeof(lanes))

/* Shorter data is summed by words: below this length vector set-up costs more than it gains. */
#define VECTOR_MIN 128

/* Sums whole blocks. Inlined into each copy and compiled for that copy's target. */
static inline __attribute__((always_inline)) uint64_t add_blocks(const uint8_t *bytes, size_t blocks)
{
	const lanes low = (lanes){ 0 } + UINT32_MAX;
	lanes sum_a = { 0 }, sum_b = { 0 };

	for (; blocks; blocks--, bytes += BLOCK_LEN) {
		lanes a, b;

		memcpy(&a, bytes, sizeof(a));
		memcpy(&b, bytes + sizeof(a), sizeof(b));
		sum_a += (a & low) + (a >> 32);
		sum_b += (b & low) + (b >> 32);
	}
	sum_a += sum_b;
	return sum_a[0] + sum_a[1] + sum_a[2] + sum_a[3];
}

static uint64_t add_blocks_plain(const uint8_t *bytes, size_t blocks)
{
	return add_blocks(bytes, blocks);
}

#ifdef __x86_64__
__attribute__((target("avx2"))) static uint64_t add_blocks_avx2(const uint8_t *bytes, size_t blocks)
{
	return add_blocks(bytes, blocks);
}

/*
 * Checks the processor on every call. This costs one load, but needs no initialisation, in which
 * threads could race.
 */
static uint64_t add_blocks_best(const uint8_t *bytes, size_t blocks)
{
	return __builtin_cpu_supports("avx2") ? add_blocks_avx2(bytes, blocks) : add_blocks_plain(bytes, blocks);
}
#else
static uint64_t add_blocks_best(const uint8_t *bytes, size_t blocks)
{
	return add_blocks_plain(bytes, blocks);
}
#endif

static uint64_t add_words(const uint8_t *bytes, size_t len, uint64_t sum)
{
	uint64_t word;
	uint32_t half;

	for (; len >= sizeof(word); len -= sizeof(word), bytes += sizeof(word)) {
		memcpy(&word, bytes, sizeof(word));
		sum += (word & UINT32_MAX) + (word >> 32);
	}
	if (len >= sizeof(half)) {
		memcpy(&half, bytes, sizeof(half));
		sum += half;
		len -= sizeof(half);
		bytes += sizeof(half);
	}
	half = 0;
	memcpy(&half, bytes, len); /* 0 … 3 bytes, padded with zeros */
	return sum + half;
}

/**
 * checksum_add() - add bytes to a sum
 * @len:	even, except for the last piece; an odd last piece is padded with a zero
 * @sum:	previous sum, at most 2^63
 *
 * Return: the sum.
 */
uint64_t checksum_add(const uint8_t *bytes, size_t len, uint64_t sum)
{
	if (len >= VECTOR_MIN) {
		size_t blocks = len / BLOCK_LEN;

		sum += add_blocks_best(bytes, blocks);
		bytes += blocks * BLOCK_LEN;
		len -= blocks * BLOCK_LEN;
	}
	return add_words(bytes, len, sum);
}

/**
 * checksum_pseudo() - sum of a pseudo-header (RFC 9293 §3.1, RFC 768, RFC 8200 §8.1)
 * @addresses:	source and destination address, adjacent as in the IP header
 * @addresses_len: 8 for IPv4, 32 for IPv6
 * @len:	bytes of the transport header and its payload
 */
uint64_t checksum_pseudo(const uint8_t *addresses, size_t addresses_len, uint8_t protocol, uint32_t len)
{
	return add_words(addresses, addresses_len, (uint64_t)htobe32(len) + htobe32(protocol));
}

/**
 * checksum_fold() - fold a sum to 16 bits
 *
 * Bytes that include their valid checksum give 0xffff (negative zero). The result is 0 only if
 * every byte is 0.
 */
uint16_t checksum_fold(uint64_t sum)
{
	sum = (sum & UINT32_MAX) + (sum >> 32);
	sum = (sum & UINT16_MAX) + (sum >> 16);
	sum = (sum & UINT16_MAX) + (sum >> 16);
	return (uint16_t)((sum & UINT16_MAX) + (sum >> 16));
}
