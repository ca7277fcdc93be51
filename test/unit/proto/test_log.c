/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_log.c - lines are whole, clean, filtered, and not more than one a second where limited.
 */
#include "proto/base/log.h"
#include "test/lib/check_main.h"

static char lines[8][LOG_LINE_BYTES_MAX + 1];
static unsigned line_count;

static void keep(void *context, struct bytes line)
{
    (void)context;
    ck_assert_uint_lt(line_count, 8);
    ck_assert_uint_le(line.length, LOG_LINE_BYTES_MAX);
    memcpy(lines[line_count], line.data, line.length);
    lines[line_count++][line.length] = '\0';
}

static void set_up(void)
{
    line_count = 0;
    log_set_sink(keep, NULL);
    log_set_level(LOG_LEVEL_INFO);
}

START_TEST(a_line_begins_with_its_priority)
{
    log_error("broken: %d", 1);
    log_warn("odd");
    log_info("fine");
    ck_assert_uint_eq(line_count, 3);
    ck_assert_str_eq(lines[0], "<3>broken: 1");
    ck_assert_str_eq(lines[1], "<4>odd");
    ck_assert_str_eq(lines[2], "<6>fine");
}
END_TEST

START_TEST(lines_above_the_level_are_dropped)
{
    log_debug("too much");
    ck_assert(!log_is_on(LOG_LEVEL_DEBUG));
    log_set_level(log_level_from_choice(0));
    log_warn("not now");
    ck_assert_uint_eq(line_count, 0);
    log_set_level(log_level_from_choice(3));
    log_debug("now");
    ck_assert_str_eq(lines[0], "<7>now");
}
END_TEST

START_TEST(a_peers_bytes_cannot_break_a_line)
{
    log_info("name '%s'", "a\n<3>forged\x1b[2J\x7f_\xc2\x85");
    ck_assert_uint_eq(line_count, 1);
    ck_assert_str_eq(lines[0], "<6>name 'a?<3>forged?[2J?_?'");
}
END_TEST

START_TEST(a_long_line_is_cut)
{
    log_info("%0*d", 5000, 1);
    ck_assert_uint_eq(strlen(lines[0]), LOG_LINE_BYTES_MAX);
}
END_TEST

START_TEST(a_limited_kind_writes_one_line_a_second_and_counts_the_rest)
{
    static struct log_limit limit;
    static struct log_limit other;
    uint64_t second = UINT64_C(1000000000);
    for (unsigned i = 0; i < 5; i++) {
        log_limited(&limit, 10 * second + i, LOG_LEVEL_WARN, "refused %u", i);
    }
    log_limited(&other, 10 * second, LOG_LEVEL_WARN, "another kind");
    log_limited(&limit, 11 * second, LOG_LEVEL_WARN, "refused again");
    log_limited(&limit, 12 * second, LOG_LEVEL_WARN, "and again");
    ck_assert_uint_eq(line_count, 4);
    ck_assert_str_eq(lines[0], "<4>refused 0");
    ck_assert_str_eq(lines[1], "<4>another kind");
    ck_assert_str_eq(lines[2], "<4>refused again (4 more were left out)");
    ck_assert_str_eq(lines[3], "<4>and again");
}
END_TEST

static Suite *log_suite(void)
{
    Suite *suite = suite_create("log");
    TCase *cases = tcase_create("log");
    tcase_add_checked_fixture(cases, set_up, NULL);
    tcase_add_test(cases, a_line_begins_with_its_priority);
    tcase_add_test(cases, lines_above_the_level_are_dropped);
    tcase_add_test(cases, a_peers_bytes_cannot_break_a_line);
    tcase_add_test(cases, a_long_line_is_cut);
    tcase_add_test(cases, a_limited_kind_writes_one_line_a_second_and_counts_the_rest);
    suite_add_tcase(suite, cases);
    return suite;
}

TEST_MAIN(log_suite)
