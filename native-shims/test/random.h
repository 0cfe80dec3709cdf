/* SPDX-License-Identifier: MIT
 *
 * Random numbers that are the same in every run (xorshift64*, Vigna 2016).
 *
 * A failure is therefore reproducible.
 */
#ifndef VTEPD_TEST_RANDOM_H
#define VTEPD_TEST_RANDOM_H

#include <stddef.h>
#include <stdint.h>

static uint64_t random_state = 0x9e3779b97f4a7c15;

/* Random number in 0 … below - 1; below must not be 0. */
static inline uint32_t random_below(uint32_t below)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (uint32_t)(((random_state * 0x2545f4914f6cdd1d) >> 32) % below);
}

static inline int random_one_in(uint32_t n)
{
	return random_below(n) == 0;
}

static inline void random_fill(uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)random_below(256);
}

#endif
