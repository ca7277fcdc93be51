/* SPDX-License-Identifier: Apache-2.0 */
/* explain_group.c - why a group's messages do not move, from the answer of group.show. */
#include "proto/cursor.h"
#include "proto/limits.h"
#include "tools/client/answer_map.h"
#include "tools/client/explain.h"

#include <stdio.h>

enum {
    /* Of each kind, so that the others have room. */
    TOPICS_NAMED = 3,
    BLOCKS_NAMED = 4,
    BOUNDS_NAMED = 2
};

/* What all queues and members are together. */
struct sums {
    struct explained *explained;
    uint64_t now_ms;
    uint64_t queues;
    uint64_t lag;
    uint64_t leased;
    uint64_t retrying;
    uint64_t dying;
    uint64_t skipped;
    uint64_t ready; /* messages that may be given out */
    uint64_t oldest_ms;
    uint64_t next_retry_ms;
    uint64_t lease_until_ms;
    uint64_t blocked_queues;
    uint64_t members;
    uint64_t waiting; /* polls of them */
    uint64_t holders; /* of them, who hold something */
    uint64_t seen_ms; /* the last that was heard of any */
    struct bytes seen;
    uint32_t bounds_named;
    uint32_t blocks_named;
};

static uint64_t earliest(uint64_t a, uint64_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

/* Calls `take` for each map of an array; an absent array has none. False: it is none. */
static bool each(struct bytes map, const char *key, void (*take)(struct sums *, struct bytes),
                 struct sums *sums)
{
    struct cursor cursor;
    uint32_t count;
    if (!answer_find(map, key, &cursor)) {
        return true;
    }
    if (!cursor_take_array(&cursor, &count)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct bytes row;
        if (!cursor_take_span(&cursor, &row)) {
            return false;
        }
        take(sums, row);
    }
    return true;
}

/* -------------------------------------------------------------------- queues */

static struct explained_text explained_queue(struct bytes queue)
{
    struct explained_text text;
    struct explained_text topic = explained_name(explained_bytes(queue, "topic"));
    (void)snprintf(text.text, sizeof(text.text), "Queue %llu of topic %.*s",
                   (unsigned long long)explained_number(queue, "queue"), TOPIC_NAME_BYTES_MAX,
                   topic.text);
    return text;
}

static void say_bound(struct sums *sums, struct bytes queue)
{
    struct cursor cursor;
    struct bytes bound;
    if (sums->bounds_named == BOUNDS_NAMED || !answer_find(queue, "bound", &cursor) ||
        !cursor_take_span(&cursor, &bound)) {
        return;
    }
    sums->bounds_named++;
    explained_warn(sums->explained,
                   "%s has reached a bound, %s: %llu of %llu; nothing new is given out there until "
                   "some are settled.",
                   explained_queue(queue).text, explained_name(explained_bytes(bound, "what")).text,
                   (unsigned long long)explained_number(bound, "usage"),
                   (unsigned long long)explained_number(bound, "limit"));
}

/* What of a queue nobody has, and is not known to wait. */
static uint64_t free_of(struct bytes queue)
{
    uint64_t lag = explained_number(queue, "lag");
    bool waits = explained_number(queue, "next_retry") > 0;
    uint64_t taken = explained_number(queue, "leased") + explained_number(queue, "dead") +
                     (waits ? explained_number(queue, "retrying") : 0);
    return lag > taken ? lag - taken : 0;
}

static void add_queue(struct sums *sums, struct bytes queue)
{
    struct bytes state = explained_bytes(queue, "state");
    uint64_t lag = explained_number(queue, "lag");
    sums->queues++;
    sums->lag += lag;
    sums->leased += explained_number(queue, "leased");
    sums->retrying += explained_number(queue, "retrying");
    sums->dying += explained_number(queue, "dead");
    sums->skipped += explained_number(queue, "skipped");
    sums->ready += bytes_equal(state, BYTES_OF("ready")) ? free_of(queue) : 0;
    sums->blocked_queues += bytes_equal(state, BYTES_OF("blocked"));
    sums->oldest_ms = earliest(sums->oldest_ms, explained_number(queue, "oldest"));
    sums->next_retry_ms = earliest(sums->next_retry_ms, explained_number(queue, "next_retry"));
    sums->lease_until_ms = earliest(sums->lease_until_ms, explained_number(queue, "lease_until"));
    say_bound(sums, queue);
}

/* One that holds others back. */
static void say_block(struct sums *sums, struct bytes queue, struct bytes block)
{
    struct bytes key = explained_bytes(block, "key");
    struct bytes state = explained_bytes(block, "state");
    uint64_t until_ms = explained_number(block, "until");
    bool has_failed = bytes_equal(state, BYTES_OF("waiting"));
    if (!has_failed || sums->blocks_named == BLOCKS_NAMED) {
        return;
    }
    sums->blocks_named++;
    struct explained_text queue_text = explained_queue(queue);
    struct explained_text due = explained_distance(until_ms, sums->now_ms);
    unsigned long long offset = explained_number(block, "offset");
    unsigned long long attempt = explained_number(block, "attempt");
    if (key.length > 0) {
        explained_warn(sums->explained,
                       "%s: key %s is parked until attempt %llu of message %llu, due %s; other "
                       "keys go on.",
                       queue_text.text, explained_name(key).text, attempt, offset, due.text);
    } else {
        explained_warn(sums->explained,
                       "%s is held by message %llu, which failed, until its attempt %llu, due %s.",
                       queue_text.text, offset, attempt, due.text);
    }
}

static void say_blocks(struct sums *sums, struct bytes queue)
{
    struct cursor cursor;
    uint32_t count;
    if (!answer_find(queue, "blocked_by", &cursor) || !cursor_take_array(&cursor, &count)) {
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct bytes block;
        if (!cursor_take_span(&cursor, &block)) {
            return;
        }
        say_block(sums, queue, block);
    }
}

/* ------------------------------------------------------------------- members */

static void add_member(struct sums *sums, struct bytes member)
{
    uint64_t seen_ms = explained_number(member, "seen_ms");
    sums->members++;
    sums->waiting += explained_number(member, "waiting");
    sums->holders += explained_number(member, "leased") > 0;
    if (seen_ms >= sums->seen_ms) {
        sums->seen_ms = seen_ms;
        sums->seen = explained_bytes(member, "member");
    }
}

static void say_nobody(const struct sums *sums)
{
    explained_warn(sums->explained,
                   "%s may be given out, and no member asks: start one, or see why none does.",
                   explained_count(sums->ready, "message").text);
    if (sums->members > 0) {
        explained_say(sums->explained, "Member %s was the last that was heard of, %s.",
                      explained_name(sums->seen).text,
                      explained_distance(sums->seen_ms, sums->now_ms).text);
    }
}

/* --------------------------------------------------------------------- reasons */

static void say_what_is_ready(const struct sums *sums)
{
    if (sums->waiting == 0 && sums->holders == 0) {
        say_nobody(sums);
        return;
    }
    explained_say(sums->explained,
                  "It moves: %s, of which %llu are with %s, and the rest waits for who asks next.",
                  explained_count(sums->lag, "message").text, (unsigned long long)sums->leased,
                  explained_count(sums->holders, "member").text);
}

static void say_why(const struct sums *sums)
{
    struct explained *explained = sums->explained;
    if (sums->ready > 0) {
        say_what_is_ready(sums);
    } else if (sums->leased > 0) {
        explained_say(explained,
                      "All that may be given out is: %s with %s; the first lease ends %s.",
                      explained_count(sums->leased, "message").text,
                      explained_count(sums->holders, "member").text,
                      explained_distance(sums->lease_until_ms, sums->now_ms).text);
    }
    if (sums->retrying > 0 && sums->next_retry_ms > 0) {
        explained_warn(explained, "%s failed and will be tried again; the next attempt is due %s.",
                       explained_count(sums->retrying, "message").text,
                       explained_distance(sums->next_retry_ms, sums->now_ms).text);
    } else if (sums->retrying > 0) {
        explained_warn(explained, "%s failed and can be given out again now.",
                       explained_count(sums->retrying, "message").text);
    }
    if (sums->dying > 0) {
        explained_warn(explained,
                       "%s wait to become dead letters: their topic has no room, or is being made.",
                       explained_count(sums->dying, "message").text);
    }
    if (sums->oldest_ms > 0) {
        explained_say(explained, "The oldest that is not done was stored %s.",
                      explained_distance(sums->oldest_ms, sums->now_ms).text);
    }
}

static void say_missing(struct sums *sums, struct bytes answer)
{
    struct cursor cursor;
    uint32_t count;
    if (!answer_find(answer, "missing", &cursor) || !cursor_take_array(&cursor, &count)) {
        return;
    }
    for (uint32_t i = 0; i < count && i < TOPICS_NAMED; i++) {
        struct bytes name;
        if (!cursor_take_text(&cursor, &name)) {
            return;
        }
        explained_warn(sums->explained,
                       "Topic %s is not there: it was deleted, and the group reads nothing of it.",
                       explained_name(name).text);
    }
}

/* What is so whether something is undone or not. */
static void say_beside(const struct sums *sums, struct bytes answer)
{
    uint64_t filtered = explained_number(answer, "filtered");
    uint64_t dead = explained_number(answer, "dead");
    if (filtered > 0 && explained_number(answer, "delivered") == 0) {
        explained_warn(sums->explained,
                       "The filter passes nothing: since the broker's start %s looked at, and none "
                       "was wanted.",
                       explained_count(filtered, "message").text);
    }
    if (dead > 0) {
        explained_warn(sums->explained, "%s in its topic of dead letters, %%DLQ%%%s.",
                       explained_count(dead, "message").text,
                       explained_name(explained_bytes(answer, "name")).text);
    }
    if (sums->skipped > 0) {
        explained_warn(sums->explained,
                       "%s went with the retention, or could not be read, before anybody had them.",
                       explained_count(sums->skipped, "message").text);
    }
}

bool explain_group(struct bytes answer, struct explained *explained_out)
{
    struct sums sums = {.explained = explained_out, .now_ms = explained_number(answer, "now")};
    struct cursor cursor;
    explained_out->is_well = true;
    explained_out->count = 0;
    if (!answer_find(answer, "queues", &cursor)) {
        return false;
    }
    say_missing(&sums, answer);
    if (!each(answer, "members", add_member, &sums) || !each(answer, "queues", add_queue, &sums)) {
        return false;
    }
    if (sums.lag == 0) {
        explained_say(explained_out, "Nothing is undone in its %s%s.",
                      explained_count(sums.queues, "queue").text,
                      sums.members == 0 ? "; no member asks now" : "");
    } else {
        say_why(&sums);
        (void)each(answer, "queues", say_blocks, &sums);
    }
    say_beside(&sums, answer);
    return true;
}
