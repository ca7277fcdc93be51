/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_framer.c - any bytes, in any pieces.
 *
 * The property: however a stream is cut into pieces, the framer finds the same frames and refuses
 * at the same place for the same reason; and a frame is what the cursor can skip.
 *
 * The first byte of an input seeds the pieces; the rest is the stream.
 */
#include "proto/base/contract.h"
#include "proto/base/random.h"
#include "proto/cursor.h"
#include "proto/framer.h"
#include "test/fuzz/fuzz.h"

#include <stdlib.h>

/* What became of one frame. */
struct outcome {
    enum framer_result result;
    enum framer_reason reason;
    size_t length;
};

static struct outcome feed_whole(const uint8_t *data, size_t available)
{
    struct framer framer;
    struct outcome outcome = {.length = 0};
    framer_init(&framer);
    outcome.result = framer_feed(&framer, data, available, &outcome.length);
    outcome.reason = (enum framer_reason)framer.reason;
    return outcome;
}

/* Feeds growing beginnings, each in memory of exactly its size. */
static struct outcome feed_pieces(const uint8_t *data, size_t available, struct random *random)
{
    struct framer framer;
    struct outcome outcome = {.result = FRAMER_MORE};
    size_t given = 0;
    framer_init(&framer);
    while (given < available && outcome.result == FRAMER_MORE) {
        ASSERT(framer_need(&framer) > given);
        given += 1 + (size_t)random_below(random, 1 + available / 8);
        given = given < available ? given : available;
        uint8_t *copy = fuzz_copy(data, given);
        outcome.result = framer_feed(&framer, copy, given, &outcome.length);
        free(copy);
    }
    outcome.reason = (enum framer_reason)framer.reason;
    return outcome;
}

/* True when the cursor, too, finds an array of 3 or 4 that ends after `length` bytes. */
static bool cursor_agrees(const uint8_t *data, size_t available, size_t length)
{
    struct cursor cursor = cursor_over(bytes_make(data, available));
    struct cursor head = cursor;
    uint32_t count;
    return cursor_take_array(&head, &count) && (count == 3 || count == 4) && cursor_skip(&cursor) &&
           (size_t)(cursor.at - data) == length;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    struct random random;
    if (length == 0) {
        return 0;
    }
    random_init(&random, data[0]);
    data++;
    length--;
    while (length > 0) {
        struct outcome whole = feed_whole(data, length);
        struct outcome pieces = feed_pieces(data, length, &random);
        ASSERT(whole.result == pieces.result);
        ASSERT(whole.reason == pieces.reason);
        ASSERT((whole.result == FRAMER_BAD) == (whole.reason != FRAMER_REASON_NONE));
        if (whole.result != FRAMER_WHOLE) {
            break;
        }
        ASSERT(whole.length == pieces.length);
        ASSERT(whole.length > 0 && whole.length <= length);
        ASSERT(cursor_agrees(data, length, whole.length));
        data += whole.length;
        length -= whole.length;
    }
    return 0;
}
