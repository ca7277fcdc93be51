/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lease_renewal.c - extends the leases of what is in hand at a third of their time.
 *
 * So two tries that fail still leave a third. A lease that was lost is left alone: a verdict on it may
 * still count, if nobody else was given the message meanwhile.
 *
 * In an ordered group a lease that is over keeps nothing behind it: the broker gives its message again first, to
 * whoever asks, and for that waits until what lies behind it is nobody's.
 */
#include "tools/client/client.h"
#include "tools/client/held.h"
#include "tools/client/member.h"
#include "tools/client/member_source.h"
#include "tools/client/settle.h"

/* Of which messages the lease is kept: those that wait for ternmq_receive(), and by wish those given. */
static bool is_kept(const struct ternmq_member *member, const struct held *held)
{
    return held->state == HELD_READY || (held->state == HELD_GIVEN && member->keep_leases);
}

static bool has_kept(const struct ternmq_member *member, const struct grant *grant)
{
    LIST_FOREACH (link, &grant->held) {
        if (is_kept(member, CONTAINER_OF(link, struct held, beside))) {
            return true;
        }
    }
    return false;
}

void member_watch_leases(struct ternmq_member *member)
{
    uint64_t first_ns = member->given_ends_ns;
    LIST_FOREACH (link, &member->grants) {
        const struct grant *grant = CONTAINER_OF(link, struct grant, link);
        if (!grant->extending && !grant->lost && has_kept(member, grant) &&
            grant->due_ns < first_ns) {
            first_ns = grant->due_ns;
        }
    }
    if (first_ns != UINT64_MAX) {
        timer_start(member->client->reactor, &member->lease_timer, first_ns);
    }
}

void member_end_leases(struct ternmq_member *member)
{
    uint64_t now_ns = reactor_now_ns(member->client->reactor);
    if (now_ns < member->given_ends_ns) {
        return; /* nearly always, for many may be given */
    }
    member->given_ends_ns = UINT64_MAX;
    for (uint32_t i = 0; i < WORKING_LISTS; i++) {
        LIST_FOREACH (link, &member->working[i]) {
            struct held *held = CONTAINER_OF(link, struct held, link);
            bool is_over = held->ends_ns <= now_ns;
            held_set_end(member, held, is_over ? UINT64_MAX : held->ends_ns);
            if (is_over) {
                settle_release_behind(member, held);
            }
        }
    }
}

/* Adds what is kept of a grant to the open batch, in runs: what is settled already is left out. */
static void extend_grant(struct ternmq_member *member, struct grant *grant)
{
    LIST_FOREACH (link, &grant->held) {
        const struct held *held = CONTAINER_OF(link, struct held, beside);
        if (!is_kept(member, held)) {
            continue;
        }
        if (!settle_extend(held, member->lease_ms, NULL)) {
            break; /* no memory: tried again when the timer is set anew */
        }
        grant->extending = true;
        grant->verdicts_extended = grant->verdicts;
    }
}

void member_lease_timer_over(struct timer *timer)
{
    struct ternmq_member *member = CONTAINER_OF(timer, struct ternmq_member, lease_timer);
    uint64_t now_ns = reactor_now_ns(member->client->reactor);
    member_end_leases(member);
    LIST_FOREACH (link, &member->grants) {
        struct grant *grant = CONTAINER_OF(link, struct grant, link);
        if (grant->extending || grant->lost || grant->due_ns > now_ns) {
            continue;
        }
        extend_grant(member, grant);
        if (!grant->extending && has_kept(member, grant)) {
            grant->lost = true; /* without memory to extend it */
        }
    }
    settle_send_all(member);
    member_watch_leases(member);
}
