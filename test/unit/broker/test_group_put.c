/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_group_put.c - what group.put and group.delete decide, and the broker for itself about members and
 * dead letters, on a catalogue alone.
 */
#include "broker/group_decision.h"
#include "broker/topic_decision.h"
#include "proto/names.h"
#include "test/lib/catalogue_apply.h"
#include "test/lib/check_main.h"

#include <stdio.h>

static struct catalogue *catalogue;
static struct catalogue_rules rules;
static struct refusal refusal;
static uint8_t operation[CATALOGUE_OPERATION_BYTES_MAX];

/* What a shard's log does with a decision. */
static void apply(const struct writer *writer)
{
    ck_assert(!writer->overflowed);
    ck_assert(catalogue_apply(catalogue, writer_bytes(writer)));
}

static void make_topic(const char *name, enum topic_route route)
{
    const struct topic_put request = {
        .name = bytes_from_string(name),
        .queues = 2,
        .settings = {.has_route = true, .route = route},
    };
    struct topic *topic;
    ck_assert_int_eq(topic_put_decide(catalogue, &rules, &request, &topic, &refusal), OK);
    struct writer writer = writer_over(operation, sizeof(operation));
    catalogue_write_put(&writer, topic);
    topic_unref(topic);
    apply(&writer);
}

static void set_up(void)
{
    catalogue = catalogue_create(0, DURABILITY_DISK);
    rules = (struct catalogue_rules){.shard_count = 3};
    make_topic("orders", TOPIC_ROUTE_ANY);
    make_topic("refunds", TOPIC_ROUTE_ANY);
    make_topic("users", TOPIC_ROUTE_KEY);
}

static void tear_down(void)
{
    catalogue_destroy(catalogue);
}

/* A request for `name` with the topics of `pairs`, msgpack of `count` of them; 0: none given. */
static struct group_put request_of(const char *name, struct bytes pairs, uint32_t count)
{
    struct group_put request = {.name = bytes_from_string(name)};
    group_settings_init(&request.settings);
    if (count > 0) {
        request.settings.given = 1U << GROUP_SETTING_TOPICS;
        request.settings.topic_count = count;
        request.settings.topics = cursor_over(pairs);
    }
    return request;
}

#define ORDERS         BYTES_OF("\xa6orders\xc0")
#define USERS          BYTES_OF("\xa5users\xc0")
#define ORDERS_REFUNDS BYTES_OF("\xa6orders\xa4paid\xa7refunds\xc0")
#define REFUNDS_ORDERS BYTES_OF("\xa7refunds\xc0\xa6orders\xa4paid")

static void give_number(struct group_put *request, enum group_setting setting, uint32_t value)
{
    request->settings.given |= 1U << setting;
    if (setting == GROUP_SETTING_ATTEMPTS) {
        request->settings.attempts = value;
    } else if (setting == GROUP_SETTING_ORDER) {
        request->settings.order = (enum group_order)value;
    } else if (setting == GROUP_SETTING_BROADCAST) {
        request->settings.broadcast = value != 0;
    } else {
        ck_abort_msg("no such number");
    }
}

/* Applies a decision, as shard 0 does; the group as it then is. */
static const struct group *record(struct group *group)
{
    struct writer writer = writer_over(operation, sizeof(operation));
    catalogue_write_put_group(&writer, group);
    uint32_t id = group->id;
    group_unref(group);
    apply(&writer);
    return catalogue_find_group_id(catalogue, id);
}

static const struct group *put(const struct group_put *request)
{
    struct group *group;
    ck_assert_int_eq(group_put_decide(catalogue, &rules, request, &group, &refusal), OK);
    return record(group);
}

static void refused(const struct group_put *request, enum error error, const char *key)
{
    struct group *group = NULL;
    ck_assert_int_eq(group_put_decide(catalogue, &rules, request, &group, &refusal), error);
    ck_assert_ptr_null(group);
    ck_assert_int_eq(refusal.code, error);
    ck_assert_str_eq(refusal.key, key);
}

static void delete (uint32_t id)
{
    struct writer writer = writer_over(operation, sizeof(operation));
    catalogue_write_delete_group(&writer, id, catalogue->version + 1);
    apply(&writer);
}

/* ------------------------------------------------------------------ put */

START_TEST(a_new_group_has_the_next_id_and_its_topics_sorted)
{
    struct group_put request = request_of("billing", REFUNDS_ORDERS, 2);
    const struct group *group = put(&request);
    ck_assert_uint_eq(group->id, 4);
    ck_assert_uint_eq(group->version, 4);
    ck_assert(bytes_equal(group->topics[0].name, BYTES_OF("orders")));
    ck_assert(bytes_equal(group->topics[1].name, BYTES_OF("refunds")));
    ck_assert_uint_eq(group->settings.attempts, GROUP_ATTEMPTS_DEFAULT);
    make_topic("later", TOPIC_ROUTE_ANY);
    ck_assert_uint_eq(catalogue_find(catalogue, BYTES_OF("later"))->id, 5);
}
END_TEST

START_TEST(a_new_group_needs_topics_that_are_there)
{
    struct group_put request = request_of("g", BYTES_OF(""), 0);
    refused(&request, ERROR_BAD_ARGUMENT, "topics");
    request = request_of("g", BYTES_OF("\xa7nowhere\xc0"), 1);
    refused(&request, ERROR_TOPIC_NOT_FOUND, "nowhere");
    request = request_of("g", BYTES_OF("\xa6orders\xa3x >"), 1);
    refused(&request, ERROR_BAD_FILTER, "orders");
}
END_TEST

START_TEST(the_same_values_are_no_change_in_whatever_order)
{
    struct group_put request = request_of("g", ORDERS_REFUNDS, 2);
    const struct group *first = put(&request);
    uint64_t version = first->version;
    request = request_of("g", REFUNDS_ORDERS, 2);
    struct group *same;
    ck_assert_int_eq(group_put_decide(catalogue, &rules, &request, &same, &refusal), OK);
    ck_assert_ptr_eq(same, first);
    group_unref(same);
    request = request_of("g", BYTES_OF(""), 0);
    ck_assert_int_eq(group_put_decide(catalogue, &rules, &request, &same, &refusal), OK);
    ck_assert_ptr_eq(same, first);
    group_unref(same);
    request = request_of("g", BYTES_OF("\xa6orders\xa4paid\xa7refunds\xa4sent"), 2);
    ck_assert_uint_gt(put(&request)->version, version);
}
END_TEST

START_TEST(what_is_not_given_keeps_its_value)
{
    struct group_put request = request_of("g", ORDERS, 1);
    give_number(&request, GROUP_SETTING_ATTEMPTS, 3);
    uint32_t id = put(&request)->id;
    request = request_of("g", USERS, 1);
    const struct group *group = put(&request);
    ck_assert_uint_eq(group->id, id);
    ck_assert_uint_eq(group->settings.attempts, 3);
    ck_assert_uint_eq(group->topic_count, 1);
    ck_assert_ptr_nonnull(group_find_topic(group, BYTES_OF("users")));
}
END_TEST

START_TEST(a_version_that_is_not_the_current_one_conflicts)
{
    struct group_put request = request_of("g", ORDERS, 1);
    request.has_version = true;
    request.version = 1;
    refused(&request, ERROR_CONFLICT, "");
    request.version = 0;
    uint64_t version = put(&request)->version;
    refused(&request, ERROR_CONFLICT, "");
    uint64_t current = 0;
    ck_assert(refusal_get(&refusal, REFUSAL_VERSION, &current));
    ck_assert_uint_eq(current, version);
    request.version = version;
    give_number(&request, GROUP_SETTING_ATTEMPTS, 3);
    ck_assert_uint_eq(put(&request)->settings.attempts, 3);
}
END_TEST

START_TEST(order_and_broadcast_stay_as_the_group_was_made)
{
    struct group_put request = request_of("g", USERS, 1);
    give_number(&request, GROUP_SETTING_ORDER, GROUP_ORDER_KEY);
    (void)put(&request);
    give_number(&request, GROUP_SETTING_ORDER, GROUP_ORDER_NONE);
    refused(&request, ERROR_BAD_ARGUMENT, "order");
    request = request_of("g", USERS, 1);
    give_number(&request, GROUP_SETTING_BROADCAST, 1);
    refused(&request, ERROR_BAD_ARGUMENT, "broadcast");
    /* Saying what is so is no change of it. */
    give_number(&request, GROUP_SETTING_BROADCAST, 0);
    give_number(&request, GROUP_SETTING_ORDER, GROUP_ORDER_KEY);
    (void)put(&request);
}
END_TEST

START_TEST(a_broadcast_begins_at_the_end)
{
    struct group_put request = request_of("g", ORDERS_REFUNDS, 2);
    give_number(&request, GROUP_SETTING_BROADCAST, 1);
    request.settings.given |= 1U << GROUP_SETTING_FROM;
    request.settings.from = GROUP_FROM_FIRST;
    refused(&request, ERROR_BAD_ARGUMENT, "from");
    request.settings.from = GROUP_FROM_LAST;
    (void)put(&request);
}
END_TEST

/* Its members would have no names: GROUP@MEMBER is of a plain one. */
START_TEST(a_group_of_dead_letters_is_no_broadcast)
{
    make_topic("%DLQ%g", TOPIC_ROUTE_ANY);
    struct group_put request = request_of("%DLQ%g", BYTES_OF("\xa6%DLQ%g\xc0"), 1);
    give_number(&request, GROUP_SETTING_BROADCAST, 1);
    refused(&request, ERROR_BAD_ARGUMENT, "broadcast");
    give_number(&request, GROUP_SETTING_BROADCAST, 0);
    (void)put(&request);
}
END_TEST

START_TEST(order_by_key_is_of_topics_that_are_routed_by_key)
{
    struct group_put request = request_of("g", ORDERS, 1);
    give_number(&request, GROUP_SETTING_ORDER, GROUP_ORDER_KEY);
    refused(&request, ERROR_BAD_ARGUMENT, "order");
    request = request_of("g", USERS, 1);
    give_number(&request, GROUP_SETTING_ORDER, GROUP_ORDER_KEY);
    (void)put(&request);
    /* Also when topics come later. */
    request = request_of("g", ORDERS, 1);
    refused(&request, ERROR_BAD_ARGUMENT, "order");
}
END_TEST

START_TEST(a_group_whose_topic_was_deleted_can_be_changed)
{
    struct group_put request = request_of("g", ORDERS, 1);
    (void)put(&request);
    struct writer writer = writer_over(operation, sizeof(operation));
    catalogue_write_delete(&writer, catalogue_find(catalogue, BYTES_OF("orders"))->id,
                           catalogue->version + 1);
    apply(&writer);
    refused(&request, ERROR_TOPIC_NOT_FOUND, "orders");
    request = request_of("g", BYTES_OF(""), 0);
    give_number(&request, GROUP_SETTING_ATTEMPTS, 3);
    ck_assert_uint_eq(put(&request)->settings.attempts, 3);
}
END_TEST

START_TEST(a_change_is_begun_in_all_shards_or_in_none)
{
    struct group_put request = request_of("g", ORDERS, 1);
    rules.read_only = 1U << 2;
    refused(&request, ERROR_READ_ONLY, "");
    rules.read_only = 0;
    (void)put(&request);
    rules.read_only = 1U << 2;
    (void)put(&request); /* nothing changes */
    give_number(&request, GROUP_SETTING_ATTEMPTS, 3);
    refused(&request, ERROR_READ_ONLY, "");
}
END_TEST

START_TEST(groups_are_bounded_in_number)
{
    for (uint32_t i = 0; i < GROUPS_MAX; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "g%u", i);
        struct group_put request = request_of(name, ORDERS, 1);
        (void)put(&request);
    }
    struct group_put request = request_of("one-more", ORDERS, 1);
    refused(&request, ERROR_OVERLOADED, "");
    uint64_t limit = 0;
    ck_assert(refusal_get(&refusal, REFUSAL_LIMIT, &limit));
    ck_assert_uint_eq(limit, GROUPS_MAX);
    request = request_of("g7", USERS, 1);
    (void)put(&request);
    delete (catalogue_find_group(catalogue, BYTES_OF("g8"))->id);
    request = request_of("one-more", ORDERS, 1);
    (void)put(&request);
}
END_TEST

START_TEST(filters_of_all_groups_are_bounded_together)
{
    /* orders: a condition that ends in a long list of blanks. */
    static uint8_t pairs[FILTER_BYTES_MAX + 64];
    static char text[FILTER_BYTES_MAX];
    memset(text, ' ', sizeof(text));
    memcpy(text, "a = 1", 5);
    struct writer writer = writer_over(pairs, sizeof(pairs));
    writer_put_string(&writer, "orders");
    writer_put_str(&writer, bytes_make(text, sizeof(text)));
    uint32_t made = 0;
    struct group *group = NULL;
    for (;; made++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "g%u", made);
        struct group_put request = request_of(name, writer_bytes(&writer), 1);
        if (group_put_decide(catalogue, &rules, &request, &group, &refusal) != OK) {
            break;
        }
        (void)record(group);
    }
    ck_assert_int_eq(refusal.code, ERROR_OVERLOADED);
    ck_assert_uint_eq(made, GROUPS_BYTES_MAX / writer_length(&writer));
    uint64_t limit = 0;
    ck_assert(refusal_get(&refusal, REFUSAL_LIMIT, &limit));
    ck_assert_uint_eq(limit, GROUPS_BYTES_MAX);
    /* In the place of a large one a small one has room. */
    struct group_put request = request_of("g0", ORDERS, 1);
    (void)put(&request);
    request = request_of("small", ORDERS, 1);
    (void)put(&request);
}
END_TEST

/* ------------------------------------------------------ names of the system */

static const struct topic *make_dead_letters(const char *name)
{
    struct topic *topic;
    struct bytes text = bytes_from_string(name);
    ck_assert_int_eq(topic_dead_letters_decide(catalogue, &rules, text, &topic, &refusal), OK);
    struct writer writer = writer_over(operation, sizeof(operation));
    catalogue_write_put(&writer, topic);
    topic_unref(topic);
    apply(&writer);
    return catalogue_find(catalogue, text);
}

START_TEST(a_group_that_redrives_has_its_own_topic_alone)
{
    (void)make_dead_letters("%DLQ%g");
    struct group_put request = request_of("%DLQ%g", ORDERS, 1);
    refused(&request, ERROR_BAD_ARGUMENT, "topics");
    request = request_of("%DLQ%g", BYTES_OF("\xa6%DLQ%g\xc0\xa6orders\xc0"), 2);
    refused(&request, ERROR_BAD_ARGUMENT, "topics");
    request = request_of("%DLQ%h", BYTES_OF("\xa6%DLQ%g\xc0"), 1);
    refused(&request, ERROR_BAD_ARGUMENT, "topics");
    request = request_of("g", BYTES_OF("\xa6%DLQ%g\xc0"), 1);
    refused(&request, ERROR_BAD_ARGUMENT, "topics");
    request = request_of("g@m", ORDERS, 1);
    refused(&request, ERROR_BAD_ARGUMENT, "name");
    request = request_of("%DLQ%g", BYTES_OF("\xa6%DLQ%g\xc0"), 1);
    (void)put(&request);
    request = request_of("who-looks-at-them", BYTES_OF("\xa6%DLQ%g\xc0"), 1);
    (void)put(&request);
}
END_TEST

START_TEST(dead_letters_have_a_queue_in_every_shard)
{
    const struct topic *topic = make_dead_letters("%DLQ%g");
    ck_assert_uint_eq(topic->queue_count, 3);
    for (uint32_t queue = 0; queue < 3; queue++) {
        ck_assert_uint_eq(topic_shard(topic, queue), queue);
    }
    ck_assert_int_eq(topic->route, TOPIC_ROUTE_ANY);
    struct topic *same;
    ck_assert_int_eq(
        topic_dead_letters_decide(catalogue, &rules, BYTES_OF("%DLQ%g"), &same, &refusal), OK);
    ck_assert_ptr_eq(same, topic);
    topic_unref(same);
    /* The store has more shards now. */
    uint32_t id = topic->id;
    rules.shard_count = 5;
    topic = make_dead_letters("%DLQ%g");
    ck_assert_uint_eq(topic->id, id);
    ck_assert_uint_eq(topic->queue_count, 5);
    ck_assert_uint_eq(topic_shard(topic, 4), 4);
    ck_assert_uint_eq(topic_shards(topic), 0x1f);
}
END_TEST

START_TEST(dead_letters_wait_for_a_shard_that_takes_no_writes)
{
    struct topic *topic = NULL;
    rules.read_only = 1U << 1;
    ck_assert_int_eq(
        topic_dead_letters_decide(catalogue, &rules, BYTES_OF("%DLQ%g"), &topic, &refusal),
        ERROR_READ_ONLY);
    ck_assert_ptr_null(topic);
}
END_TEST

/* ------------------------------------------------------------------ members */

static const struct group *make_broadcast(const char *name)
{
    struct group_put request = request_of(name, ORDERS_REFUNDS, 2);
    give_number(&request, GROUP_SETTING_BROADCAST, 1);
    give_number(&request, GROUP_SETTING_ATTEMPTS, 3);
    return put(&request);
}

static const struct group *make_member(const char *name)
{
    struct group *group;
    struct bytes text = bytes_from_string(name);
    ck_assert_int_eq(group_member_decide(catalogue, &rules, text, &group, &refusal), OK);
    return record(group);
}

static void member_refused(const char *name, enum error error)
{
    struct group *group = NULL;
    struct bytes text = bytes_from_string(name);
    ck_assert_int_eq(group_member_decide(catalogue, &rules, text, &group, &refusal), error);
    ck_assert_ptr_null(group);
}

START_TEST(a_member_is_as_its_group_and_begins_at_the_end)
{
    (void)make_broadcast("caches");
    const struct group *member = make_member("caches@one");
    ck_assert(!member->settings.broadcast);
    ck_assert_int_eq(member->settings.from, GROUP_FROM_LAST);
    ck_assert_uint_eq(member->settings.attempts, 3);
    ck_assert_uint_eq(member->settings.idle_expire_ms, BROADCAST_IDLE_EXPIRE_MS);
    ck_assert_ptr_nonnull(group_find_topic(member, BYTES_OF("orders"))->filter);
    struct group *same;
    ck_assert_int_eq(
        group_member_decide(catalogue, &rules, BYTES_OF("caches@one"), &same, &refusal), OK);
    ck_assert_ptr_eq(same, member);
    group_unref(same);
}
END_TEST

START_TEST(a_member_follows_its_group)
{
    (void)make_broadcast("caches");
    uint32_t id = make_member("caches@one")->id;
    struct group_put request = request_of("caches", USERS, 1);
    request.settings.given |= 1U << GROUP_SETTING_IDLE_EXPIRE_MS;
    request.settings.idle_expire_ms = 5000;
    uint64_t version = put(&request)->version;
    const struct group *member = make_member("caches@one");
    ck_assert_uint_eq(member->id, id);
    ck_assert_uint_gt(member->version, version);
    ck_assert_uint_eq(member->settings.idle_expire_ms, 5000);
    ck_assert_ptr_nonnull(group_find_topic(member, BYTES_OF("users")));
}
END_TEST

START_TEST(members_are_of_broadcast_groups)
{
    struct group_put request = request_of("shared", ORDERS, 1);
    (void)put(&request);
    member_refused("shared@one", ERROR_GROUP_NOT_FOUND);
    member_refused("nobody@one", ERROR_GROUP_NOT_FOUND);
    (void)make_broadcast("caches");
    rules.read_only = 1;
    member_refused("caches@one", ERROR_READ_ONLY);
}
END_TEST

START_TEST(members_of_a_group_are_bounded)
{
    (void)make_broadcast("caches");
    (void)make_broadcast("caches-more");
    (void)make_member("caches-more@other");
    for (uint32_t i = 0; i < GROUP_MEMBERS_MAX; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "caches@%u", i);
        (void)make_member(name);
    }
    member_refused("caches@one-more", ERROR_OVERLOADED);
    uint64_t usage = 0;
    ck_assert(refusal_get(&refusal, REFUSAL_USAGE, &usage));
    ck_assert_uint_eq(usage, GROUP_MEMBERS_MAX);
    (void)make_member("caches-more@another");
}
END_TEST

/* ------------------------------------------------------------------- delete */

static enum error decide_delete(const char *name, bool has_version, uint64_t version,
                                struct catalogue_deleted *deleted)
{
    const struct group_delete request = {bytes_from_string(name), has_version, version};
    struct group *group;
    return group_delete_decide(catalogue, &rules, &request, &group, deleted, &refusal);
}

START_TEST(a_deletion_has_the_next_version)
{
    struct group_put request = request_of("g", ORDERS, 1);
    const struct group *group = put(&request);
    struct catalogue_deleted deleted;
    ck_assert_int_eq(decide_delete("g", true, group->version + 1, &deleted), ERROR_CONFLICT);
    ck_assert_int_eq(decide_delete("g", true, group->version, &deleted), OK);
    ck_assert_uint_eq(deleted.id, group->id);
    ck_assert_uint_eq(deleted.version, group->version + 1);
    ck_assert_int_eq(decide_delete("h", false, 0, &deleted), ERROR_GROUP_NOT_FOUND);
    /* A topic's name is none of a group. */
    ck_assert_int_eq(decide_delete("orders", false, 0, &deleted), ERROR_GROUP_NOT_FOUND);
    rules.read_only = 1U << 1;
    ck_assert_int_eq(decide_delete("g", false, 0, &deleted), ERROR_READ_ONLY);
}
END_TEST

static Suite *group_put_suite(void)
{
    Suite *suite = suite_create("group_put");
    TCase *cases = tcase_create("group_put");
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, a_new_group_has_the_next_id_and_its_topics_sorted);
    tcase_add_test(cases, a_new_group_needs_topics_that_are_there);
    tcase_add_test(cases, the_same_values_are_no_change_in_whatever_order);
    tcase_add_test(cases, what_is_not_given_keeps_its_value);
    tcase_add_test(cases, a_version_that_is_not_the_current_one_conflicts);
    tcase_add_test(cases, order_and_broadcast_stay_as_the_group_was_made);
    tcase_add_test(cases, a_broadcast_begins_at_the_end);
    tcase_add_test(cases, a_group_of_dead_letters_is_no_broadcast);
    tcase_add_test(cases, order_by_key_is_of_topics_that_are_routed_by_key);
    tcase_add_test(cases, a_group_whose_topic_was_deleted_can_be_changed);
    tcase_add_test(cases, a_change_is_begun_in_all_shards_or_in_none);
    tcase_add_test(cases, groups_are_bounded_in_number);
    tcase_add_test(cases, filters_of_all_groups_are_bounded_together);
    tcase_add_test(cases, a_group_that_redrives_has_its_own_topic_alone);
    tcase_add_test(cases, dead_letters_have_a_queue_in_every_shard);
    tcase_add_test(cases, dead_letters_wait_for_a_shard_that_takes_no_writes);
    tcase_add_test(cases, a_member_is_as_its_group_and_begins_at_the_end);
    tcase_add_test(cases, a_member_follows_its_group);
    tcase_add_test(cases, members_are_of_broadcast_groups);
    tcase_add_test(cases, members_of_a_group_are_bounded);
    tcase_add_test(cases, a_deletion_has_the_next_version);
    suite_add_tcase(suite, cases);
    return suite;
}

TEST_MAIN(group_put_suite)
