/* SPDX-License-Identifier: Apache-2.0 */
/* test_written.c - who is answered when the log has what he was told, also where the log waits for its next segment. */
#include "proto/events_groups.h"
#include "test/lib/check_main.h"
#include "test/unit/broker/group_world.h"

#include <stdio.h>

static struct world world;

static void end(void)
{
    world_end(&world);
}

#define REASON "it stays in the log whatever comes"

/* How often the page cache has a text in a file, which may not be there. */
static uint32_t times_in(const char *path, struct bytes text)
{
    uint64_t bytes = 0;
    const uint8_t *at = disk_image_bytes(world.image, path, &bytes);
    const uint8_t *end = at + bytes;
    uint32_t times = 0;
    while (at != NULL && (at = memmem(at, (size_t)(end - at), text.data, text.length)) != NULL) {
        times++;
        at++;
    }
    return times;
}

/* Of every segment, also of one that was made ready and has no name of its own yet. */
struct times {
    struct bytes text;
    uint32_t count;
};

static bool add_times(void *context, const char *name)
{
    struct times *times = context;
    char path[64];
    (void)snprintf(path, sizeof(path), "0/%s", name);
    times->count += strstr(name, ".log") != NULL ? times_in(path, times->text) : 0;
    return true;
}

static uint32_t times_in_log(struct bytes text)
{
    struct times times = {text, 0};
    ck_assert_int_eq(disk_list(world.disk, "0", add_times, &times), 0);
    return times.count;
}

/* A world of small segments and a network that takes no time: what the page cache has of the log when an answer
 * comes is what a process leaves that is killed as soon as it was sent. */
static struct client_simulated *begin_small(void)
{
    world = world_open_at(1, 2);
    world_start_keeping(&world, 1, UINT64_C(1) << 30);
    return world.client[0];
}

/* From below a quarter of a segment to where it is almost full: to make the next one takes longer. */
static void fill_segment(struct client_simulated *client, size_t length)
{
    static char body[1 << 16];
    memset(body, 'x', length);
    body[length] = '\0';
    struct answer answer = produce(client, "t", body);
    ck_answered(answer);
}

static void wait_for_answer(struct client_simulated *client)
{
    while (client_simulated_answers(client) == 0) {
        ck_assert(simulation_step(world.simulation));
    }
}

START_TEST(who_fails_is_answered_when_the_log_has_it)
{
    enum { COUNT = 300 };
    struct client_simulated *client = begin_small();
    make_topic(client, "t", 1, "any", "memory");
    make_group(client, "g");
    fill(client, COUNT);
    struct given given = give(client);
    ck_assert_uint_eq(given.span, COUNT);
    fill_segment(client, 38000);
    struct writer request = ask("nack", 3);
    writer_put_key_string(&request, "group", "g");
    writer_put_key_string(&request, "reason", REASON);
    writer_put_string(&request, "receipts");
    writer_put_array(&request, COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        struct given part = part_of(&given, i, 1);
        put_receipt(&request, &part);
    }
    (void)tell(client, &request);
    wait_for_answer(client);
    uint32_t found = times_in_log(bytes_from_string(REASON));
    struct answer answer = take(client);
    ck_answered(answer);
    ck_assert_int_eq(failed_of(&answer, "failed"), OK);
    ck_assert_uint_ge(found, COUNT); /* and what a snapshot says of them */
    end();
}
END_TEST

START_TEST(messages_in_order_leave_when_the_log_has_their_leases)
{
    enum { COUNT = 170 };
    static const uint8_t serial[] = {0, 0, 1, 0,
                                     0, 0, 0, 1}; /* of the first answer of the first epoch */
    struct client_simulated *client = begin_small();
    make_topic(client, "t", 1, "key", "memory");
    struct writer request = ask_group("g", NULL, 1);
    writer_put_key_string(&request, "order", "key");
    struct answer answer = call(client, &request);
    ck_answered(answer);
    for (int i = 0; i < COUNT; i++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "%d", i);
        produce_labelled(client, NULL, key);
    }
    fill_segment(client, 46000);
    request = ask_receive("g", 1);
    writer_put_key_uint(&request, "max", COUNT);
    (void)tell(client, &request);
    wait_for_answer(client);
    uint32_t found = times_in_log(bytes_make(serial, sizeof(serial)));
    answer = take(client);
    struct given given = only_range(&answer);
    ck_assert_uint_eq(given.span, COUNT);
    ck_assert_mem_eq(given.lease + 8, serial, sizeof(serial));
    ck_assert_uint_ge(found, COUNT);
    end();
}
END_TEST

/* Whether the log has the first seek of a group in each queue of a topic, to this offset. */
static bool has_seeks(uint32_t group, uint32_t topic, uint32_t queues, uint64_t offset)
{
    for (uint32_t i = 0; i < queues; i++) {
        uint8_t bytes[EVENT_BYTES_MAX];
        struct writer writer = writer_over(bytes, sizeof(bytes));
        event_put_seek(&writer, &(struct event_seek){{group, topic, (uint16_t)i}, 1, offset});
        if (times_in_log(writer_bytes(&writer)) == 0) {
            return false;
        }
    }
    return true;
}

START_TEST(who_seeks_is_answered_when_the_log_has_it)
{
    enum { QUEUES = 200 };
    struct client_simulated *client = begin_small();
    make_topic(client, "t", QUEUES, "any", "memory");
    struct writer request = ask_group("g", NULL, 0);
    struct answer answer = call(client, &request);
    ck_answered(answer);
    uint32_t group = (uint32_t)number_of(answer.result, "id");
    fill_segment(client, 63500 + (size_t)_i * 300);
    request = ask("group.seek", 2);
    writer_put_key_string(&request, "group", "g");
    writer_put_key_string(&request, "to", "first");
    (void)tell(client, &request);
    wait_for_answer(client);
    bool has = has_seeks(group, 1, QUEUES, 0);
    answer = take(client);
    ck_answered(answer);
    ck_assert(has);
    end();
}
END_TEST

static Suite *written_suite(void)
{
    Suite *suite = suite_create("broker/written");
    TCase *tests = tcase_create("answers");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, who_fails_is_answered_when_the_log_has_it);
    tcase_add_test(tests, messages_in_order_leave_when_the_log_has_their_leases);
    tcase_add_loop_test(tests, who_seeks_is_answered_when_the_log_has_it, 0, 5);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(written_suite)
