/* SPDX-License-Identifier: Apache-2.0 */

/*
 * bench_filter.c - what a filter costs a message, without a log or a network.
 *
 *     bench_filter [MESSAGES]
 *
 * 1,024 different messages with a tag, a key and four properties, in memory one behind the other as in a
 * log: reading their labels alone, then with each of some filters. Prints ns a message, the best of 5
 * rounds, how much of them is wanted, and what compiling costs.
 */

#include "proto/filter.h"
#include "proto/writer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { KINDS = 1024, ROUNDS = 5, MESSAGE_BYTES_MOST = 512, BODY_BYTES = 100 };

static const char *const filters[] = {
    "paid",
    "paid || sent || returned",
    "weight > 50",
    "city = 'Rome'",
    "city IN ('Rome', 'Oslo', 'Bern', 'Kyiv')",
    "city LIKE 'R%e'",
    "weight BETWEEN 20 AND 80 AND city <> 'Rome'",
    "TAGS = 'paid' AND (weight > 90 OR vip = TRUE) AND NOT (city LIKE '%o' OR absent IS NOT NULL)",
};

static uint8_t room[KINDS * MESSAGE_BYTES_MOST];
static struct bytes elements[KINDS];

static void put_pair(struct writer *writer, const char *name, const char *value)
{
    writer_put_string(writer, name);
    writer_put_string(writer, value);
}

static void make_messages(void)
{
    static const char *const tags[] = {"paid", "sent", "new", "lost"};
    static const char *const cities[] = {"Rome", "Oslo", "Lisbon", "Reykjavik", "Bern"};
    static const uint8_t body[BODY_BYTES];
    uint8_t *at = room;
    for (unsigned i = 0; i < KINDS; i++) {
        char weight[16];
        snprintf(weight, sizeof(weight), "%u.%u", i * 37 % 100, i % 10);
        struct writer writer = writer_over(at, MESSAGE_BYTES_MOST);
        writer_put_array(&writer, 4);
        writer_put_string(&writer, tags[i % 4]);
        writer_put_array(&writer, 1);
        writer_put_string(&writer, "order-4711");
        writer_put_map(&writer, 4);
        put_pair(&writer, "customer", "c-0815");
        put_pair(&writer, "weight", weight);
        put_pair(&writer, "city", cities[i * 7 % 5]);
        put_pair(&writer, "vip", i % 16 == 0 ? "true" : "false");
        writer_put_bin(&writer, bytes_make(body, sizeof(body)));
        ASSERT(!writer.overflowed);
        elements[i] = writer_bytes(&writer);
        at += elements[i].length;
    }
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* ns a message; `filter` may be NULL. */
static double run(const struct filter *filter, uint64_t count, uint64_t *wanted_out)
{
    uint64_t best_ns = UINT64_MAX;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t wanted = 0;
        uint64_t began_ns = now_ns();
        for (uint64_t i = 0; i < count; i++) {
            struct message_labels labels;
            bool is_read = message_read_labels(elements[i % KINDS], &labels);
            wanted += is_read && (filter == NULL || filter_wants(filter, &labels));
        }
        uint64_t took_ns = now_ns() - began_ns;
        best_ns = took_ns < best_ns ? took_ns : best_ns;
        *wanted_out = wanted;
    }
    return (double)best_ns / (double)count;
}

static struct filter *compile(const char *text)
{
    struct filter *filter = NULL;
    struct refusal refusal;
    if (filter_create(bytes_from_string(text), &filter, &refusal) != OK) {
        (void)fprintf(stderr, "bench_filter: %s: %s\n", text, refusal.message);
        exit(EXIT_FAILURE);
    }
    return filter;
}

static double time_compiling(const char *text)
{
    enum { TIMES = 20000 };
    uint64_t began_ns = now_ns();
    for (int i = 0; i < TIMES; i++) {
        filter_destroy(compile(text));
    }
    return (double)(now_ns() - began_ns) / TIMES;
}

int main(int argc, char **argv)
{
    uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 2000000;
    uint64_t wanted;
    if (count == 0) {
        (void)fprintf(stderr, "usage: bench_filter [MESSAGES]\n");
        return 2;
    }
    make_messages();
    (void)printf("%8.1f ns  labels alone\n", run(NULL, count, &wanted));
    for (size_t i = 0; i < sizeof(filters) / sizeof(filters[0]); i++) {
        struct filter *filter = compile(filters[i]);
        double ns = run(filter, count, &wanted);
        (void)printf("%8.1f ns  %5.1f %%  compiled in %5.0f ns  %s\n", ns,
                     100.0 * (double)wanted / (double)count, time_compiling(filters[i]),
                     filters[i]);
        filter_destroy(filter);
    }
    return 0;
}
