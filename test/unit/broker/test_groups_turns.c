/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_groups_turns.c - what a shard does over turns of the loop, since it may be much: taking apart what has ended,
 * and giving back what a session held. How much in each turn, and what may happen in between.
 */
#include "broker/limits.h"
#include "broker/member.h"
#include "test/lib/check_main.h"
#include "test/unit/broker/groups_log_world.h"

enum { MANY = 10000, A_TURN_MAX = 1024 };

/* Sees how many of what is counted go in one turn. */
struct watcher {
    struct turn_hook hook;
    uint64_t (*count)(void);
    uint64_t last;
    uint64_t most;
    uint32_t turns; /* in which some went */
};

static uint64_t count_ranges(void)
{
    return world.shard.groups->range_count;
}

static uint64_t count_leased(void)
{
    const struct list *first = world.shard.groups->queues.next;
    return CONTAINER_OF(first, struct group_queue, all)->in_state[OPEN_LEASED];
}

static void watch_turn(struct turn_hook *hook)
{
    struct watcher *watcher = CONTAINER_OF(hook, struct watcher, hook);
    uint64_t now = watcher->count();
    uint64_t gone = watcher->last > now ? watcher->last - now : 0;
    watcher->most = gone > watcher->most ? gone : watcher->most;
    watcher->turns += gone > 0;
    watcher->last = now;
}

static void watch_turns(struct watcher *watcher, uint64_t (*count)(void))
{
    *watcher = (struct watcher){.hook = {.run = watch_turn}, .count = count, .last = count()};
    reactor_hook_add(world.log.reactor, TURN_WRITE, &watcher->hook);
}

/* A turn has room for so many operations. */
static void write_now_and_then(uint64_t i)
{
    if (i % 100 == 0) {
        world_run(&world.log, 1, NULL, NULL);
    }
}

/* An offset is a session's. */
static void lease_one(struct group_queue *queue, uint64_t offset, struct group_member *member)
{
    const struct event_lease lease = {.place = queue->place,
                                      .range = {offset, 1},
                                      .until_ms = UINT64_C(1700000060000),
                                      .serial = offset + 1,
                                      .key = key_of(queue, offset)};
    ck_assert_int_eq(groups_lease(queue, &lease, member), OK);
    groups_hold(world.shard.groups, 77, open_ranges_find(&queue->open, offset));
}

/* MANY offsets are, each a range. */
static void lease_many(struct group_queue *queue, struct group_member *member)
{
    for (uint64_t i = 0; i < MANY; i++) {
        lease_one(queue, i, member);
        write_now_and_then(i);
    }
    world_run(&world.log, 1, NULL, NULL);
}

/* MANY ranges of one offset in every state: a session's, failed, dying, ready, in the order of keys blocked. */
static struct group_queue *open_many(uint32_t group, struct group_member *member)
{
    struct group_queue *queue = begin_queue(group);
    lease_many(queue, member);
    for (uint64_t i = 0; i < MANY; i += 3) {
        const struct event_retry retry = {.place = queue->place,
                                          .range = {i, 1},
                                          .attempt = 1,
                                          .due_ms =
                                              i % 2 == 0 ? DUE_NEVER : UINT64_C(1700000030000) + i,
                                          .key = key_of(queue, i)};
        ck_assert_int_eq(groups_retry(queue, &retry), OK);
        write_now_and_then(i);
    }
    for (uint64_t i = 1; i < MANY; i += 3) {
        ck_assert(groups_give_back(open_ranges_find(&queue->open, i)));
        write_now_and_then(i);
    }
    world_run(&world.log, 1, NULL, NULL);
    return queue;
}

/* All of MANY are gone, in turns of A_TURN_MAX. */
static void check_gone(struct watcher *watcher, const struct group_member *member)
{
    const struct groups *groups = world.shard.groups;
    world_run(&world.log, LATER_MS, NULL, NULL);
    reactor_hook_remove(world.log.reactor, &watcher->hook);
    ck_assert_uint_eq(groups->range_count, 0);
    ck_assert_uint_eq(groups->moments.count, 0);
    ck_assert(list_is_empty(&groups->dying));
    ck_assert(list_is_empty(&groups->retired));
    ck_assert_uint_eq(atomic_load(&member->leased), 0);
    ck_assert_uint_le(watcher->most, A_TURN_MAX);
    ck_assert_uint_ge(watcher->turns, MANY / A_TURN_MAX);
}

START_TEST(a_seek_takes_apart_what_was_open_some_in_each_turn)
{
    struct group_member *member = group_member_create(bytes_from_string("member"));
    for (uint32_t i = 0; i < GROUPS; i++) {
        struct watcher watcher;
        struct group_queue *old = open_many(FIRST_GROUP + i, member);
        const struct group_place place = old->place;
        const uint64_t old_serial = old->serial;
        watch_turns(&watcher, count_ranges);
        world.shard.groups->walk = &old->all;
        ck_assert_int_eq(groups_seek(world.shard.groups, &place, 5), OK);
        ck_assert_uint_eq(world.shard.groups->range_count, MANY);
        const struct group_queue *queue = groups_find(world.shard.groups, &place);
        ck_assert_uint_eq(queue->open.count, 0);
        ck_assert_uint_eq(queue->generation, 2);
        ck_assert_uint_eq(queue->next, 5);
        ck_assert_uint_eq(queue->serial, old_serial);
        ck_assert_ptr_eq(world.shard.groups->queues.next, &queue->all);
        ck_assert_ptr_eq(world.shard.groups->walk, &queue->all);
        check_gone(&watcher, member);
        ck_assert_ptr_eq(groups_find(world.shard.groups, &place), queue);
        check_replayed(queue);
        groups_forget_session(world.shard.groups, 77);
        end_log();
    }
    group_member_unref(member);
}
END_TEST

START_TEST(a_group_or_a_topic_is_deleted_at_once_and_taken_apart_some_in_each_turn)
{
    struct group_member *member = group_member_create(bytes_from_string("member"));
    for (uint32_t i = 0; i < 2 * GROUPS; i++) {
        struct watcher watcher;
        bool is_topic = i % 2 == 0;
        uint32_t group = FIRST_GROUP + i / 2;
        const struct group_place place = open_many(group, member)->place;
        watch_turns(&watcher, count_ranges);
        delete_of(is_topic ? EVENT_TOPIC_DELETE : EVENT_GROUP_DELETE, is_topic ? TOPIC : group);
        ck_assert_uint_eq(world.shard.groups->range_count, MANY);
        ck_assert_ptr_null(groups_find(world.shard.groups, &place));
        ck_assert(list_is_empty(&world.shard.groups->queues));
        check_gone(&watcher, member);
        groups_forget_session(world.shard.groups, 77);
        end_log();
    }
    group_member_unref(member);
}
END_TEST

START_TEST(what_has_ended_counts_until_it_is_taken_apart_and_then_there_is_room)
{
    struct group_member *member = group_member_create(bytes_from_string("member"));
    struct group_queue *queue = open_many(FIRST_GROUP, member);
    struct groups *groups = world.shard.groups;
    const struct group_place place = queue->place;
    enum error error;
    produces[produce_count++] = world_produce(&world.log, 0, 10, 11, 0, false, &error);
    ck_assert_int_eq(error, OK);
    world_run(&world.log, 1, NULL, NULL);
    groups->range_count += GROUP_RANGES_MAX - MANY; /* others' */
    ck_assert_int_eq(groups_seek(groups, &place, 0), OK);
    queue = groups_find(groups, &place);
    ck_assert(queue->is_full && list_is_empty(&queue->in_ready));
    world_run(&world.log, LATER_MS, NULL, NULL);
    ck_assert(!queue->is_full && !list_is_empty(&queue->in_ready));
    ck_assert_uint_eq(queue->group->full, 0);
    ck_assert_uint_eq(groups->range_count, GROUP_RANGES_MAX - MANY);
    groups_forget_session(groups, 77);
    group_member_unref(member);
    end_log();
}
END_TEST

START_TEST(what_a_session_held_is_given_back_some_in_each_turn)
{
    for (uint32_t i = 0; i < GROUPS; i++) {
        struct group_queue *queue = begin_queue(FIRST_GROUP + i);
        struct groups *groups = world.shard.groups;
        lease_many(queue, NULL);
        struct watcher watcher;
        groups_release(groups, 77, 0, 0); /* nothing, of who goes without a wish */
        ck_assert_uint_eq(queue->in_state[OPEN_LEASED], MANY);
        groups_release(groups, 77, MANY - 1, MANY);
        ck_assert_uint_eq(queue->in_state[OPEN_LEASED], MANY - 2); /* few are at once */
        groups_release(groups, 77, 0, UINT64_MAX);
        groups_forget_session(groups, 77);
        watch_turns(&watcher, count_leased);
        ck_assert_uint_eq(watcher.last, MANY - GROUPS_RELEASED_A_TURN);
        world_run(&world.log, LATER_MS, NULL, NULL);
        reactor_hook_remove(world.log.reactor, &watcher.hook);
        ck_assert_uint_eq(queue->in_state[OPEN_LEASED], 0);
        ck_assert_uint_eq(queue->open.offsets, MANY);
        ck_assert_uint_eq(open_ranges_first(&queue->open)->attempts, 0);
        ck_assert_uint_le(watcher.most, GROUPS_RELEASED_A_TURN);
        ck_assert_uint_ge(watcher.turns, MANY / GROUPS_RELEASED_A_TURN - 1);
        check_replayed(queue);
        end_log();
    }
}
END_TEST

START_TEST(what_is_to_be_given_back_may_be_settled_or_end_before)
{
    for (uint32_t i = 0; i < GROUPS; i++) {
        struct group_queue *queue = begin_queue(FIRST_GROUP + i);
        struct groups *groups = world.shard.groups;
        const struct group_place place = queue->place;
        lease_many(queue, NULL);
        groups_release(groups, 77, 0, UINT64_MAX);
        groups_forget_session(groups, 77);
        ck_assert_uint_eq(queue->in_state[OPEN_LEASED], MANY - GROUPS_RELEASED_A_TURN);
        const struct offset_range last = {MANY - 1000, 1000};
        ck_assert_int_eq(groups_settle(queue, &last), OK);
        ck_assert_int_eq(groups_seek(groups, &place, 0), OK);
        world_run(&world.log, LATER_MS, NULL, NULL);
        ck_assert_uint_eq(groups->range_count, 0);
        ck_assert(list_is_empty(&groups->released));
        check_replayed(groups_find(groups, &place));
        end_log();
    }
}
END_TEST

/* An end does not wait: who comes after it would wait for the leases to expire. */
START_TEST(at_the_end_all_is_given_back_that_was_to_be)
{
    enum { SOME = 2 * GROUPS_RELEASED_A_TURN };
    struct group_queue *queue = begin_queue(FIRST_GROUP + 1);
    for (uint64_t i = 0; i < SOME; i++) {
        lease_one(queue, i, NULL);
    }
    world_run(&world.log, 1, NULL, NULL);
    groups_release(world.shard.groups, 77, 0, UINT64_MAX);
    groups_forget_session(world.shard.groups, 77);
    ck_assert_uint_gt(queue->in_state[OPEN_LEASED], 0);
    groups_stop(world.shard.groups);
    ck_assert_uint_eq(queue->in_state[OPEN_LEASED], 0);
    ck_assert(list_is_empty(&world.shard.groups->released));
    end_log();
}
END_TEST

START_TEST(what_has_ended_is_neither_given_back_nor_expired_nor_in_the_way_of_the_end)
{
    struct group_member *member = group_member_create(bytes_from_string("member"));
    for (uint32_t i = 0; i < GROUPS; i++) {
        struct group_queue *queue = open_many(FIRST_GROUP + i, member);
        struct groups *groups = world.shard.groups;
        const struct group_place place = queue->place;
        struct shard_group *group = queue->group;
        ck_assert_int_eq(groups_seek(groups, &place, 0), OK);
        groups_release(groups, 77, 0, UINT64_MAX);
        ck_assert_uint_eq(groups->range_count, MANY);
        groups_forget_session(groups, 77);
        /* The retired wait for as long as the clock of leases takes. */
        timer_stop(world.log.reactor, &groups->retired_timer);
        world_run(&world.log, 70000, NULL, NULL);
        ck_assert_uint_eq(group->expired, 0);
        ck_assert_uint_eq(groups->moments.count, 0);
        check_replayed(groups_find(groups, &place));
        ck_assert(!list_is_empty(&groups->retired));
        end_log(); /* with some that nobody took apart */
    }
    ck_assert_uint_eq(atomic_load(&member->references), 1);
    group_member_unref(member);
}
END_TEST

static Suite *groups_turns_suite(void)
{
    Suite *suite = suite_create("groups_turns");
    TCase *tests = tcase_create("groups_turns");
    tcase_add_test(tests, a_seek_takes_apart_what_was_open_some_in_each_turn);
    tcase_add_test(tests, a_group_or_a_topic_is_deleted_at_once_and_taken_apart_some_in_each_turn);
    tcase_add_test(tests, what_has_ended_counts_until_it_is_taken_apart_and_then_there_is_room);
    tcase_add_test(tests, what_a_session_held_is_given_back_some_in_each_turn);
    tcase_add_test(tests, what_is_to_be_given_back_may_be_settled_or_end_before);
    tcase_add_test(tests, at_the_end_all_is_given_back_that_was_to_be);
    tcase_add_test(tests,
                   what_has_ended_is_neither_given_back_nor_expired_nor_in_the_way_of_the_end);
    tcase_set_timeout(tests, 120);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(groups_turns_suite)
