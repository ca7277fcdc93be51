/* SPDX-License-Identifier: Apache-2.0 */
/* explain_group.c - why a group's messages do not move, from the answer of group.show. */
#include "proto/cursor.h"
#include "proto/limits.h"
#include "proto/names.h"
#include "tools/client/answer_map.h"
#include "tools/client/explain.h"
#include "tools/client/group_sums.h"

#include <stdio.h>

enum {
    /* Of each kind, so that the others have room. */
    TOPICS_NAMED = 3,
    BLOCKS_NAMED = 4,
    BOUNDS_NAMED = 2
};

/* What sentences are made of. */
struct told {
    struct explained *explained;
    struct group_sums sums;
    uint64_t now_ms;
    uint32_t bounds_named;
    uint32_t blocks_named;
};

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

static void say_bound(void *context, struct bytes queue)
{
    struct told *told = context;
    struct cursor cursor;
    struct bytes bound;
    if (told->bounds_named == BOUNDS_NAMED || !answer_find(queue, "bound", &cursor) ||
        !cursor_take_span(&cursor, &bound)) {
        return;
    }
    told->bounds_named++;
    explained_warn(told->explained,
                   "%s has reached a bound, %s: %llu of %llu; nothing new is given out there until "
                   "some are settled.",
                   explained_queue(queue).text, explained_name(explained_bytes(bound, "what")).text,
                   (unsigned long long)explained_number(bound, "usage"),
                   (unsigned long long)explained_number(bound, "limit"));
}

/* One that holds others back. */
static void say_block(struct told *told, struct bytes queue, struct bytes block)
{
    struct bytes key = explained_bytes(block, "key");
    struct bytes state = explained_bytes(block, "state");
    uint64_t until_ms = explained_number(block, "until");
    bool has_failed = bytes_equal(state, BYTES_OF("waiting"));
    if (!has_failed || told->blocks_named == BLOCKS_NAMED) {
        return;
    }
    told->blocks_named++;
    struct explained_text queue_text = explained_queue(queue);
    struct explained_text due = explained_due(until_ms, told->now_ms);
    unsigned long long offset = explained_number(block, "offset");
    unsigned long long attempt = explained_number(block, "attempt");
    if (key.length > 0) {
        explained_warn(told->explained,
                       "%s: key %s is parked until attempt %llu of message %llu, due %s; other "
                       "keys do not wait for it.",
                       queue_text.text, explained_name(key).text, attempt, offset, due.text);
    } else {
        explained_warn(told->explained,
                       "%s is held by message %llu, which failed, until its attempt %llu, due %s.",
                       queue_text.text, offset, attempt, due.text);
    }
}

static void say_blocks(void *context, struct bytes queue)
{
    struct told *told = context;
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
        say_block(told, queue, block);
    }
}

/* --------------------------------------------------------------------- reasons */

static struct explained_text ready_text(uint64_t ready, bool is_least)
{
    struct explained_text text;
    (void)snprintf(text.text, sizeof(text.text), "%s%.64s", is_least ? "At least " : "",
                   explained_count(ready, "message").text);
    return text;
}

/* With whom what is leased is: a member that the broker does not know is of before its start. */
static struct explained_text holders_text(const struct told *told)
{
    struct explained_text text = {.text = "members"};
    return told->sums.held == told->sums.leased && told->sums.holders > 0
               ? explained_count(told->sums.holders, "member")
               : text;
}

static void say_who_was_seen(const struct told *told)
{
    if (told->sums.members > 0) {
        explained_say(told->explained, "Member %s was the last that was heard of, %s.",
                      explained_name(told->sums.seen).text,
                      explained_distance(told->sums.seen_ms, told->now_ms).text);
    }
}

/* Topics that no member has anything of, though there is. The others' messages that may be given out. */
static uint64_t say_topics_at_rest(const struct told *told)
{
    uint64_t others = told->sums.ready;
    uint32_t named = 0;
    for (uint32_t i = 0; i < told->sums.topic_count; i++) {
        const struct group_topic_sums *topic = &told->sums.topics[i];
        if (topic->ready == 0 || topic->leased > 0) {
            continue;
        }
        others -= topic->ready;
        if (named++ < TOPICS_NAMED) {
            explained_warn(told->explained,
                           "Topic %s: %s may be given out, and no member has anything of it: see "
                           "whether one asks for this topic.",
                           explained_name(topic->name).text,
                           ready_text(topic->ready, topic->is_least).text);
        }
    }
    if (named > TOPICS_NAMED) {
        explained_warn(told->explained, "So it is with %s more.",
                       explained_count(named - TOPICS_NAMED, "topic").text);
    }
    return others;
}

static void say_what_is_ready(const struct told *told)
{
    if (told->sums.waiting == 0 && told->sums.leased == 0) {
        explained_warn(told->explained,
                       "%s may be given out, and no member asks: start one, or see why none does.",
                       ready_text(told->sums.ready, told->sums.is_least).text);
        say_who_was_seen(told);
        return;
    }
    uint64_t others = say_topics_at_rest(told);
    if (told->sums.leased > 0) {
        explained_say(told->explained, "%s leased to %s.",
                      explained_are(told->sums.leased, "message").text, holders_text(told).text);
    }
    if (others > 0) {
        explained_say(told->explained, "%s besides may be given out to who asks next.",
                      ready_text(others, told->sums.is_least).text);
    }
    say_who_was_seen(told);
}

static void say_failed(const struct told *told)
{
    if (told->sums.retrying > 0 && told->sums.next_retry_ms > 0) {
        explained_warn(told->explained, "%s failed and will be tried again; the next %s due %s.",
                       explained_count(told->sums.retrying, "message").text,
                       told->sums.ready > 0 ? "of those that wait for it is" : "attempt is",
                       explained_due(told->sums.next_retry_ms, told->now_ms).text);
    } else if (told->sums.retrying > 0) {
        explained_warn(told->explained, "%s failed and waited for the next attempt long enough.",
                       explained_count(told->sums.retrying, "message").text);
    }
    if (told->sums.dying > 0) {
        explained_warn(told->explained,
                       "%s to become dead letters soon, or as soon as these have room.",
                       explained_are(told->sums.dying, "message").text);
    }
}

static void say_why(const struct told *told)
{
    struct explained *explained = told->explained;
    if (told->sums.ready > 0) {
        say_what_is_ready(told);
        if (told->sums.has_filter) {
            explained_say(explained, "What of them its filter wants is seen when a member asks.");
        }
    } else if (told->sums.leased > 0 && told->sums.lease_until_ms > 0) {
        explained_say(explained,
                      "All that may be given out is: %s with %s; the first lease ends %s.",
                      explained_count(told->sums.leased, "message").text, holders_text(told).text,
                      explained_due(told->sums.lease_until_ms, told->now_ms).text);
    } else if (told->sums.leased > 0) {
        explained_say(explained, "All that may be given out is: %s with %s.",
                      explained_count(told->sums.leased, "message").text, holders_text(told).text);
    }
    say_failed(told);
    if (told->sums.oldest_ms > 0) {
        explained_say(explained, "The oldest that is not done was stored %s.",
                      explained_distance(told->sums.oldest_ms, told->now_ms).text);
    }
}

/* Gives how many topics are missing. */
static uint32_t say_missing(struct told *told, struct bytes answer)
{
    struct cursor cursor;
    uint32_t count;
    if (!answer_find(answer, "missing", &cursor) || !cursor_take_array(&cursor, &count)) {
        return 0;
    }
    for (uint32_t i = 0; i < count && i < TOPICS_NAMED; i++) {
        struct bytes name;
        if (!cursor_take_text(&cursor, &name)) {
            return i;
        }
        explained_warn(told->explained,
                       "Topic %s is not there: it was deleted, and the group reads nothing of it.",
                       explained_name(name).text);
    }
    if (count > TOPICS_NAMED) {
        explained_warn(told->explained, "%s more %s gone.",
                       explained_count(count - TOPICS_NAMED, "topic").text,
                       count - TOPICS_NAMED == 1 ? "is" : "are");
    }
    return count;
}

static void say_nothing_is_undone(const struct told *told, uint32_t missing)
{
    if (told->sums.queues == 0) {
        explained_say(told->explained, "%s: there is nothing that it could read.",
                      missing > 0 ? "All its topics are gone" : "It has no queue here");
        return;
    }
    explained_say(told->explained, "Nothing is undone in its %s%s.",
                  explained_count(told->sums.queues, "queue").text,
                  told->sums.members == 0 ? "; no member asks now" : "");
}

/* What is so whether something is undone or not. */
static void say_beside(const struct told *told, struct bytes answer)
{
    uint64_t filtered = explained_number(answer, "filtered");
    uint64_t dead = explained_number(answer, "dead");
    if (filtered > 0 && explained_number(answer, "delivered") == 0) {
        explained_warn(told->explained,
                       "The filter has passed nothing since the broker's start: %s looked at, and "
                       "none was wanted.",
                       explained_count(filtered, "message").text);
    }
    struct bytes name = explained_bytes(answer, "name");
    if (dead > 0 && name_is_any_group(name)) {
        char topic[TOPIC_NAME_BYTES_MAX];
        explained_warn(told->explained, "%s in its topic of dead letters, %s.",
                       explained_count(dead, "message").text,
                       explained_name(name_of_dead_letters(name, topic)).text);
    }
    if (told->sums.skipped > 0) {
        explained_warn(told->explained,
                       "%s went with the retention, or could not be read, before anybody had them.",
                       explained_count(told->sums.skipped, "message").text);
    }
}

bool explain_group(struct bytes answer, struct explained *explained_out)
{
    struct told told = {.explained = explained_out, .now_ms = explained_number(answer, "now")};
    struct cursor cursor;
    explained_out->is_well = true;
    explained_out->count = 0;
    if (!answer_find(answer, "queues", &cursor) || !group_sums_add_up(answer, &told.sums)) {
        return false;
    }
    uint32_t missing = say_missing(&told, answer);
    (void)group_sums_each(answer, "queues", say_bound, &told);
    if (told.sums.lag == 0) {
        say_nothing_is_undone(&told, missing);
    } else {
        say_why(&told);
        (void)group_sums_each(answer, "queues", say_blocks, &told);
    }
    say_beside(&told, answer);
    return true;
}
