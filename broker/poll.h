/* SPDX-License-Identifier: Apache-2.0 */
/*
 * poll.h - a call that may wait: what pull and receive have in common at home.
 *
 * A poll counts as waiting from its arrival until it is answered, also where there is something for it: a session
 * has PARKED_MAX of them. It waits on another core, so a cancel travels there as a message of its own, and a
 * call that one is under way for does not end before that message has come back.
 *
 * Memory:  lies in its call. Everything in it is home's, also while the call is away: nothing else lies in
 *          these words.
 * Threads: the core of the session; `cancel_there` runs on the core that it was sent to.
 */
#ifndef BROKER_POLL_H
#define BROKER_POLL_H

#include "proto/base/list.h"
#include "proto/error.h"

#include <stdbool.h>
#include <stdint.h>

struct call;
struct core;

struct poll {
    struct call *call;
    void (*cancel_there)(struct call *call, struct core *at);
    struct list held;      /* in a list of the session: until its socket takes more */
    bool waits;            /* counted in session->parked */
    bool cancel_under_way; /* it has not come back */
    bool ended;            /* answered; goes when its cancel has come back */
};

/* A poll of `call`, whose waiting `cancel_there` ends. */
void poll_init(struct poll *poll, struct call *call,
               void (*cancel_there)(struct call *call, struct core *at));

/* Until when a call that may wait so long does; 0 of one that may not, or wants no answer. */
uint64_t poll_until_ns(const struct call *call, uint64_t wait_ms);

/* Whether the session has as many polls as it may. */
bool poll_is_one_too_many(const struct call *call);

/* ERROR_TOO_MANY_WAITING {limit, value, usage, retry_after_ms}, counted. */
enum error poll_refuse(struct call *call, struct refusal *refusal);

/* It is a poll that waits now, not a request that is worked on. */
void poll_begin(struct poll *poll);

/* Has `cancel_there` run on `to`: at once if that is home. */
void poll_cancel_at(struct poll *poll, struct core *to);

/* What ending does once: true the first time. */
bool poll_end(struct poll *poll);

#endif
