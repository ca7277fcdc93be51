/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ternmq.h - the C client of TernMQ, libternmq: produce, consume, administer.
 *
 * This is the header of the library and its manual; consumer groups are in ternmq_groups.h beside it.
 * A whole program:
 *
 *     #include <ternmq.h>
 *     #include <stdio.h>
 *
 *     int main(void)
 *     {
 *         struct ternmq_error error;
 *         struct ternmq *client = ternmq_open(&(struct ternmq_options){0}, &error);
 *         if (client == NULL) {
 *             return fprintf(stderr, "%s\n", error.message), 1;
 *         }
 *
 *         struct ternmq_producer *producer = ternmq_producer_open(
 *             client, &(struct ternmq_producer_options){.topic = "orders"}, &error);
 *         struct ternmq_produced produced;
 *         if (producer == NULL ||
 *             ternmq_produce(producer, &(struct ternmq_message){.body = ternmq_text("hello")}, 1,
 *                            &produced, &error) != TERNMQ_OK) {
 *             return fprintf(stderr, "%s\n", error.message), 1;
 *         }
 *         printf("stored in queue %u at offset %llu\n", produced.queue,
 *                (unsigned long long)produced.offset);
 *
 *         struct ternmq_consumer *consumer = ternmq_consumer_open(
 *             client, &(struct ternmq_consumer_options){.topic = "orders", .until_end = true},
 *             &error);
 *         struct ternmq_delivery deliveries[64];
 *         size_t count;
 *         int code = consumer == NULL ? error.code : TERNMQ_OK;
 *         while (code == TERNMQ_OK) {
 *             code = ternmq_consume(consumer, 1000, deliveries, 64, &count, &error);
 *             for (size_t i = 0; code == TERNMQ_OK && i < count; i++) {
 *                 printf("%.*s\n", (int)deliveries[i].body.length,
 *                        (const char *)deliveries[i].body.data);
 *             }
 *         }
 *         ternmq_close(client);
 *         return code == TERNMQ_END ? 0 : 1;
 *     }
 *
 *     cc example.c $(pkg-config --cflags --libs ternmq)
 *
 * HANDLES
 *   A client (`struct ternmq`) knows nameservers, or one broker, and holds the connections: made
 *   when first needed, made again when lost, two a broker, of which one produces and calls and one
 *   receives. Producers and consumers belong to a client and share its connections; they are cheap.
 *   Closing the client closes what is left of them.
 *
 * THREADS
 *   The library makes no thread and holds no lock, but for the push consumers of ternmq_groups.h. A
 *   client with all that belongs to it is used by one thread at a time; several clients are
 *   independent. ternmq_interrupt() alone may be called from anywhere.
 *
 * TIME
 *   Whatever happens, happens inside a call of yours: synchronous functions (marked "blocks") run
 *   the client's loop until they are done, and everything else under way - answers, batches that
 *   are due, pulls of consumers - goes on meanwhile. A program that only uses asynchronous
 *   functions calls ternmq_poll() often: at least as often as it wants its callbacks. Callbacks run
 *   inside those calls and nowhere else. A callback may start asynchronous work; it must not call a
 *   function that blocks, ternmq_poll(), or close anything (TERNMQ_USAGE where that can be
 *   answered). Blocking functions end by their deadline. The one exception is the look-up of a
 *   host's name by the system's resolver, in ternmq_open() and at a first connection; give
 *   addresses to avoid it.
 *
 * ERRORS
 *   Functions return TERNMQ_OK (0) or a code, and fill `*error_out`, which may be NULL, only then;
 *   those that give a handle return NULL instead of a code. Other `_out` parameters are touched on
 *   success only. Codes below 100 are the server's answer, those from 200 the library's own.
 *   `error.stored` says of a produce whether its messages may be in the log.
 *
 * RETRIES
 *   What is retryable (codes 20 to 59, and servers that cannot be reached) and surely not stored is
 *   tried again, with growing pauses or those that the server asks for, after looking where the
 *   topic is now, until the deadline of the call. So a broker may restart: a topic that was found
 *   before is looked for until then, unless its broker says that it was deleted. A request whose connection was lost after it was
 *   sent may have been carried out: a produce is never sent again then, but reported as TERNMQ_LOST
 *   with `stored` TERNMQ_STORED_MAYBE. Calls that change nothing, or nothing the second time, are
 *   sent again.
 *
 * MEMORY
 *   What you give is copied before the function returns. What you are given is borrowed, and its
 *   comment says until when. A client holds at most: each producer's window, each consumer's
 *   prefetch, and 64 MiB (`receive_bytes_max`) to receive into. If there is no memory for
 *   something, functions answer TERNMQ_NO_MEMORY.
 *
 * TEXT is UTF-8. Names of topics are 1 to 127 of [A-Za-z0-9._-]; %DLQ%GROUP, which no nameserver knows, can be
 * read, shown and deleted by a client of the one broker that has it. Times are milliseconds since 1970,
 * durations milliseconds.
 */
#ifndef TERNMQ_H
#define TERNMQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TERNMQ_VERSION_MAJOR 0
#define TERNMQ_VERSION_MINOR 1
#define TERNMQ_VERSION_PATCH 0
#define TERNMQ_VERSION       "0.1.0"

#define TERNMQ_API __attribute__((visibility("default")))

/* The version of the library that runs, which may be newer than this header: "0.1.0". */
TERNMQ_API const char *ternmq_version(void);

/* --------------------------------------------------------------------------------- bytes */

/* Borrowed bytes. Absent: `data` NULL. Empty: `data` anything else, `length` 0. */
struct ternmq_bytes {
    const void *data;
    size_t length;
};

static inline struct ternmq_bytes ternmq_bytes(const void *data, size_t length)
{
    struct ternmq_bytes bytes = {data, length};
    return bytes;
}

/* The bytes of a terminated string, without its terminator; NULL stays absent. */
static inline struct ternmq_bytes ternmq_text(const char *text)
{
    struct ternmq_bytes bytes = {text, text == NULL ? 0 : strlen(text)};
    return bytes;
}

/* -------------------------------------------------------------------------------- errors */

/*
 * What functions return. A newer server may answer codes that are not here; their range says what
 * to do: 1-19 the request is wrong; 20-39 not here or not now; 40-59 overload; 60-79 the state says
 * no; 80-89 stored, but not as asked; 90-99 the server's storage is broken.
 */
enum ternmq_code {
    TERNMQ_OK = 0,

    TERNMQ_MALFORMED = 1,
    TERNMQ_UNKNOWN_METHOD = 2,
    TERNMQ_UNKNOWN_ARGUMENT = 3, /* the server is older than what was asked of it */
    TERNMQ_BAD_ARGUMENT = 4,
    TERNMQ_BAD_FILTER = 5,
    TERNMQ_TOO_LARGE = 6,
    TERNMQ_CRC_MISMATCH = 7,
    TERNMQ_MIXED_QUEUES = 8, /* keys of one produce belong to different queues */
    TERNMQ_UNAUTHORIZED = 9,
    TERNMQ_FORBIDDEN = 10,

    TERNMQ_NOT_MASTER = 20,
    TERNMQ_WRONG_BROKER = 21,
    TERNMQ_FENCED = 22,
    TERNMQ_STOPPING = 23,
    TERNMQ_WARMING = 24, /* the nameserver has just started and may not know the topic yet */
    TERNMQ_READ_ONLY = 25,
    TERNMQ_TOPIC_NOT_FOUND =
        26, /* `retryable`: its broker, which was known, holds no lease now; else
                                    final: it was looked for elsewhere already */
    TERNMQ_GROUP_NOT_FOUND = 27,
    TERNMQ_NOT_ENOUGH_REPLICAS = 28,

    TERNMQ_OVERLOADED = 40,
    TERNMQ_TOO_MANY_WAITING = 41,
    TERNMQ_DISK_FULL = 42,
    TERNMQ_RETENTION_FULL = 43,
    TERNMQ_DELAY_FULL = 44,
    TERNMQ_TXN_FULL = 45,
    TERNMQ_GROUP_FULL = 46,
    TERNMQ_DEADLINE = 47, /* the deadline passed at the server, before anything was done */

    TERNMQ_OFFSET_TOO_SMALL = 60, /* `resume` is the first offset that is kept */
    TERNMQ_TRUNCATED = 61,        /* what was read is gone; `resume` is where the log goes on */
    TERNMQ_TOPIC_CHANGED = 62,    /* deleted, and made anew under the same name */
    TERNMQ_LEASE_LOST = 63,
    TERNMQ_TOO_LATE = 64,
    TERNMQ_TXN_ENDED = 65,
    TERNMQ_TXN_UNKNOWN = 66,
    TERNMQ_MESSAGE_NOT_FOUND = 67,
    TERNMQ_CONFLICT = 68, /* `version` is the current one */
    TERNMQ_WOULD_REORDER = 69,
    TERNMQ_OUT_OF_SEQUENCE = 70,
    TERNMQ_DIVERGED = 71,
    TERNMQ_TOO_OLD = 72,
    TERNMQ_READ_ONLY_SETTING = 73,

    TERNMQ_NOT_YET_DURABLE = 80, /* stored at `queue`, `offset`, not yet as durably as asked */

    TERNMQ_CORRUPT = 90,
    TERNMQ_IO_FAILED = 91,
    TERNMQ_FORMAT = 92,

    TERNMQ_UNREACHABLE = 200, /* no server could be reached that could have answered */
    TERNMQ_LOST = 201,        /* the connection ended after the request was sent */
    TERNMQ_TIMED_OUT = 202,   /* the deadline passed without an answer */
    TERNMQ_PROTOCOL = 203,    /* the server sent what the protocol does not allow */
    TERNMQ_NO_MEMORY = 204,
    TERNMQ_USAGE = 205,       /* the library was used against this header */
    TERNMQ_INTERRUPTED = 206, /* ternmq_interrupt() */
    TERNMQ_CLOSED = 207,      /* to callbacks: their producer or client was closed first */

    TERNMQ_FULL = 220, /* would block: the producer's window is full, or where the topic is is not
                             known yet; call ternmq_poll() and try again */
    TERNMQ_NOTHING = 221, /* no message came within the time given */
    TERNMQ_END = 222      /* every queue of the consumer has reached the end that it had at first */
};

/* Whether messages that a call was about are in the log. */
enum ternmq_stored { TERNMQ_STORED_NO = 0, TERNMQ_STORED_MAYBE = 1, TERNMQ_STORED_YES = 2 };

struct ternmq_error {
    int code;         /* enum ternmq_code, or a newer server's */
    const char *name; /* "TOPIC_NOT_FOUND", "UNREACHABLE"; static */
    bool retryable;   /* the same call may succeed later */
    enum ternmq_stored stored;

    /* What the server or the library said about it; -1 where there is no such detail. */
    int64_t limit;
    int64_t value;
    int64_t usage;
    int64_t retry_after_ms;
    int64_t resume; /* of TRUNCATED and OFFSET_TOO_SMALL: where a reader can go on */
    int64_t queue;
    int64_t offset;
    int64_t version;

    char message[320]; /* one line for a person, without the name, without a full stop */
};

/* The name of a code, "UNKNOWN" of one that is not known. Static. */
TERNMQ_API const char *ternmq_code_name(int code);

/* -------------------------------------------------------------------------------- client */

struct ternmq;

/* Zeroes are the defaults. Copied. */
struct ternmq_options {
    /* "HOST:PORT;HOST:PORT", tried from the first on; the port may be left out. NULL: the
     * environment's TERNMQ_NAMESERVER, and without that "127.0.0.1:9876". */
    const char *nameservers;

    /* "HOST:PORT" or "unix:PATH": talk to this one broker and to no nameserver. Of a topic on several
     * brokers such a client produces to, and consumes, the queues that are there. */
    const char *broker;

    /* What the servers' logs shall call this program; NULL: not told. At most 255 bytes. */
    const char *name;

    /* The deadline of every call, retries and waits included, where none is given. Default 15,000:
     * a nameserver needs 10 s after its start until it knows everything. At most one day. */
    uint32_t timeout_ms;

    /* A call ends with TERNMQ_UNREACHABLE when for so long nobody could be reached. Default: the
     * call's own deadline. */
    uint32_t unreachable_ms;

    /* The time to make one connection. Default 3,000. */
    uint32_t connect_timeout_ms;

    /* All received bytes that are not read yet. Default 64 MiB, at least 4 MiB. */
    size_t receive_bytes_max;

    /*
     * Called, if not NULL, whenever something is about to be tried again later: why, and how long
     * since the first try. A command line says so; TERNMQ_WARMING and TERNMQ_UNREACHABLE are what
     * people should know of. Both pointers are good until it returns.
     */
    void (*waiting)(void *context, const struct ternmq_error *why, uint64_t waited_ms);
    void *context;
};

/*
 * Makes a client. Connects to nobody yet. Blocks only to look up hosts that are given by name.
 * NULL: TERNMQ_USAGE (an option is not as above; the message says which), TERNMQ_UNREACHABLE (none
 * of the hosts' names is known), TERNMQ_NO_MEMORY.
 */
TERNMQ_API struct ternmq *ternmq_open(const struct ternmq_options *options,
                                      struct ternmq_error *error_out);

/*
 * Ends it with its producers and consumers. Does not wait: what was not answered yet is reported to
 * its callback as TERNMQ_CLOSED, `stored` maybe where it had been sent; use ternmq_flush()
 * before. NULL is allowed.
 */
TERNMQ_API void ternmq_close(struct ternmq *client);

/*
 * Does what there is to do - receives, sends, calls back - and waits at most `wait_ms` for it (0:
 * not at all, -1: until something happened). TERNMQ_OK or TERNMQ_INTERRUPTED.
 */
TERNMQ_API int ternmq_poll(struct ternmq *client, int64_t wait_ms);

/*
 * Makes the function that blocks now, or the next one, return TERNMQ_INTERRUPTED; a produce or call
 * that it cuts short goes on and its answer is dropped. Any thread, and signal handlers; `client`
 * must stay open meanwhile.
 */
TERNMQ_API void ternmq_interrupt(struct ternmq *client);

/* ------------------------------------------------------------------------------- produce */

/* What must have happened to a message before its producer is told that it is stored. */
enum ternmq_durability {
    TERNMQ_DURABILITY_DEFAULT = 0, /* the topic's */
    TERNMQ_DURABILITY_MEMORY = 1,  /* in the page cache: a power cut may take it */
    TERNMQ_DURABILITY_DISK = 2     /* synced to disk */
};

/*
 * Which queue a producer's messages go to.
 *
 *   ANY     the broker's choice, changing as it finds best. Of several brokers those that are alive
 *           take turns, a call each; one that has just failed has none for 100 ms, doubled with each
 *           failure in a row up to 30 s
 *   BY_KEY  that of the first key, which each message must have: the CRC-32C of its bytes modulo
 *           the topic's number of queues, on all brokers, alive or not. One key's messages stay in
 *           order: while its queue's broker is away they wait, or fail, and go nowhere else. Topics
 *           that are routed by key need it. Where queues were added with `rehash` meanwhile the first
 *           call may be MIXED_QUEUES; the next counts them anew
 *   QUEUE   the producer's `queue`
 */
enum ternmq_choose { TERNMQ_CHOOSE_ANY = 0, TERNMQ_CHOOSE_BY_KEY, TERNMQ_CHOOSE_QUEUE };

struct ternmq_property {
    struct ternmq_bytes name;
    struct ternmq_bytes value;
};

/* A message to produce. Only `body` is needed, and may be empty; bodies are any bytes. */
struct ternmq_message {
    struct ternmq_bytes body;        /* message at most 4 MiB, all parts together */
    struct ternmq_bytes tag;         /* text, at most 255 bytes */
    const struct ternmq_bytes *keys; /* text, at most 32 of at most 255 bytes */
    size_t key_count;
    const struct ternmq_property *properties; /* text, at most 128, 32 KiB together, names differ */
    size_t property_count;
};

/* Where messages went: `count` of them at `offset` and the offsets after it. */
struct ternmq_produced {
    uint32_t queue;
    uint32_t epoch; /* topic, queue, offset and epoch name a message for ever */
    uint64_t offset;
    uint32_t count;
    enum ternmq_durability reached;
};

struct ternmq_producer;

/* Zeroes are the defaults. Copied. */
struct ternmq_producer_options {
    const char *topic;

    enum ternmq_choose choose;
    uint32_t queue; /* with TERNMQ_CHOOSE_QUEUE */

    enum ternmq_durability durability;

    /* The deadline of one message or batch, from the function that took it. Default: the
     * client's timeout_ms. */
    uint32_t timeout_ms;

    /*
     * Messages of ternmq_produce_async() wait at most `linger_ms` for others to share a call with,
     * and not at all once there are `batch_messages` or `batch_bytes` of them, or, with `linger_ms`
     * 0, once the loop runs. Defaults 0, 1,000 and 256 KiB; at most 65,535 and 4 MiB.
     */
    uint32_t linger_ms;
    uint32_t batch_messages;
    uint32_t batch_bytes;

    /*
     * The window: what may be under way, from the function that took it to its callback. Defaults
     * 100,000 messages and 32 MiB (a lone batch may exceed it). `window_calls` bounds the calls
     * sent and not answered, default 64, at most 256; with 1 the order in a queue holds even when a
     * call must be tried again.
     */
    uint32_t window_messages;
    uint32_t window_calls;
    size_t window_bytes;
};

/*
 * Makes a producer. Does not block, and does not ask if the topic exists. NULL: TERNMQ_USAGE,
 * TERNMQ_NO_MEMORY.
 */
TERNMQ_API struct ternmq_producer *ternmq_producer_open(
    struct ternmq *client, const struct ternmq_producer_options *options,
    struct ternmq_error *error_out);

/* Ends it as ternmq_close() does. NULL is allowed. */
TERNMQ_API void ternmq_producer_close(struct ternmq_producer *producer);

/*
 * Blocks. Produces `count` messages (1 to 65,535, at most 4 MiB together or a lone one) as one
 * call: all are stored, in one queue and in a row, or none. With BY_KEY they must belong to one
 * queue. A single message costs a round trip and, for durability `disk`, a sync: batches and
 * ternmq_produce_async() are faster by orders of magnitude. Errors: everything but FULL, NOTHING
 * and END.
 */
TERNMQ_API int ternmq_produce(struct ternmq_producer *producer,
                              const struct ternmq_message *messages, size_t count,
                              struct ternmq_produced *produced_out, struct ternmq_error *error_out);

/*
 * How a message or a batch ended: stored (`error` NULL, `produced` where), or not (`produced`
 * NULL). Called exactly once for each that was taken, at the latest when its producer is closed.
 * Both are good until it returns.
 */
typedef void ternmq_produced_fn(void *context, const struct ternmq_produced *produced,
                                const struct ternmq_error *error);

/*
 * Takes one message, to be sent together with others, and returns at once; `done`, which may be
 * NULL, is called when its fate is known, with `produced->count` 1. Messages of one producer that
 * go to one queue are stored in the order in which they were taken unless one is tried again (see
 * `window_calls`). Errors (then it was not taken and `done` is not called): FULL, USAGE, NO_MEMORY,
 * TOO_LARGE, BAD_ARGUMENT; with BY_KEY also what looking for the topic gave.
 */
TERNMQ_API int ternmq_produce_async(struct ternmq_producer *producer,
                                    const struct ternmq_message *message, ternmq_produced_fn *done,
                                    void *context, struct ternmq_error *error_out);

/*
 * The same for a batch that is one call of its own, as with ternmq_produce(): one `done` for all.
 * What earlier calls left lingering is sent before it.
 */
TERNMQ_API int ternmq_produce_batch_async(struct ternmq_producer *producer,
                                          const struct ternmq_message *messages, size_t count,
                                          ternmq_produced_fn *done, void *context,
                                          struct ternmq_error *error_out);

/*
 * Sends `count` messages as one call and asks for no answer: nobody will know whether they were
 * stored. Errors: as ternmq_produce_async(); FULL when as much as `window_bytes` waits to be sent.
 */
TERNMQ_API int ternmq_produce_oneway(struct ternmq_producer *producer,
                                     const struct ternmq_message *messages, size_t count,
                                     struct ternmq_error *error_out);

/*
 * Blocks until everything that the producer took has left the window: every callback has run, and
 * what was sent one-way is with the kernel. At most `wait_ms` (-1: until then; each message has its
 * own deadline anyway). TERNMQ_OK, TERNMQ_TIMED_OUT, TERNMQ_INTERRUPTED. Whether the messages were
 * stored, their callbacks say.
 */
TERNMQ_API int ternmq_flush(struct ternmq_producer *producer, int64_t wait_ms);

/* What is in the window now; each `_out` may be NULL. */
TERNMQ_API void ternmq_producer_in_flight(const struct ternmq_producer *producer,
                                          size_t *messages_out, size_t *bytes_out);

/* ------------------------------------------------------------------------------- consume */

/*
 * A message that was consumed. Everything it points to is good until the next ternmq_consume() of
 * its consumer, or its close.
 */
struct ternmq_delivery {
    const char *topic;
    uint32_t queue;
    uint32_t epoch;
    uint64_t offset;
    uint64_t stored_at_ms; /* by the broker's clock */
    uint64_t born_at_ms;   /* by the producer's clock */
    struct ternmq_bytes body;
    struct ternmq_bytes tag;        /* absent: `data` NULL */
    struct ternmq_bytes keys;       /* as stored: a msgpack array of str, or absent */
    struct ternmq_bytes properties; /* as stored: a msgpack map of str to str, or absent */
    uint32_t key_count;
    uint32_t property_count;
};

/* The key, the property at `index`, in the order in which they were produced. False: there is none.
 * */
TERNMQ_API bool ternmq_delivery_key(const struct ternmq_delivery *delivery, uint32_t index,
                                    struct ternmq_bytes *key_out);
TERNMQ_API bool ternmq_delivery_property_at(const struct ternmq_delivery *delivery, uint32_t index,
                                            struct ternmq_property *property_out);

/* The value of the property `name`. False: there is none. */
TERNMQ_API bool ternmq_delivery_property(const struct ternmq_delivery *delivery, const char *name,
                                         struct ternmq_bytes *value_out);

enum ternmq_start {
    TERNMQ_START_FIRST = 0, /* the oldest message that is kept */
    TERNMQ_START_LAST,      /* what comes from now on */
    TERNMQ_START_OFFSET,    /* `start_value` is an offset, in each queue that is consumed */
    TERNMQ_START_TIME       /* `start_value` is a time: the first message stored then or later */
};

struct ternmq_consumer;

/* Zeroes are the defaults. Copied. */
struct ternmq_consumer_options {
    const char *topic;

    /* With `one_queue`, `queue` alone; else all queues, new ones too as they are added. */
    bool one_queue;
    uint32_t queue;

    enum ternmq_start start;
    uint64_t start_value;

    /* Only messages that this wants: tags as in "paid || sent", or SQL as in "weight > 2.5 AND city =
     * 'Rome'"; proto/README.md has all of it. NULL: every message. At most 4,096 bytes; what it is worth
     * the broker says, and ternmq_consume() gives. */
    const char *filter;

    /* Stop at the end that each queue has when it is first read: ternmq_consume() answers
     * TERNMQ_END then. Else wait for what comes. */
    bool until_end;

    /*
     * When messages that this consumer should come to are gone (TRUNCATED, OFFSET_TOO_SMALL,
     * TOPIC_CHANGED), ternmq_consume() says so once, and then goes on at the next that there is.
     * With `stop_at_gap` it does not go on: it says so again and again.
     */
    bool stop_at_gap;

    /* Bytes received ahead of ternmq_consume(), for all queues of all brokers together; an answer a
     * queue may exceed it. Default 8 MiB. */
    size_t prefetch_bytes;

    /* Bytes asked for at a time and queue, at least one message. Default 256 KiB, less with many
     * queues; at most 4 MiB. */
    uint32_t pull_bytes;

    /* Called, if not NULL, when ternmq_consume() would have something to say after it had not; for
     * programs that live in callbacks. */
    void (*ready)(void *context);
    void *context;
};

/*
 * Makes a consumer. Does not block: where the topic is, and whether it exists, the first
 * ternmq_consume() finds out. NULL: TERNMQ_USAGE, TERNMQ_NO_MEMORY.
 *
 * A consumer is a reader: it shares nothing with others, and the broker remembers nothing of it.
 * Who wants to go on later keeps ternmq_consumer_position().
 */
TERNMQ_API struct ternmq_consumer *ternmq_consumer_open(
    struct ternmq *client, const struct ternmq_consumer_options *options,
    struct ternmq_error *error_out);

/* Ends it; what it delivered is gone. NULL is allowed. */
TERNMQ_API void ternmq_consumer_close(struct ternmq_consumer *consumer);

/*
 * Blocks for at most `wait_ms` (0: not at all, -1: as long as it takes) until there is a message,
 * and gives 1 to `max` messages that have come. Those of one queue come in order, without a gap
 * that was not reported, but for what a filter leaves out; queues take turns. While a broker is away
 * the queues of the others go on.
 *
 * TERNMQ_OK; TERNMQ_NOTHING within the time; TERNMQ_END (with `until_end`); TERNMQ_INTERRUPTED;
 * TERNMQ_TRUNCATED, TERNMQ_OFFSET_TOO_SMALL, TERNMQ_TOPIC_CHANGED (`queue` and `resume` say where
 * it goes on); TERNMQ_TOPIC_NOT_FOUND, TERNMQ_BAD_ARGUMENT (there is no such queue),
 * TERNMQ_BAD_FILTER (the message names the column): nothing will come; TERNMQ_UNREACHABLE, or another retryable code, when it has been so for the client's
 * timeout_ms or unreachable_ms: call again to try on; TERNMQ_CORRUPT: the broker's storage, or the
 * way here, changed a message; it is skipped.
 */
TERNMQ_API int ternmq_consume(struct ternmq_consumer *consumer, int64_t wait_ms,
                              struct ternmq_delivery *deliveries_out, size_t max, size_t *count_out,
                              struct ternmq_error *error_out);

/* Where a consumer is in a queue. */
struct ternmq_position {
    uint64_t next; /* the offset after the last message delivered, and what is left out behind it */
    uint64_t end;  /* the first offset that was not there when the broker was last asked */
    uint64_t end_first; /* the same when the queue was first read */
    uint32_t epoch;     /* of the last message delivered, 0 before it */
    bool known;         /* false: the broker has not answered yet, and all else is 0 */
};

/* How many queues the consumer reads: 0 while that is not known. They are all of the topic's, on all
 * brokers, from 0 on; with `one_queue` that one; of a client of one broker those that it has. */
TERNMQ_API uint32_t ternmq_consumer_queue_count(const struct ternmq_consumer *consumer);

/* False: the consumer does not read such a queue (yet). */
TERNMQ_API bool ternmq_consumer_position(const struct ternmq_consumer *consumer, uint32_t queue,
                                         struct ternmq_position *position_out);

/* ---------------------------------------------------------------------------- administer */

enum ternmq_route_by {
    TERNMQ_ROUTE_DEFAULT = 0, /* `any` for a new topic, as it is for an old one */
    TERNMQ_ROUTE_ANY,         /* a producer may take any queue */
    TERNMQ_ROUTE_KEY          /* the first key chooses the queue */
};

/* What a topic shall be; zeroes leave an existing topic as it is and give a new one the defaults.
 * */
struct ternmq_topic_options {
    const char *name;
    uint32_t queues; /* default 4; may grow, not shrink */
    enum ternmq_route_by route;
    enum ternmq_durability durability; /* default: the broker's */
    bool rehash; /* more queues on a topic routed by key: keys may change their queue */
    uint64_t
        version; /* not 0: CONFLICT unless the topic still has this version; of one broker only */
    const char *broker; /* NULL: where it is, or for a new one any broker; else a broker's name */

    /*
     * Names of brokers, each once: the topic, or what is added to it, is shared out among them, so
     * that each has as many queues as the next, in a row. NULL and 0: an old topic stays where it is,
     * and what is added is shared out among its brokers. At least one queue for each broker of a new
     * topic; the default is 4 queues, or that.
     */
    const char *const *brokers;
    uint32_t broker_count; /* at most 48 */
};

/*
 * Makes a topic or changes one. Blocks. When it returns, nameservers that are up know it. Asking
 * for what is there already changes nothing and is no error. `id_out` and `version_out` may be
 * NULL; of a topic on several brokers they are those of its first broker, as each counts its own.
 *
 * Of several brokers every one must be alive, else nothing changes: TERNMQ_UNREACHABLE. They are told
 * one after the other; who hears of an error in between asks for the same again.
 */
TERNMQ_API int ternmq_topic_put(struct ternmq *client, const struct ternmq_topic_options *options,
                                uint64_t *id_out, uint64_t *version_out,
                                struct ternmq_error *error_out);

/* Deletes a topic with all its messages, on all its brokers, which must be alive for that. Blocks.
 * TOPIC_NOT_FOUND where there is none. */
TERNMQ_API int ternmq_topic_delete(struct ternmq *client, const char *name,
                                   struct ternmq_error *error_out);

/* Where a group begins in a queue. */
enum ternmq_from {
    TERNMQ_FROM_DEFAULT = 0, /* `last` for a new group */
    TERNMQ_FROM_FIRST,       /* the first message that is kept */
    TERNMQ_FROM_LAST,        /* only what comes later */
    TERNMQ_FROM_TIME         /* the first message stored at `from_ms` or later */
};

/* What of a group is never delivered in parallel. */
enum ternmq_order {
    TERNMQ_ORDER_DEFAULT = 0, /* none, for a new group */
    TERNMQ_ORDER_NONE,
    TERNMQ_ORDER_QUEUE,
    TERNMQ_ORDER_KEY /* of topics that are routed by key */
};

/* What becomes of a message after its last attempt. */
enum ternmq_exhausted {
    TERNMQ_EXHAUSTED_DEFAULT = 0, /* dead, for a new group */
    TERNMQ_EXHAUSTED_DEAD,        /* it is a dead letter of the group, and the group goes on */
    TERNMQ_EXHAUSTED_STAY         /* it is tried again and again, with the last backoff */
};

/* A topic that a group reads. */
struct ternmq_group_topic {
    const char *name;
    const char *filter; /* which messages; NULL: all */
};

/* What a consumer group shall be; zeroes leave an existing group as it is and give a new one the
 * defaults. `order` and `broadcast` are chosen when a group is made. */
struct ternmq_group_options {
    const char *name; /* 1 to 120 of [A-Za-z0-9._-] */

    /* 1 to 64, in the place of those that the group had; needed for a new one. */
    const struct ternmq_group_topic *topics;
    size_t topic_count;

    enum ternmq_from from;
    uint64_t from_ms;
    enum ternmq_order order;
    bool broadcast;             /* every member gets every message */
    uint32_t lease_ms;          /* how long a message is somebody's; default 30,000 */
    uint32_t attempts;          /* deliveries of a message, 1 to 1,000; default 17 */
    const uint32_t *backoff_ms; /* before each retry, 1 to 32; the last one repeats */
    size_t backoff_count;       /* default: 16 steps from 10 s to 2 h */
    bool has_jitter;
    uint32_t jitter_percent; /* by which a backoff varies; default 0 */
    enum ternmq_exhausted exhausted;
    bool has_idle_expire;
    uint64_t
        idle_expire_ms; /* it goes when nobody received or settled for so long; 0: never, the default */
};

/*
 * Makes a group or changes one, on every broker that has one of its topics; without topics, on every
 * broker that has the group. Blocks. Asking for what is there already changes nothing and is no
 * error. Where one broker fails, those before it have done it, which the message says: ask again.
 * TOPIC_NOT_FOUND; BAD_FILTER (the message names the column); GROUP_NOT_FOUND without topics.
 */
TERNMQ_API int ternmq_group_put(struct ternmq *client, const struct ternmq_group_options *options,
                                struct ternmq_error *error_out);

/* Deletes a group, and where it stands, on every broker that holds a lease: one that is away keeps it, and
 * brings it back. Also GROUP@MEMBER, a member of a broadcast, and %DLQ%GROUP. Blocks. GROUP_NOT_FOUND where
 * none has it. */
TERNMQ_API int ternmq_group_delete(struct ternmq *client, const char *name,
                                   struct ternmq_error *error_out);

/* A run of a topic's queues and the broker that has them. */
struct ternmq_route_span {
    uint32_t queue_first;
    uint32_t queue_count;
    const char *broker;  /* its name */
    const char *address; /* of its master, HOST:PORT; "" where none is alive */
    uint64_t epoch;      /* 0 where none is alive */
    bool writable;
};

struct ternmq_route {
    uint64_t version;
    uint32_t queue_count;
    uint32_t span_count;
    const struct ternmq_route_span *spans;
};

/* Where a topic is, asked now. Blocks. Good until the next call of a function of this client. */
TERNMQ_API int ternmq_route(struct ternmq *client, const char *topic,
                            struct ternmq_route *route_out, struct ternmq_error *error_out);

/* Gets one message by its place. Blocks. MESSAGE_NOT_FOUND where there is none. Good until the next
 * call of a function of this client. */
TERNMQ_API int ternmq_message_get(struct ternmq *client, const char *topic, uint32_t queue,
                                  uint64_t offset, struct ternmq_delivery *delivery_out,
                                  struct ternmq_error *error_out);

/* Who a generic call goes to. */
enum ternmq_to {
    TERNMQ_TO_NAMESERVER = 0, /* the first that answers; `to_name` NULL */
    TERNMQ_TO_ANY_BROKER,     /* `to_name` NULL */
    TERNMQ_TO_BROKER,         /* `to_name` is a broker's name */
    TERNMQ_TO_TOPIC,          /* the master that has `queue` of the topic `to_name` */
    TERNMQ_TO_ADDRESS         /* `to_name` is HOST:PORT or unix:PATH of any server */
};

/* In the place of a queue: any broker of the topic that is alive, in turn. */
#define TERNMQ_QUEUE_ANY UINT32_MAX

/*
 * Any method of the protocol (the servers' README files have them all), with arguments and answer
 * as msgpack, to be written and read with any msgpack library.
 */
struct ternmq_call {
    enum ternmq_to to;
    const char *to_name;
    uint32_t queue;                /* with TERNMQ_TO_TOPIC; or TERNMQ_QUEUE_ANY */
    const char *method;            /* "stats" */
    struct ternmq_bytes arguments; /* one msgpack map without deadline_ms; absent: no arguments */
    uint32_t timeout_ms;           /* the deadline; default: the client's */
    bool once;                     /* it must not be sent again if it may have been carried out */
};

/* Who answered, and how fast; strings are good as long as the answer. */
struct ternmq_answer {
    struct ternmq_bytes result; /* one msgpack value */
    const char *address;        /* of the server */
    uint64_t round_trip_us;     /* of the request that was answered, not of earlier tries */
};

/*
 * Calls and waits for the answer. Blocks. `answer_out` is good until the next call of a function of
 * this client. A client of one broker sends everything there, but for TERNMQ_TO_ADDRESS; with
 * TERNMQ_TO_NAMESERVER the answer is TERNMQ_USAGE then.
 */
TERNMQ_API int ternmq_call(struct ternmq *client, const struct ternmq_call *call,
                           struct ternmq_answer *answer_out, struct ternmq_error *error_out);

/* How a call ended: exactly one of them is not NULL. Good until it returns. */
typedef void ternmq_answered_fn(void *context, const struct ternmq_answer *answer,
                                const struct ternmq_error *error);

/* The same without blocking; `answered` is called exactly once if TERNMQ_OK was returned. Errors:
 * TERNMQ_USAGE, TERNMQ_NO_MEMORY. */
TERNMQ_API int ternmq_call_async(struct ternmq *client, const struct ternmq_call *call,
                                 ternmq_answered_fn *answered, void *context,
                                 struct ternmq_error *error_out);

#ifdef __cplusplus
}
#endif

#endif
