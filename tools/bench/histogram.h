/* SPDX-License-Identifier: Apache-2.0 */
/*
 * histogram.h - counts of durations in buckets that are linear within each power of two: a value is off
 * by less than 1 % (1 in 128), whatever its size, at 36 KiB of memory.
 *
 * Threads: whoever owns it.
 */
#ifndef TOOLS_BENCH_HISTOGRAM_H
#define TOOLS_BENCH_HISTOGRAM_H

#include <stdint.h>

enum {
    HISTOGRAM_BITS = 7,        /* 128 buckets a power of two */
    HISTOGRAM_POWERS = 42 - 7, /* up to 2^42 ns, more than an hour; beyond it the last bucket */
    HISTOGRAM_BUCKETS = (HISTOGRAM_POWERS + 1) << HISTOGRAM_BITS
};

struct histogram {
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t total;
    uint64_t max; /* exact */
};

void histogram_clear(struct histogram *histogram);

/* Adds `count` values of `value` ns. */
void histogram_add(struct histogram *histogram, uint64_t value, uint64_t count);

/* The value that `fraction` (0 to 1) of all values do not exceed; 0 of none. The upper edge of its
 * bucket, never more than the largest value. */
uint64_t histogram_quantile(const struct histogram *histogram, double fraction);

#endif
