/* SPDX-License-Identifier: MIT
 *
 * Writes frames to TAP devices.
 *
 * The columns of a frame become its virtio_net_hdr, and adjacent segments of one inner flow become
 * one write (coalesce.c).
 *
 * A superframe that the kernel refuses is written segment by segment. The refusal is reported to
 * the caller only if the superframe was merged here. The refusal of a superframe from a peer is not
 * reported, because its content is a possible reason.
 *
 * Order is kept. Merging never waits for the next batch, so it adds no delay.
 */
#include "coalesce.h"
#include "inner.h"
#include "segment.h"

#include <errno.h>
#include <unistd.h>

#define CSUM_LEN 2

/*
 * Fills the header from the columns of entry i. Returns 0, or -EINVAL when the columns contradict
 * the frame.
 */
static int describe_write(struct virtio_net_hdr *header, const struct batch *batch, int32_t i, int32_t len)
{
	int32_t gso_type = batch->gso_type[i], gso_size = batch->gso_size[i];
	int32_t csum_start = batch->csum_start[i], csum_off = batch->csum_off[i];

	memset(header, 0, sizeof(*header));
	if (batch->flags[i] & FRAME_NEEDS_CSUM) {
		if (csum_start < 0 || csum_start > UINT16_MAX || csum_off < 0 || csum_off > UINT16_MAX ||
		    csum_start + csum_off + CSUM_LEN > len)
			return -EINVAL;
		header->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		header->csum_start = (uint16_t)csum_start;
		header->csum_offset = (uint16_t)csum_off;
	}
	if (gso_type != FRAME_GSO_NONE) {
		int32_t base = gso_type & ~FRAME_GSO_ECN;

		if (gso_type < 0 || gso_type > UINT8_MAX || gso_size <= 0 || gso_size > UINT16_MAX)
			return -EINVAL;
		if (base != FRAME_GSO_TCPV4 && base != FRAME_GSO_TCPV6 && base != FRAME_GSO_UDP_L4)
			return -EINVAL;
		header->gso_type = (uint8_t)gso_type;
		header->gso_size = (uint16_t)gso_size;
	}
	return 0;
}

/* hdr_len stays 0: the kernel then pulls only what the checksum needs. */
static int write_frame(int fd, struct virtio_net_hdr *header, uint8_t *frame, size_t len)
{
	struct iovec iov[] = { { header, sizeof(*header) }, { frame, len } };

	return writev(fd, iov, 2) < 0 ? -errno : 0;
}

/*
 * Parses the superframe of entry i as a datagram: its VXLAN header is still in front of the frame.
 */
static int check_superframe(struct superframe *super, const uint8_t *frame, struct batch *batch, int32_t i)
{
	int err;

	batch->len[i] += VXLAN_LEN;
	batch->csum_start[i] += VXLAN_LEN;
	err = segment_check(super, frame - VXLAN_LEN, batch, i);
	batch->len[i] -= VXLAN_LEN;
	batch->csum_start[i] -= VXLAN_LEN;
	return err;
}

/*
 * Writes a superframe as its segments, with completed checksums. Returns 0, or the errno of the
 * first failed write.
 */
static int write_segments(int fd, struct arena arena, struct batch *batch, int32_t i)
{
	struct virtio_net_hdr vnet = { 0 };
	struct superframe super;
	int first = 0;

	if (batch->off[i] < VXLAN_LEN || check_superframe(&super, arena.base + batch->off[i], batch, i))
		return -EINVAL;
	for (int32_t k = 0; k < super.count; k++) {
		uint8_t headers[SEGMENT_HEADERS_MAX];
		struct iovec payload = segment_write(&super, k, headers);
		struct iovec iov[] = { { &vnet, sizeof(vnet) },
				       { headers + VXLAN_LEN, (size_t)(super.headers_len - VXLAN_LEN) },
				       payload };

		if (writev(fd, iov, 3) < 0 && !first)
			first = -errno;
	}
	return first;
}

static int write_entry(const int32_t *fds, size_t fd_count, struct arena arena, struct batch *batch, int32_t i)
{
	int32_t off = batch->off[i], len = batch->len[i], vni_idx = batch->vni_idx[i];
	struct virtio_net_hdr header;
	int err;

	if (!arena_holds(arena, off, len))
		return -EFAULT;
	if (len < ETH_HEADER_LEN || vni_idx < 0 || (size_t)vni_idx >= fd_count)
		return -EINVAL;
	if (describe_write(&header, batch, i, len))
		return -EINVAL;
	err = write_frame(fds[vni_idx], &header, arena.base + off, (size_t)len);
	if (err != -EINVAL || !header.flags)
		return err;
	/* Without offload, as below, a superframe would be one frame that exceeds every MTU. */
	if (header.gso_type != VIRTIO_NET_HDR_GSO_NONE)
		return write_segments(fds[vni_idx], arena, batch, i);
	/*
	 * The kernel cannot use the checksum position of the columns. The bytes are still an
	 * Ethernet frame, so the frame is written without offload, and its receiver decides.
	 */
	memset(&header, 0, sizeof(header));
	return write_frame(fds[vni_idx], &header, arena.base + off, (size_t)len);
}

/* Returns 0, or a negative errno when nothing was written. */
static int write_superframe(const int32_t *fds, size_t fd_count, struct run *run)
{
	int32_t vni_idx = run->first.vni_idx;
	struct virtio_net_hdr vnet;
	uint8_t headers[RUN_HEADERS_MAX];
	int32_t headers_len;

	if (vni_idx < 0 || (size_t)vni_idx >= fd_count)
		return -EINVAL;
	headers_len = coalesce_headers(run, &vnet, headers);
	run->iov[0] = (struct iovec){ &vnet, sizeof(vnet) };
	run->iov[1] = (struct iovec){ headers, (size_t)headers_len };
	return writev(fds[vni_idx], run->iov, 2 + run->count) < 0 ? -errno : 0;
}

/* Writes the entries of a run one by one. Returns the number written. */
static int write_apart(const int32_t *fds, size_t fd_count, struct arena arena, struct batch *batch,
		       const struct run *run)
{
	int written = 0;

	for (int32_t k = 0; k < run->count; k++) {
		int32_t i = run->entries[k];

		batch->status[i] = write_entry(fds, fd_count, arena, batch, i);
		written += !batch->status[i];
	}
	return written;
}

/*
 * Writes a run of two or more segments as one superframe. If the kernel refuses the superframe, the
 * segments are written one by one.
 */
static void write_merged(const int32_t *fds, size_t fd_count, struct arena arena, struct batch *batch,
			 struct run *run, struct merge_result *result)
{
	int32_t kind = run->first.protocol == IPPROTO_TCP ? MERGE_TCP : MERGE_UDP;
	int err = write_superframe(fds, fd_count, run);

	if (err == -EINVAL) {
		if (write_apart(fds, fd_count, arena, batch, run))
			result->refused |= kind;
		return;
	}
	if (!err)
		result->taken |= kind;
	for (int32_t k = 0; k < run->count; k++)
		batch->status[run->entries[k]] = err;
}

/* Writes a run and empties it. */
static void write_run(const int32_t *fds, size_t fd_count, struct arena arena, struct batch *batch, struct run *run,
		      struct merge_result *result)
{
	if (run->count > 1)
		write_merged(fds, fd_count, arena, batch, run, result);
	else
		write_apart(fds, fd_count, arena, batch, run);
	run->count = 0;
}

/**
 * tap_write_batch() - write the entries with verdict 0, in order
 * @fds:	TAP of each VNI, indexed by vni_idx; -1: no TAP
 * @merge:	MERGE_*: adjacent segments of one flow become one write (coalesce.c)
 * @result:	receives the outcome of the merged writes; may be NULL
 *
 * With FRAME_NEEDS_CSUM the checksum field holds the pseudo-header sum, not complemented. If the
 * kernel refuses the checksum columns of a frame, the frame is written again without offload. A
 * refused superframe is written as its segments. This requires that the VXLAN header of the
 * received datagram is still in front of the superframe.
 *
 * status: 0 written (or skipped); -EFAULT outside the arena; -EINVAL columns that contradict the
 * frame, or a vni_idx outside of fds; -EBADF a VNI without a TAP; -EIO the device is down; else the
 * errno of writev. Entries merged into one write share its result. A superframe that was split has
 * the status of its first failed segment.
 *
 * #syscalls writev
 * Return: entries whose status is not 0.
 */
int tap_write_batch(const int32_t *fds, size_t fd_count, struct arena arena, struct batch *batch, int32_t count,
		    int merge, struct merge_result *result)
{
	struct merge_result unread;
	struct run run;
	int failed = 0;

	if (!result)
		result = &unread;
	run.count = 0;
	for (int32_t i = 0; i < count; i++) {
		struct segment segment;

		batch->status[i] = 0;
		if (batch->verdict[i])
			continue;
		if (coalesce_examine(&segment, arena, batch, i, merge)) {
			if (run.count && coalesce_append(&run, &segment))
				continue;
			write_run(fds, fd_count, arena, batch, &run, result);
			coalesce_begin(&run, &segment);
		} else {
			write_run(fds, fd_count, arena, batch, &run, result);
			batch->status[i] = write_entry(fds, fd_count, arena, batch, i);
		}
	}
	write_run(fds, fd_count, arena, batch, &run, result);
	for (int32_t i = 0; i < count; i++)
		failed += batch->status[i] != 0;
	return failed;
}
