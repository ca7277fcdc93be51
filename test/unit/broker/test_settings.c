/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_settings.c - the broker's command line, and the table of it in broker/README.md.
 *
 * The first argument of this program is the root of the tree.
 */
#include "broker/settings.h"

#include <check.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *tree_root = ".";
static struct broker_settings settings;

/* Reads a command line that is written as one text with blanks. */
static bool read_line(const char *line)
{
    static char copy[2048];
    static char program[] = "ternmq-broker";
    char *argv[64] = {program};
    int argc = 1;
    (void)snprintf(copy, sizeof(copy), "%s", line);
    char *rest = NULL;
    for (char *word = strtok_r(copy, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        argv[argc++] = word;
    }
    return broker_settings_read(&settings, argc, argv);
}

static void refuses(const char *line, const char *flag, const char *value)
{
    ck_assert_msg(!read_line(line), "%s was accepted", line);
    ck_assert_msg(strstr(settings.error, flag) != NULL, "%s: %s", line, settings.error);
    ck_assert_msg(strstr(settings.error, value) != NULL, "%s: %s", line, settings.error);
    ck_assert_ptr_null(strchr(settings.error, '\n'));
}

START_TEST(only_the_store_must_be_given)
{
    ck_assert(read_line("--store /tmp/store"));
    ck_assert_str_eq(settings.store, "/tmp/store");
    ck_assert_str_eq(settings.name, "broker-a");
    ck_assert_uint_eq(settings.listener_count, 1);
    ck_assert_str_eq(settings.listeners[0].text, "127.0.0.1:10911");
    ck_assert_uint_eq(settings.nameserver_count, 1);
    ck_assert_str_eq(settings.nameservers[0].text, "127.0.0.1:9876");
    ck_assert_ptr_null(settings.advertise);
    ck_assert_uint_eq(settings.shards, 0);
    ck_assert_int_eq(settings.durability, DURABILITY_DISK);
    ck_assert_uint_eq(settings.retain_bytes, 0);
    ck_assert_uint_eq(settings.segment_bytes, 256U << 20);
    ck_assert_int_eq(settings.log_level, LOG_LEVEL_INFO);
    refuses("", "--store", "required");
}
END_TEST

START_TEST(everything_can_be_given)
{
    ck_assert(read_line("--store s --name b.1 --listen 127.0.0.1:1;unix:/tmp/b --advertise h:2 "
                        "-n 127.0.0.1:3;127.0.0.1 --shards 4 --io epoll --durability memory "
                        "--retain-bytes 10G --segment-bytes=64K --log-level debug"));
    ck_assert_str_eq(settings.name, "b.1");
    ck_assert_uint_eq(settings.listener_count, 2);
    ck_assert_str_eq(settings.listeners[1].text, "unix:/tmp/b");
    ck_assert_str_eq(settings.advertise, "h:2");
    ck_assert_uint_eq(settings.nameserver_count, 2);
    ck_assert_uint_eq(address_port(&settings.nameservers[1]), 9876);
    ck_assert_uint_eq(settings.shards, 4);
    ck_assert_int_eq(settings.durability, DURABILITY_MEMORY);
    ck_assert_uint_eq(settings.retain_bytes, UINT64_C(10) << 30);
    ck_assert_uint_eq(settings.segment_bytes, 65536);
    ck_assert_int_eq(settings.log_level, LOG_LEVEL_DEBUG);
}
END_TEST

START_TEST(what_is_wrong_is_said_with_its_flag_and_value)
{
    refuses("--store s --shards 0", "--shards", "0");
    refuses("--store s --shards 65", "--shards", "65");
    refuses("--store s --durability replicas", "--durability", "replicas");
    refuses("--store s --io select", "--io", "select");
    refuses("--store s --segment-bytes 1K", "--segment-bytes", "1K");
    refuses("--store s --segment-bytes 2G", "--segment-bytes", "2G");
    refuses("--store s --retain-bytes -1", "--retain-bytes", "-1");
    refuses("--store s --name a/b", "--name", "a/b");
    refuses("--store s --advertise nowhere", "--advertise", "nowhere");
    refuses("--store s --listen 127.0.0.1:99999", "--listen", "99999");
    refuses("--store s --listen 20911", "--listen '20911'", "HOST:PORT is wanted");
    refuses("--store s -n 127.0.0.1;9876", "--nameserver '9876'", "HOST:PORT is wanted");
    refuses("--store s --listen ;", "--listen", "");
    refuses("--store s --nameserver 127.0.0.1:x", "--nameserver", "127.0.0.1:x");
    refuses("--store s --log-level loud", "--log-level", "loud");
    refuses("--store s --colour red", "--colour", "");
    refuses("--store s --store t", "--store", "");
    refuses("--store", "--store", "");
    refuses("--store s here", "here", "--help");
}
END_TEST

START_TEST(a_wildcard_needs_an_address_that_others_can_use)
{
    refuses("--store s --listen 0.0.0.0", "--listen", "--advertise");
    refuses("--store s --listen 0.0.0.0:1;127.0.0.1:2", "--listen", "0.0.0.0:1");
    refuses("--store s --listen [::]:1", "--listen", "--advertise");
    ck_assert(read_line("--store s --listen 0.0.0.0 --advertise 192.0.2.1:10911"));
    ck_assert(read_line("--store s --listen 127.0.0.1:1;0.0.0.0:1"));
}
END_TEST

START_TEST(addresses_are_bounded)
{
    char line[1024] = "--store s --nameserver 127.0.0.1:1";
    for (int i = 1; i < NAMESERVERS_MAX; i++) {
        strcat(line, ";127.0.0.1:1");
    }
    ck_assert(read_line(line));
    strcat(line, ";");
    ck_assert(read_line(line));
    strcat(line, "127.0.0.1:1");
    refuses(line, "--nameserver", "16");
    char longer[600] = "--store s --listen ";
    memset(longer + strlen(longer), 'a', 400);
    refuses(longer, "--listen", "aaaa");
}
END_TEST

START_TEST(help_and_version_need_nothing_else)
{
    ck_assert(read_line("--help"));
    ck_assert(settings.help && !settings.version);
    ck_assert(read_line("--version"));
    ck_assert(settings.version);
    ck_assert(read_line("-h --listen 0.0.0.0"));
}
END_TEST

/* A whole file as text; freed by the caller. */
static char *read_whole(FILE *file)
{
    char *text = calloc(1, 64 * 1024);
    ck_assert_ptr_nonnull(text);
    size_t length = fread(text, 1, 64 * 1024 - 1, file);
    ck_assert_uint_lt(length, 64 * 1024 - 1);
    (void)fclose(file);
    return text;
}

START_TEST(the_readme_has_the_table_that_the_settings_make)
{
    FILE *made = tmpfile();
    ck_assert_ptr_nonnull(made);
    broker_settings_print_markdown(made);
    rewind(made);
    char *table = read_whole(made);
    char path[4096];
    (void)snprintf(path, sizeof(path), "%s/broker/README.md", tree_root);
    FILE *file = fopen(path, "re");
    ck_assert_msg(file != NULL, "%s cannot be read", path);
    char *readme = read_whole(file);
    char *begin = strstr(readme, "<!-- generated: settings broker/settings.def -->\n");
    char *end = begin == NULL ? NULL : strstr(begin, "<!-- end -->\n");
    ck_assert_msg(begin != NULL && end != NULL, "%s lacks the marks of its table", path);
    begin = strchr(begin, '\n') + 1;
    *end = '\0';
    ck_assert_msg(strcmp(begin, table) == 0, "%s: put this between the marks:\n%s", path, table);
    free(table);
    free(readme);
}
END_TEST

static Suite *settings_suite(void)
{
    Suite *suite = suite_create("broker settings");
    TCase *cases = tcase_create("settings");
    tcase_add_test(cases, only_the_store_must_be_given);
    tcase_add_test(cases, everything_can_be_given);
    tcase_add_test(cases, what_is_wrong_is_said_with_its_flag_and_value);
    tcase_add_test(cases, a_wildcard_needs_an_address_that_others_can_use);
    tcase_add_test(cases, addresses_are_bounded);
    tcase_add_test(cases, help_and_version_need_nothing_else);
    tcase_add_test(cases, the_readme_has_the_table_that_the_settings_make);
    suite_add_tcase(suite, cases);
    return suite;
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        tree_root = argv[1];
    }
    SRunner *runner = srunner_create(settings_suite());
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
