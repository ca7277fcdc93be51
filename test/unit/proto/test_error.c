/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_error.c - the codes are those of the protocol for ever, and a refusal survives its journey
 * in each of its forms.
 */
#include "proto/cursor.h"
#include "proto/error.h"
#include "proto/writer.h"
#include "test/lib/check_main.h"
#include "test/unit/proto/hex.h"

static uint8_t buffer[REFUSAL_BYTES_MAX];

/* Writes and reads back. */
static struct refusal through(const struct refusal *refusal, enum error_form form)
{
    struct refusal back;
    struct writer writer = writer_over(buffer, sizeof(buffer));
    refusal_write(refusal, form, &writer);
    ck_assert(!writer.overflowed);
    struct cursor cursor = cursor_over(writer_bytes(&writer));
    ck_assert(refusal_read(&cursor, &back));
    ck_assert(cursor_is_done(&cursor));
    return back;
}

START_TEST(codes_count_from_their_ranges_first)
{
    static const struct {
        int first;
        const char *names;
    } ranges[] = {
        {1, "MALFORMED UNKNOWN_METHOD UNKNOWN_ARGUMENT BAD_ARGUMENT BAD_FILTER TOO_LARGE "
            "CRC_MISMATCH MIXED_QUEUES UNAUTHORIZED FORBIDDEN "},
        {20, "NOT_MASTER WRONG_BROKER FENCED STOPPING WARMING READ_ONLY TOPIC_NOT_FOUND "
             "GROUP_NOT_FOUND NOT_ENOUGH_REPLICAS "},
        {40, "OVERLOADED TOO_MANY_WAITING DISK_FULL RETENTION_FULL DELAY_FULL TXN_FULL GROUP_FULL "
             "DEADLINE "},
        {60, "OFFSET_TOO_SMALL TRUNCATED TOPIC_CHANGED LEASE_LOST TOO_LATE TXN_ENDED TXN_UNKNOWN "
             "MESSAGE_NOT_FOUND CONFLICT WOULD_REORDER OUT_OF_SEQUENCE DIVERGED TOO_OLD "
             "READ_ONLY_SETTING "},
        {80, "NOT_YET_DURABLE "},
        {90, "CORRUPT IO_FAILED FORMAT "},
    };
    int listed = 0;
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        int code = ranges[i].first;
        for (const char *at = ranges[i].names; *at != '\0'; code++, listed++) {
            size_t length = strcspn(at, " ");
            ck_assert_int_eq(error_from_name(bytes_make(at, length)), code);
            ck_assert_int_eq(error_from_code((uint64_t)code), code);
            ck_assert_uint_eq(strlen(error_name((enum error)code)), length);
            at += length + 1;
        }
    }
    int known = 0;
    for (uint64_t code = 0; code < 1000; code++) {
        known += error_from_code(code) != OK;
    }
    ck_assert_int_eq(known, listed);
    ck_assert_int_eq(error_from_name(BYTES_OF("NO_SUCH")), OK);
}
END_TEST

START_TEST(the_range_says_what_to_do)
{
    ck_assert(!error_is_retryable(ERROR_BAD_ARGUMENT));
    ck_assert(error_is_retryable(ERROR_WARMING));
    ck_assert(error_is_retryable(ERROR_DEADLINE));
    ck_assert(!error_is_retryable(ERROR_TRUNCATED));
    ck_assert(!error_is_retryable(ERROR_NOT_YET_DURABLE));
    ck_assert(error_is_overload(ERROR_DISK_FULL));
    ck_assert(!error_is_overload(ERROR_WARMING));
    ck_assert_str_eq(error_stored_name(error_stored(ERROR_OVERLOADED)), "no");
    ck_assert_str_eq(error_stored_name(error_stored(ERROR_NOT_YET_DURABLE)), "yes");
    ck_assert_str_eq(error_stored_name(error_stored(ERROR_IO_FAILED)), "maybe");
}
END_TEST

START_TEST(a_map_carries_all_details)
{
    struct refusal refusal;
    uint64_t value;
    (void)refusal_set(&refusal, ERROR_BAD_ARGUMENT, "queue has to be %d to %d", 0, 1023);
    for (int i = 0; i < REFUSAL_DETAIL_COUNT; i++) {
        refusal_add(&refusal, (enum refusal_detail)i, 1000 + (uint64_t)i);
    }
    refusal_add_key(&refusal, BYTES_OF("queue"));
    refusal_add_broker(&refusal, BYTES_OF("broker-a"));
    for (uint32_t i = 0; i < 40; i++) {
        refusal_add_queue(&refusal, i / 2);
    }
    struct refusal back = through(&refusal, ERROR_FORM_MAP);
    ck_assert_int_eq(back.code, ERROR_BAD_ARGUMENT);
    ck_assert_str_eq(back.message, "queue has to be 0 to 1023");
    ck_assert_str_eq(back.key, "queue");
    ck_assert_str_eq(back.broker, "broker-a");
    ck_assert_uint_eq(back.queue_count, REFUSAL_QUEUES_MAX);
    ck_assert_uint_eq(back.queues[15], 15);
    for (int i = 0; i < REFUSAL_DETAIL_COUNT; i++) {
        ck_assert(refusal_get(&back, (enum refusal_detail)i, &value));
        ck_assert_uint_eq(value, 1000 + (uint64_t)i);
    }
}
END_TEST

START_TEST(a_map_has_the_keys_that_every_error_has)
{
    struct refusal refusal;
    (void)refusal_set(&refusal, ERROR_TOPIC_NOT_FOUND, "%s", "");
    struct writer writer = writer_over(buffer, sizeof(buffer));
    refusal_write(&refusal, ERROR_FORM_MAP, &writer);
    struct writer expected = writer_over(buffer + 512, 512);
    writer_put_map(&expected, 5);
    writer_put_key_uint(&expected, "code", 26);
    writer_put_key_string(&expected, "name", "TOPIC_NOT_FOUND");
    writer_put_key_string(&expected, "message", "there is no such topic");
    writer_put_key_bool(&expected, "retryable", true);
    writer_put_key_string(&expected, "stored", "no");
    ck_assert_bytes_eq(writer_bytes(&writer), writer_bytes(&expected));
}
END_TEST

START_TEST(text_and_pair_carry_code_and_message)
{
    struct refusal refusal;
    (void)refusal_set(&refusal, ERROR_WARMING, "wait: a little");
    struct refusal back = through(&refusal, ERROR_FORM_TEXT);
    ck_assert_int_eq(back.code, ERROR_WARMING);
    ck_assert_str_eq(back.message, "wait: a little");
    ck_assert_bytes_eq(bytes_make(buffer, 24), hex("b7 57 41 52 4d 49 4e 47 3a 20"
                                                   "77 61 69 74 3a 20 61 20 6c 69 74 74 6c 65"));
    back = through(&refusal, ERROR_FORM_PAIR);
    ck_assert_int_eq(back.code, ERROR_WARMING);
    ck_assert_str_eq(back.message, "wait: a little");
    ck_assert_uint_eq(buffer[0], 0x92);
    ck_assert_uint_eq(buffer[1], 24);
}
END_TEST

START_TEST(an_overload_says_limit_value_and_usage)
{
    struct refusal refusal;
    struct refusal_overload overload = {"unanswered requests", 256, 1, 256, 50};
    uint64_t value;
    (void)refusal_set_overload(&refusal, ERROR_OVERLOADED, &overload);
    struct refusal back = through(&refusal, ERROR_FORM_MAP);
    ck_assert_str_eq(back.message, "unanswered requests: limit 256, asked for 1, in use 256");
    ck_assert(refusal_get(&back, REFUSAL_LIMIT, &value) && value == 256);
    ck_assert(refusal_get(&back, REFUSAL_USAGE, &value) && value == 256);
    ck_assert(refusal_get(&back, REFUSAL_RETRY_AFTER_MS, &value) && value == 50);
    ck_assert(!refusal_get(&back, REFUSAL_RESUME, &value));
}
END_TEST

START_TEST(a_peers_bytes_in_a_refusal_are_clean_and_cut_between_characters)
{
    struct refusal refusal;
    char text[400];
    (void)refusal_set(&refusal, ERROR_BAD_ARGUMENT, "no %s", "\x1b[2J\n\xff");
    ck_assert_str_eq(refusal.message, "no ?[2J??");
    (void)refusal_set(&refusal, ERROR_BAD_ARGUMENT, "no %s", "gr\xc3\xbc\xc3\x9f");
    ck_assert_str_eq(refusal.message, "no gr\xc3\xbc\xc3\x9f");
    memset(text, 'x', sizeof(text));
    /* The 64th byte, where a key is cut, falls into a character. */
    memcpy(text + REFUSAL_KEY_BYTES - 2, "\xc3\xbc", 2);
    refusal_add_key(&refusal, bytes_make(text, sizeof(text)));
    ck_assert_uint_eq(strlen(refusal.key), REFUSAL_KEY_BYTES - 2);
}
END_TEST

START_TEST(the_largest_refusal_fits)
{
    struct refusal refusal;
    char text[400];
    memset(text, 'x', sizeof(text));
    text[399] = '\0';
    (void)refusal_set(&refusal, ERROR_NOT_ENOUGH_REPLICAS, "%s", text);
    for (int i = 0; i < REFUSAL_DETAIL_COUNT; i++) {
        refusal_add(&refusal, (enum refusal_detail)i, UINT64_MAX);
    }
    refusal_add_key(&refusal, bytes_make(text, sizeof(text)));
    refusal_add_broker(&refusal, bytes_make(text, sizeof(text)));
    for (uint32_t i = 0; i < REFUSAL_QUEUES_MAX; i++) {
        refusal_add_queue(&refusal, UINT32_MAX - i);
    }
    (void)through(&refusal, ERROR_FORM_MAP);
    (void)through(&refusal, ERROR_FORM_TEXT);
}
END_TEST

START_TEST(what_is_no_refusal_is_refused)
{
    static const char *const texts[] = {
        "c0",
        "80",
        "a0",
        "a2 68 69",
        "91 01",
        "92 00 a0",
        "92 a0 a0",
        "81 a4 63 6f 64 65 00",
        "81 a4 63 6f 64 65 ff",
        "81 a4 63 6f 64 65",
        "05",
        "81 01 02",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct refusal refusal = {.code = ERROR_WARMING};
        struct cursor cursor = cursor_over(hex(texts[i]));
        ck_assert_msg(!refusal_read(&cursor, &refusal), "%s", texts[i]);
        ck_assert_int_eq(refusal.code, ERROR_WARMING);
    }
    /* A code and a key of later times are no reason to refuse. */
    struct refusal refusal;
    struct cursor cursor = cursor_over(hex("82 a4 63 6f 64 65 1d a1 78 92 01 02"));
    ck_assert(refusal_read(&cursor, &refusal));
    ck_assert_int_eq((int)refusal.code, 29);
    ck_assert_str_eq(error_name(refusal.code), "UNKNOWN");
    ck_assert(error_is_retryable(refusal.code));
}
END_TEST

START_TEST(of_two_limits_the_last_one_counts)
{
    struct refusal refusal;
    uint64_t value = 0;
    struct cursor cursor = cursor_over(hex("83 a4 63 6f 64 65 04 a5 6c 69 6d 69 74 07"
                                           "a5 6c 69 6d 69 74 a1 78"));
    ck_assert(refusal_read(&cursor, &refusal));
    ck_assert_str_eq(refusal.limit_text, "x");
    ck_assert(!refusal_get(&refusal, REFUSAL_LIMIT, &value));
    cursor = cursor_over(hex("83 a4 63 6f 64 65 04 a5 6c 69 6d 69 74 a1 78"
                             "a5 6c 69 6d 69 74 07"));
    ck_assert(refusal_read(&cursor, &refusal));
    ck_assert_str_eq(refusal.limit_text, "");
    ck_assert(refusal_get(&refusal, REFUSAL_LIMIT, &value));
    ck_assert_uint_eq(value, 7);
    (void)through(&refusal, ERROR_FORM_MAP);
}
END_TEST

static Suite *error_suite(void)
{
    Suite *suite = suite_create("error");
    TCase *cases = tcase_create("error");
    tcase_add_test(cases, codes_count_from_their_ranges_first);
    tcase_add_test(cases, the_range_says_what_to_do);
    tcase_add_test(cases, a_map_carries_all_details);
    tcase_add_test(cases, a_map_has_the_keys_that_every_error_has);
    tcase_add_test(cases, text_and_pair_carry_code_and_message);
    tcase_add_test(cases, an_overload_says_limit_value_and_usage);
    tcase_add_test(cases, a_peers_bytes_in_a_refusal_are_clean_and_cut_between_characters);
    tcase_add_test(cases, the_largest_refusal_fits);
    tcase_add_test(cases, what_is_no_refusal_is_refused);
    tcase_add_test(cases, of_two_limits_the_last_one_counts);
    suite_add_tcase(suite, cases);
    return suite;
}

TEST_MAIN(error_suite)
