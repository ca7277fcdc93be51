/* SPDX-License-Identifier: Apache-2.0 */
/*
 * utf8.h - is this text, and may it be shown?
 *
 * Threads: any.
 */
#ifndef PROTO_BASE_UTF8_H
#define PROTO_BASE_UTF8_H

#include "proto/base/bytes.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * True of well-formed UTF-8 (Unicode 15, table 3-7): no overlong forms, no surrogates, nothing
 * above U+10FFFF. NUL and other control characters are well-formed. Empty is text.
 */
bool utf8_is_valid(struct bytes text);

/* How long the control character is that `text` begins with: 1 for C0 and DEL, 2 for C1 (U+0080 to U+009F), which
 * steers terminals as well; 0: it begins with none. */
size_t utf8_control_length(struct bytes text);

/* Copies text with '?' for each control character, so that it can steer no terminal and break no line. `out` has
 * room for all of it, and may be the text's own place. How long that is, without a NUL. */
size_t utf8_replace_controls(struct bytes text, char *out);

#endif
