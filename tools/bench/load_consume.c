/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load_consume.c - the queues that are read, and what their messages say.
 */
#include "tools/bench/body.h"
#include "tools/bench/load_state.h"

enum { DELIVERIES = 512 };

static void reader_take(struct load *load, uint32_t queue, const struct ternmq_delivery *delivery,
                        uint64_t now_ns)
{
    struct body_head head;
    if (!body_read(delivery->body, &head) || head.run != load->run) {
        return;
    }
    ledger_see(load->ledger, head.stream, head.number, queue);
    if (load->measuring) {
        load->figures.consumed++;
        histogram_add(&load->figures.deliver, now_ns > head.meant_ns ? now_ns - head.meant_ns : 0,
                      1);
    }
}

/* Takes what one consumer has. */
static void queue_drain(struct load_queue *queue)
{
    static struct ternmq_delivery deliveries[DELIVERIES];
    struct load *load = queue->load;
    struct ternmq_error error;
    size_t count;
    int code;
    while ((code = ternmq_consume(queue->consumer, 0, deliveries, DELIVERIES, &count, &error)) ==
           TERNMQ_OK) {
        uint64_t now_ns = clock_ns();
        for (size_t i = 0; i < count; i++) {
            reader_take(load, queue->number, &deliveries[i], now_ns);
        }
    }
    if (code == TERNMQ_END && !queue->ended) {
        queue->ended = true;
        load->ended_count++;
    } else if (code != TERNMQ_END && code != TERNMQ_NOTHING) {
        load->figures.errors++;
        load->last_error = error;
        if (!error.retryable) {
            load->failure = error;
        }
    }
}

static void on_ready(void *context)
{
    queue_drain(context);
}

bool load_consume_begin(struct load *load, bool from_first, bool until_end,
                        struct ternmq_error *error)
{
    load->ended_count = 0;
    for (uint32_t number = 0; number < load_queue_count(&load->options); number++) {
        struct load_queue *queue = &load->queues[number];
        char topic[TOPIC_NAME_BYTES_MAX + 1];
        (void)load_topic_name(&load->options, number % load->options.topics, topic);
        const struct ternmq_consumer_options options = {
            .topic = topic,
            .one_queue = true,
            .queue = number / load->options.topics,
            .start = from_first ? TERNMQ_START_FIRST : TERNMQ_START_LAST,
            .until_end = until_end,
            .pull_bytes = load->options.pull_bytes,
            .ready = on_ready,
            .context = queue,
        };
        queue->ended = false;
        queue->consumer = ternmq_consumer_open(load->readers[number % load->options.connections],
                                               &options, error);
        if (queue->consumer == NULL) {
            return false;
        }
    }
    return true;
}

void load_consume_end(struct load *load)
{
    for (uint32_t number = 0; number < load_queue_count(&load->options); number++) {
        ternmq_consumer_close(load->queues[number].consumer);
        load->queues[number].consumer = NULL;
    }
}

bool load_is_at_end(const struct load *load)
{
    return load->ended_count == load_queue_count(&load->options);
}
