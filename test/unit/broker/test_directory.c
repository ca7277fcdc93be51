/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_directory.c - topics and groups, and the directory in which a core finds them.
 */
#include "broker/directory.h"
#include "proto/limits.h"
#include "test/lib/check_main.h"
#include "test/lib/group_of_topic.h"

#include <stdio.h>

static const struct map_seed seed = {.low = 7, .high = 9};

static struct topic *make_topic(uint32_t id, uint64_t version, const char *name)
{
    static const uint16_t shards[] = {0, 1, 0};
    const struct topic_parts parts = {
        .id = id,
        .version = version,
        .name = bytes_from_string(name),
        .durability = DURABILITY_DISK,
        .queue_count = 3,
        .shards = shards,
    };
    return topic_create(&parts);
}

/* Puts a topic in, and leaves its only reference there. */
static void put(struct directory *directory, uint32_t id, uint64_t version, const char *name)
{
    struct topic *topic = make_topic(id, version, name);
    directory_put(directory, topic);
    topic_unref(topic);
}

START_TEST(what_a_topic_leaves_open_is_filled_in)
{
    struct topic *topic = make_topic(3, 8, "orders");
    ck_assert_int_eq(topic->route, TOPIC_ROUTE_ANY);
    ck_assert_int_eq(topic->durability, DURABILITY_DISK);
    ck_assert(!topic->settings.has_route && !topic->settings.has_durability);
    ck_assert_uint_eq(topic_shard(topic, 1), 1);
    ck_assert_uint_eq(topic_shards(topic), 3);
    topic_unref(topic);
}
END_TEST

START_TEST(shard_0_records_topics_that_have_no_queue_in_it)
{
    const uint16_t shards[] = {5};
    const struct topic_parts parts = {
        .id = 1,
        .name = BYTES_OF("a"),
        .settings = {.has_durability = true, .durability = DURABILITY_MEMORY},
        .durability = DURABILITY_DISK,
        .queue_count = 1,
        .shards = shards,
    };
    struct topic *topic = topic_create(&parts);
    ck_assert_uint_eq(topic_shards(topic), 1U << 5 | 1);
    ck_assert_int_eq(topic->durability, DURABILITY_MEMORY);
    topic_unref(topic);
}
END_TEST

START_TEST(topics_are_found_by_name_and_by_id)
{
    struct directory directory;
    directory_init(&directory, seed);
    put(&directory, 1, 1, "orders");
    put(&directory, 2, 2, "payments");
    ck_assert_uint_eq(directory_find(&directory, BYTES_OF("orders"))->id, 1);
    ck_assert_uint_eq(directory_find_id(&directory, 2)->version, 2);
    ck_assert_ptr_null(directory_find(&directory, BYTES_OF("order")));
    ck_assert_ptr_null(directory_find_id(&directory, 3));
    directory_deinit(&directory);
}
END_TEST

START_TEST(a_new_version_takes_the_place_of_the_old_one)
{
    struct directory directory;
    directory_init(&directory, seed);
    put(&directory, 1, 1, "orders");
    struct topic *held = topic_ref(directory_find(&directory, BYTES_OF("orders")));
    put(&directory, 1, 5, "orders");
    ck_assert_uint_eq(directory.count, 1);
    ck_assert_uint_eq(directory_find(&directory, BYTES_OF("orders"))->version, 5);
    /* Who began with the old one goes on with it. */
    ck_assert_uint_eq(held->version, 1);
    topic_unref(held);
    directory_deinit(&directory);
}
END_TEST

START_TEST(a_removed_topic_is_gone_and_its_name_free)
{
    struct directory directory;
    directory_init(&directory, seed);
    put(&directory, 1, 1, "orders");
    directory_remove(&directory, 1);
    directory_remove(&directory, 1);
    ck_assert_ptr_null(directory_find(&directory, BYTES_OF("orders")));
    ck_assert_uint_eq(directory.count, 0);
    put(&directory, 2, 3, "orders");
    ck_assert_uint_eq(directory_find(&directory, BYTES_OF("orders"))->id, 2);
    directory_deinit(&directory);
}
END_TEST

START_TEST(topics_are_kept_in_the_order_of_their_names)
{
    struct directory directory;
    directory_init(&directory, seed);
    for (uint32_t i = 0; i < 500; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "t%u", (i * 7919) % 500);
        put(&directory, i + 1, i + 1, name);
    }
    for (uint32_t id = 3; id <= 500; id += 5) {
        directory_remove(&directory, id);
    }
    ck_assert_uint_eq(directory.count, 400);
    for (uint32_t i = 1; i < directory.count; i++) {
        ck_assert(bytes_compare(directory.sorted[i - 1]->name, directory.sorted[i]->name) < 0);
    }
    for (uint32_t i = 0; i < directory.count; i++) {
        struct bytes name = directory.sorted[i]->name;
        ck_assert_uint_eq(directory_place(&directory, name), i);
        ck_assert_uint_eq(directory_place_after(&directory, name), i + 1);
    }
    ck_assert_uint_eq(directory_place(&directory, BYTES_OF("a")), 0);
    ck_assert_uint_eq(directory_place(&directory, BYTES_OF("z")), 400);
    directory_deinit(&directory);
}
END_TEST

START_TEST(the_digest_says_which_versions_are_there_and_not_in_what_order_they_came)
{
    struct directory one;
    struct directory other;
    directory_init(&one, seed);
    directory_init(&other, (struct map_seed){.low = 1, .high = 2});
    ck_assert_uint_eq(directory_digest(&one), 0);
    put(&one, 1, 1, "a");
    put(&one, 2, 2, "b");
    put(&other, 2, 2, "b");
    ck_assert_uint_ne(directory_digest(&one), directory_digest(&other));
    put(&other, 1, 1, "a");
    ck_assert_uint_eq(directory_digest(&one), directory_digest(&other));
    ck_assert_uint_lt(directory_digest(&one), INTEGER_LIMIT);
    put(&other, 1, 3, "a");
    ck_assert_uint_ne(directory_digest(&one), directory_digest(&other));
    directory_deinit(&one);
    directory_deinit(&other);
}
END_TEST

START_TEST(nameservers_are_not_told_of_the_systems_topics)
{
    struct directory directory;
    directory_init(&directory, seed);
    put(&directory, 1, 1, "orders");
    uint64_t digest = directory_digest(&directory);
    put(&directory, 2, 2, "%DLQ%billing");
    ck_assert_uint_eq(directory_digest(&directory), digest);
    ck_assert(directory_announces(directory_find(&directory, BYTES_OF("orders"))));
    ck_assert(!directory_announces(directory_find(&directory, BYTES_OF("%DLQ%billing"))));
    directory_deinit(&directory);
}
END_TEST

/* ---------------------------------------------------------------- groups */

static void put_group(struct directory *directory, uint32_t id, uint64_t version, const char *name)
{
    const struct group_parts parts = {
        .id = id, .version = version, .name = bytes_from_string(name)};
    struct group *group = group_of_topic(&parts, "t", NULL);
    directory_put_group(directory, group);
    group_unref(group);
}

START_TEST(a_groups_topics_are_found_by_name_with_their_filters)
{
    /* {c: nil, a: "paid", b: "*"} */
    struct bytes pairs = BYTES_OF("\xa1"
                                  "c\xc0\xa1"
                                  "a\xa4paid\xa1"
                                  "b\xa1*");
    struct group_settings settings;
    group_settings_init(&settings);
    settings.given = 1U << GROUP_SETTING_TOPICS;
    settings.topic_count = 3;
    settings.topics = cursor_over(pairs);
    const struct group_parts parts = {
        .id = 1, .version = 1, .name = BYTES_OF("g"), .settings = &settings};
    struct group *group;
    struct refusal refusal;
    ck_assert_int_eq(group_create(&parts, &group, &refusal), OK);
    ck_assert_uint_eq(group->topic_count, 3);
    ck_assert(bytes_equal(group->topics[0].name, BYTES_OF("a")));
    ck_assert_ptr_nonnull(group_find_topic(group, BYTES_OF("a"))->filter);
    ck_assert_ptr_null(group_find_topic(group, BYTES_OF("b"))->filter);
    ck_assert_uint_eq(group_find_topic(group, BYTES_OF("c"))->filter_text.length, 0);
    ck_assert_ptr_null(group_find_topic(group, BYTES_OF("d")));
    ck_assert_ptr_null(group_find_topic(group, BYTES_OF("")));
    group_unref(group);
}
END_TEST

START_TEST(a_filter_that_cannot_be_read_names_its_topic)
{
    struct group_settings settings;
    group_settings_init(&settings);
    settings.topic_count = 2;
    /* {a: "paid", b: "x >"} */
    settings.topics = cursor_over(BYTES_OF("\xa1"
                                           "a\xa4paid\xa1"
                                           "b\xa3x >"));
    const struct group_parts parts = {
        .id = 1, .version = 1, .name = BYTES_OF("g"), .settings = &settings};
    struct group *group = NULL;
    struct refusal refusal;
    uint64_t column = 0;
    ck_assert_int_eq(group_create(&parts, &group, &refusal), ERROR_BAD_FILTER);
    ck_assert_ptr_null(group);
    ck_assert_str_eq(refusal.key, "b");
    ck_assert(refusal_get(&refusal, REFUSAL_COLUMN, &column));
}
END_TEST

START_TEST(groups_are_found_beside_topics_of_the_same_name)
{
    struct directory directory;
    directory_init(&directory, seed);
    put(&directory, 1, 1, "same");
    put_group(&directory, 2, 2, "same");
    ck_assert_uint_eq(directory_find(&directory, BYTES_OF("same"))->id, 1);
    ck_assert_uint_eq(directory_find_group(&directory, BYTES_OF("same"))->id, 2);
    ck_assert_ptr_null(directory_find_group_id(&directory, 1));
    struct group *held = group_ref(directory_find_group_id(&directory, 2));
    put_group(&directory, 2, 5, "same");
    ck_assert_uint_eq(directory_find_group(&directory, BYTES_OF("same"))->version, 5);
    ck_assert_uint_eq(held->version, 2);
    group_unref(held);
    directory_remove_group(&directory, 2);
    directory_remove_group(&directory, 2);
    ck_assert_ptr_null(directory_find_group(&directory, BYTES_OF("same")));
    ck_assert_uint_eq(directory.group_count, 0);
    ck_assert_ptr_nonnull(directory_find(&directory, BYTES_OF("same")));
    directory_deinit(&directory);
}
END_TEST

START_TEST(groups_are_kept_in_the_order_of_their_names)
{
    struct directory directory;
    directory_init(&directory, seed);
    for (uint32_t i = 0; i < 500; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "g%u", (i * 7919) % 500);
        put_group(&directory, i + 1, i + 1, name);
    }
    for (uint32_t id = 3; id <= 500; id += 5) {
        directory_remove_group(&directory, id);
    }
    ck_assert_uint_eq(directory.group_count, 400);
    for (uint32_t i = 0; i < directory.group_count; i++) {
        struct bytes name = directory.groups[i]->name;
        ck_assert(i == 0 || bytes_compare(directory.groups[i - 1]->name, name) < 0);
        ck_assert_uint_eq(directory_group_place(&directory, name), i);
        ck_assert_uint_eq(directory_group_place_after(&directory, name), i + 1);
        ck_assert_ptr_eq(directory_find_group(&directory, name), directory.groups[i]);
    }
    ck_assert_uint_eq(directory_group_place(&directory, BYTES_OF("z")), 400);
    directory_deinit(&directory);
}
END_TEST

static Suite *directory_suite(void)
{
    Suite *suite = suite_create("directory");
    TCase *cases = tcase_create("directory");
    tcase_add_test(cases, what_a_topic_leaves_open_is_filled_in);
    tcase_add_test(cases, shard_0_records_topics_that_have_no_queue_in_it);
    tcase_add_test(cases, topics_are_found_by_name_and_by_id);
    tcase_add_test(cases, a_new_version_takes_the_place_of_the_old_one);
    tcase_add_test(cases, a_removed_topic_is_gone_and_its_name_free);
    tcase_add_test(cases, topics_are_kept_in_the_order_of_their_names);
    tcase_add_test(cases, the_digest_says_which_versions_are_there_and_not_in_what_order_they_came);
    tcase_add_test(cases, nameservers_are_not_told_of_the_systems_topics);
    tcase_add_test(cases, a_groups_topics_are_found_by_name_with_their_filters);
    tcase_add_test(cases, a_filter_that_cannot_be_read_names_its_topic);
    tcase_add_test(cases, groups_are_found_beside_topics_of_the_same_name);
    tcase_add_test(cases, groups_are_kept_in_the_order_of_their_names);
    suite_add_tcase(suite, cases);
    return suite;
}

TEST_MAIN(directory_suite)
