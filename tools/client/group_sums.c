/* SPDX-License-Identifier: Apache-2.0 */
/* group_sums.c - an answer of group.show added up. */
#include "tools/client/group_sums.h"

#include "proto/cursor.h"
#include "tools/client/answer_map.h"
#include "tools/client/explain.h"

static uint64_t earliest(uint64_t a, uint64_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

bool group_sums_each(struct bytes map, const char *key,
                     void (*take)(void *context, struct bytes row), void *context)
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
        take(context, row);
    }
    return true;
}

/* -------------------------------------------------------------------- queues */

/* What of a queue nobody has, and is not known to wait. */
static uint64_t free_of(struct bytes queue)
{
    uint64_t lag = explained_number(queue, "lag");
    bool waits = explained_number(queue, "next_retry") > 0;
    uint64_t taken = explained_number(queue, "leased") + explained_number(queue, "dead") +
                     (waits ? explained_number(queue, "retrying") : 0);
    return lag > taken ? lag - taken : 0;
}

/* The sums of a queue's topic; NULL: it is one more than a group can have. */
static struct group_topic_sums *topic_of(struct group_sums *sums, struct bytes queue)
{
    struct bytes name = explained_bytes(queue, "topic");
    for (uint32_t i = 0; i < sums->topic_count; i++) {
        if (bytes_equal(sums->topics[i].name, name)) {
            return &sums->topics[i];
        }
    }
    if (sums->topic_count == GROUP_TOPICS_MAX) {
        return NULL;
    }
    struct group_topic_sums *topic = &sums->topics[sums->topic_count++];
    *topic = (struct group_topic_sums){.name = name};
    return topic;
}

/* Adds what of a queue may be given out, and what is. */
static void add_ready(struct group_sums *sums, struct bytes queue)
{
    struct group_topic_sums *topic = topic_of(sums, queue);
    uint64_t leased = explained_number(queue, "leased");
    bool is_ready = bytes_equal(explained_bytes(queue, "state"), BYTES_OF("ready"));
    uint64_t ready = is_ready ? free_of(queue) : 0;
    /* How many an order keeps back, or how many that failed are due, is not told. */
    bool is_least = is_ready && (sums->is_ordered || ready == 0);
    ready = is_least ? 1 : ready;
    sums->leased += leased;
    sums->ready += ready;
    sums->is_least = sums->is_least || is_least;
    if (topic != NULL) {
        topic->leased += leased;
        topic->ready += ready;
        topic->is_least = topic->is_least || is_least;
    }
}

static void add_queue(void *context, struct bytes queue)
{
    struct group_sums *sums = context;
    sums->queues++;
    sums->lag += explained_number(queue, "lag");
    sums->retrying += explained_number(queue, "retrying");
    sums->dying += explained_number(queue, "dead");
    sums->skipped += explained_number(queue, "skipped");
    sums->oldest_ms = earliest(sums->oldest_ms, explained_number(queue, "oldest"));
    sums->next_retry_ms = earliest(sums->next_retry_ms, explained_number(queue, "next_retry"));
    sums->lease_until_ms = earliest(sums->lease_until_ms, explained_number(queue, "lease_until"));
    add_ready(sums, queue);
}

/* ------------------------------------------------------------------- members */

static void add_member(void *context, struct bytes member)
{
    struct group_sums *sums = context;
    uint64_t seen_ms = explained_number(member, "seen_ms");
    sums->members++;
    sums->waiting += explained_number(member, "waiting");
    sums->holders += explained_number(member, "leased") > 0;
    sums->held += explained_number(member, "leased");
    if (seen_ms >= sums->seen_ms) {
        sums->seen_ms = seen_ms;
        sums->seen = explained_bytes(member, "member");
    }
}

/* ------------------------------------------------------------------ settings */

/* What of its settings says how to read the numbers. */
static void note_settings(struct group_sums *sums, struct bytes answer)
{
    struct cursor cursor;
    struct bytes settings;
    uint32_t topics;
    if (!answer_find(answer, "settings", &cursor) || !cursor_take_span(&cursor, &settings)) {
        return;
    }
    struct bytes order = explained_bytes(settings, "order");
    sums->is_ordered = order.length > 0 && !bytes_equal(order, BYTES_OF("none"));
    if (!answer_find(settings, "topics", &cursor) || !cursor_take_map(&cursor, &topics)) {
        return;
    }
    for (uint32_t i = 0; i < topics && cursor_skip(&cursor); i++) {
        if (!cursor_try_nil(&cursor)) {
            sums->has_filter = true;
            return;
        }
    }
}

bool group_sums_add_up(struct bytes answer, struct group_sums *sums_out)
{
    *sums_out = (struct group_sums){.queues = 0};
    note_settings(sums_out, answer);
    return group_sums_each(answer, "members", add_member, sums_out) &&
           group_sums_each(answer, "queues", add_queue, sums_out);
}
