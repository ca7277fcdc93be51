/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim_load.h - producers and consumers of libternmq in a simulated world, and the judge.
 *
 * Each producer numbers its messages and never sends a number twice; it keeps what it was told of each:
 * stored at a queue and offset, surely not stored, or nobody knows. Each topic has a consumer that reads
 * along. When all has healed, load_judge() reads everything again and checks:
 *
 *   - each acknowledged message is there, once, at the queue, offset and epoch that were acknowledged
 *   - nothing is there that was not produced, or that was refused as not stored, and nothing twice
 *   - offsets of a queue are consecutive from 0, a producer's numbers in it only grow, epochs never fall
 *   - what a consumer has seen on the way is what is there: nobody reads what a power cut takes back
 *
 * Threads: the simulation's.
 */
#ifndef TEST_SIM_SIM_LOAD_H
#define TEST_SIM_SIM_LOAD_H

#include "net/reactor.h"

#include <stdbool.h>
#include <stdint.h>

struct simulation;
struct ternmq;
struct ternmq_consumer;
struct ternmq_producer;

enum { LOAD_TOPICS = 2, LOAD_QUEUES = 3, LOAD_MESSAGES = 1500 };

enum fate {
    FATE_UNSENT,
    FATE_PENDING,
    FATE_STORED,  /* acknowledged: `queue` and `offset` */
    FATE_REFUSED, /* surely not stored */
    FATE_UNKNOWN, /* stored or not */
};

struct sent_message {
    struct load_topic *topic;
    uint32_t number;
    enum fate fate;
    uint32_t queue;
    uint32_t epoch;
    uint64_t offset;
    uint32_t seen; /* by the judge */
};

/* What was seen at each offset of a queue: the number, plus 1; 0: nothing yet. */
struct seen_queue {
    uint32_t *numbers;
    uint64_t capacity;
};

struct load_consumer {
    struct load_topic *topic;
    struct ternmq_consumer *consumer;
    uint64_t next[LOAD_QUEUES];  /* UINT64_MAX: not read yet */
    uint32_t epoch[LOAD_QUEUES]; /* of the last delivery */
    uint64_t deliveries;
    bool ended;
};

/* One topic, its producer and its consumers, each a process of its own. */
struct load_topic {
    struct load *load;
    char name[16];
    char broker[16];
    bool by_key;
    struct reactor *producer_reactor;
    struct reactor *consumer_reactor;
    struct ternmq *producer_client;
    struct ternmq *consumer_client;
    struct ternmq_producer *producer;
    struct load_consumer reader; /* reads along */
    struct load_consumer judge;
    struct timer produce_timer;
    struct timer consume_timer;
    struct sent_message messages[LOAD_MESSAGES];
    uint32_t sent;
    uint32_t pending;
    struct seen_queue seen[LOAD_QUEUES];
    bool put_pending;
    bool made; /* the topic is there */
    uint32_t detached;
};

struct load {
    struct simulation *simulation;
    struct load_topic topics[LOAD_TOPICS];
    uint64_t acknowledged;
    uint64_t refused;
    uint64_t unknown;
    bool judging;
};

/* Makes the clients; topic i is made at broker i as soon as that can be. */
void load_start(struct load *load, struct simulation *simulation);

/* Everything was sent and answered. */
bool load_is_done(void *load);

/* Reads everything again, letting time pass, and checks it. */
void load_judge(struct load *load);

/* Gives the clients back, letting time pass. */
void load_end(struct load *load);

#endif
