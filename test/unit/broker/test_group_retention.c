/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_group_retention.c - what groups have open in a segment when retention comes for it: a shard with small
 * segments in a simulated world, whose groups are told directly what was given out.
 */
#include "test/lib/check_main.h"
#include "test/unit/broker/shard_world.h"

/* ---------------------------------------------------------------------- cases */

START_TEST(what_is_open_becomes_dead_letters)
{
    struct world world = begin_with(GROUP_ORDER_NONE, 0);
    produce(&world, TOPIC, 10, 0);
    struct group_queue *queue = begin_group(&world, GROUP, TOPIC);
    lease(&world, queue, 0, 3, 0);
    fail_at(&world, queue, 4, 2, 0); /* and 3 was passed: given out to nobody */
    fill(&world);
    ck_assert(goes(&world, 1, WAIT_MS));
    ck_assert_uint_ge(first_kept(&world, TOPIC), 10);
    ck_assert_uint_eq(letter_count(&world, "%DLQ%g"), 5);
    uint64_t seen = 0;
    for (uint64_t i = 0; i < 5; i++) {
        struct letter letter = letter_of(&world, "%DLQ%g", i);
        seen |= UINT64_C(1) << letter.offset;
        ck_assert_str_eq(letter.reason, "retention");
        ck_assert_uint_eq(letter.attempts, letter.offset < 3 ? 0 : 3);
    }
    ck_assert_uint_eq(seen, 0x37);
    ck_assert_uint_eq(queue->skipped, 5); /* 3, and 6 to 9 */
    ck_assert_uint_ge(queue->next, 10);
    ck_assert_uint_eq(queue->open.count, 0);
    ck_assert_uint_eq(queue->group->dead, 5);
    end(&world);
}
END_TEST

START_TEST(a_restart_knows_what_was_skipped)
{
    struct world world = begin_with(GROUP_ORDER_NONE, 0);
    produce(&world, TOPIC, 10, 0);
    struct group_queue *queue = begin_group(&world, GROUP, TOPIC);
    fail_at(&world, queue, 2, 1, 0);
    fill(&world);
    ck_assert(goes(&world, 1, WAIT_MS));
    run_ms(&world, 1000);
    uint64_t hash = group_queue_hash(queue);
    stop(&world);
    start(&world, 0);
    const struct group_place place = {GROUP, TOPIC, 0};
    queue = groups_find(world.shard->groups, &place);
    ck_assert_ptr_nonnull(queue);
    ck_assert_uint_eq(queue->skipped, 9);
    ck_assert_uint_eq(group_queue_hash(queue), hash);
    ck_assert_uint_eq(letter_count(&world, "%DLQ%g"), 1);
    end(&world);
}
END_TEST

/* Settled messages, other groups' and those of later segments are nobody's concern. */
START_TEST(what_is_settled_or_later_stays_as_it_is)
{
    struct world world = begin_with(GROUP_ORDER_NONE, 0);
    produce(&world, TOPIC, 4, 0);
    struct group_queue *queue = begin_group(&world, GROUP, TOPIC);
    lease(&world, queue, 0, 4, 0);
    const struct offset_range all = {0, 4};
    ck_assert_int_eq(groups_settle(queue, &all), OK);
    fill(&world);
    ck_assert(goes(&world, 1, WAIT_MS));
    run_ms(&world, 10000);
    produce(&world, TOPIC, 2, 0);
    lease(&world, queue, 4, 2, 0);
    uint64_t before = removed(&world);
    produce(&world, FILLER, SEGMENT_BYTES / BODY_BYTES, 0);
    ck_assert(goes(&world, before + 1, WAIT_MS));
    ck_assert_uint_eq(letter_count(&world, "%DLQ%g"), 0);
    ck_assert_uint_eq(queue->skipped, 0);
    ck_assert_uint_eq(queue->in_state[OPEN_LEASED], 2);
    end(&world);
}
END_TEST

/* A range that ends behind the segment: what lies in the next one stays leased. */
START_TEST(a_range_is_cut_where_the_segment_ends)
{
    struct world world = begin_with(GROUP_ORDER_NONE, 0);
    uint32_t count = 3 * SEGMENT_BYTES / 2 / BODY_BYTES;
    produce(&world, TOPIC, count, 0);
    struct group_queue *queue = begin_group(&world, GROUP, TOPIC);
    lease(&world, queue, 0, count, 0);
    while (removed(&world) == 0) {
        produce(&world, FILLER, 1, 0);
    }
    uint64_t kept = first_kept(&world, TOPIC);
    ck_assert_uint_gt(kept, 0);
    ck_assert_uint_lt(kept, count);
    ck_assert_uint_eq(letter_count(&world, "%DLQ%g"), kept);
    ck_assert_uint_eq(queue->in_state[OPEN_LEASED], count - kept);
    ck_assert_uint_eq(queue->skipped, 0);
    end(&world);
}
END_TEST

START_TEST(ordered_groups_lose_nothing_either)
{
    enum group_order order = _i == 0 ? GROUP_ORDER_QUEUE : GROUP_ORDER_KEY;
    uint32_t key = _i == 0 ? 0 : 77;
    struct world world = begin_with(order, 0);
    produce(&world, TOPIC, 6, key);
    struct group_queue *queue = begin_group(&world, GROUP, TOPIC);
    fail_at(&world, queue, 0, 1, key);
    if (key != 0) {
        (void)group_queue_meet_key(queue, 1, key); /* passed: its key is parked */
        lease(&world, queue, 2, 1, 5);
    }
    fill(&world);
    ck_assert(goes(&world, 1, WAIT_MS));
    ck_assert_uint_eq(letter_count(&world, "%DLQ%g"), key == 0 ? 1 : 2);
    ck_assert_uint_eq(letter_of(&world, "%DLQ%g", 0).attempts, 3);
    ck_assert_uint_eq(queue->skipped, key == 0 ? 5 : 4);
    ck_assert_uint_eq(queue->open.count, 0);
    ck_assert_uint_eq(queue->keys.count, 0);
    end(&world);
}
END_TEST

/* More than one turn's share, in ranges that lie apart. */
START_TEST(many_open_ranges_take_several_turns)
{
    enum { MANY = 3000 };
    struct world world = begin();
    start(&world, 0);
    put_topic(&world, TOPIC, "t");
    put_topic(&world, FILLER, "filler");
    for (uint32_t i = 0; i < 60; i++) {
        char name[8];
        (void)snprintf(name, sizeof(name), "g%u", i);
        put_group(&world, GROUP + i, name, "t", GROUP_ORDER_NONE);
    }
    produce(&world, TOPIC, 100, 0);
    for (uint32_t i = 0; i < 60; i++) {
        struct group_queue *queue = begin_group(&world, GROUP + i, TOPIC);
        for (uint64_t offset = 0; offset < 100; offset += 2) {
            lease(&world, queue, offset, 1, 0);
        }
    }
    fill(&world);
    ck_assert(goes(&world, 1, WAIT_MS));
    uint64_t letters = 0;
    for (uint32_t i = 0; i < 60; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "%%DLQ%%g%u", i);
        letters += letter_count(&world, name);
        const struct group_place place = {GROUP + i, TOPIC, 0};
        ck_assert_uint_ge(groups_find(world.shard->groups, &place)->next,
                          first_kept(&world, TOPIC));
    }
    ck_assert_uint_ge(letters,
                      MANY * 9 / 10); /* what lies in the next segment goes later, or stays */
    end(&world);
}
END_TEST

/* Nobody gets back into what goes: it counts as skipped once more. */
START_TEST(a_seek_into_the_segment_is_looked_at_again)
{
    struct world world = begin_with(GROUP_ORDER_NONE, UINT64_C(1));
    produce(&world, TOPIC, 10, 0);
    struct group_queue *queue = begin_group(&world, GROUP, TOPIC);
    fail_at(&world, queue, 0, 10, 0);
    fill(&world);
    run_ms(&world, 5000);
    ck_assert_uint_eq(removed(&world), 0); /* the topic of dead letters cannot be made */
    ck_assert_uint_eq(queue->in_state[OPEN_DYING], 10);
    ck_assert_int_eq(groups_seek(world.shard->groups, &queue->place, 4), OK);
    ck_assert(goes(&world, 1, 5000));
    ck_assert_uint_eq(queue->skipped, 6);
    ck_assert_uint_ge(queue->next, 10);
    ck_assert_uint_eq(letter_count(&world, "%DLQ%g"), 0);
    end(&world);
}
END_TEST

static bool is_under_way(void *context)
{
    const struct groups *groups = ((const struct world *)context)->shard->groups;
    return groups->walk != NULL && groups->walk != groups->queues.next;
}

/* A group that begins while the segment is looked at, or waits for dead letters, begins in what goes. */
START_TEST(a_queue_that_begins_in_the_segment_is_looked_at_too)
{
    enum { MANY = 60, NEW = GROUP + MANY };
    struct world world = begin_with(GROUP_ORDER_NONE, UINT64_C(1)); /* letters have no topic */
    produce(&world, TOPIC, 100, 0);
    put_group(&world, NEW, "new", "t", GROUP_ORDER_NONE);
    for (uint32_t i = 0; i < MANY; i++) {
        char name[8];
        (void)snprintf(name, sizeof(name), "g%u", i);
        put_group(&world, GROUP + i, name, "t", GROUP_ORDER_NONE);
        struct group_queue *queue = begin_group(&world, GROUP + i, TOPIC);
        for (uint64_t offset = 0; offset < 100; offset += 2) {
            lease(&world, queue, offset, 1, 0);
        }
    }
    fill(&world);
    ck_assert(simulation_run(world.simulation, WAIT_MS, is_under_way, &world));
    run_ms(&world, _i == 0 ? 0 : 5000);
    ck_assert_uint_eq(removed(&world), 0);
    struct group_queue *queue = begin_group(&world, NEW, TOPIC);
    ck_assert(goes(&world, 1, WAIT_MS));
    ck_assert_uint_gt(queue->skipped, 0);
    ck_assert_uint_eq(queue->skipped, first_kept(&world, TOPIC));
    end(&world);
}
END_TEST

START_TEST(a_topic_that_cannot_be_made_does_not_fill_the_disk)
{
    struct world world = begin_with(GROUP_ORDER_NONE, UINT64_C(1));
    put_group(&world, OTHER, "other", "t", GROUP_ORDER_NONE);
    put_topic(&world, 3, "%DLQ%other");
    produce(&world, TOPIC, 10, 0);
    struct group_queue *queue = begin_group(&world, GROUP, TOPIC);
    struct group_queue *other = begin_group(&world, OTHER, TOPIC);
    lease(&world, queue, 0, 10, 0);
    lease(&world, other, 0, 10, 0);
    fill(&world);
    run_ms(&world, 30000);
    ck_assert_uint_eq(removed(&world), 0);
    /* Others' dead letters need not wait for it. */
    ck_assert_uint_eq(letter_count(&world, "%DLQ%other"), 10);
    ck_assert(goes(&world, 1, 40000));
    run_ms(&world, 5000);
    ck_assert_uint_eq(queue->skipped, 10);
    ck_assert_uint_eq(queue->open.count, 0);
    ck_assert_uint_eq(other->skipped, 0);
    end(&world);
}
END_TEST

/* What dies of later segments is no reason to wait on. */
START_TEST(other_dead_letters_do_not_hold_the_segment)
{
    struct world world = begin_with(GROUP_ORDER_NONE, UINT64_C(1));
    put_topic(&world, 3, "%DLQ%other");
    put_group(&world, OTHER, "other", "filler", GROUP_ORDER_NONE);
    produce(&world, TOPIC, 10, 0);
    struct group_queue *queue = begin_group(&world, GROUP, TOPIC);
    lease(&world, queue, 0, 10, 0);
    fill(&world);
    struct group_queue *other = begin_group(&world, OTHER, FILLER);
    uint64_t last = queue_state(commit_log_queue_find(world.shard->log, FILLER, 0)).next - 1;
    for (uint32_t i = 0; i < 80; i++) {
        const struct event_retry event = {
            .place = other->place,
            .range = {last - i, 1},
            .attempt = 1,
            .due_ms = DUE_NEVER,
        };
        ck_assert_int_eq(groups_retry(other, &event), OK);
        dead_letters_go_on(world.shard->groups);
        run_ms(&world, 1000);
        ck_assert(i > 50 || removed(&world) == 0);
    }
    ck_assert_uint_ge(letter_count(&world, "%DLQ%other"), 80);
    ck_assert_uint_ge(removed(&world), 1);
    ck_assert_uint_eq(queue->skipped, 10);
    end(&world);
}
END_TEST

/* They are kept as long as there is room, and tried again: nothing is a dead letter twice. */
START_TEST(dead_letters_make_no_dead_letters)
{
    struct world world = begin();
    start(&world, 0);
    put_topic(&world, 3, "%DLQ%g");
    put_topic(&world, FILLER, "filler");
    put_group(&world, GROUP, "%DLQ%g", "%DLQ%g", GROUP_ORDER_NONE);
    const struct group *group = directory_find_group_id(world.directory, GROUP);
    uint64_t due_ms = groups_due_ms(group, 1000, 1, 5);
    ck_assert_uint_eq(due_ms, 5 + 7200000);
    ck_assert_uint_eq(groups_due_ms(group, 1, 9, 5), 9);
    produce(&world, 3, 4, 0);
    struct group_queue *queue = begin_group(&world, GROUP, 3);
    lease(&world, queue, 0, 2, 0);
    fail_at(&world, queue, 2, 1, 0);
    fill(&world);
    ck_assert(goes(&world, 1, WAIT_MS));
    ck_assert_uint_eq(queue->skipped, 4);
    ck_assert_uint_eq(queue->open.count, 0);
    ck_assert_uint_eq(queue_state(commit_log_queue_find(world.shard->log, 3, 0)).next, 4);
    end(&world);
}
END_TEST

/* Of `count` messages, one by one, each is a dead letter of the group or counted; none is lost or both. */
static void check_all_told(struct world *world, const struct group_queue *queue, const char *name,
                           uint64_t count)
{
    const struct open_range *first = open_ranges_first(&queue->open);
    ck_assert(first == NULL || first->first >= first_kept(world, TOPIC));
    ck_assert_uint_eq(letter_count(world, name) + queue->skipped + queue->in_state[OPEN_LEASED],
                      count);
}

/* Dead letters are as many bytes as the segment for each group, and a full disk has no room for all. */
START_TEST(a_full_disk_is_given_a_while)
{
    enum { GROUPS = 6, MESSAGES = 90 };
    struct world world = begin();
    start(&world, 0);
    put_topic(&world, TOPIC, "t");
    put_topic(&world, FILLER, "filler");
    struct group_queue *queues[GROUPS];
    produce(&world, TOPIC, MESSAGES, 0);
    for (uint32_t i = 0; i < GROUPS; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "%%DLQ%%g%u", i);
        put_topic(&world, 3 + i, name);
        put_group(&world, GROUP + i, name + 5, "t", GROUP_ORDER_NONE);
        queues[i] = begin_group(&world, GROUP + i, TOPIC);
        lease(&world, queues[i], 0, MESSAGES, 0);
    }
    uint32_t filled = 0;
    while (queues[0]->in_state[OPEN_DYING] == 0 && filled++ < 2 * KEEP_BYTES / BODY_BYTES) {
        produce(&world, FILLER, 1, 0);
    }
    fails[DISK_CALL_ALLOCATE] = true;
    ck_assert(!goes(&world, 1, 50000));
    ck_assert(goes(&world, 1, 30000));
    ck_assert_uint_lt(letter_count(&world, "%DLQ%g5"), MESSAGES);
    fails[DISK_CALL_ALLOCATE] = false;
    run_ms(&world, 120000);
    for (uint32_t i = 0; i < GROUPS; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "%%DLQ%%g%u", i);
        check_all_told(&world, queues[i], name, MESSAGES);
    }
    end(&world);
}
END_TEST

/* A group that goes, or a topic, takes with it what was waited for. */
START_TEST(a_group_that_is_deleted_holds_nothing_up)
{
    struct world world = begin_with(GROUP_ORDER_NONE, UINT64_C(1));
    produce(&world, TOPIC, 10, 0);
    struct group_queue *queue = begin_group(&world, GROUP, TOPIC);
    lease(&world, queue, 0, 10, 0);
    fill(&world);
    run_ms(&world, 5000);
    ck_assert_uint_eq(removed(&world), 0);
    uint8_t bytes[64];
    struct writer writer = writer_over(bytes, sizeof(bytes));
    catalogue_write_delete_group(&writer, GROUP, ++world.version);
    operate(&world, &writer);
    directory_remove_group(world.directory, GROUP);
    ck_assert(goes(&world, 1, 5000));
    end(&world);
}
END_TEST

static Suite *suite(void)
{
    Suite *all = suite_create("group_retention");
    TCase *cases = tcase_create("group_retention");
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, what_is_open_becomes_dead_letters);
    tcase_add_test(cases, a_restart_knows_what_was_skipped);
    tcase_add_test(cases, what_is_settled_or_later_stays_as_it_is);
    tcase_add_test(cases, a_range_is_cut_where_the_segment_ends);
    tcase_add_loop_test(cases, ordered_groups_lose_nothing_either, 0, 2);
    tcase_add_test(cases, many_open_ranges_take_several_turns);
    tcase_add_test(cases, a_seek_into_the_segment_is_looked_at_again);
    tcase_add_loop_test(cases, a_queue_that_begins_in_the_segment_is_looked_at_too, 0, 2);
    tcase_add_test(cases, a_topic_that_cannot_be_made_does_not_fill_the_disk);
    tcase_add_test(cases, other_dead_letters_do_not_hold_the_segment);
    tcase_add_test(cases, dead_letters_make_no_dead_letters);
    tcase_add_test(cases, a_full_disk_is_given_a_while);
    tcase_add_test(cases, a_group_that_is_deleted_holds_nothing_up);
    suite_add_tcase(all, cases);
    return all;
}

TEST_MAIN(suite)
