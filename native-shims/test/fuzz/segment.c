/* SPDX-License-Identifier: MIT
 *
 * Fuzz target: splitting of superframes (segment.c).
 *
 * Oracle: the payloads of the segments are contiguous in the superframe and cover it; headers equal
 * the superframe's except for the fields that segmentation changes; a superframe that Linux accepts
 * is split as Linux would split it.
 */
#include "../../segment.h"
#include "fuzz.h"

static void check(const struct superframe *super, int32_t i)
{
	const uint8_t *bytes = arena.base + batch.off[i];
	struct cut cut = cut_of(bytes, batch.len[i], batch.csum_start[i], i);
	int32_t at = cut.headers_len;
	uint8_t *headers = malloc((size_t)cut.headers_len);

	ORACLE(super->headers_len == cut.headers_len && super->payload_len == cut.payload_len);
	ORACLE(super->count == cut.count && super->headers_len <= SEGMENT_HEADERS_MAX);
	for (int32_t k = 0; k < super->count; k++) {
		struct iovec payload = segment_write(super, k, headers);
		int32_t len = (int32_t)payload.iov_len;

		ORACLE(payload.iov_base == bytes + at);
		ORACLE(len == cut.size || (k == super->count - 1 && len > 0 && len < cut.size));
		at += len;
		if (!is_checked(k, super->count))
			continue;
		check_headers(&cut, bytes, headers, k, len);
		check_segment(bytes + VXLAN_LEN, batch.len[i] - VXLAN_LEN, i, batch.csum_start[i] - VXLAN_LEN,
			      headers + VXLAN_LEN, k);
	}
	free(headers);
	ORACLE(at == batch.len[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int32_t used;

	input = (struct input){ data, size };
	used = take_frames(VXLAN_LEN, 1);
	take_lies();
	open_arena(used, 0);
	for (int32_t i = 0; i < entries; i++) {
		struct superframe super;

		/* Preconditions that callers of segment_check() have checked. */
		if (!batch.verdict[i] && arena_holds(arena, batch.off[i], batch.len[i]) &&
		    batch.gso_type[i] != FRAME_GSO_NONE &&
		    !segment_check(&super, arena.base + batch.off[i], &batch, i))
			check(&super, i);
	}
	close_arena();
	return 0;
}
