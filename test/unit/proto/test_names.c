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
    tcase_add_test(cases, addresses_are_host_and_port);
    suite_add_tcase(suite, cases);
    return suite;
}

TEST_MAIN(names_suite)
