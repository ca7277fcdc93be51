/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_message.c - what producers may send, what is refused, and what is stored of it.
 */
#include "proto/base/crc32c.h"
#include "proto/limits.h"
#include "proto/message.h"
#include "proto/writer.h"
#include "test/lib/check_main.h"
#include "test/unit/proto/hex.h"

static uint8_t buffer[MESSAGE_BYTES_MAX + 256];
static uint8_t stored[MESSAGE_BYTES_MAX + 256];
static struct writer writer;
static struct message_view view;
static struct refusal refusal;

static void set_up(void)
{
    writer = writer_over(buffer, sizeof(buffer));
    memset(&view, 0, sizeof(view));
}

/* Reads one element out of memory of exactly its size; the view then points to the original. */
static enum error read_bytes(struct bytes element)
{
    uint8_t *copy = exact_copy(element);
    struct cursor cursor = cursor_over(bytes_make(copy, element.length));
    enum error error = message_read(&cursor, &view, &refusal);
    free(copy);
    if (error == OK) {
        cursor = cursor_over(element);
        error = message_read(&cursor, &view, &refusal);
        ck_assert(cursor_is_done(&cursor));
    }
    return error;
}

/* Sent as the first, an element is stored as the second. */
static void is_stored_as(const char *sent, const char *expected)
{
    struct bytes canonical = hex(expected);
    struct message_view again;
    ck_assert_msg(read_bytes(hex(sent)) == OK, "refused: %s", sent);
    ck_assert_uint_eq(view.canonical_bytes, canonical.length);
    ck_assert_int_eq(view.needs_rewrite, strcmp(sent, expected) != 0);
    message_write_canonical(&view, stored);
    ck_assert_bytes_eq(bytes_make(stored, view.canonical_bytes), canonical);
    ck_assert(message_read_stored(canonical, &again));
    ck_assert_int_eq(message_read_stored(hex(sent), &again), !view.needs_rewrite);
}

START_TEST(a_body_alone_is_a_message)
{
    ck_assert_int_eq(read_bytes(hex("c4 02 68 69")), OK);
    ck_assert_bytes_eq(view.body, BYTES_OF("hi"));
    ck_assert_uint_eq(view.element.length, 4);
    ck_assert(!view.has_tag);
    ck_assert_uint_eq(view.key_count + view.property_count, 0);
    ck_assert_uint_eq(message_tag_hash(&view), 0);
    ck_assert_uint_eq(message_key_hash(&view), 0);
    ck_assert_int_eq(read_bytes(hex("c4 00")), OK);
    ck_assert_uint_eq(view.body.length, 0);
}
END_TEST

START_TEST(the_four_parts_are_found)
{
    ck_assert_int_eq(read_bytes(hex("94 a3 74 61 67 92 a2 6b 31 a2 6b 32"
                                    "81 a1 61 a1 62 c4 02 68 69")),
                     OK);
    ck_assert(view.has_tag);
    ck_assert_bytes_eq(view.tag, BYTES_OF("tag"));
    ck_assert_bytes_eq(view.first_key, BYTES_OF("k1"));
    ck_assert_bytes_eq(view.keys, hex("a2 6b 31 a2 6b 32"));
    ck_assert_bytes_eq(view.properties, hex("a1 61 a1 62"));
    ck_assert_bytes_eq(view.body, BYTES_OF("hi"));
    ck_assert_uint_eq(view.key_count, 2);
    ck_assert_uint_eq(view.property_count, 1);
    ck_assert_uint_eq(message_tag_hash(&view), crc32c("tag", 3));
    ck_assert_uint_eq(message_key_hash(&view), crc32c("k1", 2));
    ck_assert_uint_eq(message_key_queue(10, 4), 2);
}
END_TEST

START_TEST(stored_are_text_as_str_and_bodies_as_bin)
{
    is_stored_as("c4 02 68 69", "c4 02 68 69");
    is_stored_as("a2 68 69", "c4 02 68 69");
    is_stored_as("a0", "c4 00");
    is_stored_as("c5 00 02 68 69", "c5 00 02 68 69");
    is_stored_as("da 00 02 68 69", "c4 02 68 69");
    is_stored_as("94 c0 c0 c0 c4 00", "94 c0 c0 c0 c4 00");
    is_stored_as("94 c4 01 74 91 c4 01 6b 81 c4 01 61 a1 62 a1 78",
                 "94 a1 74 91 a1 6b 81 a1 61 a1 62 c4 01 78");
    is_stored_as("94 c4 00 90 90 c4 00", "94 a0 90 80 c4 00");
    is_stored_as("94 c0 c0 dc 00 00 c4 00", "94 c0 c0 80 c4 00");
    is_stored_as("94 d9 01 74 dc 00 01 a1 6b de 00 00 c4 00",
                 "94 d9 01 74 dc 00 01 a1 6b de 00 00 c4 00");
    is_stored_as("dc 00 04 c0 c0 c0 c4 00", "94 c0 c0 c0 c4 00");
    is_stored_as("94 c0 c0 81 c5 00 01 61 c6 00 00 00 01 62 a1 78",
                 "94 c0 c0 81 a1 61 a1 62 c4 01 78");
}
END_TEST

START_TEST(a_long_text_that_was_bin_gets_the_header_that_fits)
{
    static uint8_t content[300];
    memset(content, 'x', sizeof(content));
    for (size_t length = 0; length <= sizeof(content); length++) {
        set_up();
        writer_put_array(&writer, 4);
        writer_put_bin(&writer, bytes_make(content, length < 255 ? length : 255));
        writer_put_nil(&writer);
        writer_put_nil(&writer);
        writer_put_str(&writer, bytes_make(content, length));
        ck_assert_int_eq(read_bytes(writer_bytes(&writer)), OK);
        message_write_canonical(&view, stored);
        struct message_view again;
        ck_assert(message_read_stored(bytes_make(stored, view.canonical_bytes), &again));
        ck_assert(bytes_equal(again.tag, view.tag));
        ck_assert(bytes_equal(again.body, view.body));
        ck_assert(!again.needs_rewrite);
    }
}
END_TEST

START_TEST(other_shapes_are_refused)
{
    static const char *const texts[] = {
        "",
        "c0",
        "01",
        "c3",
        "80",
        "90",
        "93 c0 c0 c0",
        "95 c0 c0 c0 c4 00 c0",
        "94 c0 c0 c0 c0",             /* a body may be empty, not absent */
        "94 01 c0 c0 c4 00",          /* the tag is a number */
        "94 a1 ff c0 c0 c4 00",       /* ... or no UTF-8 */
        "94 c0 a1 6b c0 c4 00",       /* keys without an array */
        "94 c0 91 01 c0 c4 00",       /* a key is a number */
        "94 c0 91 c0 c0 c4 00",       /* ... or nil */
        "94 c0 91 a1 ff c0 c4 00",    /* ... or no UTF-8 */
        "94 c0 c0 91 a1 61 c4 00",    /* properties in an array */
        "94 c0 c0 81 a1 61 01 c4 00", /* a value is a number */
        "94 c0 c0 81 a1 61 c0 c4 00", /* ... or nil */
        "94 c0 c0 81 01 a1 61 c4 00", /* a name is a number */
        "94 c0 c0 81 a1 61 a1 ff c4 00",
        "94 c0 c0 81 a1 61 81 a1 62 a1 63 c4 00",
        "94 c0 c0 82 a1 61 a1 62 a1 61 a1 63 c4 00", /* a property twice */
        "94 c0 c0 82 a1 61 a1 62 c4 01 61 a1 63 c4 00",
        "94 c0 c0 c0 91 01",
        "c7 01 05 00",
        "d6 ff 00 00 00 00",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        ck_assert_msg(read_bytes(hex(texts[i])) == ERROR_BAD_ARGUMENT, "taken: %s", texts[i]);
        ck_assert_int_eq(refusal.code, ERROR_BAD_ARGUMENT);
        ck_assert_str_eq(refusal.key, "messages");
    }
}
END_TEST

/* What was written is refused as too large, by this limit. */
static void is_too_large(uint64_t limit)
{
    uint64_t found = 0;
    ck_assert(!writer.overflowed);
    ck_assert_int_eq(read_bytes(writer_bytes(&writer)), ERROR_TOO_LARGE);
    ck_assert(refusal_get(&refusal, REFUSAL_LIMIT, &found));
    ck_assert_uint_eq(found, limit);
    ck_assert(refusal_get(&refusal, REFUSAL_VALUE, &found));
    ck_assert_uint_gt(found, limit);
}

/* Writes a message with `keys` keys of `key_bytes` and `properties` of two bytes each. */
static void put_message(uint32_t keys, size_t key_bytes, uint32_t properties)
{
    static uint8_t content[512];
    memset(content, 'k', sizeof(content));
    set_up();
    writer_put_array(&writer, 4);
    writer_put_nil(&writer);
    writer_put_array(&writer, keys);
    for (uint32_t i = 0; i < keys; i++) {
        writer_put_str(&writer, bytes_make(content, key_bytes));
    }
    writer_put_map(&writer, properties);
    for (uint32_t i = 0; i < properties; i++) {
        uint8_t name[] = {(uint8_t)('a' + i / 26), (uint8_t)('a' + i % 26)};
        writer_put_str(&writer, bytes_make(name, 2));
        writer_put_str(&writer, BYTES_OF(""));
    }
    writer_put_bin(&writer, BYTES_OF(""));
}

START_TEST(every_limit_is_reached_and_not_passed)
{
    static uint8_t content[PROPERTIES_BYTES_MAX];
    memset(content, 'x', sizeof(content));
    put_message(KEYS_MAX, KEY_BYTES_MAX, PROPERTIES_MAX);
    ck_assert_int_eq(read_bytes(writer_bytes(&writer)), OK);
    put_message(KEYS_MAX + 1, 1, 0);
    is_too_large(KEYS_MAX);
    put_message(1, KEY_BYTES_MAX + 1, 0);
    is_too_large(KEY_BYTES_MAX);
    put_message(0, 0, PROPERTIES_MAX + 1);
    is_too_large(PROPERTIES_MAX);

    set_up();
    writer_put_array(&writer, 4);
    writer_put_str(&writer, bytes_make(content, TAG_BYTES_MAX + 1));
    writer_put_nil(&writer);
    writer_put_nil(&writer);
    writer_put_bin(&writer, BYTES_OF(""));
    is_too_large(TAG_BYTES_MAX);

    /* A map header, a name with its header, a value with its header. */
    for (size_t over = 0; over < 2; over++) {
        set_up();
        writer_put_array(&writer, 4);
        writer_put_nil(&writer);
        writer_put_nil(&writer);
        writer_put_map(&writer, 1);
        writer_put_str(&writer, BYTES_OF("n"));
        writer_put_str(&writer, bytes_make(content, PROPERTIES_BYTES_MAX - 1 - 2 - 3 + over));
        writer_put_bin(&writer, BYTES_OF(""));
        if (over == 0) {
            ck_assert_int_eq(read_bytes(writer_bytes(&writer)), OK);
        } else {
            is_too_large(PROPERTIES_BYTES_MAX);
        }
    }
}
END_TEST

START_TEST(the_largest_message_is_4_mib_as_stored)
{
    static uint8_t body[MESSAGE_BYTES_MAX];
    writer_put_bin(&writer, bytes_make(body, MESSAGE_BYTES_MAX - 5));
    ck_assert_int_eq(read_bytes(writer_bytes(&writer)), OK);
    ck_assert_uint_eq(view.canonical_bytes, MESSAGE_BYTES_MAX);
    set_up();
    writer_put_bin(&writer, bytes_make(body, MESSAGE_BYTES_MAX - 4));
    is_too_large(MESSAGE_BYTES_MAX);
}
END_TEST

START_TEST(no_prefix_of_a_message_is_a_message_and_none_is_read_beyond)
{
    struct bytes whole = hex("94 a3 74 61 67 92 a2 6b 31 c4 02 6b 32"
                             "82 a1 61 d9 01 62 a1 63 a0 c4 02 68 69");
    ck_assert_int_eq(read_bytes(whole), OK);
    for (size_t cut = 0; cut < whole.length; cut++) {
        ck_assert_int_ne(read_bytes((struct bytes){whole.data, cut}), OK);
    }
}
END_TEST

START_TEST(elements_follow_one_another)
{
    struct cursor cursor = cursor_over(hex("c4 01 61 94 c0 c0 c0 c4 01 62 c4 01 63"));
    for (uint8_t i = 0; i < 3; i++) {
        ck_assert_int_eq(message_read(&cursor, &view, &refusal), OK);
        ck_assert_uint_eq(view.body.length, 1);
        ck_assert_uint_eq(view.body.data[0], 'a' + i);
    }
    ck_assert(cursor_is_done(&cursor));
    ck_assert_int_eq(message_read(&cursor, &view, &refusal), ERROR_BAD_ARGUMENT);
}
END_TEST

static Suite *message_suite(void)
{
    Suite *suite = suite_create("message");
    TCase *cases = tcase_create("message");
    tcase_add_checked_fixture(cases, set_up, NULL);
    tcase_add_test(cases, a_body_alone_is_a_message);
    tcase_add_test(cases, the_four_parts_are_found);
    tcase_add_test(cases, stored_are_text_as_str_and_bodies_as_bin);
    tcase_add_test(cases, a_long_text_that_was_bin_gets_the_header_that_fits);
    tcase_add_test(cases, other_shapes_are_refused);
    tcase_add_test(cases, every_limit_is_reached_and_not_passed);
    tcase_add_test(cases, the_largest_message_is_4_mib_as_stored);
    tcase_add_test(cases, no_prefix_of_a_message_is_a_message_and_none_is_read_beyond);
    tcase_add_test(cases, elements_follow_one_another);
    suite_add_tcase(suite, cases);
    return suite;
}

TEST_MAIN(message_suite)
