/* SPDX-License-Identifier: MIT
 *
 * Segments of one flow in a batch, and a TAP to write it to: what the tests of merging share. The TAP is one end
 * of a socket pair; the other tells what was written.
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

/* Puts a frame of the shape into entry i. */
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

/* What the flow of a shape sends next. */
static inline void advance(struct shape *s)
{
	s->sequence += (uint32_t)s->payload_len;
	s->id++;
}

/* The next segments of one flow in entries 0 … count - 1. */
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

/* Takes what was written since, and returns how many writes it was. */
static inline int take_writes(void)
{
	uint8_t byte;
	int writes = 0;

	while (recv(far, &byte, 1, 0) > 0)
		writes++;
	return writes;
}

/* Writes the batch and returns how many writes it took. */
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
