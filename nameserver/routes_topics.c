/* SPDX-License-Identifier: Apache-2.0 */
/* routes_topics.c - the list of topics that a broker sends: read whole, then put in the place of the old. */
#include "nameserver/routes_state.h"
#include "proto/names.h"

#include <stdlib.h>
#include <string.h>

static struct route_topic *topic_find(const struct routes *routes, struct bytes name)
{
    struct name_node *node = name_index_find(&routes->topics, name);
    return node == NULL ? NULL : CONTAINER_OF(node, struct route_topic, node);
}

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

enum error routes_refuse_full(struct refusal *refusal, const char *what, uint64_t limit,
                              uint64_t value, uint64_t usage)
{
    struct refusal_overload overload = {
        .what = what, .limit = limit, .value = value, .usage = usage, .retry_after_ms = 1000};
    return refusal_set_overload(refusal, ERROR_OVERLOADED, &overload);
}

enum error routes_check_rows(const struct routes *routes, const struct lease *lease,
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
        return routes_refuse_full(refusal, "topics of the nameserver", ROUTES_TOPICS_MAX, topics,
                                  routes->topics.count);
    }
    if (routes->entry_count + entries > ROUTES_ENTRIES_MAX) {
        return routes_refuse_full(refusal, "topics of all brokers of the nameserver",
                                  ROUTES_ENTRIES_MAX, entries, routes->entry_count);
    }
    if (routes->bytes + bytes > ROUTES_BYTES_MAX) {
        return routes_refuse_full(refusal, "bytes of routes of the nameserver", ROUTES_BYTES_MAX,
                                  bytes, routes->bytes);
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
    route_topic_mark(routes, topic);
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

/* One part of a placement that is kept, and whether there was one. */
static bool take_part(struct cursor *cursor, struct bytes *broker_out, uint32_t *count_out)
{
    uint32_t first;
    return cursor_take_array_of(cursor, 3) && cursor_take_text(cursor, broker_out) &&
           cursor_take_u32(cursor, &first) && cursor_take_u32(cursor, count_out);
}

/* Whether the shorter of two placements is the beginning of the other, queue by queue. */
static bool placements_agree(const struct route_entry *a, const struct route_entry *b)
{
    struct cursor at_a = cursor_over(bytes_make(a->placement, a->placement_bytes));
    struct cursor at_b = cursor_over(bytes_make(b->placement, b->placement_bytes));
    uint32_t left = a->queue_count < b->queue_count ? a->queue_count : b->queue_count;
    uint32_t parts;
    uint32_t left_a = 0;
    uint32_t left_b = 0;
    struct bytes broker_a = {NULL, 0};
    struct bytes broker_b = {NULL, 0};
    bool good = cursor_take_array(&at_a, &parts) && cursor_take_array(&at_b, &parts);
    while (good && left > 0) {
        good = (left_a > 0 || take_part(&at_a, &broker_a, &left_a)) &&
               (left_b > 0 || take_part(&at_b, &broker_b, &left_b)) &&
               bytes_equal(broker_a, broker_b);
        uint32_t same = left_a < left_b ? left_a : left_b;
        same = same < left ? same : left;
        left -= same;
        left_a -= same;
        left_b -= same;
    }
    return good;
}

/* Whether an entry does not agree with the longest of the others; with those that are its beginning it
 * agrees then, too. */
static bool is_disputed(const struct route_topic *topic, const struct route_entry *entry)
{
    const struct route_entry *longest = NULL;
    LIST_FOREACH (link, &topic->entries) {
        const struct route_entry *other = CONTAINER_OF(link, struct route_entry, of_topic);
        if (other != entry && (longest == NULL || other->queue_count > longest->queue_count)) {
            longest = other;
        }
    }
    return longest != NULL && !placements_agree(longest, entry);
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
        route_entry_remove(routes, old);
    }
    route_topic_mark(routes, topic);
    topic_add_entry(topic, entry);
    list_append(&broker->entries, &entry->of_broker);
    broker->entry_count++;
    routes->entry_count++;
    routes->bytes += sizeof(*entry) + entry->placement_bytes;

    if (is_disputed(topic, entry)) {
        answer->disputed = row->name;
    }
    return true;
}

bool routes_apply_rows(struct routes *routes, const struct lease *lease,
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
            route_entry_remove(routes, entry);
        }
    }
    return true;
}
