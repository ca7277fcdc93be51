/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_topic_put.c - what topic.put and topic.delete decide, on a catalogue alone.
 */
#include "broker/topic_decision.h"
#include "test/lib/catalogue_apply.h"
#include "test/lib/check_main.h"

#include <stdio.h>

static struct catalogue *catalogue;
static struct catalogue_rules rules;
static struct refusal refusal;

static struct placement placement; /* that is asked for next */

static void set_up(void)
{
    placement.part_count = placement.queue_count = 0;
    catalogue = catalogue_create(0, DURABILITY_DISK);
    rules = (struct catalogue_rules){.shard_count = 3, .broker = BYTES_OF("broker-a")};
}

static void tear_down(void)
{
    catalogue_destroy(catalogue);
}

/* What a shard's log does with a decision. */
static void apply(const struct writer *writer)
{
    ck_assert(!writer->overflowed);
    ck_assert(catalogue_apply(catalogue, writer_bytes(writer)));
}

/* Decides and, if something changes, applies; gives the topic as it then is. */
static const struct topic *put(const struct topic_put *request)
{
    struct topic *topic;
    ck_assert_int_eq(topic_put_decide(catalogue, &rules, request, &topic, &refusal), OK);
    uint8_t bytes[CATALOGUE_OPERATION_BYTES_MAX];
    struct writer writer = writer_over(bytes, sizeof(bytes));
    catalogue_write_put(&writer, topic);
    topic_unref(topic);
    apply(&writer);
    return catalogue_find(catalogue, request->name);
}

static void refused(const struct topic_put *request, enum error error)
{
    struct topic *topic = NULL;
    ck_assert_int_eq(topic_put_decide(catalogue, &rules, request, &topic, &refusal), error);
    ck_assert_ptr_null(topic);
    ck_assert_int_eq(refusal.code, error);
}

static uint64_t detail(enum refusal_detail which)
{
    uint64_t value = 0;
    ck_assert(refusal_get(&refusal, which, &value));
    return value;
}

static struct topic_put request_of(const char *name)
{
    return (struct topic_put){
        .name = bytes_from_string(name),
        .queues = QUEUES_PER_TOPIC_DEFAULT,
    };
}

static struct topic_put request_with_queues(const char *name, uint32_t queues)
{
    struct topic_put request = request_of(name);
    request.has_queues = true;
    request.queues = queues;
    return request;
}

static void give_route(struct topic_put *request, enum topic_route route)
{
    request->settings.has_route = true;
    request->settings.route = route;
}

START_TEST(a_new_topic_has_four_queues_and_the_next_id)
{
    struct topic_put request = request_of("orders");
    const struct topic *topic = put(&request);
    ck_assert_uint_eq(topic->id, 1);
    ck_assert_uint_eq(topic->version, 1);
    ck_assert_uint_eq(topic->queue_count, 4);
    ck_assert_int_eq(topic->route, TOPIC_ROUTE_ANY);
    ck_assert_int_eq(topic->durability, DURABILITY_DISK);
}
END_TEST

START_TEST(queues_go_round_robin_from_a_shard_of_the_topics_own)
{
    for (uint32_t id = 1; id <= 6; id++) {
        char name[8];
        (void)snprintf(name, sizeof(name), "t%u", id);
        struct topic_put request = request_with_queues(name, 5);
        const struct topic *topic = put(&request);
        for (uint32_t queue = 0; queue < 5; queue++) {
            ck_assert_uint_eq(topic_shard(topic, queue), (id + queue) % 3);
        }
    }
}
END_TEST

START_TEST(the_same_values_change_nothing)
{
    struct topic_put request = request_with_queues("orders", 2);
    give_route(&request, TOPIC_ROUTE_KEY);
    const struct topic *first = put(&request);
    struct topic *again;
    ck_assert_int_eq(topic_put_decide(catalogue, &rules, &request, &again, &refusal), OK);
    ck_assert_ptr_eq(again, first);
    topic_unref(again);
    struct topic_put bare = request_of("orders");
    ck_assert_int_eq(topic_put_decide(catalogue, &rules, &bare, &again, &refusal), OK);
    ck_assert_ptr_eq(again, first);
    topic_unref(again);
}
END_TEST

START_TEST(settings_that_are_not_given_keep)
{
    struct topic_put request = request_with_queues("orders", 2);
    give_route(&request, TOPIC_ROUTE_KEY);
    (void)put(&request);
    struct topic_put durable = request_of("orders");
    durable.settings.has_durability = true;
    durable.settings.durability = DURABILITY_MEMORY;
    const struct topic *topic = put(&durable);
    ck_assert_uint_eq(topic->version, 2);
    ck_assert_uint_eq(topic->queue_count, 2);
    ck_assert_int_eq(topic->route, TOPIC_ROUTE_KEY);
    ck_assert_int_eq(topic->durability, DURABILITY_MEMORY);
}
END_TEST

START_TEST(more_queues_are_appended_and_the_others_stay_where_they_are)
{
    struct topic_put request = request_with_queues("orders", 2);
    const struct topic *topic = put(&request);
    uint32_t first = topic_shard(topic, 0);
    uint32_t second = topic_shard(topic, 1);
    rules.shard_count = 4;
    request.queues = 7;
    topic = put(&request);
    ck_assert_uint_eq(topic->queue_count, 7);
    ck_assert_uint_eq(topic_shard(topic, 0), first);
    ck_assert_uint_eq(topic_shard(topic, 1), second);
    for (uint32_t queue = 2; queue < 7; queue++) {
        ck_assert_uint_eq(topic_shard(topic, queue), (topic->id + queue) % 4);
    }
}
END_TEST

START_TEST(fewer_queues_are_refused)
{
    struct topic_put request = request_with_queues("orders", 3);
    (void)put(&request);
    request.queues = 2;
    refused(&request, ERROR_BAD_ARGUMENT);
    ck_assert_str_eq(refusal.key, "queues");
    ck_assert_str_eq(refusal.limit_text, ">= 3");
}
END_TEST

START_TEST(more_queues_of_keys_need_a_word)
{
    struct topic_put request = request_with_queues("orders", 3);
    give_route(&request, TOPIC_ROUTE_KEY);
    (void)put(&request);
    request.queues = 4;
    refused(&request, ERROR_WOULD_REORDER);
    request.rehash = true;
    ck_assert_uint_eq(put(&request)->queue_count, 4);
}
END_TEST

START_TEST(another_route_needs_a_word_in_both_directions)
{
    struct topic_put request = request_of("orders");
    (void)put(&request);
    give_route(&request, TOPIC_ROUTE_KEY);
    refused(&request, ERROR_WOULD_REORDER);
    request.rehash = true;
    ck_assert_int_eq(put(&request)->route, TOPIC_ROUTE_KEY);
    give_route(&request, TOPIC_ROUTE_ANY);
    request.rehash = false;
    refused(&request, ERROR_WOULD_REORDER);
}
END_TEST

START_TEST(a_version_is_compared_where_one_is_given)
{
    struct topic_put request = request_with_queues("orders", 1);
    request.has_version = true;
    request.version = 0;
    (void)put(&request); /* 0: it must not be there yet */
    refused(&request, ERROR_CONFLICT);
    ck_assert_uint_eq(detail(REFUSAL_VERSION), 1);
    request.version = 1;
    request.queues = 2;
    ck_assert_uint_eq(put(&request)->version, 2);
    refused(&request, ERROR_CONFLICT);
    ck_assert_uint_eq(detail(REFUSAL_VERSION), 2);
    struct topic_put other = request_of("payments");
    other.has_version = true;
    other.version = 7;
    refused(&other, ERROR_CONFLICT);
    ck_assert_uint_eq(detail(REFUSAL_VERSION), 0);
}
END_TEST

START_TEST(new_queues_avoid_shards_that_take_no_writes)
{
    rules.read_only = 1U << 1;
    struct topic_put request = request_with_queues("orders", 4);
    const struct topic *topic = put(&request);
    for (uint32_t queue = 0; queue < 4; queue++) {
        ck_assert_uint_ne(topic_shard(topic, queue), 1);
    }
}
END_TEST

START_TEST(a_change_that_a_shard_cannot_record_is_refused)
{
    struct topic_put request = request_with_queues("orders", 3);
    (void)put(&request);
    rules.read_only = 1U << 2;
    request.settings.has_durability = true;
    refused(&request, ERROR_READ_ONLY);
    rules.read_only = 1; /* shard 0 records every change */
    refused(&request, ERROR_READ_ONLY);
    rules.read_only = 7;
    struct topic_put other = request_of("payments");
    refused(&other, ERROR_READ_ONLY);
}
END_TEST

START_TEST(topics_are_bounded)
{
    char name[16];
    for (uint32_t i = 0; i < TOPICS_MAX; i++) {
        (void)snprintf(name, sizeof(name), "t%u", i);
        struct topic_put request = request_with_queues(name, 1);
        (void)put(&request);
    }
    struct topic_put request = request_of("one-more");
    refused(&request, ERROR_OVERLOADED);
    ck_assert_uint_eq(detail(REFUSAL_LIMIT), TOPICS_MAX);
    ck_assert_uint_eq(detail(REFUSAL_USAGE), TOPICS_MAX);
    /* Those that are there can still be changed. */
    struct topic_put grown = request_with_queues("t0", 2);
    ck_assert_uint_eq(put(&grown)->queue_count, 2);
}
END_TEST

START_TEST(queues_of_a_shard_are_bounded)
{
    rules.shard_count = 1;
    char name[16];
    for (uint32_t i = 0; i < QUEUES_PER_SHARD_MAX / QUEUES_PER_TOPIC_MAX; i++) {
        (void)snprintf(name, sizeof(name), "t%u", i);
        struct topic_put request = request_with_queues(name, QUEUES_PER_TOPIC_MAX);
        (void)put(&request);
    }
    struct topic_put request = request_with_queues("one-more", 1);
    refused(&request, ERROR_OVERLOADED);
    ck_assert_uint_eq(detail(REFUSAL_LIMIT), QUEUES_PER_SHARD_MAX);
    rules.shard_count = 2;
    request.queues = 1;
    /* Its own first shard has room now. */
    ck_assert_uint_eq(topic_shard(put(&request), 0), 1);
}
END_TEST

static enum error delete_named(const char *name, bool has_version, uint64_t version,
                               struct catalogue_deleted *deleted)
{
    const struct topic_delete request = {
        .name = bytes_from_string(name),
        .has_version = has_version,
        .version = version,
    };
    struct topic *topic;
    return topic_delete_decide(catalogue, &rules, &request, &topic, deleted, &refusal);
}

START_TEST(a_topic_is_deleted_with_a_version_of_its_own)
{
    struct topic_put request = request_of("orders");
    (void)put(&request);
    struct catalogue_deleted deleted;
    ck_assert_int_eq(delete_named("orders", false, 0, &deleted), OK);
    ck_assert_uint_eq(deleted.id, 1);
    ck_assert_uint_eq(deleted.version, 2);
    uint8_t bytes[EVENT_BYTES_MAX];
    struct writer writer = writer_over(bytes, sizeof(bytes));
    catalogue_write_delete(&writer, deleted.id, deleted.version);
    apply(&writer);
    /* Made anew it is another one. */
    const struct topic *topic = put(&request);
    ck_assert_uint_eq(topic->id, 2);
    ck_assert_uint_eq(topic->version, 3);
}
END_TEST

START_TEST(what_cannot_be_deleted_is_refused)
{
    struct catalogue_deleted deleted;
    ck_assert_int_eq(delete_named("orders", false, 0, &deleted), ERROR_TOPIC_NOT_FOUND);
    struct topic_put request = request_of("orders");
    (void)put(&request);
    ck_assert_int_eq(delete_named("orders", true, 9, &deleted), ERROR_CONFLICT);
    ck_assert_uint_eq(detail(REFUSAL_VERSION), 1);
    rules.read_only = 1U << 2;
    ck_assert_int_eq(delete_named("orders", true, 1, &deleted), ERROR_READ_ONLY);
    rules.read_only = 0;
    ck_assert_int_eq(delete_named("orders", true, 1, &deleted), OK);
}
END_TEST

/* ------------------------------------------------------- several brokers */

/* Adds queues of a broker to the placement that is asked for next. */
static void place(const char *broker, uint32_t count)
{
    ck_assert(placement_append(&placement, bytes_from_string(broker), count));
}

static struct topic_put request_with_placement(const char *name)
{
    struct topic_put request = request_of(name);
    request.placement = &placement;
    return request;
}

static void refused_argument(const struct topic_put *request, const char *key)
{
    refused(request, ERROR_BAD_ARGUMENT);
    ck_assert_str_eq(refusal.key, key);
}

START_TEST(a_placement_gives_queues_of_this_broker_shards_and_leaves_the_others_elsewhere)
{
    place("broker-b", 2);
    place("broker-a", 3);
    place("broker-c", 1);
    struct topic_put request = request_with_placement("orders");
    const struct topic *topic = put(&request);
    ck_assert_uint_eq(topic->queue_count, 6);
    ck_assert_uint_eq(topic->part_count, 3);
    for (uint32_t queue = 0; queue < 6; queue++) {
        ck_assert_int_eq(topic_has(topic, queue), queue >= 2 && queue < 5);
    }
    for (uint32_t queue = 2; queue < 5; queue++) {
        ck_assert_uint_eq(topic_shard(topic, queue), (topic->id + queue - 2) % 3);
    }
    ck_assert_int_eq(topic_check_queue(topic, 5, &refusal), ERROR_WRONG_BROKER);
    ck_assert_str_eq(refusal.broker, "broker-c");
    ck_assert_uint_eq(detail(REFUSAL_QUEUE), 5);
}
END_TEST

START_TEST(the_same_placement_changes_nothing_and_one_of_this_broker_alone_is_none)
{
    place("broker-a", 4);
    struct topic_put request = request_with_placement("orders");
    const struct topic *whole = put(&request);
    ck_assert_uint_eq(whole->part_count, 0);
    place("broker-b", 4);
    const struct topic *first = put(&request);
    ck_assert_uint_eq(first->version, 2);
    ck_assert_uint_eq(first->part_count, 2);
    struct topic *again;
    ck_assert_int_eq(topic_put_decide(catalogue, &rules, &request, &again, &refusal), OK);
    ck_assert_ptr_eq(again, first);
    topic_unref(again);
    struct topic_put bare = request_of("orders");
    bare.settings.has_durability = true;
    bare.settings.durability = DURABILITY_MEMORY;
    const struct topic *topic = put(&bare); /* what is not given keeps */
    ck_assert_uint_eq(topic->version, 3);
    ck_assert_uint_eq(topic->part_count, 2);
    ck_assert_uint_eq(topic->queue_count, 8);
    ck_assert(!topic_has(topic, 4));
}
END_TEST

START_TEST(a_placement_grows_at_its_end_only)
{
    place("broker-a", 2);
    place("broker-b", 2);
    struct topic_put request = request_with_placement("orders");
    const struct topic *topic = put(&request);
    uint32_t first = topic_shard(topic, 0);
    place("broker-b", 1); /* the last part becomes longer */
    place("broker-a", 2);
    topic = put(&request);
    ck_assert_uint_eq(topic->queue_count, 7);
    ck_assert_uint_eq(topic_shard(topic, 0), first);
    ck_assert(!topic_has(topic, 4) && topic_has(topic, 5) && topic_has(topic, 6));

    placement.part_count = placement.queue_count = 0;
    place("broker-a", 2);
    place("broker-b", 2);
    refused_argument(&request, "placement"); /* fewer */
    placement.part_count = placement.queue_count = 0;
    place("broker-a", 3);
    place("broker-b", 5);
    refused_argument(&request, "placement"); /* queue 2 was another broker's */
    placement.part_count = placement.queue_count = 0;
    place("broker-b", 2);
    place("broker-a", 6);
    refused_argument(&request, "placement");
    struct topic_put more = request_with_queues("orders", 9);
    refused_argument(&more, "queues"); /* whose would they be? */
    more.queues = 7;
    ck_assert_uint_eq(put(&more)->version, 2);
}
END_TEST

START_TEST(a_placement_without_this_broker_or_of_other_numbers_is_refused)
{
    place("broker-b", 2);
    place("broker-c", 2);
    struct topic_put request = request_with_placement("orders");
    refused_argument(&request, "placement");
    place("broker-a", 1);
    request.has_queues = true;
    request.queues = 4;
    refused_argument(&request, "queues");
    request.queues = 5;
    ck_assert_uint_eq(put(&request)->queue_count, 5);
}
END_TEST

START_TEST(more_queues_of_keys_on_another_broker_need_a_word)
{
    place("broker-a", 2);
    place("broker-b", 2);
    struct topic_put request = request_with_placement("orders");
    give_route(&request, TOPIC_ROUTE_KEY);
    (void)put(&request);
    place("broker-b", 1);
    refused(&request, ERROR_WOULD_REORDER);
    request.rehash = true;
    ck_assert_uint_eq(put(&request)->queue_count, 5);
}
END_TEST

START_TEST(only_shards_of_this_brokers_queues_and_the_first_must_record_it)
{
    place("broker-b", 1000);
    place("broker-a", 1);
    struct topic_put request = request_with_placement("orders");
    const struct topic *topic = put(&request);
    ck_assert_uint_eq(topic_shards(topic), 1U | 1U << topic_shard(topic, 1000));
    ck_assert_uint_eq(
        catalogue->queue_count[0] + catalogue->queue_count[1] + catalogue->queue_count[2], 1);
}
END_TEST

START_TEST(parts_of_all_placements_are_bounded)
{
    for (uint32_t part = 0; part < PLACEMENT_PARTS_MAX; part++) {
        place(part % 2 == 0 ? "broker-a" : "broker-b", 1);
    }
    ck_assert(!placement_append(&placement, BYTES_OF("broker-a"), 1));
    for (uint32_t i = 0; i < PLACEMENT_PARTS_IN_ALL_MAX / PLACEMENT_PARTS_MAX; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "t%u", i);
        struct topic_put request = request_with_placement(name);
        (void)put(&request);
    }
    struct topic_put request = request_with_placement("one-more");
    refused(&request, ERROR_OVERLOADED);
    ck_assert_uint_eq(detail(REFUSAL_LIMIT), PLACEMENT_PARTS_IN_ALL_MAX);
    ck_assert_uint_eq(detail(REFUSAL_VALUE), PLACEMENT_PARTS_MAX);
    ck_assert_uint_eq(detail(REFUSAL_USAGE), catalogue->part_count);
    ck_assert_uint_gt(catalogue->part_count, PLACEMENT_PARTS_IN_ALL_MAX - PLACEMENT_PARTS_MAX);
    request.placement = NULL;
    ck_assert_uint_eq(put(&request)->queue_count, 4);
}
END_TEST

static Suite *topic_put_suite(void)
{
    Suite *suite = suite_create("topic_put");
    TCase *cases = tcase_create("topic_put");
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, a_new_topic_has_four_queues_and_the_next_id);
    tcase_add_test(cases, queues_go_round_robin_from_a_shard_of_the_topics_own);
    tcase_add_test(cases, the_same_values_change_nothing);
    tcase_add_test(cases, settings_that_are_not_given_keep);
    tcase_add_test(cases, more_queues_are_appended_and_the_others_stay_where_they_are);
    tcase_add_test(cases, fewer_queues_are_refused);
    tcase_add_test(cases, more_queues_of_keys_need_a_word);
    tcase_add_test(cases, another_route_needs_a_word_in_both_directions);
    tcase_add_test(cases, a_version_is_compared_where_one_is_given);
    tcase_add_test(cases, new_queues_avoid_shards_that_take_no_writes);
    tcase_add_test(cases, a_change_that_a_shard_cannot_record_is_refused);
    tcase_add_test(cases, topics_are_bounded);
    tcase_add_test(cases, queues_of_a_shard_are_bounded);
    tcase_add_test(cases, a_topic_is_deleted_with_a_version_of_its_own);
    tcase_add_test(cases, what_cannot_be_deleted_is_refused);
    tcase_add_test(cases,
                   a_placement_gives_queues_of_this_broker_shards_and_leaves_the_others_elsewhere);
    tcase_add_test(cases, the_same_placement_changes_nothing_and_one_of_this_broker_alone_is_none);
    tcase_add_test(cases, a_placement_grows_at_its_end_only);
    tcase_add_test(cases, a_placement_without_this_broker_or_of_other_numbers_is_refused);
    tcase_add_test(cases, more_queues_of_keys_on_another_broker_need_a_word);
    tcase_add_test(cases, only_shards_of_this_brokers_queues_and_the_first_must_record_it);
    tcase_add_test(cases, parts_of_all_placements_are_bounded);
    suite_add_tcase(suite, cases);
    return suite;
}

TEST_MAIN(topic_put_suite)
