/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of net/address.c: what is accepted, how it is written again, what is refused and why. */

#include "net/address.h"
#include "test/lib/check_main.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

struct accepted {
    const char *text;
    const char *again;
    uint16_t port;
    int family;
    bool is_loopback;
    bool is_wildcard;
};

static const struct accepted ACCEPTED[] = {
    {"127.0.0.1:9876", "127.0.0.1:9876", 9876, AF_INET, true, false},
    {"127.8.8.8:0", "127.8.8.8:0", 0, AF_INET, true, false},
    {"127.0.0.1", "127.0.0.1:777", 777, AF_INET, true, false},
    {"10.0.0.1:65535", "10.0.0.1:65535", 65535, AF_INET, false, false},
    {"0.0.0.0:80", "0.0.0.0:80", 80, AF_INET, false, true},
    {"[::1]:9876", "[::1]:9876", 9876, AF_INET6, true, false},
    {"::1", "[::1]:777", 777, AF_INET6, true, false},
    {"[::]:1", "[::]:1", 1, AF_INET6, false, true},
    {"[fe80::1]", "[fe80::1]:777", 777, AF_INET6, false, false},
    {"[::ffff:127.0.0.1]:5", "[::ffff:127.0.0.1]:5", 5, AF_INET6, true, false},
    {"localhost:1234", "localhost:1234", 1234, AF_INET, true, false},
    {"unix:/run/ternmq", "unix:/run/ternmq", 0, AF_UNIX, true, false},
    {"unix:relative", "unix:relative", 0, AF_UNIX, true, false},
};

enum { ACCEPTED_COUNT = sizeof(ACCEPTED) / sizeof(ACCEPTED[0]) };

START_TEST(accepts_what_people_write)
{
    const struct accepted *one = &ACCEPTED[_i];
    struct address address;
    char error[200] = "";

    ck_assert_msg(address_parse(one->text, 777, &address, error, sizeof(error)), "%s", error);

    ck_assert_str_eq(address.text, one->again);
    ck_assert_int_eq(address.socket.ss_family, one->family);
    ck_assert_uint_eq(address_port(&address), one->port);
    ck_assert_int_eq(address_is_loopback(&address), one->is_loopback);
    ck_assert_int_eq(address_is_wildcard(&address), one->is_wildcard);
}
END_TEST

static const char *const REFUSED[] = {"",
                                      ":9876",
                                      "127.0.0.1:",
                                      "127.0.0.1:65536",
                                      "127.0.0.1:999999",
                                      "127.0.0.1:-1",
                                      "127.0.0.1:80 ",
                                      "127.0.0.1:http",
                                      "[::1",
                                      "[::1]9876",
                                      "[]:1",
                                      "unix:",
                                      "no such host:1"};

enum { REFUSED_COUNT = sizeof(REFUSED) / sizeof(REFUSED[0]) };

START_TEST(refuses_the_rest_with_one_line_and_changes_nothing)
{
    struct address address;
    memset(&address, 0x77, sizeof(address));
    struct address before = address;
    char error[200] = "";

    ck_assert(!address_parse(REFUSED[_i], 777, &address, error, sizeof(error)));

    ck_assert_uint_gt(strlen(error), 0);
    ck_assert_ptr_null(strchr(error, '\n'));
    ck_assert_mem_eq(&address, &before, sizeof(address));
}
END_TEST

START_TEST(refuses_what_is_too_long)
{
    char text[1000];
    char error[200];
    struct address address;
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    ck_assert(!address_parse(text, 1, &address, error, sizeof(error)));

    memcpy(text, "unix:", 5);
    ck_assert(!address_parse(text, 1, &address, error, sizeof(error)));
    text[5 + sizeof(((struct sockaddr_un *)0)->sun_path)] = '\0';
    ck_assert(!address_parse(text, 1, &address, error, sizeof(error)));
    text[5 + sizeof(((struct sockaddr_un *)0)->sun_path) - 1] = '\0';
    ck_assert(address_parse(text, 1, &address, error, sizeof(error)));
}
END_TEST

START_TEST(another_port_is_in_the_text_too)
{
    struct address address;
    char error[200];
    ck_assert(address_parse("[::1]:0", 0, &address, error, sizeof(error)));
    address_set_port(&address, 54321);
    ck_assert_str_eq(address.text, "[::1]:54321");
    ck_assert_uint_eq(address_port(&address), 54321);

    ck_assert(address_parse("unix:/x", 0, &address, error, sizeof(error)));
    address_set_port(&address, 1);
    ck_assert_str_eq(address.text, "unix:/x");
}
END_TEST

static Suite *address_suite(void)
{
    Suite *suite = suite_create("net/address");
    TCase *parse = tcase_create("parse");

    tcase_add_loop_test(parse, accepts_what_people_write, 0, ACCEPTED_COUNT);
    tcase_add_loop_test(parse, refuses_the_rest_with_one_line_and_changes_nothing, 0,
                        REFUSED_COUNT);
    tcase_add_test(parse, refuses_what_is_too_long);
    tcase_add_test(parse, another_port_is_in_the_text_too);
    suite_add_tcase(suite, parse);
    return suite;
}

TEST_MAIN(address_suite)
