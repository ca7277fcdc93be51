/* SPDX-License-Identifier: Apache-2.0 */
/*
 * utf8.c - eight bytes at a time where they are ASCII, sequence by sequence where not.
 */
#include "proto/base/utf8.h"

/* How many of the bytes from `at` on are one well-formed sequence that is not ASCII; 0: none. */
static size_t sequence_length(const uint8_t *at, size_t left)
{
    uint8_t first = at[0];
    size_t length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (first < 0xc2 || first > 0xf4 || left < length) {
        return 0;
    }
    /* The second byte's range is narrower where the sequence would be overlong, a surrogate, or
     * above U+10FFFF. */
    uint8_t least = 0x80;
    uint8_t most = 0xbf;
    switch (first) {
    case 0xe0:
        least = 0xa0;
        break;
    case 0xed:
        most = 0x9f;
        break;
    case 0xf0:
        least = 0x90;
        break;
    case 0xf4:
        most = 0x8f;
        break;
    default:
        break;
    }
    if (at[1] < least || at[1] > most) {
        return 0;
    }
    for (size_t i = 2; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return length;
}

bool utf8_is_valid(struct bytes text)
{
    const uint8_t *at = text.data;
    size_t left = text.length;

    while (left > 0) {
        uint64_t word;
        if (left >= sizeof(word)) {
            memcpy(&word, at, sizeof(word));
            if ((word & UINT64_C(0x8080808080808080)) == 0) {
                at += sizeof(word);
                left -= sizeof(word);
                continue;
            }
        }
        size_t length = at[0] < 0x80 ? 1 : sequence_length(at, left);
        if (length == 0) {
            return false;
        }
        at += length;
        left -= length;
    }
    return true;
}

size_t utf8_control_length(struct bytes text)
{
    const uint8_t *at = text.data;
    if (text.length > 0 && (at[0] < 0x20 || at[0] == 0x7f)) {
        return 1;
    }
    return text.length > 1 && at[0] == 0xc2 && at[1] >= 0x80 && at[1] <= 0x9f ? 2 : 0;
}

size_t utf8_replace_controls(struct bytes text, char *out)
{
    size_t length = 0;
    for (size_t i = 0; i < text.length;) {
        size_t control = utf8_control_length(bytes_make(text.data + i, text.length - i));
        out[length++] = control > 0 ? '?' : (char)text.data[i];
        i += control > 0 ? control : 1;
    }
    return length;
}
