/* SPDX-License-Identifier: Apache-2.0 */
/* routes_answer.c - what the routes say to those who ask: versions, answers, and who waits for them. */
#include "nameserver/routes_state.h"

#include <stdlib.h>

/* Versions must be equal on all nameservers, so what they are hashed under is fixed. */
static const struct map_seed VERSION_SEED = {.low = 0x7465726e6d712d31, .high = 0x726f757465732d31};

/* Folds a number and a text into a hash. */
static uint64_t fold(uint64_t hash, uint64_t number, struct bytes text)
{
    struct map_seed seed = {.low = VERSION_SEED.low ^ hash, .high = VERSION_SEED.high ^ number};
    return map_hash(seed, text);
}

/* A version: exact in every language's numbers, and never 0. */
static uint64_t version_of(uint64_t hash)
{
    uint64_t version = hash & (INTEGER_LIMIT - 1);
    return version == 0 ? 1 : version;
}

const struct route_entry *route_leading_entry(const struct route_topic *topic)
{
    const struct route_entry *leading = NULL;
    LIST_FOREACH (link, &topic->entries) {
        const struct route_entry *entry = CONTAINER_OF(link, struct route_entry, of_topic);
        if (leading == NULL || entry->queue_count > leading->queue_count) {
            leading = entry;
        }
    }
    ASSERT(leading != NULL);
    return leading;
}

static struct bytes placement_of(const struct route_entry *entry)
{
    return bytes_make(entry->placement, entry->placement_bytes);
}

static uint64_t topic_hash(const struct route_topic *topic)
{
    uint64_t hash = fold(0, 0, topic->node.name);
    LIST_FOREACH (link, &topic->entries) {
        const struct route_entry *entry = CONTAINER_OF(link, struct route_entry, of_topic);
        hash = fold(hash, entry->topic_id, route_broker_name(entry->broker));
        hash = fold(hash, entry->queue_count, bytes_make(NULL, 0));
        hash = fold(hash, entry->broker->epoch, route_broker_address(entry->broker));
    }
    return fold(hash, 0, placement_of(route_leading_entry(topic)));
}

void route_broker_rehash(struct routes *routes, struct route_broker *broker)
{
    uint64_t hash = 0;
    if (broker->live) {
        hash = fold(broker->entry_count, broker->epoch, route_broker_name(broker));
        hash = fold(hash, 0, route_broker_address(broker));
    }
    /* A sum, so that a row can be taken out again; the order is the names' and needs no hash. */
    routes->list_hash[ROUTES_BROKERS] += hash - broker->row_hash;
    broker->row_hash = hash;
}

static void wake_all(struct list *watches)
{
    struct list waking;
    list_init(&waking);
    list_move_all(&waking, watches);
    struct list *link;
    while ((link = list_take_first(&waking)) != NULL) {
        struct route_watch *watch = CONTAINER_OF(link, struct route_watch, link);
        watch->changed(watch);
    }
}

static void topic_drop(struct routes *routes, struct route_topic *topic)
{
    name_index_remove(&routes->topics, &topic->node);
    routes->bytes -= sizeof(*topic) + topic->node.name.length;
    free(topic);
}

void routes_settle(struct routes *routes)
{
    /* First every version, then whoever is woken: an answer shows the state after all of the change. */
    struct list waking;
    list_init(&waking);
    struct list *link;
    while ((link = list_take_first(&routes->dirty)) != NULL) {
        struct route_topic *topic = CONTAINER_OF(link, struct route_topic, dirty);
        bool gone = list_is_empty(&topic->entries);
        uint64_t hash = gone ? 0 : topic_hash(topic);
        routes->list_hash[ROUTES_TOPICS] += hash - topic->row_hash;
        topic->row_hash = hash;
        uint64_t version = gone ? 0 : version_of(hash);
        if (version != topic->version) {
            list_move_all(&waking, &topic->watches);
        }
        topic->version = version;
        if (gone) {
            topic_drop(routes, topic);
        }
    }
    for (int list = ROUTES_BROKERS; list <= ROUTES_TOPICS; list++) {
        if (routes->list_hash[list] != routes->list_hash_told[list]) {
            routes->list_hash_told[list] = routes->list_hash[list];
            list_move_all(&waking, &routes->list_watches[list]);
        }
    }
    wake_all(&waking);
}

/* --------------------------------------------------------------- answers */

/* For how long brokers may still come that were there before. */
static uint64_t warming_left_ms(const struct routes *routes, uint64_t now_ms)
{
    uint64_t warm_ms = routes->options.now_ms + routes->options.lease_ms;
    return now_ms < warm_ms ? warm_ms - now_ms : 0;
}

enum error routes_find(const struct routes *routes, uint64_t now_ms, struct bytes name,
                       struct route_topic **topic_out, struct refusal *refusal)
{
    struct name_node *node = name_index_find(&routes->topics, name);
    if (node != NULL) {
        *topic_out = CONTAINER_OF(node, struct route_topic, node);
        return OK;
    }
    uint64_t warming_ms = warming_left_ms(routes, now_ms);
    if (warming_ms > 0) {
        refusal_set(refusal, ERROR_WARMING,
                    "topic %.*s is not known yet: the nameserver started %llu ms ago",
                    (int)name.length, (const char *)name.data,
                    (unsigned long long)(now_ms - routes->options.now_ms));
        refusal_add(refusal, REFUSAL_RETRY_AFTER_MS, warming_ms);
        return ERROR_WARMING;
    }
    return refusal_set(refusal, ERROR_TOPIC_NOT_FOUND,
                       "no broker that holds a lease has a topic %.*s", (int)name.length,
                       (const char *)name.data);
}

uint64_t route_version(const struct route_topic *topic)
{
    return topic->version;
}

static uint32_t entries_of(const struct route_topic *topic)
{
    uint32_t count = 0;
    LIST_FOREACH (link, &topic->entries) {
        count++;
    }
    return count;
}

static void put_broker(struct writer *writer, const struct route_entry *entry)
{
    writer_put_map(writer, 7);
    writer_put_key_str(writer, "name", route_broker_name(entry->broker));
    writer_put_key_uint(writer, "epoch", entry->broker->epoch);
    writer_put_key_uint(writer, "topic_id", entry->topic_id);
    writer_put_key_str(writer, "master", route_broker_address(entry->broker));
    writer_put_string(writer, "slaves");
    writer_put_array(writer, 0);
    writer_put_key_bool(writer, "writable", true);
    writer_put_key_uint(writer, "queues", entry->queue_count);
}

void route_write(const struct route_topic *topic, struct writer *writer)
{
    writer_put_map(writer, 3);
    writer_put_key_uint(writer, "version", topic->version);
    writer_put_string(writer, "placement");
    writer_put_raw(writer, placement_of(route_leading_entry(topic)));
    writer_put_string(writer, "brokers");
    writer_put_array(writer, entries_of(topic));
    LIST_FOREACH (link, &topic->entries) {
        put_broker(writer, CONTAINER_OF(link, struct route_entry, of_topic));
    }
}

uint64_t routes_list_version(const struct routes *routes, enum routes_list list)
{
    return version_of(routes->list_hash[list]);
}

/* Writes a row, or nothing of what does not stand in the list. */
static bool put_broker_row(struct writer *writer, const struct name_node *node)
{
    const struct route_broker *broker = CONTAINER_OF(node, struct route_broker, node);
    if (!broker->live) {
        return false;
    }
    writer_put_map(writer, 5);
    writer_put_key_str(writer, "name", route_broker_name(broker));
    writer_put_key_str(writer, "address", route_broker_address(broker));
    writer_put_key_string(writer, "role", "master");
    writer_put_key_uint(writer, "epoch", broker->epoch);
    writer_put_key_uint(writer, "topics", broker->entry_count);
    return true;
}

static bool put_topic_row(struct writer *writer, const struct name_node *node)
{
    const struct route_topic *topic = CONTAINER_OF(node, struct route_topic, node);
    writer_put_map(writer, 3);
    writer_put_key_str(writer, "name", node->name);
    writer_put_key_uint(writer, "queues", route_leading_entry(topic)->queue_count);
    writer_put_string(writer, "brokers");
    writer_put_array(writer, entries_of(topic));
    LIST_FOREACH (link, &topic->entries) {
        const struct route_entry *entry = CONTAINER_OF(link, struct route_entry, of_topic);
        writer_put_str(writer, route_broker_name(entry->broker));
    }
    return true;
}

static const struct name_node *page_first(const struct name_index *index,
                                          const struct routes_page *page)
{
    if (bytes_compare(page->after, page->prefix) < 0) {
        return name_index_from(index, page->prefix);
    }
    return page->after.length == 0 ? name_index_from(index, page->after)
                                   : name_index_after(index, page->after);
}

void routes_list_write(const struct routes *routes, uint64_t now_ms, const struct routes_page *page,
                       struct writer *writer)
{
    bool brokers = page->list == ROUTES_BROKERS;
    const struct name_index *index = brokers ? &routes->brokers : &routes->topics;
    size_t begin = writer_length(writer);
    writer_put_array(writer, 0); /* A map's header, of a pair less or more, takes the same byte. */
    writer_put_key_uint(writer, "version", routes_list_version(routes, page->list));
    writer_put_string(writer, "rows");
    size_t count_place = writer_length(writer);
    writer_put_array16(writer, 0);

    uint16_t count = 0;
    const struct name_node *node = page_first(index, page);
    const struct name_node *last = NULL;
    bool more = false;
    for (; node != NULL && bytes_starts_with(node->name, page->prefix);
         node = name_index_after(index, node->name)) {
        if (count == page->limit || writer_length(writer) - begin > ROUTES_LIST_BYTES_MAX) {
            more = true;
            break;
        }
        if (brokers ? put_broker_row(writer, node) : put_topic_row(writer, node)) {
            count++;
            last = node;
        }
    }
    writer_patch_u16(writer, count_place, count);
    uint32_t pairs = 2;
    if (more && last != NULL) {
        writer_put_key_str(writer, "next", last->name);
        pairs++;
    }
    uint64_t warming_ms = warming_left_ms(routes, now_ms);
    if (warming_ms > 0) {
        writer_put_key_uint(writer, "warming_ms", warming_ms);
        pairs++;
    }
    struct writer head = writer_over(writer->start + begin, 1);
    writer_put_map(&head, pairs);
}

/* --------------------------------------------------------------- watches */

void route_watch_topic(struct route_topic *topic, struct route_watch *watch)
{
    list_append(&topic->watches, &watch->link);
}

void route_watch_list(struct routes *routes, enum routes_list list, struct route_watch *watch)
{
    list_append(&routes->list_watches[list], &watch->link);
}

void route_watch_cancel(struct route_watch *watch)
{
    list_remove(&watch->link);
}
