/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connection_output.c - the ordered output queue of a connection.
 *
 * A queue is a list of parts: runs of bytes in blocks, borrowed ranges, parts of files. Sending
 * takes what lies at its front, up to the next part of a file, into one call.
 */

#include "net/connection.h"
#include "net/connection_turn.h"
#include "proto/base/contract.h"

#include <string.h>

enum {
    SEND_BYTES_MAX = 512 * 1024, /* a connection and a turn: then others have theirs */
    SEND_LEFT_OVER_LEAST = 16384 /* less than this is not cut off for the next turn */
};

static void queued(struct connection *connection, size_t length)
{
    connection->bytes_queued += length;
    connection->unsent_bytes += length;
    if (connection->unsent_high != 0 && connection->unsent_bytes > connection->unsent_high) {
        connection->drain_owed = true;
    }
    if (list_is_empty(&connection->dirty) && !connection->send.op.in_flight) {
        list_append(&connection->turn->dirty, &connection->dirty);
    }
}

/* It counts as queued, so that nobody takes it for sent. */
static void drop(struct connection *connection, size_t length)
{
    connection->bytes_queued += length;
}

static void release(struct output_hold hold)
{
    if (hold.release != NULL) {
        hold.release(hold.owner);
    }
}

/* ------------------------------------------------------------------ bytes */

uint8_t *connection_reserve(struct connection *connection, size_t bytes)
{
    ASSERT(bytes >= 1 && bytes <= CONNECTION_RESERVE_MAX);
    connection->reserved = bytes;
    if (connection->state != CONNECTION_OPEN) {
        return connection->turn->scratch;
    }
    struct output_block *block = connection->block;
    if (block != NULL && block->capacity - block->used < bytes) {
        connection->block = NULL;
        if (block->parts == 0) {
            output_block_give(connection->turn, block);
        }
        block = NULL;
    }
    if (block == NULL) {
        block = output_block_take(connection->turn, bytes);
        connection->block = block;
    }
    return block->bytes + block->used;
}

void connection_commit(struct connection *connection, size_t bytes)
{
    ASSERT(bytes <= connection->reserved);
    connection->reserved = 0;
    if (bytes == 0 || connection->state != CONNECTION_OPEN) {
        drop(connection, bytes);
        return;
    }
    struct output_block *block = connection->block;
    const uint8_t *written = block->bytes + block->used;
    block->used += (uint32_t)bytes;
    struct list *last = list_last(&connection->parts);
    struct output_part *part = last == NULL ? NULL : CONTAINER_OF(last, struct output_part, link);
    if (part != NULL && part->block == block && part->bytes + part->length == written) {
        part->length += bytes;
    } else {
        part = output_part_take(connection->turn);
        part->bytes = written;
        part->block = block;
        part->length = bytes;
        block->parts++;
        list_append(&connection->parts, &part->link);
    }
    queued(connection, bytes);
}

void connection_write(struct connection *connection, const void *bytes, size_t length)
{
    const uint8_t *from = bytes;
    while (length > 0) {
        size_t room = OUTPUT_BLOCK_BYTES;
        if (connection->block != NULL) {
            room = connection->block->capacity - connection->block->used;
        }
        if (room == 0 || room > CONNECTION_RESERVE_MAX) {
            room = OUTPUT_BLOCK_BYTES;
        }
        size_t step = length < room ? length : room;
        memcpy(connection_reserve(connection, step), from, step);
        connection_commit(connection, step);
        from += step;
        length -= step;
    }
}

/* --------------------------------------------------------------- borrowed */

void connection_write_range(struct connection *connection, const void *bytes, size_t length,
                            struct output_hold hold)
{
    if (connection->state != CONNECTION_OPEN || length == 0) {
        drop(connection, length);
        release(hold);
        return;
    }
    struct output_part *part = output_part_take(connection->turn);
    part->bytes = bytes;
    part->length = length;
    part->hold = hold;
    list_append(&connection->parts, &part->link);
    queued(connection, length);
}

void connection_write_file(struct connection *connection, int file, uint64_t offset, size_t length,
                           struct output_hold hold)
{
    ASSERT(file >= 0);
    if (connection->state != CONNECTION_OPEN || length == 0) {
        drop(connection, length);
        release(hold);
        return;
    }
    struct output_part *part = output_part_take(connection->turn);
    part->file = file;
    part->file_offset = offset;
    part->length = length;
    part->hold = hold;
    list_append(&connection->parts, &part->link);
    queued(connection, length);
}

size_t connection_unsent_bytes(const struct connection *connection)
{
    return connection->unsent_bytes;
}

/* ---------------------------------------------------------------- sending */

/* Gathers the front of the queue into the send's ranges, up to a part of a file. */
static void gather(struct connection *connection)
{
    struct send_op *send = &connection->send;
    struct iovec *ranges = connection->ranges;
    int room = CONNECTION_RANGES;
    size_t left = SEND_BYTES_MAX;
    int count = 0;
    send->more = false;
    LIST_FOREACH (link, &connection->parts) {
        const struct output_part *part = CONTAINER_OF(link, struct output_part, link);
        if (part->file >= 0) {
            send->more = true;
            break;
        }
        if (left == 0 || count == OUTPUT_RANGES_MAX) {
            break;
        }
        if (count == room && connection->ranges_block == NULL) {
            connection->ranges_block = output_block_take(connection->turn, OUTPUT_BLOCK_BYTES);
            ranges = (struct iovec *)(void *)connection->ranges_block->bytes;
            memcpy(ranges, connection->ranges, sizeof(connection->ranges));
            room = OUTPUT_RANGES_MAX;
        }
        size_t length = part->length;
        if (length > left && length - left >= SEND_LEFT_OVER_LEAST) {
            length = left;
        }
        ranges[count].iov_base = (void *)(uintptr_t)part->bytes;
        ranges[count].iov_len = length;
        count++;
        left -= length < left ? length : left;
    }
    send->iov = ranges;
    send->count = count;
    send->file = -1;
}

void connection_output_start(struct connection *connection)
{
    struct send_op *send = &connection->send;
    struct list *first = list_first(&connection->parts);
    if (first == NULL || send->op.in_flight || connection->state > CONNECTION_ENDING) {
        return;
    }
    const struct output_part *part = CONTAINER_OF(first, struct output_part, link);
    if (part->file >= 0) {
        send->file = part->file;
        send->file_offset = part->file_offset;
        send->file_bytes = part->length;
        send->more = false;
        send->count = 0;
    } else {
        gather(connection);
    }
    reactor_send(connection->reactor, send, connection->socket);
}

void connection_flush(struct connection *connection)
{
    if (connection->state == CONNECTION_OPEN && !list_is_empty(&connection->dirty)) {
        list_remove(&connection->dirty);
        connection_output_start(connection);
    }
}

/* ------------------------------------------------------------------- sent */

static void part_end(struct connection *connection, struct output_part *part)
{
    struct output_block *block = part->block;
    struct output_hold hold = part->hold;
    output_part_give(connection->turn, part);
    if (block != NULL) {
        block->parts--;
        if (block->parts == 0 && block != connection->block) {
            output_block_give(connection->turn, block);
        }
    }
    release(hold);
}

static void give_ranges_back(struct connection *connection)
{
    if (connection->ranges_block != NULL) {
        output_block_give(connection->turn, connection->ranges_block);
        connection->ranges_block = NULL;
    }
}

/* The block being written, if all of it is sent: an idle connection owns none. */
static void give_block_back(struct connection *connection)
{
    struct output_block *block = connection->block;
    if (block != NULL && block->parts == 0 && connection->reserved == 0) {
        connection->block = NULL;
        output_block_give(connection->turn, block);
    }
}

void connection_output_count(struct connection *connection)
{
    size_t count = connection->send.sent;
    ASSERT(count <= connection->unsent_bytes);
    connection->unsent_bytes -= count;
    connection->bytes_out += count;
}

void connection_output_sent(struct connection *connection, size_t count)
{
    give_ranges_back(connection);
    while (count > 0) {
        struct output_part *part =
            CONTAINER_OF(list_first(&connection->parts), struct output_part, link);
        size_t step = count < part->length ? count : part->length;
        part->length -= step;
        part->file_offset += part->file >= 0 ? step : 0;
        part->bytes += part->file >= 0 ? 0 : step;
        count -= step;
        if (part->length == 0) {
            part_end(connection, part);
        }
    }
    give_block_back(connection);
    if (!list_is_empty(&connection->parts) && list_is_empty(&connection->dirty)) {
        list_append(&connection->turn->dirty, &connection->dirty);
    }
    if (connection->drain_owed && connection->unsent_bytes < connection->unsent_high / 2) {
        connection->drain_owed = false;
        if (connection->state == CONNECTION_OPEN && connection->events->drained != NULL) {
            connection->events->drained(connection);
        }
    }
}

void connection_output_drop(struct connection *connection)
{
    ASSERT(!connection->send.op.in_flight);
    give_ranges_back(connection);
    struct list *first;
    while ((first = list_first(&connection->parts)) != NULL) {
        part_end(connection, CONTAINER_OF(first, struct output_part, link));
    }
    connection->unsent_bytes = 0;
    connection->reserved = 0;
    give_block_back(connection);
    list_remove(&connection->dirty);
}
