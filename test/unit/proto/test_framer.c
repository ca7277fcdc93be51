/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_framer.c - frames end where they end, however they arrive, and hostile ones are refused
 * before they cost anything.
 */
#include "proto/cursor.h"
#include "proto/framer.h"
#include "test/lib/check_main.h"
#include "test/unit/proto/hex.h"
#include "test/unit/proto/values.h"

/* Feeds all bytes at once to a fresh framer. */
static enum framer_result feed(struct bytes bytes, size_t *length_out)
{
    struct framer framer;
    framer_init(&framer);
    return framer_feed(&framer, bytes.data, bytes.length, length_out);
}

/* Why a fresh framer refuses the bytes; NONE: it does not. */
static enum framer_reason reason_of(struct bytes bytes)
{
    struct framer framer;
    size_t length = 0;
    framer_init(&framer);
    (void)framer_feed(&framer, bytes.data, bytes.length, &length);
    ck_assert_ptr_nonnull(framer_reason_text((enum framer_reason)framer.reason));
    return (enum framer_reason)framer.reason;
}

START_TEST(a_request_and_a_one_way_call_are_frames)
{
    size_t length = 0;
    ck_assert_int_eq(feed(hex("94 00 01 a4 70 69 6e 67 91 80 94"), &length), FRAMER_WHOLE);
    ck_assert_uint_eq(length, 10);
    ck_assert_int_eq(feed(hex("93 02 a1 78 90"), &length), FRAMER_WHOLE);
    ck_assert_uint_eq(length, 5);
    ck_assert_int_eq(feed(hex("dc 00 03 02 a1 78 90"), &length), FRAMER_WHOLE);
    ck_assert_int_eq(feed(hex("dd 00 00 00 04 00 01 a0 90"), &length), FRAMER_WHOLE);
    ck_assert_uint_eq(length, 9);
}
END_TEST

START_TEST(the_first_byte_alone_refuses_a_stranger)
{
    for (unsigned first = 0; first < 256; first++) {
        uint8_t byte = (uint8_t)first;
        size_t length = 0;
        bool may_begin = first == 0x93 || first == 0x94 || first == 0xdc || first == 0xdd;
        ck_assert_int_eq(feed(bytes_make(&byte, 1), &length), may_begin ? FRAMER_MORE : FRAMER_BAD);
    }
    ck_assert_int_eq(reason_of(hex("47 45 54 20")), FRAMER_REASON_NOT_A_FRAME);
    ck_assert_int_eq(reason_of(hex("dc 00 05")), FRAMER_REASON_NOT_A_FRAME);
    ck_assert_int_eq(reason_of(hex("dd ff ff ff ff")), FRAMER_REASON_NOT_A_FRAME);
}
END_TEST

START_TEST(hostile_heads_are_refused_when_they_are_read)
{
    ck_assert_int_eq(reason_of(hex("93 c1")), FRAMER_REASON_INVALID);
    ck_assert_int_eq(reason_of(hex("93 c7")), FRAMER_REASON_EXT);
    ck_assert_int_eq(reason_of(hex("93 d4")), FRAMER_REASON_EXT);
    ck_assert_int_eq(reason_of(hex("93 c6 ff ff ff ff")), FRAMER_REASON_TOO_LONG);
    ck_assert_int_eq(reason_of(hex("93 c6 00 80 00 00")), FRAMER_REASON_TOO_LONG);
    ck_assert_int_eq(reason_of(hex("93 db ff ff ff ff")), FRAMER_REASON_TOO_LONG);
    ck_assert_int_eq(reason_of(hex("93 dd ff ff ff ff")), FRAMER_REASON_TOO_MANY);
    ck_assert_int_eq(reason_of(hex("93 df ff ff ff ff")), FRAMER_REASON_TOO_MANY);
    ck_assert_int_eq(reason_of(hex("93 dd 00 20 00 00")), FRAMER_REASON_TOO_MANY);
    ck_assert_int_eq(reason_of(hex("93 dd 00 10 00 00")), FRAMER_REASON_NONE);
    ck_assert_int_eq(reason_of(hex("93 91 91 91 91 91 91 91 91")), FRAMER_REASON_TOO_DEEP);
    ck_assert_int_eq(reason_of(hex("93 91 91 91 91 91 91 91 01")), FRAMER_REASON_NONE);
}
END_TEST

START_TEST(a_bad_framer_stays_bad)
{
    struct framer framer;
    size_t length = 9;
    struct bytes bytes = hex("93 c1 00 00");
    framer_init(&framer);
    ck_assert_int_eq(framer_feed(&framer, bytes.data, 4, &length), FRAMER_BAD);
    ck_assert_int_eq(framer_feed(&framer, bytes.data, 4, &length), FRAMER_BAD);
    ck_assert_uint_eq(length, 9);
}
END_TEST

START_TEST(the_longest_frame_is_taken_and_one_byte_more_is_not)
{
    static uint8_t bytes[FRAME_BYTES_MAX + 16];
    struct writer writer = writer_over(bytes, sizeof(bytes));
    size_t length = 0;
    uint32_t body = FRAME_BYTES_MAX - 1 - 1 - 1 - 5;
    writer_put_array(&writer, 3);
    writer_put_nil(&writer);
    writer_put_nil(&writer);
    writer_put_bin_header(&writer, body);
    ck_assert_int_eq(feed(bytes_make(bytes, FRAME_BYTES_MAX - 1), &length), FRAMER_MORE);
    ck_assert_int_eq(feed(bytes_make(bytes, FRAME_BYTES_MAX), &length), FRAMER_WHOLE);
    ck_assert_uint_eq(length, FRAME_BYTES_MAX);
    store_u32(bytes + 4, body + 1);
    ck_assert_int_eq(reason_of(bytes_make(bytes, 8)), FRAMER_REASON_TOO_LONG);
}
END_TEST

START_TEST(a_short_value_across_the_limit_is_refused_when_its_head_is_there)
{
    static uint8_t bytes[FRAME_BYTES_MAX];
    struct writer writer = writer_over(bytes, sizeof(bytes));
    uint32_t head = 1 + 1 + 5;
    writer_put_array(&writer, 4);
    writer_put_nil(&writer);
    writer_put_bin_header(&writer, FRAME_BYTES_MAX - head - 10);
    /* Not the last value, ten bytes before the limit, 32 bytes long. */
    bytes[FRAME_BYTES_MAX - 10] = 0xbf;
    ck_assert_int_eq(reason_of(bytes_make(bytes, FRAME_BYTES_MAX - 9)), FRAMER_REASON_TOO_LONG);
    bytes[FRAME_BYTES_MAX - 10] = 0xa8;
    ck_assert_int_eq(reason_of(bytes_make(bytes, FRAME_BYTES_MAX - 9)), FRAMER_REASON_NONE);
    size_t length = 0;
    ck_assert_int_eq(feed(bytes_make(bytes, FRAME_BYTES_MAX), &length), FRAMER_WHOLE);
    ck_assert_uint_eq(length, FRAME_BYTES_MAX);
}
END_TEST

/* Writes a frame of random values; gives its length. */
static size_t random_frame(struct random *random, uint8_t *to, size_t room)
{
    struct writer writer = writer_over(to, room);
    uint32_t count = 3 + (uint32_t)random_below(random, 2);
    writer_put_array(&writer, count);
    for (uint32_t i = 0; i < count; i++) {
        values_put(random, &writer, 2);
    }
    ck_assert(!writer.overflowed);
    return writer_length(&writer);
}

START_TEST(a_frame_in_any_pieces_ends_at_the_same_place)
{
    static uint8_t frame[1 << 20];
    struct random random;
    random_init(&random, 21);
    for (int round = 0; round < 200; round++) {
        size_t length = random_frame(&random, frame, sizeof(frame));
        /* Every other frame in many pieces, byte by byte if it is short. */
        uint64_t piece_max = 1 + (round % 2 == 0 ? length / 500 : random_below(&random, length));
        struct framer framer;
        size_t found = 0;
        size_t available = 0;
        enum framer_result result = FRAMER_MORE;
        framer_init(&framer);
        while (available < length) {
            ck_assert_int_eq(result, FRAMER_MORE);
            ck_assert_uint_gt(framer_need(&framer), available);
            ck_assert_uint_le(framer_need(&framer), length);
            available += 1 + random_below(&random, piece_max);
            available = available < length ? available : length;
            /* Bytes may move between feeds, and none beyond what is there may be read. */
            uint8_t *copy = exact_copy(bytes_make(frame, available));
            result = framer_feed(&framer, copy, available, &found);
            free(copy);
        }
        ck_assert_int_eq(result, FRAMER_WHOLE);
        ck_assert_uint_eq(found, length);
    }
}
END_TEST

START_TEST(after_a_frame_it_is_ready_for_the_next)
{
    struct bytes bytes = hex("93 02 a1 78 90 94 01 05 c0 c0 93");
    struct framer framer;
    size_t length = 0;
    framer_init(&framer);
    ck_assert_int_eq(framer_feed(&framer, bytes.data, bytes.length, &length), FRAMER_WHOLE);
    ck_assert_uint_eq(length, 5);
    ck_assert_int_eq(framer_feed(&framer, bytes.data + 5, bytes.length - 5, &length), FRAMER_WHOLE);
    ck_assert_uint_eq(length, 5);
    ck_assert_int_eq(framer_feed(&framer, bytes.data + 10, 1, &length), FRAMER_MORE);
}
END_TEST

START_TEST(it_agrees_with_the_cursor_on_damaged_frames)
{
    static uint8_t frame[1 << 20];
    struct random random;
    uint32_t whole_count = 0;
    random_init(&random, 22);
    for (int round = 0; round < 3000; round++) {
        size_t length = random_frame(&random, frame, sizeof(frame) - 8);
        frame[random_below(&random, length < 64 ? length : 64)] = (uint8_t)random_next(&random);
        struct cursor cursor = cursor_over(bytes_make(frame, length));
        uint32_t count = 0;
        struct cursor head = cursor;
        size_t found = 0;
        bool is_frame =
            cursor_take_array(&head, &count) && (count == 3 || count == 4) && cursor_skip(&cursor);
        enum framer_result result = feed(bytes_make(frame, length), &found);
        ck_assert_int_eq(result == FRAMER_WHOLE, is_frame);
        if (is_frame) {
            ck_assert_uint_eq(found, (size_t)(cursor.at - frame));
            whole_count++;
        }
    }
    ck_assert_uint_gt(whole_count, 300);
    ck_assert_uint_lt(whole_count, 2900);
}
END_TEST

static Suite *framer_suite(void)
{
    Suite *suite = suite_create("framer");
    TCase *cases = tcase_create("framer");
    tcase_add_test(cases, a_request_and_a_one_way_call_are_frames);
    tcase_add_test(cases, the_first_byte_alone_refuses_a_stranger);
    tcase_add_test(cases, hostile_heads_are_refused_when_they_are_read);
    tcase_add_test(cases, a_bad_framer_stays_bad);
    tcase_add_test(cases, the_longest_frame_is_taken_and_one_byte_more_is_not);
    tcase_add_test(cases, a_short_value_across_the_limit_is_refused_when_its_head_is_there);
    tcase_add_test(cases, a_frame_in_any_pieces_ends_at_the_same_place);
    tcase_add_test(cases, after_a_frame_it_is_ready_for_the_next);
    tcase_add_test(cases, it_agrees_with_the_cursor_on_damaged_frames);
    suite_add_tcase(suite, cases);
    return suite;
}

TEST_MAIN(framer_suite)
