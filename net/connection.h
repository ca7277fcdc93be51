/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NET_CONNECTION_H
#define NET_CONNECTION_H

/*
 * connection.h - a socket that speaks frames: bytes in become whole msgpack values, answers go
 * out in one ordered queue.
 *
 * In: streaming receive into lent buffers; a frame is handed over in place, with the buffer that
 * it lies in. The beginning of a frame that is not whole yet moves to a buffer of its own, sized
 * by what is known of the frame and by what of it has come, and a long rest is received straight
 * into that. No byte is looked at twice.
 *
 * Out: one queue of bytes (written in place into the connection's own memory), gathered ranges
 * (borrowed memory, such as a mapped segment) and file ranges (sendfile). What is queued in a
 * turn leaves at its end, in as few system calls as can be: bytes and ranges in one sendmsg, with
 * MSG_MORE if a file range follows.
 *
 *    OPEN ------> CLOSING ------> CLOSED (events->closed has run; memory is the owner's)
 *      |             ^
 *      `-> ENDING ---'   connection_finish(): what is queued goes out first, at most 5 s; then the
 *                        peer has 200 ms to close, so that no reset overtakes the last answers
 *
 * Memory:  this struct is the owner's, embedded; an idle connection holds no buffer at all.
 *          Bytes not yet sent are bounded by the owner, who asks connection_unsent_bytes().
 * Threads: the reactor's.
 */

#include "net/reactor.h"
#include "proto/base/bytes.h"
#include "proto/framer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buffer;
struct connection;
struct connection_turn;
struct output_block;

enum {
    CONNECTION_RESERVE_MAX = 64 * 1024, /* what connection_reserve() gives at the most */
    CONNECTION_RANGES = 8
};

enum connection_state {
    CONNECTION_NEW,
    CONNECTION_OPEN,
    CONNECTION_ENDING,
    CONNECTION_CLOSING,
    CONNECTION_CLOSED
};

/* Why a connection ended: for the log, and for the client's errors. */
enum connection_end {
    CONNECTION_END_PEER,      /* the peer closed in order */
    CONNECTION_END_ERROR,     /* reset, timed out by the kernel: `error` has the errno */
    CONNECTION_END_MALFORMED, /* bytes that are no frame of ours */
    CONNECTION_END_IDLE,      /* nothing came for the idle time */
    CONNECTION_END_OWNER      /* connection_close() or connection_finish() */
};

struct connection_events {
    /*
     * One whole frame: `frame` is valid until return, and on while `buffer` is referenced.
     * The handler may queue output, pause, or close.
     */
    void (*frame)(struct connection *connection, struct bytes frame, struct buffer *buffer);

    /*
     * The bytes that came are not a frame (`seen` is what of it is there, at least one byte;
     * `why` a static sentence). May queue a last answer; the connection then finishes by itself.
     * May be NULL.
     */
    void (*malformed)(struct connection *connection, struct bytes seen, const char *why);

    /* Unsent bytes have fallen below half of `unsent_high`, after having been above it. May be
     * NULL. */
    void (*drained)(struct connection *connection);

    /* Runs once, last: the struct is the owner's again. */
    void (*closed)(struct connection *connection, enum connection_end end, int error);
};

struct connection {
    /* The owner's, set before connection_open(). */
    const struct connection_events *events;
    size_t frame_bytes_max; /* a longer frame is malformed */
    size_t unsent_high;     /* above it `drained` is owed; 0: never */
    uint32_t idle_ms;       /* close after so long without bytes in or out, or without the end of a
                             * frame that has begun; 0: never */
    bool idle_exempt;       /* the owner may set it while a poll is parked */

    /* The connection's own from here. */
    struct reactor *reactor;
    struct connection_turn *turn; /* what the reactor's connections share */
    int socket;
    enum connection_state state;
    enum connection_end end;
    int error;
    bool end_known; /* the first cause stands */
    bool paused;
    bool drain_owed;
    struct list dirty;  /* in the list of connections with output */
    struct list wanted; /* in a list of connections that have something to do in a coming turn */
    struct receive_op receive;
    struct framer framer;
    struct buffer *part; /* where an unfinished frame is gathered from its start, or NULL */
    uint32_t part_bytes;
    uint64_t part_ns;    /* when its first byte came */
    struct buffer *held; /* where received bytes wait that were not looked at, or NULL */
    uint32_t held_begin;
    uint32_t held_end;
    struct send_op send;
    struct list parts;          /* struct output_part, in order */
    struct output_block *block; /* bytes being written */
    size_t reserved;            /* of them, by connection_reserve() */
    size_t unsent_bytes;
    struct iovec ranges[CONNECTION_RANGES]; /* of the send in flight, if they are few */
    struct output_block *ranges_block;      /* where they are many */
    struct timer timer;                     /* idle time, or the patience of an end */
    uint64_t active_ns;                     /* when bytes last came or went */
    uint64_t bytes_in;
    uint64_t bytes_queued; /* connection_queued_bytes() */
    uint64_t bytes_out;    /* connection_sent_bytes() */
};

/*
 * Given with borrowed memory or a file: `release` (may be NULL) runs once, on the connection's
 * thread, when the bytes are no longer needed: given to the kernel, dropped at close, or, on a
 * connection that is closing, before the call returns. It must not use the connection.
 */
struct output_hold {
    void (*release)(void *owner);
    void *owner;
};

/* Begins to receive on `socket`, which is the connection's from here. The struct is zeroed but for
 * what the owner has set, also where it has had a life before. */
void connection_open(struct connection *connection, struct reactor *reactor, int socket);

/*
 * Room for `bytes` (1 to 64 KiB) at the queue's end; write there, then commit how many were used
 * (0 to `bytes`) before any other call. Never NULL. On a connection that is closing the room is
 * scratch and what is committed is dropped.
 */
uint8_t *connection_reserve(struct connection *connection, size_t bytes);
void connection_commit(struct connection *connection, size_t bytes);

/* Queues a copy of any number of bytes. */
void connection_write(struct connection *connection, const void *bytes, size_t length);

/* Queues borrowed memory: read by the kernel alone, when it is sent, so it must not change. `hold`
 * is copied. */
void connection_write_range(struct connection *connection, const void *bytes, size_t length,
                            struct output_hold hold);

/* Queues a part of a file, for sendfile. */
void connection_write_file(struct connection *connection, int file, uint64_t offset, size_t length,
                           struct output_hold hold);

/* Bytes queued and not yet given to the kernel. */
size_t connection_unsent_bytes(const struct connection *connection);

/*
 * Whether an answer was sent: all that connection_queued_bytes() counts once it is written has been given
 * to the kernel when connection_sent_bytes() has come there. Both count bytes, ranges and parts of files
 * alike, from the connection's begin, and stand still from `closed` on, where they may still be asked.
 * What was dropped, at close or because it was written to a connection that is closing, was queued
 * and never sent.
 */
static inline uint64_t connection_queued_bytes(const struct connection *connection)
{
    return connection->bytes_queued;
}

static inline uint64_t connection_sent_bytes(const struct connection *connection)
{
    return connection->bytes_out;
}

/* Sends now what is queued instead of at the turn's end. */
void connection_flush(struct connection *connection);

/* Stops and resumes delivering frames; frames already received wait in their buffer. */
void connection_pause(struct connection *connection);
void connection_resume(struct connection *connection);

/* Sends what is queued, then closes. */
void connection_finish(struct connection *connection);

/* Closes now; what is queued is dropped. Calling it again changes nothing. */
void connection_close(struct connection *connection);

static inline bool connection_is_open(const struct connection *connection)
{
    return connection->state == CONNECTION_OPEN;
}

#endif
