/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topic_show.c - the method topic.show: the topic, and where those of its queues that are here stand in
 * their shards.
 *
 * The call tours the cores; on each it notes the queues of the shards there.
 */
#include "broker/call.h"
#include "broker/core.h"
#include "broker/directory.h"
#include "broker/shard.h"
#include "broker/topic_methods.h"
#include "storage/commit_log.h"

#include <stdlib.h>

enum {
    /* Name, id, version, settings, this broker, keys. */
    TOPIC_BYTES = TOPIC_NAME_BYTES_MAX + BROKER_NAME_BYTES_MAX + 160,
    /* Five keys, two small numbers and three offsets. */
    QUEUE_BYTES = 80
};

struct shown_queue {
    bool is_there; /* it goes while we look where the topic is being deleted */
    struct queue_state state;
};

struct topic_show {
    struct topic *topic;
    struct shown_queue queues[];
};

static void look_step(struct call *call, struct core *at)
{
    struct topic_show *show = call->own;
    for (uint32_t i = 0; i < show->topic->queue_count; i++) {
        if (!topic_has(show->topic, i)) {
            continue;
        }
        struct shard *shard = at->cores->shard[topic_shard(show->topic, i)];
        if (shard->core != at) {
            continue;
        }
        struct queue *queue = commit_log_queue_find(shard->log, show->topic->id, (uint16_t)i);
        if (queue != NULL) {
            show->queues[i] = (struct shown_queue){.is_there = true, .state = queue_state(queue)};
        }
    }
}

static void write_queue(struct writer *writer, const struct topic_show *show, uint32_t queue)
{
    const struct queue_state *state = &show->queues[queue].state;
    writer_put_map(writer, 5);
    writer_put_key_uint(writer, "queue", queue);
    writer_put_key_uint(writer, "shard", topic_shard(show->topic, queue));
    writer_put_key_uint(writer, "first", state->first);
    writer_put_key_uint(writer, "end", state->visible);
    writer_put_key_uint(writer, "next", state->next);
}

static void write_topic(struct writer *writer, const struct topic_show *show, const char *broker)
{
    const struct topic *topic = show->topic;
    writer_put_map(writer, 7);
    writer_put_key_str(writer, "name", topic->name);
    writer_put_key_uint(writer, "id", topic->id);
    writer_put_key_uint(writer, "version", topic->version);
    topic_write_settings(topic, writer);
    writer_put_key_string(writer, "broker", broker);
    writer_put_string(writer, "placement");
    topic_write_placement(topic, broker, writer);
    writer_put_string(writer, "queues");
    writer_put_array(writer, topic_queues_here(topic));
    for (uint32_t queue = 0; queue < topic->queue_count; queue++) {
        if (topic_has(topic, queue)) {
            write_queue(writer, show, queue);
        }
    }
}

static void show_free(struct topic_show *show)
{
    topic_unref(show->topic);
    free(show);
}

static void answer_step(struct call *call, struct core *at)
{
    struct topic_show *show = call->own;
    for (uint32_t i = 0; i < show->topic->queue_count; i++) {
        if (topic_has(show->topic, i) && !show->queues[i].is_there) {
            show_free(show);
            call_fail(call, ERROR_TOPIC_NOT_FOUND);
            return;
        }
    }
    size_t bytes = TOPIC_BYTES + topic_placement_bytes(show->topic) +
                   (size_t)show->topic->queue_count * QUEUE_BYTES;
    uint8_t *room = malloc(bytes);
    ASSERT(room != NULL);
    struct writer writer = writer_over(room, bytes);
    write_topic(&writer, show, at->cores->name);
    ASSERT(!writer.overflowed);
    show_free(show);
    call_answer(call, writer_bytes(&writer));
    free(room);
}

void topic_show_run(struct call *call, const struct arguments *arguments)
{
    struct core *home = call->home;
    struct bytes name = arguments_bytes(arguments, ARGUMENT_NAME);
    struct topic *topic = directory_find(home->directory, name);
    if (topic == NULL) {
        struct refusal refusal;
        refusal_set(&refusal, ERROR_TOPIC_NOT_FOUND, "there is no topic '%.*s'", (int)name.length,
                    (const char *)name.data);
        call_refuse(call, &refusal);
        return;
    }
    struct topic_show *show =
        calloc(1, sizeof(*show) + topic->queue_count * sizeof(show->queues[0]));
    ASSERT(show != NULL);
    show->topic = topic_ref(topic);
    call->own = show;
    call_drop_buffer(call);
    call_tour(call, home, look_step, answer_step);
}
