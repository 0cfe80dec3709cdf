/* SPDX-License-Identifier: MIT
 *
 * Sending superframes whole: interface of tunnel.c.
 */
#ifndef VTEPD_TUNNEL_H
#define VTEPD_TUNNEL_H

#include "segment.h"

#include <linux/virtio_net.h>

/**
 * struct tunnel_vnet - header in front of a tunnelled superframe on the outer TAP
 *
 * virtio_net_hdr_v1_hash_tunnel of virtio_net.h since Linux 6.17; virtio 1.4 §5.1.6.
 */
struct tunnel_vnet {
	struct virtio_net_hdr plain;
	uint16_t num_buffers;
	uint32_t hash_value;
	uint16_t hash_report;
	uint16_t padding;
	uint16_t outer_th_offset;
	uint16_t inner_nh_offset;
} __attribute__((packed));

_Static_assert(sizeof(struct tunnel_vnet) == 24, "size required by TUN_F_UDP_TUNNEL_GSO");

int tunnel_takes(const struct tunnel *tunnel, const struct peer_row *peer, const struct superframe *super,
		 const struct batch *batch, int32_t i);
int tunnel_send(struct tunnel *tunnel, const struct peer_row *peer, const struct superframe *super,
		const struct batch *batch, int32_t i);

#endif
