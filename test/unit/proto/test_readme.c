/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_readme.c - the examples of proto/README.md are what our readers take and our tables say.
 *
 * An example is a fenced block `hex SIDE METHOD request|one-way|answer` (or `hex error`), two hex
 * digits a byte, with `;` before what is for people.
 */
#include "proto/arguments.h"
#include "proto/framer.h"
#include "proto/message.h"
#include "proto/record.h"
#include "proto/request.h"
#include "test/lib/check_main.h"
#include "test/unit/proto/hex.h"

#include <stdio.h>

static char page[256 * 1024];
static char block[64 * 1024];

static void set_up(void)
{
    FILE *file = fopen(README_PATH, "rb");
    ck_assert_ptr_nonnull(file);
    size_t length = fread(page, 1, sizeof(page) - 1, file);
    ck_assert_uint_gt(length, 0);
    ck_assert_uint_lt(length, sizeof(page) - 1);
    page[length] = '\0';
    ck_assert_int_eq(fclose(file), 0);
}

/* The bytes of the example with this title, or none; there is at most one. */
static struct bytes example(const char *title)
{
    char head[128];
    snprintf(head, sizeof(head), "\n```hex %s\n", title);
    const char *at = strstr(page, head);
    if (at == NULL) {
        return (struct bytes){NULL, 0};
    }
    ck_assert_ptr_null(strstr(at + 1, head));
    at += strlen(head);
    const char *end = strstr(at, "\n```");
    ck_assert_ptr_nonnull(end);
    size_t length = 0;
    bool is_comment = false;
    for (; at < end; at++) {
        is_comment = *at == '\n' ? false : is_comment || *at == ';';
        if (!is_comment) {
            block[length++] = *at;
        }
    }
    block[length] = '\0';
    return hex(block);
}

static struct bytes example_of(const struct method *method, const char *kind)
{
    char title[128];
    const char *side = method->side == METHOD_SIDE_BROKER ? "broker" : "nameserver";
    snprintf(title, sizeof(title), "%s %s %s", side, method->name, kind);
    return example(title);
}

/* The bytes are one frame, no more and no less. */
static void is_frame(struct bytes bytes)
{
    struct framer framer;
    size_t length = 0;
    framer_init(&framer);
    ck_assert_int_eq(framer_feed(&framer, bytes.data, bytes.length, &length), FRAMER_WHOLE);
    ck_assert_uint_eq(length, bytes.length);
}

/* The section of a method: from its heading to the next one. */
static struct bytes section_of(const struct method *method)
{
    char head[128];
    const char *side = method->side == METHOD_SIDE_BROKER ? "broker" : "nameserver";
    snprintf(head, sizeof(head), "\n### %s (the %s)\n", method->name, side);
    const char *start = strstr(page, head);
    ck_assert_msg(start != NULL, "no section%s", head);
    const char *end = strstr(start + 1, "\n### ");
    return bytes_make(start, end == NULL ? strlen(start) : (size_t)(end - start));
}

/* The section says `name` in code quotes. */
static void is_named(struct bytes section, struct bytes name)
{
    char quoted[128];
    snprintf(quoted, sizeof(quoted), "`%.*s`", (int)name.length, (const char *)name.data);
    ck_assert_msg(memmem(section.data, section.length, quoted, strlen(quoted)) != NULL,
                  "%s is in an example, not in the text", quoted);
}

static void check_call(const struct method *method, struct bytes frame)
{
    static struct arguments arguments;
    struct request request;
    struct refusal refusal;
    is_frame(frame);
    ck_assert_int_eq(request_read(frame, &request), OK);
    ck_assert_ptr_eq(method_find(method->side, request.method), method);
    if (arguments_read(method, request.arguments, &arguments, &refusal) != OK) {
        ck_abort_msg("%s: %s", method->name, refusal.message);
    }
    if (method->id != METHOD_PRODUCE) {
        return;
    }
    struct cursor messages = arguments_cursor(&arguments, ARGUMENT_MESSAGES);
    for (uint64_t i = 0; i < arguments_number(&arguments, ARGUMENT_MESSAGES); i++) {
        struct message_view view;
        ck_assert_int_eq(message_read(&messages, &view, &refusal), OK);
    }
    ck_assert(cursor_is_done(&messages));
}

static void check_records(struct cursor *cursor)
{
    uint32_t count;
    ck_assert_uint_eq(*cursor->at, 0xdd);
    ck_assert(cursor_take_array(cursor, &count));
    for (uint32_t i = 0; i < count; i++) {
        struct record_view view;
        struct message_view message;
        struct bytes raw;
        struct bytes rest = {cursor->at, cursor_left(cursor)};
        ck_assert_int_eq(record_read_anywhere(rest, &view), RECORD_WHOLE);
        ck_assert(message_read_stored(view.message, &message));
        ck_assert(cursor_take_raw(cursor, view.fields.size, &raw));
    }
}

static void check_answer(const struct method *method, struct bytes frame)
{
    struct answer answer;
    struct bytes section = section_of(method);
    uint32_t count;
    is_frame(frame);
    ck_assert_int_eq(answer_read(frame, &answer), OK);
    ck_assert(!answer.failed);
    struct cursor cursor = cursor_over(answer.result);
    if (cursor_try_nil(&cursor)) {
        return;
    }
    ck_assert(cursor_take_map(&cursor, &count));
    for (uint32_t i = 0; i < count; i++) {
        struct bytes key;
        ck_assert(cursor_take_str(&cursor, &key));
        is_named(section, key);
        if (bytes_equal(key, BYTES_OF("messages"))) {
            /* Records come raw and last. */
            ck_assert_uint_eq(i, count - 1);
            check_records(&cursor);
        } else {
            ck_assert(cursor_skip(&cursor));
        }
    }
    ck_assert(cursor_is_done(&cursor));
}

START_TEST(every_method_has_an_example_that_its_rules_take)
{
    for (unsigned i = 0; i < METHOD_COUNT; i++) {
        const struct method *method = method_get((enum method_id)i);
        struct bytes request = example_of(method, "request");
        struct bytes one_way = example_of(method, "one-way");
        ck_assert_msg(request.length + one_way.length > 0, "%s has no example", method->name);
        check_call(method, request.length > 0 ? request : one_way);
        struct bytes answer = example_of(method, "answer");
        ck_assert_msg((answer.length > 0) == (request.length > 0), "%s", method->name);
        if (answer.length > 0) {
            check_answer(method, answer);
        }
    }
}
END_TEST

START_TEST(every_argument_stands_in_its_methods_section)
{
    for (unsigned i = 0; i < METHOD_COUNT; i++) {
        const struct method *method = method_get((enum method_id)i);
        struct bytes section = section_of(method);
        for (const struct argument_rule *rule = method->rules; rule < method->rules_end; rule++) {
            if (rule->id != ARGUMENT_DEADLINE_MS) {
                is_named(section, bytes_from_string(rule->name));
            }
        }
    }
}
END_TEST

START_TEST(the_example_of_an_error_is_a_refusal)
{
    struct answer answer;
    struct refusal refusal;
    uint64_t resume = 0;
    struct bytes frame = example("error");
    is_frame(frame);
    ck_assert_int_eq(answer_read(frame, &answer), OK);
    ck_assert(answer.failed);
    struct cursor cursor = cursor_over(answer.error);
    ck_assert(refusal_read(&cursor, &refusal));
    ck_assert_int_eq(refusal.code, ERROR_TRUNCATED);
    ck_assert(refusal_get(&refusal, REFUSAL_RESUME, &resume));
    ck_assert_uint_eq(resume, 40);
    /* What we would write is the same, byte for byte. */
    uint8_t buffer[REFUSAL_BYTES_MAX + ANSWER_BEGIN_BYTES_MAX];
    struct writer writer = writer_over(buffer, sizeof(buffer));
    answer_write_refusal(&writer, answer.msgid, &refusal, ERROR_FORM_MAP);
    ck_assert_bytes_eq(writer_bytes(&writer), frame);
}
END_TEST

START_TEST(the_limits_of_an_example_are_ours)
{
    uint8_t buffer[512];
    struct writer writer = writer_over(buffer, sizeof(buffer));
    answer_put_limits(&writer);
    struct bytes ours = writer_bytes(&writer);
    struct bytes hello = example("broker hello answer");
    ck_assert_ptr_nonnull(memmem(hello.data, hello.length, ours.data, ours.length));
    hello = example("nameserver hello answer");
    ck_assert_ptr_nonnull(memmem(hello.data, hello.length, ours.data, ours.length));
}
END_TEST

static Suite *readme_suite(void)
{
    Suite *suite = suite_create("readme");
    TCase *cases = tcase_create("readme");
    tcase_add_checked_fixture(cases, set_up, NULL);
    tcase_add_test(cases, every_method_has_an_example_that_its_rules_take);
    tcase_add_test(cases, every_argument_stands_in_its_methods_section);
    tcase_add_test(cases, the_example_of_an_error_is_a_refusal);
    tcase_add_test(cases, the_limits_of_an_example_are_ours);
    suite_add_tcase(suite, cases);
    return suite;
}

TEST_MAIN(readme_suite)
