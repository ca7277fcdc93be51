/* SPDX-License-Identifier: Apache-2.0 */
/* find.c - message.get. */
#include "broker/find.h"

#include "broker/call.h"
#include "broker/core.h"
#include "broker/delivery.h"
#include "broker/directory.h"
#include "broker/session.h"
#include "broker/shard.h"
#include "proto/base/contract.h"

/* The answer without its record: the envelope, two keys, one place. */
enum { ANSWER_BYTES_MAX = ANSWER_BEGIN_BYTES_MAX + 64 + TOPIC_NAME_BYTES_MAX };

static void answer(struct call *call, struct core *at)
{
    struct pull_call *pull = &call->pull;
    if (pull->reader.error != OK) {
        pull_refuse(call);
        return;
    }
    uint8_t *room = call_answer_reserve(call, ANSWER_BYTES_MAX);
    if (room != NULL) {
        const struct topic *topic = directory_find_id(at->directory, pull->reader.topic_id);
        struct writer writer = writer_over(room, ANSWER_BYTES_MAX);
        answer_begin(&writer, call->msgid);
        writer_put_map(&writer, 2);
        writer_put_string(&writer, "places");
        writer_put_array(&writer, 1);
        writer_put_array(&writer, 3);
        writer_put_str(&writer, topic == NULL ? BYTES_OF("") : topic->name);
        writer_put_uint(&writer, pull->reader.queue);
        writer_put_uint(&writer, pull->first);
        writer_put_string(&writer, "messages");
        writer_put_array32(&writer, 1);
        ASSERT(!writer.overflowed);
        call_answer_commit(call, writer_length(&writer));
        delivery_write(&call->session->connection, pull->reader.runs);
    }
    call_end(call);
}

static void find(struct call *call, struct core *at)
{
    struct queue_reader *reader = &call->pull.reader;
    if (!pull_read(call, at, find)) {
        return;
    }
    bool nothing = reader->error == OK && reader->runs == NULL;
    if (nothing || reader->error == ERROR_TRUNCATED) {
        reader->error = ERROR_MESSAGE_NOT_FOUND;
    }
    call_return(call, at, answer);
}

void message_get_run(struct call *call, const struct arguments *arguments)
{
    call->method = METHOD_COUNT; /* until there is a pull to release */
    const struct topic *topic =
        directory_find(call->home->directory, arguments_bytes(arguments, ARGUMENT_TOPIC));
    if (topic == NULL) {
        call_fail(call, ERROR_TOPIC_NOT_FOUND);
        return;
    }
    uint64_t queue = arguments_number(arguments, ARGUMENT_QUEUE);
    struct refusal refusal;
    if (topic_check_queue(topic, queue, &refusal) != OK) {
        call_refuse(call, &refusal);
        return;
    }
    pull_init(call, topic, (uint16_t)queue);
    call->method = METHOD_MESSAGE_GET;
    call->pull.reader.messages_max = 1;
    call->pull.place = PULL_OFFSET;
    call->pull.at = arguments_number(arguments, ARGUMENT_OFFSET);
    call_drop_buffer(call);
    call_forward(call, call->home, call->pull.reader.shard->core, find);
}
