/* SPDX-License-Identifier: Apache-2.0 */
/* poll.c - counting calls that wait, and the way of their cancels. */
#include "broker/poll.h"

#include "broker/call.h"
#include "broker/core.h"
#include "broker/session.h"
#include "proto/base/contract.h"
#include "proto/limits.h"

#define NS_PER_MS UINT64_C(1000000)

/* What a client with too many polls waiting is asked to wait. */
#define RETRY_AFTER_MS 1000

void poll_init(struct poll *poll, struct call *call,
               void (*cancel_there)(struct call *call, struct core *at))
{
    *poll = (struct poll){.call = call, .cancel_there = cancel_there};
    list_init(&poll->held);
}

uint64_t poll_until_ns(const struct call *call, uint64_t wait_ms)
{
    if (wait_ms == 0 || call->one_way) {
        return 0;
    }
    uint64_t until_ns = call->arrived_ns + wait_ms * NS_PER_MS;
    return until_ns < call->deadline_ns ? until_ns : call->deadline_ns;
}

bool poll_is_one_too_many(const struct call *call)
{
    return call->session->parked >= PARKED_MAX;
}

enum error poll_refuse(struct call *call, struct refusal *refusal)
{
    call->home->counters.too_many_waiting++;
    const struct refusal_overload overload = {.what = "polls of the connection that wait",
                                              .limit = PARKED_MAX,
                                              .value = call->session->parked + 1,
                                              .usage = call->session->parked,
                                              .retry_after_ms = RETRY_AFTER_MS};
    return refusal_set_overload(refusal, ERROR_TOO_MANY_WAITING, &overload);
}

void poll_begin(struct poll *poll)
{
    poll->waits = true;
    call_uncount(poll->call);
    session_poll_parked(poll->call->session);
}

static void deliver_cancel_done(const struct core_message *message, void *core)
{
    (void)core;
    struct poll *poll = message->object;
    poll->cancel_under_way = false;
    if (poll->ended) {
        call_end(poll->call);
    }
}

static void deliver_cancel(const struct core_message *message, void *object)
{
    struct core *at = object;
    struct poll *poll = message->object;
    struct core *home = poll->call->home;
    poll->cancel_there(poll->call, at);
    struct core_message done = {.deliver = deliver_cancel_done, .object = poll};
    core_send_to(at, home, &done);
}

void poll_cancel_at(struct poll *poll, struct core *to)
{
    struct core *home = poll->call->home;
    if (to == home) {
        poll->cancel_there(poll->call, home);
        return;
    }
    poll->cancel_under_way = true;
    struct core_message message = {.deliver = deliver_cancel, .object = poll};
    core_send_to(home, to, &message);
}

bool poll_end(struct poll *poll)
{
    if (poll->ended) {
        return false;
    }
    poll->ended = true;
    ASSERT(list_is_empty(&poll->held));
    if (poll->waits) {
        session_poll_ended(poll->call->session);
    }
    return true;
}
