/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crc32c.h - CRC-32C (Castagnoli), as in iSCSI, RFC 3720 B.4: of "123456789" it is 0xe3069283.
 *
 * The only user of isa-l. The initial value and the final inversion are done here, so that every
 * number that leaves this file is a complete CRC-32C, comparable with any other implementation's.
 *
 * Threads: any.
 */
#ifndef PROTO_BASE_CRC32C_H
#define PROTO_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The CRC-32C of `length` bytes; of none it is 0. */
uint32_t crc32c(const void *data, size_t length);

/* The CRC-32C of what `crc` is the CRC-32C of, followed by `length` bytes more. */
uint32_t crc32c_continue(uint32_t crc, const void *data, size_t length);

#endif
