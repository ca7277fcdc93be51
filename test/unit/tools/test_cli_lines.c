/* SPDX-License-Identifier: Apache-2.0 */
/* test_cli_lines.c - lines are what was between newlines, however the bytes come. */
#include "proto/base/random.h"
#include "test/lib/check_main.h"
#include "tools/cli/lines.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int ends[2];
static struct lines lines;

static void set_up(void)
{
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert(lines_open(&lines, ends[0]));
}

static void tear_down(void)
{
    lines_close(&lines);
    (void)close(ends[0]);
    if (ends[1] >= 0) {
        (void)close(ends[1]);
    }
}

static void give(const void *bytes, size_t length)
{
    ck_assert_int_eq(write(ends[1], bytes, length), (ssize_t)length);
}

static void end_input(void)
{
    (void)close(ends[1]);
    ends[1] = -1;
}

static void expect(const char *text)
{
    struct bytes line;
    ck_assert(lines_next(&lines, &line));
    ck_assert_uint_eq(line.length, strlen(text));
    ck_assert(memcmp(line.data, text, line.length) == 0);
}

static void expect_none(void)
{
    struct bytes line;
    ck_assert(!lines_next(&lines, &line));
}

START_TEST(lines_are_what_is_between_newlines_and_the_last_needs_none)
{
    give("one\n\nthree\nfo", 13);
    ck_assert_int_eq(lines_read(&lines), 0);
    expect("one");
    expect("");
    expect("three");
    expect_none();
    give("ur", 2);
    ck_assert_int_eq(lines_read(&lines), 0);
    expect_none();
    end_input();
    ck_assert_int_eq(lines_read(&lines), 0);
    ck_assert(lines.at_end);
    expect("four");
    expect_none();
    ck_assert_uint_eq(lines.number, 4);
}
END_TEST

START_TEST(nothing_and_a_last_newline_add_no_line)
{
    give("a\n", 2);
    ck_assert_int_eq(lines_read(&lines), 0);
    end_input();
    ck_assert_int_eq(lines_read(&lines), 0);
    expect("a");
    expect_none();
}
END_TEST

/* Reads ahead and takes late, and the other way round, as the command does. */
START_TEST(any_order_of_reading_and_taking_gives_the_same_lines)
{
    struct random random;
    random_init(&random, (uint64_t)_i);
    uint64_t given = 0;
    uint64_t taken = 0;
    char text[5000];
    while (taken < 20000) {
        for (int i = 0; i < 8 && given < 20000; i++) {
            int length = snprintf(text, sizeof(text), "%llu ", (unsigned long long)given);
            size_t more = (size_t)random_below(&random, 900);
            memset(text + length, 'x', more);
            text[(size_t)length + more] = '\n';
            give(text, (size_t)length + more + 1);
            given++;
        }
        if (lines_is_readable(&lines, 0)) {
            ck_assert_int_eq(lines_read(&lines), 0);
        }
        uint64_t most = random_below(&random, 20);
        struct bytes line;
        while (most-- > 0 && lines_next(&lines, &line)) {
            char expected[24];
            int length = snprintf(expected, sizeof(expected), "%llu ", (unsigned long long)taken);
            ck_assert_uint_ge(line.length, (size_t)length);
            ck_assert(memcmp(line.data, expected, (size_t)length) == 0);
            taken++;
        }
    }
}
END_TEST

START_TEST(a_line_longer_than_any_message_is_refused_not_waited_for)
{
    char piece[4096];
    memset(piece, 'x', sizeof(piece));
    int error = 0;
    for (int i = 0; i < LINES_BYTES_MAX / (int)sizeof(piece) + 2 && error == 0; i++) {
        give(piece, sizeof(piece));
        error = lines_read(&lines);
        expect_none();
    }
    ck_assert_int_eq(error, -EMSGSIZE);
}
END_TEST

static Suite *suite(void)
{
    Suite *made = suite_create("lines");
    TCase *all = tcase_create("lines");
    tcase_add_checked_fixture(all, set_up, tear_down);
    tcase_add_test(all, lines_are_what_is_between_newlines_and_the_last_needs_none);
    tcase_add_test(all, nothing_and_a_last_newline_add_no_line);
    tcase_add_loop_test(all, any_order_of_reading_and_taking_gives_the_same_lines, 0, 4);
    tcase_add_test(all, a_line_longer_than_any_message_is_refused_not_waited_for);
    suite_add_tcase(made, all);
    return made;
}

TEST_MAIN(suite)
