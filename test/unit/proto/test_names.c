/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_names.c - what may be called what.
 */
#include "proto/limits.h"
#include "proto/names.h"
#include "test/lib/check_main.h"

START_TEST(letters_digits_dots_underscores_and_dashes_make_names)
{
    ck_assert(name_is_topic(BYTES_OF("a")));
    ck_assert(name_is_topic(BYTES_OF("Orders.v2_eu-west")));
    for (unsigned byte = 0; byte < 256; byte++) {
        uint8_t name[] = {'a', (uint8_t)byte};
        bool is_allowed = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
                          (byte >= '0' && byte <= '9') || byte == '.' || byte == '_' || byte == '-';
        ck_assert_msg(name_is_topic(bytes_make(name, 2)) == is_allowed, "byte %u", byte);
    }
    ck_assert(!name_is_topic(bytes_make(NULL, 0)));
}
END_TEST

START_TEST(names_end_at_their_limits)
{
    uint8_t name[128];
    memset(name, 'n', sizeof(name));
    ck_assert(name_is_topic(bytes_make(name, 127)));
    ck_assert(!name_is_topic(bytes_make(name, 128)));
    ck_assert(name_is_group(bytes_make(name, 120)));
    ck_assert(!name_is_group(bytes_make(name, 121)));
    ck_assert(name_is_broker(bytes_make(name, 127)));
    ck_assert(!name_is_broker(bytes_make(name, 128)));
}
END_TEST

START_TEST(the_system_has_names_of_its_own)
{
    ck_assert(name_is_dead_letters(BYTES_OF("%DLQ%billing")));
    ck_assert(!name_is_dead_letters(BYTES_OF("%DLQ%")));
    ck_assert(!name_is_dead_letters(BYTES_OF("%DLQ%a@b")));
    ck_assert(!name_is_dead_letters(BYTES_OF("%dlq%billing")));
    ck_assert(name_is_member(BYTES_OF("billing@one two@three")));
    ck_assert(!name_is_member(BYTES_OF("billing@")));
    ck_assert(!name_is_member(BYTES_OF("@one")));
    ck_assert(!name_is_member(BYTES_OF("billing@\xff")));
    ck_assert(!name_is_member(BYTES_OF("billing")));
    ck_assert(name_is_any_topic(BYTES_OF("orders")) && name_is_any_topic(BYTES_OF("%DLQ%a")));
    ck_assert(!name_is_any_topic(BYTES_OF("orders@one")) && !name_is_any_topic(BYTES_OF("%a")));
    ck_assert(name_is_any_group(BYTES_OF("a")) && name_is_any_group(BYTES_OF("%DLQ%a")));
    ck_assert(name_is_any_group(BYTES_OF("a@b")) && !name_is_any_group(BYTES_OF("%RETRY%a")));
    ck_assert(!name_is_any_group(bytes_make(NULL, 0)) && !name_is_any_topic(bytes_make(NULL, 0)));
}
END_TEST

START_TEST(dead_letters_and_members_are_called_after_their_group)
{
    char room[GROUP_ANY_NAME_BYTES_MAX];
    static const char *const groups[] = {"billing", "%DLQ%billing", "billing@one"};
    for (size_t i = 0; i < 3; i++) {
        struct bytes group = bytes_from_string(groups[i]);
        ck_assert(bytes_equal(name_group_of(group), BYTES_OF("billing")));
        ck_assert(bytes_equal(name_of_dead_letters(group, room), BYTES_OF("%DLQ%billing")));
    }
    struct bytes member = name_of_member(BYTES_OF("billing"), BYTES_OF("on@e"), room);
    ck_assert(bytes_equal(member, BYTES_OF("billing@on@e")));
    ck_assert(bytes_equal(name_group_of(member), BYTES_OF("billing")));
}
END_TEST

START_TEST(the_longest_names_of_the_system_fit)
{
    uint8_t name[MEMBER_NAME_BYTES_MAX + 1];
    char room[GROUP_ANY_NAME_BYTES_MAX];
    memset(name, 'n', sizeof(name));
    struct bytes group = bytes_make(name, GROUP_NAME_BYTES_MAX);
    struct bytes member = bytes_make(name, MEMBER_NAME_BYTES_MAX);
    ck_assert(name_is_any_group(name_of_member(group, member, room)));
    ck_assert(name_is_any_topic(name_of_dead_letters(group, room)));
    ck_assert(!name_is_member_part(bytes_make(name, MEMBER_NAME_BYTES_MAX + 1)));
}
END_TEST

START_TEST(addresses_are_host_and_port)
{
    ck_assert(name_is_address(BYTES_OF("127.0.0.1:9876")));
    ck_assert(name_is_address(BYTES_OF("broker-a.example:1")));
    ck_assert(name_is_address(BYTES_OF("[::1]:65535")));
    ck_assert(name_is_address(BYTES_OF("unix:/run/ternmq.socket")));
    ck_assert(!name_is_address(BYTES_OF("127.0.0.1")));
    ck_assert(!name_is_address(BYTES_OF(":9876")));
    ck_assert(!name_is_address(BYTES_OF("h:")));
    ck_assert(!name_is_address(BYTES_OF("h:0")));
    ck_assert(!name_is_address(BYTES_OF("h:65536")));
    ck_assert(!name_is_address(BYTES_OF("h:01")));
    ck_assert(!name_is_address(BYTES_OF("::1:9876")));
    ck_assert(!name_is_address(BYTES_OF("a b:1")));
    ck_assert(!name_is_address(BYTES_OF("a\n:1")));
    ck_assert(!name_is_address(BYTES_OF("unix:")));
    ck_assert(!name_is_address(BYTES_OF("")));
}
END_TEST

static Suite *names_suite(void)
{
    Suite *suite = suite_create("names");
    TCase *cases = tcase_create("names");
    tcase_add_test(cases, letters_digits_dots_underscores_and_dashes_make_names);
    tcase_add_test(cases, names_end_at_their_limits);
    tcase_add_test(cases, the_system_has_names_of_its_own);
    tcase_add_test(cases, dead_letters_and_members_are_called_after_their_group);
    tcase_add_test(cases, the_longest_names_of_the_system_fit);
    tcase_add_test(cases, addresses_are_host_and_port);
    suite_add_tcase(suite, cases);
    return suite;
}

TEST_MAIN(names_suite)
