/* SPDX-License-Identifier: Apache-2.0 */
/* routes.c - leases: they begin, are renewed, and end; what a broker has comes and goes with them. */
#include "nameserver/routes.h"

#include "nameserver/routes_state.h"
#include "proto/names.h"

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

static struct route_topic *topic_find(const struct routes *routes, struct bytes name)
{
    struct name_node *node = name_index_find(&routes->topics, name);
    return node == NULL ? NULL : CONTAINER_OF(node, struct route_topic, node);
}

static void topic_mark(struct routes *routes, struct route_topic *topic)
{
    if (list_is_empty(&topic->dirty)) {
        list_append(&routes->dirty, &topic->dirty);
    }
}

static void entry_remove(struct routes *routes, struct route_entry *entry)
{
    topic_mark(routes, entry->topic);
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
        entry_remove(routes, CONTAINER_OF(link, struct route_entry, of_broker));
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

/* ------------------------------------------------------- lists of topics */

/* One element of lease.renew's topics. */
struct topic_row {
    struct bytes name;
    uint64_t version;
    uint32_t topic_id;
    uint32_t queue_count;
    struct bytes placement; /* with its header, as it was sent */
};

/* Checks `[[broker, first, count]..]`: queues from 0 on, without a gap. */
static bool take_placement(struct cursor *cursor, struct topic_row *row)
{
    const uint8_t *begin = cursor->at;
    uint32_t parts;
    if (!cursor_take_array(cursor, &parts) || parts == 0 || parts > QUEUES_PER_TOPIC_MAX) {
        return false;
    }
    uint64_t next = 0;
    for (uint32_t i = 0; i < parts; i++) {
        struct bytes broker;
        uint64_t first;
        uint64_t count;
        if (!cursor_take_array_of(cursor, 3) || !cursor_take_text(cursor, &broker) ||
            !cursor_take_uint_max(cursor, QUEUES_PER_TOPIC_MAX, &first) ||
            !cursor_take_uint_max(cursor, QUEUES_PER_TOPIC_MAX, &count) ||
            !name_is_broker(broker) || first != next || count == 0) {
            return false;
        }
        next += count;
    }
    row->queue_count = (uint32_t)next;
    row->placement = bytes_make(begin, (size_t)(cursor->at - begin));
    return next <= QUEUES_PER_TOPIC_MAX;
}

/* Takes one element; fields after the fourth are of later versions. */
static bool take_row(struct cursor *cursor, struct topic_row *row)
{
    uint32_t fields;
    if (!cursor_take_array(cursor, &fields) || fields < 4 ||
        !cursor_take_text(cursor, &row->name) || !cursor_take_u32(cursor, &row->topic_id) ||
        !cursor_take_uint(cursor, &row->version) || !take_placement(cursor, row)) {
        return false;
    }
    for (uint32_t i = 4; i < fields; i++) {
        if (!cursor_skip(cursor)) {
            return false;
        }
    }
    return name_is_topic(row->name);
}

/* Writes a placement that was checked in its shortest form; `to` has as much room as it had. */
static uint32_t write_placement(struct bytes sent, uint8_t *to)
{
    struct cursor cursor = cursor_over(sent);
    struct writer writer = writer_over(to, sent.length);
    uint32_t parts = 0;
    bool good = cursor_take_array(&cursor, &parts);
    writer_put_array(&writer, parts);
    for (uint32_t i = 0; good && i < parts; i++) {
        struct bytes broker = {NULL, 0};
        uint64_t first = 0;
        uint64_t count = 0;
        good = cursor_take_array_of(&cursor, 3) && cursor_take_text(&cursor, &broker) &&
               cursor_take_uint(&cursor, &first) && cursor_take_uint(&cursor, &count);
        writer_put_array(&writer, 3);
        writer_put_str(&writer, broker);
        writer_put_uint(&writer, first);
        writer_put_uint(&writer, count);
    }
    ASSERT(good && !writer.overflowed);
    return (uint32_t)writer_length(&writer);
}

static struct route_entry *entry_find(const struct route_topic *topic,
                                      const struct route_broker *broker)
{
    LIST_FOREACH (link, &topic->entries) {
        struct route_entry *entry = CONTAINER_OF(link, struct route_entry, of_topic);
        if (entry->broker == broker) {
            return entry;
        }
    }
    return NULL;
}

static enum error refuse_rows(struct refusal *refusal, uint32_t index)
{
    refusal_set(refusal, ERROR_BAD_ARGUMENT,
                "topics[%u] is not [name, topic_id, version, [[broker, first, count]..]]", index);
    refusal_add_key(refusal, BYTES_OF("topics"));
    return ERROR_BAD_ARGUMENT;
}

static enum error refuse_full(struct refusal *refusal, const char *what, uint64_t limit,
                              uint64_t value, uint64_t usage)
{
    struct refusal_overload overload = {
        .what = what, .limit = limit, .value = value, .usage = usage, .retry_after_ms = 1000};
    return refusal_set_overload(refusal, ERROR_OVERLOADED, &overload);
}

/*
 * Reads the whole list before anything of it is taken over: its shape, and whether it fits, counting
 * what would come and not what would go, so that a list that is refused changes nothing.
 */
static enum error check_rows(const struct routes *routes, const struct lease *lease,
                             const struct route_broker *broker, struct refusal *refusal)
{
    uint64_t topics = 0;
    uint64_t entries = 0;
    uint64_t bytes = 0;
    struct cursor cursor = lease->topics;
    for (uint32_t i = 0; i < lease->topic_count; i++) {
        struct topic_row row;
        if (!take_row(&cursor, &row)) {
            return refuse_rows(refusal, i);
        }
        struct route_topic *topic = topic_find(routes, row.name);
        if (topic == NULL) {
            topics++;
            bytes += sizeof(*topic) + row.name.length;
        }
        if (topic == NULL || broker == NULL || entry_find(topic, broker) == NULL) {
            entries++;
        }
        bytes += sizeof(struct route_entry) + row.placement.length;
    }
    if (routes->topics.count + topics > ROUTES_TOPICS_MAX) {
        return refuse_full(refusal, "topics of the nameserver", ROUTES_TOPICS_MAX, topics,
                           routes->topics.count);
    }
    if (routes->entry_count + entries > ROUTES_ENTRIES_MAX) {
        return refuse_full(refusal, "topics of all brokers of the nameserver", ROUTES_ENTRIES_MAX,
                           entries, routes->entry_count);
    }
    if (routes->bytes + bytes > ROUTES_BYTES_MAX) {
        return refuse_full(refusal, "bytes of routes of the nameserver", ROUTES_BYTES_MAX, bytes,
                           routes->bytes);
    }
    return OK;
}

static struct route_topic *topic_create(struct routes *routes, struct bytes name)
{
    struct route_topic *topic = calloc(1, sizeof(*topic) + name.length);
    if (topic == NULL) {
        return NULL;
    }
    memcpy(topic->name, name.data, name.length);
    topic->node.name = bytes_make(topic->name, name.length);
    list_init(&topic->entries);
    list_init(&topic->watches);
    list_init(&topic->dirty);
    name_index_insert(&routes->topics, &topic->node);
    routes->bytes += sizeof(*topic) + name.length;
    topic_mark(routes, topic);
    return topic;
}

/* Puts an entry into its topic's list at the place of its broker's name. */
static void topic_add_entry(struct route_topic *topic, struct route_entry *entry)
{
    struct list *place = topic->entries.next;
    while (place != &topic->entries) {
        struct route_entry *other = CONTAINER_OF(place, struct route_entry, of_topic);
        if (bytes_compare(other->broker->node.name, entry->broker->node.name) > 0) {
            break;
        }
        place = place->next;
    }
    list_insert_before(place, &entry->of_topic);
}

/* Puts one row in the place of what was known of this topic at this broker. False: no memory. */
static bool apply_row(struct routes *routes, struct route_broker *broker,
                      const struct topic_row *row, struct lease_answer *answer)
{
    struct route_topic *topic = topic_find(routes, row->name);
    if (topic == NULL) {
        topic = topic_create(routes, row->name);
    }
    struct route_entry *entry = calloc(1, sizeof(*entry) + row->placement.length);
    if (topic == NULL || entry == NULL) {
        free(entry);
        return false;
    }
    entry->broker = broker;
    entry->topic = topic;
    entry->version = row->version;
    entry->topic_id = row->topic_id;
    entry->queue_count = row->queue_count;
    entry->round = routes->round;
    entry->placement_bytes = write_placement(row->placement, entry->placement);

    struct route_entry *old = entry_find(topic, broker);
    if (old != NULL) {
        bool same = old->version == entry->version && old->topic_id == entry->topic_id &&
                    bytes_equal(bytes_make(old->placement, old->placement_bytes),
                                bytes_make(entry->placement, entry->placement_bytes));
        if (same) {
            old->round = routes->round;
            free(entry);
            return true;
        }
        entry_remove(routes, old);
    }
    topic_mark(routes, topic);
    topic_add_entry(topic, entry);
    list_append(&broker->entries, &entry->of_broker);
    broker->entry_count++;
    routes->entry_count++;
    routes->bytes += sizeof(*entry) + entry->placement_bytes;

    const struct route_entry *leading = route_leading_entry(topic);
    if (leading->version == entry->version &&
        !bytes_equal(bytes_make(leading->placement, leading->placement_bytes),
                     bytes_make(entry->placement, entry->placement_bytes))) {
        answer->disputed = row->name;
    }
    return true;
}

/* Takes over a list that check_rows() has accepted. False: no memory, the list is not whole. */
static bool apply_rows(struct routes *routes, const struct lease *lease,
                       struct route_broker *broker, struct lease_answer *answer)
{
    routes->round++;
    struct cursor cursor = lease->topics;
    for (uint32_t i = 0; i < lease->topic_count; i++) {
        struct topic_row row;
        bool taken = take_row(&cursor, &row);
        ASSERT(taken);
        if (!apply_row(routes, broker, &row, answer)) {
            return false;
        }
    }
    LIST_FOREACH (link, &broker->entries) {
        struct route_entry *entry = CONTAINER_OF(link, struct route_entry, of_broker);
        if (entry->round != routes->round) {
            entry_remove(routes, entry);
        }
    }
    return true;
}

/* ---------------------------------------------------------------- leases */

static enum error refuse_fenced(struct refusal *refusal, const struct route_broker *broker,
                                uint32_t epoch)
{
    int name_length = (int)broker->node.name.length;
    if (epoch < broker->epoch) {
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
            topic_mark(routes, CONTAINER_OF(link, struct route_entry, of_broker)->topic);
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
        enum error error = check_rows(routes, lease, broker, refusal);
        if (error != OK) {
            return error;
        }
    }
    if (broker == NULL) {
        bool room = routes->brokers.count < BROKERS_MAX || broker_forget_one(routes);
        broker = room ? broker_create(routes, lease->broker) : NULL;
        if (broker == NULL) {
            return refuse_full(refusal, "brokers of the nameserver", BROKERS_MAX, 1,
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
        broker->has_topics = apply_rows(routes, lease, broker, &answer);
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
    if (epoch < broker->epoch) {
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
