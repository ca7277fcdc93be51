/* SPDX-License-Identifier: Apache-2.0 */
/*
 * message.h - one message as producers send it: element 12 of the record.
 *
 * Either a body alone, or an array of exactly four: tag, keys, properties, body, each nil where
 * absent. Stored it has str for text and bin for bodies. A producer whose encoder knows no
 * difference gets those headers rewritten, and nothing else; everybody else's bytes go to the log
 * as they came.
 *
 * Threads: any; spans point into the frame.
 * Format:  proto/README.md, "The message".
 */
#ifndef PROTO_MESSAGE_H
#define PROTO_MESSAGE_H

#include "proto/base/bytes.h"
#include "proto/base/contract.h"
#include "proto/cursor.h"
#include "proto/error.h"

#include <stdbool.h>
#include <stdint.h>

struct message_view {
    struct bytes element;    /* the whole, as sent */
    struct bytes tag;        /* content; empty when absent */
    struct bytes first_key;  /* content; empty when absent */
    struct bytes keys;       /* the elements of the array, after its header */
    struct bytes properties; /* the pairs of the map, after its header */
    struct bytes body;       /* content */
    uint32_t key_count;
    uint32_t property_count;
    uint32_t canonical_bytes; /* the size of the element as it is stored */
    bool needs_rewrite;       /* a str where bin belongs, or the other way */
    bool has_tag;             /* also of an empty tag */
};

/*
 * Takes one element of `messages` and checks all of it. On failure `refusal` is set and the cursor
 * has failed or stands anywhere.
 *
 *   ERROR_BAD_ARGUMENT  of another shape, text that is not UTF-8, too many keys or properties, a
 *                       property twice
 *   ERROR_TOO_LARGE     {limit, value}  a tag, key, the properties or the message itself
 */
NODISCARD enum error message_read(struct cursor *cursor, struct message_view *view_out,
                                  struct refusal *refusal);

/* Reads element 12 of a record of kind 1 to 3. False: it is none, or not in stored form. */
NODISCARD bool message_read_stored(struct bytes element, struct message_view *view_out);

/* What a filter looks at: the tag and the properties. */
struct message_labels {
    struct bytes tag;        /* content; empty when absent */
    struct bytes properties; /* the pairs of the map, after its header */
    uint32_t property_count;
    bool has_tag; /* also of an empty tag */
};

/* Reads the labels from the beginning of an element 12 in stored form, as far as they go: the body need
 * not be there, nor is anything checked but what is needed to find the way. False: it is none, or
 * `beginning` ends among the labels. */
NODISCARD bool message_read_labels(struct bytes beginning, struct message_labels *labels_out);

/*
 * Writes the element as it is stored, view->canonical_bytes of them, to `to`. Bytes change only
 * where needs_rewrite; otherwise this is a copy.
 */
void message_write_canonical(const struct message_view *view, uint8_t *to);

/* CRC-32C of the tag, 0 of none: the index's tag hash. */
uint32_t message_tag_hash(const struct message_view *view);

/* CRC-32C of the first key, 0 of none: the index's key hash, and what `route: key` goes by. */
uint32_t message_key_hash(const struct message_view *view);

/* The queue of a key hash in a topic of `queue_count` queues that routes by key. */
static inline uint32_t message_key_queue(uint32_t key_hash, uint32_t queue_count)
{
    return key_hash % queue_count;
}

#endif
