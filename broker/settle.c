/* SPDX-License-Identifier: Apache-2.0 */
/* settle.c - a call's receipts, from its arguments through the shards to its answer. */
#include "broker/settle.h"

#include "broker/call.h"
#include "broker/core.h"
#include "broker/dead_letter.h"
#include "broker/directory.h"
#include "broker/groups.h"
#include "broker/settle_lost.h"
#include "broker/settle_receipt.h"
#include "broker/shard.h"
#include "proto/names.h"

#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ receipts */

void lease_write(struct writer *writer, const struct lease_said *said)
{
    uint8_t lease[LEASE_BYTES];
    store_u32(lease, said->group);
    store_u32(lease + 4, said->generation);
    store_u64(lease + 8, said->serial);
    store_u32(lease + 16, said->topic);
    writer_put_bin(writer, bytes_make(lease, sizeof(lease)));
}

static bool take_lease(struct cursor *cursor, struct receipt *receipt)
{
    struct bytes lease;
    receipt->has_lease = !cursor_try_nil(cursor);
    if (!receipt->has_lease) {
        return true;
    }
    if (!cursor_take_text(cursor, &lease) || lease.length != LEASE_BYTES) {
        return false;
    }
    receipt->group = load_u32(lease.data);
    receipt->generation = load_u32(lease.data + 4);
    receipt->serial = load_u64(lease.data + 8);
    receipt->topic = load_u32(lease.data + 16);
    return true;
}

/* A lease of a member of a broadcast group counts for its group. */
static bool is_of_group(struct directory *directory, const struct group *group, uint32_t id)
{
    if (id == group->id) {
        return true;
    }
    const struct group *member = directory_find_group_id(directory, id);
    return member != NULL && name_is_member(member->name) &&
           bytes_equal(name_group_of(member->name), group->name);
}

/* Takes one receipt. False: it is none. What its queue does not know is its own error. */
static bool take_receipt(struct core *home, const struct group *group, struct cursor *cursor,
                         struct receipt *receipt)
{
    struct bytes name;
    if (!cursor_take_array_of(cursor, 5) || !cursor_take_text(cursor, &name) ||
        !cursor_take_u16(cursor, &receipt->queue) || !cursor_take_uint(cursor, &receipt->first) ||
        !cursor_take_uint(cursor, &receipt->span) || receipt->span == 0 ||
        receipt->span >= INTEGER_LIMIT - receipt->first) {
        return false;
    }
    receipt->group = group->id;
    if (!take_lease(cursor, receipt)) {
        return false;
    }
    receipt->error = OK;
    receipt->from = receipt->first;
    receipt->is_begun = false;
    receipt->has_missed = false;
    receipt->has_failed = false;
    const struct topic *topic = directory_find(home->directory, name);
    if (topic == NULL || receipt->queue >= topic->queue_count ||
        group_find_topic(group, name) == NULL) {
        receipt->error = ERROR_TOPIC_NOT_FOUND;
        return true;
    }
    if (!topic_has(topic, receipt->queue)) {
        receipt->error = ERROR_WRONG_BROKER;
        return true;
    }
    bool is_of_topic = !receipt->has_lease || receipt->topic == topic->id;
    if (!is_of_topic || !is_of_group(home->directory, group, receipt->group)) {
        receipt->error = ERROR_LEASE_LOST;
        return true;
    }
    receipt->topic = topic->id;
    receipt->shard = (uint16_t)topic_shard(topic, receipt->queue);
    return true;
}

enum error settling_read(struct call *call, struct settling *settling, struct group *group,
                         const struct arguments *arguments, enum argument_id id,
                         struct refusal *refusal)
{
    uint32_t count = (uint32_t)arguments_number(arguments, id);
    struct cursor cursor = arguments_cursor(arguments, id);
    settling->count = count;
    settling->receipts = settling->inline_receipts;
    settling->shards = 0;
    settling->durable = false;
    settling->disk = NULL;
    settling->reason_length = 0;
    list_init(&settling->written);
    if (count > SETTLE_RECEIPTS_INLINE) {
        settling->receipts = malloc(count * sizeof(struct receipt));
        ASSERT(settling->receipts != NULL);
        call_charge(call, count * sizeof(struct receipt));
    }
    for (uint32_t i = 0; i < count; i++) {
        struct receipt *receipt = &settling->receipts[i];
        if (!take_receipt(call->home, group, &cursor, receipt)) {
            settling->group = NULL;
            settling_release(settling);
            return arguments_refuse(refusal, id, "an array of [topic, queue, first, span, lease]");
        }
        settling->shards |= receipt->error == OK ? UINT64_C(1) << receipt->shard : 0;
    }
    settling->group = group_ref(group);
    return OK;
}

void settling_release(struct settling *settling)
{
    if (settling->receipts != settling->inline_receipts) {
        free(settling->receipts);
    }
    settling->receipts = settling->inline_receipts;
    settling->count = 0;
    group_unref(settling->group);
    settling->group = NULL;
}

uint32_t settling_failed(const struct settling *settling)
{
    uint32_t failed = 0;
    for (uint32_t i = 0; i < settling->count; i++) {
        failed += settling->receipts[i].error != OK;
    }
    return failed;
}

void settling_write_failed(const struct settling *settling, struct writer *writer)
{
    writer_put_array(writer, settling_failed(settling));
    for (uint32_t i = 0; i < settling->count; i++) {
        if (settling->receipts[i].error != OK) {
            writer_put_array(writer, 2);
            writer_put_uint(writer, i);
            writer_put_uint(writer, (uint64_t)settling->receipts[i].error);
        }
    }
}

/* ------------------------------------------------------------------- journey */

static struct settling *settling_of(struct call *call);

static void visit(struct call *call, struct core *at);

/* To the next shard, or home. */
static void go_on(struct call *call, struct core *at)
{
    struct settling *settling = settling_of(call);
    if (settling->shards == 0) {
        call_return(call, at, settling->done);
        return;
    }
    uint32_t shard = (uint32_t)__builtin_ctzll(settling->shards);
    settling->shards &= settling->shards - 1;
    settling->shard = at->cores->shard[shard];
    call_forward(call, at, settling->shard->core, visit);
}

static void durable(struct log_operation *operation)
{
    struct settling *settling = CONTAINER_OF(operation, struct settling, operation);
    struct call *call = settling->call;
    go_on(call, settling->shard->core);
}

/* Whether a receipt is of this shard, and good so far. */
static bool is_here(const struct settling *settling, const struct receipt *receipt)
{
    return receipt->error == OK && receipt->shard == settling->shard->number;
}

/* The log has not taken what this shard settled. */
static void refuse_here(struct settling *settling)
{
    for (uint32_t i = 0; i < settling->count; i++) {
        struct receipt *receipt = &settling->receipts[i];
        if (is_here(settling, receipt)) {
            receipt->error = ERROR_DISK_FULL;
        }
    }
}

/* What was settled here is in the log already, but perhaps not on the disk: what says so again will be, behind it. */
static bool say_again(struct settling *settling, struct groups *groups)
{
    for (uint32_t i = 0; i < settling->count; i++) {
        const struct receipt *receipt = &settling->receipts[i];
        const struct group_place place = {receipt->group, receipt->topic, receipt->queue};
        struct group_queue *queue = is_here(settling, receipt) ? groups_find(groups, &place) : NULL;
        if (queue == NULL) {
            continue;
        }
        uint64_t last = receipt->first + receipt->span - 1;
        if (groups_say_again(queue, last, &settling->operation) == OK) {
            return true;
        }
        refuse_here(settling);
        return false;
    }
    return false;
}

/* Waits until all that was settled here is durable. False: there is nothing to wait for. */
static bool wait_for_disk(struct settling *settling, struct groups *groups)
{
    settling->operation = (struct log_operation){.done = durable};
    if (list_is_empty(&groups->dirty)) {
        return say_again(settling, groups);
    }
    bool is_waiting = groups_flush_waiting(groups, &settling->operation);
    if (!is_waiting) {
        refuse_here(settling);
    }
    return is_waiting;
}

/* The receipts of this shard, from settling->place on. False: the steps are used up, or it waits for the disk. */
static bool settle_receipts(struct settling *settling, struct core *at)
{
    struct groups *groups = settling->shard->groups;
    bool is_late = call_is_late(settling->call, at);
    for (; settling->place < settling->count; settling->place++) {
        struct receipt *receipt = &settling->receipts[settling->place];
        if (!is_here(settling, receipt)) {
            continue;
        }
        if (at->settle_left == 0) {
            return false;
        }
        at->settle_left--;
        if (is_late && !receipt->is_begun) {
            receipt->error = ERROR_DEADLINE;
            continue;
        }
        if (!receipt->is_begun && !settle_cut_lost(settling, receipt, at)) {
            return false;
        }
        receipt->is_begun = true;
        if (!settle_receipt(groups, settling, receipt, &at->settle_left)) {
            return false;
        }
        receipt->from = receipt->first;
    }
    return true;
}

/* What lies behind those that have failed, likewise. */
static bool give_back_behind(struct settling *settling, struct core *at)
{
    struct groups *groups = settling->shard->groups;
    for (; settling->place < settling->count; settling->place++) {
        struct receipt *receipt = &settling->receipts[settling->place];
        if (receipt->has_failed && receipt->shard == settling->shard->number &&
            !settle_give_back_behind(groups, receipt, &at->settle_left)) {
            return false;
        }
    }
    return true;
}

/* False: there is more to settle, in a coming turn. */
static bool settle_some(struct settling *settling, struct core *at)
{
    if (!settling->gives_back) {
        if (!settle_receipts(settling, at)) {
            return false;
        }
        settling->place = 0;
        settling->gives_back = true;
    }
    return settling->verb != SETTLE_NACK || give_back_behind(settling, at);
}

static void work(struct settling *settling, struct core *at)
{
    struct groups *groups = settling->shard->groups;
    bool is_done = settle_some(settling, at);
    dead_letters_go_on(groups);
    if (settle_is_cold(settling)) {
        return;
    }
    if (is_done && settling->durable && wait_for_disk(settling, groups)) {
        return;
    }
    list_append(is_done ? &at->written : &at->settling, &settling->written);
    core_hook_woken(at);
}

static void visit(struct call *call, struct core *at)
{
    struct settling *settling = settling_of(call);
    settling->place = 0;
    settling->gives_back = false;
    if (!list_is_empty(&at->settling)) {
        list_append(&at->settling, &settling->written); /* others came before */
        return;
    }
    work(settling, at);
}

void settle_go_on(struct core *core)
{
    core->settle_left = SETTLE_STEPS_A_TURN;
    struct list *link;
    while (core->settle_left > 0 && (link = list_take_first(&core->settling)) != NULL) {
        work(CONTAINER_OF(link, struct settling, written), core);
    }
}

/* Refused, it is said so: what of it could be appended is tried again. */
static bool is_written(const struct settling *settling)
{
    const struct shard *shard = settling->shard;
    return shard->groups->flush_refused || commit_log_has_written(shard->log);
}

bool settle_is_written(const struct core *core)
{
    LIST_FOREACH (link, &core->written) {
        if (is_written(CONTAINER_OF(link, struct settling, written))) {
            return true;
        }
    }
    return false;
}

void settle_take_written(struct core *core, struct list *settled_out)
{
    LIST_FOREACH (link, &core->written) {
        if (is_written(CONTAINER_OF(link, struct settling, written))) {
            list_remove(link);
            list_append(settled_out, link);
        }
    }
}

void settle_let_go(struct core *core, struct list *settled)
{
    struct list *link;
    while ((link = list_take_first(settled)) != NULL) {
        struct settling *settling = CONTAINER_OF(link, struct settling, written);
        if (settling->shard->groups->flush_refused) {
            refuse_here(settling);
        }
        go_on(settling->call, core);
    }
}

void settling_begin(struct call *call, struct settling *settling,
                    void (*done)(struct call *call, struct core *at))
{
    settling->call = call;
    settling->done = done;
    go_on(call, call->home);
}

static struct settling *settling_of(struct call *call)
{
    return call->method == METHOD_RECEIVE ? &call->receive.settling : &call->settling;
}

/* -------------------------------------------------------------------- methods */

static void answer(struct call *call, struct core *at)
{
    (void)at;
    const struct settling *settling = &call->settling;
    size_t bytes = 32 + settling_failed(settling) * FAILED_BYTES;
    uint8_t inline_room[128];
    uint8_t *room = bytes <= sizeof(inline_room) ? inline_room : malloc(bytes);
    ASSERT(room != NULL);
    struct writer writer = writer_over(room, bytes);
    writer_put_map(&writer, 1);
    writer_put_string(&writer, "failed");
    settling_write_failed(settling, &writer);
    ASSERT(!writer.overflowed);
    call_answer(call, writer_bytes(&writer));
    if (room != inline_room) {
        free(room);
    }
}

static struct group *find_group(struct call *call, const struct arguments *arguments,
                                struct refusal *refusal)
{
    struct bytes name = arguments_bytes(arguments, ARGUMENT_GROUP);
    struct group *group = directory_find_group(call->home->directory, name);
    if (group == NULL) {
        (void)group_refuse_missing(name, refusal);
    }
    return group;
}

/* Reads what all three have; false: the call has ended. */
static bool begin(struct call *call, const struct arguments *arguments, enum settle_verb verb)
{
    struct refusal refusal;
    enum method_id method = call->method;
    call->method = METHOD_COUNT; /* until there is something to release */
    struct group *group = find_group(call, arguments, &refusal);
    if (group == NULL ||
        settling_read(call, &call->settling, group, arguments, ARGUMENT_RECEIPTS, &refusal) != OK) {
        call_refuse(call, &refusal);
        return false;
    }
    call->method = method;
    call->settling.verb = verb;
    return true;
}

void settle_release(struct call *call)
{
    settling_release(&call->settling);
}

void ack_run(struct call *call, const struct arguments *arguments)
{
    if (begin(call, arguments, SETTLE_ACK)) {
        call->settling.durable = arguments_has(arguments, ARGUMENT_DURABLE) &&
                                 arguments_number(arguments, ARGUMENT_DURABLE) != 0;
        call_drop_buffer(call);
        settling_begin(call, &call->settling, answer);
    }
}

void nack_run(struct call *call, const struct arguments *arguments)
{
    if (!begin(call, arguments, SETTLE_NACK)) {
        return;
    }
    struct settling *settling = &call->settling;
    struct bytes reason = arguments_bytes(arguments, ARGUMENT_REASON);
    settling->counts = arguments_number(arguments, ARGUMENT_COUNTS) != 0;
    settling->dead = arguments_number(arguments, ARGUMENT_DEAD) != 0;
    settling->has_delay = arguments_has(arguments, ARGUMENT_DELAY_MS);
    settling->delay_ms = arguments_number(arguments, ARGUMENT_DELAY_MS);
    settling->reason_length = (uint8_t)reason.length;
    if (reason.length > 0) {
        memcpy(settling->reason, reason.data, reason.length);
    }
    call_drop_buffer(call);
    settling_begin(call, settling, answer);
}

void extend_run(struct call *call, const struct arguments *arguments)
{
    if (!begin(call, arguments, SETTLE_EXTEND)) {
        return;
    }
    struct settling *settling = &call->settling;
    settling->lease_ms = arguments_has(arguments, ARGUMENT_LEASE)
                             ? arguments_number(arguments, ARGUMENT_LEASE)
                             : settling->group->settings.lease_ms;
    call_drop_buffer(call);
    settling_begin(call, settling, answer);
}
