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
 * The names that the system makes. Topic and group take the plain ones as well:
 *
 *     %DLQ%GROUP    the topic of the dead letters of a group, and the group that redrives them
 *     GROUP@MEMBER  a member of a broadcast group; MEMBER is any UTF-8 of 1 to MEMBER_NAME_BYTES_MAX
 */
bool name_is_any_topic(struct bytes name);
bool name_is_any_group(struct bytes name);
bool name_is_dead_letters(struct bytes name); /* %DLQ%GROUP */
bool name_is_member(struct bytes name);       /* GROUP@MEMBER */

/* What a member may be called. */
bool name_is_member_part(struct bytes member);

/* The group that GROUP, %DLQ%GROUP or GROUP@MEMBER belongs to; a span of `name`. */
struct bytes name_group_of(struct bytes name);

/* Writes %DLQ%GROUP of a group of any of these forms; `name_out` has room for TOPIC_NAME_BYTES_MAX. */
struct bytes name_of_dead_letters(struct bytes group, char *name_out);

/* Writes GROUP@, with which the names of all members of GROUP begin; `name_out` has room for
 * GROUP_NAME_BYTES_MAX + 1. */
struct bytes name_of_members(struct bytes group, char *name_out);

/* Writes GROUP@MEMBER; `name_out` has room for GROUP_ANY_NAME_BYTES_MAX. */
struct bytes name_of_member(struct bytes group, struct bytes member, char *name_out);

/*
 * True of HOST:PORT and of unix:PATH: a host of printable ASCII without blanks (an IPv6 address in
 * brackets), a port of 1 to 65535, at most ADDRESS_BYTES_MAX bytes. The host is not looked up.
 */
bool name_is_address(struct bytes address);

#endif
