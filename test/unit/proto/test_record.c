/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_record.c - the record byte for byte, and every single byte of it guarded.
 */
#include "proto/base/crc32c.h"
#include "proto/base/random.h"
#include "proto/cursor.h"
#include "proto/record.h"
#include "test/lib/check_main.h"
#include "test/unit/proto/hex.h"

static uint8_t buffer[RECORD_HEAD_BYTES_MAX + 4096];

static struct record_fields fields_of(struct bytes message)
{
    return (struct record_fields){
        .message_crc = crc32c(message.data, message.length),
        .kind = RECORD_MESSAGE,
        .codec = RECORD_CODEC_NONE,
        .epoch = 7,
        .position = UINT64_C(0x0102030405),
        .topic = 3,
        .queue = 2,
        .offset = 41,
        .stored_at_ms = UINT64_C(1700000000123),
        .born_at_ms = UINT64_C(1700000000100),
    };
}

/* Builds head and message into the buffer. */
static struct bytes build(struct bytes extra, struct bytes message)
{
    struct record_fields fields = fields_of(message);
    uint32_t head = record_build_head(buffer, &fields, extra, (uint32_t)message.length);
    memcpy(buffer + head, message.data, message.length);
    return bytes_make(buffer, head + message.length);
}

START_TEST(a_record_has_its_bytes_where_the_table_says)
{
    struct bytes record = build((struct bytes){NULL, 0}, hex("c4 02 68 69"));
    struct bytes expected = hex("9d ce 00 00 00 00 ce 00 00 00 49 ce 00 00 00 00 cd 00 01"
                                "ce 00 00 00 07 cf 00 00 00 01 02 03 04 05 ce 00 00 00 03 cd 00 02"
                                "cf 00 00 00 00 00 00 00 29 cf 00 00 01 8b cf e5 68 7b"
                                "cf 00 00 01 8b cf e5 68 64 c0 c4 02 68 69");
    uint8_t *bytes = exact_copy(expected);
    store_u32(bytes + 12, crc32c("\xc4\x02hi", 4));
    store_u32(bytes + 2, crc32c(bytes + 6, 63));
    ck_assert_bytes_eq(record, bytes_make(bytes, expected.length));
    free(bytes);
}
END_TEST

START_TEST(a_record_is_one_msgpack_array_of_13)
{
    struct bytes record = build(hex("81 a4 66 72 6f 6d 05"), hex("94 c0 c0 c0 c4 01 78"));
    struct cursor cursor = cursor_over(record);
    uint32_t count;
    ck_assert(cursor_take_array(&cursor, &count));
    ck_assert_uint_eq(count, RECORD_ELEMENTS);
    for (uint32_t i = 0; i < count; i++) {
        ck_assert(cursor_skip(&cursor));
    }
    ck_assert(cursor_is_done(&cursor));
}
END_TEST

START_TEST(what_was_built_is_read_back)
{
    struct record_view view;
    struct bytes extra = hex("81 a4 66 72 6f 6d 05");
    struct bytes message = hex("94 a1 74 c0 c0 c4 01 78");
    struct bytes record = build(extra, message);
    uint64_t position = UINT64_C(0x0102030405);
    ck_assert_int_eq(record_read(record, position, &view), RECORD_WHOLE);
    ck_assert_uint_eq(view.fields.size, record.length);
    ck_assert_uint_eq(view.fields.size, record_size_for(extra.length, (uint32_t)message.length));
    ck_assert_int_eq(view.fields.kind, RECORD_MESSAGE);
    ck_assert_uint_eq(view.fields.epoch, 7);
    ck_assert_uint_eq(view.fields.position, position);
    ck_assert_uint_eq(view.fields.topic, 3);
    ck_assert_uint_eq(view.fields.queue, 2);
    ck_assert_uint_eq(view.fields.offset, 41);
    ck_assert_uint_eq(view.fields.stored_at_ms, UINT64_C(1700000000123));
    ck_assert_uint_eq(view.fields.born_at_ms, UINT64_C(1700000000100));
    ck_assert_bytes_eq(view.extra, extra);
    ck_assert_bytes_eq(view.message, message);
    ck_assert_uint_eq(view.head_crc, record_head_crc(record.data));
    ck_assert_uint_eq(record_kind(record.data), RECORD_MESSAGE);
    ck_assert_uint_eq(record_epoch(record.data), 7);
    ck_assert_uint_eq(record_offset(record.data), 41);
    ck_assert_uint_eq(record_queue(record.data), 2);
    ck_assert_uint_eq(record_topic(record.data), 3);
    ck_assert_int_eq(record_read_anywhere(record, &view), RECORD_WHOLE);
}
END_TEST

START_TEST(a_record_of_another_place_is_none)
{
    struct record_view view;
    struct bytes record = build((struct bytes){NULL, 0}, hex("c4 00"));
    ck_assert_uint_eq(record.length, RECORD_BYTES_MIN);
    ck_assert_int_eq(record_read(record, 0, &view), RECORD_BAD);
    ck_assert_int_eq(record_read_head(record, 0, &view), RECORD_BAD);
}
END_TEST

START_TEST(any_changed_bit_is_found)
{
    struct record_view view;
    struct bytes record =
        build(hex("81 a4 66 72 6f 6d 05"), hex("94 a1 74 c0 c0 c4 05 68 65 6c 6c 6f"));
    uint64_t position = UINT64_C(0x0102030405);
    for (size_t bit = 0; bit < record.length * 8; bit++) {
        buffer[bit / 8] ^= (uint8_t)(1U << bit % 8);
        uint8_t *copy = exact_copy(record);
        ck_assert_msg(record_read(bytes_make(copy, record.length), position, &view) != RECORD_WHOLE,
                      "bit %zu", bit);
        ck_assert_int_ne(record_read_anywhere(bytes_make(copy, record.length), &view),
                         RECORD_WHOLE);
        free(copy);
        buffer[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    ck_assert_int_eq(record_read(record, position, &view), RECORD_WHOLE);
}
END_TEST

START_TEST(any_beginning_is_short_and_never_whole)
{
    struct record_view view;
    struct bytes record =
        build(hex("82 a4 66 72 6f 6d 05 a2 69 64 93 01 02 03"), hex("c4 05 68 65 6c 6c 6f"));
    uint64_t position = UINT64_C(0x0102030405);
    uint32_t heads = 0;
    for (size_t cut = 0; cut < record.length; cut++) {
        uint8_t *copy = exact_copy((struct bytes){record.data, cut});
        ck_assert_int_eq(record_read(bytes_make(copy, cut), position, &view), RECORD_SHORT);
        heads += record_read_head(bytes_make(copy, cut), position, &view) == RECORD_WHOLE;
        free(copy);
    }
    /* The head is whole as soon as all of it is there, and not before. */
    ck_assert_uint_eq(heads, 7);
}
END_TEST

START_TEST(a_head_that_lies_is_refused_though_its_checksum_is_right)
{
    static const struct {
        size_t place;
        uint8_t value;
    } lies[] = {
        {RECORD_PLACE_KIND + 2, 0},                    /* kind 0 */
        {RECORD_PLACE_KIND + 2, 7},                    /* kind 7 */
        {RECORD_PLACE_KIND + 2, 0x41},                 /* codec 4 */
        {RECORD_PLACE_KIND + 2, 0x81},                 /* bit 7 */
        {RECORD_PLACE_KIND + 1, 0x01},                 /* bit 8 */
        {RECORD_PLACE_SIZE + 4, RECORD_BYTES_MIN - 1}, /* too small */
        {RECORD_PLACE_SIZE + 1, 0x01},                 /* 16 MiB and more */
        {RECORD_PLACE_EXTRA, 0x90},                    /* an extra that is no map */
        {RECORD_PLACE_EXTRA, 0xc1},
        {RECORD_PLACE_EPOCH, 0xcf}, /* a mark */
    };
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        struct record_view view;
        struct bytes record = build((struct bytes){NULL, 0}, hex("c4 02 68 69"));
        buffer[lies[i].place] = lies[i].value;
        store_u32(buffer + 2, crc32c(buffer + 6, 63));
        ck_assert_msg(record_read_anywhere(record, &view) == RECORD_BAD, "lie %zu", i);
    }
}
END_TEST

START_TEST(a_message_of_another_shape_is_refused_though_its_checksum_is_right)
{
    static const char *const texts[] = {
        "a2 68 69",          /* a body as str */
        "93 c0 c0 c0",       /* not four */
        "c4 03 68 69",       /* longer than the record */
        "c4 01 68 69",       /* shorter */
        "94 c0 c0 c0 c4 01", /* cut */
        "c0 c0",
    };
    struct record_view view;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct bytes record = build((struct bytes){NULL, 0}, hex(texts[i]));
        ck_assert_msg(record_read_anywhere(record, &view) == RECORD_BAD, "%s", texts[i]);
    }
}
END_TEST

START_TEST(records_of_our_own_are_a_bin_around_their_content)
{
    struct record_view view;
    struct record_fields fields = {.kind = RECORD_EVENTS, .epoch = 1, .position = 4096};
    struct bytes content = hex("dd 00 00 00 01 92 02 05");
    uint32_t size = record_build_own(buffer, &fields, content);
    ck_assert_uint_eq(size, RECORD_HEAD_BYTES + 5 + content.length);
    ck_assert_int_eq(record_read(bytes_make(buffer, size), 4096, &view), RECORD_WHOLE);
    ck_assert_int_eq(view.fields.kind, RECORD_EVENTS);
    ck_assert_bytes_eq(record_content(&view), content);

    /* Content that was written where it belongs is not moved. */
    fields.kind = RECORD_SNAPSHOT;
    memcpy(buffer + RECORD_CONTENT_PLACE, "abc", 3);
    size = record_build_own(buffer, &fields, bytes_make(buffer + RECORD_CONTENT_PLACE, 3));
    ck_assert_int_eq(record_read(bytes_make(buffer, size), 4096, &view), RECORD_WHOLE);
    ck_assert_bytes_eq(record_content(&view), BYTES_OF("abc"));
}
END_TEST

START_TEST(random_bytes_are_no_record)
{
    struct random random;
    struct record_view view;
    random_init(&random, 41);
    for (int round = 0; round < 20000; round++) {
        size_t length = (size_t)random_below(&random, 200);
        uint8_t *bytes = malloc(length == 0 ? 1 : length);
        random_fill(&random, bytes, length);
        ck_assert_int_ne(record_read_anywhere(bytes_make(bytes, length), &view), RECORD_WHOLE);
        free(bytes);
    }
}
END_TEST

static Suite *record_suite(void)
{
    Suite *suite = suite_create("record");
    TCase *cases = tcase_create("record");
    tcase_add_test(cases, a_record_has_its_bytes_where_the_table_says);
    tcase_add_test(cases, a_record_is_one_msgpack_array_of_13);
    tcase_add_test(cases, what_was_built_is_read_back);
    tcase_add_test(cases, a_record_of_another_place_is_none);
    tcase_add_test(cases, any_changed_bit_is_found);
    tcase_add_test(cases, any_beginning_is_short_and_never_whole);
    tcase_add_test(cases, a_head_that_lies_is_refused_though_its_checksum_is_right);
    tcase_add_test(cases, a_message_of_another_shape_is_refused_though_its_checksum_is_right);
    tcase_add_test(cases, records_of_our_own_are_a_bin_around_their_content);
    tcase_add_test(cases, random_bytes_are_no_record);
    suite_add_tcase(suite, cases);
    return suite;
}

TEST_MAIN(record_suite)
