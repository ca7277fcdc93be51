/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_catalogue_change.c - changes of topics and groups in a whole broker: several shards, full disks,
 * power cuts.
 */
#include "test/lib/check_main.h"
#include "test/unit/broker/broker_world.h"

#include <errno.h>
#include <stdio.h>

enum {
    SHARDS = 3,
    CORES = 2,
    ANSWER_BYTES_MAX = 4096,
    CHANGES_MAX = 32,
    /* Of each cut: nothing that was not synced, all of it, and so many torn subsets. */
    SUBSETS = 3
};

/* A broker of three shards on two cores, on a disk of its own. */
struct store {
    struct simulation *simulation;
    struct disk_image *image;
    struct disk *disk;
    struct broker_simulated broker;
    struct client_simulated *client;
    bool is_full;   /* nothing more can be reserved on the disk */
    bool is_broken; /* nothing can be synced any more */
};

static int fault(void *context, enum disk_call what)
{
    const struct store *store = context;
    if (store->is_broken && what == DISK_CALL_SYNC) {
        return -EIO;
    }
    return store->is_full && what == DISK_CALL_ALLOCATE ? -ENOSPC : 0;
}

/* Starts a broker on `image`. */
static void store_start(struct store *store, struct disk_image *image, uint64_t seed)
{
    *store = (struct store){.image = image};
    log_set_level(LOG_LEVEL_ERROR);
    const struct simulation_options options = {
        .seed = seed,
        .wall_ms = UINT64_C(1700000000000),
        .delay_ns_least = 10000,
        .delay_ns_most = 200000,
        .window_bytes = 256 * 1024,
    };
    store->simulation = simulation_create(&options);
    const struct disk_simulated_options disk_options = {
        .simulation = store->simulation,
        .job_ns_least = 100000,
        .job_ns_most = 2000000,
        .fault = fault,
        .fault_context = store,
    };
    store->disk = disk_simulated_open(image, &disk_options);
    const struct broker_simulated_options broker_options = {
        .cores = CORES,
        .shards = SHARDS,
        .segment_bytes = 64 * 1024,
        .durability = DURABILITY_DISK,
    };
    broker_simulated_start(&store->broker, store->simulation, store->disk, &broker_options);
    store->client = client_simulated_open(store->simulation, "client", &store->broker.address);
}

static void store_stop(struct store *store)
{
    client_simulated_close(store->client);
    broker_simulated_stop(&store->broker);
    ck_assert_ptr_null(store->broker.failed);
    disk_close(store->disk);
    simulation_destroy(store->simulation);
}

/* Appends what `method` lists; the bytes it took. */
static size_t list(struct store *store, const char *method, uint8_t *bytes, size_t room)
{
    struct writer request = ask(method, 0);
    struct answer answer = call(store->client, &request);
    ck_answered(answer);
    ck_assert_uint_le(answer.result.length, room);
    memcpy(bytes, answer.result.data, answer.result.length);
    return answer.result.length;
}

/* All topics as topic.list answers them, then all groups, as bytes. */
static size_t list_all(struct store *store, uint8_t *bytes)
{
    size_t length = list(store, "topic.list", bytes, ANSWER_BYTES_MAX);
    return length + list(store, "group.list", bytes + length, ANSWER_BYTES_MAX - length);
}

static struct writer ask_put(const char *name, uint32_t queues)
{
    struct writer request = ask("topic.put", 2);
    writer_put_key_string(&request, "name", name);
    writer_put_key_uint(&request, "queues", queues);
    return request;
}

static struct writer ask_delete(const char *name)
{
    struct writer request = ask("topic.delete", 1);
    writer_put_key_string(&request, "name", name);
    return request;
}

/* A group of `topic`, with so many attempts. */
static struct writer ask_put_group(const char *name, const char *topic, uint32_t attempts)
{
    struct writer request = ask("group.put", 2);
    writer_put_key_string(&request, "name", name);
    writer_put_string(&request, "settings");
    writer_put_map(&request, 2);
    writer_put_key_uint(&request, "attempts", attempts);
    writer_put_string(&request, "topics");
    writer_put_map(&request, 1);
    writer_put_key_string(&request, topic, "paid || sent");
    return request;
}

static struct writer ask_delete_group(const char *name)
{
    struct writer request = ask("group.delete", 1);
    writer_put_key_string(&request, "name", name);
    return request;
}

static void post(struct store *store, struct writer request)
{
    (void)tell(store->client, &request);
}

static struct answer put(struct store *store, const char *name, uint32_t queues)
{
    struct writer request = ask_put(name, queues);
    return call(store->client, &request);
}

/* Asks where each queue stands; the topic must be whole in every shard. */
static void check_shown(struct store *store, struct bytes name, uint64_t queues)
{
    struct writer request = ask("topic.show", 1);
    writer_put_key_str(&request, "name", name);
    struct answer answer = call(store->client, &request);
    ck_answered(answer);
    struct cursor rows = value_of(answer.result, "queues");
    uint32_t count = 0;
    ck_assert(cursor_take_array(&rows, &count));
    ck_assert_uint_eq(count, queues);
}

/* The same of every topic of a topic.list. */
static void check_all_shown(struct store *store, struct bytes list)
{
    struct cursor rows = value_of(list, "rows");
    uint32_t count = 0;
    ck_assert(cursor_take_array(&rows, &count));
    for (uint32_t i = 0; i < count; i++) {
        struct bytes row;
        struct bytes name;
        ck_assert(cursor_take_span(&rows, &row));
        struct cursor cursor = value_of(row, "name");
        ck_assert(cursor_take_text(&cursor, &name));
        check_shown(store, name, number_of(row, "queues"));
    }
}

START_TEST(every_shard_that_has_a_queue_records_the_topic)
{
    struct store store;
    struct disk_image *image = disk_image_create(false);
    store_start(&store, image, 1);
    struct answer answer = put(&store, "wide", 6);
    ck_answered(answer);
    check_shown(&store, BYTES_OF("wide"), 6);
    for (uint32_t queue = 0; queue < 6; queue++) {
        struct writer request = ask("produce", 3);
        writer_put_key_string(&request, "topic", "wide");
        writer_put_key_uint(&request, "queue", queue);
        writer_put_string(&request, "messages");
        writer_put_array(&request, 1);
        writer_put_string(&request, "x");
        answer = call(store.client, &request);
        ck_answered(answer);
    }
    store_stop(&store);
    disk_image_destroy(image);
}
END_TEST

START_TEST(changes_of_one_name_are_decided_one_after_the_other)
{
    struct store store;
    struct disk_image *image = disk_image_create(false);
    store_start(&store, image, 2);
    /* Sent at once: put, grow, delete, put, delete, delete. */
    uint32_t first = request_msgid + 1;
    for (int i = 0; i < 6; i++) {
        struct writer request = i == 2 || i >= 4 ? ask_delete("t") : ask_put("t", i == 1 ? 4 : 2);
        (void)tell(store.client, &request);
    }
    static const char *const expected[] = {"", "", "", "", "", "TOPIC_NOT_FOUND"};
    uint64_t versions[6] = {0};
    for (int i = 0; i < 6; i++) {
        struct answer answer = take(store.client);
        uint32_t place = answer.msgid - first;
        ck_assert_uint_lt(place, 6);
        ck_refused(answer, expected[place]);
        versions[place] = answer.failed ? UINT64_MAX : number_of(answer.result, "version");
    }
    for (int i = 1; i < 6; i++) {
        ck_assert_uint_lt(versions[i - 1], versions[i]);
    }
    store_stop(&store);
    disk_image_destroy(image);
}
END_TEST

START_TEST(more_changes_than_may_be_under_way_are_refused)
{
    struct store store;
    struct disk_image *image = disk_image_create(false);
    store_start(&store, image, 3);
    struct client_simulated *clients[2] = {
        store.client,
        client_simulated_open(store.simulation, "second", &store.broker.address),
    };
    enum { EACH = 200 };
    for (int i = 0; i < EACH; i++) {
        for (int j = 0; j < 2; j++) {
            char name[32];
            (void)snprintf(name, sizeof(name), "t%d-%d", j, i);
            struct writer request = ask_put(name, 3);
            (void)tell(clients[j], &request);
        }
    }
    uint32_t made = 0;
    uint32_t refused = 0;
    for (int i = 0; i < 2 * EACH; i++) {
        struct answer answer = take(clients[i % 2]);
        if (answer.failed) {
            ck_refused(answer, "OVERLOADED");
            struct cursor cursor = cursor_over(answer.error);
            struct refusal refusal;
            uint64_t limit = 0;
            ck_assert(refusal_read(&cursor, &refusal));
            ck_assert(refusal_get(&refusal, REFUSAL_LIMIT, &limit));
            ck_assert_uint_eq(limit, 256);
            refused++;
        } else {
            made++;
        }
    }
    ck_assert_uint_ge(made, 256);
    ck_assert_uint_eq(made + refused, 2 * EACH);
    client_simulated_close(clients[1]);
    store_stop(&store);
    disk_image_destroy(image);
}
END_TEST

START_TEST(changes_of_one_group_wait_for_each_other_and_not_for_a_topic_of_its_name)
{
    struct store store;
    struct disk_image *image = disk_image_create(false);
    store_start(&store, image, 11);
    struct answer answer = put(&store, "same", 3);
    ck_answered(answer);
    uint32_t first = request_msgid + 1;
    post(&store, ask_put_group("same", "same", 1));
    post(&store, ask_put_group("same", "same", 2));
    post(&store, ask_delete_group("same"));
    post(&store, ask_delete_group("same"));
    post(&store, ask_put("same", 4));
    static const char *const expected[] = {"", "", "", "GROUP_NOT_FOUND", ""};
    uint64_t versions[5] = {0};
    for (int i = 0; i < 5; i++) {
        answer = take(store.client);
        uint32_t place = answer.msgid - first;
        ck_assert_uint_lt(place, 5);
        ck_refused(answer, expected[place]);
        versions[place] = answer.failed ? UINT64_MAX : number_of(answer.result, "version");
    }
    ck_assert_uint_lt(versions[0], versions[1]);
    ck_assert_uint_lt(versions[1], versions[2]);
    check_shown(&store, BYTES_OF("same"), 4);
    store_stop(&store);
    disk_image_destroy(image);
}
END_TEST

/* Fills the shard of queue `queue` of topic "filler" up. */
static void fill_shard(struct store *store, uint32_t queue)
{
    static uint8_t body[8 * 1024];
    for (int i = 0; i < 64; i++) {
        struct writer request = ask("produce", 3);
        writer_put_key_string(&request, "topic", "filler");
        writer_put_key_uint(&request, "queue", queue);
        writer_put_string(&request, "messages");
        writer_put_array(&request, 1);
        writer_put_bin(&request, bytes_make(body, i < 48 ? sizeof(body) : 64));
        struct answer answer = call(store->client, &request);
        if (answer.failed) {
            ck_refused(answer, "DISK_FULL");
        }
    }
}

/* The queue of a topic that lies in `shard`, by topic.show. */
static uint32_t queue_in_shard(struct store *store, const char *name, uint64_t shard)
{
    struct writer request = ask("topic.show", 1);
    writer_put_key_string(&request, "name", name);
    struct answer answer = call(store->client, &request);
    ck_answered(answer);
    struct cursor rows = value_of(answer.result, "queues");
    uint32_t count = 0;
    ck_assert(cursor_take_array(&rows, &count));
    for (uint32_t i = 0; i < count; i++) {
        struct bytes row;
        ck_assert(cursor_take_span(&rows, &row));
        if (number_of(row, "shard") == shard) {
            return i;
        }
    }
    ck_abort_msg("no queue in that shard");
    return 0;
}

/* A topic that shard 0 has recorded and shard 2, which is full, has not. */
static void owe_a_topic(struct store *store)
{
    struct answer answer = put(store, "filler", SHARDS);
    ck_answered(answer);
    uint32_t queue = queue_in_shard(store, "filler", 2);
    /* Whatever next segment was made ready is used up, too. */
    store->is_full = true;
    for (int i = 0; i < 16; i++) {
        fill_shard(store, queue);
    }
    answer = put(store, "owed", 1024);
    ck_refused(answer, "DISK_FULL");
}

START_TEST(a_shard_without_room_records_the_change_when_it_has_some)
{
    struct store store;
    struct disk_image *image = disk_image_create(false);
    store_start(&store, image, 4);
    owe_a_topic(&store);
    /* It is not there for anybody yet, and nobody may change it meanwhile. */
    struct writer request = ask("topic.show", 1);
    writer_put_key_string(&request, "name", "owed");
    struct answer answer = call(store.client, &request);
    ck_refused(answer, "TOPIC_NOT_FOUND");
    answer = put(&store, "owed", 1024);
    ck_refused(answer, "DISK_FULL");
    store.is_full = false;
    (void)simulation_run(store.simulation, 5000, NULL, NULL);
    check_shown(&store, BYTES_OF("owed"), 1024);
    answer = put(&store, "owed", 1024);
    ck_answered(answer);
    store_stop(&store);
    disk_image_destroy(image);
}
END_TEST

static uint32_t count_groups(struct store *store)
{
    struct writer request = ask("group.list", 1);
    writer_put_key_uint(&request, "limit", 10000);
    struct answer answer = call(store->client, &request);
    ck_answered(answer);
    struct cursor rows = value_of(answer.result, "rows");
    uint32_t count = 0;
    ck_assert(cursor_take_array(&rows, &count));
    return count;
}

START_TEST(a_group_waits_for_a_shard_without_room)
{
    struct store store;
    struct disk_image *image = disk_image_create(false);
    store_start(&store, image, 12);
    owe_a_topic(&store);
    /* The log has kept some room for operations: whatever is left of it is used up. */
    struct answer answer = {.failed = false};
    uint32_t groups = 0;
    while (!answer.failed) {
        char name[16];
        (void)snprintf(name, sizeof(name), "g%u", groups++);
        struct writer request = ask_put_group(name, "filler", 1);
        answer = call(store.client, &request);
        ck_assert_uint_lt(groups, 2000);
    }
    ck_refused(answer, "DISK_FULL");
    ck_assert_uint_eq(count_groups(&store), groups - 1);
    /* Shard 0 has it: it goes on by itself, and is there after a start. */
    store.is_full = false;
    (void)simulation_run(store.simulation, 5000, NULL, NULL);
    ck_assert_uint_eq(count_groups(&store), groups);
    store_stop(&store);
    store_start(&store, image, 13);
    ck_assert_uint_eq(count_groups(&store), groups);
    store_stop(&store);
    disk_image_destroy(image);
}
END_TEST

START_TEST(what_a_full_shard_has_missed_is_repaired_at_the_next_start)
{
    struct store store;
    struct disk_image *image = disk_image_create(false);
    store_start(&store, image, 5);
    owe_a_topic(&store);
    store_stop(&store);
    store_start(&store, image, 6);
    check_shown(&store, BYTES_OF("owed"), 1024);
    struct answer answer = put(&store, "owed", 1024);
    ck_answered(answer);
    store_stop(&store);
    disk_image_destroy(image);
}
END_TEST

START_TEST(a_broker_ends_in_order_at_any_moment_of_a_change_that_nobody_waits_for)
{
    struct store store;
    struct disk_image *image = disk_image_create(false);
    store_start(&store, image, 7);
    owe_a_topic(&store);
    store.is_full = false;
    (void)simulation_run(store.simulation, (uint64_t)_i * 50, NULL, NULL);
    store_stop(&store);
    store_start(&store, image, 8);
    check_shown(&store, BYTES_OF("owed"), 1024);
    store_stop(&store);
    disk_image_destroy(image);
}
END_TEST

START_TEST(a_failed_sync_ends_the_broker_and_nothing_more_is_answered)
{
    /* Its process ends here, with all that it has: nothing is given back. */
    static struct store store;
    static struct disk_image *image;
    image = disk_image_create(false);
    store_start(&store, image, 9);
    struct answer answer = put(&store, "before", 3);
    ck_answered(answer);
    store.is_broken = true;
    struct writer request = ask_put("after", 3);
    (void)tell(store.client, &request);
    ck_assert(!client_simulated_take(store.client, 2000, &answer));
    ck_assert_ptr_nonnull(store.broker.failed);
    ck_assert_ptr_null(strchr(store.broker.failed, '\n'));
}
END_TEST

/* ------------------------------------------------------------ power cuts */

/* What topic.list answers after each change, and how many events the disk had seen by then. */
struct past {
    uint32_t count;
    uint64_t events[CHANGES_MAX];
    size_t lengths[CHANGES_MAX];
    uint8_t lists[CHANGES_MAX][ANSWER_BYTES_MAX];
};

static void note(struct past *past, struct store *store)
{
    ck_assert_uint_lt(past->count, CHANGES_MAX);
    past->events[past->count] = disk_image_events(store->image);
    past->lengths[past->count] = list_all(store, past->lists[past->count]);
    past->count++;
}

static void change(struct past *past, struct store *store, struct writer request)
{
    struct answer answer = call(store->client, &request);
    ck_answered(answer);
    note(past, store);
}

static void make_past(struct past *past, struct disk_image *image)
{
    struct store store;
    store_start(&store, image, 8);
    note(past, &store);
    change(past, &store, ask_put("a", 3));
    change(past, &store, ask_put("b", 1));
    change(past, &store, ask_put("c", 2));
    change(past, &store, ask_put("a", 5));
    change(past, &store, ask_delete("b"));
    change(past, &store, ask_put("b", 4));
    change(past, &store, ask_delete("a"));
    change(past, &store, ask_put("a", 2));
    change(past, &store, ask_put("c", 9));
    change(past, &store, ask_put_group("g", "a", 3));
    change(past, &store, ask_put_group("g", "c", 4));
    change(past, &store, ask_put_group("h", "a", 1));
    change(past, &store, ask_delete_group("g"));
    change(past, &store, ask_put_group("g", "a", 5));
    change(past, &store, ask_delete("c"));
    store_stop(&store);
}

/* Starts from what a cut left: what was answered by then is there, and at most the change that was
 * under way beside it. A second start finds the same. */
static void check_cut(const struct past *past, struct disk_image *image, const struct disk_cut *cut)
{
    uint32_t answered = 0;
    while (answered + 1 < past->count && past->events[answered + 1] <= cut->events) {
        answered++;
    }
    struct disk_image *left = disk_image_cut(image, cut, false);
    uint8_t list[ANSWER_BYTES_MAX];
    uint8_t again[ANSWER_BYTES_MAX];
    struct store store;
    store_start(&store, left, 9);
    size_t length = list_all(&store, list);
    bool found = false;
    for (uint32_t i = answered; i < past->count && i <= answered + 1; i++) {
        found = found || (past->lengths[i] == length && memcmp(past->lists[i], list, length) == 0);
    }
    ck_assert_msg(found,
                  "cut at event %u, keep %d %u: not what there was after change %u or the next",
                  (unsigned)cut->events, (int)cut->keep, (unsigned)cut->number, answered);
    check_all_shown(&store, bytes_make(list, length));
    store_stop(&store);
    store_start(&store, left, 10);
    ck_assert_uint_eq(list_all(&store, again), length);
    ck_assert_mem_eq(again, list, length);
    struct answer answer = put(&store, "after", 6);
    ck_answered(answer);
    check_shown(&store, BYTES_OF("after"), 6);
    store_stop(&store);
    disk_image_destroy(left);
}

START_TEST(a_power_cut_leaves_every_change_whole_or_none_of_it)
{
    struct past *past = calloc(1, sizeof(*past));
    struct disk_image *image = disk_image_create(true);
    make_past(past, image);
    uint64_t events = disk_image_events(image);
    ck_assert_uint_gt(events, 50);
    /* Every fourth moment in each of the four loops. */
    for (uint64_t at = (uint64_t)_i; at <= events; at += 4) {
        check_cut(past, image, &(struct disk_cut){at, DISK_KEEP_NONE, 0});
        check_cut(past, image, &(struct disk_cut){at, DISK_KEEP_ALL, 0});
        for (uint64_t seed = 0; seed < SUBSETS; seed++) {
            check_cut(past, image, &(struct disk_cut){at, DISK_KEEP_SUBSET, seed});
        }
    }
    disk_image_destroy(image);
    free(past);
}
END_TEST

static Suite *catalogue_change_suite(void)
{
    Suite *suite = suite_create("catalogue_change");
    TCase *cases = tcase_create("catalogue_change");
    tcase_add_test(cases, every_shard_that_has_a_queue_records_the_topic);
    tcase_add_test(cases, changes_of_one_name_are_decided_one_after_the_other);
    tcase_add_test(cases, more_changes_than_may_be_under_way_are_refused);
    tcase_add_test(cases, a_shard_without_room_records_the_change_when_it_has_some);
    tcase_add_test(cases, changes_of_one_group_wait_for_each_other_and_not_for_a_topic_of_its_name);
    tcase_add_test(cases, a_group_waits_for_a_shard_without_room);
    tcase_add_test(cases, what_a_full_shard_has_missed_is_repaired_at_the_next_start);
    tcase_add_test(cases, a_failed_sync_ends_the_broker_and_nothing_more_is_answered);
    tcase_add_loop_test(
        cases, a_broker_ends_in_order_at_any_moment_of_a_change_that_nobody_waits_for, 0, 60);
    tcase_add_loop_test(cases, a_power_cut_leaves_every_change_whole_or_none_of_it, 0, 4);
    suite_add_tcase(suite, cases);
    return suite;
}

TEST_MAIN(catalogue_change_suite)
