/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests of net/simulation.h: the same seed is the same history; time passes only in events; links
 * that are cut, processes that are killed and connections that are reset end as real ones do.
 */

#include "net/connection.h"
#include "net/core_ring.h"
#include "net/reactor.h"
#include "net/simulation.h"
#include "proto/base/random.h"
#include "test/lib/check_main.h"
#include "test/unit/net/net_world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { CLIENTS = 4, PEERS_MAX = 64, CALLS = 50 };

static const struct simulation_options QUIET = {.seed = 1,
                                                .wall_ms = 1700000000000,
                                                .delay_ns_least = 10000,
                                                .delay_ns_most = 2000000,
                                                .window_bytes = 4096};

/* A client that calls, and calls again when it is answered; a server that echoes. */
struct peer {
    struct connection connection;
    struct connect_op connect;
    struct timer again;
    struct reactor *reactor;
    size_t calls;
    size_t answers;
    int resets;
    int time_outs;
    bool is_open;
    bool is_closed;
    bool stays; /* does not connect again */
    enum connection_end how;
    int error;
};

static struct simulation *simulation;
static struct address address;
static struct reactor *server;
static struct reactor *client;
static struct accept_op accept_op;
static struct peer accepted_peers[PEERS_MAX];
static int accepted_count;
static struct peer clients[CLIENTS];
static int listener;

static void echo(struct connection *connection, struct bytes frame, struct buffer *buffer)
{
    (void)buffer;
    connection_write(connection, frame.data, frame.length);
}

static void note_closed(struct connection *connection, enum connection_end how, int error)
{
    struct peer *peer = CONTAINER_OF(connection, struct peer, connection);
    peer->is_closed = true;
    peer->how = how;
    peer->error = error;
}

static const struct connection_events server_events = {.frame = echo, .closed = note_closed};

static void accepted(struct accept_op *accept, int socket)
{
    (void)accept;
    ck_assert_int_lt(accepted_count, PEERS_MAX);
    struct peer *peer = &accepted_peers[accepted_count++];
    peer->connection.events = &server_events;
    peer->connection.frame_bytes_max = 1 << 20;
    connection_open(&peer->connection, server, socket);
}

static void ignore_done(struct op *op, int64_t result)
{
    (void)op;
    (void)result;
}

static void serve(void)
{
    address = net_world_address("10.0.0.1:9876");
    listener = reactor_listen(server, &address, &address);
    ck_assert_int_ge(listener, 0);
    accept_op.accepted = accepted;
    accept_op.op.done = ignore_done;
    reactor_accept(server, &accept_op, listener);
}

static void call(struct peer *peer)
{
    uint8_t frame[3000] = {0x93, 0x02, 0xa1, 'x', 0x91, 0xc5};
    size_t body_bytes = reactor_random(peer->reactor) % 2900;
    frame[6] = (uint8_t)(body_bytes >> 8);
    frame[7] = (uint8_t)body_bytes;
    memset(frame + 8, (int)peer->calls, body_bytes);
    peer->calls++;
    connection_write(&peer->connection, frame, 8 + body_bytes);
}

static void answered(struct connection *connection, struct bytes frame, struct buffer *buffer)
{
    (void)buffer;
    struct peer *peer = CONTAINER_OF(connection, struct peer, connection);
    ck_assert_uint_ge(frame.length, 8);
    peer->answers++;
    if (peer->answers < CALLS) {
        call(peer);
    }
}

static void connect_again(struct timer *timer);

static void client_closed(struct connection *connection, enum connection_end how, int error)
{
    note_closed(connection, how, error);
    struct peer *peer = CONTAINER_OF(connection, struct peer, connection);
    peer->is_open = false;
    peer->resets += error == ECONNRESET;
    peer->time_outs += error == ETIMEDOUT;
    if (!peer->stays) {
        timer_start(peer->reactor, &peer->again, reactor_now_ns(peer->reactor) + 5000000);
    }
}

static const struct connection_events client_events = {.frame = answered, .closed = client_closed};

static void connected(struct op *op, int64_t result)
{
    struct peer *peer = CONTAINER_OF(op, struct peer, connect.op);
    if (result < 0) {
        peer->error = (int)-result;
        if (!peer->stays) {
            timer_start(peer->reactor, &peer->again, reactor_now_ns(peer->reactor) + 5000000);
        }
        return;
    }
    memset(&peer->connection, 0, sizeof(peer->connection));
    peer->connection.events = &client_events;
    peer->connection.frame_bytes_max = 1 << 20;
    peer->is_open = true;
    peer->is_closed = false;
    connection_open(&peer->connection, peer->reactor, (int)result);
    call(peer);
}

static void connect_again(struct timer *timer)
{
    struct peer *peer = CONTAINER_OF(timer, struct peer, again);
    peer->connect.op.done = connected;
    reactor_connect(peer->reactor, &peer->connect, &address, 1000);
}

static void begin(const struct simulation_options *options)
{
    simulation = simulation_create(options);
    server = reactor_create_simulated(simulation, "server");
    client = reactor_create_simulated(simulation, "client");
    accepted_count = 0;
    memset(accepted_peers, 0, sizeof(accepted_peers));
    memset(clients, 0, sizeof(clients));
    memset(&accept_op, 0, sizeof(accept_op));
    for (int i = 0; i < CLIENTS; i++) {
        clients[i].reactor = client;
        clients[i].again.fired = connect_again;
    }
}

/* A simulated process needs no orderly end: that is what a kill is for. */
static void end(void)
{
    simulation_kill(simulation, server);
    simulation_kill(simulation, client);
    reactor_destroy(server);
    reactor_destroy(client);
    simulation_destroy(simulation);
}

static bool all_have_answers(void *context)
{
    (void)context;
    for (int i = 0; i < CLIENTS; i++) {
        if (clients[i].answers < CALLS) {
            return false;
        }
    }
    return true;
}

static bool first_is_open(void *context)
{
    (void)context;
    return clients[0].is_open && clients[0].answers > 0;
}

static bool first_has_failed(void *context)
{
    (void)context;
    return clients[0].error != 0;
}

static bool first_is_closed(void *context)
{
    (void)context;
    return clients[0].is_closed;
}

/* ---------------------------------------------------------------- histories */

static uint64_t history_of(uint64_t seed, uint32_t reset_per_million, int *resets_out)
{
    struct simulation_options options = QUIET;
    options.seed = seed;
    options.reset_per_million = reset_per_million;
    begin(&options);
    serve();
    for (int i = 0; i < CLIENTS; i++) {
        timer_start(client, &clients[i].again, reactor_now_ns(client));
    }
    ck_assert(simulation_run(simulation, 600000, all_have_answers, NULL));
    *resets_out = 0;
    for (int i = 0; i < CLIENTS; i++) {
        *resets_out += clients[i].resets;
    }
    uint64_t hash = simulation_hash(simulation);
    end();
    return hash;
}

START_TEST(the_same_seed_is_the_same_history)
{
    int resets;
    uint64_t seed = 100 + (uint64_t)_i;
    uint64_t first = history_of(seed, 3000, &resets);
    int resets_first = resets;

    ck_assert_uint_eq(history_of(seed, 3000, &resets), first);
    ck_assert_int_eq(resets, resets_first);
}
END_TEST

START_TEST(different_seeds_are_different_histories)
{
    int resets;
    uint64_t seen[20];
    for (int i = 0; i < 20; i++) {
        seen[i] = history_of((uint64_t)i, 0, &resets);
        ck_assert_int_eq(resets, 0);
        for (int j = 0; j < i; j++) {
            ck_assert_uint_ne(seen[i], seen[j]);
        }
    }
}
END_TEST

START_TEST(connections_are_reset_as_often_as_was_asked_and_work_goes_on)
{
    int resets = 0;
    for (uint64_t seed = 0; seed < 5 && resets == 0; seed++) {
        (void)history_of(seed, 10000, &resets);
    }
    ck_assert_int_gt(resets, 0);
}
END_TEST

START_TEST(a_note_is_part_of_the_history)
{
    begin(&QUIET);
    uint64_t before = simulation_hash(simulation);
    simulation_note(simulation, 7);
    ck_assert_uint_ne(simulation_hash(simulation), before);
    end();
}
END_TEST

/* --------------------------------------------------------------------- time */

static uint64_t happened_ns;

static void note_moment(void *context)
{
    (void)context;
    happened_ns = simulation_now_ns(simulation);
}

START_TEST(what_is_planned_for_a_moment_happens_at_that_moment)
{
    begin(&QUIET);
    uint64_t at_ns = simulation_now_ns(simulation) + UINT64_C(3600000000000);
    simulation_at(simulation, at_ns, note_moment, NULL);

    simulation_run(simulation, 3599000, NULL, NULL);
    ck_assert_uint_eq(happened_ns, 0);
    simulation_run(simulation, 2000, NULL, NULL);

    ck_assert_uint_eq(happened_ns, at_ns);
    ck_assert_uint_eq(simulation_now_ns(simulation), at_ns + 1000000000);
    end();
}
END_TEST

START_TEST(a_world_without_work_comes_to_rest)
{
    begin(&QUIET);
    int steps = 0;
    while (simulation_step(simulation)) {
        ck_assert_int_lt(++steps, 100);
    }
    ck_assert(!simulation_step(simulation));
    end();
}
END_TEST

START_TEST(the_wall_clock_moves_with_the_simulated_one)
{
    begin(&QUIET);
    uint64_t before_ms = reactor_wall_ms(server);
    ck_assert_uint_ge(before_ms, QUIET.wall_ms);
    simulation_run(simulation, 5000, NULL, NULL);
    reactor_again(server);
    (void)simulation_step(simulation);
    ck_assert_uint_eq(reactor_wall_ms(server) - before_ms, 5000);
    end();
}
END_TEST

/* ------------------------------------------------------------------- faults */

START_TEST(a_killed_server_resets_its_clients_and_runs_nothing_any_more)
{
    begin(&QUIET);
    serve();
    clients[0].stays = true;
    timer_start(client, &clients[0].again, reactor_now_ns(client));
    ck_assert(simulation_run(simulation, 10000, first_is_open, NULL));

    simulation_kill(simulation, server);
    uint64_t turns = reactor_counters(server)->turns;
    ck_assert(simulation_run(simulation, 10000, first_is_closed, NULL));

    ck_assert_int_eq(clients[0].error, ECONNRESET);
    ck_assert_uint_eq(reactor_counters(server)->turns, turns);
    ck_assert(!accepted_peers[0].is_closed);
    end();
}
END_TEST

START_TEST(a_killed_servers_address_is_free_for_its_successor)
{
    begin(&QUIET);
    serve();
    timer_start(client, &clients[0].again, reactor_now_ns(client));
    ck_assert(simulation_run(simulation, 10000, first_is_open, NULL));
    simulation_kill(simulation, server);
    reactor_destroy(server);

    server = reactor_create_simulated(simulation, "server");
    memset(&accept_op, 0, sizeof(accept_op));
    serve();
    clients[0].answers = 0;
    clients[0].is_open = false;
    ck_assert(simulation_run(simulation, 10000, first_is_open, NULL));
    end();
}
END_TEST

START_TEST(a_connect_to_a_killed_server_is_refused)
{
    begin(&QUIET);
    serve();
    simulation_kill(simulation, server);
    clients[0].stays = true;
    timer_start(client, &clients[0].again, reactor_now_ns(client));

    ck_assert(simulation_run(simulation, 10000, first_has_failed, NULL));

    ck_assert_int_eq(clients[0].error, ECONNREFUSED);
    end();
}
END_TEST

START_TEST(a_cut_link_times_connections_out_and_a_healed_one_serves_again)
{
    begin(&QUIET);
    serve();
    timer_start(client, &clients[0].again, reactor_now_ns(client));
    ck_assert(simulation_run(simulation, 10000, first_is_open, NULL));
    clients[0].is_open = false;

    simulation_link(simulation, "client", "server", false);
    size_t answers = clients[0].answers;
    simulation_run(simulation, 20000, NULL, NULL);
    ck_assert(!clients[0].is_closed);
    ck_assert_uint_le(clients[0].answers, answers + 1); /* the one that had arrived */
    ck_assert(simulation_run(simulation, 60000, first_is_closed, NULL));
    ck_assert_int_eq(clients[0].time_outs, 1);
    simulation_run(simulation, 60000, NULL, NULL);
    ck_assert_int_eq(clients[0].error, ETIMEDOUT); /* of the connects that followed */
    ck_assert(!clients[0].is_open);

    simulation_link(simulation, "server", "client", true);
    clients[0].answers = 0;
    ck_assert(simulation_run(simulation, 10000, first_is_open, NULL));
    end();
}
END_TEST

static void kill_server_in_its_turn(struct timer *timer)
{
    (void)timer;
    simulation_kill(simulation, server);
}

START_TEST(a_process_can_be_killed_in_the_middle_of_its_turn)
{
    begin(&QUIET);
    serve();
    clients[0].stays = true;
    timer_start(client, &clients[0].again, reactor_now_ns(client));
    ck_assert(simulation_run(simulation, 10000, first_is_open, NULL));
    struct timer timer = {.fired = kill_server_in_its_turn};
    timer_start(server, &timer, simulation_now_ns(simulation) + 700000);

    ck_assert(simulation_run(simulation, 10000, first_is_closed, NULL));

    ck_assert_int_eq(clients[0].error, ECONNRESET);
    end();
}
END_TEST

/* --------------------------------------------------------------------- cores */

static uint64_t delivered;

static void deliver(const struct core_message *message, void *core)
{
    (void)core;
    ck_assert_uint_eq(message->words[0], delivered);
    delivered++;
}

static bool all_are_delivered(void *context)
{
    (void)context;
    return delivered == 1000;
}

START_TEST(rings_work_between_the_cores_of_a_simulated_process)
{
    begin(&QUIET);
    struct reactor *reactors[] = {server, client};
    void *cores[] = {NULL, NULL};
    struct core_mesh *mesh = core_mesh_create(reactors, cores, 2);
    delivered = 0;
    for (uint64_t i = 0; i < 1000; i++) {
        struct core_message message = {.deliver = deliver, .words = {i}};
        core_send(mesh, 0, 1, &message);
    }

    ck_assert(simulation_run(simulation, 1000, all_are_delivered, NULL));

    core_mesh_destroy(mesh);
    end();
}
END_TEST

START_TEST(an_accepted_socket_can_be_given_to_another_core)
{
    begin(&QUIET);
    struct reactor *acceptor = server;
    struct reactor *worker = reactor_create_simulated(simulation, "server/1");
    address = net_world_address("10.0.0.1:9876");
    listener = reactor_listen(acceptor, &address, &address);
    accept_op.accepted = accepted;
    accept_op.op.done = ignore_done;
    reactor_accept(acceptor, &accept_op, listener);
    server = worker; /* accepted() opens connections there */
    timer_start(client, &clients[0].again, reactor_now_ns(client));

    ck_assert(simulation_run(simulation, 10000, first_is_open, NULL));

    ck_assert_ptr_eq(accepted_peers[0].connection.reactor, worker);
    simulation_kill(simulation, acceptor);
    reactor_destroy(acceptor);
    end();
}
END_TEST

static Suite *simulation_suite(void)
{
    Suite *suite = suite_create("net/simulation");
    TCase *histories = tcase_create("histories");
    TCase *time = tcase_create("time");
    TCase *faults = tcase_create("faults");
    TCase *cores = tcase_create("cores");

    tcase_add_loop_test(histories, the_same_seed_is_the_same_history, 0, 5);
    tcase_add_test(histories, different_seeds_are_different_histories);
    tcase_add_test(histories, connections_are_reset_as_often_as_was_asked_and_work_goes_on);
    tcase_add_test(histories, a_note_is_part_of_the_history);
    tcase_add_test(time, what_is_planned_for_a_moment_happens_at_that_moment);
    tcase_add_test(time, a_world_without_work_comes_to_rest);
    tcase_add_test(time, the_wall_clock_moves_with_the_simulated_one);
    tcase_add_test(faults, a_killed_server_resets_its_clients_and_runs_nothing_any_more);
    tcase_add_test(faults, a_killed_servers_address_is_free_for_its_successor);
    tcase_add_test(faults, a_connect_to_a_killed_server_is_refused);
    tcase_add_test(faults, a_cut_link_times_connections_out_and_a_healed_one_serves_again);
    tcase_add_test(faults, a_process_can_be_killed_in_the_middle_of_its_turn);
    tcase_add_test(cores, rings_work_between_the_cores_of_a_simulated_process);
    tcase_add_test(cores, an_accepted_socket_can_be_given_to_another_core);
    suite_add_tcase(suite, histories);
    suite_add_tcase(suite, time);
    suite_add_tcase(suite, faults);
    suite_add_tcase(suite, cores);
    return suite;
}

TEST_MAIN(simulation_suite)
