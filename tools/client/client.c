/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client.c - a client's life, and how synchronous functions run its loop.
 */
#include "tools/client/client.h"

#include "proto/base/contract.h"
#include "proto/limits.h"
#include "tools/client/attach.h"
#include "tools/client/channel.h"
#include "tools/client/client_avoid.h"
#include "tools/client/client_route.h"
#include "tools/client/consumer.h"
#include "tools/client/fault.h"
#include "tools/client/member.h"
#include "tools/client/plain_call.h"
#include "tools/client/producer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* -------------------------------------------------------------------------- options */

static bool usage(struct ternmq_error *error, const char *what)
{
    fault_set(error, TERNMQ_USAGE, TERNMQ_STORED_NO, "%s", what);
    return false;
}

static bool read_address(const char *text, uint16_t port, char *address_out,
                         struct ternmq_error *error)
{
    struct address address;
    char why[256];
    if (!address_parse(text, port, &address, why, sizeof(why))) {
        fault_set(error, TERNMQ_USAGE, TERNMQ_STORED_NO, "%s", why);
        return false;
    }
    memcpy(address_out, address.text, ADDRESS_TEXT_BYTES);
    return true;
}

/* A host whose name is unknown now may be one of several: the list needs one that is known. */
static bool read_nameservers(struct ternmq *client, const char *list, struct ternmq_error *error)
{
    char one[ADDRESS_TEXT_BYTES];
    for (const char *at = list; *at != '\0';) {
        size_t length = strcspn(at, ";");
        if (length >= sizeof(one)) {
            return usage(error, "nameservers: an address is too long");
        }
        memcpy(one, at, length);
        one[length] = '\0';
        at += length + (at[length] == ';');
        if (length == 0) {
            continue;
        }
        if (client->nameserver_count == CLIENT_NAMESERVERS_MAX) {
            return usage(error, "nameservers: at most 16");
        }
        char *address = client->nameservers[client->nameserver_count];
        if (read_address(one, NAMESERVER_PORT, address, error)) {
            client->nameserver_count++;
        }
    }
    if (client->nameserver_count == 0) {
        if (error->code != TERNMQ_USAGE) {
            return usage(error, "nameservers: no address in the list");
        }
        return false;
    }
    return true;
}

static bool read_servers(struct ternmq *client, const struct ternmq_options *options,
                         struct ternmq_error *error)
{
    if (options->broker != NULL) {
        client->direct = true;
        return read_address(options->broker, BROKER_PORT, client->broker, error);
    }
    const char *list = options->nameservers;
    if (list == NULL) {
        list = getenv("TERNMQ_NAMESERVER");
    }
    if (list == NULL || *list == '\0') {
        list = "127.0.0.1:9876";
    }
    return read_nameservers(client, list, error);
}

static bool read_options(struct ternmq *client, const struct ternmq_options *options,
                         struct ternmq_error *error)
{
    if (options->name != NULL) {
        if (strlen(options->name) > CLIENT_NAME_BYTES_MAX) {
            return usage(error, "name: at most 255 bytes");
        }
        snprintf(client->name, sizeof(client->name), "%s", options->name);
    }
    client->timeout_ms = options->timeout_ms == 0 ? CLIENT_TIMEOUT_MS_DEFAULT : options->timeout_ms;
    client->unreachable_ms = options->unreachable_ms;
    client->connect_timeout_ms =
        options->connect_timeout_ms == 0 ? CLIENT_CONNECT_MS_DEFAULT : options->connect_timeout_ms;
    if (client->timeout_ms > DURATION_MS_MAX) {
        return usage(error, "timeout_ms: at most one day");
    }
    client->pinned_bytes_max = options->receive_bytes_max / 2;
    client->waiting = options->waiting;
    client->waiting_context = options->context;
    return read_servers(client, options, error);
}

/* -------------------------------------------------------------------------- life */

static struct ternmq *client_make(const struct ternmq_options *options,
                                  struct ternmq_error *error_out)
{
    struct ternmq_error error = {.code = TERNMQ_OK};
    struct ternmq *client = calloc(1, sizeof(*client));
    if (client == NULL) {
        fault_set(error_out, TERNMQ_NO_MEMORY, TERNMQ_STORED_NO, "no memory for a client");
        return NULL;
    }
    list_init(&client->channels);
    list_init(&client->routes);
    list_init(&client->avoided);
    list_init(&client->producers);
    list_init(&client->consumers);
    list_init(&client->members);
    list_init(&client->calls);
    if (!read_options(client, options, &error)) {
        fault_give(&error, error_out);
        free(client);
        return NULL;
    }
    return client;
}

TERNMQ_API struct ternmq *ternmq_open(const struct ternmq_options *options,
                                      struct ternmq_error *error_out)
{
    size_t receive_bytes = options->receive_bytes_max == 0 ? (size_t)CLIENT_RECEIVE_BYTES_DEFAULT
                                                           : options->receive_bytes_max;
    if (receive_bytes < (size_t)CLIENT_RECEIVE_BYTES_LEAST) {
        fault_set(error_out, TERNMQ_USAGE, TERNMQ_STORED_NO, "receive_bytes_max: at least 4 MiB");
        return NULL;
    }
    struct ternmq *client = client_make(options, error_out);
    if (client == NULL) {
        return NULL;
    }
    client->pinned_bytes_max = receive_bytes / 2;
    client->reactor = reactor_create_epoll(receive_bytes);
    if (client->reactor == NULL) {
        fault_set(error_out, TERNMQ_NO_MEMORY, TERNMQ_STORED_NO, "the system gives no loop: %s",
                  strerror(errno));
        free(client);
        return NULL;
    }
    return client;
}

struct ternmq *client_attach(struct reactor *reactor, const struct ternmq_options *options,
                             struct ternmq_error *error_out)
{
    struct ternmq *client = client_make(options, error_out);
    if (client != NULL) {
        client->reactor = reactor;
        client->attached = true;
    }
    return client;
}

static void client_free(struct ternmq *client)
{
    if (!client->attached) {
        reactor_destroy(client->reactor);
    }
    free(client->kept);
    free(client);
}

/* Ends everything above the channels, and begins to close those. */
static void client_shut(struct ternmq *client)
{
    ASSERT(client->callbacks == 0);
    client->closing = true;
    while (!list_is_empty(&client->consumers)) {
        ternmq_consumer_close(consumer_of_link(list_first(&client->consumers)));
    }
    while (!list_is_empty(&client->members)) {
        member_drop(member_of_link(list_first(&client->members)));
    }
    while (!list_is_empty(&client->producers)) {
        ternmq_producer_close(producer_of_link(list_first(&client->producers)));
    }
    plain_calls_drop(client);
    client_routes_drop(client);
    client_avoided_drop(client);
    channels_close(client);
}

TERNMQ_API void ternmq_close(struct ternmq *client)
{
    if (client == NULL) {
        return;
    }
    ASSERT(!client->attached);
    client_shut(client);
    while (!list_is_empty(&client->channels)) {
        reactor_run_once(client->reactor, -1);
    }
    client_free(client);
}

void client_channel_freed(struct ternmq *client)
{
    if (!client->closing || client->detached == NULL || !list_is_empty(&client->channels)) {
        return;
    }
    void (*detached)(void *context) = client->detached;
    void *context = client->detached_context;
    client_free(client);
    detached(context);
}

static void detached_unheard(void *context)
{
    (void)context;
}

void client_detach(struct ternmq *client, void (*detached)(void *context), void *context)
{
    ASSERT(client->attached);
    client_shut(client);
    /* Without a channel nothing comes home in a later turn, and nobody else would call. */
    bool is_home = list_is_empty(&client->channels);
    client->detached = detached == NULL ? detached_unheard : detached;
    client->detached_context = context;
    if (is_home) {
        client_channel_freed(client);
    }
}

/* -------------------------------------------------------------------------- the loop */

static uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static void turn(struct ternmq *client, int64_t wait_ms)
{
    reactor_run_once(client->reactor, wait_ms);
    client->turned_ns = clock_ns();
}

void client_enter(struct ternmq *client)
{
    if (client->attached || client->callbacks > 0) {
        return;
    }
    if (clock_ns() - client->turned_ns > CLIENT_AWAY_NS) {
        turn(client, 0);
    }
}

void client_run_beside(struct ternmq *client)
{
    if (clock_ns() - client->turned_ns > CLIENT_BESIDE_NS) {
        turn(client, 0);
    }
}

bool client_must_not_block(const struct ternmq *client, struct ternmq_error *error_out)
{
    if (client->attached) {
        fault_set(error_out, TERNMQ_USAGE, TERNMQ_STORED_NO,
                  "a client on another's loop does not block");
        return true;
    }
    if (client->callbacks > 0) {
        fault_set(error_out, TERNMQ_USAGE, TERNMQ_STORED_NO,
                  "a callback must not call what blocks");
        return true;
    }
    return false;
}

int client_run_until(struct ternmq *client, int64_t wait_ms, bool (*met)(void *context),
                     void *context)
{
    uint64_t began = clock_ns();
    while (!met(context)) {
        int64_t left_ms = -1;
        if (wait_ms >= 0) {
            int64_t passed_ms = (int64_t)((clock_ns() - began) / 1000000U);
            left_ms = wait_ms - passed_ms;
            if (left_ms <= 0) {
                turn(client, 0);
                return met(context) ? TERNMQ_OK : TERNMQ_TIMED_OUT;
            }
        }
        if (client_take_interrupt(client)) {
            return TERNMQ_INTERRUPTED;
        }
        turn(client, left_ms);
    }
    return TERNMQ_OK;
}

TERNMQ_API int ternmq_poll(struct ternmq *client, int64_t wait_ms)
{
    if (client_must_not_block(client, NULL)) {
        return TERNMQ_USAGE;
    }
    if (client_take_interrupt(client)) {
        return TERNMQ_INTERRUPTED;
    }
    turn(client, wait_ms);
    return client_take_interrupt(client) ? TERNMQ_INTERRUPTED : TERNMQ_OK;
}

TERNMQ_API void ternmq_interrupt(struct ternmq *client)
{
    atomic_store(&client->interrupted, true);
    reactor_wake(client->reactor);
}

void *client_keep(struct ternmq *client, size_t bytes)
{
    free(client->kept);
    client->kept = malloc(bytes == 0 ? 1 : bytes);
    return client->kept;
}
