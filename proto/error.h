/* SPDX-License-Identifier: Apache-2.0 */
/*
 * error.h - the outcomes that are not success, and the refusal that carries one to a peer.
 *
 * `enum error` is the result type of the whole tree above the seams; its numbers are the codes on
 * the wire (error.def). A `struct refusal` is an error with what a person and a program need to
 * know about it: a sentence, and the details that DESIGN names for each error, each under a fixed
 * key. It is filled only where something is refused, so it need not be small.
 *
 * Threads: any; a refusal belongs to whoever holds it.
 * Format:  proto/README.md, "Errors".
 */
#ifndef PROTO_ERROR_H
#define PROTO_ERROR_H

#include "proto/base/bytes.h"
#include "proto/base/contract.h"

#include <stdbool.h>
#include <stdint.h>

struct cursor;
struct writer;

enum error {
    OK = 0,
#define ERROR(name, code, text) ERROR_##name = (code),
#include "proto/error.def"
#undef ERROR
};

/* Whether a call that was answered with an error has left something in the log. */
enum error_stored {
    ERROR_STORED_NO,
    ERROR_STORED_MAYBE,
    ERROR_STORED_YES,
};

/* "TOPIC_NOT_FOUND"; "OK" of OK, "UNKNOWN" of a number that is none of ours. */
const char *error_name(enum error error);

/* A sentence for a person, without a full stop. */
const char *error_text(enum error error);

/* True where the same call may succeed later or elsewhere: codes 20 to 59. */
bool error_is_retryable(enum error error);

/* True where it is this server's load that refuses, codes 40 to 59: wait `retry_after_ms`. */
bool error_is_overload(enum error error);

enum error_stored error_stored(enum error error);

/* "no", "maybe" or "yes". */
const char *error_stored_name(enum error_stored stored);

/* The error of a name, or OK when there is none such. */
enum error error_from_name(struct bytes name);

/* The error of a code of the wire, or OK when there is none such. */
enum error error_from_code(uint64_t code);

/* The details that are integers, in the order in which they are written. */
enum refusal_detail {
    REFUSAL_LIMIT,          /* "limit": the bound that was crossed */
    REFUSAL_VALUE,          /* "value": what was asked for */
    REFUSAL_USAGE,          /* "usage": how much of the limit is taken */
    REFUSAL_RETRY_AFTER_MS, /* "retry_after_ms" */
    REFUSAL_RESUME,         /* "resume": TRUNCATED, the offset to go on from */
    REFUSAL_FIRST,          /* "first": OFFSET_TOO_SMALL, the first offset kept */
    REFUSAL_QUEUE,          /* "queue": WRONG_BROKER, NOT_YET_DURABLE */
    REFUSAL_OFFSET,         /* "offset": NOT_YET_DURABLE */
    REFUSAL_VERSION,        /* "version": CONFLICT, the current one */
    REFUSAL_EXPECTED,       /* "expected": OUT_OF_SEQUENCE */
    REFUSAL_NEXT,           /* "next": CORRUPT, the offset after what is broken */
    REFUSAL_COLUMN,         /* "column": BAD_FILTER, the byte that is wrong, from 1 */
    REFUSAL_DETAIL_COUNT,
};

#define REFUSAL_MESSAGE_BYTES    200
#define REFUSAL_KEY_BYTES        64
#define REFUSAL_LIMIT_TEXT_BYTES 64
#define REFUSAL_BROKER_BYTES     128
#define REFUSAL_QUEUES_MAX       16

/* An upper bound of what refusal_write() writes, for sizing buffers. */
#define REFUSAL_BYTES_MAX 1024

struct refusal {
    enum error code;
    uint32_t details;                          /* bit 1 << detail: set in `values` */
    uint64_t values[REFUSAL_DETAIL_COUNT];     /* those of `details` only */
    char message[REFUSAL_MESSAGE_BYTES];       /* UTF-8, terminated */
    char key[REFUSAL_KEY_BYTES];               /* "key": the argument; "" absent */
    char limit_text[REFUSAL_LIMIT_TEXT_BYTES]; /* "limit" where it is no number; "" absent */
    char broker[REFUSAL_BROKER_BYTES];         /* "broker": WRONG_BROKER; "" absent */
    uint32_t queue_count;                      /* "queues": MIXED_QUEUES; 0 absent */
    uint32_t queues[REFUSAL_QUEUES_MAX];
};

/* How a connection wants its errors: hello {errors}. The order is that of the choices there. */
enum error_form {
    ERROR_FORM_MAP,  /* {code, name, message, retryable, stored, ...} */
    ERROR_FORM_TEXT, /* "NAME: message" */
    ERROR_FORM_PAIR, /* [code, message] */
};

/*
 * Starts a refusal: sets code and message and clears all details. Where the text comes out empty
 * the message is error_text(). Bytes of the message that are control characters, or not valid
 * UTF-8, become '?'. Gives `error` back, so that `return refusal_set(...)` refuses.
 */
enum error refusal_set(struct refusal *refusal, enum error error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Adds details to a refusal that was set. `key` and `broker` are cut where they are too long. */
void refusal_add(struct refusal *refusal, enum refusal_detail detail, uint64_t value);
void refusal_add_key(struct refusal *refusal, struct bytes key);
void refusal_add_limit_text(struct refusal *refusal, const char *limit);
void refusal_add_broker(struct refusal *refusal, struct bytes broker);

/* Adds a queue to `queues` once; silently none above REFUSAL_QUEUES_MAX. */
void refusal_add_queue(struct refusal *refusal, uint32_t queue);

/* True and the value, where the detail is there. */
bool refusal_get(const struct refusal *refusal, enum refusal_detail detail, uint64_t *value_out);

/* The ordinary overload: code, limit, value, usage and retry_after_ms, and a sentence of `what`. */
struct refusal_overload {
    const char *what; /* "unanswered requests of the connection" */
    uint64_t limit;
    uint64_t value;
    uint64_t usage;
    uint64_t retry_after_ms;
};
enum error refusal_set_overload(struct refusal *refusal, enum error error,
                                const struct refusal_overload *overload);

/* Writes the refusal as the `error` element of an answer; at most REFUSAL_BYTES_MAX bytes. */
void refusal_write(const struct refusal *refusal, enum error_form form, struct writer *writer);

/*
 * Reads the `error` element of an answer, in any of its forms, for clients. Unknown keys are
 * skipped; of an unknown code the code stays as it is, so do not switch over it without a default.
 * False: the element is no error of ours; `*refusal_out` is not touched.
 */
NODISCARD bool refusal_read(struct cursor *cursor, struct refusal *refusal_out);

#endif
