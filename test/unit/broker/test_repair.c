/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_repair.c - catalogues of several shards after a crash in the middle of a change.
 */
#include "broker/repair.h"
#include "test/lib/catalogue_apply.h"
#include "test/lib/check_main.h"
#include "test/lib/group_of_topic.h"

#include <stdio.h>

enum { SHARDS = 3 };

static struct catalogue *catalogues[SHARDS];
static struct repair_options options;
static char
    found[256]; /* the topics, then the groups, that the repair names: "name:version " each */
static char told[256]; /* the groups that were put in a shard: "shard:version<before " each */
static char error[256];

static bool append(void *context, uint32_t shard, struct bytes operation)
{
    (void)context;
    ck_assert(catalogue_apply(catalogues[shard], operation));
    return true;
}

static bool append_refused(void *context, uint32_t shard, struct bytes operation)
{
    (void)context;
    (void)shard;
    (void)operation;
    return false;
}

static void note_topic(void *context, struct topic *topic)
{
    (void)context;
    size_t used = strlen(found);
    (void)snprintf(found + used, sizeof(found) - used, "%.*s:%u ", (int)topic->name.length,
                   (const char *)topic->name.data, (unsigned)topic->version);
}

static void note_group(void *context, struct group *group)
{
    (void)context;
    size_t used = strlen(found);
    (void)snprintf(found + used, sizeof(found) - used, "%.*s:%u ", (int)group->name.length,
                   (const char *)group->name.data, (unsigned)group->version);
}

static void note_put(void *context, uint32_t shard, const struct group *group,
                     const struct group *old)
{
    (void)context;
    size_t used = strlen(told);
    (void)snprintf(told + used, sizeof(told) - used, "%u:%u<%u ", shard, (unsigned)group->version,
                   old == NULL ? 0 : (unsigned)old->version);
}

static void set_up(void)
{
    for (uint32_t i = 0; i < SHARDS; i++) {
        catalogues[i] = catalogue_create(i, DURABILITY_DISK);
    }
    options = (struct repair_options){
        .catalogues = catalogues,
        .shard_count = SHARDS,
        .append = append,
        .topic = note_topic,
        .group = note_group,
        .group_put = note_put,
    };
    found[0] = '\0';
    told[0] = '\0';
}

static void tear_down(void)
{
    for (uint32_t i = 0; i < SHARDS; i++) {
        catalogue_destroy(catalogues[i]);
    }
}

/* In the catalogues of the shards of `where` (bits). */
static void record(const struct writer *writer, unsigned where)
{
    for (uint32_t i = 0; i < SHARDS; i++) {
        if ((where >> i & 1) != 0) {
            ck_assert(catalogue_apply(catalogues[i], writer_bytes(writer)));
        }
    }
}

/* A topic whose queue n lies in shard n, recorded in the shards of `where` (bits). */
static void put(uint32_t id, uint64_t version, const char *name, uint32_t queues, unsigned where)
{
    static const uint16_t shards[] = {0, 1, 2};
    const struct topic_parts parts = {
        .id = id,
        .version = version,
        .name = bytes_from_string(name),
        .queue_count = queues,
        .shards = shards,
    };
    struct topic *topic = topic_create(&parts);
    uint8_t bytes[CATALOGUE_OPERATION_BYTES_MAX];
    struct writer writer = writer_over(bytes, sizeof(bytes));
    catalogue_write_put(&writer, topic);
    topic_unref(topic);
    record(&writer, where);
}

static void put_deleted(uint32_t id, uint64_t version, unsigned where)
{
    uint8_t bytes[EVENT_BYTES_MAX];
    struct writer writer = writer_over(bytes, sizeof(bytes));
    catalogue_write_delete(&writer, id, version);
    record(&writer, where);
}

/* A group of the topic "t", recorded in the shards of `where` (bits). */
static void put_group(uint32_t id, uint64_t version, const char *name, unsigned where)
{
    const struct group_parts parts = {
        .id = id, .version = version, .name = bytes_from_string(name)};
    struct group *group = group_of_topic(&parts, "t", NULL);
    uint8_t bytes[CATALOGUE_OPERATION_BYTES_MAX];
    struct writer writer = writer_over(bytes, sizeof(bytes));
    catalogue_write_put_group(&writer, group);
    group_unref(group);
    record(&writer, where);
}

static uint32_t repair(void)
{
    uint32_t appended = UINT32_MAX;
    found[0] = '\0';
    told[0] = '\0';
    ck_assert_msg(catalogues_repair(&options, &appended, error, sizeof(error)), "%s", error);
    return appended;
}

START_TEST(catalogues_that_agree_are_left_alone)
{
    put(1, 1, "a", 3, 7);
    put(2, 2, "b", 1, 1);
    put(3, 3, "c", 2, 3);
    put_deleted(3, 4, 3);
    ck_assert_uint_eq(repair(), 0);
    ck_assert_str_eq(found, "a:1 b:2 ");
}
END_TEST

START_TEST(a_topic_that_did_not_reach_all_shards_does)
{
    put(1, 1, "a", 3, 1);
    ck_assert_uint_eq(repair(), 2);
    ck_assert_uint_eq(catalogue_find(catalogues[2], BYTES_OF("a"))->version, 1);
    ck_assert_uint_eq(repair(), 0);
    ck_assert_str_eq(found, "a:1 ");
}
END_TEST

START_TEST(the_highest_version_wins_in_whichever_shard_it_is)
{
    put(1, 1, "a", 2, 3);
    put(1, 5, "a", 3, 4); /* shard 0 lost its end, shard 2 did not */
    ck_assert_uint_eq(repair(), 2);
    ck_assert_uint_eq(catalogue_find(catalogues[0], BYTES_OF("a"))->queue_count, 3);
    ck_assert_uint_eq(catalogue_find(catalogues[1], BYTES_OF("a"))->version, 5);
    ck_assert_uint_eq(catalogues[0]->version, 5);
    ck_assert_str_eq(found, "a:5 ");
}
END_TEST

START_TEST(a_deletion_goes_on_and_nothing_comes_back)
{
    put(1, 1, "a", 3, 7);
    put_deleted(1, 2, 1);
    ck_assert_uint_eq(repair(), 2);
    ck_assert_ptr_null(catalogue_find(catalogues[1], BYTES_OF("a")));
    ck_assert_ptr_null(catalogue_find(catalogues[2], BYTES_OF("a")));
    ck_assert_str_eq(found, "");
    ck_assert_uint_eq(repair(), 0);
}
END_TEST

START_TEST(a_deletion_that_only_another_shard_has_counts)
{
    put(1, 1, "a", 3, 7);
    put_deleted(1, 9, 4);
    ck_assert_uint_eq(repair(), 2);
    ck_assert_uint_eq(catalogues[0]->version, 9);
    ck_assert_uint_eq(catalogues[0]->topic_count, 0);
}
END_TEST

START_TEST(ids_and_versions_of_other_shards_are_not_given_again)
{
    put_deleted(40, 90, 2);
    ck_assert_uint_eq(repair(), 1);
    ck_assert_uint_eq(catalogues[0]->next_id, 41);
    ck_assert_uint_eq(catalogues[0]->version, 90);
    ck_assert_uint_eq(repair(), 0);
}
END_TEST

START_TEST(a_name_that_was_freed_and_taken_again_is_repaired_in_that_order)
{
    put(1, 1, "a", 3, 7);
    put_deleted(1, 2, 1);
    put(2, 3, "a", 3, 1);
    ck_assert_uint_eq(repair(), 4);
    for (uint32_t i = 0; i < SHARDS; i++) {
        ck_assert_uint_eq(catalogue_find(catalogues[i], BYTES_OF("a"))->id, 2);
        ck_assert_uint_eq(catalogues[i]->topic_count, 1);
    }
    ck_assert_str_eq(found, "a:3 ");
}
END_TEST

START_TEST(a_shard_that_takes_no_writes_is_left_as_it_is)
{
    put(1, 1, "a", 3, 1);
    options.read_only = 1U << 1;
    ck_assert_uint_eq(repair(), 1);
    ck_assert_uint_eq(catalogues[1]->topic_count, 0);
    ck_assert_str_eq(found, "a:1 ");
}
END_TEST

static bool check_lost(uint64_t logs)
{
    error[0] = '\0';
    return catalogues_check_lost(&options, logs, error, sizeof(error));
}

static void put_setting(const char *name, const char *value, uint64_t version)
{
    uint8_t bytes[CATALOGUE_OPERATION_BYTES_MAX];
    struct writer writer = writer_over(bytes, sizeof(bytes));
    catalogue_write_setting(&writer, name, value, version);
    ck_assert(catalogue_apply(catalogues[0], writer_bytes(&writer)));
}

START_TEST(a_new_shard_knows_no_topic_and_needs_none)
{
    ck_assert(check_lost(0));
    put(1, 1, "a", 2, 3);
    put_setting(CATALOGUE_SETTING_SHARDS, "2", 2);
    ck_assert_msg(check_lost(3), "%s", error);
    ck_assert_uint_eq(repair(), 0);
}
END_TEST

START_TEST(a_shard_whose_log_is_gone_is_told_from_a_new_one)
{
    put(1, 1, "orders", 3, 3);
    ck_assert(!check_lost(3));
    ck_assert_ptr_nonnull(strstr(error, "shard 2"));
    ck_assert_ptr_nonnull(strstr(error, "orders"));
    ck_assert(check_lost(7));
}
END_TEST

START_TEST(a_shard_that_is_gone_is_missed_though_no_topic_was_in_it)
{
    put(1, 1, "a", 1, 1);
    put_setting(CATALOGUE_SETTING_SHARDS, "2", 2);
    put_setting(CATALOGUE_SETTING_SHARDS, "3", 3);
    ck_assert(check_lost(7));
    ck_assert(!check_lost(3));
    ck_assert_ptr_nonnull(strstr(error, "shard 2"));
    /* Also where the broker is started with fewer. */
    options.shard_count = 1;
    ck_assert(!check_lost(1));
    ck_assert_ptr_nonnull(strstr(error, "shard 1"));
}
END_TEST

START_TEST(a_shard_without_a_log_before_one_that_has_a_log_is_gone)
{
    ck_assert(!check_lost(6));
    ck_assert_ptr_nonnull(strstr(error, "shard 0"));
    ck_assert(!check_lost(5));
    ck_assert_ptr_nonnull(strstr(error, "shard 1"));
}
END_TEST

START_TEST(a_repair_that_finds_no_room_fails)
{
    put(1, 1, "a", 3, 1);
    options.append = append_refused;
    uint32_t appended = 0;
    ck_assert(!catalogues_repair(&options, &appended, error, sizeof(error)));
    ck_assert_ptr_nonnull(strstr(error, "shard 1"));
}
END_TEST

START_TEST(groups_are_in_all_shards)
{
    put(1, 1, "a", 1, 1);
    put_group(2, 2, "g", 7);
    ck_assert_uint_eq(repair(), 0);
    ck_assert_str_eq(found, "a:1 g:2 ");
    ck_assert_str_eq(told, "");
    put_group(3, 3, "h", 1);
    ck_assert_uint_eq(repair(), 2);
    ck_assert_str_eq(told, "1:3<0 2:3<0 ");
    ck_assert_uint_eq(catalogue_find_group(catalogues[2], BYTES_OF("h"))->version, 3);
    ck_assert_uint_eq(repair(), 0);
}
END_TEST

START_TEST(the_highest_version_of_a_group_wins)
{
    put_group(1, 1, "g", 7);
    put_group(1, 4, "g", 2);
    ck_assert_uint_eq(repair(), 2);
    ck_assert_str_eq(found, "g:4 ");
    ck_assert_str_eq(told, "0:4<1 2:4<1 ");
    ck_assert_uint_eq(repair(), 0);
}
END_TEST

START_TEST(a_deletion_of_a_group_goes_on)
{
    put_group(1, 1, "g", 7);
    put_deleted(1, 2, 2);
    put_group(3, 3, "g", 2);
    ck_assert_uint_eq(repair(), 4);
    ck_assert_str_eq(found, "g:3 ");
    ck_assert_str_eq(told, "0:3<0 2:3<0 ");
    for (uint32_t shard = 0; shard < SHARDS; shard++) {
        ck_assert_uint_eq(catalogue_find_group(catalogues[shard], BYTES_OF("g"))->id, 3);
        ck_assert_uint_eq(catalogue_find_deleted(catalogues[shard], 1)->version, 2);
    }
    ck_assert_uint_eq(repair(), 0);
}
END_TEST

/* What shard 2 is told of a group that it still has and that was deleted. */
static bool append_deletion(void *context, uint32_t shard, struct bytes operation)
{
    struct cursor cursor = cursor_over(operation);
    uint32_t fields;
    uint64_t number;
    ck_assert(cursor_take_array(&cursor, &fields) && cursor_take_uint(&cursor, &number));
    ck_assert_uint_eq(number, shard == 2 ? EVENT_GROUP_DELETE : EVENT_TOPIC_DELETE);
    return append(context, shard, operation);
}

START_TEST(a_deletion_says_what_it_is_of_where_that_is_known)
{
    options.append = append_deletion;
    put_group(1, 1, "g", 4);
    put_deleted(1, 2, 2);
    ck_assert_uint_eq(repair(), 2);
    ck_assert_uint_eq(catalogues[2]->group_count, 0);
}
END_TEST

static Suite *repair_suite(void)
{
    Suite *suite = suite_create("repair");
    TCase *cases = tcase_create("repair");
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, catalogues_that_agree_are_left_alone);
    tcase_add_test(cases, a_topic_that_did_not_reach_all_shards_does);
    tcase_add_test(cases, the_highest_version_wins_in_whichever_shard_it_is);
    tcase_add_test(cases, a_deletion_goes_on_and_nothing_comes_back);
    tcase_add_test(cases, a_deletion_that_only_another_shard_has_counts);
    tcase_add_test(cases, ids_and_versions_of_other_shards_are_not_given_again);
    tcase_add_test(cases, a_name_that_was_freed_and_taken_again_is_repaired_in_that_order);
    tcase_add_test(cases, a_shard_that_takes_no_writes_is_left_as_it_is);
    tcase_add_test(cases, a_new_shard_knows_no_topic_and_needs_none);
    tcase_add_test(cases, a_shard_whose_log_is_gone_is_told_from_a_new_one);
    tcase_add_test(cases, a_shard_that_is_gone_is_missed_though_no_topic_was_in_it);
    tcase_add_test(cases, a_shard_without_a_log_before_one_that_has_a_log_is_gone);
    tcase_add_test(cases, a_repair_that_finds_no_room_fails);
    tcase_add_test(cases, groups_are_in_all_shards);
    tcase_add_test(cases, the_highest_version_of_a_group_wins);
    tcase_add_test(cases, a_deletion_of_a_group_goes_on);
    tcase_add_test(cases, a_deletion_says_what_it_is_of_where_that_is_known);
    suite_add_tcase(suite, cases);
    return suite;
}

TEST_MAIN(repair_suite)
