/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker.c - create, start, stop, destroy: the order in which a broker's parts come and go.
 *
 * Stopping, step by step, each when the one before is done:
 *
 *     1. accepting is cancelled, the listeners closed
 *     2. every core drains: what was asked is answered, then its connections close; after DRAIN_MS
 *        they are closed as they are
 *     3. changes of the catalogue that nobody waits for end, leases are released
 *     4. every log is written, synced and closed, on its core
 *     5. `stopped`
 */
#include "broker/broker.h"

#include "broker/catalogue.h"
#include "broker/catalogue_change.h"
#include "broker/core.h"
#include "broker/dead_letter.h"
#include "broker/directory.h"
#include "broker/group_expiry.h"
#include "broker/group_retention.h"
#include "broker/groups.h"
#include "broker/lease.h"
#include "broker/limits.h"
#include "broker/recovery.h"
#include "broker/shard.h"
#include "net/reactor.h"
#include "proto/base/log.h"
#include "storage/commit_log.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of the 5 s in which a broker ends; the rest is for leases and the last sync. */
#define DRAIN_MS 2500

#define NS_PER_MS UINT64_C(1000000)

struct broker_listener {
    struct broker *broker;
    struct accept_op accept;
    int socket;
    struct address bound;
};

struct broker {
    struct broker_options options;
    char name[BROKER_NAME_BYTES_MAX + 1];
    char address[ADDRESS_TEXT_BYTES]; /* what others are told */
    struct cores *cores;
    struct directory *directories; /* one a core */
    struct leases *leases;
    struct catalogue_changes *changes;
    uint32_t epoch;
    uint64_t recovery_ms;
    struct broker_listener listeners[LISTENERS_MAX];
    uint32_t listening; /* listeners whose accept is in flight */
    struct log_limit log_full;
    _Atomic bool has_failed;

    bool stopping;
    void (*stopped)(void *owner);
    void *stopped_owner;
    struct timer drain_timer;
    uint32_t cores_draining;
    uint32_t logs_open;
};

/* ---------------------------------------------------------------- create */

static void failed(void *owner, const char *what)
{
    struct broker *broker = owner;
    if (!atomic_exchange(&broker->has_failed, true)) {
        broker->options.failed(broker->options.owner, what);
    }
}

/* A topic found at start goes to every core. Of two of one name, which come oldest first, the
 * newer counts. */
static void found_topic(void *context, struct topic *topic)
{
    struct broker *broker = context;
    for (uint32_t i = 0; i < broker->cores->count; i++) {
        struct directory *directory = &broker->directories[i];
        const struct topic *namesake = directory_find(directory, topic->name);
        if (namesake != NULL && namesake->id != topic->id) {
            directory_remove(directory, namesake->id);
        }
        directory_put(directory, topic);
    }
}

/* The same of a group. */
static void found_group(void *context, struct group *group)
{
    struct broker *broker = context;
    for (uint32_t i = 0; i < broker->cores->count; i++) {
        struct directory *directory = &broker->directories[i];
        const struct group *namesake = directory_find_group(directory, group->name);
        if (namesake != NULL && namesake->id != group->id) {
            directory_remove_group(directory, namesake->id);
        }
        directory_put_group(directory, group);
    }
}

static void make_cores(struct broker *broker)
{
    const struct broker_options *options = &broker->options;
    broker->cores = cores_create(options->reactors, options->core_count, options->shard_count);
    memcpy(broker->cores->name, broker->name, sizeof(broker->name));
    broker->cores->started_wall_ms = reactor_wall_ms(options->reactors[0]);
    broker->directories = calloc(options->core_count, sizeof(broker->directories[0]));
    ASSERT(broker->directories != NULL);
    for (uint32_t i = 0; i < options->core_count; i++) {
        struct map_seed seed = {
            .low = reactor_random(options->reactors[i]),
            .high = reactor_random(options->reactors[i]),
        };
        directory_init(&broker->directories[i], seed);
        broker->cores->core[i]->directory = &broker->directories[i];
    }
}

static bool recover(struct broker *broker, struct recovery_result *result, char *error,
                    size_t error_bytes)
{
    const struct recovery_options options = {
        .broker = &broker->options,
        .cores = broker->cores,
        .log_failed = failed,
        .log_owner = broker,
        .topic = found_topic,
        .group = found_group,
        .context = broker,
    };
    return recovery_run(&options, result, error, error_bytes);
}

bool broker_create(struct broker **broker_out, const struct broker_options *options, char *error,
                   size_t error_bytes)
{
    ASSERT(options->listener_count >= 1 && options->listener_count <= LISTENERS_MAX);
    ASSERT(strlen(options->name) <= BROKER_NAME_BYTES_MAX);
    struct broker *broker = calloc(1, sizeof(*broker));
    ASSERT(broker != NULL);
    broker->options = *options;
    memcpy(broker->name, options->name, strlen(options->name) + 1);
    broker->options.name = broker->name;
    atomic_init(&broker->has_failed, false);
    for (uint32_t i = 0; i < options->listener_count; i++) {
        broker->listeners[i].broker = broker;
        broker->listeners[i].socket = -1;
        broker->listeners[i].bound = options->listeners[i];
    }
    if (options->advertise != NULL) {
        (void)snprintf(broker->address, sizeof(broker->address), "%s", options->advertise);
    }
    make_cores(broker);

    struct recovery_result result;
    if (!recover(broker, &result, error, error_bytes)) {
        broker_destroy(broker);
        return false;
    }
    broker->epoch = result.epoch;
    broker->recovery_ms = result.took_ns / NS_PER_MS;
    broker->cores->epoch = result.epoch;
    for (uint32_t i = 0; i < options->core_count; i++) {
        core_hook_woken(broker->cores->core[i]);
    }
    for (uint32_t i = 0; i < options->shard_count; i++) {
        groups_attach(broker->cores->shard[i]->groups);
    }
    const struct leases_options leases = {
        .reactor = options->reactors[0],
        .directory = &broker->directories[0],
        .name = broker->name,
        .epoch = result.epoch,
        .nameservers = options->nameservers,
        .nameserver_count = options->nameserver_count,
        .fenced = failed,
        .owner = broker,
    };
    broker->leases = leases_create(&leases);
    const struct catalogue_rules rules = {
        .shard_count = options->shard_count,
        .read_only = result.read_only,
        .broker = bytes_from_string(broker->name),
    };
    broker->changes = catalogue_changes_create(broker->cores->core[0], broker->leases, &rules);
    broker->cores->changes = broker->changes;
    for (uint32_t i = 0; i < broker->cores->count; i++) {
        group_expiry_start(broker->cores->core[i]);
    }
    *broker_out = broker;
    return true;
}

void broker_destroy(struct broker *broker)
{
    if (broker == NULL) {
        return;
    }
    ASSERT(broker->listening == 0);
    catalogue_changes_destroy(broker->changes);
    leases_destroy(broker->leases);
    recovery_close(broker->cores);
    cores_destroy(broker->cores);
    for (uint32_t i = 0; i < broker->options.core_count; i++) {
        directory_deinit(&broker->directories[i]);
    }
    free(broker->directories);
    free(broker);
}

/* ----------------------------------------------------------------- start */

static void accepted(struct accept_op *accept, int socket)
{
    struct broker_listener *listener = CONTAINER_OF(accept, struct broker_listener, accept);
    struct broker *broker = listener->broker;
    struct reactor *reactor = broker->options.reactors[0];
    uint32_t count = cores_session_count(broker->cores);
    if (count >= broker->options.connections_max) {
        reactor_close(reactor, socket);
        log_limited(&broker->log_full, reactor_now_ns(reactor), LOG_LEVEL_WARN,
                    "a connection was closed: %u are open, at most %u may be; see the limit of "
                    "open files",
                    count, broker->options.connections_max);
        return;
    }
    cores_take_socket(broker->cores->core[0], socket);
}

static void stop_cores(struct broker *broker);

static void accept_done(struct op *op, int64_t result)
{
    struct broker_listener *listener =
        CONTAINER_OF(CONTAINER_OF(op, struct accept_op, op), struct broker_listener, accept);
    struct broker *broker = listener->broker;
    reactor_close(broker->options.reactors[0], listener->socket);
    listener->socket = -1;
    broker->listening--;
    if (!broker->stopping) {
        char what[LOG_LINE_BYTES_MAX];
        (void)snprintf(what, sizeof(what), "accepting connections on %s failed: %s",
                       listener->bound.text, strerror((int)-result));
        failed(broker, what);
    } else if (broker->listening == 0) {
        stop_cores(broker);
    }
}

void broker_say_cannot_listen(const struct address *address, int failure, char *error,
                              size_t error_bytes)
{
    const char *hint = failure == EADDRINUSE ? "; is a broker running there? Stop it, or give "
                                               "another --listen"
                                             : "";
    (void)snprintf(error, error_bytes, "cannot listen on %s: %s%s", address->text,
                   strerror(failure), hint);
}

static bool listen_on(struct broker *broker, struct broker_listener *listener, char *error,
                      size_t error_bytes)
{
    struct reactor *reactor = broker->options.reactors[0];
    struct address wanted = listener->bound;
    int socket = reactor_listen(reactor, &wanted, &listener->bound);
    if (socket < 0) {
        broker_say_cannot_listen(&wanted, -socket, error, error_bytes);
        return false;
    }
    listener->socket = socket;
    return true;
}

static void close_listeners(struct broker *broker)
{
    for (uint32_t i = 0; i < broker->options.listener_count; i++) {
        if (broker->listeners[i].socket >= 0) {
            reactor_close(broker->options.reactors[0], broker->listeners[i].socket);
            broker->listeners[i].socket = -1;
        }
    }
}

static void say_ready(const struct broker *broker)
{
    bool is_open = false;
    for (uint32_t i = 0; i < broker->options.listener_count; i++) {
        is_open = is_open || !address_is_loopback(&broker->listeners[i].bound);
    }
    if (is_open) {
        log_warn("other machines can connect, and there is no security yet: keep the port inside a "
                 "network that you trust");
    }
    uint32_t shards = broker->cores->shard_count;
    log_info("ready: broker %s at %s, epoch %u, %u shard%s, %s, recovered in %llu ms", broker->name,
             broker->address, broker->epoch, shards, shards == 1 ? "" : "s",
             reactor_kind_name(reactor_kind(broker->options.reactors[0])),
             (unsigned long long)broker->recovery_ms);
}

bool broker_start(struct broker *broker, char *error, size_t error_bytes)
{
    for (uint32_t i = 0; i < broker->options.listener_count; i++) {
        if (!listen_on(broker, &broker->listeners[i], error, error_bytes)) {
            close_listeners(broker);
            return false;
        }
    }
    for (uint32_t i = 0; i < broker->options.listener_count; i++) {
        struct broker_listener *listener = &broker->listeners[i];
        listener->accept = (struct accept_op){
            .op = {.done = accept_done},
            .accepted = accepted,
        };
        reactor_accept(broker->options.reactors[0], &listener->accept, listener->socket);
        broker->listening++;
    }
    if (broker->address[0] == '\0') {
        memcpy(broker->address, broker->listeners[0].bound.text, sizeof(broker->address));
    }
    leases_start(broker->leases, broker->address);
    say_ready(broker);
    return true;
}

/* ------------------------------------------------------------------ stop */

/* Sends `deliver` to every core, with the broker. */
static void tell_cores(struct broker *broker,
                       void (*deliver)(const struct core_message *message, void *core))
{
    struct core_message message = {.deliver = deliver, .object = broker};
    for (uint32_t i = 0; i < broker->cores->count; i++) {
        core_send_to(broker->cores->core[0], broker->cores->core[i], &message);
    }
}

/* Sends `deliver` to core 0, with the broker. */
static void tell_core0(struct core *from, struct broker *broker,
                       void (*deliver)(const struct core_message *message, void *core))
{
    struct core_message message = {.deliver = deliver, .object = broker};
    core_send_to(from, broker->cores->core[0], &message);
}

static void deliver_log_closed(const struct core_message *message, void *core)
{
    (void)core;
    struct broker *broker = message->object;
    if (--broker->logs_open == 0) {
        broker->stopped(broker->stopped_owner);
    }
}

/* A log's owner while it closes: the shard, and the way back. */
struct log_closing {
    struct broker *broker;
    struct shard *shard;
};

static void log_closed(void *owner)
{
    struct log_closing *closing = owner;
    closing->shard->log = NULL;
    tell_core0(closing->shard->core, closing->broker, deliver_log_closed);
    free(closing);
}

static void deliver_close_log(const struct core_message *message, void *core)
{
    (void)core;
    struct log_closing *closing = message->object;
    groups_stop(closing->shard->groups);
    dead_letters_stop(closing->shard->groups);
    group_retention_stop(closing->shard->retention);
    commit_log_close(closing->shard->log, log_closed, closing);
}

static void leases_stopped(void *owner)
{
    struct broker *broker = owner;
    broker->logs_open = broker->cores->shard_count;
    for (uint32_t i = 0; i < broker->cores->shard_count; i++) {
        struct log_closing *closing = calloc(1, sizeof(*closing));
        ASSERT(closing != NULL);
        closing->broker = broker;
        closing->shard = broker->cores->shard[i];
        struct core_message message = {.deliver = deliver_close_log, .object = closing};
        core_send_to(broker->cores->core[0], closing->shard->core, &message);
    }
}

static void changes_stopped(void *owner)
{
    struct broker *broker = owner;
    leases_stop(broker->leases, leases_stopped, broker);
}

static void deliver_drained(const struct core_message *message, void *core)
{
    (void)core;
    struct broker *broker = message->object;
    if (--broker->cores_draining > 0) {
        return;
    }
    timer_stop(broker->options.reactors[0], &broker->drain_timer);
    catalogue_changes_stop(broker->changes, changes_stopped, broker);
}

static void drained(struct core *core, void *owner)
{
    tell_core0(core, owner, deliver_drained);
}

static void deliver_drain(const struct core_message *message, void *core)
{
    core_drain(core, drained, message->object);
}

static void deliver_close_sessions(const struct core_message *message, void *core)
{
    (void)message;
    core_close_sessions(core);
}

static void drain_fired(struct timer *timer)
{
    struct broker *broker = CONTAINER_OF(timer, struct broker, drain_timer);
    log_warn("connections that take their answers too slowly are closed");
    tell_cores(broker, deliver_close_sessions);
}

static void stop_cores(struct broker *broker)
{
    struct reactor *reactor = broker->options.reactors[0];
    broker->cores_draining = broker->cores->count;
    tell_cores(broker, deliver_drain);
    broker->drain_timer = (struct timer){.fired = drain_fired};
    timer_start(reactor, &broker->drain_timer, reactor_now_ns(reactor) + DRAIN_MS * NS_PER_MS);
}

void broker_stop(struct broker *broker, void (*stopped)(void *owner), void *owner)
{
    if (broker->stopping) {
        return;
    }
    broker->stopping = true;
    broker->stopped = stopped;
    broker->stopped_owner = owner;
    for (uint32_t i = 0; i < broker->options.listener_count; i++) {
        reactor_cancel(broker->options.reactors[0], &broker->listeners[i].accept.op);
    }
}

/* --------------------------------------------------------------- inspect */

const char *broker_name(const struct broker *broker)
{
    return broker->name;
}

const char *broker_address(const struct broker *broker)
{
    return broker->address;
}

uint32_t broker_epoch(const struct broker *broker)
{
    return broker->epoch;
}
