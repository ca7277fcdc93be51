/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filter_like.c - a text against a pattern of LIKE.
 *
 * The usual walk: a `%` takes nothing at first; where what follows it does not fit, it takes one
 * character more. Only the last `%` is ever gone back to, so it is at most the product of both lengths,
 * which the budget bounds.
 */
#include "proto/filter_program.h"

/* One element of a pattern, at most two bytes of it. */
struct element {
    enum { ELEMENT_END, ELEMENT_BYTE, ELEMENT_CHARACTER, ELEMENT_ANY } kind;
    uint8_t byte;
    uint8_t bytes;
};

static struct element element_at(struct bytes pattern, size_t at, uint8_t escape)
{
    if (at >= pattern.length) {
        return (struct element){.kind = ELEMENT_END};
    }
    uint8_t byte = pattern.data[at];
    if (escape != 0 && byte == escape && at + 1 < pattern.length) {
        return (struct element){ELEMENT_BYTE, pattern.data[at + 1], 2};
    }
    return (struct element){byte == '%'   ? ELEMENT_ANY
                            : byte == '_' ? ELEMENT_CHARACTER
                                          : ELEMENT_BYTE,
                            byte, 1};
}

/* Behind the character that begins at `at`: all bytes of its UTF-8. */
static size_t behind_character(struct bytes text, size_t at)
{
    at++;
    while (at < text.length && (text.data[at] & 0xc0) == 0x80) {
        at++;
    }
    return at;
}

enum filter_truth filter_like(struct bytes text, struct bytes pattern, uint8_t escape,
                              uint32_t *steps_left)
{
    size_t at = 0;
    size_t wanted = 0;
    size_t any = SIZE_MAX; /* behind the last `%`, */
    size_t any_at = 0;     /* and where what follows it was tried last */
    for (;;) {
        struct element element = element_at(pattern, wanted, escape);
        if (*steps_left == 0) {
            return FILTER_UNKNOWN;
        }
        (*steps_left)--;
        if (element.kind == ELEMENT_ANY) {
            wanted += element.bytes;
            any = wanted;
            any_at = at;
        } else if (element.kind == ELEMENT_END && at == text.length) {
            return FILTER_TRUE;
        } else if (element.kind == ELEMENT_CHARACTER && at < text.length) {
            at = behind_character(text, at);
            wanted += element.bytes;
        } else if (element.kind == ELEMENT_BYTE && at < text.length &&
                   text.data[at] == element.byte) {
            at++;
            wanted += element.bytes;
        } else if (any != SIZE_MAX && any_at < text.length) {
            at = ++any_at;
            wanted = any;
        } else {
            return FILTER_FALSE;
        }
    }
}
