/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ternmq_explain.h - the C client of TernMQ: why messages do not move, in sentences.
 *
 * Beside ternmq.h, whose rules on handles, time, errors, retries and memory hold here too. Sentences are for
 * people and may change; programs read `answer`.
 */
#ifndef TERNMQ_EXPLAIN_H
#define TERNMQ_EXPLAIN_H

#include "ternmq.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Good until the next call of a function of its client. */
struct ternmq_explanation {
    bool is_well; /* nobody needs to do anything */
    size_t count; /* of the sentences, at least 1 */
    const char *const *sentences;
    struct ternmq_bytes answer; /* what they were made of: one msgpack map */
};

/*
 * Why the messages of a consumer group do not move on a broker, or that all is well. `broker` is its name, or
 * NULL with a client of one broker. Blocks. `answer` is that of the method group.show.
 */
TERNMQ_API int ternmq_explain_group(struct ternmq *client, const char *broker, const char *group,
                                    struct ternmq_explanation *explanation_out,
                                    struct ternmq_error *error_out);

/*
 * What became of a message: when it was stored, and in each group to whom it was given, how that ended and what
 * comes next. `epoch` is that of the message that is meant, or 0. Blocks. `answer` is that of message.trace.
 */
TERNMQ_API int ternmq_explain_message(struct ternmq *client, const char *topic, uint32_t queue,
                                      uint64_t offset, uint32_t epoch,
                                      struct ternmq_explanation *explanation_out,
                                      struct ternmq_error *error_out);

#ifdef __cplusplus
}
#endif

#endif
