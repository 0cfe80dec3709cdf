/* SPDX-License-Identifier: MIT
 *
 * checksum.c against a byte-by-byte sum.
 *
 * Covers every short length and random long ones, at every alignment, in pieces, and with the bytes
 * that produce the most carries.
 */
#include "../checksum.h"
#include "check.h"
#include "net.h"
#include "random.h"

#define LEN_MAX 65536
#define ALIGNMENTS 64

static uint8_t bytes[LEN_MAX + ALIGNMENTS];

static uint16_t folded(const uint8_t *from, size_t len, uint64_t sum)
{
	return ntohs(checksum_fold(checksum_add(from, len, sum)));
}

static void fill(int value)
{
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = value < 0 ? (uint8_t)random_below(256) : (uint8_t)value;
}

static void test_short_lengths(void)
{
	for (size_t len = 0; len <= 600; len++)
		for (size_t align = 0; align < ALIGNMENTS; align++)
			if (folded(bytes + align, len, 0) != sum16(bytes + align, len, 0))
				CHECK_EQ(len * 1000 + align, -1);
	CHECK_EQ(folded(bytes, 0, 0), 0);
}

static void test_long_lengths(void)
{
	for (int round = 0; round < 400; round++) {
		size_t len = random_below(LEN_MAX + 1), align = random_below(ALIGNMENTS);

		CHECK_EQ(folded(bytes + align, len, 0), sum16(bytes + align, len, 0));
	}
}

/* A sum can be continued after an even length. */
static void test_pieces(void)
{
	for (int round = 0; round < 400; round++) {
		size_t len = random_below(4000), align = random_below(ALIGNMENTS);
		size_t first = random_below((uint32_t)len / 2 + 1) * 2, second = random_below((uint32_t)(len - first) / 2 + 1) * 2;
		const uint8_t *from = bytes + align;
		uint64_t sum = checksum_add(from, first, 0);

		sum = checksum_add(from + first, second, sum);
		CHECK_EQ(folded(from + first + second, len - first - second, sum), sum16(from, len, 0));
	}
}

/* checksum_fold() reduces any 64-bit sum to the ones-complement sum of its 16-bit words. */
static void test_fold(void)
{
	const uint64_t sums[] = { 0, 1, 0xffff, 0x10000, 0x1fffe, 0xffffffff, 0x100000000, 0xffffffffffffffff,
				  0xfffefffefffefffe };

	for (size_t k = 0; k < sizeof(sums) / sizeof(sums[0]); k++) {
		uint64_t wanted = sums[k];

		while (wanted >> 16)
			wanted = (wanted & 0xffff) + (wanted >> 16);
		CHECK_EQ(checksum_fold(sums[k]), wanted);
	}
}

static void test_pseudo(void)
{
	uint8_t pseudo4[12], pseudo6[40] = { 0 };

	for (int round = 0; round < 100; round++) {
		uint32_t len = random_below(65536);

		memcpy(pseudo4, bytes + round, 8);
		pseudo4[8] = 0;
		pseudo4[9] = 17;
		put16(pseudo4 + 10, (uint16_t)len);
		CHECK_EQ(ntohs(checksum_fold(checksum_pseudo(bytes + round, 8, 17, len))), sum16(pseudo4, 12, 0));
		memcpy(pseudo6, bytes + round, 32);
		put16(pseudo6 + 34, (uint16_t)len);
		pseudo6[39] = 6;
		CHECK_EQ(ntohs(checksum_fold(checksum_pseudo(bytes + round, 32, 6, len))), sum16(pseudo6, 40, 0));
	}
}

int main(void)
{
	const int values[] = { -1, 0, 0xff, 0x80 };

	for (size_t k = 0; k < sizeof(values) / sizeof(values[0]); k++) {
		fill(values[k]);
		test_short_lengths();
		test_long_lengths();
		test_pieces();
	}
	fill(-1);
	test_fold();
	test_pseudo();
	return check_report();
}
