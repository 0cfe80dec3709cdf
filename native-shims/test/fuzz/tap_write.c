/* SPDX-License-Identifier: MIT
 *
 * Fuzz target: frames of several VNIs written to TAPs (tap_write.c, coalesce.c, segment.c).
 * WRAP writev
 *
 * Oracle: every byte written to a TAP belongs to an entry of that TAP's VNI. The bytes are in
 * order, and each is written once. A merged superframe splits into exactly the frames it was made
 * of. A superframe that the kernel refuses is written as all its segments. An entry has status 0 if
 * and only if all of it was written.
 */
#include "../../coalesce.h"
#include "fuzz.h"

static int32_t fds[VNIS];
static int merge;

/*
 * Result of each entry: segments written of a refused superframe, whether all of the entry was
 * written, and whether the kernel refused it as one frame.
 */
static struct {
	int32_t segments;
	int is_written, is_refused;
} fate[ENTRIES_MAX];
static int32_t current; /* earlier entries are complete */

static const uint8_t *start_of(int32_t i)
{
	return arena.base + batch.off[i];
}

static int is_for(int fd, int32_t i)
{
	return !batch.verdict[i] && arena_holds(arena, batch.off[i], batch.len[i]) && batch.vni_idx[i] >= 0 &&
	       batch.vni_idx[i] < VNIS && fds[batch.vni_idx[i]] == fd;
}

/*
 * Returns the entry that ends with this piece, searching from the current one; -1 if there is none.
 * If `whole` is set, the piece must be the entire entry.
 */
static int32_t entry_of(int fd, const struct iovec *piece, int whole)
{
	for (int32_t i = current; i < entries; i++)
		if (is_for(fd, i) && (uint8_t *)piece->iov_base + piece->iov_len == start_of(i) + batch.len[i] &&
		    (whole ? piece->iov_base == start_of(i) : (const uint8_t *)piece->iov_base > start_of(i)))
			return i;
	return -1;
}

/* Returns the refused superframe that contains this piece; -1 if there is none. */
static int32_t refused_around(int fd, const struct iovec *piece)
{
	for (int32_t i = current; i < entries; i++)
		if (is_for(fd, i) && fate[i].is_refused && batch.gso_type[i] != FRAME_GSO_NONE &&
		    (const uint8_t *)piece->iov_base >= start_of(i) &&
		    (const uint8_t *)piece->iov_base < start_of(i) + batch.len[i])
			return i;
	return -1;
}

static void written(int32_t i)
{
	ORACLE(!fate[i].is_written);
	fate[i].is_written = 1;
	current = i + 1;
}

static void check_alone(int fd, const struct iovec *iov, int refused)
{
	struct virtio_net_hdr vnet;
	int32_t i = entry_of(fd, &iov[1], 1);

	ORACLE(i >= 0);
	memcpy(&vnet, iov[0].iov_base, sizeof(vnet));
	ORACLE(vnet.gso_type == batch.gso_type[i] || fate[i].is_refused);
	ORACLE(vnet.gso_type == VIRTIO_NET_HDR_GSO_NONE || vnet.gso_size == batch.gso_size[i]);
	if (vnet.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		ORACLE(vnet.csum_start + vnet.csum_offset + 2 <= batch.len[i]);
	current = i;
	if (!refused)
		written(i);
	else
		fate[i].is_refused = 1;
}

/* Checks a segment of a refused superframe. */
static void check_cut(const struct iovec *iov, int32_t i, int refused)
{
	struct cut cut = cut_of(start_of(i) - VXLAN_LEN, batch.len[i] + VXLAN_LEN, batch.csum_start[i] + VXLAN_LEN, i);
	int32_t at = (int32_t)((uint8_t *)iov[2].iov_base - start_of(i)) + VXLAN_LEN - cut.headers_len;
	int32_t k = at / cut.size, len = (int32_t)iov[2].iov_len;
	struct virtio_net_hdr vnet;
	uint8_t headers[512] = { 0 };

	ORACLE(fate[i].is_refused && at >= 0 && at % cut.size == 0 && k < cut.count);
	ORACLE(len == (k < cut.count - 1 ? cut.size : cut.payload_len - at));
	ORACLE((int32_t)iov[1].iov_len == cut.headers_len - VXLAN_LEN);
	memcpy(&vnet, iov[0].iov_base, sizeof(vnet));
	ORACLE(vnet.gso_type == VIRTIO_NET_HDR_GSO_NONE && !vnet.flags);
	memcpy(headers, start_of(i) - VXLAN_LEN, VXLAN_LEN);
	memcpy(headers + VXLAN_LEN, iov[1].iov_base, iov[1].iov_len);
	if (is_checked(k, cut.count)) {
		check_headers(&cut, start_of(i) - VXLAN_LEN, headers, k, len);
		check_segment(start_of(i), batch.len[i], i, batch.csum_start[i], iov[1].iov_base, k);
	}
	current = i;
	if (!refused && ++fate[i].segments == cut.count)
		written(i);
}

/*
 * Clears the IPv4 header checksum and, with DF, the id, which the kernel rewrites. Writes a
 * checksum of 0 as 0xffff.
 */
static void normalise(uint8_t *frame, const struct whole *whole)
{
	uint8_t *ip = frame + whole->ip, *check = frame + whole->l4 + (whole->protocol == IPPROTO_TCP ? 16 : 6);

	if (whole->version == 4)
		memset(ip + 10, 0, 2);
	if (whole->version == 4 && get16(ip + 6) & 0x4000)
		memset(ip + 4, 0, 2);
	if (!get16(check))
		put16(check, 0xffff);
}

static void check_merged(int fd, const struct iovec *iov, int count, int32_t i, int refused)
{
	static uint8_t super[1 << 18], cut[FRAME_LEN_MAX], wanted[FRAME_LEN_MAX];
	int32_t members[RUN_MAX], len = 0;
	struct virtio_net_hdr vnet;
	struct whole whole;

	ORACLE(count >= 2 && count <= RUN_MAX && i >= 0);
	for (int k = 0; k < count; k++, i++) {
		while (i < entries && batch.verdict[i])
			i++;
		ORACLE(i < entries && entry_of(fd, &iov[2 + k], 0) >= 0 && is_for(fd, i));
		ORACLE((uint8_t *)iov[2 + k].iov_base + iov[2 + k].iov_len == start_of(i) + batch.len[i]);
		members[k] = i;
	}
	for (int k = 1; k < count + 2; len += (int32_t)iov[k++].iov_len)
		memcpy(super + len, iov[k].iov_base, iov[k].iov_len);
	memcpy(&vnet, iov[0].iov_base, sizeof(vnet));
	ORACLE(gso_open(&whole, super, len, &vnet) && gso_is_sealed(&whole) && whole.count == count);
	ORACLE(merge & (whole.protocol == IPPROTO_TCP ? MERGE_TCP : MERGE_UDP));
	for (int k = 0; k < count; k++) {
		int32_t own = members[k], own_len = batch.len[own];

		ORACLE(gso_cut(cut, &whole, k) == own_len);
		memcpy(wanted, start_of(own), (size_t)own_len);
		if (batch.flags[own] & FRAME_NEEDS_CSUM)
			gso_finish(wanted, own_len, batch.csum_start[own], batch.csum_off[own]);
		normalise(wanted, &whole);
		normalise(cut, &whole);
		ORACLE(memcmp(wanted, cut, (size_t)own_len) == 0);
	}
	for (int k = 0; k < count && !refused; k++)
		written(members[k]);
}

ssize_t __wrap_writev(int fd, const struct iovec *iov, int count);

ssize_t __wrap_writev(int fd, const struct iovec *iov, int count)
{
	uint8_t answer = fd < 0 ? 7 : take_answer();
	ssize_t len = 0;
	int32_t i;

	ORACLE(count >= 2 && iov[0].iov_len == sizeof(struct virtio_net_hdr));
	if (in_arena(iov[1].iov_base)) {
		ORACLE(count == 2);
		check_alone(fd, iov, answer);
	} else {
		ORACLE(count >= 3 && in_arena(iov[2].iov_base));
		i = refused_around(fd, &iov[2]);
		if (i >= 0 && count == 3)
			check_cut(iov, i, answer);
		else
			check_merged(fd, iov, count - 2, entry_of(fd, &iov[2], 0), answer);
	}
	for (int k = 0; k < count; k++)
		len += (ssize_t)iov[k].iov_len;
	if (!answer)
		return len;
	errno = answer_errno((uint8_t)(fd < 0 ? 7 : answer - 1));
	return -1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct merge_result result = { 0 };
	int32_t used, failed = 0;
	uint32_t options;

	input = (struct input){ data, size };
	options = take(1);
	merge = (int)(options & 3) ^ 3;
	for (int k = 0; k < VNIS; k++)
		fds[k] = options & 4U << k ? -1 : 100 + k;
	memset(fate, 0, sizeof(fate));
	current = 0;
	used = take_frames(0, 1);
	take_lies();
	open_arena(used, VXLAN_LEN);
	failed = tap_write_batch(fds, VNIS, arena, &batch, entries, merge, &result);
	for (int32_t i = 0; i < entries; i++) {
		failed -= batch.status[i] != 0;
		if (batch.verdict[i])
			ORACLE(!batch.status[i] && !fate[i].is_written);
		else
			ORACLE((batch.status[i] == 0) == fate[i].is_written);
	}
	ORACLE(failed == 0 && !((result.taken | result.refused) & ~merge));
	close_arena();
	return 0;
}
