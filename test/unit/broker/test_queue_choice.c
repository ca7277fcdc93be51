/* SPDX-License-Identifier: Apache-2.0 */
/* test_queue_choice.c - which queue a produce goes to that names none. */
#include "broker/core.h"
#include "broker/queue_choice.h"
#include "broker/topic.h"
#include "net/simulation.h"
#include "test/lib/check_main.h"

#define CORES  2U
#define QUEUES 6U

static struct simulation *world;
static struct reactor *reactors[CORES];
static struct cores *cores;

static void begin(void)
{
    const struct simulation_options options = {.seed = 1, .window_bytes = 65536};
    world = simulation_create(&options);
    reactors[0] = reactor_create_simulated(world, "core-0");
    reactors[1] = reactor_create_simulated(world, "core-1");
    cores = cores_create(reactors, CORES, CORES);
}

static void end(void)
{
    cores_destroy(cores);
    for (uint32_t i = 0; i < CORES; i++) {
        reactor_destroy(reactors[i]);
    }
    simulation_destroy(world);
}

/* A topic whose queue n is in shard shards[n]. */
static struct topic *topic_of(const uint16_t shards[QUEUES], uint64_t version)
{
    const struct topic_parts parts = {.id = 1,
                                      .version = version,
                                      .name = BYTES_OF("t"),
                                      .queue_count = QUEUES,
                                      .shards = shards};
    return topic_create(&parts);
}

static const uint16_t spread[QUEUES] = {0, 1, 0, 1, 0, 1};

START_TEST(a_core_chooses_among_its_own)
{
    begin();
    struct topic *topic = topic_of(spread, 1);
    for (uint32_t i = 0; i < 10; i++) {
        for (uint32_t core = 0; core < CORES; core++) {
            uint16_t queue = queue_choices_take(cores->core[core], topic, CHOICE_BYTES);
            ck_assert_uint_eq(queue % 2, core);
        }
    }
    topic_unref(topic);
    end();
}
END_TEST

START_TEST(it_stays_for_some_bytes_and_then_moves_on)
{
    begin();
    struct topic *topic = topic_of(spread, 1);
    uint16_t first = queue_choices_take(cores->core[0], topic, CHOICE_BYTES - 1);
    ck_assert_uint_eq(queue_choices_take(cores->core[0], topic, 1), first);
    uint16_t second = queue_choices_take(cores->core[0], topic, 10 * CHOICE_BYTES);
    ck_assert_uint_eq(second, (first + 2) % QUEUES);
    ck_assert_uint_eq(queue_choices_take(cores->core[0], topic, 1), (second + 2) % QUEUES);
    topic_unref(topic);
    end();
}
END_TEST

START_TEST(it_stays_for_some_time_and_then_moves_on)
{
    begin();
    struct topic *topic = topic_of(spread, 1);
    uint16_t first = queue_choices_take(cores->core[0], topic, 1);
    (void)simulation_run(world, CHOICE_MS / 2, NULL, NULL);
    ck_assert_uint_eq(queue_choices_take(cores->core[0], topic, 1), first);
    (void)simulation_run(world, CHOICE_MS, NULL, NULL);
    reactor_wake(reactors[0]); /* its clock is read once a turn */
    (void)simulation_run(world, 1, NULL, NULL);
    ck_assert_uint_eq(queue_choices_take(cores->core[0], topic, 1), (first + 2) % QUEUES);
    topic_unref(topic);
    end();
}
END_TEST

START_TEST(a_core_that_owns_none_goes_round_all)
{
    static const uint16_t far[QUEUES] = {0, 0, 0, 0, 0, 0};
    begin();
    struct topic *topic = topic_of(far, 1);
    uint16_t first = queue_choices_take(cores->core[1], topic, CHOICE_BYTES);
    for (uint32_t i = 1; i < QUEUES; i++) {
        ck_assert_uint_eq(queue_choices_take(cores->core[1], topic, CHOICE_BYTES),
                          (first + i) % QUEUES);
    }
    topic_unref(topic);
    end();
}
END_TEST

START_TEST(queues_of_other_brokers_are_never_chosen)
{
    static const uint16_t few[QUEUES] = {TOPIC_ELSEWHERE, 0, TOPIC_ELSEWHERE,
                                         TOPIC_ELSEWHERE, 0, TOPIC_ELSEWHERE};
    begin();
    struct topic *topic = topic_of(few, 1);
    for (uint32_t core = 0; core < CORES; core++) {
        bool seen[QUEUES] = {false};
        for (uint32_t i = 0; i < 20; i++) {
            seen[queue_choices_take(cores->core[core], topic, CHOICE_BYTES)] = true;
        }
        for (uint32_t queue = 0; queue < QUEUES; queue++) {
            ck_assert_int_eq(seen[queue], few[queue] == 0);
        }
    }
    topic_unref(topic);
    end();
}
END_TEST

START_TEST(another_version_of_the_topic_is_chosen_for_anew)
{
    static const uint16_t moved[QUEUES] = {1, 0, 1, 0, 1, 0};
    begin();
    struct topic *old = topic_of(spread, 1);
    struct topic *new = topic_of(moved, 2);
    ck_assert_uint_eq(queue_choices_take(cores->core[0], old, 1) % 2, 0);
    ck_assert_uint_eq(queue_choices_take(cores->core[0], new, 1) % 2, 1);
    topic_unref(old);
    topic_unref(new);
    end();
}
END_TEST

static Suite *queue_choice_suite(void)
{
    Suite *suite = suite_create("queue_choice");
    TCase *tests = tcase_create("queue_choice");
    tcase_add_test(tests, a_core_chooses_among_its_own);
    tcase_add_test(tests, it_stays_for_some_bytes_and_then_moves_on);
    tcase_add_test(tests, it_stays_for_some_time_and_then_moves_on);
    tcase_add_test(tests, a_core_that_owns_none_goes_round_all);
    tcase_add_test(tests, queues_of_other_brokers_are_never_chosen);
    tcase_add_test(tests, another_version_of_the_topic_is_chosen_for_anew);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(queue_choice_suite)
