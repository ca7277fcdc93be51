/* SPDX-License-Identifier: Apache-2.0 */
/*
 * text.h - numbers and times as people write and read them, and text of others.
 *
 * Threads: one; texts that are given back lie in a few static places and are good for some calls.
 */
#ifndef TOOLS_CLI_TEXT_H
#define TOOLS_CLI_TEXT_H

#include "proto/base/bytes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "1,234,567". */
const char *text_of_number(uint64_t number);

/* "12.3 MB", powers of 1000. */
const char *text_of_bytes(uint64_t bytes);

/* "2026-01-31T12:00:00.000Z" of ms since 1970. */
const char *text_of_time(uint64_t ms);

/* "1 message", "2 messages": the number and its noun, with an s where it is not one. */
const char *text_of_count(uint64_t count, const char *noun);

/*
 * Reads a moment: ISO 8601 ("2026-01-31", "2026-01-31T12:00", "...:30.250", then "Z", "+01:00" or nothing
 * for local time), or a duration before now ("-1h", "-90s"). `now_ms` is the wall clock. False: it is
 * none of these.
 */
bool text_read_time(const char *text, uint64_t now_ms, uint64_t *ms_out);

/* Whether a text is digits and nothing else. */
bool text_is_digits(const char *text);

/* Takes digits off the front of `*text`. False: there are none, or the number is above `most`. */
bool text_take_number(const char **text, uint64_t most, uint64_t *number_out);

/* Text of a peer, with what could steer a terminal replaced, as much as `room` bytes hold with the NUL behind it.
 * Gives `out`. */
const char *text_clean(struct bytes text, char *out, size_t room);

/* The wall clock and the monotonic one, ms. */
uint64_t clock_wall_ms(void);
uint64_t clock_run_ms(void);

#endif
