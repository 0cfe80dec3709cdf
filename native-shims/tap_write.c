/* SPDX-License-Identifier: MIT
 *
 * Writing frames to TAP devices: what the columns say of a frame becomes its virtio_net_hdr, and neighbours
 * that are segments of one inner flow become one write (coalesce.c).
 *
 * Order is kept. Nothing waits for the next batch, so merging adds no delay.
 */
#include "coalesce.h"
#include "inner.h"

#include <errno.h>
#include <unistd.h>

#define CSUM_LEN 2

/* Fills the header from the columns of entry i. 0, or -EINVAL when they cannot be true of the frame. */
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

/* hdr_len stays 0: the kernel takes what the checksum needs, and does not trust more than that. */
static int write_frame(int fd, struct virtio_net_hdr *header, uint8_t *frame, size_t len)
{
	struct iovec iov[] = { { header, sizeof(*header) }, { frame, len } };

	return writev(fd, iov, 2) < 0 ? -errno : 0;
}

static int write_entry(const int32_t *fds, size_t fd_count, struct arena arena, const struct batch *batch, int32_t i)
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
	/*
	 * Headers that the kernel parses otherwise than we do: it is still an Ethernet frame, and the VM
	 * may judge it. A superframe is not: without its segment size it exceeds every MTU.
	 */
	if (err == -EINVAL && header.flags && header.gso_type == VIRTIO_NET_HDR_GSO_NONE) {
		memset(&header, 0, sizeof(header));
		err = write_frame(fds[vni_idx], &header, arena.base + off, (size_t)len);
	}
	return err;
}

/* 0, or a negative errno: then nothing is written. */
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

/* Writes a run and empties it. What the kernel does not take as a superframe goes one by one. */
static void write_run(const int32_t *fds, size_t fd_count, struct arena arena, struct batch *batch, struct run *run)
{
	int err = run->count > 1 ? write_superframe(fds, fd_count, run) : -EINVAL;

	for (int32_t k = 0; k < run->count; k++) {
		int32_t i = run->entries[k];

		batch->status[i] = err == -EINVAL ? write_entry(fds, fd_count, arena, batch, i) : err;
	}
	run->count = 0;
}

/**
 * tap_write_batch() - write the entries whose verdict is 0, in order
 * @fds:	TAP of each VNI, by vni_idx; -1 none
 * @merge:	MERGE_*: neighbours that are segments of one flow are one write (coalesce.c)
 *
 * status: 0 written (or skipped); -EFAULT outside the arena; -EINVAL columns that contradict the frame,
 * or a vni_idx without a row; -EBADF a VNI without a TAP; -EIO the device is down; else what writev says.
 * Entries that were written as one share what it says of them.
 *
 * #syscalls writev
 * Return: entries whose status is not 0.
 */
int tap_write_batch(const int32_t *fds, size_t fd_count, struct arena arena, struct batch *batch, int32_t count,
		    int merge)
{
	struct run run;
	int failed = 0;

	run.count = 0;
	for (int32_t i = 0; i < count; i++) {
		struct segment segment;

		batch->status[i] = 0;
		if (batch->verdict[i])
			continue;
		if (coalesce_examine(&segment, arena, batch, i, merge)) {
			if (run.count && coalesce_append(&run, &segment))
				continue;
			write_run(fds, fd_count, arena, batch, &run);
			coalesce_begin(&run, &segment);
		} else {
			write_run(fds, fd_count, arena, batch, &run);
			batch->status[i] = write_entry(fds, fd_count, arena, batch, i);
		}
	}
	write_run(fds, fd_count, arena, batch, &run);
	for (int32_t i = 0; i < count; i++)
		failed += batch->status[i] != 0;
	return failed;
}
