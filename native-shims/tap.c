/* SPDX-License-Identifier: MIT
 *
 * TAP devices: the overlay side. Opening and reading; writing is in tap_write.c.
 *
 * Every read and write carries a virtio_net_hdr in front of the frame (IFF_VNET_HDR): what is left to
 * do for the frame (a checksum to finish, segments to cut) travels there, and in the gso and csum
 * columns of a descriptor. The header is read into and written from the stack (readv, writev), so the
 * arena holds frames alone and the bytes in front of each are free for the VXLAN header.
 *
 * TAP has no recvmmsg: one system call a frame, hence the batch loop here and not in JavaScript. The
 * descriptor never blocks. TUNSETSNDBUF is never set: with a finite send buffer one slow consumer of
 * the device would stop the writer.
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
	/* A device that was there before keeps its last user's header size and offloads: state both. */
	if (ioctl(fd, TUNSETIFF, &request) || ioctl(fd, TUNSETVNETHDRSZ, &header_len) ||
	    ioctl(fd, TUNSETOFFLOAD, 0UL))
		return -errno;
	return 0;
}

/**
 * tap_open() - open a TAP device, creating it if there is none of that name
 * @name:	1 … 15 bytes, taken literally
 * @multi_queue: one queue of several: each further call with the same name opens another
 *
 * The device comes without offloads: frames read are complete and no longer than its MTU allows.
 *
 * #syscalls openat ioctl close
 * Return: fd; -EINVAL bad name, or a device of that name that is no TAP, or was made for one queue and is
 * asked for several, or the other way; -EBUSY in use; -E2BIG no more queues; -ENOENT, -EACCES, -EPERM as open(2) and TUNSETIFF say.
 */
int tap_open(const char *name, int multi_queue)
{
	size_t len = strlen(name);
	int fd, err;

	/* The kernel would take an empty name or one with % as a wish to pick a number. */
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
 * tap_set_offload() - say what the reader of this TAP takes
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
 * Finishes the checksum of a frame that is to leave as it is: the field holds the sum of the pseudo-header.
 * Done here and once: the bytes are still in the cache, and every copy of a flood is complete. What could be
 * no checksum of this frame is left as it is. Zero becomes its other form, as it means "none" in UDP.
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
 * Offset of the next frame: its headroom begins on a cache line (as arenas are counted), so a headroom
 * of 8 puts VXLAN, both MACs and the start of the IP header into one line. May lie beyond INT32_MAX.
 */
static int64_t next_off(int64_t free_off, int32_t headroom)
{
	return ((free_off + CACHE_LINE - 1) & ~(int64_t)(CACHE_LINE - 1)) + headroom;
}

/**
 * tap_read_batch() - append what waits on one TAP to a batch
 * @start:	first descriptor to fill, 0 … BATCH_CAP
 * @vni_idx:	goes into the column of that name
 * @region:	where in the arena; the caller has checked that it lies there
 *
 * Frames are packed one after the other, each with its headroom; a slot is only as long as its frame.
 * A frame below 14 bytes or above slot_len is left out. Checksums are finished, but for superframes: those
 * of their segments are made when they are cut. seg_count is 1, for superframes as well.
 *
 * #syscalls readv
 * Return: frames appended; if there are none, 0 or the negative errno of the read that failed.
 */
int tap_read_batch(int fd, struct arena arena, struct batch *batch, int32_t start, int32_t vni_idx,
		   struct tap_region region)
{
	int64_t free_off = region.off;
	int32_t i = start;
	int reads;

	for (reads = 0; reads < BATCH_CAP && i < BATCH_CAP; reads++) {
		struct virtio_net_hdr header;
		uint8_t beyond; /* tells a frame that fills the slot from a longer one */
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
