/* SPDX-License-Identifier: Apache-2.0 */
/* test_dead_letter_extra.c - what a dead letter was survives its journey; half of it, and what others say, is none. */
#include "proto/dead_letter_extra.h"
#include "proto/limits.h"
#include "test/lib/check_main.h"
#include "test/unit/proto/hex.h"

#include <string.h>

static uint8_t room[2 * EXTRA_BYTES_MAX];

static struct bytes write(const struct dead_letter_extra *extra)
{
    struct writer writer = writer_over(room, sizeof(room));
    dead_letter_extra_write(&writer, extra);
    ck_assert(!writer.overflowed);
    return writer_bytes(&writer);
}

/* The longest that there is: names, numbers and reason at their limits. */
static struct dead_letter_extra longest(void)
{
    static uint8_t text[TOPIC_NAME_BYTES_MAX + GROUP_NAME_BYTES_MAX + REASON_BYTES_MAX];
    memset(text, 'x', sizeof(text));
    return (struct dead_letter_extra){
        .group = bytes_make(text, GROUP_NAME_BYTES_MAX),
        .topic = bytes_make(text, TOPIC_NAME_BYTES_MAX),
        .queue = UINT16_MAX,
        .offset = INTEGER_LIMIT - 2,
        .attempts = UINT32_MAX,
        .reason = bytes_make(text, REASON_BYTES_MAX),
        .group_id = UINT32_MAX,
        .topic_id = UINT32_MAX - 1,
        .generation = UINT32_MAX - 2,
    };
}

START_TEST(what_was_written_is_read_and_fits)
{
    const struct dead_letter_extra was = longest();
    struct bytes bytes = write(&was);
    struct dead_letter_extra back;
    ck_assert_uint_le(bytes.length, EXTRA_BYTES_MAX);
    ck_assert(dead_letter_extra_read(bytes, &back));
    ck_assert(bytes_equal(back.group, was.group));
    ck_assert(bytes_equal(back.topic, was.topic));
    ck_assert_uint_eq(back.queue, was.queue);
    ck_assert_uint_eq(back.offset, was.offset);
    ck_assert_uint_eq(back.attempts, was.attempts);
    ck_assert(bytes_equal(back.reason, was.reason));
    ck_assert_uint_eq(back.group_id, was.group_id);
    ck_assert_uint_eq(back.topic_id, was.topic_id);
    ck_assert_uint_eq(back.generation, was.generation);
}
END_TEST

START_TEST(a_part_of_one_is_none)
{
    const struct dead_letter_extra was = longest();
    struct bytes bytes = write(&was);
    struct dead_letter_extra back;
    for (size_t cut = 0; cut < bytes.length; cut++) {
        uint8_t *copy = exact_copy(bytes_make(bytes.data, cut));
        ck_assert_msg(!dead_letter_extra_read(bytes_make(copy, cut), &back), "cut at %zu", cut);
        free(copy);
    }
}
END_TEST

#define DEAD  "a4 64656164"
#define PLACE "a5 706c616365"
#define WAS   "a1 67 a1 74 07 08 03 a2 6e6f" /* g t 7 8 3 no */

START_TEST(of_others_that_alone_is_one_which_says_all)
{
    static const struct {
        const char *text;
        bool is_one;
    } extras[] = {
        {"82 " DEAD " 96 " WAS " " PLACE " 93 01 02 03", true},
        {"82 " PLACE " 93 01 02 03 " DEAD " 96 " WAS, true},
        {"83 " DEAD " 97 " WAS " c0 " PLACE " 94 01 02 03 c3 a1 78 80",
         true}, /* a newer broker's */
        {"81 " DEAD " 96 " WAS, false},
        {"81 " PLACE " 93 01 02 03", false},
        {"82 " DEAD " c0 " PLACE " 93 01 02 03", false},
        {"82 " DEAD " 95 a1 67 a1 74 07 08 03 " PLACE " 93 01 02 03", false},
        {"82 " DEAD " 96 a1 67 a1 74 07 08 03 c0 " PLACE " 93 01 02 03", false},
        {"82 " DEAD " 96 a1 67 a1 74 ce 00010000 08 03 a0 " PLACE " 93 01 02 03", false},
        {"82 " DEAD " 96 a1 67 a1 74 07 cf 001fffffffffffff 03 a0 " PLACE " 93 01 02 03", false},
        {"82 " DEAD " 96 " WAS " " PLACE " 92 01 02", false},
        {"82 " DEAD " 96 " WAS " 01 93 01 02 03", false},
        {"80", false},
        {"c0", false},
    };
    for (size_t i = 0; i < sizeof(extras) / sizeof(extras[0]); i++) {
        struct dead_letter_extra back;
        bool is_one = dead_letter_extra_read(hex(extras[i].text), &back);
        ck_assert_msg(is_one == extras[i].is_one, "%s", extras[i].text);
    }
}
END_TEST

static Suite *dead_letter_extra_suite(void)
{
    Suite *suite = suite_create("dead_letter_extra");
    TCase *tests = tcase_create("dead_letter_extra");
    tcase_add_test(tests, what_was_written_is_read_and_fits);
    tcase_add_test(tests, a_part_of_one_is_none);
    tcase_add_test(tests, of_others_that_alone_is_one_which_says_all);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(dead_letter_extra_suite)
