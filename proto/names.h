/* SPDX-License-Identifier: Apache-2.0 */
/*
 * names.h - what topics, groups and brokers may be called.
 *
 * Letters, digits, `.`, `_` and `-`, at least one of them. `%` and `@` are reserved for the names
 * that the system makes itself (dead letters, members of a broadcast).
 *
 * Threads: any.
 */
#ifndef PROTO_NAMES_H
#define PROTO_NAMES_H

#include "proto/base/bytes.h"

#include <stdbool.h>

/* True of 1 to `bytes_max` of the characters above. */
bool name_is_valid(struct bytes name, size_t bytes_max);

/* The same under TOPIC_NAME_BYTES_MAX, GROUP_NAME_BYTES_MAX, BROKER_NAME_BYTES_MAX. */
bool name_is_topic(struct bytes name);
bool name_is_group(struct bytes name);
bool name_is_broker(struct bytes name);

/*
 * True of HOST:PORT and of unix:PATH: a host of printable ASCII without blanks (an IPv6 address in
 * brackets), a port of 1 to 65535, at most ADDRESS_BYTES_MAX bytes. The host is not looked up.
 */
bool name_is_address(struct bytes address);

#endif
