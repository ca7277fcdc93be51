/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_events.c - every entry that is built survives its journey, and none is read from half of
 * its fields.
 */
#include "proto/events.h"
#include "proto/limits.h"
#include "test/lib/check_main.h"
#include "test/unit/proto/hex.h"

static uint8_t buffer[65536];
static struct writer writer;

static void set_up(void)
{
    writer = writer_over(buffer, sizeof(buffer));
    events_begin(&writer);
    ck_assert_uint_eq(writer_length(&writer), EVENTS_BEGIN_BYTES);
}

/* Closes the array with one entry and gives that entry's fields; its number must be this. */
static struct cursor only_entry(uint64_t expected)
{
    struct events_reader reader;
    uint64_t number;
    struct cursor fields;
    events_end(&writer, 0, 1);
    ck_assert(!writer.overflowed);
    ck_assert(events_open(&reader, writer_bytes(&writer)));
    ck_assert_int_eq(events_next(&reader, &number, &fields), EVENTS_ENTRY);
    ck_assert_uint_eq(number, expected);
    struct cursor ignored;
    ck_assert_int_eq(events_next(&reader, &number, &ignored), EVENTS_DONE);
    return fields;
}

/* `reads` is false for every cut of the fields, byte by byte. */
#define REFUSES_EVERY_CUT(fields, reads)                                    \
    do {                                                                    \
        size_t whole_bytes = cursor_left(&(fields));                        \
        for (size_t cut = 0; cut < whole_bytes; cut++) {                    \
            struct bytes beginning = {(fields).at, cut};                    \
            uint8_t *copy = exact_copy(beginning);                          \
            struct cursor cut_fields = cursor_over(bytes_make(copy, cut));  \
            ck_assert_msg(!(reads), "cut at %zu of %zu", cut, whole_bytes); \
            free(copy);                                                     \
        }                                                                   \
    } while (0)

START_TEST(numbers_are_those_of_the_table)
{
    ck_assert_uint_eq(EVENT_EPOCH, 1);
    ck_assert_uint_eq(EVENT_DURABLE, 2);
    ck_assert_uint_eq(EVENT_TOPIC_PUT, 3);
    ck_assert_uint_eq(EVENT_TOPIC_DELETE, 4);
    ck_assert_uint_eq(EVENT_GROUP_PUT, 5);
    ck_assert_uint_eq(EVENT_GROUP_DELETE, 6);
    ck_assert_uint_eq(ROW_GROUP, 39);
    ck_assert_uint_eq(EVENT_QUEUE_FIRST, 14);
    ck_assert_str_eq(event_name(3), "topic.put");
    ck_assert_str_eq(event_name(ROW_EPOCHS), "epochs");
    ck_assert_str_eq(event_name(63), "unknown");
    for (uint64_t number = EVENTS_OPTIONAL_FROM; number < 1000; number++) {
        ck_assert_str_eq(event_name(number), "unknown");
    }
}
END_TEST

START_TEST(an_epoch_survives)
{
    struct event_epoch epoch = {
        .epoch = 9, .start = UINT64_C(1) << 40, .boot_id = "0123456789abcde"};
    struct event_epoch back;
    event_put_epoch(&writer, EVENT_EPOCH, &epoch);
    struct cursor fields = only_entry(EVENT_EPOCH);
    ck_assert(event_read_epoch(fields, &back));
    ck_assert_uint_eq(back.epoch, 9);
    ck_assert_uint_eq(back.start, epoch.start);
    ck_assert_mem_eq(back.boot_id, epoch.boot_id, EVENT_ID_BYTES);
    REFUSES_EVERY_CUT(fields, event_read_epoch(cut_fields, &back));
    set_up();
    event_put_epoch(&writer, ROW_EPOCHS, &epoch);
    ck_assert(event_read_epoch(only_entry(ROW_EPOCHS), &back));
}
END_TEST

START_TEST(a_topic_survives_with_its_placement_and_queues)
{
    static const struct event_placement placement[] = {{{(const uint8_t *)"broker-a", 8}, 0, 3},
                                                       {{(const uint8_t *)"b", 1}, 3, 1}};
    static const struct event_queue_shard queues[] = {{0, 1}, {1, 0}, {2, 1}, {1023, 63}};
    struct event_topic topic = {
        .id = 12,
        .version = 77,
        .name = BYTES_OF("orders"),
        .settings = {true, true, TOPIC_ROUTE_KEY, DURABILITY_DISK},
        .placement_count = 2,
        .queue_count = 4,
    };
    struct event_topic back;
    struct event_placement part;
    struct event_queue_shard queue;
    event_put_topic(&writer, EVENT_TOPIC_PUT, &topic, placement, queues);
    ck_assert_uint_le(writer_length(&writer), EVENT_TOPIC_BYTES(2, 4));
    struct cursor fields = only_entry(EVENT_TOPIC_PUT);
    ck_assert(event_read_topic(fields, &back));
    ck_assert_uint_eq(back.id, 12);
    ck_assert_uint_eq(back.version, 77);
    ck_assert_bytes_eq(back.name, topic.name);
    ck_assert_int_eq(back.settings.route, TOPIC_ROUTE_KEY);
    ck_assert_int_eq(back.settings.durability, DURABILITY_DISK);
    ck_assert_uint_eq(back.placement_count, 2);
    ck_assert_uint_eq(back.queue_count, 4);
    for (uint32_t i = 0; i < 2; i++) {
        ck_assert(event_take_placement(&back.placement, &part));
        ck_assert_bytes_eq(part.broker, placement[i].broker);
        ck_assert_uint_eq(part.first, placement[i].first);
        ck_assert_uint_eq(part.count, placement[i].count);
    }
    ck_assert(cursor_is_done(&back.placement));
    for (uint32_t i = 0; i < 4; i++) {
        ck_assert(event_take_queue_shard(&back.queues, &queue));
        ck_assert_uint_eq(queue.queue, queues[i].queue);
        ck_assert_uint_eq(queue.shard, queues[i].shard);
    }
    ck_assert(cursor_is_done(&back.queues));
    REFUSES_EVERY_CUT(fields, event_read_topic(cut_fields, &back));
}
END_TEST

START_TEST(the_largest_topic_stays_within_its_bound)
{
    static struct event_queue_shard queues[QUEUES_PER_TOPIC_MAX];
    static uint8_t name[TOPIC_NAME_BYTES_MAX];
    struct event_placement placement = {{name, sizeof(name)}, UINT32_MAX, UINT32_MAX};
    memset(name, 'n', sizeof(name));
    for (uint32_t i = 0; i < QUEUES_PER_TOPIC_MAX; i++) {
        queues[i] = (struct event_queue_shard){UINT16_MAX, UINT16_MAX};
    }
    struct event_topic topic = {
        .id = UINT32_MAX,
        .version = INTEGER_LIMIT - 1,
        .name = bytes_make(name, sizeof(name)),
        .settings = {true, true, TOPIC_ROUTE_KEY, DURABILITY_MEMORY},
        .placement_count = 1,
        .queue_count = QUEUES_PER_TOPIC_MAX,
    };
    struct event_topic back;
    event_put_topic(&writer, ROW_TOPIC, &topic, &placement, queues);
    ck_assert_uint_le(writer_length(&writer), EVENT_TOPIC_BYTES(1, QUEUES_PER_TOPIC_MAX));
    ck_assert(event_read_topic(only_entry(ROW_TOPIC), &back));
}
END_TEST

/* Puts a group with these settings, a map, as `number`; `name` is 1 to 255 bytes. */
static struct cursor put_group(enum event_number number, const char *name, struct bytes map)
{
    struct refusal refusal;
    struct event_group group = {.id = 7, .version = 9, .name = bytes_from_string(name)};
    struct cursor pairs = cursor_over(map);
    uint32_t count;
    ck_assert(cursor_take_map(&pairs, &count));
    ck_assert_int_eq(
        group_settings_read(pairs, count, GROUP_SETTINGS_REFUSE, &group.settings, &refusal), OK);
    set_up();
    event_put_group(&writer, number, &group);
    ck_assert_uint_le(writer_length(&writer), EVENT_GROUP_BYTES_MAX);
    return only_entry(number);
}

/* {topics: {orders: nil}, attempts: 5} */
#define GROUP_SETTINGS_HEX \
    "82 a6 74 6f 70 69 63 73 81 a6 6f 72 64 65 72 73 c0 a8 61 74 74 65 6d 70 74 73 05"

START_TEST(a_group_survives_with_what_was_given)
{
    static const enum event_number numbers[] = {EVENT_GROUP_PUT, ROW_GROUP};
    for (size_t i = 0; i < 2; i++) {
        struct event_group back;
        struct cursor fields = put_group(numbers[i], "billing", hex(GROUP_SETTINGS_HEX));
        ck_assert(event_read_group(fields, &back));
        ck_assert_uint_eq(back.id, 7);
        ck_assert_uint_eq(back.version, 9);
        ck_assert_bytes_eq(back.name, BYTES_OF("billing"));
        ck_assert_uint_eq(back.settings.attempts, 5);
        ck_assert_uint_eq(back.settings.given,
                          1U << GROUP_SETTING_TOPICS | 1U << GROUP_SETTING_ATTEMPTS);
        struct group_topic_setting topic = group_settings_take_topic(&back.settings.topics);
        ck_assert_bytes_eq(topic.name, BYTES_OF("orders"));
        REFUSES_EVERY_CUT(fields, event_read_group(cut_fields, &back));
    }
}
END_TEST

START_TEST(a_group_of_a_newer_version_is_read_without_what_is_new)
{
    /* [7, 9, "g", {colour: [1, 2], topics: {orders: nil}}, "more"] */
    static const char newer[] =
        "07 09 a1 67 82 a6 63 6f 6c 6f 75 72 92 01 02 a6 74 6f 70 69 63 73 81 a6"
        "6f 72 64 65 72 73 c0 a4 6d 6f 72 65";
    struct event_group back;
    ck_assert(event_read_group(cursor_over(hex(newer)), &back));
    ck_assert_uint_eq(back.settings.topic_count, 1);
    ck_assert_uint_eq(back.settings.given, 1U << GROUP_SETTING_TOPICS);
}
END_TEST

START_TEST(groups_that_nobody_could_have_put_are_refused)
{
    static const char *const texts[] = {
        "00 09 a1 67 81 a6 74 6f 70 69 63 73 81 a1 74 c0", /* id 0 */
        "07 09 a1 25 81 a6 74 6f 70 69 63 73 81 a1 74 c0", /* the name % */
        "07 09 a1 67 80",                                  /* no topics */
        "07 09 a1 67 81 a6 74 6f 70 69 63 73 80",          /* none of them */
        "07 09 a1 67 81 a8 61 74 74 65 6d 70 74 73 05",    /* attempts alone */
        "07 09 a1 67 82 a6 74 6f 70 69 63 73 81 a1 74 c0 a8 61 74 74 65 6d 70 74 73 00", /* attempts 0 */
        "07 09 a6 25 44 4c 51 25 67 82 a6 74 6f 70 69 63 73 81 a1 74 c0 a9 62 72 6f 61 64 63 61 73 74 c3", /* a broadcast of dead letters */
    };
    struct event_group back;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        ck_assert_msg(!event_read_group(cursor_over(hex(texts[i])), &back), "%s", texts[i]);
    }
}
END_TEST

START_TEST(the_small_entries_survive)
{
    uint64_t number = 0;
    uint32_t format = 0;
    struct event_deleted deleted = {5, 6};
    struct event_queue queue = {1, 2, 3, 4, 5};
    struct cursor fields;

    event_put_durable(&writer, 123456);
    fields = only_entry(EVENT_DURABLE);
    ck_assert(event_read_durable(fields, &number));
    ck_assert_uint_eq(number, 123456);

    set_up();
    event_put_deleted(&writer, EVENT_TOPIC_DELETE, &deleted);
    memset(&deleted, 0, sizeof(deleted));
    fields = only_entry(EVENT_TOPIC_DELETE);
    REFUSES_EVERY_CUT(fields, event_read_deleted(cut_fields, &deleted));
    ck_assert(event_read_deleted(fields, &deleted));
    ck_assert_uint_eq(deleted.id, 5);
    ck_assert_uint_eq(deleted.version, 6);

    set_up();
    event_put_queue(&writer, &queue);
    memset(&queue, 0, sizeof(queue));
    fields = only_entry(ROW_QUEUE);
    REFUSES_EVERY_CUT(fields, event_read_queue(cut_fields, &queue));
    ck_assert(event_read_queue(fields, &queue));
    ck_assert_uint_eq(queue.topic, 1);
    ck_assert_uint_eq(queue.queue, 2);
    ck_assert_uint_eq(queue.first, 3);
    ck_assert_uint_eq(queue.next, 4);
    ck_assert_uint_eq(queue.last_stored_at_ms, 5);

    ck_assert(!event_read_queue(cursor_over(hex("01 02 05 04 05")), &queue));
    ck_assert_uint_eq(queue.first, 3);

    set_up();
    event_put_begin(&writer);
    ck_assert(event_read_begin(only_entry(ROW_BEGIN), &format));
    ck_assert_uint_eq(format, EVENTS_FORMAT);

    set_up();
    event_put_end(&writer, 777);
    ck_assert(event_read_end(only_entry(ROW_END), &number));
    ck_assert_uint_eq(number, 777);
}
END_TEST

START_TEST(a_setting_is_a_name_and_a_value)
{
    static uint8_t text[EVENT_SETTING_TEXT_BYTES_MAX + 1];
    memset(text, 't', sizeof(text));
    struct event_setting setting = {
        .name = BYTES_OF("name"), .value = bytes_make(text, sizeof(text) - 1), .version = 9};
    struct event_setting back;
    event_put_setting(&writer, EVENT_SETTING, &setting);
    struct cursor fields = only_entry(EVENT_SETTING);
    ck_assert(event_read_setting(fields, &back));
    ck_assert_bytes_eq(back.name, setting.name);
    ck_assert_bytes_eq(back.value, setting.value);
    ck_assert_uint_eq(back.version, 9);
    REFUSES_EVERY_CUT(fields, event_read_setting(cut_fields, &back));

    /* No name, and a value that is too long. */
    ck_assert(!event_read_setting(cursor_over(hex("a0 a1 76 01")), &back));
    set_up();
    writer_put_string(&writer, "name");
    writer_put_str(&writer, bytes_make(text, sizeof(text)));
    writer_put_uint(&writer, 1);
    struct bytes written = writer_bytes(&writer);
    ck_assert(!event_read_setting(cursor_over(bytes_make(written.data + EVENTS_BEGIN_BYTES,
                                                         written.length - EVENTS_BEGIN_BYTES)),
                                  &back));
}
END_TEST

START_TEST(a_segment_names_its_store_and_its_predecessor)
{
    struct event_segment segment = {.format = EVENTS_FORMAT,
                                    .store_id = "fedcba987654321",
                                    .shard = 3,
                                    .base = 1 << 24,
                                    .epoch = 2,
                                    .previous_head_crc = UINT32_MAX};
    struct event_segment back;
    event_put_segment(&writer, &segment);
    ck_assert_uint_le(writer_length(&writer), EVENTS_BEGIN_BYTES + EVENT_BYTES_MAX);
    struct cursor fields = only_entry(ROW_SEGMENT);
    ck_assert(event_read_segment(fields, &back));
    ck_assert_mem_eq(back.store_id, segment.store_id, EVENT_ID_BYTES);
    ck_assert_uint_eq(back.shard, 3);
    ck_assert_uint_eq(back.base, 1 << 24);
    ck_assert_uint_eq(back.previous_head_crc, UINT32_MAX);
    REFUSES_EVERY_CUT(fields, event_read_segment(cut_fields, &back));
}
END_TEST

START_TEST(fields_of_later_times_are_passed_over)
{
    struct events_reader reader;
    struct event_deleted deleted;
    struct cursor fields;
    uint64_t number;
    ck_assert(events_open(&reader, hex("92 95 04 05 06 a1 78 90 92 50 c0")));
    ck_assert_int_eq(events_next(&reader, &number, &fields), EVENTS_ENTRY);
    ck_assert_uint_eq(number, EVENT_TOPIC_DELETE);
    ck_assert(event_read_deleted(fields, &deleted));
    ck_assert_int_eq(events_next(&reader, &number, &fields), EVENTS_ENTRY);
    ck_assert_uint_eq(number, 80);
    ck_assert_int_eq(events_next(&reader, &number, &fields), EVENTS_DONE);
}
END_TEST

START_TEST(what_are_no_entries_is_bad)
{
    static const char *const texts[] = {"91 01",    "91 90", "91 91 a1 78", "91",
                                        "91 91 ff", "90 00", "91 91 01 00"};
    struct events_reader reader;
    struct cursor fields;
    uint64_t number;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        bool is_bad = !events_open(&reader, hex(texts[i]));
        enum events_result result = EVENTS_ENTRY;
        while (!is_bad && result == EVENTS_ENTRY) {
            result = events_next(&reader, &number, &fields);
            is_bad = result == EVENTS_BAD;
        }
        ck_assert_msg(is_bad, "%s", texts[i]);
    }
    ck_assert(!events_open(&reader, hex("80")));
    ck_assert(!events_open(&reader, hex("")));
}
END_TEST

static Suite *events_suite(void)
{
    Suite *suite = suite_create("events");
    TCase *cases = tcase_create("events");
    tcase_add_checked_fixture(cases, set_up, NULL);
    tcase_add_test(cases, numbers_are_those_of_the_table);
    tcase_add_test(cases, an_epoch_survives);
    tcase_add_test(cases, a_topic_survives_with_its_placement_and_queues);
    tcase_add_test(cases, the_largest_topic_stays_within_its_bound);
    tcase_add_test(cases, a_group_survives_with_what_was_given);
    tcase_add_test(cases, a_group_of_a_newer_version_is_read_without_what_is_new);
    tcase_add_test(cases, groups_that_nobody_could_have_put_are_refused);
    tcase_add_test(cases, the_small_entries_survive);
    tcase_add_test(cases, a_setting_is_a_name_and_a_value);
    tcase_add_test(cases, a_segment_names_its_store_and_its_predecessor);
    tcase_add_test(cases, fields_of_later_times_are_passed_over);
    tcase_add_test(cases, what_are_no_entries_is_bad);
    suite_add_tcase(suite, cases);
    return suite;
}

TEST_MAIN(events_suite)
