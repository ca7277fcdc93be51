/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lease_call.c - lease.renew and lease.release written, the answer to the first read.
 */
#include "broker/lease_call.h"

#include "broker/directory.h"
#include "broker/limits.h"
#include "net/connection.h"
#include "proto/cursor.h"
#include "proto/limits.h"
#include "proto/request.h"
#include "proto/writer.h"

#include <stdlib.h>

enum {
    /* A part of a placement, the array's header with it. */
    PART_BYTES = BROKER_NAME_BYTES_MAX + 12,
    /* Everything but the topics: two names, an address, keys. */
    REQUEST_BYTES = 1024,
    /* One topic: name, id and version. Its placement is beside them. */
    TOPIC_BYTES = TOPIC_NAME_BYTES_MAX + 20
};

_Static_assert((uint64_t)TOPICS_MAX *(TOPIC_BYTES + PART_BYTES) +
                       (uint64_t)PLACEMENT_PARTS_IN_ALL_MAX * PART_BYTES + REQUEST_BYTES <=
                   FRAME_BYTES_MAX,
               "a broker that is full says so in one frame");

/* [name, id, version, [[broker, first, count]..]] */
static void write_topic(struct writer *writer, const struct topic *topic, const char *broker)
{
    writer_put_array(writer, 4);
    writer_put_str(writer, topic->name);
    writer_put_uint(writer, topic->id);
    writer_put_uint(writer, topic->version);
    topic_write_placement(topic, broker, writer);
}

static size_t topics_bytes(const struct directory *directory)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < directory->count; i++) {
        bytes += TOPIC_BYTES + topic_placement_bytes(directory->sorted[i]);
    }
    return bytes;
}

/* Those that nameservers are told of. */
static void write_topics(struct writer *writer, const struct directory *directory,
                         const char *broker)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < directory->count; i++) {
        count += directory_announces(directory->sorted[i]);
    }
    writer_put_array(writer, count);
    for (uint32_t i = 0; i < directory->count; i++) {
        if (directory_announces(directory->sorted[i])) {
            write_topic(writer, directory->sorted[i], broker);
        }
    }
}

void lease_write_renew(const struct lease_request *request, struct connection *connection)
{
    const struct directory *directory = request->directory;
    size_t bytes = REQUEST_BYTES + (request->with_topics ? topics_bytes(directory) : 0);
    uint8_t *room = malloc(bytes);
    ASSERT(room != NULL);
    struct writer writer = writer_over(room, bytes);
    request_begin(&writer, request->msgid, "lease.renew", request->with_topics ? 6 : 5);
    writer_put_key_string(&writer, "broker", request->name);
    writer_put_key_string(&writer, "address", request->address);
    writer_put_key_string(&writer, "role", "master");
    writer_put_key_uint(&writer, "epoch", request->epoch);
    writer_put_key_uint(&writer, "digest", directory_digest(directory));
    if (request->with_topics) {
        writer_put_string(&writer, "topics");
        write_topics(&writer, directory, request->name);
    }
    ASSERT(!writer.overflowed);
    connection_write(connection, room, writer_length(&writer));
    free(room);
}

void lease_write_release(uint32_t msgid, const char *name, uint32_t epoch,
                         struct connection *connection)
{
    uint8_t room[REQUEST_BYTES];
    struct writer writer = writer_over(room, sizeof(room));
    request_begin(&writer, msgid, "lease.release", 2);
    writer_put_key_string(&writer, "broker", name);
    writer_put_key_uint(&writer, "epoch", epoch);
    ASSERT(!writer.overflowed);
    connection_write(connection, room, writer_length(&writer));
}

bool lease_read_renewed(struct bytes result, struct lease_renewed *renewed_out)
{
    struct cursor cursor = cursor_over(result);
    struct lease_renewed renewed = {.lease_ms = 0, .want_topics = false};
    uint32_t pairs;
    if (!cursor_take_map(&cursor, &pairs)) {
        return false;
    }
    for (uint32_t i = 0; i < pairs; i++) {
        struct bytes key;
        if (!cursor_take_text(&cursor, &key)) {
            return false;
        }
        if (bytes_equal(key, BYTES_OF("lease_ms"))) {
            (void)cursor_take_u32(&cursor, &renewed.lease_ms);
        } else if (bytes_equal(key, BYTES_OF("want_topics"))) {
            (void)cursor_take_bool(&cursor, &renewed.want_topics);
        } else {
            (void)cursor_skip(&cursor);
        }
    }
    if (!cursor_is_done(&cursor) || renewed.lease_ms < LEASE_MS_LEAST) {
        return false;
    }
    renewed.lease_ms = renewed.lease_ms < LEASE_MS_MOST ? renewed.lease_ms : LEASE_MS_MOST;
    *renewed_out = renewed;
    return true;
}
