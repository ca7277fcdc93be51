/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_call.c - one call, from the wish to its one end.
 */
#include "tools/client/client_call.h"

#include "proto/base/contract.h"
#include "tools/client/client.h"
#include "tools/client/client_avoid.h"
#include "tools/client/fault.h"

static void call_go(struct client_call *call);

static uint64_t now_ns(const struct client_call *call)
{
    return reactor_now_ns(call->client->reactor);
}

/* -------------------------------------------------------------------------- the end */

/* Takes the call out of everything that could touch it later. */
static void call_rest(struct client_call *call)
{
    struct reactor *reactor = call->client->reactor;
    exchange_forget(&call->exchange);
    timer_stop(reactor, &call->pause);
    timer_stop(reactor, &call->deadline);
    if (call->route != NULL) {
        client_route_unwait(&call->waiter);
        client_route_give(call->route);
        call->route = NULL;
    }
    call->state = CALL_IDLE;
}

static void call_end_with(struct client_call *call, const struct client_call_end *end)
{
    call_rest(call);
    call->kind->ended(call, end);
}

static void call_fail(struct client_call *call)
{
    /* The owner may free the call, with the error in it. */
    struct ternmq_error error = call->error;
    if (call->changes == false && error.stored == TERNMQ_STORED_MAYBE) {
        error.stored = TERNMQ_STORED_NO;
    }
    struct client_call_end end = {.error = &error};
    call_end_with(call, &end);
}

void client_call_drop(struct client_call *call)
{
    if (client_call_is_under_way(call)) {
        call_rest(call);
    }
}

bool client_call_cancel(struct client_call *call)
{
    if (client_call_was_sent(call)) {
        exchange_cancel(&call->exchange);
        return true;
    }
    client_call_drop(call);
    return false;
}

/* -------------------------------------------------------------------------- pauses */

uint64_t client_pause_ns(struct ternmq *client, uint32_t tries, const struct ternmq_error *error)
{
    uint64_t pause_ms = PAUSE_MS_WARMING;
    if (error->code != TERNMQ_WARMING) {
        uint32_t doublings = tries < 8 ? tries : 8;
        pause_ms = (uint64_t)PAUSE_MS_LEAST << doublings;
        pause_ms = pause_ms > PAUSE_MS_MOST ? PAUSE_MS_MOST : pause_ms;
        if (error->retry_after_ms > 0 && (uint64_t)error->retry_after_ms > pause_ms) {
            pause_ms = (uint64_t)error->retry_after_ms;
        }
    }
    /* Between 3/4 and 5/4, so that those who failed together do not come back together. */
    uint64_t pause_ns = pause_ms * 1000000U;
    return pause_ns - pause_ns / 4 + reactor_random(client->reactor) % (pause_ns / 2);
}

uint64_t client_patience_ms(const struct ternmq *client, const struct ternmq_error *error)
{
    return error->code == TERNMQ_UNREACHABLE && client->unreachable_ms != 0 ? client->unreachable_ms
                                                                            : client->timeout_ms;
}

void client_tell_waiting(struct ternmq *client, const struct ternmq_error *why, uint64_t since_ns)
{
    if (client->waiting == NULL) {
        return;
    }
    uint64_t waited_ms = (reactor_now_ns(client->reactor) - since_ns) / 1000000U;
    client_callback_begin(client);
    client->waiting(client->waiting_context, why, waited_ms);
    client_callback_end(client);
}

/* Whether nobody was there for as long as the client's owner wants to wait for somebody. */
static bool gave_up_on_servers(const struct client_call *call)
{
    uint32_t most_ms = call->client->unreachable_ms;
    return most_ms != 0 && call->error.code == TERNMQ_UNREACHABLE && call->unreachable_ns != 0 &&
           now_ns(call) - call->unreachable_ns >= (uint64_t)most_ms * 1000000U;
}

/* A broker has failed this call: what may go elsewhere does so for a while. */
static void call_turn_away(struct client_call *call, const char *address)
{
    if (call->to == TERNMQ_TO_NAMESERVER) {
        return;
    }
    client_avoid(call->client, address);
    call->turns_away = true;
}

/* Whether another broker can take the call now, so that nothing is won by a pause. */
static bool call_has_another(const struct client_call *call)
{
    return call->any_queue && call->turns_away && call->route != NULL &&
           client_route_has_choice(call->route);
}

/* What went wrong is in call->error: tries again later if that is right, or ends. */
static void call_pause_or_fail(struct client_call *call)
{
    if (call->error.code == TERNMQ_UNREACHABLE) {
        if (call->unreachable_ns == 0) {
            call->unreachable_ns = now_ns(call) == 0 ? 1 : now_ns(call);
        }
    } else {
        call->unreachable_ns = 0;
    }

    bool again =
        fault_can_retry(&call->error) || (call->error.code == TERNMQ_LOST && !call->changes);
    if (!again || call->one_try || gave_up_on_servers(call)) {
        call_fail(call);
        return;
    }
    uint64_t pause_ns =
        call_has_another(call) ? 0 : client_pause_ns(call->client, call->tries, &call->error);
    if (pause_ns > (uint64_t)call->client->unreachable_ms * 1000000U &&
        call->error.code == TERNMQ_UNREACHABLE && call->client->unreachable_ms != 0) {
        pause_ns = (uint64_t)call->client->unreachable_ms * 1000000U;
    }
    call->tries++;
    call->nameservers_tried = 0;
    call->state = CALL_PAUSED;
    timer_start(call->client->reactor, &call->pause, now_ns(call) + pause_ns);
    client_tell_waiting(call->client, &call->error, call->began_ns);
}

/* Fails in a later turn what was found wrong inside the caller's own call. */
static void call_fail_later(struct client_call *call)
{
    call->state = CALL_ENDING;
    timer_start(call->client->reactor, &call->pause, now_ns(call));
}

/* Whether another nameserver is left to ask in this round; then it is the one asked next. */
static bool turn_to_next_nameserver(struct client_call *call)
{
    struct ternmq *client = call->client;
    /* Others may have turned away from this one already. */
    if (client->nameserver == call->nameserver) {
        client->nameserver = (client->nameserver + 1) % client->nameserver_count;
    }
    return ++call->nameservers_tried < client->nameserver_count;
}

/* A nameserver that is silent must not use up the deadline: the next one may answer. What would be
 * wrong a second time waits for its answer. */
static void start_nameserver_share(struct client_call *call)
{
    if (call->to == TERNMQ_TO_NAMESERVER && !call->client->direct && !call->changes &&
        call->client->nameserver_count > 1) {
        timer_start(call->client->reactor, &call->pause,
                    now_ns(call) + (uint64_t)NAMESERVER_SHARE_MS * 1000000U);
    }
}

static void nameserver_is_silent(struct client_call *call)
{
    fault_set(&call->error, TERNMQ_UNREACHABLE, TERNMQ_STORED_NO, "no answer from %s within %d ms",
              call->exchange.channel->name, NAMESERVER_SHARE_MS);
    exchange_forget(&call->exchange);
    if (turn_to_next_nameserver(call)) {
        call_go(call);
    } else {
        call_pause_or_fail(call);
    }
}

static void pause_over(struct timer *timer)
{
    struct client_call *call = CONTAINER_OF(timer, struct client_call, pause);
    if (call->state == CALL_SENT) {
        nameserver_is_silent(call);
    } else if (call->state == CALL_ENDING) {
        call_pause_or_fail(call);
    } else {
        call_go(call);
    }
}

/* Sets the deadline by the clock of this turn. */
static void deadline_set(struct client_call *call)
{
    call->began_ns = now_ns(call);
    call->deadline_ns = call->began_ns + (uint64_t)call->timeout_ms * 1000000U;
    call->clock_is_old = false;
    timer_start(call->client->reactor, &call->deadline, call->deadline_ns);
}

static void deadline_over(struct timer *timer)
{
    struct client_call *call = CONTAINER_OF(timer, struct client_call, deadline);
    if (call->clock_is_old) {
        deadline_set(call);
        if (call->state == CALL_SENT) {
            start_nameserver_share(call);
        }
        return;
    }
    if (client_call_was_sent(call)) {
        if (call->any_queue) {
            call_turn_away(call, call->exchange.channel->name);
        }
        fault_set(&call->error, TERNMQ_TIMED_OUT, TERNMQ_STORED_MAYBE,
                  "no answer from %s within %u ms", call->exchange.channel->name, call->timeout_ms);
    } else if (call->error.code == TERNMQ_OK) {
        fault_set(&call->error, TERNMQ_TIMED_OUT, TERNMQ_STORED_NO,
                  "no connection, or no room on it, within %u ms", call->timeout_ms);
    } /* else: the last thing that went wrong says more than that time is over */
    call_fail(call);
}

/* -------------------------------------------------------------------------- answers */

static bool is_not_found(const struct ternmq_error *error)
{
    return error->code == TERNMQ_TOPIC_NOT_FOUND || error->code == TERNMQ_GROUP_NOT_FOUND;
}

/* Whether an error is of the broker's own state, which another one need not share. */
static bool is_of_one_broker(const struct ternmq_error *error)
{
    switch (error->code) {
    case TERNMQ_NOT_MASTER:
    case TERNMQ_FENCED:
    case TERNMQ_STOPPING:
    case TERNMQ_READ_ONLY:
    case TERNMQ_NOT_ENOUGH_REPLICAS:
    case TERNMQ_OVERLOADED:
    case TERNMQ_DISK_FULL:
    case TERNMQ_RETENTION_FULL:
    case TERNMQ_IO_FAILED:
        return true;
    default:
        return false;
    }
}

/* An error of a server: whether it changes where to look. */
static void call_refused(struct client_call *call, const struct exchange_end *end)
{
    struct ternmq *client = call->client;
    const struct ternmq_error *error = end->error;
    call->error = *error;
    bool moved = error->code >= TERNMQ_NOT_MASTER && error->code < TERNMQ_OVERLOADED;
    if (call->any_queue && is_of_one_broker(error)) {
        call_turn_away(call, end->address);
    }
    if (call->to == TERNMQ_TO_NAMESERVER) {
        /* Another one may have been up for longer. */
        if (error->code == TERNMQ_WARMING && turn_to_next_nameserver(call)) {
            call_go(call);
            return;
        }
        if (error->code == TERNMQ_TOPIC_NOT_FOUND) {
            call->error.retryable = false;
        }
    } else if (client->direct || call->to == TERNMQ_TO_ADDRESS) {
        /* There is nobody else to ask. */
        if (is_not_found(error) || error->code == TERNMQ_WRONG_BROKER) {
            call->error.retryable = false;
        }
    } else if (call->to == TERNMQ_TO_BROKER && is_not_found(error)) {
        call->error.retryable = false; /* This one was meant. */
    } else if (moved && call->route != NULL) {
        if (error->code == TERNMQ_TOPIC_NOT_FOUND) {
            call->route->denied = true;
        }
        client_route_forget(call->route);
    } else if (error->code == TERNMQ_MIXED_QUEUES && call->route != NULL) {
        /* It counts other queues than we did. */
        call->route->recount = true;
        client_route_forget(call->route);
    }
    call_pause_or_fail(call);
}

static void call_missed(struct client_call *call, const struct exchange_end *end)
{
    struct ternmq *client = call->client;
    call->error = *end->error;
    call_turn_away(call, end->address);
    if (call->to == TERNMQ_TO_NAMESERVER) {
        if (turn_to_next_nameserver(call)) {
            call_go(call);
            return;
        }
        if (client->nameserver_count > 1 && end->outcome == EXCHANGE_UNREACHABLE) {
            fault_set(&call->error, TERNMQ_UNREACHABLE, TERNMQ_STORED_NO,
                      "none of %u nameservers can be reached; the last: %s",
                      client->nameserver_count, call->error.message);
        }
    } else if (call->route != NULL) {
        client_route_forget(call->route);
    }
    call_pause_or_fail(call);
}

static void exchange_over(struct exchange *exchange, const struct exchange_end *end)
{
    struct client_call *call = CONTAINER_OF(exchange, struct client_call, exchange);
    timer_stop(call->client->reactor, &call->pause);
    if (end->outcome != EXCHANGE_ANSWERED) {
        call_missed(call, end);
        return;
    }
    call->unreachable_ns = 0;
    if (end->error != NULL) {
        call_refused(call, end);
        return;
    }
    if (call->to != TERNMQ_TO_NAMESERVER) {
        client_avoid_no_more(call->client, end->address);
    }
    struct client_call_end call_end = {
        .result = end->result,
        .buffer = end->buffer,
        .address = end->address,
        .round_trip_ns = end->round_trip_ns,
    };
    call_end_with(call, &call_end);
}

static void exchange_frame(struct exchange *exchange, struct connection *connection, uint32_t id)
{
    struct client_call *call = CONTAINER_OF(exchange, struct client_call, exchange);
    uint32_t left_ms = 0;
    if (call->timeout_ms != 0) {
        uint64_t now = now_ns(call);
        uint64_t left_ns = call->deadline_ns > now ? call->deadline_ns - now : 0;
        if (call->clock_is_old) {
            left_ns = (uint64_t)call->timeout_ms * 1000000U;
        }
        /* A little less than we wait, so that the server's word arrives in time. */
        left_ns -= left_ns / 8;
        left_ms = left_ns < 1000000U ? 1 : (uint32_t)(left_ns / 1000000U);
    }
    if (call->one_way) {
        call_rest(call);
    }
    call->kind->write(call, connection, id, left_ms);
}

/* -------------------------------------------------------------------------- the way there */

static void call_send(struct client_call *call, const char *address)
{
    struct channel *channel = channel_get(call->client, address, call->receives, &call->error);
    if (channel == NULL) {
        call_fail_later(call);
        return;
    }
    call->exchange.write = exchange_frame;
    call->exchange.ended = exchange_over;
    call->exchange.parks = call->parks;
    call->exchange.one_way = call->one_way;
    call->state = CALL_SENT;
    start_nameserver_share(call);
    channel_send(channel, &call->exchange);
}

static void call_find_route(struct client_call *call);

static void call_send_by_route(struct client_call *call)
{
    const char *address = client_route_pick(
        call->route, call->any_queue || call->to != TERNMQ_TO_TOPIC, call->queue, &call->error);
    if (address != NULL) {
        call_send(call, address);
        return;
    }
    bool is_old = call->route->known_ns < call->began_ns;
    client_route_forget(call->route);
    if (is_old) {
        call_find_route(
            call); /* it may have changed since: asked once more before it is believed */
    } else {
        call_fail_later(call);
    }
}

static void route_ready(struct route_waiter *waiter, const struct ternmq_error *error)
{
    struct client_call *call = CONTAINER_OF(waiter, struct client_call, waiter);
    if (error != NULL) {
        call->error = *error;
        call_pause_or_fail(call);
        return;
    }
    call_send_by_route(call);
}

static void call_find_route(struct client_call *call)
{
    if (call->route == NULL) {
        enum route_kind kind = call->to == TERNMQ_TO_TOPIC    ? ROUTE_TOPIC
                               : call->to == TERNMQ_TO_BROKER ? ROUTE_BROKER
                                                              : ROUTE_ANY_BROKER;
        const char *name = kind == ROUTE_ANY_BROKER ? "" : call->to_name;
        call->route = client_route_take(call->client, kind, name);
    }
    if (call->route == NULL) {
        fault_set(&call->error, TERNMQ_NO_MEMORY, TERNMQ_STORED_NO, "no memory for a route");
        call_fail_later(call);
    } else if (call->route->state == ROUTE_KNOWN) {
        call_send_by_route(call);
    } else {
        call->state = CALL_ROUTING;
        call->waiter.ready = route_ready;
        client_route_wait(call->route, &call->waiter);
    }
}

static void call_go(struct client_call *call)
{
    struct ternmq *client = call->client;
    call->turns_away = false;
    if (call->to == TERNMQ_TO_ADDRESS) {
        call_send(call, call->to_name);
    } else if (client->direct) {
        call_send(call, client->broker);
    } else if (call->to == TERNMQ_TO_NAMESERVER) {
        call->nameserver = client->nameserver;
        call_send(call, client->nameservers[client->nameserver]);
    } else {
        call_find_route(call);
    }
}

void client_call_start(struct client_call *call)
{
    ASSERT(call->state == CALL_IDLE && !call->client->closing);
    call->pause.fired = pause_over;
    call->deadline.fired = deadline_over;
    call->began_ns = now_ns(call);
    call->tries = 0;
    call->nameservers_tried = 0;
    call->unreachable_ns = 0;
    call->error.code = TERNMQ_OK;
    if (call->timeout_ms != 0) {
        deadline_set(call);
        /* Outside the loop of somebody else nobody knows how long ago the clock was read: the
         * deadline is set anew in the next turn. */
        call->clock_is_old = call->client->attached && call->client->callbacks == 0;
        if (call->clock_is_old) {
            timer_start(call->client->reactor, &call->deadline, call->began_ns);
        }
    }
    call_go(call);
}
