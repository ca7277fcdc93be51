/* SPDX-License-Identifier: Apache-2.0 */
/*
 * passage.c - one reading of a topic: its offsets, and the order of what runs produced.
 */
#include "tools/bench/passage.h"

#include "proto/base/contract.h"
#include "tools/bench/body.h"

#include <stdlib.h>
#include <string.h>

struct passage_queue {
    uint64_t next; /* the offset that is expected; 0: nothing was read yet */
    /* The number seen last, plus one; 0: none was. */
    uint64_t numbers[PASSAGE_RUNS_MAX][PASSAGE_STREAMS_MAX];
};

struct passage {
    struct passage_queue *queues;
    uint32_t queue_count;
    uint64_t runs[PASSAGE_RUNS_MAX];
    uint32_t run_count;
    struct passage_verdict verdict;
};

struct passage *passage_create(uint32_t queue_count)
{
    struct passage *passage = calloc(1, sizeof(*passage));
    ASSERT(passage != NULL);
    passage->queues = calloc(queue_count, sizeof(*passage->queues));
    ASSERT(passage->queues != NULL);
    passage->queue_count = queue_count;
    return passage;
}

void passage_destroy(struct passage *passage)
{
    if (passage != NULL) {
        free(passage->queues);
        free(passage);
    }
}

void passage_read_again(struct passage *passage)
{
    memset(passage->queues, 0, passage->queue_count * sizeof(*passage->queues));
    passage->run_count = 0;
}

/* The place of a run among those that are followed; PASSAGE_RUNS_MAX: it is not. */
static uint32_t run_place(struct passage *passage, uint64_t run)
{
    uint32_t place = 0;
    while (place < passage->run_count && passage->runs[place] != run) {
        place++;
    }
    if (place == passage->run_count && place < (uint32_t)PASSAGE_RUNS_MAX) {
        passage->runs[passage->run_count++] = run;
    }
    return place;
}

static void take_body(struct passage *passage, struct passage_queue *queue,
                      const struct body_head *head)
{
    uint32_t place = run_place(passage, head->run);
    if (place == (uint32_t)PASSAGE_RUNS_MAX || head->stream >= (uint32_t)PASSAGE_STREAMS_MAX) {
        return;
    }
    uint64_t *next = &queue->numbers[place][head->stream];
    passage->verdict.disordered += head->number < *next;
    *next = head->number + 1;
}

void passage_take(struct passage *passage, const struct ternmq_delivery *delivery)
{
    ASSERT(delivery->queue < passage->queue_count);
    struct passage_queue *queue = &passage->queues[delivery->queue];
    passage->verdict.gaps += queue->next != 0 && delivery->offset != queue->next;
    queue->next = delivery->offset + 1;
    passage->verdict.messages++;
    passage->verdict.body_bytes += delivery->body.length;
    struct body_head head;
    if (body_read(delivery->body, &head)) {
        take_body(passage, queue, &head);
    }
}

struct passage_verdict passage_judge(const struct passage *passage)
{
    return passage->verdict;
}
