/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_settings.c - command lines become values, or one precise line about what is wrong.
 */
#include "proto/base/settings.h"
#include "test/lib/check_main.h"

#include <string.h>

enum { STORE, SHARDS, SEGMENT, IDLE, DURABILITY, KEY, JSON, NAMESERVER, ROW_COUNT };

static const struct setting rows[] = {
    [STORE] = {.name = "store",
               .metavar = "DIR",
               .type = SETTING_TEXT,
               .least = 1,
               .most = 10,
               .help = "where the log lies"},
    [SHARDS] = {.name = "shards",
                .type = SETTING_INTEGER,
                .fallback = "4",
                .least = 1,
                .most = 64,
                .help = "parts of the store"},
    [SEGMENT] = {.name = "segment-bytes",
                 .type = SETTING_BYTES,
                 .fallback = "256M",
                 .least = 1 << 20,
                 .help = "size of a segment"},
    [IDLE] = {.name = "idle",
              .type = SETTING_DURATION,
              .fallback = "2m",
              .most = 86400000,
              .help = "idle close"},
    [DURABILITY] = {.name = "durability",
                    .type = SETTING_CHOICE,
                    .fallback = "disk",
                    .choices = "memory|disk",
                    .help = "what an answer means"},
    [KEY] = {.name = "key", .metavar = "K", .type = SETTING_LIST, .help = "a key of the message"},
    [JSON] = {.name = "json", .type = SETTING_FLAG, .help = "for scripts"},
    [NAMESERVER] = {.name = "nameserver",
                    .alias = 'n',
                    .metavar = "HOST:PORT",
                    .type = SETTING_TEXT,
                    .fallback = "127.0.0.1:9876",
                    .help = "who knows"},
};

static struct settings settings;

/* Parses up to 12 words. */
static bool parse(const char *const *words)
{
    static char *argv[16];
    int argc = 0;
    argv[argc++] = (char *)(uintptr_t) "program";
    for (; *words != NULL; words++) {
        argv[argc++] = (char *)(uintptr_t)*words;
    }
    argv[argc] = NULL;
    return settings_parse(&settings, rows, ROW_COUNT, argc, argv);
}

#define PARSE(...) parse((const char *const[]){__VA_ARGS__, NULL})

/* The words are refused with exactly this line. */
#define REFUSES(line, ...)                        \
    do {                                          \
        ck_assert(!PARSE(__VA_ARGS__));           \
        ck_assert_str_eq(settings.error, (line)); \
    } while (0)

START_TEST(absent_settings_have_their_defaults)
{
    ck_assert(parse((const char *const[]){NULL}));
    ck_assert_ptr_null(settings.values[STORE].text);
    ck_assert_uint_eq(settings.values[SHARDS].number, 4);
    ck_assert(!settings.values[SHARDS].given);
    ck_assert_uint_eq(settings.values[SEGMENT].number, UINT64_C(256) << 20);
    ck_assert_uint_eq(settings.values[IDLE].number, 120000);
    ck_assert_uint_eq(settings.values[DURABILITY].number, 1);
    ck_assert_uint_eq(settings.values[JSON].number, 0);
    ck_assert_str_eq(settings.values[NAMESERVER].text, "127.0.0.1:9876");
}
END_TEST

START_TEST(flags_stand_anywhere_with_a_blank_or_an_equals_sign)
{
    ck_assert(PARSE("topic", "--shards", "8", "create", "--store=/x", "-n", "h:1", "--json", "a"));
    ck_assert_uint_eq(settings.values[SHARDS].number, 8);
    ck_assert(settings.values[SHARDS].given);
    ck_assert_str_eq(settings.values[STORE].text, "/x");
    ck_assert_str_eq(settings.values[NAMESERVER].text, "h:1");
    ck_assert_uint_eq(settings.values[JSON].number, 1);
    ck_assert_int_eq(settings.positional_count, 3);
    ck_assert_str_eq(settings.positional[0], "topic");
    ck_assert_str_eq(settings.positional[1], "create");
    ck_assert_str_eq(settings.positional[2], "a");
}
END_TEST

START_TEST(two_dashes_end_the_flags_and_one_is_an_argument)
{
    ck_assert(PARSE("-", "--", "--json", "-n"));
    ck_assert_int_eq(settings.positional_count, 3);
    ck_assert_str_eq(settings.positional[0], "-");
    ck_assert_str_eq(settings.positional[1], "--json");
    ck_assert_uint_eq(settings.values[JSON].number, 0);
}
END_TEST

START_TEST(sizes_and_durations_take_units)
{
    ck_assert(PARSE("--segment-bytes", "1G", "--idle", "500ms"));
    ck_assert_uint_eq(settings.values[SEGMENT].number, UINT64_C(1) << 30);
    ck_assert_uint_eq(settings.values[IDLE].number, 500);
    ck_assert(PARSE("--segment-bytes=2048K", "--idle=1h"));
    ck_assert_uint_eq(settings.values[SEGMENT].number, UINT64_C(2) << 20);
    ck_assert_uint_eq(settings.values[IDLE].number, 3600000);
    ck_assert(PARSE("--idle=1d"));
    ck_assert(PARSE("--idle=0"));
    ck_assert_uint_eq(settings.values[IDLE].number, 0);
    ck_assert(PARSE("--idle=00"));
    ck_assert(PARSE("--idle=0s"));
}
END_TEST

START_TEST(a_list_keeps_its_values_in_order)
{
    uint32_t index = 0;
    ck_assert(PARSE("--key", "a", "--key=b", "--key", "--json"));
    ck_assert_uint_eq(settings.values[KEY].number, 3);
    ck_assert_str_eq(settings_list_next(&settings, KEY, &index), "a");
    ck_assert_str_eq(settings_list_next(&settings, KEY, &index), "b");
    ck_assert_str_eq(settings_list_next(&settings, KEY, &index), "--json");
    ck_assert_ptr_null(settings_list_next(&settings, KEY, &index));
    ck_assert_uint_eq(settings.values[JSON].number, 0);
}
END_TEST

START_TEST(what_is_wrong_is_said_with_flag_value_and_limit)
{
    REFUSES("--shards 65: is above the most, 64", "--shards", "65");
    REFUSES("--shards 0: is below the least, 1", "--shards=0");
    REFUSES("--shards 'x': is not a whole number", "--shards", "x");
    REFUSES("--shards '': is not a whole number", "--shards=");
    REFUSES("--shards '-1': is not a whole number", "--shards", "-1");
    REFUSES("--shards '4K': is not a whole number", "--shards", "4K");
    REFUSES("--shards '18446744073709551616': is not a whole number", "--shards",
            "18446744073709551616");
    REFUSES(
        "--segment-bytes '17179869184G': is not a number of bytes such as 65536, 64K, 16M or 1G",
        "--segment-bytes", "17179869184G");
    REFUSES("--segment-bytes 1K: is below the least, 1048576", "--segment-bytes", "1K");
    REFUSES("--idle 2d: is above the most, 86400000 ms", "--idle", "2d");
    REFUSES("--idle 200 needs a unit, as in 200s or 200ms", "--idle", "200");
    REFUSES("--idle '-5s': is not a duration such as 500ms, 30s, 5m, 2h or 1d", "--idle", "-5s");
    REFUSES("--idle '': is not a duration such as 500ms, 30s, 5m, 2h or 1d", "--idle=");
    REFUSES("--durability 'fast': not one of memory|disk", "--durability", "fast");
    REFUSES("--durability 'mem': not one of memory|disk", "--durability", "mem");
    REFUSES("--store: is 11 bytes long, at most 10 are allowed", "--store", "12345678901");
    REFUSES("--store '': is 0 bytes long, at least 1 are needed", "--store=");
    REFUSES("--shards is given twice, '1' and '2'", "--shards", "1", "--shards", "2");
    REFUSES("--store needs a value", "--store");
    REFUSES("--json takes no value, but 'yes' was given", "--json=yes");
    REFUSES("unknown option --shard (see --help)", "--shard", "1");
    REFUSES("unknown option -x (see --help)", "-x");
}
END_TEST

/* What a printer writes. */
static const char *printed(void (*print)(const struct setting *, uint32_t, FILE *))
{
    static char text[4096];
    FILE *file = fmemopen(text, sizeof(text), "w");
    ck_assert_ptr_nonnull(file);
    print(rows, ROW_COUNT, file);
    ck_assert_int_eq(fclose(file), 0);
    return text;
}

START_TEST(help_names_every_flag_with_default_and_range)
{
    const char *help = printed(settings_print_help);
    ck_assert_ptr_nonnull(strstr(help, "  --shards N                    parts of the store "
                                       "(default 4; 1 to 64)\n"));
    ck_assert_ptr_nonnull(strstr(help, "(default 256M; at least 1M)\n"));
    ck_assert_ptr_nonnull(strstr(help, "  -n, --nameserver HOST:PORT    who knows (default "
                                       "127.0.0.1:9876)\n"));
    ck_assert_ptr_nonnull(strstr(help, "a key of the message (may be repeated)\n"));
    ck_assert_ptr_nonnull(strstr(help, "(default disk)\n"));
}
END_TEST

START_TEST(the_readme_table_has_a_row_a_setting)
{
    const char *table = printed(settings_print_markdown);
    ck_assert_ptr_nonnull(strstr(table, "| `--shards N` | `4` | 1 to 64 | parts of the store |\n"));
    ck_assert_ptr_nonnull(
        strstr(table, "| `--durability memory\\|disk` | `disk` |  | what an answer means |\n"));
    ck_assert_ptr_nonnull(strstr(table, "| `-n`, `--nameserver HOST:PORT` |"));
}
END_TEST

static Suite *settings_suite(void)
{
    Suite *suite = suite_create("settings");
    TCase *cases = tcase_create("settings");
    tcase_add_test(cases, absent_settings_have_their_defaults);
    tcase_add_test(cases, flags_stand_anywhere_with_a_blank_or_an_equals_sign);
    tcase_add_test(cases, two_dashes_end_the_flags_and_one_is_an_argument);
    tcase_add_test(cases, sizes_and_durations_take_units);
    tcase_add_test(cases, a_list_keeps_its_values_in_order);
    tcase_add_test(cases, what_is_wrong_is_said_with_flag_value_and_limit);
    tcase_add_test(cases, help_names_every_flag_with_default_and_range);
    tcase_add_test(cases, the_readme_table_has_a_row_a_setting);
    suite_add_tcase(suite, cases);
    return suite;
}

TEST_MAIN(settings_suite)
