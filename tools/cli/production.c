/* SPDX-License-Identifier: Apache-2.0 */
/* production.c - the messages of `produce` on their way: batches, one call at a time, and their answers. */
#include "tools/cli/production.h"

#include "tools/cli/text.h"

#include <stdlib.h>
#include <string.h>

/* One call: what is to be added up when it is answered. */
struct sent_batch {
    struct production *production;
    uint64_t bytes;
};

static void fail(struct production *production, int code, const char *what)
{
    production->ended = true;
    production->failed = true;
    production->error = (struct ternmq_error){.code = code, .name = ternmq_code_name(code)};
    memcpy(production->error.message, what, strlen(what) + 1);
}

static void on_produced(void *context, const struct ternmq_produced *produced,
                        const struct ternmq_error *error)
{
    struct sent_batch *sent = context;
    struct production *production = sent->production;
    if (error != NULL) {
        if (!production->failed) {
            production->failed = true;
            production->error = *error;
        }
        production->ended = true;
    } else if (!production->failed) { /* what comes after a gap is no part of the first so many */
        bool is_first = production->calls == 0;
        invocation_stop_waiting(production->invocation);
        production->several_queues |= !is_first && production->queue != produced->queue;
        production->first = is_first ? produced->offset : production->first;
        production->queue = produced->queue;
        production->last = produced->offset + produced->count - 1;
        production->stored += produced->count;
        production->stored_bytes += sent->bytes;
        production->calls++;
    }
    free(sent);
}

void production_show_progress(struct production *production)
{
    if (!invocation_shows_progress()) {
        return;
    }
    uint64_t took_ms = clock_run_ms() - production->began_ms;
    invocation_progress(production->invocation, "%s stored, %s, %s/s",
                        text_of_count(production->stored, "message"),
                        text_of_bytes(production->stored_bytes),
                        text_of_number(took_ms > 0 ? production->stored * 1000 / took_ms : 0));
}

static bool is_lost(const struct ternmq_error *error)
{
    return error->code == TERNMQ_LOST || error->code == TERNMQ_TIMED_OUT;
}

/* Sends the batch until it is answered. */
static void send_until_answered(struct production *production, struct sent_batch *sent)
{
    struct ternmq_produced produced;
    struct ternmq_error error;
    bool is_unsure = false;
    int code;
    while ((code = ternmq_produce(production->producer, production->batch, production->batch_count,
                                  &produced, &error)) != TERNMQ_OK &&
           !interrupted && is_lost(&error) && error.stored == TERNMQ_STORED_MAYBE) {
        invocation_say(production->invocation,
                       "sending %s from message %llu on again, which may store them twice: %s (%s)",
                       text_of_count(production->batch_count, "message"),
                       (unsigned long long)production->stored + 1, error.message, error.name);
        production->resent += production->batch_count;
        is_unsure = true;
    }
    if (code == TERNMQ_OK) {
        on_produced(sent, &produced, NULL);
    } else if (interrupted) {
        free(sent);
    } else {
        error.stored = is_unsure ? TERNMQ_STORED_MAYBE : error.stored;
        on_produced(sent, NULL, &error);
    }
}

/* Gives the batch to the client, waiting while its window is full. */
static void give_batch(struct production *production, struct sent_batch *sent)
{
    struct ternmq_error error;
    int code;
    while ((code = ternmq_produce_batch_async(production->producer, production->batch,
                                              production->batch_count, on_produced, sent,
                                              &error)) == TERNMQ_FULL &&
           !interrupted) {
        (void)ternmq_poll(production->client, 100);
        production_show_progress(production);
    }
    if (code != TERNMQ_OK) {
        free(sent);
        if (!production->failed && !interrupted) {
            production->failed = true;
            production->error = error;
        }
    }
}

static void send_batch(struct production *production)
{
    struct sent_batch *sent = malloc(sizeof(*sent));
    if (sent == NULL) {
        fail(production, TERNMQ_NO_MEMORY, "no memory for a call");
        return;
    }
    *sent = (struct sent_batch){production, production->body_bytes};
    if (production->resends) {
        send_until_answered(production, sent);
    } else {
        give_batch(production, sent);
    }
    production->batch_count = 0;
    production->batch_bytes = 0;
    production->body_bytes = 0;
}

size_t production_in_flight(const struct production *production)
{
    size_t messages;
    ternmq_producer_in_flight(production->producer, &messages, NULL);
    return messages;
}

/* Whether the next call is worth sending now: it is large, or nothing is under way that it could
 * grow behind. */
static bool is_worth_sending(const struct production *production)
{
    const struct lines *lines = &production->lines;
    return !production->from_lines || lines->at_end ||
           lines->end - lines->begin >= LINES_BYTES / 2 || production_in_flight(production) == 0;
}

/* Waits for the source to have more, or for the call under way. */
static void wait_for_more(struct production *production)
{
    const struct lines *lines = &production->lines;
    if (production_in_flight(production) > 0) {
        (void)ternmq_poll(production->client, 5);
        return;
    }
    /* With much at hand and no line in it, the line goes on: reading makes room. */
    bool is_long = lines->end - lines->begin >= LINES_BYTES / 2;
    if (!production_wait_for_lines(production, is_long ? 0 : 500)) {
        (void)ternmq_poll(production->client, 0);
    }
}

void production_run(struct production *production)
{
    while (!interrupted && !production->failed) {
        if (production->from_lines) {
            production_read_ahead(production);
        }
        if (is_worth_sending(production)) {
            production_fill_batch(production);
        }
        if (production->batch_count > 0) {
            send_batch(production);
        } else if (production->ended) {
            return;
        } else {
            wait_for_more(production);
        }
        production_show_progress(production);
    }
}
