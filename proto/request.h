/* SPDX-License-Identifier: Apache-2.0 */
/*
 * request.h - the envelopes of MessagePack-RPC, read and written on both sides.
 *
 *     [0, msgid, method, [args]]      request
 *     [1, msgid, error, result]       answer
 *     [2, method, [args]]             one-way
 *
 * `args` is one map; `[]`, `[nil]` and `[[]]` stand for an empty one, because some languages cannot
 * tell an empty map from an empty array. A frame that is read here has passed the framer, but
 * nothing depends on it.
 *
 * Threads: any; spans point into the frame.
 * Format:  proto/README.md, "The envelope".
 */
#ifndef PROTO_REQUEST_H
#define PROTO_REQUEST_H

#include "proto/base/bytes.h"
#include "proto/base/contract.h"
#include "proto/cursor.h"
#include "proto/error.h"
#include "proto/writer.h"

#include <stdbool.h>
#include <stdint.h>

enum envelope_type {
    ENVELOPE_REQUEST = 0,
    ENVELOPE_ANSWER = 1,
    ENVELOPE_ONE_WAY = 2,
};

/* What a server is sent. */
struct request {
    enum envelope_type type; /* REQUEST or ONE_WAY */
    bool has_msgid;          /* may be answered; also of malformed ones where it was readable */
    uint32_t msgid;
    struct bytes method;    /* content of the str or bin */
    struct bytes arguments; /* the map with its header; empty: no arguments */
};

/*
 * Reads a frame as a server. ERROR_MALFORMED: it is neither a request nor one-way; where
 * `request_out->has_msgid` an answer can still be addressed (then only it and msgid are set). A
 * frame of which only a beginning is there may be given too, to learn the msgid. The arguments are
 * not looked at, which is arguments_read()'s work: what is no whole map is ERROR_MALFORMED there.
 */
NODISCARD enum error request_read(struct bytes frame, struct request *request_out);

/* What a client is sent. */
struct answer {
    uint32_t msgid;
    bool failed;         /* `error` is not nil */
    struct bytes error;  /* one value: refusal_read() understands it */
    struct bytes result; /* one value; nil when failed */
};

/* Reads a frame as a client. ERROR_MALFORMED: it is no answer. */
NODISCARD enum error answer_read(struct bytes frame, struct answer *answer_out);

/*
 * Writes a request up to the header of its argument map: the caller then writes
 * `argument_count` pairs, and the frame is complete.
 */
void request_begin(struct writer *writer, uint32_t msgid, const char *method,
                   uint32_t argument_count);
void one_way_begin(struct writer *writer, const char *method, uint32_t argument_count);

/* Writes an answer up to its result, which the caller writes as one value. */
void answer_begin(struct writer *writer, uint32_t msgid);

/* Most bytes that answer_begin() or an answer without result writes. */
#define ANSWER_BEGIN_BYTES_MAX 8

/* A whole answer whose result is nil: `lease.release` and the like. */
void answer_write_nil(struct writer *writer, uint32_t msgid);

/* A whole answer that refuses; at most ANSWER_BEGIN_BYTES_MAX + REFUSAL_BYTES_MAX bytes. */
void answer_write_refusal(struct writer *writer, uint32_t msgid, const struct refusal *refusal,
                          enum error_form form);

/*
 * Writes `limits` of `hello`: the key and its map of every bound of proto/limits.h that a client
 * can run into.
 */
void answer_put_limits(struct writer *writer);

#endif
