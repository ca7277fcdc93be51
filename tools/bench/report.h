/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report.h - the one line, or JSON object, that a run ends with.
 *
 * Threads: whoever owns it.
 */
#ifndef TOOLS_BENCH_REPORT_H
#define TOOLS_BENCH_REPORT_H

#include "tools/bench/broker_counters.h"
#include "tools/bench/catch_up.h"
#include "tools/bench/ledger.h"
#include "tools/bench/load.h"

#include <stdbool.h>
#include <stdint.h>

struct report {
    const char *mode;
    const struct load_options *load;
    bool json;
    int pid; /* the broker's; 0: not known */
    bool produces;
    bool consumes;
    bool checked; /* the verdict stands for all that was acknowledged */
    uint64_t broker_cpu_ns;
    uint64_t broker_rss_bytes;               /* at the end of the measured time */
    int64_t broker_own_bytes;                /* by how much its own memory grew; no mapped files */
    struct broker_counters counters;         /* of groups: in the measured time */
    const struct catch_up_figures *catch_up; /* NULL: nothing of the kind was read */
};

/* Whether the times and the memory of process `pid` can be read. */
bool report_can_see(int pid);

/* Around the measured time: how much processor time and memory the broker took. */
void report_broker_begin(struct report *report);
void report_broker_end(struct report *report);

/* Whether nothing is missing, repeated, invented or out of order. */
bool report_is_good(const struct report *report, const struct ledger_verdict *verdict);

/* Writes it to standard output. Without a load beside a catch-up `figures` is NULL. */
void report_print(const struct report *report, const struct load_figures *figures,
                  const struct ledger_verdict *verdict);

#endif
