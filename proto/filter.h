/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filter.h - which messages somebody wants: a text, compiled once, that says yes or no to each.
 *
 * A filter is one text of two kinds. It is **tags** where it is words with `||` between them, or `*`;
 * everything else is **SQL**, of which every condition has a blank, a quote, a parenthesis or a
 * comparison, so that no text could be both:
 *
 *     *                 every message; so does an empty text
 *     paid              the tag is `paid`
 *     paid || sent      it is one of them
 *     TAGS = 'two words' OR weight > 2.5 AND NOT (city IN ('Rome', 'Oslo') OR fragile)
 *
 * A word is 1 to TAG_BYTES_MAX bytes without blanks and none of `' " = < > ( ) , |`; a tag with such a byte
 * is asked for in SQL. A lone name is a tag; a property that is `true` is asked for with `fragile = TRUE`.
 *
 *     condition   OR, AND, NOT, parentheses; from the weakest to the strongest
 *     =  <>  >  >=  <  <=                        [NOT] BETWEEN value AND value
 *     [NOT] IN (literal, ..)                     [NOT] LIKE 'text' [ESCAPE 'c'];  % any text, _ a character
 *     IS [NOT] NULL                              a name alone: whether it is true
 *     value       a name, or a literal
 *     name        letters, digits, _ $ . (no digit first), or anything in double quotes: a property.
 *                 TAGS without quotes is the tag
 *     literal     'text', '' in it a quote;  12  -0.5  1e3;  TRUE  FALSE
 *
 * Keywords are of any case, names are not. All literals of one condition have one type, and that is how
 * properties, which are texts, are read there; without a literal, as text:
 *
 *     number   [+-] digits [. digits] [e [+-] digits], of at most FILTER_NUMBER_BYTES_MAX bytes.
 *              Compared exactly, whatever the number of digits
 *     truth    true or false, of any case; = and <> only
 *     text     by its bytes
 *
 * A condition on a property that is not there, or is none of its type, is UNKNOWN, and so is its NOT;
 * IS NULL alone is never UNKNOWN. AND is the least of FALSE < UNKNOWN < TRUE, OR the greatest. What is
 * UNKNOWN in the end is not wanted.
 *
 * A literal number has at most 19 digits before the point and 18 behind it. A LIKE whose turn comes when
 * the message has taken FILTER_LIKE_STEPS_MAX comparisons of characters is UNKNOWN.
 *
 * Memory:  one block of the size of what the text says, below 32 KiB. Matching allocates nothing.
 * Threads: any; a filter does not change once it is compiled.
 * Format:  proto/README.md, "Filters".
 */
#ifndef PROTO_FILTER_H
#define PROTO_FILTER_H

#include "proto/base/bytes.h"
#include "proto/base/contract.h"
#include "proto/error.h"
#include "proto/message.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    FILTER_STEPS_MAX = 256,        /* conditions, AND, OR and NOT: some 2 us a message */
    FILTER_DEPTH_MAX = 64,         /* of parentheses, NOT, and what waits for its right side */
    FILTER_NAMES_MAX = 64,         /* different properties: a bit of a word each */
    FILTER_LITERALS_MAX = 512,     /* of all conditions together */
    FILTER_LIST_MAX = 128,         /* literals of one IN, or tags */
    FILTER_NUMBER_BYTES_MAX = 64,  /* what a float64 prints as is below 26 */
    FILTER_LIKE_STEPS_MAX = 65536, /* of a message: some 100 us, a fifth of a turn's share */
};

struct filter;

/*
 * Compiles a text. The filter is the caller's, who gives it back with filter_destroy().
 *
 *   ERROR_BAD_FILTER  {key, column}  it cannot be read, or is beyond a bound: `column` is the byte, from
 *                                    1, and the message says what was expected there
 */
NODISCARD enum error filter_create(struct bytes text, struct filter **filter_out,
                                   struct refusal *refusal);

/* NULL is allowed. */
void filter_destroy(struct filter *filter);

/* Whether it wants every message, so that there is nothing to look at. */
bool filter_wants_all(const struct filter *filter);

/* Whether a message with this hash of its tag (message_tag_hash()) can be wanted: false is certain. */
bool filter_may_want(const struct filter *filter, uint32_t tag_hash);

/* Whether it may be sure by the hash that a message is not wanted: if not, filter_may_want() is always
 * true and need not be asked. */
bool filter_knows_hashes(const struct filter *filter);

/* Whether the message with these labels is wanted. */
bool filter_wants(const struct filter *filter, const struct message_labels *labels);

#endif
