/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_method.c - the table is whole: every method is found on its side and nowhere else, and every
 * rule can be kept.
 */
#include "proto/limits.h"
#include "proto/method.h"
#include "test/lib/check_main.h"

START_TEST(every_method_is_found_by_its_name_on_its_side)
{
    for (unsigned i = 0; i < METHOD_COUNT; i++) {
        const struct method *method = method_get((enum method_id)i);
        ck_assert_uint_eq(method->id, i);
        ck_assert_ptr_eq(method_find(method->side, bytes_from_string(method->name)), method);
    }
}
END_TEST

START_TEST(a_method_of_the_other_side_or_of_nobody_is_not_found)
{
    ck_assert_ptr_null(method_find(METHOD_SIDE_NAMESERVER, BYTES_OF("produce")));
    ck_assert_ptr_null(method_find(METHOD_SIDE_BROKER, BYTES_OF("route.get")));
    ck_assert_ptr_null(method_find(METHOD_SIDE_BROKER, BYTES_OF("replicate")));
    ck_assert_ptr_null(method_find(METHOD_SIDE_BROKER, BYTES_OF("produc")));
    ck_assert_ptr_null(method_find(METHOD_SIDE_BROKER, BYTES_OF("produce ")));
    ck_assert_ptr_null(method_find(METHOD_SIDE_BROKER, BYTES_OF("produce\0")));
    ck_assert_ptr_null(method_find(METHOD_SIDE_BROKER, (struct bytes){NULL, 0}));
    const struct method *hello = method_find(METHOD_SIDE_BROKER, BYTES_OF("hello"));
    ck_assert_ptr_nonnull(hello);
    ck_assert_uint_eq(hello->id, METHOD_BROKER_HELLO);
}
END_TEST

START_TEST(every_rule_can_be_kept)
{
    for (unsigned i = 0; i < METHOD_COUNT; i++) {
        const struct method *method = method_get((enum method_id)i);
        uint64_t seen = 0;
        ck_assert(method->rules < method->rules_end);
        ck_assert_int_eq(method->rules[0].id, ARGUMENT_DEADLINE_MS);
        for (const struct argument_rule *rule = method->rules; rule < method->rules_end; rule++) {
            ck_assert_str_eq(rule->name, argument_name(rule->id));
            ck_assert_uint_eq(rule->name_bytes, strlen(rule->name));
            ck_assert_uint_eq(seen >> rule->id & 1, 0);
            seen |= UINT64_C(1) << rule->id;
            ck_assert_ptr_nonnull(argument_type_name(rule->type));
            ck_assert_int_eq(rule->type == ARGUMENT_TYPE_CHOICE, rule->choices != NULL);
            ck_assert_uint_le(rule->least, rule->most);
            ck_assert_uint_lt(rule->most, INTEGER_LIMIT);
            ck_assert_uint_le(rule->fallback, rule->most);
        }
    }
}
END_TEST

START_TEST(only_required_arguments_are_required)
{
    const struct method *produce = method_get(METHOD_PRODUCE);
    unsigned required = 0;
    for (const struct argument_rule *rule = produce->rules; rule < produce->rules_end; rule++) {
        required += rule->required;
    }
    ck_assert_uint_eq(required, 2);
    ck_assert_int_eq(produce->rules_end - produce->rules, 8);
    ck_assert_int_eq(method_get(METHOD_STATS)->rules_end - method_get(METHOD_STATS)->rules, 1);
}
END_TEST

START_TEST(choices_are_found_whole_by_their_place)
{
    ck_assert_int_eq(choice_find("map|text|pair", BYTES_OF("map")), 0);
    ck_assert_int_eq(choice_find("map|text|pair", BYTES_OF("pair")), 2);
    ck_assert_int_eq(choice_find("map|text|pair", BYTES_OF("pai")), -1);
    ck_assert_int_eq(choice_find("map|text|pair", BYTES_OF("map|text")), -1);
    ck_assert_int_eq(choice_find("map|text|pair", BYTES_OF("")), -1);
    ck_assert_int_eq(choice_find("master", BYTES_OF("master")), 0);
    ck_assert(bytes_equal(choice_text("map|text|pair", 1), BYTES_OF("text")));
    ck_assert(bytes_equal(choice_text("map|text|pair", 2), BYTES_OF("pair")));
    ck_assert_uint_eq(choice_text("map|text|pair", 3).length, 0);
}
END_TEST

static Suite *method_suite(void)
{
    Suite *suite = suite_create("method");
    TCase *cases = tcase_create("method");
    tcase_add_test(cases, every_method_is_found_by_its_name_on_its_side);
    tcase_add_test(cases, a_method_of_the_other_side_or_of_nobody_is_not_found);
    tcase_add_test(cases, every_rule_can_be_kept);
    tcase_add_test(cases, only_required_arguments_are_required);
    tcase_add_test(cases, choices_are_found_whole_by_their_place);
    suite_add_tcase(suite, cases);
    return suite;
}

TEST_MAIN(method_suite)
