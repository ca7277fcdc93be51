/* SPDX-License-Identifier: Apache-2.0 */
/*
 * histogram.c - counts of durations in log-linear buckets.
 */
#include "tools/bench/histogram.h"

#include <string.h>

enum { LINEAR = 1 << HISTOGRAM_BITS };

/* Values below LINEAR have a bucket each; then each power of two has LINEAR of them. */
static uint32_t bucket_of(uint64_t value)
{
    if (value < LINEAR) {
        return (uint32_t)value;
    }
    uint32_t power = 63U - (uint32_t)__builtin_clzll(value) - HISTOGRAM_BITS;
    uint32_t bucket = ((power + 1) << HISTOGRAM_BITS) + (uint32_t)(value >> power) - LINEAR;
    return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

/* The largest value of a bucket. */
static uint64_t bucket_edge(uint32_t bucket)
{
    if (bucket < LINEAR) {
        return bucket;
    }
    uint32_t power = (bucket >> HISTOGRAM_BITS) - 1;
    uint64_t first = (uint64_t)(bucket & (LINEAR - 1)) + LINEAR;
    return ((first + 1) << power) - 1;
}

void histogram_clear(struct histogram *histogram)
{
    memset(histogram, 0, sizeof(*histogram));
}

void histogram_add(struct histogram *histogram, uint64_t value, uint64_t count)
{
    histogram->counts[bucket_of(value)] += count;
    histogram->total += count;
    histogram->max = value > histogram->max ? value : histogram->max;
}

uint64_t histogram_quantile(const struct histogram *histogram, double fraction)
{
    if (histogram->total == 0) {
        return 0;
    }
    uint64_t wanted = (uint64_t)(fraction * (double)histogram->total);
    wanted = wanted < 1 ? 1 : wanted;
    uint64_t seen = 0;
    for (uint32_t bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
        seen += histogram->counts[bucket];
        if (seen >= wanted) {
            uint64_t edge = bucket_edge(bucket);
            return edge < histogram->max ? edge : histogram->max;
        }
    }
    return histogram->max;
}
