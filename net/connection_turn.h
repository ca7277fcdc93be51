/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connection_turn.h - what the connections of one reactor share: who has output for the end of
 * the turn, who has something to do in its beginning, and the memory of output queues.
 * Private to net/.
 *
 * Memory:  blocks and parts go back to free lists here when their bytes are sent; an idle
 *          connection owns none. OUTPUT_BLOCKS_KEPT bounds what is kept free.
 * Threads: the reactor's.
 */
#ifndef NET_CONNECTION_TURN_H
#define NET_CONNECTION_TURN_H

#include "net/connection.h"
#include "net/reactor_backend.h"

enum {
    OUTPUT_BLOCK_BYTES = 16 * 1024, /* a few hundred small answers, or 1,024 ranges */
    OUTPUT_BLOCKS_KEPT = 256,       /* 4 MiB a reactor */
    OUTPUT_RANGES_MAX = OUTPUT_BLOCK_BYTES / sizeof(struct iovec) /* the kernel's bound, too */
};

/* Bytes written by connection_reserve() and connection_commit(), or an array of ranges. */
struct output_block {
    struct list all; /* every block of the reactor */
    struct output_block *next_free;
    uint32_t capacity;
    uint32_t used;
    uint32_t parts; /* that lie in it */
    alignas(16) uint8_t bytes[];
};

/* One run of an output queue, in the order of sending. */
struct output_part {
    struct list link;
    const uint8_t *bytes;       /* NULL for a part of a file */
    struct output_block *block; /* whose `bytes` they are, or NULL where they are borrowed */
    size_t length;              /* not yet sent */
    uint64_t file_offset;
    struct output_hold hold;
    int file;
};

struct connection_turn {
    struct reactor *reactor;
    struct turn_hook begin;
    struct turn_hook send;
    struct list dirty;   /* struct connection: has output to send */
    struct list wanted;  /* struct connection: go on with what is held, or be closed */
    struct list starved; /* struct connection: the same, once a buffer has come home */
    uint64_t homecomings;
    struct connection *urgent; /* the one whose frame may use the last of the buffers */
    struct list blocks;        /* all of them */
    struct output_block *blocks_free;
    uint32_t blocks_free_count;
    struct list slabs; /* of parts */
    struct list parts_free;
    uint8_t scratch[CONNECTION_RESERVE_MAX]; /* what is written to a closing connection */
};

/* The reactor's, made at its first connection. */
struct connection_turn *connection_turn_of(struct reactor *reactor);

struct output_block *output_block_take(struct connection_turn *turn, size_t bytes);
void output_block_give(struct connection_turn *turn, struct output_block *block);
struct output_part *output_part_take(struct connection_turn *turn);
void output_part_give(struct connection_turn *turn, struct output_part *part);

/* connection_output.c, for connection.c */

/* Sends what is queued, if nothing is being sent. */
void connection_output_start(struct connection *connection);

/* The send has come home: counts what of it was given to the kernel, also where it failed. */
void connection_output_count(struct connection *connection);

/* `count` bytes have gone: releases what they lay in. */
void connection_output_sent(struct connection *connection, size_t count);

/* Drops all that is queued. Nothing may be in flight. */
void connection_output_drop(struct connection *connection);

/* connection_input.c, for connection.c */

/* The callback of the connection's receive. */
void connection_input_received(struct receive_op *receive, struct buffer *buffer, uint8_t *at,
                               size_t length);

/* Goes on with held bytes, if there are any and the owner wants them. */
void connection_input_go_on(struct connection *connection);

/* Drops what has come and was not handed over. */
void connection_input_drop(struct connection *connection);

/* connection.c, for the other files */

/* Notes why the connection ends; the first cause stands. */
void connection_know_end(struct connection *connection, enum connection_end end, int error);

/* Goes on with held bytes, or ends a close that had nothing to wait for. */
void connection_go_on(struct connection *connection);

#endif
