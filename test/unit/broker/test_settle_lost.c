/* SPDX-License-Identifier: Apache-2.0 */
/* test_settle_lost.c - leases of an older epoch: what they settle after a power cut, and after a restart that lost nothing. */
#include "test/lib/check_main.h"
#include "test/unit/broker/group_world.h"

enum { KEPT = 4, LOST = 6, ALL = KEPT + LOST };

static struct world world;

/* ------------------------------------------------------------------- worlds */

static void use_image(struct disk_image *image)
{
    const struct disk_simulated_options options = {.simulation = world.simulation,
                                                   .job_ns_least = 100000,
                                                   .job_ns_most = 2000000,
                                                   .fault = world_fault};
    disk_close(world.disk);
    disk_image_destroy(world.image);
    world.image = image;
    world.disk = disk_simulated_open(image, &options);
}

static struct client_simulated *start(int index)
{
    world_start(&world, index + 1);
    return world.client[index];
}

/* A topic `t` of durability memory, and a group `g` that has begun there, on the disk. */
static struct client_simulated *begin(int index, const char *order)
{
    world = world_open();
    use_image(disk_image_create(true));
    struct client_simulated *client = start(index);
    make_topic(client, "t", 1, "any", "memory");
    struct writer request = ask_group("g", NULL, 1);
    writer_put_key_string(&request, "order", order);
    struct answer answer = call(client, &request);
    ck_answered(answer);
    ck_nothing(client, "g");
    return client;
}

static void end(void)
{
    world_end(&world);
}

/* What was written so far is durable. */
static void sync_log(struct client_simulated *client, const char *topic)
{
    make_topic(client, topic, 1, "any", "memory");
    run_ms(&world, SOON_MS);
}

/* The power fails now: nothing is left that was not durable. */
static struct client_simulated *cut_power(int index)
{
    const struct disk_cut cut = {disk_image_events(world.image), DISK_KEEP_NONE, 0};
    world_stop(&world);
    use_image(disk_image_cut(world.image, &cut, true));
    return start(index);
}

static struct client_simulated *restart(int index)
{
    world_stop(&world);
    return start(index);
}

/* All of it given out, when KEPT are durable. */
static struct given give_all(struct client_simulated *client)
{
    fill(client, KEPT);
    sync_log(client, "other");
    fill(client, LOST);
    struct given given = give(client);
    ck_assert_uint_eq(given.span, ALL);
    return given;
}

static uint64_t end_of_queue(struct client_simulated *client)
{
    struct answer answer = pull(client, "t", 0);
    ck_answered(answer);
    return number_of(answer.result, "end");
}

/* --------------------------------------------------------------------- cases */

START_TEST(a_lease_settles_none_of_what_took_the_place_of_what_was_lost)
{
    struct client_simulated *client = begin(_i, "none");
    struct given given = give_all(client);
    client = cut_power(_i);
    ck_assert_uint_eq(end_of_queue(client), KEPT);
    ck_assert_int_eq(ack(client, "g", &given), ERROR_LEASE_LOST); /* of what is not there */
    fill(client, LOST);
    /* What was kept counts, the others are not those that he had. */
    struct given behind = part_of(&given, KEPT + 1, 2);
    ck_assert_int_eq(ack(client, "g", &behind), ERROR_LEASE_LOST);
    ck_assert_int_eq(ack(client, "g", &given), ERROR_LEASE_LOST);
    given = give(client);
    ck_assert_uint_eq(given.first, KEPT);
    ck_assert_uint_eq(given.span, LOST);
    ck_assert_int_eq(ack(client, "g", &given), OK);
    end();
}
END_TEST

START_TEST(so_it_is_in_order_and_with_receive)
{
    struct client_simulated *client = begin(_i, "queue");
    struct given given = give_all(client);
    client = cut_power(_i);
    fill(client, LOST);
    struct writer request = ask_receive("g", 1);
    writer_put_string(&request, "ack");
    writer_put_array(&request, 1);
    put_receipt(&request, &given);
    struct answer answer = call(client, &request);
    ck_answered(answer);
    ck_assert_int_eq(failed_of(&answer, "acked"), ERROR_LEASE_LOST);
    given = only_range(&answer);
    ck_assert_uint_eq(given.first, KEPT);
    ck_assert_uint_eq(given.span, LOST);
    end();
}
END_TEST

START_TEST(an_epoch_later_the_same_is_known)
{
    struct client_simulated *client = begin(_i, "none");
    struct given given = give_all(client);
    client = cut_power(_i);
    fill(client, 2);
    client = restart(_i);
    fill(client, LOST - 2);
    ck_assert_int_eq(ack(client, "g", &given), ERROR_LEASE_LOST);
    given = give(client);
    ck_assert_uint_eq(given.first, KEPT);
    end();
}
END_TEST

START_TEST(a_lease_counts_after_restarts_that_lose_nothing)
{
    struct client_simulated *client = begin(_i, "none");
    struct given given = give_all(client);
    client = restart(_i);
    fill(client, 1);
    struct given part = part_of(&given, 0, 3);
    ck_assert_int_eq(ack(client, "g", &part), OK);
    client = restart(_i);
    fill(client, 1);
    part = part_of(&given, 3, ALL - 3);
    ck_assert_int_eq(ack(client, "g", &part), OK);
    given = give(client);
    ck_assert_uint_eq(given.first, ALL);
    ck_assert_uint_eq(given.span, 2);
    end();
}
END_TEST

START_TEST(what_the_page_cache_lacks_is_waited_for)
{
    struct client_simulated *client = begin(_i, "none");
    struct given given = give_all(client);
    client = restart(_i);
    fill(client, 1);
    world_cool(&world);
    struct given part = part_of(&given, 0, 3);
    ck_assert_int_eq(ack(client, "g", &part), OK);
    /* Of what cannot be read it is not certain: it comes again. */
    world_cool(&world);
    reads_fail = true;
    part = part_of(&given, 3, 3);
    ck_assert_int_eq(ack(client, "g", &part), ERROR_LEASE_LOST);
    reads_fail = false;
    ck_assert_int_eq(ack(client, "g", &part), OK);
    ck_assert_uint_eq(disk_simulated_waits(world.disk), 0);
    given = give(client);
    ck_assert_uint_eq(given.first, 6);
    end();
}
END_TEST

static Suite *settle_lost_suite(void)
{
    Suite *suite = suite_create("broker/settle_lost");
    TCase *tests = tcase_create("older epochs");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, a_lease_settles_none_of_what_took_the_place_of_what_was_lost, 0, 2);
    tcase_add_loop_test(tests, so_it_is_in_order_and_with_receive, 0, 2);
    tcase_add_loop_test(tests, an_epoch_later_the_same_is_known, 0, 2);
    tcase_add_loop_test(tests, a_lease_counts_after_restarts_that_lose_nothing, 0, 2);
    tcase_add_loop_test(tests, what_the_page_cache_lacks_is_waited_for, 0, 2);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(settle_lost_suite)
