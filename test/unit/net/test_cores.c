/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests of two cores that share the work of a connection, as the broker's do: one accepts and hands
 * the socket over; frames go by reference to the other core, which reads and drops them there; the
 * answer comes back over the ring. Run under ThreadSanitizer, too.
 */

#include "net/buffer.h"
#include "net/connection.h"
#include "net/core_ring.h"
#include "net/reactor.h"
#include "proto/base/contract.h"
#include "test/lib/check_main.h"
#include "test/unit/net/net_world.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    ACCEPTOR,
    SERVER,
    CORES,
    CLIENTS = 8,
    FRAMES = 400,
    FRAME_BYTES = 2000,
    ANSWER_BYTES = 16,
    /* So few that receiving has to wait for buffers from the other core. */
    BUFFERS_BYTES = 4 * BUFFER_BYTES
};

struct core {
    struct reactor *reactor;
    pthread_t thread;
};

struct session {
    struct connection connection;
    bool is_used;
};

static struct core cores[CORES];
static struct core_mesh *mesh;
static struct accept_op accept_op;
static struct address address;
static int listener;
static struct session sessions[CLIENTS];
static int sessions_closed;

/* The answer to frame n is [2, n, [sum]]; it is sent when the sum has come back. */
static void answer(const struct core_message *message, void *context)
{
    (void)context;
    struct session *session = message->object;
    uint8_t *to = connection_reserve(&session->connection, ANSWER_BYTES);
    const uint8_t head[] = {0x93, 0x02, 0xa1, 'a', 0x91, 0xcf};
    memcpy(to, head, sizeof(head));
    store_u64(to + sizeof(head), message->words[0]);
    connection_commit(&session->connection, sizeof(head) + sizeof(uint64_t));
}

static uint64_t sum_of(const uint8_t *bytes, size_t length)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < length; i++) {
        sum = sum * 31 + bytes[i];
    }
    return sum;
}

/* On the other core: the reference is dropped where the bytes were read. */
static void work(const struct core_message *message, void *context)
{
    (void)context;
    struct buffer *buffer = (struct buffer *)(uintptr_t)message->words[2];
    const uint8_t *bytes = (const uint8_t *)(uintptr_t)message->words[0];
    struct core_message back = {.deliver = answer,
                                .object = message->object,
                                .words = {sum_of(bytes, (size_t)message->words[1])}};
    buffer_unref(buffer);
    core_send(mesh, ACCEPTOR, SERVER, &back);
}

static void on_frame(struct connection *connection, struct bytes frame, struct buffer *buffer)
{
    buffer_ref(buffer);
    struct core_message message = {
        .deliver = work,
        .object = CONTAINER_OF(connection, struct session, connection),
        .words = {(uintptr_t)frame.data, frame.length, (uintptr_t)buffer}};
    core_send(mesh, SERVER, ACCEPTOR, &message);
}

static void on_closed(struct connection *connection, enum connection_end end, int error)
{
    (void)connection;
    (void)error;
    ASSERT(end == CONNECTION_END_PEER);
    sessions_closed++;
    if (sessions_closed == CLIENTS) {
        reactor_stop(cores[SERVER].reactor);
    }
}

static const struct connection_events events = {.frame = on_frame, .closed = on_closed};

static void take_socket(const struct core_message *message, void *context)
{
    (void)context;
    for (int i = 0; i < CLIENTS; i++) {
        struct session *session = &sessions[i];
        if (!session->is_used) {
            session->is_used = true;
            session->connection.events = &events;
            session->connection.frame_bytes_max = 1 << 20;
            connection_open(&session->connection, cores[SERVER].reactor, (int)message->words[0]);
            return;
        }
    }
    UNREACHABLE("no more clients than sessions");
}

static void accepted(struct accept_op *accept, int socket)
{
    (void)accept;
    struct core_message message = {.deliver = take_socket, .words = {(uint64_t)socket}};
    core_send(mesh, ACCEPTOR, SERVER, &message);
}

static void accept_done(struct op *op, int64_t result)
{
    (void)op;
    (void)result;
    reactor_stop(cores[ACCEPTOR].reactor);
}

static void *run_core(void *context)
{
    reactor_run(((struct core *)context)->reactor);
    return NULL;
}

/* -------------------------------------------------------------- the clients */

struct client {
    pthread_t thread;
    unsigned seed;
    uint64_t sums[FRAMES];
    int sock;
};

static size_t make_frame(uint8_t *to, unsigned seed, unsigned number)
{
    const uint8_t head[] = {0x93, 0x02, 0xa1, 'x', 0x91, 0xc5};
    size_t body_bytes = 1 + (seed * 7 + number * 31) % (FRAME_BYTES - 20);
    memcpy(to, head, sizeof(head));
    store_u16(to + sizeof(head), (uint16_t)body_bytes);
    size_t at = sizeof(head) + sizeof(uint16_t);
    for (size_t i = 0; i < body_bytes; i++) {
        to[at + i] = (uint8_t)(seed + number * 13 + i);
    }
    return at + body_bytes;
}

static void *send_all(void *context)
{
    struct client *client = context;
    uint8_t frame[FRAME_BYTES];
    for (unsigned i = 0; i < FRAMES; i++) {
        size_t length = make_frame(frame, client->seed, i);
        client->sums[i] = sum_of(frame, length);
        ssize_t sent = send(client->sock, frame, length, MSG_NOSIGNAL);
        ASSERT(sent == (ssize_t)length);
    }
    return NULL;
}

static void expect_answers(struct client *client)
{
    enum { ANSWER_LENGTH = 14 };
    uint8_t bytes[ANSWER_LENGTH];
    for (unsigned i = 0; i < FRAMES; i++) {
        ck_assert_int_eq(recv(client->sock, bytes, ANSWER_LENGTH, MSG_WAITALL), ANSWER_LENGTH);
        ck_assert_uint_eq(load_u64(bytes + 6), client->sums[i]);
    }
}

/* On the acceptor's thread: nobody else may have completions of its reactor. */
static void end_accepting(struct op *op, int64_t result)
{
    (void)op;
    (void)result;
    reactor_cancel(cores[ACCEPTOR].reactor, &accept_op.op);
}

START_TEST(sockets_frames_and_answers_cross_cores)
{
    struct reactor *reactors[CORES];
    void *contexts[CORES] = {NULL, NULL};
    for (int i = 0; i < CORES; i++) {
        reactors[i] = cores[i].reactor = net_world_reactor(_i, BUFFERS_BYTES);
    }
    mesh = core_mesh_create(reactors, contexts, CORES);
    address = net_world_address("127.0.0.1:0");
    listener = reactor_listen(reactors[ACCEPTOR], &address, &address);
    accept_op.accepted = accepted;
    accept_op.op.done = accept_done;
    reactor_accept(reactors[ACCEPTOR], &accept_op, listener);
    for (int i = 0; i < CORES; i++) {
        ck_assert_int_eq(pthread_create(&cores[i].thread, NULL, run_core, &cores[i]), 0);
    }

    static struct client clients[CLIENTS];
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i].seed = i;
        clients[i].sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const struct sockaddr *at = (const struct sockaddr *)&address.socket;
        ck_assert_int_eq(connect(clients[i].sock, at, address.length), 0);
        ck_assert_int_eq(pthread_create(&clients[i].thread, NULL, send_all, &clients[i]), 0);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        ck_assert_int_eq(pthread_join(clients[i].thread, NULL), 0);
        expect_answers(&clients[i]);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        (void)close(clients[i].sock);
    }

    ck_assert_int_eq(pthread_join(cores[SERVER].thread, NULL), 0);
    struct op end = {.done = end_accepting};
    reactor_post(cores[ACCEPTOR].reactor, &end, 0);
    ck_assert_int_eq(pthread_join(cores[ACCEPTOR].thread, NULL), 0);
    ck_assert_uint_le(buffer_pool_bytes_peak(reactor_buffers(reactors[SERVER])), BUFFERS_BYTES);
    reactor_close(reactors[ACCEPTOR], listener);
    core_mesh_destroy(mesh);
    for (int i = 0; i < CORES; i++) {
        reactor_destroy(reactors[i]);
    }
}
END_TEST

static Suite *cores_suite(void)
{
    Suite *suite = suite_create("net/cores");
    TCase *handing = tcase_create("handing over");

    tcase_add_loop_test(handing, sockets_frames_and_answers_cross_cores, 0, NET_WORLD_KERNEL_KINDS);
    suite_add_tcase(suite, handing);
    return suite;
}

TEST_MAIN(cores_suite)
