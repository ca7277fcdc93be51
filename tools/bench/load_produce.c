/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load_produce.c - the connections that produce: closed loop, or at a rate.
 */
#include "tools/bench/body.h"
#include "tools/bench/load_state.h"

/* Writes the heads of `count` bodies; with a rate each has its own moment. */
static void write_heads(struct load_stream *stream, uint64_t first, uint32_t count, uint64_t at_ns,
                        uint64_t step_ns)
{
    const struct load *load = stream->load;
    uint8_t *body = stream->bodies;
    for (uint32_t i = 0; i < count; i++, body += load->options.size) {
        const struct body_head head = {
            .run = load->run,
            .stream = stream->number,
            .number = first + i,
            .meant_ns = at_ns + i * step_ns,
        };
        body_write(body, &head);
        if (load->keys != NULL) {
            stream->messages[i].keys = &load->keys[load_key(&load->options, head.number)];
            stream->messages[i].key_count = 1;
        }
    }
}

static void call_ended(void *context, const struct ternmq_produced *produced,
                       const struct ternmq_error *error)
{
    struct load_call *call = context;
    struct load_stream *stream = call->stream;
    struct load *load = stream->load;
    if (error == NULL) {
        ledger_acknowledge(load->ledger, stream->number, call->first, produced->count);
        for (uint32_t i = 0; load->keys != NULL && i < call->count; i++) {
            load->poisoned += load_is_poisoned(&load->options, call->first + i);
        }
        if (load->measuring) {
            load->figures.acknowledged += call->count;
            histogram_add(&load->figures.acknowledge, clock_ns() - call->sent_ns, call->count);
        }
    } else {
        load->figures.errors += call->count;
        load->last_error = *error;
        if (error->stored != TERNMQ_STORED_NO) {
            ledger_lose(load->ledger, stream->number, call->first, call->count);
        }
        if (!error->retryable && error->code != TERNMQ_LOST && error->code != TERNMQ_CLOSED) {
            load->failure = *error;
        }
    }
    call->next = stream->free;
    stream->free = call;
    stream->in_flight--;
    load_stream_pump(stream);
}

static bool stream_send(struct load_stream *stream, uint32_t count, uint64_t at_ns,
                        uint64_t step_ns)
{
    struct load *load = stream->load;
    struct load_call *call = stream->free;
    struct ternmq_error error;
    uint64_t first = ledger_take(load->ledger, stream->number, count);
    write_heads(stream, first, count, at_ns, step_ns);
    call->first = first;
    call->count = count;
    call->sent_ns = at_ns;
    struct ternmq_producer *producer = stream->producers[stream->turn];
    stream->turn = (stream->turn + 1) % load_producer_count(&load->options);
    if (ternmq_produce_batch_async(producer, stream->messages, count, call_ended, call, &error) !=
        TERNMQ_OK) {
        load->failure = error;
        return false;
    }
    stream->free = call->next;
    stream->in_flight++;
    load->taken += count;
    return true;
}

/* How many messages the limit still allows in the next call. */
static uint32_t allowed(const struct load *load)
{
    if (load->limit == 0 || load->taken + load->options.batch <= load->limit) {
        return load->options.batch;
    }
    return (uint32_t)(load->limit - load->taken);
}

/* At a fixed rate a message has its moment whether or not earlier ones were answered; what waits
 * because the window is full is late, and its latency counts from when it was meant. */
static void stream_pump_rate(struct load_stream *stream)
{
    const struct load_options *options = &stream->load->options;
    uint64_t step_ns = (uint64_t)options->connections * 1000000000U / options->rate;
    step_ns = step_ns == 0 ? 1 : step_ns;
    uint64_t now_ns = clock_ns();
    while (stream->free != NULL && stream->due_ns <= now_ns) {
        uint64_t due = (now_ns - stream->due_ns) / step_ns + 1;
        uint32_t count = due < options->batch ? (uint32_t)due : options->batch;
        if (!stream_send(stream, count, stream->due_ns, step_ns)) {
            return;
        }
        stream->due_ns += count * step_ns;
    }
}

void load_stream_pump(struct load_stream *stream)
{
    struct load *load = stream->load;
    if (!load->producing || load->failure.code != TERNMQ_OK) {
        return;
    }
    if (load->options.rate != 0) {
        stream_pump_rate(stream);
        return;
    }
    while (stream->free != NULL && allowed(load) > 0) {
        if (!stream_send(stream, allowed(load), clock_ns(), 0)) {
            return;
        }
    }
}

void load_produce_begin(struct load *load)
{
    load->producing = true;
    uint64_t now_ns = clock_ns();
    for (uint32_t i = 0; i < load->options.connections; i++) {
        load->streams[i].due_ns = now_ns;
        load_stream_pump(&load->streams[i]);
    }
}

void load_produce_end(struct load *load)
{
    load->producing = false;
}

void load_produce_limit(struct load *load, uint64_t messages)
{
    load->limit = messages == 0 ? 0 : load->taken + messages;
}

bool load_has_produced_all(const struct load *load)
{
    return load->limit != 0 && load->taken >= load->limit && load_is_quiet(load);
}

bool load_is_quiet(const struct load *load)
{
    uint32_t in_flight = 0;
    for (uint32_t i = 0; i < load->options.connections; i++) {
        in_flight += load->streams[i].in_flight;
    }
    return in_flight == 0;
}
