/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_request.c - envelopes in all the forms that clients send, and what is none.
 */
#include "proto/framer.h"
#include "proto/limits.h"
#include "proto/request.h"
#include "test/lib/check_main.h"
#include "test/unit/proto/hex.h"

static struct request request;
static struct answer answer;

START_TEST(a_request_gives_its_id_method_and_arguments)
{
    ck_assert_int_eq(request_read(hex("94 00 05 a4 70 69 6e 67 91 81 a1 61 01"), &request), OK);
    ck_assert_int_eq(request.type, ENVELOPE_REQUEST);
    ck_assert(request.has_msgid);
    ck_assert_uint_eq(request.msgid, 5);
    ck_assert_bytes_eq(request.method, BYTES_OF("ping"));
    ck_assert_bytes_eq(request.arguments, hex("81 a1 61 01"));
}
END_TEST

START_TEST(a_one_way_call_has_no_id)
{
    ck_assert_int_eq(request_read(hex("93 02 a1 78 91 80"), &request), OK);
    ck_assert_int_eq(request.type, ENVELOPE_ONE_WAY);
    ck_assert(!request.has_msgid);
    ck_assert_bytes_eq(request.arguments, hex("80"));
}
END_TEST

START_TEST(every_form_of_no_arguments_is_taken)
{
    static const char *const texts[] = {"94 00 00 a1 78 90", "94 00 00 a1 78 91 c0",
                                        "94 00 00 a1 78 91 90", "94 00 00 c4 01 78 91 dc 00 00"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        ck_assert_msg(request_read(hex(texts[i]), &request) == OK, "%s", texts[i]);
        ck_assert_uint_eq(request.arguments.length, 0);
        ck_assert_uint_eq(request.msgid, 0);
    }
}
END_TEST

START_TEST(any_u32_is_an_id_in_any_width)
{
    ck_assert_int_eq(request_read(hex("94 00 ce ff ff ff ff a1 78 90"), &request), OK);
    ck_assert_uint_eq(request.msgid, UINT32_MAX);
    ck_assert_int_eq(request_read(hex("94 00 cf 00 00 00 00 00 00 00 07 a1 78 90"), &request), OK);
    ck_assert_uint_eq(request.msgid, 7);
    ck_assert_int_eq(request_read(hex("dc 00 04 cc 00 d2 00 00 00 08 a1 78 90"), &request), OK);
    ck_assert_uint_eq(request.msgid, 8);
}
END_TEST

START_TEST(what_is_no_call_is_malformed_but_keeps_its_id_where_it_has_one)
{
    static const struct {
        const char *text;
        bool has_msgid;
    } rows[] = {
        {"94 00 05 a1 78 80", true},       /* arguments not in an array */
        {"94 00 05 a1 78 92 80 80", true}, /* two of them */
        {"94 00 05 a1 78 91 01", true},    /* no map */
        {"94 00 05 a1 78 91 91 01", true}, /* an array with something in it */
        {"94 00 05 07 90", true},          /* the method is a number */
        {"94 00 05", true},                /* a beginning */
        {"94 00 05 a1 78 90 00", true},    /* something behind it */
        {"94 00", false},                  /* before the id */
        {"94 00 a1 35 a1 78 90", false},   /* the id is text */
        {"94 00 cf 00 00 00 01 00 00 00 00 a1 78 90", false},
        {"94 01 05 c0 c0", false}, /* an answer */
        {"94 03 05 a1 78 90", false},
        {"93 00 a1 78 90", false},
        {"94 02 05 a1 78 90", false},
        {"93 02 05 90", false},
        {"80", false},
        {"", false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ck_assert_msg(request_read(hex(rows[i].text), &request) == ERROR_MALFORMED, "%s",
                      rows[i].text);
        ck_assert_msg(request.has_msgid == rows[i].has_msgid, "%s", rows[i].text);
        ck_assert_uint_eq(request.msgid, rows[i].has_msgid ? 5 : 0);
    }
}
END_TEST

START_TEST(what_is_begun_is_read_back)
{
    uint8_t buffer[256];
    struct framer framer;
    size_t length = 0;
    struct writer writer = writer_over(buffer, sizeof(buffer));
    request_begin(&writer, 300, "topic.show", 1);
    writer_put_key_string(&writer, "name", "t");
    framer_init(&framer);
    ck_assert_int_eq(framer_feed(&framer, buffer, writer_length(&writer), &length), FRAMER_WHOLE);
    ck_assert_uint_eq(length, writer_length(&writer));
    ck_assert_int_eq(request_read(writer_bytes(&writer), &request), OK);
    ck_assert_uint_eq(request.msgid, 300);
    ck_assert_bytes_eq(request.method, BYTES_OF("topic.show"));

    writer = writer_over(buffer, sizeof(buffer));
    one_way_begin(&writer, "cancel", 1);
    writer_put_key_uint(&writer, "msgid", 300);
    ck_assert_int_eq(request_read(writer_bytes(&writer), &request), OK);
    ck_assert_int_eq(request.type, ENVELOPE_ONE_WAY);
}
END_TEST

START_TEST(answers_are_read_back)
{
    uint8_t buffer[ANSWER_BEGIN_BYTES_MAX + REFUSAL_BYTES_MAX];
    struct refusal refusal;
    struct refusal back;
    struct writer writer = writer_over(buffer, sizeof(buffer));
    answer_begin(&writer, UINT32_MAX);
    ck_assert_uint_le(writer_length(&writer), ANSWER_BEGIN_BYTES_MAX);
    writer_put_map(&writer, 1);
    writer_put_key_uint(&writer, "queue", 2);
    ck_assert_int_eq(answer_read(writer_bytes(&writer), &answer), OK);
    ck_assert(!answer.failed);
    ck_assert_uint_eq(answer.msgid, UINT32_MAX);
    ck_assert_uint_eq(answer.result.length, 8);

    for (int form = ERROR_FORM_MAP; form <= ERROR_FORM_PAIR; form++) {
        writer = writer_over(buffer, sizeof(buffer));
        (void)refusal_set(&refusal, ERROR_TOPIC_NOT_FOUND, "no topic 'x'");
        answer_write_refusal(&writer, 9, &refusal, (enum error_form)form);
        ck_assert_int_eq(answer_read(writer_bytes(&writer), &answer), OK);
        ck_assert(answer.failed);
        struct cursor error = cursor_over(answer.error);
        ck_assert(refusal_read(&error, &back));
        ck_assert_int_eq(back.code, ERROR_TOPIC_NOT_FOUND);
        ck_assert_str_eq(back.message, "no topic 'x'");
    }
    writer = writer_over(buffer, sizeof(buffer));
    answer_write_nil(&writer, 9);
    ck_assert_bytes_eq(writer_bytes(&writer), hex("94 01 09 c0 c0"));
}
END_TEST

START_TEST(what_is_no_answer_is_malformed)
{
    static const char *const texts[] = {"",
                                        "93 01 05 c0",
                                        "94 00 05 c0 c0",
                                        "94 01 05 c0",
                                        "94 01 05 c0 c0 00",
                                        "94 01 a1 35 c0 c0",
                                        "94 01 05 c0 c1"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        ck_assert_msg(answer_read(hex(texts[i]), &answer) == ERROR_MALFORMED, "%s", texts[i]);
    }
}
END_TEST

START_TEST(limits_are_named_for_clients)
{
    uint8_t buffer[512];
    struct writer writer = writer_over(buffer, sizeof(buffer));
    struct bytes key;
    uint64_t value = 0;
    uint32_t count;
    bool has_frame = false;
    answer_put_limits(&writer);
    struct cursor cursor = cursor_over(writer_bytes(&writer));
    ck_assert(cursor_take_str(&cursor, &key));
    ck_assert_bytes_eq(key, BYTES_OF("limits"));
    ck_assert(cursor_take_map(&cursor, &count));
    ck_assert_uint_eq(count, 15);
    for (uint32_t i = 0; i < count; i++) {
        ck_assert(cursor_take_str(&cursor, &key));
        ck_assert(cursor_take_uint(&cursor, &value));
        if (bytes_equal(key, BYTES_OF("frame"))) {
            has_frame = value == FRAME_BYTES_MAX;
        }
    }
    ck_assert(has_frame);
    ck_assert(cursor_is_done(&cursor));
}
END_TEST

static Suite *request_suite(void)
{
    Suite *suite = suite_create("request");
    TCase *cases = tcase_create("request");
    tcase_add_test(cases, a_request_gives_its_id_method_and_arguments);
    tcase_add_test(cases, a_one_way_call_has_no_id);
    tcase_add_test(cases, every_form_of_no_arguments_is_taken);
    tcase_add_test(cases, any_u32_is_an_id_in_any_width);
    tcase_add_test(cases, what_is_no_call_is_malformed_but_keeps_its_id_where_it_has_one);
    tcase_add_test(cases, what_is_begun_is_read_back);
    tcase_add_test(cases, answers_are_read_back);
    tcase_add_test(cases, what_is_no_answer_is_malformed);
    tcase_add_test(cases, limits_are_named_for_clients);
    suite_add_tcase(suite, cases);
    return suite;
}

TEST_MAIN(request_suite)
