/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group_world.h - a world (broker_world.h) whose clients receive for groups: short ways to make a group,
 * to receive, and to settle what was given.
 */
#ifndef TEST_UNIT_BROKER_GROUP_WORLD_H
#define TEST_UNIT_BROKER_GROUP_WORLD_H

#include "proto/error.h"
#include "test/unit/broker/broker_world.h"

enum { LEASE_BYTES_OF_RECEIPT = 20, TEXT_MAX = 128, LARGE = 60, LARGE_BYTES = 50000 };

/* One range of an answer, copied: answers go with the next one. */
struct given {
    char topic[TEXT_MAX];
    char reason[TEXT_MAX]; /* "" of nil */
    uint8_t lease[LEASE_BYTES_OF_RECEIPT];
    uint64_t queue;
    uint64_t first;
    uint64_t span;
    uint64_t messages;
    uint64_t attempt;
    uint64_t until;
};

/* ------------------------------------------------------------------ groups */

/* A group.put of one topic with a filter (NULL: none); `more` settings are still to be put. */
static inline struct writer ask_group_of(const char *group, const char *topic, const char *filter,
                                         uint32_t more)
{
    struct writer request = ask("group.put", 2);
    writer_put_key_string(&request, "name", group);
    writer_put_string(&request, "settings");
    writer_put_map(&request, 1 + more);
    writer_put_string(&request, "topics");
    writer_put_map(&request, 1);
    writer_put_string(&request, topic);
    if (filter == NULL) {
        writer_put_nil(&request);
    } else {
        writer_put_string(&request, filter);
    }
    return request;
}

/* A group.put of the topics `t` and, if not NULL, `other`, from the first message on; `more` settings are
 * still to be put. */
static inline struct writer ask_group(const char *group, const char *other, uint32_t more)
{
    struct writer request = ask("group.put", 2);
    writer_put_key_string(&request, "name", group);
    writer_put_string(&request, "settings");
    writer_put_map(&request, 2 + more);
    writer_put_key_string(&request, "from", "first");
    writer_put_string(&request, "topics");
    writer_put_map(&request, other == NULL ? 1 : 2);
    writer_put_string(&request, "t");
    writer_put_nil(&request);
    if (other != NULL) {
        writer_put_string(&request, other);
        writer_put_nil(&request);
    }
    return request;
}

/* The backoff [ms]. */
static inline void put_backoff(struct writer *request, uint64_t backoff_ms)
{
    writer_put_string(request, "backoff");
    writer_put_array(request, 1);
    writer_put_uint(request, backoff_ms);
}

static inline void make_group(struct client_simulated *client, const char *group)
{
    struct writer request = ask_group(group, NULL, 0);
    struct answer answer = call(client, &request);
    ck_answered(answer);
}

/* As world_begin(), with a group `g` of the topic `t`. */
static inline struct client_simulated *world_begin_group(struct world *world, int index,
                                                         uint32_t queues)
{
    struct client_simulated *client = world_begin(world, index, queues);
    make_group(client, "g");
    return client;
}

/* ------------------------------------------------------------------ messages */

/* Produces `count` small messages to a queue of a topic, in one call. */
static inline void fill_queue(struct client_simulated *client, const char *topic, uint64_t queue,
                              uint32_t count)
{
    struct writer request = ask("produce", 3);
    writer_put_key_string(&request, "topic", topic);
    writer_put_key_uint(&request, "queue", queue);
    writer_put_string(&request, "messages");
    writer_put_array(&request, count);
    for (uint32_t i = 0; i < count; i++) {
        writer_put_bin(&request, bytes_from_string("m"));
    }
    struct answer answer = call(client, &request);
    ck_answered(answer);
}

static inline void fill(struct client_simulated *client, uint32_t count)
{
    fill_queue(client, "t", 0, count);
}

/* LARGE messages, 3 MB: more than what the connection and the session take together. */
static inline void fill_large(struct client_simulated *client)
{
    static char body[LARGE_BYTES + 1];
    memset(body, 'x', LARGE_BYTES);
    for (int i = 0; i < LARGE; i++) {
        struct answer answer = produce(client, "t", body);
        ck_answered(answer);
    }
}

/* One message with a tag and a key, either of which may be NULL, to queue 0 of `t`. */
static inline void produce_labelled(struct client_simulated *client, const char *tag,
                                    const char *key)
{
    struct writer request = ask_produce("t", 0, 1);
    writer_put_array(&request, 4);
    if (tag == NULL) {
        writer_put_nil(&request);
    } else {
        writer_put_string(&request, tag);
    }
    if (key == NULL) {
        writer_put_nil(&request);
    } else {
        writer_put_array(&request, 1);
        writer_put_string(&request, key);
    }
    writer_put_nil(&request);
    writer_put_bin(&request, bytes_from_string("body"));
    struct answer answer = call(client, &request);
    ck_answered(answer);
}

/* ------------------------------------------------------------------ receive */

static inline struct writer ask_receive(const char *group, uint32_t more)
{
    struct writer request = ask("receive", 1 + more);
    writer_put_key_string(&request, "group", group);
    return request;
}

static inline struct answer receive(struct client_simulated *client, const char *group)
{
    struct writer request = ask_receive(group, 0);
    struct answer answer = call(client, &request);
    ck_answered(answer);
    return answer;
}

static inline struct answer receive_most(struct client_simulated *client, const char *group,
                                         uint64_t max)
{
    struct writer request = ask_receive(group, 1);
    writer_put_key_uint(&request, "max", max);
    struct answer answer = call(client, &request);
    ck_answered(answer);
    return answer;
}

/* A receive that waits; its msgid. */
static inline uint32_t poll_group(struct client_simulated *client, const char *group,
                                  const char *topic, uint64_t wait_ms)
{
    struct writer request = ask_receive(group, topic == NULL ? 1 : 2);
    if (topic != NULL) {
        writer_put_key_string(&request, "topic", topic);
    }
    writer_put_key_uint(&request, "wait_ms", wait_ms);
    return tell(client, &request);
}

static inline void copy_text(struct cursor *cursor, char text[TEXT_MAX])
{
    struct bytes bytes = {NULL, 0};
    text[0] = '\0';
    if (cursor_try_nil(cursor)) {
        return;
    }
    ck_assert(cursor_take_text(cursor, &bytes) && bytes.length < TEXT_MAX);
    memcpy(text, bytes.data, bytes.length);
    text[bytes.length] = '\0';
}

/* Copies the ranges of an answer; how many there are. */
static inline uint32_t ranges_of(const struct answer *answer, struct given *given, uint32_t most)
{
    struct cursor cursor = value_of(answer->result, "ranges");
    uint32_t count = 0;
    ck_assert(cursor_take_array(&cursor, &count));
    ck_assert_uint_le(count, most);
    for (uint32_t i = 0; i < count; i++) {
        struct given *one = &given[i];
        struct bytes lease = {NULL, 0};
        ck_assert(cursor_take_array_of(&cursor, 9));
        copy_text(&cursor, one->topic);
        ck_assert(cursor_take_uint(&cursor, &one->queue) &&
                  cursor_take_uint(&cursor, &one->first) && cursor_take_uint(&cursor, &one->span) &&
                  cursor_take_uint(&cursor, &one->messages) &&
                  cursor_take_uint(&cursor, &one->attempt) && cursor_take_text(&cursor, &lease) &&
                  cursor_take_uint(&cursor, &one->until));
        ck_assert_uint_eq(lease.length, LEASE_BYTES_OF_RECEIPT);
        memcpy(one->lease, lease.data, LEASE_BYTES_OF_RECEIPT);
        copy_text(&cursor, one->reason);
    }
    return count;
}

/* The only range of an answer; fails the test where there is another number of them. */
static inline struct given only_range(const struct answer *answer)
{
    struct given given[4];
    ck_assert_uint_eq(ranges_of(answer, given, 4), 1);
    ck_assert_uint_eq(given[0].messages, count_of(answer));
    return given[0];
}

static inline struct given receive_one(struct client_simulated *client, const char *group)
{
    struct answer answer = receive_most(client, group, 1);
    return only_range(&answer);
}

/* All that there is for the group `g` now, which is one range. */
static inline struct given give(struct client_simulated *client)
{
    struct answer answer = receive(client, "g");
    return only_range(&answer);
}

static inline bool is_nothing(const struct answer *answer)
{
    struct given given[1];
    return ranges_of(answer, given, 1) == 0 && count_of(answer) == 0;
}

/* Nothing is there for the group now. */
#define ck_nothing(client, group)                        \
    do {                                                 \
        struct answer nothing_ = receive(client, group); \
        ck_assert(is_nothing(&nothing_));                \
    } while (0)

/* ------------------------------------------------------------------ settle */

static inline void put_receipt(struct writer *request, const struct given *given)
{
    writer_put_array(request, 5);
    writer_put_string(request, given->topic);
    writer_put_uint(request, given->queue);
    writer_put_uint(request, given->first);
    writer_put_uint(request, given->span);
    writer_put_bin(request, bytes_make(given->lease, LEASE_BYTES_OF_RECEIPT));
}

/* A part of what was given. */
static inline struct given part_of(const struct given *given, uint64_t first, uint64_t span)
{
    struct given part = *given;
    part.first = first;
    part.span = span;
    return part;
}

/* An ack, nack or extend of one receipt; `more` arguments are still to be put. */
static inline struct writer ask_settle(const char *method, const char *group,
                                       const struct given *given, uint32_t more)
{
    struct writer request = ask(method, 2 + more);
    writer_put_key_string(&request, "group", group);
    writer_put_string(&request, "receipts");
    writer_put_array(&request, 1);
    put_receipt(&request, given);
    return request;
}

/* The code with which the first receipt of an answer failed; OK: all counted. */
static inline enum error failed_of(const struct answer *answer, const char *key)
{
    struct cursor cursor = value_of(answer->result, key);
    uint32_t count = 0;
    uint64_t index = 0;
    uint64_t code = OK;
    ck_assert(cursor_take_array(&cursor, &count));
    if (count > 0) {
        ck_assert(cursor_take_array_of(&cursor, 2) && cursor_take_uint(&cursor, &index) &&
                  cursor_take_uint(&cursor, &code));
    }
    return (enum error)code;
}

static inline enum error settle(struct client_simulated *client, const struct writer *request)
{
    struct answer answer = call(client, request);
    ck_answered(answer);
    return failed_of(&answer, "failed");
}

static inline enum error ack(struct client_simulated *client, const char *group,
                             const struct given *given)
{
    struct writer request = ask_settle("ack", group, given, 0);
    return settle(client, &request);
}

static inline enum error nack(struct client_simulated *client, const char *group,
                              const struct given *given, uint64_t delay_ms)
{
    struct writer request = ask_settle("nack", group, given, 1);
    writer_put_key_uint(&request, "delay_ms", delay_ms);
    return settle(client, &request);
}

/* Sets the cursor of queue 0 of `t` to `end`. */
static inline enum error commit(struct client_simulated *client, const char *group, uint64_t end)
{
    struct writer request = ask("ack", 2);
    writer_put_key_string(&request, "group", group);
    writer_put_string(&request, "receipts");
    writer_put_array(&request, 1);
    writer_put_array(&request, 5);
    writer_put_string(&request, "t");
    writer_put_uint(&request, 0);
    writer_put_uint(&request, 0);
    writer_put_uint(&request, end);
    writer_put_nil(&request);
    return settle(client, &request);
}

static inline void run_ms(struct world *world, uint64_t ms)
{
    (void)simulation_run(world->simulation, ms, NULL, NULL);
}

#endif
