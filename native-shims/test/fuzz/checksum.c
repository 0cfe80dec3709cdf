/* SPDX-License-Identifier: MIT
 *
 * Fuzz target: sums over bytes at any address, in pieces (checksum.c).
 *
 * Oracle: a sum by 16-bit words.
 */
#include "../../checksum.h"
#include "fuzz.h"

static uint16_t stored(uint16_t sum)
{
	return (uint16_t)(sum << 8 | sum >> 8) == 0 ? 0 : htons(sum);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t shift, even, len;
	uint8_t *bytes, *at;

	input = (struct input){ data, size };
	shift = take_below(64);
	even = take_below(512) & ~(size_t)1;
	len = input.left;
	bytes = malloc(shift + len + 1);
	at = bytes + shift;
	memcpy(at, input.bytes, len);
	ASAN_POISON_MEMORY_REGION(at + len, 1);
	if (even > len)
		even = len & ~(size_t)1;
	ORACLE(checksum_fold(checksum_add(at, len, 0)) == stored(sum16(at, len, 0)));
	ORACLE(checksum_fold(checksum_add(at + even, len - even, checksum_add(at, even, 0))) ==
	       stored(sum16(at, len, 0)));
	if (len >= 32)
		ORACLE(checksum_fold(checksum_pseudo(at, 32, 17, (uint32_t)len)) ==
		       stored(sum16(at, 32, (uint32_t)len % 65535 + 17)));
	ASAN_UNPOISON_MEMORY_REGION(at + len, 1);
	free(bytes);
	return 0;
}
