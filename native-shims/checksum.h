/* SPDX-License-Identifier: MIT
 *
 * Internet checksum (RFC 1071) over bytes at any address.
 *
 * A sum is a 64-bit integer in native byte order, neither folded nor complemented. Ones-complement
 * addition is independent of byte order (RFC 1071 §2.B), so a folded sum is stored unchanged by
 * memcpy.
 */
#ifndef VTEPD_CHECKSUM_H
#define VTEPD_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

uint64_t checksum_add(const uint8_t *bytes, size_t len, uint64_t sum);
uint64_t checksum_pseudo(const uint8_t *addresses, size_t addresses_len, uint8_t protocol, uint32_t len);
uint16_t checksum_fold(uint64_t sum);

#endif
