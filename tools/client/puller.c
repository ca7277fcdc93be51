/* SPDX-License-Identifier: Apache-2.0 */
/*
 * puller.c - reads one queue, from where it is to where the log ends, and waits there.
 */
#include "tools/client/puller.h"

#include "net/buffer.h"
#include "net/connection.h"
#include "proto/base/contract.h"
#include "proto/cursor.h"
#include "proto/limits.h"
#include "proto/record.h"
#include "proto/request.h"
#include "proto/writer.h"
#include "tools/client/client.h"
#include "tools/client/consumer.h"
#include "tools/client/fault.h"

#include <stdlib.h>

enum { PULL_ROOM = 512, BEHIND_MAX = 8 };

/* -------------------------------------------------------------------------- asking */

/* Only a queue whose end is known parks: the first answer says where it stands. */
static uint32_t wait_ms(const struct puller *puller)
{
    return puller->placed && !puller->consumer->until_end ? PULL_WAIT_MS : 0;
}

static void write_place(struct writer *writer, const struct puller *puller)
{
    if (puller->placed) {
        writer_put_key_uint(writer, "offset", puller->next);
        return;
    }
    switch (puller->start) {
    case TERNMQ_START_FIRST:
        writer_put_key_bool(writer, "first", true);
        break;
    case TERNMQ_START_LAST:
        writer_put_key_bool(writer, "last", true);
        break;
    case TERNMQ_START_OFFSET:
        writer_put_key_uint(writer, "offset", puller->start_value);
        break;
    case TERNMQ_START_TIME:
        writer_put_key_uint(writer, "at_time", puller->start_value);
        break;
    }
}

static void pull_write(struct client_call *call, struct connection *connection, uint32_t id,
                       uint32_t left_ms)
{
    const struct puller *puller = CONTAINER_OF(call, struct puller, call);
    (void)left_ms; /* a poll ends by wait_ms */
    uint32_t wait = wait_ms(puller);
    struct bytes filter = puller->consumer->filter;
    size_t room = PULL_ROOM + filter.length;
    struct writer writer = writer_over(connection_reserve(connection, room), room);
    request_begin(&writer, id, "pull",
                  4U + (wait != 0) + (puller->epoch != 0) + (puller->topic_id != 0) +
                      (filter.length != 0));
    writer_put_key_string(&writer, "topic", puller->consumer->topic);
    writer_put_key_uint(&writer, "queue", puller->queue);
    write_place(&writer, puller);
    writer_put_key_uint(&writer, "max_bytes",
                        consumer_pull_bytes(puller->consumer, puller->behind));
    if (wait != 0) {
        writer_put_key_uint(&writer, "wait_ms", wait);
    }
    if (puller->epoch != 0) {
        writer_put_key_uint(&writer, "epoch", puller->epoch);
    }
    if (puller->topic_id != 0) {
        writer_put_key_uint(&writer, "topic_id", puller->topic_id);
    }
    if (filter.length != 0) {
        writer_put_string(&writer, "filter");
        writer_put_str(&writer, filter);
    }
    ASSERT(!writer.overflowed);
    connection_commit(connection, writer_length(&writer));
}

static void pull_ended(struct client_call *call, const struct client_call_end *end);

static const struct client_call_kind pull_kind = {.write = pull_write, .ended = pull_ended};

static void puller_ask(struct puller *puller)
{
    struct ternmq_consumer *consumer = puller->consumer;
    puller->state = PULLER_ASKING;
    puller->call = (struct client_call){
        .client = consumer->client,
        .kind = &pull_kind,
        .to = TERNMQ_TO_TOPIC,
        .to_name = consumer->topic,
        .queue = puller->queue,
        .timeout_ms = wait_ms(puller) + consumer->client->timeout_ms,
        .one_try = true,
        .receives = true,
        .parks = wait_ms(puller) != 0,
    };
    client_call_start(&puller->call);
}

void puller_start(struct puller *puller)
{
    if (puller->state == PULLER_IDLE && consumer_has_room(puller->consumer)) {
        puller_ask(puller);
    }
}

static void pause_over(struct timer *timer)
{
    struct puller *puller = CONTAINER_OF(timer, struct puller, pause);
    puller->state = PULLER_IDLE;
    puller_start(puller);
}

/* -------------------------------------------------------------------------- failing */

static void puller_gap(struct puller *puller, const struct ternmq_error *error)
{
    struct ternmq_error notice = *error;
    notice.queue = puller->queue;
    if (notice.offset < 0 && puller->placed) {
        notice.offset = (int64_t)puller->next;
    }
    puller->state = PULLER_GAP;
    consumer_add_notice(puller->consumer, puller, &notice, false);
}

void puller_pass_gap(struct puller *puller, const struct ternmq_error *notice)
{
    puller->epoch = 0;
    puller->placed = notice->resume >= 0;
    puller->next = puller->placed ? (uint64_t)notice->resume : 0;
    if (notice->code == TERNMQ_TOPIC_CHANGED) {
        puller->topic_id = 0;
        puller->placed = false;
        puller->position = (struct ternmq_position){.known = false};
    }
    puller->start = TERNMQ_START_FIRST;
    puller->position.next = puller->next;
    puller->state = PULLER_IDLE;
    puller_start(puller);
}

static void puller_pause(struct puller *puller, const struct ternmq_error *error)
{
    struct ternmq *client = puller->consumer->client;
    uint64_t now_ns = reactor_now_ns(client->reactor);
    if (puller->failing_ns == 0) {
        puller->failing_ns = now_ns;
    }
    uint64_t failing_ms = (now_ns - puller->failing_ns) / 1000000U;
    puller->state = PULLER_PAUSED;
    timer_start(client->reactor, &puller->pause,
                now_ns + client_pause_ns(client, puller->tries++, error));
    if (failing_ms >= client_patience_ms(client, error)) {
        struct ternmq_error notice = *error;
        notice.queue = puller->queue;
        puller->failing_ns = now_ns;
        consumer_add_notice(puller->consumer, puller, &notice, false);
    } else {
        client_tell_waiting(client, error, puller->failing_ns);
    }
}

static void puller_failed(struct puller *puller, const struct ternmq_error *error)
{
    switch (error->code) {
    case TERNMQ_TRUNCATED:
    case TERNMQ_OFFSET_TOO_SMALL:
    case TERNMQ_TOPIC_CHANGED:
        puller_gap(puller, error);
        return;
    case TERNMQ_CORRUPT:
        if (error->resume > 0) {
            puller_gap(puller, error);
            return;
        }
        break;
    case TERNMQ_LOST:
    case TERNMQ_TIMED_OUT:
    case TERNMQ_PROTOCOL:
    case TERNMQ_NO_MEMORY:
        puller_pause(puller, error);
        return;
    default:
        if (error->retryable) {
            puller_pause(puller, error);
            return;
        }
        break;
    }
    struct ternmq_error notice = *error;
    notice.queue = puller->queue;
    puller->state = PULLER_STOPPED;
    consumer_add_notice(puller->consumer, puller, &notice, true);
}

/* -------------------------------------------------------------------------- answers */

struct pull_answer {
    uint64_t topic_id;
    uint64_t first;
    uint64_t next;
    uint64_t end;
    uint32_t count;
    struct bytes records; /* from the first on, to the end of the answer or beyond the last */
    uint32_t epoch;       /* of the last one */
    uint64_t last;        /* its offset */
};

static bool read_pull_map(struct bytes result, struct pull_answer *answer)
{
    struct cursor cursor = cursor_over(result);
    uint32_t pairs;
    bool has_first = false;
    bool has_next = false;
    bool has_end = false;
    if (!cursor_take_map(&cursor, &pairs)) {
        return false;
    }
    for (uint32_t i = 0; i < pairs && !cursor.failed; i++) {
        struct bytes key;
        if (!cursor_take_text(&cursor, &key)) {
            return false;
        }
        if (bytes_equal(key, BYTES_OF("topic_id"))) {
            cursor_take_uint(&cursor, &answer->topic_id);
        } else if (bytes_equal(key, BYTES_OF("first"))) {
            has_first = cursor_take_uint(&cursor, &answer->first);
        } else if (bytes_equal(key, BYTES_OF("next"))) {
            has_next = cursor_take_uint(&cursor, &answer->next);
        } else if (bytes_equal(key, BYTES_OF("end"))) {
            has_end = cursor_take_uint(&cursor, &answer->end);
        } else if (bytes_equal(key, BYTES_OF("messages"))) {
            if (!cursor_take_array(&cursor, &answer->count)) {
                return false;
            }
            answer->records = bytes_make(cursor.at, cursor_left(&cursor));
            break; /* they are the last, and many */
        } else {
            cursor_skip(&cursor);
        }
    }
    return !cursor.failed && has_first && has_next && has_end && answer->end >= answer->next &&
           answer->next >= answer->first && answer->next - answer->first >= answer->count;
}

/* Whether the answer begins where it was asked to begin, and leaves out nothing without a filter. */
static bool is_answer_to(const struct puller *puller, const struct pull_answer *answer)
{
    if (puller->consumer->filter.length == 0 && answer->next != answer->first + answer->count) {
        return false;
    }
    if (puller->placed) {
        return answer->first == puller->next;
    }
    return puller->start != TERNMQ_START_OFFSET || answer->first == puller->start_value;
}

/* Whether the records lie one behind the other as they should, each at an offset of its own of those
 * that the answer is of; what is in them is looked at when they are delivered. */
static bool walk_records(struct pull_answer *answer)
{
    const uint8_t *at = answer->records.data;
    size_t left = answer->records.length;
    uint64_t least = answer->first;
    for (uint32_t i = 0; i < answer->count; i++) {
        if (left < RECORD_BYTES_MIN || record_size(at) > left ||
            record_size(at) < RECORD_BYTES_MIN || record_offset(at) < least ||
            record_offset(at) >= answer->next) {
            return false;
        }
        answer->epoch = record_epoch(at);
        answer->last = record_offset(at);
        least = answer->last + 1;
        left -= record_size(at);
        at += record_size(at);
    }
    answer->records.length -= left;
    return true;
}

/* Keeps the records, in their buffer if they are many. NULL: no memory. */
static struct pulled *keep_records(struct puller *puller, const struct pull_answer *answer,
                                   struct buffer *buffer)
{
    struct ternmq *client = puller->consumer->client;
    size_t bytes = answer->records.length;
    bool pins = buffer != NULL && bytes >= PIN_BYTES_LEAST &&
                client->pinned_bytes + buffer->capacity <= client->pinned_bytes_max;
    struct pulled *pulled = malloc(sizeof(*pulled) + (pins ? 0 : bytes));
    if (pulled == NULL) {
        return NULL;
    }
    *pulled = (struct pulled){
        .puller = puller,
        .held_bytes = sizeof(*pulled) + bytes,
        .at = answer->records.data,
        .left = answer->count,
        .offset = record_offset(answer->records.data),
        .next = answer->next,
    };
    if (pins) {
        pulled->buffer = buffer;
        pulled->pinned_bytes = buffer->capacity;
        client->pinned_bytes += pulled->pinned_bytes;
        buffer_ref(buffer);
    } else {
        memcpy(pulled->copy, answer->records.data, bytes);
        pulled->at = pulled->copy;
    }
    pulled->end = pulled->at + bytes;
    return pulled;
}

/* The first answer of a queue says where it stands. */
static void puller_place(struct puller *puller, const struct pull_answer *answer)
{
    struct ternmq_position *position = &puller->position;
    if (!position->known) {
        position->known = true;
        position->next = answer->first;
        position->end_first = answer->end;
    }
    position->end = answer->end;
    puller->placed = true;
    puller->topic_id = (uint32_t)answer->topic_id;
    puller->failing_ns = 0;
    puller->tries = 0;
}

/* Leaves in an answer what lies below `end`. */
static void cut_answer(struct pull_answer *answer, uint64_t end)
{
    const uint8_t *at = answer->records.data;
    uint32_t count = 0;
    while (count < answer->count && record_offset(at) < end) {
        at += record_size(at);
        count++;
    }
    answer->count = count;
    answer->next = answer->next < end ? answer->next : end;
}

/* The epoch of the last message says where a reader stands only if nothing was left out behind it. */
static void note_epoch(struct puller *puller, const struct pull_answer *answer)
{
    if (answer->count > 0 && answer->last + 1 == answer->next) {
        puller->epoch = answer->epoch;
    } else if (answer->next != answer->first) {
        puller->epoch = 0;
    }
}

static void puller_answered(struct puller *puller, struct pull_answer *answer,
                            struct buffer *buffer)
{
    struct ternmq_consumer *consumer = puller->consumer;
    puller_place(puller, answer);
    note_epoch(puller, answer);
    puller->next = answer->next;
    /* Far: the next answer will not reach the end either. */
    bool is_far = answer->end - answer->next > answer->count;
    puller->behind = !is_far ? 0 : puller->behind < BEHIND_MAX ? puller->behind + 1 : BEHIND_MAX;
    puller->state = PULLER_IDLE;
    uint64_t end = puller->position.end_first;
    if (consumer->until_end && answer->next >= end) {
        puller->state = PULLER_FINISHED;
        consumer->finished_count++;
        /* What came since the start is not asked for. */
        cut_answer(answer, end);
    }
    if (answer->count == 0) {
        if (puller->position.next == answer->first) {
            puller->position.next = answer->next; /* all before was delivered, this is left out */
        }
        if (puller->state == PULLER_FINISHED) {
            consumer_add(consumer, NULL);
        }
    } else {
        struct pulled *pulled = keep_records(puller, answer, buffer);
        if (pulled == NULL) {
            struct ternmq_error error;
            fault_set(&error, TERNMQ_NO_MEMORY, TERNMQ_STORED_NO, "no memory for messages");
            puller->state = PULLER_STOPPED;
            consumer_add_notice(consumer, puller, &error, true);
            return;
        }
        consumer_add(consumer, pulled);
    }
    puller_start(puller);
}

static void pull_ended(struct client_call *call, const struct client_call_end *end)
{
    struct puller *puller = CONTAINER_OF(call, struct puller, call);
    if (end->error != NULL) {
        puller_failed(puller, end->error);
        return;
    }
    struct pull_answer answer = {.count = 0};
    if (!read_pull_map(end->result, &answer) || !is_answer_to(puller, &answer) ||
        !walk_records(&answer)) {
        struct ternmq_error error;
        fault_set(&error, TERNMQ_PROTOCOL, TERNMQ_STORED_NO,
                  "%s answered a pull of queue %u with what is no run of records from there on",
                  end->address, puller->queue);
        puller_failed(puller, &error);
        return;
    }
    puller_answered(puller, &answer, end->buffer);
}

/* -------------------------------------------------------------------------- life */

struct puller *puller_create(struct ternmq_consumer *consumer, uint32_t queue,
                             enum ternmq_start start, uint64_t start_value)
{
    struct puller *puller = calloc(1, sizeof(*puller));
    if (puller != NULL) {
        puller->consumer = consumer;
        puller->queue = queue;
        puller->start = start;
        puller->start_value = start_value;
        puller->pause.fired = pause_over;
    }
    return puller;
}

void puller_destroy(struct puller *puller)
{
    client_call_drop(&puller->call);
    timer_stop(puller->consumer->client->reactor, &puller->pause);
    free(puller);
}
