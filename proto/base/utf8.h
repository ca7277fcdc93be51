/* SPDX-License-Identifier: Apache-2.0 */
/*
 * utf8.h - is this text?
 *
 * Threads: any.
 */
#ifndef PROTO_BASE_UTF8_H
#define PROTO_BASE_UTF8_H

#include "proto/base/bytes.h"

#include <stdbool.h>

/*
 * True of well-formed UTF-8 (Unicode 15, table 3-7): no overlong forms, no surrogates, nothing
 * above U+10FFFF. NUL and other control characters are well-formed. Empty is text.
 */
bool utf8_is_valid(struct bytes text);

#endif
