/* SPDX-License-Identifier: Apache-2.0 */
/*
 * runs.h - what ternmq-bench can be asked to do, one run of it, and its exit status.
 *
 * Threads: the main one.
 */
#ifndef TOOLS_BENCH_RUNS_H
#define TOOLS_BENCH_RUNS_H

#include "tools/bench/load.h"
#include "tools/bench/report.h"

#include <stdbool.h>
#include <stdint.h>

enum exit_status {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_WRONG_USAGE = 2,
    EXIT_NOBODY_REACHABLE = 3,
};

enum mode {
    MODE_PRODUCE,
    MODE_CONSUME,
    MODE_BOTH,
    MODE_LATENCY,
    MODE_CATCH_UP,
    MODE_GROUPS,
    MODE_COUNT
};

struct plan {
    enum mode mode;
    struct load_options load;
    uint64_t duration_ms; /* catch-up: 0 reads once */
    uint64_t warmup_ms;
    uint64_t messages; /* consume: to be read; produce: to end after, 0: after the duration */
    bool keep_topic;
    bool yes; /* topics that are not the bench's own may be deleted, or produced into */
    bool unchecked;
    struct report report;
};

/* Makes the topics, runs the load, writes the report. */
enum exit_status plan_run(struct plan *plan);

/* Ends the run early, with the figures so far. Signal handlers may. */
void plan_interrupt(void);

#endif
