/* SPDX-License-Identifier: Apache-2.0 */
/* message_trace.c - one message looked up in the log, in the groups, among the events. */
#include "broker/message_trace.h"

#include "broker/call.h"
#include "broker/core.h"
#include "broker/delivery_trace.h"
#include "broker/directory.h"
#include "broker/groups.h"
#include "broker/member.h"
#include "broker/queue_reader.h"
#include "broker/shard.h"
#include "proto/base/contract.h"

#include <stdlib.h>
#include <string.h>

enum {
    /* A name, a member or a reason, a state, three numbers, keys. */
    GROUP_BYTES = GROUP_ANY_NAME_BYTES_MAX + MEMBER_NAME_BYTES_MAX + REASON_BYTES_MAX + 96,
    /* A name, a member, an outcome, two numbers. */
    EVENT_BYTES = GROUP_ANY_NAME_BYTES_MAX + MEMBER_NAME_BYTES_MAX + 40,
    /* The other numbers, where to go on, their keys. */
    HEAD_BYTES = GROUP_ANY_NAME_BYTES_MAX + 160
};

static_assert(TRACED_GROUPS_MAX * GROUP_BYTES + TRACED_EVENTS_MAX * EVENT_BYTES + HEAD_BYTES <
                  FRAME_BYTES_MAX,
              "an answer is a frame");

struct message_trace {
    struct call *call;
    struct topic *topic; /* a reference */
    struct shard *shard;
    struct trace_place place;
    struct queue_reader reader; /* to wait for the disk with */
    enum error error;
    uint64_t first;      /* of the queue */
    struct bytes answer; /* memory of its own */
    size_t after_bytes;  /* groups behind this name are told of */
    uint8_t after[GROUP_ANY_NAME_BYTES_MAX];
};

/* Which of the directory's groups are told of: those that read the topic, of [first, end). */
struct page {
    uint32_t first;
    uint32_t end;
    uint32_t count;
    bool has_next; /* more read it */
};

/* ------------------------------------------------------------------- groups */

static const char *state_name(const struct group_queue *queue, const struct open_range *range,
                              uint64_t offset)
{
    static const char *const names[] = {
        [OPEN_READY] = "ready",     [OPEN_WAITING] = "waiting", [OPEN_LEASED] = "leased",
        [OPEN_BLOCKED] = "blocked", [OPEN_DYING] = "dying",
    };
    if (queue == NULL || offset >= queue->next) {
        return "ahead";
    }
    if (range == NULL) {
        return "settled";
    }
    bool waits_for_its_turn =
        queue->order == GROUP_ORDER_QUEUE && range->state == OPEN_READY &&
        (queue->in_state[OPEN_LEASED] > 0 || range != open_ranges_first(&queue->open));
    return names[waits_for_its_turn ? OPEN_BLOCKED : (enum open_state)range->state];
}

static const struct open_range *find_open(const struct group_queue *queue, uint64_t offset)
{
    const struct open_range *range = queue == NULL ? NULL : open_ranges_find(&queue->open, offset);
    return range != NULL && range->first <= offset ? range : NULL;
}

static void write_group(struct writer *writer, const struct group *group, const struct topic *topic,
                        const struct group_queue *queue, uint64_t offset)
{
    bool has_filter = group_find_topic(group, topic->name)->filter != NULL;
    const struct open_range *range = find_open(queue, offset);
    struct bytes reason = reason_text(range == NULL ? NULL : range->reason);
    bool has_moment =
        range != NULL && (range->state == OPEN_LEASED || range->state == OPEN_WAITING);
    const struct group_member *member =
        range != NULL && range->state == OPEN_LEASED ? range->member : NULL;
    writer_put_map(writer, 2U + (range != NULL) + has_moment + (reason.length > 0) +
                               (member != NULL) + has_filter);
    writer_put_key_str(writer, "group", group->name);
    writer_put_key_string(writer, "state", state_name(queue, range, offset));
    if (range != NULL) {
        writer_put_key_uint(writer, "failed", range->attempts);
    }
    if (has_moment) {
        writer_put_key_uint(writer, "until", range->moment.key);
    }
    if (reason.length > 0) {
        writer_put_key_str(writer, "reason", reason);
    }
    if (member != NULL) {
        writer_put_key_str(writer, "member", member->name);
    }
    if (has_filter) {
        writer_put_key_bool(writer, "filter", true);
    }
}

/* Of a broadcast group its members are told, who are groups of their own. */
static bool reads(const struct group *group, const struct topic *topic)
{
    return !group->settings.broadcast && group_find_topic(group, topic->name) != NULL;
}

static struct page find_page(const struct message_trace *trace, const struct directory *directory)
{
    struct page page = {.first = directory_group_place_after(
                            directory, bytes_make(trace->after, trace->after_bytes))};
    for (uint32_t i = page.first; i < directory->group_count && !page.has_next; i++) {
        if (!reads(directory->groups[i], trace->topic)) {
            continue;
        }
        if (page.count == TRACED_GROUPS_MAX) {
            page.has_next = true;
        } else {
            page.count++;
            page.end = i + 1;
        }
    }
    return page;
}

static void write_groups(struct writer *writer, const struct message_trace *trace,
                         const struct directory *directory, const struct page *page)
{
    writer_put_string(writer, "groups");
    writer_put_array(writer, page->count);
    for (uint32_t i = page->first; i < page->end; i++) {
        const struct group *group = directory->groups[i];
        const struct group_place place = {group->id, trace->topic->id, trace->place.queue};
        if (reads(group, trace->topic)) {
            write_group(writer, group, trace->topic, groups_find(trace->shard->groups, &place),
                        trace->place.offset);
        }
    }
    if (page->has_next) {
        writer_put_key_str(writer, "next", directory->groups[page->end - 1]->name);
    }
}

/* ------------------------------------------------------------------- events */

/* Whose delivery it was: of the event that began it, `older` of those that are not newer. NULL: not known. */
static const struct group_member *member_of(const struct trace_event *const *events, uint32_t older)
{
    const struct trace_event *event = events[0];
    for (uint32_t i = 0; i < older && event->attempt > 0; i++) {
        bool is_begin = events[i]->outcome == TRACE_LEASED && events[i]->group == event->group;
        if (is_begin) {
            return events[i]->attempt == event->attempt ? events[i]->member : NULL;
        }
    }
    return NULL;
}

/* The first of `events`, behind which `older` - 1 older ones are. */
static void write_event(struct writer *writer, const struct directory *directory,
                        const struct trace_event *const *events, uint32_t older)
{
    const struct trace_event *event = events[0];
    const struct group_member *member = member_of(events, older);
    const struct group *group = directory_find_group_id(directory, event->group);
    writer_put_array(writer, 5);
    writer_put_str(writer, group == NULL ? BYTES_OF("") : group->name);
    if (member == NULL) {
        writer_put_nil(writer);
    } else {
        writer_put_str(writer, member->name);
    }
    writer_put_uint(writer, event->attempt);
    writer_put_uint(writer, event->at_ms);
    writer_put_string(writer, trace_outcome_name((enum trace_outcome)event->outcome));
}

/* The newest events about the message, the newest first. */
static uint32_t find_events(const struct message_trace *trace,
                            const struct trace_event *events[TRACED_EVENTS_MAX])
{
    const struct delivery_trace *all = &trace->shard->groups->trace;
    uint64_t before = all->count;
    uint32_t count = 0;
    const struct trace_event *event;
    while (count < TRACED_EVENTS_MAX &&
           (event = delivery_trace_find(all, &trace->place, &before)) != NULL) {
        events[count++] = event;
    }
    return count;
}

/* -------------------------------------------------------------------- answer */

/* Of a map that has `more` pairs behind it. */
static void write_head(struct writer *writer, const struct message_trace *trace,
                       const struct stored *stored, const struct core *at, uint32_t more)
{
    bool is_removed = trace->place.offset < trace->first;
    writer_put_map(writer, 2U + (stored->is_whole ? 3U : 0U) + is_removed + more);
    if (stored->is_whole) {
        writer_put_key_uint(writer, "stored_at", stored->stored_ms);
        writer_put_key_uint(writer, "epoch", stored->epoch);
        writer_put_key_bool(writer, "durable", stored->is_durable);
    }
    if (is_removed) {
        writer_put_key_bool(writer, "removed", true);
    }
    uint64_t since_ms = delivery_trace_since(&trace->shard->groups->trace);
    writer_put_key_uint(writer, "now", reactor_wall_ms(at->reactor));
    writer_put_key_uint(writer, "since", since_ms == 0 ? at->cores->started_wall_ms : since_ms);
}

static void write_answer(struct message_trace *trace, struct core *at, const struct stored *stored)
{
    const struct directory *directory = at->directory;
    const struct trace_event *events[TRACED_EVENTS_MAX];
    uint32_t event_count = find_events(trace, events);
    const struct page page = find_page(trace, directory);
    size_t bytes = HEAD_BYTES + page.count * (size_t)GROUP_BYTES + event_count * EVENT_BYTES;
    uint8_t *room = malloc(bytes);
    ASSERT(room != NULL);
    struct writer writer = writer_over(room, bytes);
    write_head(&writer, trace, stored, at, 2U + page.has_next);
    write_groups(&writer, trace, directory, &page);
    writer_put_string(&writer, "deliveries");
    writer_put_array(&writer, event_count);
    for (uint32_t i = event_count; i > 0; i--) {
        write_event(&writer, directory, &events[i - 1], event_count - i + 1);
    }
    ASSERT(!writer.overflowed);
    trace->answer = writer_bytes(&writer);
}

static void answer(struct call *call, struct core *at)
{
    (void)at;
    struct message_trace *trace = call->own;
    const enum error error = trace->error;
    struct bytes bytes = trace->answer;
    topic_unref(trace->topic);
    free(trace);
    if (error != OK) {
        call_fail(call, error);
    } else {
        call_answer(call, bytes);
        free((uint8_t *)(uintptr_t)bytes.data);
    }
}

/* --------------------------------------------------------------------- steps */

static void look(struct call *call, struct core *at);

static void look_again(struct queue_reader *reader, struct core *at)
{
    look(CONTAINER_OF(reader, struct message_trace, reader)->call, at);
}

static void look(struct call *call, struct core *at)
{
    struct message_trace *trace = call->own;
    struct commit_log *log = trace->shard->log;
    struct queue *queue = commit_log_queue_find(log, trace->place.topic, trace->place.queue);
    struct stored stored = {.is_whole = false};
    struct cold_range cold = {.segment = NULL};
    bool may_wait = queue_reader_may_wait(&trace->reader);
    const struct queue_state state = queue == NULL ? (struct queue_state){0} : queue_state(queue);
    trace->first = state.first;
    if (queue == NULL) {
        trace->error = ERROR_TOPIC_NOT_FOUND;
    } else if (trace->place.offset >= state.next) {
        trace->error = ERROR_MESSAGE_NOT_FOUND;
    } else if (trace->place.offset >= state.first &&
               !commit_log_find_stored(log, queue, trace->place.offset, may_wait ? NULL : &cold,
                                       &stored)) {
        trace->reader.shard = trace->shard;
        trace->reader.again = look_again;
        queue_reader_warm(&trace->reader, &cold);
        return;
    }
    if (trace->error == OK) {
        write_answer(trace, at, &stored);
    }
    call_return(call, at, answer);
}

void message_trace_run(struct call *call, const struct arguments *arguments)
{
    struct core *home = call->home;
    struct topic *topic =
        directory_find(home->directory, arguments_bytes(arguments, ARGUMENT_TOPIC));
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
    struct message_trace *trace = calloc(1, sizeof(*trace));
    ASSERT(trace != NULL);
    trace->call = call;
    trace->topic = topic_ref(topic);
    trace->shard = home->cores->shard[topic_shard(topic, (uint32_t)queue)];
    trace->place = (struct trace_place){topic->id, (uint16_t)queue,
                                        arguments_number(arguments, ARGUMENT_OFFSET)};
    struct bytes after = arguments_bytes(arguments, ARGUMENT_AFTER);
    trace->after_bytes = after.length;
    if (after.length > 0) {
        memcpy(trace->after, after.data, after.length);
    }
    call->own = trace;
    call_drop_buffer(call);
    call_forward(call, home, trace->shard->core, look);
}
