/* SPDX-License-Identifier: MIT
 *
 * Minimal bpf(2) wrapper without a library: maps, tcx programs and their attachment.
 */
#ifndef VTEPD_BPF_H
#define VTEPD_BPF_H

#include <stddef.h>
#include <stdint.h>

#include <linux/bpf.h>

/* Defined by bpf.h since Linux 6.6 */
#define TCX_INGRESS 46
#define TCX_EGRESS 47

int bpf_load(enum bpf_prog_type type, const void *instructions, size_t size);
int bpf_attach(int program, int ifindex, uint32_t where);
int bpf_map(enum bpf_map_type type, uint32_t key_size, uint32_t value_size, uint32_t entries);

#endif
