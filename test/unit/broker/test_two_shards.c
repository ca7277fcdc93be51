/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_two_shards.c - a broker of two shards with real threads, sockets and files, and clients that hit
 * both at once. It is run under ThreadSanitizer, too.
 */
#include "broker/broker.h"
#include "net/reactor.h"
#include "proto/base/log.h"
#include "proto/framer.h"
#include "proto/limits.h"
#include "proto/request.h"
#include "storage/disk.h"
#include "test/lib/check_main.h"
#include "test/unit/net/net_world.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CORES = 2, CLIENTS = 4, ROUNDS = 40, QUEUES = 2, ROOM_BYTES = 64 * 1024 };

/* ---------------------------------------------------------------- broker */

struct real_broker {
    struct disk *disk;
    struct reactor *reactors[CORES];
    pthread_t threads[CORES];
    struct broker *broker;
    struct address address;
    struct op stop;
    _Atomic bool has_failed;
};

static void note_failed(void *owner, const char *what)
{
    (void)what;
    atomic_store(&((struct real_broker *)owner)->has_failed, true);
}

static void stopped(void *owner)
{
    struct real_broker *real = owner;
    for (int i = 0; i < CORES; i++) {
        reactor_stop(real->reactors[i]);
    }
}

static void stop_posted(struct op *op, int64_t result)
{
    (void)result;
    struct real_broker *real = CONTAINER_OF(op, struct real_broker, stop);
    broker_stop(real->broker, stopped, real);
}

static void *run_reactor(void *reactor)
{
    reactor_run(reactor);
    return NULL;
}

static void start_broker(struct real_broker *real, int kind, const char *store)
{
    char error[512];
    log_set_level(LOG_LEVEL_ERROR);
    *real = (struct real_broker){.stop = {.done = stop_posted}};
    ck_assert_msg(disk_open(&real->disk, store, error, sizeof(error)), "%s", error);
    for (int i = 0; i < CORES; i++) {
        real->reactors[i] = net_world_reactor(kind, 64U << 20);
    }
    struct address listener;
    ck_assert_msg(address_parse("127.0.0.1:0", 0, &listener, error, sizeof(error)), "%s", error);
    const struct broker_options options = {
        .name = "broker-a",
        .listeners = &listener,
        .listener_count = 1,
        .disk = real->disk,
        .reactors = real->reactors,
        .core_count = CORES,
        .shard_count = CORES,
        .durability = DURABILITY_DISK,
        .segment_bytes = 1U << 20,
        .connections_max = 100,
        .recover_in_parallel = true,
        .failed = note_failed,
        .owner = real,
    };
    ck_assert_msg(broker_create(&real->broker, &options, error, sizeof(error)), "%s", error);
    ck_assert_msg(broker_start(real->broker, error, sizeof(error)), "%s", error);
    const char *address = broker_address(real->broker);
    ck_assert_msg(address_parse(address, 0, &real->address, error, sizeof(error)), "%s", error);
    for (int i = 0; i < CORES; i++) {
        int made = pthread_create(&real->threads[i], NULL, run_reactor, real->reactors[i]);
        ck_assert_int_eq(made, 0);
    }
}

static void stop_broker(struct real_broker *real)
{
    reactor_post(real->reactors[0], &real->stop, 0);
    for (int i = 0; i < CORES; i++) {
        (void)pthread_join(real->threads[i], NULL);
    }
    ck_assert(!atomic_load(&real->has_failed));
    broker_destroy(real->broker);
    disk_close(real->disk);
    for (int i = 0; i < CORES; i++) {
        reactor_destroy(real->reactors[i]);
    }
}

/* ---------------------------------------------------------------- client */

/* A blocking socket with one request at a time. */
struct blocking_client {
    int socket;
    uint32_t msgid;
    uint8_t request[ROOM_BYTES];
    uint8_t frame[ROOM_BYTES];
    struct answer answer;
};

static void client_connect(struct blocking_client *client, const struct address *address)
{
    client->msgid = 0;
    client->socket = socket(address->socket.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(client->socket, 0);
    ck_assert_int_eq(
        connect(client->socket, (const struct sockaddr *)&address->socket, address->length), 0);
}

static struct writer ask(struct blocking_client *client, const char *method, uint32_t arguments)
{
    struct writer writer = writer_over(client->request, sizeof(client->request));
    request_begin(&writer, ++client->msgid, method, arguments);
    return writer;
}

/* Sends and waits for the answer, which must be no refusal; its result. */
static struct bytes call(struct blocking_client *client, const struct writer *writer)
{
    ck_assert(!writer->overflowed);
    ssize_t sent = send(client->socket, writer->start, writer_length(writer), MSG_NOSIGNAL);
    ck_assert_int_eq(sent, (ssize_t)writer_length(writer));
    struct framer framer;
    framer_init(&framer);
    size_t used = 0;
    size_t length = 0;
    enum framer_result result = FRAMER_MORE;
    while (result == FRAMER_MORE) {
        ck_assert_uint_lt(used, sizeof(client->frame));
        ssize_t got = recv(client->socket, client->frame + used, sizeof(client->frame) - used, 0);
        ck_assert_int_gt(got, 0);
        used += (size_t)got;
        result = framer_feed(&framer, client->frame, used, &length);
    }
    ck_assert_int_eq(result, FRAMER_WHOLE);
    ck_assert_uint_eq(length, used);
    ck_assert_int_eq(answer_read(bytes_make(client->frame, length), &client->answer), OK);
    ck_assert_uint_eq(client->answer.msgid, client->msgid);
    struct cursor error = cursor_over(client->answer.error);
    struct refusal refusal = {.message = ""};
    if (client->answer.failed) {
        ck_assert(refusal_read(&error, &refusal));
    }
    ck_assert_msg(!client->answer.failed, "%s", refusal.message);
    return client->answer.result;
}

static uint64_t number_of(struct bytes map, const char *key)
{
    struct cursor cursor = cursor_over(map);
    uint32_t pairs = 0;
    uint64_t value = UINT64_MAX;
    ck_assert(cursor_take_map(&cursor, &pairs));
    for (uint32_t i = 0; i < pairs; i++) {
        struct bytes name;
        ck_assert(cursor_take_text(&cursor, &name));
        if (bytes_equal(name, bytes_from_string(key))) {
            ck_assert(cursor_take_uint(&cursor, &value));
        } else {
            ck_assert(cursor_skip(&cursor));
        }
    }
    ck_assert_uint_ne(value, UINT64_MAX);
    return value;
}

static void put_topic(struct blocking_client *client, const char *name, uint32_t queues)
{
    struct writer writer = ask(client, "topic.put", 2);
    writer_put_key_string(&writer, "name", name);
    writer_put_key_uint(&writer, "queues", queues);
    (void)call(client, &writer);
}

static void delete_topic(struct blocking_client *client, const char *name)
{
    struct writer writer = ask(client, "topic.delete", 1);
    writer_put_key_string(&writer, "name", name);
    (void)call(client, &writer);
}

static uint64_t produce(struct blocking_client *client, const char *topic, uint32_t queue)
{
    struct writer writer = ask(client, "produce", 3);
    writer_put_key_string(&writer, "topic", topic);
    writer_put_key_uint(&writer, "queue", queue);
    writer_put_string(&writer, "messages");
    writer_put_array(&writer, 3);
    for (int i = 0; i < 3; i++) {
        writer_put_bin(&writer, BYTES_OF("a body that is long enough to look at"));
    }
    return number_of(call(client, &writer), "offset");
}

/* Pulls from `offset` and gives what `key` of the answer says. */
static uint64_t pull(struct blocking_client *client, uint32_t queue, uint64_t offset,
                     const char *key)
{
    struct writer writer = ask(client, "pull", 4);
    writer_put_key_string(&writer, "topic", "shared");
    writer_put_key_uint(&writer, "queue", queue);
    writer_put_key_uint(&writer, "offset", offset);
    writer_put_key_uint(&writer, "max", 20);
    return number_of(call(client, &writer), key);
}

/* What one client's thread does. */
struct work {
    const struct address *address;
    int number;
    pthread_t thread;
};

static void *work_run(void *argument)
{
    const struct work *work = argument;
    struct blocking_client *client = calloc(1, sizeof(*client));
    ck_assert_ptr_nonnull(client);
    client_connect(client, work->address);
    char own[32];
    (void)snprintf(own, sizeof(own), "own-%d", work->number);
    uint64_t last[QUEUES] = {0};
    for (int round = 0; round < ROUNDS; round++) {
        put_topic(client, own, 2);
        for (uint32_t queue = 0; queue < QUEUES; queue++) {
            uint64_t offset = produce(client, "shared", queue);
            ck_assert(round == 0 || offset > last[queue]);
            last[queue] = offset;
            (void)produce(client, own, queue);
            ck_assert_uint_eq(pull(client, queue, offset, "first"), offset);
        }
        struct writer writer = ask(client, round % 2 == 0 ? "stats" : "topic.list", 0);
        (void)call(client, &writer);
        delete_topic(client, own);
    }
    (void)close(client->socket);
    free(client);
    return NULL;
}

/* ----------------------------------------------------------------- tests */

START_TEST(clients_of_two_cores_use_two_shards_at_once)
{
    char store[] = "/tmp/ternmq-two-shards-XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(store));
    struct real_broker real;
    start_broker(&real, _i, store);
    static struct blocking_client admin;
    client_connect(&admin, &real.address);
    put_topic(&admin, "shared", QUEUES);

    struct work works[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        works[i] = (struct work){.address = &real.address, .number = i};
        ck_assert_int_eq(pthread_create(&works[i].thread, NULL, work_run, &works[i]), 0);
    }
    for (int i = 0; i < CLIENTS; i++) {
        (void)pthread_join(works[i].thread, NULL);
    }
    for (uint32_t queue = 0; queue < QUEUES; queue++) {
        ck_assert_uint_eq(pull(&admin, queue, 0, "end"), CLIENTS * ROUNDS * 3);
    }
    (void)close(admin.socket);
    stop_broker(&real);

    /* Both shards are found again, each by a thread of its own. */
    start_broker(&real, _i, store);
    ck_assert_uint_eq(broker_epoch(real.broker), 2);
    client_connect(&admin, &real.address);
    for (uint32_t queue = 0; queue < QUEUES; queue++) {
        ck_assert_uint_eq(pull(&admin, queue, 0, "end"), CLIENTS * ROUNDS * 3);
    }
    (void)close(admin.socket);
    stop_broker(&real);

    char command[128];
    (void)snprintf(command, sizeof(command), "rm -rf %s", store);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

static Suite *two_shards_suite(void)
{
    Suite *suite = suite_create("two_shards");
    TCase *cases = tcase_create("two_shards");
    tcase_add_loop_test(cases, clients_of_two_cores_use_two_shards_at_once, 0,
                        NET_WORLD_KERNEL_KINDS);
    suite_add_tcase(suite, cases);
    return suite;
}

TEST_MAIN(two_shards_suite)
