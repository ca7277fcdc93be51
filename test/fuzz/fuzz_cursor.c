/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_cursor.c - any bytes, before the cursor and before everybody who reads with it.
 *
 * The properties: what is taken lies inside of the input; what a reader accepts means the same when
 * it is written and read again; a message that was accepted has a stored form that is accepted as
 * it is; a record that was accepted is not when a byte of it is another.
 *
 * The first byte of an input chooses the reader; the rest is what it reads.
 */
#include "proto/arguments.h"
#include "proto/base/contract.h"
#include "proto/cursor.h"
#include "proto/error.h"
#include "proto/events.h"
#include "proto/message.h"
#include "proto/record.h"
#include "proto/request.h"
#include "proto/writer.h"
#include "test/fuzz/fuzz.h"

#include <stdlib.h>

/* How many values were accepted: nothing more is known of the ones that have no property below. */
static uint64_t accepted;

static void note(bool is_accepted)
{
    accepted += is_accepted;
}

/* The content lies inside of the input. */
static void is_inside(struct bytes input, struct bytes content)
{
    if (content.length > 0) {
        ASSERT(content.data >= input.data);
        ASSERT(content.data + content.length <= input.data + input.length);
    }
}

/* Takes values by their type until one is refused. */
static void read_values(struct bytes input)
{
    struct cursor cursor = cursor_over(input);
    while (!cursor.failed && cursor_left(&cursor) > 0) {
        struct cursor skipped = cursor;
        bool is_whole = cursor_skip(&skipped);
        struct bytes content = {NULL, 0};
        uint64_t number = 0;
        int64_t integer = 0;
        uint32_t count = 0;
        bool truth = false;
        size_t left = cursor_left(&cursor);
        bool is_taken = false;
        switch (cursor_peek(&cursor)) {
        case CURSOR_NIL:
            is_taken = cursor_take_nil(&cursor);
            break;
        case CURSOR_BOOL:
            is_taken = cursor_take_bool(&cursor, &truth);
            break;
        case CURSOR_INTEGER:
        case CURSOR_FLOAT: {
            struct cursor before = cursor;
            is_taken = cursor_take_uint(&cursor, &number);
            ASSERT_IF(is_taken, number < UINT64_C(1) << 53);
            if (!is_taken) {
                is_taken = cursor_take_int(&before, &integer);
                ASSERT_IF(is_taken, integer < 0);
                cursor = before;
            }
            break;
        }
        case CURSOR_STR:
        case CURSOR_BIN:
            is_taken = cursor_take_text(&cursor, &content);
            is_inside(input, content);
            break;
        case CURSOR_ARRAY:
            is_taken = cursor_take_array(&cursor, &count);
            ASSERT_IF(is_taken, count <= cursor_left(&cursor));
            break;
        case CURSOR_MAP:
            is_taken = cursor_take_map(&cursor, &count);
            ASSERT_IF(is_taken, (uint64_t)count * 2 <= cursor_left(&cursor));
            break;
        case CURSOR_NONE:
        case CURSOR_INVALID:
            ASSERT(!is_whole);
            is_taken = cursor_skip(&cursor);
            break;
        }
        ASSERT(is_taken == !cursor.failed);
        ASSERT_IF(is_taken, cursor_left(&cursor) < left);
    }
}

static void read_messages(struct bytes input)
{
    struct cursor cursor = cursor_over(input);
    struct message_view view;
    struct refusal refusal;
    while (cursor_left(&cursor) > 0 && message_read(&cursor, &view, &refusal) == OK) {
        struct message_view again;
        uint8_t *stored = malloc(view.canonical_bytes);
        ASSERT(stored != NULL);
        is_inside(input, view.element);
        is_inside(input, view.body);
        is_inside(input, view.tag);
        is_inside(input, view.first_key);
        message_write_canonical(&view, stored);
        ASSERT(message_read_stored(bytes_make(stored, view.canonical_bytes), &again));
        ASSERT(!again.needs_rewrite);
        ASSERT(again.key_count == view.key_count);
        ASSERT(again.property_count == view.property_count);
        ASSERT(bytes_equal(again.body, view.body));
        ASSERT(bytes_equal(again.tag, view.tag));
        ASSERT(message_key_hash(&again) == message_key_hash(&view));
        free(stored);
    }
}

static void read_topic_settings(const struct arguments *arguments)
{
    struct topic_settings settings;
    struct refusal refusal;
    if (arguments_has(arguments, ARGUMENT_SETTINGS)) {
        note(topic_settings_read(arguments_cursor(arguments, ARGUMENT_SETTINGS),
                                 (uint32_t)arguments_number(arguments, ARGUMENT_SETTINGS),
                                 &settings, &refusal) == OK);
    }
}

/* What was read is written, and that is read as the same. */
static void check_group_settings(const struct group_settings *settings)
{
    static uint8_t room[GROUP_SETTINGS_BYTES_MAX];
    struct group_settings again;
    struct refusal refusal;
    struct writer writer = writer_over(room, sizeof(room));
    group_settings_write_given(settings, &writer);
    ASSERT(!writer.overflowed);
    struct cursor pairs = cursor_over(writer_bytes(&writer));
    uint32_t count = 0;
    ASSERT(cursor_take_map(&pairs, &count));
    ASSERT(group_settings_read(pairs, count, GROUP_SETTINGS_REFUSE, &again, &refusal) == OK);
    ASSERT(group_settings_equal(settings, &again));
}

static void read_group_settings(const struct arguments *arguments)
{
    struct group_settings settings;
    struct refusal refusal;
    if (arguments_has(arguments, ARGUMENT_SETTINGS) &&
        group_settings_read(arguments_cursor(arguments, ARGUMENT_SETTINGS),
                            (uint32_t)arguments_number(arguments, ARGUMENT_SETTINGS),
                            GROUP_SETTINGS_REFUSE, &settings, &refusal) == OK) {
        check_group_settings(&settings);
    }
}

/* What was accepted keeps the rules that methods rely on. */
static void check_arguments(struct bytes input, const struct arguments *arguments)
{
    const struct method *method = arguments->method;
    for (const struct argument_rule *rule = method->rules; rule < method->rules_end; rule++) {
        if (!arguments_has(arguments, rule->id)) {
            ASSERT(!rule->required);
            ASSERT(arguments_number(arguments, rule->id) == rule->fallback);
            continue;
        }
        if (rule->type == ARGUMENT_TYPE_UINT || rule->type == ARGUMENT_TYPE_CAPPED) {
            ASSERT(arguments_number(arguments, rule->id) >= rule->least);
            ASSERT(arguments_number(arguments, rule->id) <= rule->most);
        } else if (rule->type != ARGUMENT_TYPE_BOOL) {
            is_inside(input, arguments_bytes(arguments, rule->id));
        }
    }
    if (method->id == METHOD_TOPIC_PUT) {
        read_topic_settings(arguments);
    }
    if (method->id == METHOD_GROUP_PUT) {
        read_group_settings(arguments);
    }
    if (method->id == METHOD_PRODUCE) {
        read_messages(arguments_bytes(arguments, ARGUMENT_MESSAGES));
    }
}

/* A refusal can be written in every form, and read back as the same. */
static void check_refusal(const struct refusal *refusal)
{
    for (int form = ERROR_FORM_MAP; form <= ERROR_FORM_PAIR; form++) {
        uint8_t buffer[REFUSAL_BYTES_MAX];
        struct refusal again;
        struct writer writer = writer_over(buffer, sizeof(buffer));
        refusal_write(refusal, (enum error_form)form, &writer);
        ASSERT(!writer.overflowed);
        struct cursor cursor = cursor_over(writer_bytes(&writer));
        ASSERT(refusal_read(&cursor, &again));
        ASSERT(cursor_is_done(&cursor));
        ASSERT(again.code == refusal->code);
    }
}

static void read_request(struct bytes input, enum method_side side)
{
    static struct arguments arguments;
    struct request request;
    struct refusal refusal;
    if (request_read(input, &request) != OK) {
        return;
    }
    is_inside(input, request.method);
    is_inside(input, request.arguments);
    const struct method *method = method_find(side, request.method);
    if (method == NULL) {
        return;
    }
    if (arguments_read(method, request.arguments, &arguments, &refusal) == OK) {
        check_arguments(input, &arguments);
    } else {
        check_refusal(&refusal);
    }
}

static void read_answer(struct bytes input)
{
    struct answer answer;
    struct refusal refusal;
    if (answer_read(input, &answer) != OK || !answer.failed) {
        return;
    }
    struct cursor cursor = cursor_over(answer.error);
    if (refusal_read(&cursor, &refusal) && error_from_code((uint64_t)refusal.code) != OK) {
        check_refusal(&refusal);
    }
}

static void read_entry(uint64_t number, struct cursor fields)
{
    union {
        struct event_epoch epoch;
        struct event_topic topic;
        struct event_group group;
        struct event_deleted deleted;
        struct event_queue queue;
        struct event_segment segment;
        struct event_setting setting;
        uint64_t position;
        uint32_t format;
    } entry;
    struct event_placement part;
    struct event_queue_shard queue;

    switch (number) {
    case EVENT_TOPIC_PUT:
    case ROW_TOPIC:
        if (event_read_topic(fields, &entry.topic)) {
            for (uint32_t i = 0; i < entry.topic.placement_count; i++) {
                ASSERT(event_take_placement(&entry.topic.placement, &part));
            }
            for (uint32_t i = 0; i < entry.topic.queue_count; i++) {
                ASSERT(event_take_queue_shard(&entry.topic.queues, &queue));
            }
            ASSERT(cursor_is_done(&entry.topic.placement));
            ASSERT(cursor_is_done(&entry.topic.queues));
        }
        break;
    case EVENT_EPOCH:
    case ROW_EPOCHS:
        note(event_read_epoch(fields, &entry.epoch));
        break;
    case EVENT_DURABLE:
        note(event_read_durable(fields, &entry.position));
        break;
    case EVENT_GROUP_PUT:
    case ROW_GROUP:
        if (event_read_group(fields, &entry.group)) {
            check_group_settings(&entry.group.settings);
        }
        break;
    case EVENT_TOPIC_DELETE:
    case EVENT_GROUP_DELETE:
    case ROW_DELETED:
        note(event_read_deleted(fields, &entry.deleted));
        break;
    case EVENT_SETTING:
    case ROW_SETTING:
        note(event_read_setting(fields, &entry.setting));
        break;
    case ROW_QUEUE:
        ASSERT_IF(event_read_queue(fields, &entry.queue), entry.queue.first <= entry.queue.next);
        break;
    case ROW_SEGMENT:
        note(event_read_segment(fields, &entry.segment));
        break;
    case ROW_BEGIN:
        note(event_read_begin(fields, &entry.format));
        break;
    case ROW_END:
        note(event_read_end(fields, &entry.position));
        break;
    default:
        break;
    }
}

static void read_events(struct bytes content)
{
    struct events_reader reader;
    struct cursor fields;
    uint64_t number;
    if (!events_open(&reader, content)) {
        return;
    }
    while (events_next(&reader, &number, &fields) == EVENTS_ENTRY) {
        read_entry(number, fields);
    }
}

static void read_record(struct bytes input)
{
    struct record_view view;
    if (record_read_anywhere(input, &view) != RECORD_WHOLE) {
        return;
    }
    is_inside(input, view.whole);
    is_inside(input, view.extra);
    is_inside(input, view.message);
    read_events(record_content(&view));
    uint8_t *damaged = fuzz_copy(input.data, view.fields.size);
    damaged[input.length % view.fields.size] ^= 1;
    ASSERT(record_read_anywhere(bytes_make(damaged, view.fields.size), &view) != RECORD_WHOLE);
    free(damaged);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    if (length == 0) {
        return 0;
    }
    uint8_t *copy = fuzz_copy(data + 1, length - 1);
    struct bytes input = bytes_make(copy, length - 1);
    switch (data[0] % 7) {
    case 0:
        read_values(input);
        break;
    case 1:
        read_request(input, METHOD_SIDE_BROKER);
        break;
    case 2:
        read_request(input, METHOD_SIDE_NAMESERVER);
        break;
    case 3:
        read_answer(input);
        break;
    case 4:
        read_messages(input);
        break;
    case 5:
        read_record(input);
        break;
    default:
        read_events(input);
        break;
    }
    free(copy);
    return 0;
}
