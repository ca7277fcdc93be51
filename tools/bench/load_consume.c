/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load_consume.c - the queues that are read, and what their messages say.
 */
#include "proto/base/bytes.h"
#include "tools/bench/load_state.h"

enum { DELIVERIES = 512 };

static void reader_take(struct load *load, const struct ternmq_delivery *delivery, uint64_t now_ns)
{
    if (delivery->body.length < (size_t)LOAD_HEAD_BYTES) {
        return;
    }
    const uint8_t *body = delivery->body.data;
    if (load_u64(body) != load->run) {
        return;
    }
    uint64_t word = load_u64(body + 8);
    ledger_see(load->ledger, (uint32_t)(word >> 48), word & ((UINT64_C(1) << 48) - 1),
               delivery->queue);
    if (load->measuring) {
        load->figures.consumed++;
        uint64_t meant_ns = load_u64(body + 16);
        histogram_add(&load->figures.deliver, now_ns > meant_ns ? now_ns - meant_ns : 0, 1);
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
            reader_take(load, &deliveries[i], now_ns);
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
    for (uint32_t number = 0; number < load->options.queues; number++) {
        struct load_queue *queue = &load->queues[number];
        const struct ternmq_consumer_options options = {
            .topic = load->options.topic,
            .one_queue = true,
            .queue = number,
            .start = from_first ? TERNMQ_START_FIRST : TERNMQ_START_LAST,
            .until_end = until_end,
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
    for (uint32_t number = 0; number < load->options.queues; number++) {
        ternmq_consumer_close(load->queues[number].consumer);
        load->queues[number].consumer = NULL;
    }
}

bool load_is_at_end(const struct load *load)
{
    return load->ended_count == load->options.queues;
}
