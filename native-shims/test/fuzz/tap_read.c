/* SPDX-License-Identifier: MIT
 *
 * Fuzz target: frames read from a TAP with invalid headers (tap.c).
 * WRAP readv
 *
 * Oracle: frames lie in the region, each with its headroom, and never overlap. The bytes are those
 * read, except for a completed checksum, which is the one requested by the header. No other byte of
 * the arena is written.
 */
#include "fuzz.h"

#include <sys/uio.h>

#define FD 7

static struct tap_region region;
static uint8_t reference[FUZZ_ARENA_LEN];

ssize_t __wrap_readv(int fd, const struct iovec *iov, int count);

ssize_t __wrap_readv(int fd, const struct iovec *iov, int count)
{
	struct virtio_net_hdr header = { 0 };
	uint32_t form = take(1);
	int32_t off = (int32_t)((uint8_t *)iov[1].iov_base - arena.base), len;

	ORACLE(fd == FD && count == 3 && iov[0].iov_len == sizeof(header) && iov[2].iov_len == 1);
	ORACLE((int32_t)iov[1].iov_len == region.slot_len && off - region.headroom >= region.off);
	ORACLE(off + region.slot_len <= region.end);
	if (!input.left || form == 255) {
		errno = form & 1 ? EAGAIN : answer_errno((uint8_t)take(1));
		return -1;
	}
	len = (int32_t)take_below((uint32_t)region.slot_len + 2);
	header.flags = form & 1 ? VIRTIO_NET_HDR_F_NEEDS_CSUM : 0;
	header.gso_type = form & 2 ? (uint8_t)take(1) : VIRTIO_NET_HDR_GSO_NONE;
	header.gso_size = form & 4 ? (uint16_t)take(2) : 0;
	header.csum_start = (uint16_t)take(form & 8 ? 2 : 1);
	header.csum_offset = (uint16_t)take(form & 16 ? 2 : 1);
	memcpy(iov[0].iov_base, &header, sizeof(header));
	if (form & 32) /* shorter than a header */
		return (ssize_t)take_below(sizeof(header));
	for (int32_t k = 0; k < len && k < region.slot_len; k++)
		reference[off + k] = form & 64 ? (uint8_t)take(1) : payload_byte((int)(form >> 7), k);
	if (len <= region.slot_len)
		memcpy(iov[1].iov_base, reference + off, (size_t)len);
	else
		memcpy(iov[1].iov_base, reference + off, (size_t)region.slot_len);
	if (len >= 14 && len <= region.slot_len && form & 1 && !header.gso_type &&
	    header.csum_start + header.csum_offset + 2 <= len)
		gso_finish(reference + off, len, header.csum_start, header.csum_offset);
	return (ssize_t)sizeof(header) + len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int32_t start, count, next;

	input = (struct input){ data, size };
	region.off = (int32_t)take_below(200);
	region.headroom = (int32_t)take_below(80);
	region.slot_len = 1 + (int32_t)take_below(400);
	region.end = region.off + (int32_t)take_below(4000);
	start = take_below(8) == 7 ? BATCH_CAP - (int32_t)take_below(8) : (int32_t)take_below(8);
	arena.len = (size_t)region.end + 1;
	arena.base = malloc(arena.len);
	memset(arena.base, 0x11, arena.len);
	memset(reference, 0x11, arena.len);
	memset(&batch, 0x55, sizeof(batch));
	count = tap_read_batch(FD, arena, &batch, start, 3, region);
	ORACLE(start + count <= BATCH_CAP);
	next = region.off;
	for (int32_t i = 0; i < BATCH_CAP; i++) {
		if (i < start || i >= start + count) {
			ORACLE(batch.off[i] == 0x55555555 && batch.vni_idx[i] == 0x55555555);
			continue;
		}
		ORACLE(batch.off[i] - region.headroom >= next && batch.len[i] >= 14 && batch.len[i] <= region.slot_len);
		ORACLE(batch.vni_idx[i] == 3 && batch.seg_count[i] == 1 && (batch.off[i] - region.headroom) % 64 == 0);
		ORACLE(!(batch.flags[i] & FRAME_NEEDS_CSUM) || batch.gso_type[i] != FRAME_GSO_NONE);
		next = batch.off[i] + batch.len[i];
	}
	ORACLE(next <= region.end && memcmp(arena.base, reference, arena.len) == 0);
	free(arena.base);
	return 0;
}
