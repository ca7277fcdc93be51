/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_contract.c - a false fact ends the process, in every build, and says which and where.
 */
#include "proto/base/contract.h"
#include "test/lib/check_main.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* What a child that fails an assertion writes to standard error; its status must be SIGABRT. */
static const char *last_words(void (*fails)(void))
{
    static char text[256];
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        /* The abort is the test, not something to be reported. */
        (void)signal(SIGABRT, SIG_DFL);
        (void)dup2(ends[1], STDERR_FILENO);
        fails();
        _exit(0);
    }
    (void)close(ends[1]);
    ssize_t length = read(ends[0], text, sizeof(text) - 1);
    ck_assert_int_gt(length, 0);
    text[length] = '\0';
    (void)close(ends[0]);
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(WTERMSIG(status), SIGABRT);
    return text;
}

static int two = 2;

static void assert_falsehood(void)
{
    ASSERT(two + two == 5);
}

static void reach_the_unreachable(void)
{
    UNREACHABLE("nobody comes here");
}

START_TEST(a_false_fact_ends_the_process_and_is_named_with_its_place)
{
    const char *words = last_words(assert_falsehood);
    ck_assert_ptr_nonnull(strstr(words, "<2>assertion failed: two + two == 5 at "));
    ck_assert_ptr_nonnull(strstr(words, "test_contract.c:"));
}
END_TEST

START_TEST(an_unreachable_place_ends_the_process_and_says_why)
{
    ck_assert_ptr_nonnull(
        strstr(last_words(reach_the_unreachable), "unreachable: nobody comes here"));
}
END_TEST

START_TEST(a_true_fact_is_evaluated_once_and_changes_nothing)
{
    int count = 0;
    ASSERT(++count == 1);
    ck_assert_int_eq(count, 1);
    ASSERT_IF(count == 2, count == 3);
    ASSERT_IF(count == 1, two == 2);
}
END_TEST

static Suite *contract_suite(void)
{
    Suite *suite = suite_create("contract");
    TCase *cases = tcase_create("contract");
    tcase_add_test(cases, a_false_fact_ends_the_process_and_is_named_with_its_place);
    tcase_add_test(cases, an_unreachable_place_ends_the_process_and_says_why);
    tcase_add_test(cases, a_true_fact_is_evaluated_once_and_changes_nothing);
    suite_add_tcase(suite, cases);
    return suite;
}

TEST_MAIN(contract_suite)
