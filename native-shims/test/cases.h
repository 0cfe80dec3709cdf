/* SPDX-License-Identifier: MIT
 *
 * Reproducible random cases.
 *
 * Each case starts from the seed and its own number, so a failed case can be run alone with the
 * same result. Environment variables select the cases:
 *
 *   export EQUIVALENCE_SEED=1 EQUIVALENCE_FIRST=4711 EQUIVALENCE_CASES=1
 *   native-shims/test/run equivalence_send_test
 */
#ifndef VTEPD_TEST_CASES_H
#define VTEPD_TEST_CASES_H

#include "check.h"
#include "random.h"

/* Bytes from which payloads are copied; generating each payload would dominate the run time. */
#define POOL_LEN (1 << 20)

static uint8_t pool[POOL_LEN];

struct cases {
	uint64_t seed;
	uint32_t first, count;
};

static inline uint64_t environment_number(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

static inline struct cases cases_wanted(void)
{
	random_fill(pool, sizeof(pool));
	return (struct cases){
		.seed = environment_number("EQUIVALENCE_SEED", 1),
		.first = (uint32_t)environment_number("EQUIVALENCE_FIRST", 0),
		.count = (uint32_t)environment_number("EQUIVALENCE_CASES", 2500),
	};
}

/* Seeds the random numbers of this case (splitmix64 of seed and number). */
static inline void case_begin(const struct cases *cases, uint32_t number)
{
	uint64_t state = cases->seed * 0xd1342543de82ef95 + ((uint64_t)number + 1) * 0x9e3779b97f4a7c15;

	state = (state ^ state >> 30) * 0xbf58476d1ce4e5b9;
	state = (state ^ state >> 27) * 0x94d049bb133111eb;
	random_state = (state ^ state >> 31) | 1;
}

/* Prints how to reproduce a failed case. */
static inline void case_failed(const struct cases *cases, uint32_t number)
{
	printf("# reproduce with: EQUIVALENCE_SEED=%#llx EQUIVALENCE_FIRST=%u EQUIVALENCE_CASES=1\n",
	       (unsigned long long)cases->seed, number);
}

static inline uint32_t random_between(uint32_t low, uint32_t high)
{
	return low + random_below(high - low + 1);
}

static inline void pool_copy(uint8_t *bytes, int len)
{
	memcpy(bytes, pool + random_below((uint32_t)(POOL_LEN - len)), (size_t)len);
}

#endif
