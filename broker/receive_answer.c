/* SPDX-License-Identifier: Apache-2.0 */
/* receive_answer.c - ranges and messages out to the connection; leases back when it ends. */
#include "broker/receive_answer.h"

#include "broker/call.h"
#include "broker/core.h"
#include "broker/delivery.h"
#include "broker/group.h"
#include "broker/groups.h"
#include "broker/session.h"
#include "broker/shard.h"
#include "proto/base/contract.h"

#include <stdlib.h>

enum {
    /* A topic's name, a reason, a lease, five integers, the headers. */
    RANGE_BYTES = TOPIC_NAME_BYTES_MAX + REASON_BYTES_MAX + LEASE_BYTES + 80
};

/* An answer that may not be sent yet. */
struct given {
    struct list link; /* session->given */
    struct shard *shard;
    uint64_t serial;
    uint64_t end; /* in what was queued on the connection */
};

/* ---------------------------------------------------------------- giving back */

static void deliver_release(const struct core_message *message, void *core)
{
    (void)core;
    struct shard *shard = message->object;
    groups_release(shard->groups, message->words[0], message->words[1], message->words[2]);
    if (message->words[3] != 0) {
        groups_forget_session(shard->groups, message->words[0]);
    }
}

static void send_release(struct core *from, struct shard *shard, uint64_t session, uint64_t first,
                         uint64_t last, bool forget)
{
    struct core_message message = {
        .deliver = deliver_release,
        .object = shard,
        .words = {session, first, last, forget},
    };
    core_send_to(from, shard->core, &message);
}

void receive_give_back(struct call *call, struct core *at)
{
    const struct receive_call *receive = &call->receive;
    send_release(at, receive->shard, receive->session, receive->serial, receive->serial,
                 call->session->closed);
}

static void forget_given(struct given *given)
{
    list_remove(&given->link);
    free(given);
}

void receive_prune(struct session *session)
{
    uint64_t sent = connection_sent_bytes(&session->connection);
    struct list *link;
    while ((link = list_first(&session->given)) != NULL) {
        struct given *given = CONTAINER_OF(link, struct given, link);
        if (given->end > sent) {
            return;
        }
        forget_given(given);
    }
}

static void note_given(struct call *call)
{
    struct session *session = call->session;
    struct given *given = malloc(sizeof(*given));
    ASSERT(given != NULL);
    *given = (struct given){
        .shard = call->receive.shard,
        .serial = call->receive.serial,
        .end = connection_queued_bytes(&session->connection),
    };
    list_append(&session->given, &given->link);
}

void receive_session_closed(struct session *session)
{
    struct core *core = session->core;
    receive_prune(session);
    struct list *link;
    while ((link = list_first(&session->given)) != NULL) {
        struct given *given = CONTAINER_OF(link, struct given, link);
        send_release(core, given->shard, session->id, given->serial, given->serial, false);
        forget_given(given);
    }
    uint64_t last = session->release_on_close ? UINT64_MAX : 0;
    for (uint64_t shards = session->lease_shards; shards != 0; shards &= shards - 1) {
        struct shard *shard = core->cores->shard[__builtin_ctzll(shards)];
        send_release(core, shard, session->id, 0, last, true);
    }
    session->lease_shards = 0;
}

/* --------------------------------------------------------------------- answer */

static void write_range(struct call *call, const struct receive_range *range)
{
    const struct receive_call *receive = &call->receive;
    struct writer writer = writer_over(call_answer_reserve(call, RANGE_BYTES), RANGE_BYTES);
    writer_put_array(&writer, 9);
    writer_put_str(&writer, range->topic);
    writer_put_uint(&writer, range->queue);
    writer_put_uint(&writer, range->first);
    writer_put_uint(&writer, range->span);
    writer_put_uint(&writer, range->messages);
    writer_put_uint(&writer, range->attempt);
    const struct lease_said said = {receive->group_id, range->generation, receive->serial,
                                    range->topic_id};
    lease_write(&writer, &said);
    writer_put_uint(&writer, receive->until_ms);
    if (range->reason == NULL) {
        writer_put_nil(&writer);
    } else {
        writer_put_str(&writer, reason_text(range->reason));
    }
    ASSERT(!writer.overflowed);
    call_answer_commit(call, writer_length(&writer));
}

/* [1, msgid, nil, {order*: .., ranges: [ */
static void write_begin(struct call *call)
{
    enum { BYTES = ANSWER_BEGIN_BYTES_MAX + 48 };
    const struct receive_call *receive = &call->receive;
    enum group_order order = receive->group->settings.order;
    struct writer writer = writer_over(call_answer_reserve(call, BYTES), BYTES);
    answer_begin(&writer, call->msgid);
    writer_put_map(&writer, 2U + receive->has_ack + (order != GROUP_ORDER_NONE));
    if (order != GROUP_ORDER_NONE) {
        writer_put_key_str(&writer, "order", choice_text(GROUP_ORDER_CHOICES, order));
    }
    writer_put_string(&writer, "ranges");
    writer_put_array(&writer, receive->ranges == NULL ? 0 : receive->ranges->count);
    ASSERT(!writer.overflowed);
    call_answer_commit(call, writer_length(&writer));
}

static void write_acked(struct call *call)
{
    const struct settling *settling = &call->receive.settling;
    size_t bytes = 16 + settling_failed(settling) * (size_t)FAILED_BYTES;
    uint8_t *room = malloc(bytes);
    ASSERT(room != NULL);
    struct writer writer = writer_over(room, bytes);
    writer_put_string(&writer, "acked");
    settling_write_failed(settling, &writer);
    ASSERT(!writer.overflowed);
    connection_write(&call->session->connection, room, writer_length(&writer));
    free(room);
}

static void write_messages(struct call *call)
{
    struct receive_call *receive = &call->receive;
    enum { BYTES = 16 };
    struct writer writer = writer_over(call_answer_reserve(call, BYTES), BYTES);
    writer_put_string(&writer, "messages");
    writer_put_array32(&writer, receive->runs == NULL ? 0 : receive->runs->messages);
    call_answer_commit(call, writer_length(&writer));
    if (receive->runs != NULL) {
        delivery_write(&call->session->connection, receive->runs);
        note_given(call);
    }
}

void receive_answer(struct call *call)
{
    struct receive_call *receive = &call->receive;
    struct core_counters *counters = &call->home->counters;
    counters->receives++;
    if (call_is_dropped(call)) {
        call_end(call);
        return;
    }
    if (receive->runs != NULL) {
        counters->received_messages += receive->runs->messages;
        counters->received_bytes += receive->runs->bytes;
    }
    write_begin(call);
    for (uint32_t i = 0; receive->ranges != NULL && i < receive->ranges->count; i++) {
        write_range(call, &receive->ranges->at[i]);
    }
    if (receive->has_ack) {
        write_acked(call);
    }
    write_messages(call);
    call_end(call);
}
