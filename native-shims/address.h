/* SPDX-License-Identifier: MIT
 *
 * Conversion between packed rows (struct peer_row) and socket addresses.
 */
#ifndef VTEPD_ADDRESS_H
#define VTEPD_ADDRESS_H

#include "shim.h"

#include <string.h>
#include <sys/socket.h>

#include <netinet/in.h>

union address {
	struct sockaddr any;
	struct sockaddr_in ipv4;
	struct sockaddr_in6 ipv6;
};

/* Unpacks a row. Returns the length of the address; 0 for an unknown family. */
static inline socklen_t unpack_address(union address *address, const struct peer_row *row)
{
	memset(address, 0, sizeof(*address));
	if (row->family == AF_INET) {
		address->ipv4.sin_family = AF_INET;
		address->ipv4.sin_port = htons(row->port);
		memcpy(&address->ipv4.sin_addr, row->addr, sizeof(address->ipv4.sin_addr));
		return sizeof(address->ipv4);
	}
	if (row->family == AF_INET6) {
		address->ipv6.sin6_family = AF_INET6;
		address->ipv6.sin6_port = htons(row->port);
		memcpy(&address->ipv6.sin6_addr, row->addr, sizeof(address->ipv6.sin6_addr));
		address->ipv6.sin6_scope_id = row->scope_id;
		return sizeof(address->ipv6);
	}
	return 0;
}

/* Packs an address into a row. Leaves vni_idx and flags, which belong to TypeScript, unchanged. */
static inline void pack_address(struct peer_row *row, const union address *address)
{
	row->family = address->any.sa_family;
	memset(row->addr, 0, sizeof(row->addr));
	row->scope_id = 0;
	if (row->family == AF_INET6) {
		row->port = ntohs(address->ipv6.sin6_port);
		memcpy(row->addr, &address->ipv6.sin6_addr, sizeof(address->ipv6.sin6_addr));
		row->scope_id = address->ipv6.sin6_scope_id;
	} else {
		row->port = ntohs(address->ipv4.sin_port);
		memcpy(row->addr, &address->ipv4.sin_addr, sizeof(address->ipv4.sin_addr));
	}
}

#endif
