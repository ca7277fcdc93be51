/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options.h - the options of ternmq-bench. What they mean together main.c knows.
 *
 * Threads: any.
 */
#ifndef TOOLS_BENCH_OPTIONS_H
#define TOOLS_BENCH_OPTIONS_H

#include "proto/base/settings.h"

enum option {
    OPTION_SIZE,
    OPTION_BATCH,
    OPTION_CONNECTIONS,
    OPTION_WINDOW,
    OPTION_PULL_BYTES,
    OPTION_QUEUES,
    OPTION_TOPICS,
    OPTION_SPREAD,
    OPTION_IDLE,
    OPTION_DURABILITY,
    OPTION_DURATION,
    OPTION_WARMUP,
    OPTION_MESSAGES,
    OPTION_RATE,
    OPTION_MEMBERS,
    OPTION_SHARING,
    OPTION_MAX,
    OPTION_SETTLE,
    OPTION_NACK,
    OPTION_ORDER,
    OPTION_KEYS,
    OPTION_POISONED,
    OPTION_TOPIC,
    OPTION_KEEP_TOPIC,
    OPTION_YES,
    OPTION_UNCHECKED,
    OPTION_PID,
    OPTION_JSON,
    OPTION_NAMESERVER,
    OPTION_BROKER,
    OPTION_VERSION,
    OPTION_HELP,
    OPTION_COUNT,
};

extern const struct setting OPTIONS[OPTION_COUNT];

#endif
