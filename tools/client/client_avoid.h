/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_avoid.h - brokers that have just failed, and for how long others are asked before them.
 *
 *     works --fails--> avoided for AVOID_MS_LEAST --fails again--> twice as long .. AVOID_MS_MOST
 *       ^                             |
 *       `---- answers a call ---------'
 *
 * A nameserver knows that a broker is away only when its lease is over, up to ten seconds later, and
 * knows nothing of a network that fails between us and it. So what may go to any of several brokers
 * stays off one that could not be reached, did not answer, or refused for its load or state. When its
 * time is over it has its turn again, and one more failure makes the next time twice as long. Who is
 * the only one is asked all the same.
 *
 * Memory:  AVOIDED_MAX addresses, those that failed last; the client's.
 * Threads: the reactor's.
 */
#ifndef TOOLS_CLIENT_CLIENT_AVOID_H
#define TOOLS_CLIENT_CLIENT_AVOID_H

#include <stdint.h>

struct ternmq;

enum {
    AVOID_MS_LEAST = 100,  /* a broker that was only interrupted loses little */
    AVOID_MS_MOST = 30000, /* one that is gone costs two failing calls a minute */
    AVOIDED_MAX = 64       /* brokers that fail at the same time, more than a topic can lie on */
};

/* A call to the broker at `address` failed. During its time another failure changes nothing: calls that
 * were under way together fail together. Without memory nothing is avoided. */
void client_avoid(struct ternmq *client, const char *address);

/* A call to it was answered. */
void client_avoid_no_more(struct ternmq *client, const char *address);

/* Until when it is avoided, by the reactor's clock; 0: it is not. */
uint64_t client_avoided_until_ns(const struct ternmq *client, const char *address);

/* Forgets them all. */
void client_avoided_drop(struct ternmq *client);

#endif
