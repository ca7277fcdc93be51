/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_arguments.c - argument maps become values of the right type and range, or a refusal that
 * names the key.
 */
#include "proto/arguments.h"
#include "proto/limits.h"
#include "test/lib/check_main.h"
#include "test/unit/proto/hex.h"
#include "test/unit/proto/values.h"

static uint8_t buffer[1 << 16];
static struct writer writer;
static struct arguments arguments;
static struct refusal refusal;

static void set_up(void)
{
    writer = writer_over(buffer, sizeof(buffer));
    memset(&arguments, 0xa5, sizeof(arguments));
}

/* Begins a map that has the two required arguments of produce and `more` others. */
static void begin_produce(uint32_t more)
{
    set_up();
    writer_put_map(&writer, 2 + more);
    writer_put_key_string(&writer, "topic", "orders");
    writer_put_string(&writer, "messages");
    writer_put_array(&writer, 2);
    writer_put_bin(&writer, BYTES_OF("a"));
    writer_put_bin(&writer, BYTES_OF("b"));
}

/* Reads what was written, out of memory of exactly its size. */
static enum error read_as(enum method_id id)
{
    struct bytes map = writer_bytes(&writer);
    uint8_t *copy = exact_copy(map);
    enum error error =
        arguments_read(method_get(id), bytes_make(copy, map.length), &arguments, &refusal);
    if (error == OK) {
        /* Spans have to stay good: read again in place. */
        error = arguments_read(method_get(id), map, &arguments, &refusal);
    }
    free(copy);
    return error;
}

START_TEST(given_arguments_are_read_and_absent_ones_have_their_defaults)
{
    begin_produce(2);
    writer_put_key_uint(&writer, "queue", 3);
    writer_put_key_string(&writer, "durability", "disk");
    ck_assert_int_eq(read_as(METHOD_PRODUCE), OK);
    ck_assert_bytes_eq(arguments_bytes(&arguments, ARGUMENT_TOPIC), BYTES_OF("orders"));
    ck_assert_uint_eq(arguments_number(&arguments, ARGUMENT_QUEUE), 3);
    ck_assert_uint_eq(arguments_number(&arguments, ARGUMENT_DURABILITY), DURABILITY_DISK);
    ck_assert_uint_eq(arguments_number(&arguments, ARGUMENT_MESSAGES), 2);
    ck_assert_bytes_eq(arguments_bytes(&arguments, ARGUMENT_MESSAGES), hex("c4 01 61 c4 01 62"));
    ck_assert(!arguments_has(&arguments, ARGUMENT_TIMEOUT_MS));
    ck_assert_uint_eq(arguments_number(&arguments, ARGUMENT_TIMEOUT_MS), TIMEOUT_MS_DEFAULT);
    ck_assert(!arguments_has(&arguments, ARGUMENT_DEADLINE_MS));
    ck_assert_uint_eq(arguments_bytes(&arguments, ARGUMENT_CRCS).length, 0);
}
END_TEST

START_TEST(keys_and_texts_may_be_bytes_and_the_order_is_free)
{
    struct bytes map = hex("83 c4 08 6d 65 73 73 61 67 65 73 91 a1 78"
                           "c4 05 71 75 65 75 65 cb 40 08 00 00 00 00 00 00"
                           "c4 05 74 6f 70 69 63 c4 01 74");
    ck_assert_int_eq(arguments_read(method_get(METHOD_PRODUCE), map, &arguments, &refusal), OK);
    ck_assert_bytes_eq(arguments_bytes(&arguments, ARGUMENT_TOPIC), BYTES_OF("t"));
    ck_assert_uint_eq(arguments_number(&arguments, ARGUMENT_QUEUE), 3);
}
END_TEST

START_TEST(nil_is_absent)
{
    begin_produce(2);
    writer_put_string(&writer, "queue");
    writer_put_nil(&writer);
    writer_put_string(&writer, "timeout_ms");
    writer_put_nil(&writer);
    ck_assert_int_eq(read_as(METHOD_PRODUCE), OK);
    ck_assert(!arguments_has(&arguments, ARGUMENT_QUEUE));
    ck_assert_uint_eq(arguments_number(&arguments, ARGUMENT_TIMEOUT_MS), TIMEOUT_MS_DEFAULT);
}
END_TEST

START_TEST(unknown_arguments_are_refused_by_name)
{
    static const char *const names[] = {"at",     "txn",  "codec",  "producer", "seq",
                                        "filter", "topi", "topic2", ""};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        begin_produce(1);
        writer_put_key_uint(&writer, names[i], 1);
        ck_assert_int_eq(read_as(METHOD_PRODUCE), ERROR_UNKNOWN_ARGUMENT);
        ck_assert_int_eq(refusal.code, ERROR_UNKNOWN_ARGUMENT);
        ck_assert_str_eq(refusal.key, names[i]);
    }
    /* Also with nil: what is not understood may not be passed over. */
    begin_produce(1);
    writer_put_string(&writer, "at");
    writer_put_nil(&writer);
    ck_assert_int_eq(read_as(METHOD_PRODUCE), ERROR_UNKNOWN_ARGUMENT);
}
END_TEST

/* A produce with this argument is refused with this key. */
static void refuses_number(const char *key, uint64_t value, uint64_t limit)
{
    uint64_t found;
    begin_produce(1);
    writer_put_key_uint(&writer, key, value);
    ck_assert_int_eq(read_as(METHOD_PRODUCE), ERROR_BAD_ARGUMENT);
    ck_assert_str_eq(refusal.key, key);
    ck_assert(refusal_get(&refusal, REFUSAL_LIMIT, &found));
    ck_assert_uint_eq(found, limit);
}

START_TEST(numbers_out_of_range_are_refused_with_their_limit)
{
    refuses_number("queue", QUEUES_PER_TOPIC_MAX, QUEUES_PER_TOPIC_MAX - 1);
    refuses_number("timeout_ms", UINT64_C(86400001), 86400000);
    refuses_number("deadline_ms", UINT64_C(86400001), 86400000);
}
END_TEST

START_TEST(numbers_above_a_cap_are_lowered_to_it)
{
    writer_put_map(&writer, 6);
    writer_put_key_string(&writer, "topic", "t");
    writer_put_key_uint(&writer, "queue", 0);
    writer_put_key_bool(&writer, "first", true);
    writer_put_key_uint(&writer, "max", 1000000);
    writer_put_key_uint(&writer, "max_bytes", INTEGER_LIMIT - 1);
    writer_put_key_uint(&writer, "wait_ms", 600000);
    ck_assert_int_eq(read_as(METHOD_PULL), OK);
    ck_assert_uint_eq(arguments_number(&arguments, ARGUMENT_MAX), MESSAGES_PER_CALL_MAX);
    ck_assert_uint_eq(arguments_number(&arguments, ARGUMENT_MAX_BYTES), PULL_BYTES_MAX);
    ck_assert_uint_eq(arguments_number(&arguments, ARGUMENT_WAIT_MS), WAIT_MS_MAX);
    ck_assert_uint_eq(arguments_number(&arguments, ARGUMENT_FIRST), 1);
    set_up();
    writer_put_map(&writer, 3);
    writer_put_key_string(&writer, "topic", "t");
    writer_put_key_uint(&writer, "queue", 0);
    writer_put_key_uint(&writer, "max", 0);
    ck_assert_int_eq(read_as(METHOD_PULL), ERROR_BAD_ARGUMENT);
    ck_assert_str_eq(refusal.key, "max");
}
END_TEST

/* A produce with `key` and the value of these bytes is refused as a bad argument. */
static void refuses_value(const char *key, const char *value)
{
    begin_produce(1);
    writer_put_string(&writer, key);
    writer_put_raw(&writer, hex(value));
    ck_assert_msg(read_as(METHOD_PRODUCE) == ERROR_BAD_ARGUMENT, "%s %s", key, value);
    ck_assert_str_eq(refusal.key, key);
}

START_TEST(values_of_another_type_are_refused)
{
    refuses_value("queue", "a1 31");
    refuses_value("queue", "ff");
    refuses_value("queue", "c3");
    refuses_value("queue", "cb 3f f8 00 00 00 00 00 00");
    refuses_value("queue", "cf 00 20 00 00 00 00 00 00");
    refuses_value("durability", "01");
    refuses_value("durability", "a3 6d 65 6d");
    refuses_value("durability", "a8 72 65 70 6c 69 63 61 73");
    refuses_value("crcs", "80");
    refuses_value("crcs", "90");
    refuses_value("born", "cb 7f f8 00 00 00 00 00 00");
}
END_TEST

START_TEST(integers_that_are_not_exact_in_every_language_are_refused_as_such)
{
    begin_produce(1);
    writer_put_string(&writer, "queue");
    writer_put_int(&writer, -1);
    ck_assert_int_eq(read_as(METHOD_PRODUCE), ERROR_BAD_ARGUMENT);
    ck_assert_str_eq(refusal.message, "queue has to be an integer from 0 to 2^53 - 1");
}
END_TEST

START_TEST(an_argument_that_is_given_twice_is_refused)
{
    begin_produce(2);
    writer_put_key_uint(&writer, "queue", 1);
    writer_put_key_uint(&writer, "queue", 1);
    ck_assert_int_eq(read_as(METHOD_PRODUCE), ERROR_BAD_ARGUMENT);
    ck_assert_str_eq(refusal.key, "queue");
    begin_produce(1);
    writer_put_key_string(&writer, "topic", "orders");
    ck_assert_int_eq(read_as(METHOD_PRODUCE), ERROR_BAD_ARGUMENT);
    ck_assert_str_eq(refusal.key, "topic");
}
END_TEST

START_TEST(a_required_argument_that_is_missing_is_refused)
{
    writer_put_map(&writer, 1);
    writer_put_key_string(&writer, "topic", "orders");
    ck_assert_int_eq(read_as(METHOD_PRODUCE), ERROR_BAD_ARGUMENT);
    ck_assert_str_eq(refusal.key, "messages");
    set_up();
    ck_assert_int_eq(
        arguments_read(method_get(METHOD_PRODUCE), (struct bytes){NULL, 0}, &arguments, &refusal),
        ERROR_BAD_ARGUMENT);
    ck_assert_str_eq(refusal.key, "topic");
    ck_assert_int_eq(
        arguments_read(method_get(METHOD_STATS), (struct bytes){NULL, 0}, &arguments, &refusal),
        OK);
}
END_TEST

START_TEST(names_texts_and_addresses_are_checked)
{
    writer_put_map(&writer, 2);
    writer_put_key_string(&writer, "topic", "%DLQ%x");
    writer_put_string(&writer, "messages");
    writer_put_array(&writer, 1);
    writer_put_nil(&writer);
    ck_assert_int_eq(read_as(METHOD_PRODUCE), ERROR_BAD_ARGUMENT);
    ck_assert_str_eq(refusal.key, "topic");

    set_up();
    writer_put_map(&writer, 1);
    writer_put_string(&writer, "client");
    writer_put_str(&writer, BYTES_OF("\xff"));
    ck_assert_int_eq(read_as(METHOD_BROKER_HELLO), ERROR_BAD_ARGUMENT);
    ck_assert_str_eq(refusal.key, "client");
    ck_assert_str_eq(refusal.limit_text, "UTF-8");

    set_up();
    writer_put_map(&writer, 5);
    writer_put_key_string(&writer, "broker", "broker-a");
    writer_put_key_string(&writer, "address", "127.0.0.1");
    writer_put_key_string(&writer, "role", "master");
    writer_put_key_uint(&writer, "epoch", 1);
    writer_put_key_uint(&writer, "digest", 1);
    ck_assert_int_eq(read_as(METHOD_LEASE_RENEW), ERROR_BAD_ARGUMENT);
    ck_assert_str_eq(refusal.key, "address");
    ck_assert_str_eq(refusal.limit_text, "HOST:PORT");
}
END_TEST

START_TEST(what_is_no_map_of_text_keys_is_malformed)
{
    static const char *const texts[] = {"90", "01",    "81 01 02", "81 a5 74 6f 70 69 63",
                                        "c0", "80 00", "81 c0 c0"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        enum error error =
            arguments_read(method_get(METHOD_STATS), hex(texts[i]), &arguments, &refusal);
        ck_assert_msg(error != OK && refusal.code == error, "%s", texts[i]);
    }
}
END_TEST

START_TEST(no_prefix_of_a_map_is_accepted_and_none_is_read_beyond)
{
    begin_produce(3);
    writer_put_key_uint(&writer, "queue", 700);
    writer_put_key_string(&writer, "durability", "memory");
    writer_put_key_uint(&writer, "born", UINT64_C(1) << 40);
    size_t length = writer_length(&writer);
    for (size_t cut = 0; cut < length; cut++) {
        uint8_t *copy = exact_copy(bytes_make(buffer, cut));
        ck_assert_int_ne(
            arguments_read(method_get(METHOD_PRODUCE), bytes_make(copy, cut), &arguments, &refusal),
            OK);
        free(copy);
    }
    ck_assert_int_eq(read_as(METHOD_PRODUCE), OK);
}
END_TEST

START_TEST(the_settings_of_a_topic_are_route_and_durability)
{
    struct topic_settings settings = {.has_route = true, .route = TOPIC_ROUTE_KEY};
    struct bytes map = hex("82 a5 72 6f 75 74 65 a3 6b 65 79"
                           "aa 64 75 72 61 62 69 6c 69 74 79 a6 6d 65 6d 6f 72 79");
    struct cursor pairs = cursor_over(map);
    uint32_t count;
    ck_assert(cursor_take_map(&pairs, &count));
    ck_assert_int_eq(topic_settings_read(pairs, count, &settings, &refusal), OK);
    ck_assert(settings.has_route && settings.has_durability);
    ck_assert_int_eq(settings.route, TOPIC_ROUTE_KEY);
    ck_assert_int_eq(settings.durability, DURABILITY_MEMORY);
    topic_settings_write(&settings, &writer);
    ck_assert_bytes_eq(writer_bytes(&writer), map);
    ck_assert_int_eq(topic_settings_read(pairs, 0, &settings, &refusal), OK);
    ck_assert(!settings.has_route && !settings.has_durability);
}
END_TEST

START_TEST(settings_that_are_not_built_are_refused)
{
    static const char *const texts[] = {
        "a6 72 65 74 61 69 6e a4 74 69 6d 65",                         /* retain: time */
        "a5 72 6f 75 74 65 a4 6e 6f 6e 65",                            /* route: none */
        "a5 72 6f 75 74 65 01",                                        /* route: 1 */
        "aa 64 75 72 61 62 69 6c 69 74 79 a8 72 65 70 6c 69 63 61 73", /* durability: replicas */
        "01 02",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct topic_settings settings = {.has_route = true};
        struct cursor pairs = cursor_over(hex(texts[i]));
        ck_assert_int_eq(topic_settings_read(pairs, 1, &settings, &refusal), ERROR_BAD_ARGUMENT);
        ck_assert_uint_gt(strlen(refusal.key), 0);
        ck_assert(settings.has_route);
    }
    struct topic_settings settings;
    struct cursor pairs = cursor_over(hex("a5 72 6f 75 74 65 a3 61 6e 79"
                                          "a5 72 6f 75 74 65 a3 61 6e 79"));
    ck_assert_int_eq(topic_settings_read(pairs, 2, &settings, &refusal), ERROR_BAD_ARGUMENT);
}
END_TEST

START_TEST(an_empty_array_stands_for_an_empty_map)
{
    writer_put_map(&writer, 2);
    writer_put_key_string(&writer, "name", "t");
    writer_put_string(&writer, "settings");
    writer_put_array(&writer, 0);
    ck_assert_int_eq(read_as(METHOD_TOPIC_PUT), OK);
    ck_assert(arguments_has(&arguments, ARGUMENT_SETTINGS));
    ck_assert_uint_eq(arguments_number(&arguments, ARGUMENT_SETTINGS), 0);
    ck_assert_uint_eq(arguments_number(&arguments, ARGUMENT_QUEUES), QUEUES_PER_TOPIC_DEFAULT);
}
END_TEST

static Suite *arguments_suite(void)
{
    Suite *suite = suite_create("arguments");
    TCase *cases = tcase_create("arguments");
    tcase_add_checked_fixture(cases, set_up, NULL);
    tcase_add_test(cases, given_arguments_are_read_and_absent_ones_have_their_defaults);
    tcase_add_test(cases, keys_and_texts_may_be_bytes_and_the_order_is_free);
    tcase_add_test(cases, nil_is_absent);
    tcase_add_test(cases, unknown_arguments_are_refused_by_name);
    tcase_add_test(cases, numbers_out_of_range_are_refused_with_their_limit);
    tcase_add_test(cases, numbers_above_a_cap_are_lowered_to_it);
    tcase_add_test(cases, values_of_another_type_are_refused);
    tcase_add_test(cases, integers_that_are_not_exact_in_every_language_are_refused_as_such);
    tcase_add_test(cases, an_argument_that_is_given_twice_is_refused);
    tcase_add_test(cases, a_required_argument_that_is_missing_is_refused);
    tcase_add_test(cases, names_texts_and_addresses_are_checked);
    tcase_add_test(cases, what_is_no_map_of_text_keys_is_malformed);
    tcase_add_test(cases, no_prefix_of_a_map_is_accepted_and_none_is_read_beyond);
    tcase_add_test(cases, the_settings_of_a_topic_are_route_and_durability);
    tcase_add_test(cases, settings_that_are_not_built_are_refused);
    tcase_add_test(cases, an_empty_array_stands_for_an_empty_map);
    suite_add_tcase(suite, cases);
    return suite;
}

TEST_MAIN(arguments_suite)
