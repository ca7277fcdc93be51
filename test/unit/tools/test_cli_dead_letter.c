/* SPDX-License-Identifier: Apache-2.0 */
/* test_cli_dead_letter.c - records of dead letters, and of those who say they are. */
#include "proto/base/crc32c.h"
#include "proto/record.h"
#include "proto/writer.h"
#include "test/lib/check_main.h"
#include "tools/cli/dead_letter.h"

#include <string.h>

enum { ROOM = 1024 };

/* A message of a tag, a key, a property and a body. */
static struct bytes write_message(uint8_t *room)
{
    struct writer writer = writer_over(room, ROOM);
    writer_put_array(&writer, 4);
    writer_put_string(&writer, "paid");
    writer_put_array(&writer, 1);
    writer_put_string(&writer, "key");
    writer_put_map(&writer, 1);
    writer_put_string(&writer, "region");
    writer_put_string(&writer, "EU");
    writer_put_bin(&writer, BYTES_OF("body"));
    return writer_bytes(&writer);
}

static struct bytes write_extra(uint8_t *room, uint32_t elements)
{
    struct writer writer = writer_over(room, ROOM);
    writer_put_map(&writer, 2);
    writer_put_string(&writer, "place");
    writer_put_array(&writer, 3);
    for (uint32_t i = 0; i < 3; i++) {
        writer_put_uint(&writer, i + 1);
    }
    writer_put_string(&writer, "dead");
    writer_put_array(&writer, elements);
    writer_put_string(&writer, "billing");
    writer_put_string(&writer, "orders");
    for (uint32_t i = 2; i < elements && i < 5; i++) {
        writer_put_uint(&writer, i + 1);
    }
    for (uint32_t i = 5; i < elements; i++) {
        writer_put_string(&writer, "no money");
    }
    return writer_bytes(&writer);
}

static struct bytes write_record(uint8_t *room, struct bytes extra, struct bytes message)
{
    const struct record_fields fields = {
        .message_crc = crc32c(message.data, message.length),
        .kind = RECORD_MESSAGE,
        .epoch = 2,
        .position = 4096,
        .topic = 9,
        .queue = 1,
        .offset = 17,
        .stored_at_ms = 1700000000000,
        .born_at_ms = 1600000000000,
    };
    uint32_t head = record_build_head(room, &fields, extra, (uint32_t)message.length);
    memcpy(room + head, message.data, message.length);
    return bytes_make(room, head + message.length);
}

static bool is_text(struct bytes text, const char *expected)
{
    return bytes_equal(text, bytes_from_string(expected));
}

START_TEST(a_record_says_what_it_was)
{
    uint8_t message_room[ROOM];
    uint8_t extra_room[ROOM];
    uint8_t record_room[2 * ROOM];
    struct bytes message = write_message(message_room);
    struct dead_letter letter;
    /* A newer broker may say more. */
    struct bytes extra = write_extra(extra_room, 6 + (uint32_t)_i);
    ck_assert(dead_letter_read(write_record(record_room, extra, message), &letter));
    ck_assert_uint_eq(letter.queue, 1);
    ck_assert_uint_eq(letter.offset, 17);
    ck_assert(is_text(letter.group, "billing") && is_text(letter.topic, "orders"));
    ck_assert_uint_eq(letter.origin_queue, 3);
    ck_assert_uint_eq(letter.origin_offset, 4);
    ck_assert_uint_eq(letter.attempts, 5);
    ck_assert(is_text(letter.reason, "no money"));
    ck_assert(bytes_equal(letter.element, message));
    struct ternmq_delivery delivery;
    ck_assert(dead_letter_delivery(&letter, "%DLQ%billing", &delivery));
    ck_assert(is_text(bytes_make(delivery.tag.data, delivery.tag.length), "paid"));
    ck_assert(is_text(bytes_make(delivery.body.data, delivery.body.length), "body"));
    ck_assert_uint_eq(delivery.key_count, 1);
    ck_assert_uint_eq(delivery.property_count, 1);
    ck_assert_uint_eq(delivery.keys.length, 5);
    ck_assert_uint_eq(delivery.properties.length, 11);
}
END_TEST

START_TEST(a_body_alone_has_no_labels)
{
    uint8_t extra_room[ROOM];
    uint8_t record_room[2 * ROOM];
    struct dead_letter letter;
    struct ternmq_delivery delivery;
    struct bytes extra = write_extra(extra_room, 6);
    ck_assert(dead_letter_read(write_record(record_room, extra, BYTES_OF("\xc4\x02hi")), &letter));
    ck_assert(dead_letter_delivery(&letter, "t", &delivery));
    ck_assert_ptr_null(delivery.tag.data);
    ck_assert_ptr_null(delivery.keys.data);
    ck_assert_ptr_null(delivery.properties.data);
    ck_assert_uint_eq(delivery.body.length, 2);
}
END_TEST

START_TEST(what_says_no_origin_is_none)
{
    uint8_t extra_room[ROOM];
    uint8_t message_room[ROOM];
    uint8_t record_room[2 * ROOM];
    struct bytes message = write_message(message_room);
    struct dead_letter letter;
    ck_assert(!dead_letter_read(write_record(record_room, bytes_make(NULL, 0), message), &letter));
    /* Its place is known all the same, so that it can be settled. */
    ck_assert_uint_eq(letter.offset, 17);
    ck_assert_ptr_nonnull(letter.element.data);
    for (uint32_t elements = 2; elements < 6; elements++) {
        struct bytes extra = write_extra(extra_room, elements);
        ck_assert(!dead_letter_read(write_record(record_room, extra, message), &letter));
    }
    const struct bytes extras[] = {BYTES_OF("\x80"),
                                   BYTES_OF("\x81\xa4"
                                            "dead\xc0"),
                                   BYTES_OF("\x81\xa4"
                                            "dead\x96\x01\x02\x03\x04\x05\x06"),
                                   BYTES_OF("\x81\x01\x02")};
    for (uint32_t i = 0; i < sizeof(extras) / sizeof(extras[0]); i++) {
        ck_assert(!dead_letter_read(write_record(record_room, extras[i], message), &letter));
    }
}
END_TEST

/* Every cut, and every byte changed: refused, or read within its bounds. */
START_TEST(damaged_records_are_refused)
{
    uint8_t extra_room[ROOM];
    uint8_t message_room[ROOM];
    uint8_t record_room[2 * ROOM];
    struct bytes record =
        write_record(record_room, write_extra(extra_room, 6), write_message(message_room));
    struct dead_letter letter;
    for (size_t length = 0; length < record.length; length++) {
        uint8_t *cut = malloc(length == 0 ? 1 : length);
        ck_assert_ptr_nonnull(cut);
        memcpy(cut, record.data, length);
        ck_assert(!dead_letter_read(bytes_make(cut, length), &letter));
        free(cut);
    }
    for (size_t i = 0; i < record.length; i++) {
        record_room[i] ^= 0x20;
        ck_assert(!dead_letter_read(record, &letter));
        record_room[i] ^= 0x20;
    }
    ck_assert(dead_letter_read(record, &letter));
}
END_TEST

START_TEST(ids_are_read)
{
    static const struct {
        const char *text;
        bool is_id;
        uint32_t queue;
        uint64_t offset;
    } ids[] = {
        {"0/0", true, 0, 0},
        {"3/17", true, 3, 17},
        {"%DLQ%g/3/17", true, 3, 17},
        {"%DLQ%h/3/17", false, 0, 0},
        {"%DLQ%g/3", false, 0, 0},
        {"3", false, 0, 0},
        {"", false, 0, 0},
        {"-1/0", false, 0, 0},
        {"0/+1", false, 0, 0},
        {"0/1/", false, 0, 0},
        {"0/ 1", false, 0, 0},
        {"99999/1", false, 0, 0},
        {"0/9007199254740992", false, 0, 0},
        {"0/99999999999999999999999", false, 0, 0},
    };
    for (uint32_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        uint32_t queue = 0;
        uint64_t offset = 0;
        ck_assert_msg(dead_letter_read_id(ids[i].text, "%DLQ%g", &queue, &offset) == ids[i].is_id,
                      "%s", ids[i].text);
        ck_assert(!ids[i].is_id || (queue == ids[i].queue && offset == ids[i].offset));
    }
}
END_TEST

static Suite *suite(void)
{
    Suite *all = suite_create("dead_letter");
    TCase *cases = tcase_create("dead_letter");
    tcase_add_loop_test(cases, a_record_says_what_it_was, 0, 3);
    tcase_add_test(cases, a_body_alone_has_no_labels);
    tcase_add_test(cases, what_says_no_origin_is_none);
    tcase_add_test(cases, damaged_records_are_refused);
    tcase_add_test(cases, ids_are_read);
    suite_add_tcase(all, cases);
    return all;
}

TEST_MAIN(suite)
