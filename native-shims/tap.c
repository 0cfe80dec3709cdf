/* SPDX-License-Identifier: MIT
 *
 * TAP devices of the overlay: opening and reading; writing is in tap_write.c.
 *
 * Every read and write carries a virtio_net_hdr in front of the frame (IFF_VNET_HDR). It describes
 * pending work for the frame (a checksum to complete, segments to split); so do the gso and csum
 * columns of a descriptor. The header lies on the stack (readv, writev), so the arena holds only
 * frames. The bytes in front of each frame are therefore available for the VXLAN header.
 *
 * A TAP needs one system call per frame, because it has no recvmmsg. The batch loop is therefore in
 * C. The descriptor never blocks. TUNSETSNDBUF is never set: with a finite send buffer one slow
 * consumer of the device would stop the writer.
 *
 * Linux: Documentation/networking/tuntap.rst; virtio 1.2 §5.1.6 for the header.
 */
#include "checksum.h"
#include "inner.h"
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>

#define CACHE_LINE 64
#define CSUM_LEN 2

static int configure(int fd, const char *name, int multi_queue)
{
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int header_len = sizeof(struct virtio_net_hdr);

	if (multi_queue)
		request.ifr_flags |= IFF_MULTI_QUEUE;
	memcpy(request.ifr_name, name, strlen(name));
	/* An existing device keeps its last user's header size and offloads, so set both. */
	if (ioctl(fd, TUNSETIFF, &request) || ioctl(fd, TUNSETVNETHDRSZ, &header_len) ||
	    ioctl(fd, TUNSETOFFLOAD, 0UL))
		return -errno;
	return 0;
}

/**
 * tap_open() - open a TAP device, creating it if it does not exist
 * @name:	1 … 15 bytes, used literally
 * @multi_queue: create a device with several queues; each further call with the same name opens
 *               another
 *
 * The device starts without offloads: frames read are complete and no longer than its MTU allows.
 *
 * #syscalls openat ioctl close
 * Return: fd; -EINVAL invalid name, a device of that name that is not a TAP, or single-queue versus
 * multi-queue mismatch; -EBUSY in use; -E2BIG no more queues; -ENOENT, -EACCES, -EPERM as open(2)
 * and TUNSETIFF.
 */
int tap_open(const char *name, int multi_queue)
{
	size_t len = strlen(name);
	int fd, err;

	/* The kernel would interpret an empty name or a % as a request to choose a number. */
	if (len == 0 || len >= IFNAMSIZ || strchr(name, '%'))
		return -EINVAL;
	fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = configure(fd, name, multi_queue);
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}

/**
 * tap_set_offload() - set the offloads that the reader of this TAP supports
 * @bits:	TUN_F_*: CSUM 1, TSO4 2, TSO6 4, TSO_ECN 8, USO4 0x20, USO6 0x40; 0 none
 *
 * #syscalls ioctl
 * Return: 0; -EINVAL when the kernel lacks one of them.
 */
int tap_set_offload(int fd, uint32_t bits)
{
	return ioctl(fd, TUNSETOFFLOAD, (unsigned long)bits) ? -errno : 0;
}

static void describe_read(struct batch *batch, int32_t i, const struct virtio_net_hdr *header)
{
	batch->gso_type[i] = header->gso_type;
	batch->gso_size[i] = header->gso_type == VIRTIO_NET_HDR_GSO_NONE ? 0 : header->gso_size;
	batch->flags[i] = header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM ? FRAME_NEEDS_CSUM : 0;
	batch->csum_start[i] = header->csum_start;
	batch->csum_off[i] = header->csum_offset;
	batch->seg_count[i] = 1;
}

/*
 * Completes the checksum of a frame that is not a superframe; the field holds the pseudo-header
 * sum. The checksum is completed here for two reasons: the bytes are in the cache, and all copies of
 * a flood then have a complete checksum. A frame whose checksum position is outside the frame is
 * not changed. A result of 0 is stored as 0xffff, since 0 means "no checksum" in UDP.
 */
static void finish_checksum(uint8_t *frame, int32_t len, struct batch *batch, int32_t i)
{
	int32_t start = batch->csum_start[i], field = start + batch->csum_off[i];
	uint16_t checksum;

	if (!(batch->flags[i] & FRAME_NEEDS_CSUM) || batch->gso_type[i] != FRAME_GSO_NONE)
		return;
	batch->flags[i] &= ~FRAME_NEEDS_CSUM;
	if (field + CSUM_LEN > len)
		return;
	checksum = (uint16_t)~checksum_fold(checksum_add(frame + start, (size_t)(len - start), 0));
	if (!checksum)
		checksum = UINT16_MAX;
	memcpy(frame + field, &checksum, sizeof(checksum));
}

/*
 * Offset of the next frame. Its headroom begins on a cache line (relative to the arena), so that a
 * headroom of 8 puts VXLAN, both MACs and the start of the IP header into one line. The result may
 * exceed INT32_MAX.
 */
static int64_t next_off(int64_t free_off, int32_t headroom)
{
	return ((free_off + CACHE_LINE - 1) & ~(int64_t)(CACHE_LINE - 1)) + headroom;
}

/**
 * tap_read_batch() - append the waiting frames of one TAP to a batch
 * @start:	first descriptor to fill, 0 … BATCH_CAP
 * @vni_idx:	value for the column of that name
 * @region:	part of the arena; the caller has checked its bounds
 *
 * Frames are packed back to back, each with its headroom; a slot is only as long as its frame. A
 * frame shorter than 14 bytes or longer than slot_len is discarded. Checksums are completed, except
 * in superframes, whose segments get checksums when the superframe is split. seg_count is 1, also
 * for superframes.
 *
 * #syscalls readv
 * Return: frames appended; if none, 0 or the negative errno of the failed read.
 */
int tap_read_batch(int fd, struct arena arena, struct batch *batch, int32_t start, int32_t vni_idx,
		   struct tap_region region)
{
	int64_t free_off = region.off;
	int32_t i = start;
	int reads;

	for (reads = 0; reads < BATCH_CAP && i < BATCH_CAP; reads++) {
		struct virtio_net_hdr header;
		uint8_t beyond; /* distinguishes a frame that fills the slot from a longer one */
		int64_t off = next_off(free_off, region.headroom);
		struct iovec iov[] = { { &header, sizeof(header) }, { 0 }, { &beyond, 1 } };
		ssize_t got, len;

		if (off + region.slot_len > region.end)
			break;
		iov[1].iov_base = arena.base + off;
		iov[1].iov_len = (size_t)region.slot_len;
		got = readv(fd, iov, 3);
		if (got < 0) {
			if (i > start || errno == EAGAIN || errno == EINTR)
				break;
			return -errno;
		}
		len = got - (ssize_t)sizeof(header);
		if (len < ETH_HEADER_LEN || len > region.slot_len)
			continue;
		batch->off[i] = (int32_t)off;
		batch->len[i] = (int32_t)len;
		batch->vni_idx[i] = vni_idx;
		describe_read(batch, i, &header);
		finish_checksum(arena.base + off, (int32_t)len, batch, i);
		free_off = off + len;
		i++;
	}
	return i - start;
}
