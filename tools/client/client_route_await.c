/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_route_await.c - waits for a route, for functions that block.
 */
#include "proto/base/contract.h"
#include "tools/client/client.h"
#include "tools/client/client_call.h"
#include "tools/client/client_route.h"
#include "tools/client/fault.h"

struct route_wish {
    struct route_waiter waiter;
    struct ternmq_error error; /* code 0: none */
    bool ended;
};

static void route_ready(struct route_waiter *waiter, const struct ternmq_error *error)
{
    struct route_wish *wish = CONTAINER_OF(waiter, struct route_wish, waiter);
    wish->ended = true;
    wish->error.code = TERNMQ_OK;
    if (error != NULL) {
        wish->error = *error;
    }
}

static bool route_is_there(void *context)
{
    const struct route_wish *wish = context;
    return wish->ended;
}

static bool false_always(void *context)
{
    (void)context;
    return false;
}

int client_route_await(struct ternmq *client, struct client_route *route,
                       struct ternmq_error *error_out)
{
    uint64_t began_ns = reactor_now_ns(client->reactor);
    for (uint32_t tries = 0;; tries++) {
        struct route_wish wish = {.waiter.ready = route_ready};
        client_route_forget(route);
        client_route_wait(route, &wish.waiter);
        if (client_run_until(client, -1, route_is_there, &wish) != TERNMQ_OK) {
            client_route_unwait(&wish.waiter);
            return fault_set(error_out, TERNMQ_INTERRUPTED, TERNMQ_STORED_NO, "interrupted");
        }
        if (wish.error.code == TERNMQ_OK) {
            return TERNMQ_OK;
        }
        uint64_t most_ms = client_patience_ms(client, &wish.error);
        uint64_t passed_ns = reactor_now_ns(client->reactor) - began_ns;
        uint64_t pause_ns = client_pause_ns(client, tries, &wish.error);
        if (!fault_can_retry(&wish.error) || passed_ns + pause_ns > most_ms * 1000000U) {
            return fault_give(&wish.error, error_out);
        }
        client_tell_waiting(client, &wish.error, began_ns);
        if (client_run_until(client, (int64_t)(pause_ns / 1000000U) + 1, false_always, NULL) ==
            TERNMQ_INTERRUPTED) {
            return fault_set(error_out, TERNMQ_INTERRUPTED, TERNMQ_STORED_NO, "interrupted");
        }
    }
}
