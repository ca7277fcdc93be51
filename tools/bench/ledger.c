/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ledger.c - what was sent, what was acknowledged, what came back.
 */
#include "tools/bench/ledger.h"

#include "proto/base/contract.h"

#include <stdlib.h>
#include <string.h>

enum { WORDS_LEAST = 1 << 14 }; /* a million messages: grown by doubling, before they are sent */

struct stream {
    uint64_t next;
    uint64_t words; /* of each bitmap */
    uint64_t *acknowledged;
    uint64_t *unknown;
    uint64_t *seen;
    uint64_t *last; /* by queue: the number seen last, plus one */
};

struct ledger {
    struct stream *streams;
    uint32_t stream_count;
    uint32_t queue_count;
    uint64_t acknowledged;
    uint64_t seen;
    uint64_t repeated;
    uint64_t invented;
    uint64_t disordered;
};

struct ledger *ledger_create(uint32_t stream_count, uint32_t queue_count)
{
    struct ledger *ledger = calloc(1, sizeof(*ledger));
    ASSERT(ledger != NULL);
    ledger->streams = calloc(stream_count, sizeof(*ledger->streams));
    ASSERT(ledger->streams != NULL);
    ledger->stream_count = stream_count;
    ledger->queue_count = queue_count;
    for (uint32_t i = 0; i < stream_count; i++) {
        ledger->streams[i].last = calloc(queue_count, sizeof(uint64_t));
        ASSERT(ledger->streams[i].last != NULL);
    }
    return ledger;
}

void ledger_destroy(struct ledger *ledger)
{
    if (ledger == NULL) {
        return;
    }
    for (uint32_t i = 0; i < ledger->stream_count; i++) {
        free(ledger->streams[i].acknowledged);
        free(ledger->streams[i].unknown);
        free(ledger->streams[i].seen);
        free(ledger->streams[i].last);
    }
    free(ledger->streams);
    free(ledger);
}

/* A load generator without memory for its books has nothing to say. */
static void grow_map(uint64_t **map, uint64_t from, uint64_t to)
{
    *map = realloc(*map, to * sizeof(uint64_t));
    ASSERT(*map != NULL);
    memset(*map + from, 0, (to - from) * sizeof(uint64_t));
}

uint64_t ledger_take(struct ledger *ledger, uint32_t stream_number, uint32_t count)
{
    struct stream *stream = &ledger->streams[stream_number];
    uint64_t first = stream->next;
    stream->next += count;
    if (stream->next > stream->words * 64) {
        uint64_t words = stream->words == 0 ? WORDS_LEAST : stream->words * 2;
        while (stream->next > words * 64) {
            words *= 2;
        }
        grow_map(&stream->acknowledged, stream->words, words);
        grow_map(&stream->unknown, stream->words, words);
        grow_map(&stream->seen, stream->words, words);
        stream->words = words;
    }
    return first;
}

static void mark(uint64_t *map, uint64_t first, uint32_t count)
{
    for (uint64_t number = first; number < first + count; number++) {
        map[number / 64] |= UINT64_C(1) << (number % 64);
    }
}

void ledger_acknowledge(struct ledger *ledger, uint32_t stream, uint64_t first, uint32_t count)
{
    mark(ledger->streams[stream].acknowledged, first, count);
    ledger->acknowledged += count;
}

void ledger_lose(struct ledger *ledger, uint32_t stream, uint64_t first, uint32_t count)
{
    mark(ledger->streams[stream].unknown, first, count);
}

void ledger_see(struct ledger *ledger, uint32_t stream_number, uint64_t number, uint32_t queue)
{
    if (stream_number >= ledger->stream_count || queue >= ledger->queue_count ||
        number >= ledger->streams[stream_number].next) {
        ledger->invented++;
        return;
    }
    struct stream *stream = &ledger->streams[stream_number];
    uint64_t bit = UINT64_C(1) << (number % 64);
    if ((stream->seen[number / 64] & bit) != 0) {
        ledger->repeated++;
        return;
    }
    stream->seen[number / 64] |= bit;
    ledger->seen++;
    if (number < stream->last[queue]) {
        ledger->disordered++;
    }
    stream->last[queue] = number + 1;
}

uint64_t ledger_acknowledged(const struct ledger *ledger)
{
    return ledger->acknowledged;
}

uint64_t ledger_seen(const struct ledger *ledger)
{
    return ledger->seen;
}

void ledger_read_again(struct ledger *ledger)
{
    for (uint32_t i = 0; i < ledger->stream_count; i++) {
        struct stream *stream = &ledger->streams[i];
        if (stream->words > 0) {
            memset(stream->seen, 0, stream->words * sizeof(uint64_t));
        }
        memset(stream->last, 0, ledger->queue_count * sizeof(uint64_t));
    }
    ledger->seen = 0;
}

struct ledger_verdict ledger_judge(const struct ledger *ledger)
{
    struct ledger_verdict verdict = {
        .acknowledged = ledger->acknowledged,
        .seen = ledger->seen,
        .repeated = ledger->repeated,
        .invented = ledger->invented,
        .disordered = ledger->disordered,
    };
    for (uint32_t i = 0; i < ledger->stream_count; i++) {
        const struct stream *stream = &ledger->streams[i];
        for (uint64_t word = 0; word < stream->words; word++) {
            uint64_t acknowledged = stream->acknowledged[word];
            uint64_t unknown = stream->unknown[word];
            uint64_t seen = stream->seen[word];
            verdict.missing += (uint64_t)__builtin_popcountll(acknowledged & ~seen);
            verdict.invented += (uint64_t)__builtin_popcountll(seen & ~acknowledged & ~unknown);
            verdict.unknown += (uint64_t)__builtin_popcountll(unknown & ~acknowledged);
        }
    }
    return verdict;
}
