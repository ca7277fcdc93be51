/* SPDX-License-Identifier: Apache-2.0 */
/*
 * catch_up.c - a reader of all that a topic holds, on a thread of its own.
 */
#include "tools/bench/catch_up.h"

#include "proto/base/contract.h"
#include "tools/bench/load.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

enum { DELIVERIES = 512 };

struct catch_up {
    struct ternmq *client;
    const char *topic;
    uint64_t duration_ms;
    struct passage *passage;
    struct catch_up_figures figures;
    struct ternmq_error error; /* code TERNMQ_OK: it has not failed */
    bool started;
    pthread_t thread;
    atomic_bool stopping;
    atomic_bool ended;
};

static uint64_t now_of(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

struct catch_up *catch_up_create(const struct ternmq_options *client, const char *topic,
                                 uint64_t duration_ms, struct ternmq_error *error)
{
    struct catch_up *catch_up = calloc(1, sizeof(*catch_up));
    ASSERT(catch_up != NULL);
    catch_up->topic = topic;
    catch_up->duration_ms = duration_ms;
    struct ternmq_options options = *client;
    options.receive_bytes_max = LOAD_RECEIVE_BYTES;
    catch_up->client = ternmq_open(&options, error);
    struct ternmq_route route;
    if (catch_up->client == NULL ||
        ternmq_route(catch_up->client, topic, &route, error) != TERNMQ_OK) {
        catch_up_destroy(catch_up);
        return NULL;
    }
    catch_up->passage = passage_create(route.queue_count);
    return catch_up;
}

void catch_up_destroy(struct catch_up *catch_up)
{
    if (catch_up == NULL) {
        return;
    }
    if (catch_up->started) {
        atomic_store(&catch_up->stopping, true);
        ternmq_interrupt(catch_up->client);
        (void)pthread_join(catch_up->thread, NULL);
    }
    ternmq_close(catch_up->client);
    passage_destroy(catch_up->passage);
    free(catch_up);
}

/* Reads to the end once. False: it failed, or was told to stop. */
static bool read_once(struct catch_up *catch_up, uint64_t begun_ns)
{
    static const int64_t patience_ms = LOAD_TIMEOUT_MS;
    struct ternmq_delivery deliveries[DELIVERIES];
    struct ternmq_error *error = &catch_up->error;
    const struct ternmq_consumer_options options = {
        .topic = catch_up->topic, .until_end = true, .stop_at_gap = true};
    struct ternmq_consumer *consumer = ternmq_consumer_open(catch_up->client, &options, error);
    int code = consumer == NULL ? error->code : TERNMQ_OK;
    while (code == TERNMQ_OK && !atomic_load_explicit(&catch_up->stopping, memory_order_relaxed)) {
        size_t count;
        code = ternmq_consume(consumer, patience_ms, deliveries, DELIVERIES, &count, error);
        if (code != TERNMQ_OK) {
            break;
        }
        if (catch_up->figures.first_ns == 0) {
            catch_up->figures.first_ns = now_of(CLOCK_MONOTONIC) - begun_ns;
        }
        for (size_t i = 0; i < count; i++) {
            passage_take(catch_up->passage, &deliveries[i]);
        }
    }
    ternmq_consumer_close(consumer);
    if (code == TERNMQ_END || code == TERNMQ_INTERRUPTED) {
        error->code = TERNMQ_OK;
    }
    return code == TERNMQ_END;
}

static void *reading(void *context)
{
    struct catch_up *catch_up = context;
    struct catch_up_figures *figures = &catch_up->figures;
    uint64_t begun_ns = now_of(CLOCK_MONOTONIC);
    uint64_t begun_cpu_ns = now_of(CLOCK_THREAD_CPUTIME_ID);
    bool whole;
    do {
        passage_read_again(catch_up->passage);
        whole = read_once(catch_up, begun_ns);
        figures->passes += whole;
        figures->nanoseconds = now_of(CLOCK_MONOTONIC) - begun_ns;
        figures->cpu_ns = now_of(CLOCK_THREAD_CPUTIME_ID) - begun_cpu_ns;
        figures->verdict = passage_judge(catch_up->passage);
    } while (whole && figures->nanoseconds / 1000000U < catch_up->duration_ms);
    atomic_store(&catch_up->ended, true);
    return NULL;
}

void catch_up_start(struct catch_up *catch_up)
{
    ASSERT(!catch_up->started);
    catch_up->started = true;
    int failed = pthread_create(&catch_up->thread, NULL, reading, catch_up);
    ASSERT(failed == 0);
}

bool catch_up_has_ended(const struct catch_up *catch_up)
{
    return atomic_load(&catch_up->ended);
}

const struct catch_up_figures *catch_up_finish(struct catch_up *catch_up,
                                               struct ternmq_error *error)
{
    ASSERT(catch_up->started);
    if (!catch_up_has_ended(catch_up)) {
        atomic_store(&catch_up->stopping, true);
        ternmq_interrupt(catch_up->client);
    }
    (void)pthread_join(catch_up->thread, NULL);
    catch_up->started = false;
    if (catch_up->error.code != TERNMQ_OK) {
        *error = catch_up->error;
        return NULL;
    }
    return &catch_up->figures;
}
