/* SPDX-License-Identifier: MIT
 *
 * Helpers of the merge tests: segments of one flow in a batch, and a TAP to which the batch is
 * written.
 *
 * The TAP is one end of a socket pair; the other end receives the writes.
 */
#ifndef VTEPD_TEST_SEGMENTS_H
#define VTEPD_TEST_SEGMENTS_H

#include "../coalesce.h"
#include "check.h"
#include "frame.h"

#define SLOT_LEN 2048
#define ARENA_LEN (BATCH_CAP * SLOT_LEN)
#define MERGE_ALL (MERGE_TCP | MERGE_UDP)

static struct arena arena;
static struct batch batch;
static int tap, far;

static inline void segments_begin(void)
{
	int pair[2];

	REQUIRE(tap_pair(pair) == 0);
	tap = pair[0];
	far = pair[1];
	arena = (struct arena){ calloc(1, ARENA_LEN), ARENA_LEN };
}

static inline uint8_t *frame_of(int i)
{
	return arena.base + batch.off[i];
}

/* Writes a frame of the shape into entry i. */
static inline void put(int i, const struct shape *s, int postponed)
{
	batch.off[i] = i * SLOT_LEN;
	batch.len[i] = build_frame(arena.base + batch.off[i], s, postponed);
	batch.vni_idx[i] = 0;
	batch.flags[i] = postponed ? FRAME_NEEDS_CSUM : 0;
	batch.csum_start[i] = l4_at(s);
	batch.csum_off[i] = checksum_at(s) - l4_at(s);
	batch.gso_type[i] = FRAME_GSO_NONE;
	batch.verdict[i] = 0;
}

/* Advances the shape to the next segment of its flow. */
static inline void advance(struct shape *s)
{
	s->sequence += (uint32_t)s->payload_len;
	s->id++;
}

/* Writes the next segments of one flow into entries 0 … count - 1. */
static inline void put_flow(struct shape s, int count, int postponed)
{
	memset(&batch, 0, sizeof(batch));
	for (int i = 0; i < count; i++, advance(&s))
		put(i, &s, postponed);
}

static inline int write_batch(int count, int merge)
{
	return tap_write_batch(&tap, 1, arena, &batch, count, merge, NULL);
}

/* Drains the pending writes and returns their number. */
static inline int take_writes(void)
{
	uint8_t byte;
	int writes = 0;

	while (recv(far, &byte, 1, 0) > 0)
		writes++;
	return writes;
}

/* Writes the batch and returns the number of writes. */
static inline int writes_of(int count, int merge)
{
	CHECK_EQ(write_batch(count, merge), 0);
	for (int i = 0; i < count; i++)
		CHECK_EQ(batch.status[i], 0);
	return take_writes();
}

static inline struct shape shape_of(int version, int protocol)
{
	return (struct shape){ .version = version, .protocol = protocol, .tcp_options = 12, .payload_len = 100,
			       .tcp_flags = 0x10, .sequence = 0xffffff80, .id = 0xfffe };
}

#endif
