/* SPDX-License-Identifier: Apache-2.0 */
/* routes.c - leases: they begin, are renewed, and end; what a broker has comes and goes with them. */
#include "nameserver/routes.h"

#include "nameserver/routes_state.h"

#include <stdlib.h>
#include <string.h>

struct routes *routes_create(const struct routes_options *options)
{
    struct routes *routes = calloc(1, sizeof(*routes));
    ASSERT(routes != NULL);
    routes->options = *options;
    struct map_seed seed = {.low = options->seed, .high = ~options->seed};
    name_index_init(&routes->brokers, seed);
    name_index_init(&routes->topics, seed);
    heap_init(&routes->deadlines);
    list_init(&routes->dirty);
    list_init(&routes->list_watches[ROUTES_BROKERS]);
    list_init(&routes->list_watches[ROUTES_TOPICS]);
    return routes;
}

/* ----------------------------------------------------------------- parts */

static struct route_broker *broker_find(const struct routes *routes, struct bytes name)
{
    struct name_node *node = name_index_find(&routes->brokers, name);
    return node == NULL ? NULL : CONTAINER_OF(node, struct route_broker, node);
}

void route_topic_mark(struct routes *routes, struct route_topic *topic)
{
    if (list_is_empty(&topic->dirty)) {
        list_append(&routes->dirty, &topic->dirty);
    }
}

void route_entry_remove(struct routes *routes, struct route_entry *entry)
{
    route_topic_mark(routes, entry->topic);
    list_remove(&entry->of_broker);
    list_remove(&entry->of_topic);
    entry->broker->entry_count--;
    routes->entry_count--;
    routes->bytes -= sizeof(*entry) + entry->placement_bytes;
    free(entry);
}

static void broker_drop_entries(struct routes *routes, struct route_broker *broker)
{
    LIST_FOREACH (link, &broker->entries) {
        route_entry_remove(routes, CONTAINER_OF(link, struct route_entry, of_broker));
    }
    broker->has_topics = false;
}

/* Sets when the broker's lease, or the memory of its epoch, ends. */
static void broker_set_deadline(struct routes *routes, struct route_broker *broker, uint64_t at_ms)
{
    heap_move(&routes->deadlines, &broker->deadline, at_ms);
}

static void broker_end(struct routes *routes, struct route_broker *broker)
{
    broker_drop_entries(routes, broker);
    broker->live = false;
    broker->session = 0;
    routes->live_count--;
    route_broker_rehash(routes, broker);
}

static void broker_forget(struct routes *routes, struct route_broker *broker)
{
    ASSERT(!broker->live && list_is_empty(&broker->entries));
    heap_remove(&routes->deadlines, &broker->deadline);
    name_index_remove(&routes->brokers, &broker->node);
    routes->bytes -= sizeof(*broker);
    free(broker);
}

/* The past broker that would be forgotten first, to make room. */
static bool broker_forget_one(struct routes *routes)
{
    struct route_broker *first = NULL;
    struct name_node *node = name_index_from(&routes->brokers, BYTES_OF(""));
    for (; node != NULL; node = name_index_after(&routes->brokers, node->name)) {
        struct route_broker *broker = CONTAINER_OF(node, struct route_broker, node);
        if (!broker->live && (first == NULL || broker->deadline.key < first->deadline.key)) {
            first = broker;
        }
    }
    if (first == NULL) {
        return false;
    }
    broker_forget(routes, first);
    return true;
}

static struct route_broker *broker_create(struct routes *routes, struct bytes name)
{
    struct route_broker *broker = calloc(1, sizeof(*broker));
    if (broker == NULL) {
        return NULL;
    }
    heap_node_init(&broker->deadline);
    if (!heap_insert(&routes->deadlines, &broker->deadline, UINT64_MAX)) {
        free(broker);
        return NULL;
    }
    memcpy(broker->name, name.data, name.length);
    broker->node.name = bytes_make(broker->name, name.length);
    list_init(&broker->entries);
    name_index_insert(&routes->brokers, &broker->node);
    routes->bytes += sizeof(*broker);
    return broker;
}

void routes_destroy(struct routes *routes)
{
    ASSERT(list_is_empty(&routes->list_watches[ROUTES_BROKERS]));
    ASSERT(list_is_empty(&routes->list_watches[ROUTES_TOPICS]));
    struct name_node *node;
    while ((node = name_index_from(&routes->brokers, BYTES_OF(""))) != NULL) {
        struct route_broker *broker = CONTAINER_OF(node, struct route_broker, node);
        if (broker->live) {
            broker_end(routes, broker);
        }
        broker_forget(routes, broker);
    }
    routes_settle(routes);
    ASSERT(routes->topics.count == 0 && routes->bytes == 0);
    heap_deinit(&routes->deadlines);
    free(routes);
}

/* ---------------------------------------------------------------- leases */

static enum error refuse_fenced(struct refusal *refusal, const struct route_broker *broker,
                                uint32_t epoch)
{
    int name_length = (int)broker->node.name.length;
    if (epoch != broker->epoch) {
        return refusal_set(refusal, ERROR_FENCED, "broker %.*s is known with epoch %u, not %u",
                           name_length, broker->name, broker->epoch, epoch);
    }
    return refusal_set(refusal, ERROR_FENCED,
                       "another broker is called %.*s, at %.*s with epoch %u too: give one of them "
                       "another --name",
                       name_length, broker->name, (int)broker->address_length, broker->address,
                       epoch);
}

/* Whether a renewal is by the holder, or by one who may take its place. */
static bool may_renew(const struct route_broker *broker, const struct lease *lease)
{
    if (lease->epoch != broker->epoch) {
        return lease->epoch > broker->epoch;
    }
    return !broker->live || bytes_equal(lease->address, route_broker_address(broker));
}

/* Writes what the renewal says into the broker. */
static void broker_update(struct routes *routes, struct route_broker *broker,
                          const struct lease *lease)
{
    bool shown =
        broker->epoch != lease->epoch || !bytes_equal(lease->address, route_broker_address(broker));
    if (!broker->live) {
        broker->live = true;
        routes->live_count++;
    }
    broker->epoch = lease->epoch;
    broker->session = lease->session;
    broker->address_length = (uint16_t)lease->address.length;
    memcpy(broker->address, lease->address.data, lease->address.length);
    if (shown) {
        LIST_FOREACH (link, &broker->entries) {
            route_topic_mark(routes, CONTAINER_OF(link, struct route_entry, of_broker)->topic);
        }
    }
}

enum error routes_renew(struct routes *routes, uint64_t now_ms, const struct lease *lease,
                        struct lease_answer *answer_out, struct refusal *refusal)
{
    ASSERT(lease->broker.length <= BROKER_NAME_BYTES_MAX && lease->session != 0);
    ASSERT(lease->address.length <= ADDRESS_BYTES_MAX);
    routes_advance(routes, now_ms, NULL, NULL);
    struct route_broker *broker = broker_find(routes, lease->broker);
    if (broker != NULL && !may_renew(broker, lease)) {
        return refuse_fenced(refusal, broker, lease->epoch);
    }
    if (lease->has_topics) {
        enum error error = routes_check_rows(routes, lease, broker, refusal);
        if (error != OK) {
            return error;
        }
    }
    if (broker == NULL) {
        bool room = routes->brokers.count < BROKERS_MAX || broker_forget_one(routes);
        broker = room ? broker_create(routes, lease->broker) : NULL;
        if (broker == NULL) {
            return routes_refuse_full(refusal, "brokers of the nameserver", BROKERS_MAX, 1,
                                      routes->brokers.count);
        }
    }

    struct lease_answer answer = {
        .arrived = !broker->live,
        .replaced = broker->live && lease->epoch > broker->epoch,
    };
    broker_update(routes, broker, lease);
    broker_set_deadline(routes, broker, now_ms + routes->options.lease_ms);
    if (lease->has_topics) {
        /* Without memory for all of it the list is asked for again. */
        broker->has_topics = routes_apply_rows(routes, lease, broker, &answer);
        broker->digest = lease->digest;
    }
    answer.want_topics = !broker->has_topics || broker->digest != lease->digest;
    answer.topic_count = broker->entry_count;
    route_broker_rehash(routes, broker);
    routes_settle(routes);
    *answer_out = answer;
    return OK;
}

enum error routes_release(struct routes *routes, uint64_t now_ms, struct bytes name, uint32_t epoch,
                          struct refusal *refusal)
{
    routes_advance(routes, now_ms, NULL, NULL);
    struct route_broker *broker = broker_find(routes, name);
    if (broker == NULL) {
        return OK;
    }
    if (epoch != broker->epoch) {
        return refuse_fenced(refusal, broker, epoch);
    }
    if (broker->live) {
        broker_end(routes, broker);
    }
    broker_forget(routes, broker);
    routes_settle(routes);
    return OK;
}

uint32_t routes_lose(struct routes *routes, uint64_t now_ms, uint64_t session)
{
    ASSERT(session != 0);
    uint32_t lost = 0;
    struct name_node *node = name_index_from(&routes->brokers, BYTES_OF(""));
    for (; node != NULL; node = name_index_after(&routes->brokers, node->name)) {
        struct route_broker *broker = CONTAINER_OF(node, struct route_broker, node);
        if (broker->live && broker->session == session) {
            lost++;
            if (broker->deadline.key > now_ms + LEASE_LOST_MS) {
                broker_set_deadline(routes, broker, now_ms + LEASE_LOST_MS);
            }
        }
    }
    return lost;
}

void routes_advance(struct routes *routes, uint64_t now_ms,
                    void (*ended)(void *context, struct bytes broker), void *context)
{
    struct heap_node *least;
    while ((least = heap_least(&routes->deadlines)) != NULL && least->key <= now_ms) {
        struct route_broker *broker = CONTAINER_OF(least, struct route_broker, deadline);
        if (!broker->live) {
            broker_forget(routes, broker);
            continue;
        }
        broker_end(routes, broker);
        broker_set_deadline(routes, broker, least->key + routes->options.lease_ms);
        if (ended != NULL) {
            ended(context, broker->node.name);
        }
    }
    routes_settle(routes);
}

uint64_t routes_next_ms(const struct routes *routes)
{
    struct heap_node *least = heap_least(&routes->deadlines);
    return least == NULL ? UINT64_MAX : least->key;
}

struct routes_usage routes_usage(const struct routes *routes)
{
    return (struct routes_usage){
        .brokers = routes->live_count,
        .topics = routes->topics.count,
        .entries = routes->entry_count,
        .bytes = routes->bytes,
    };
}
