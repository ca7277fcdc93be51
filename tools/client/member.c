/* SPDX-License-Identifier: Apache-2.0 */
/*
 * member.c - a member of a consumer group: its brokers, its credit, its life.
 */
#include "tools/client/member.h"

#include "proto/base/contract.h"
#include "tools/client/client.h"
#include "tools/client/client_call.h"
#include "tools/client/fault.h"
#include "tools/client/held.h"
#include "tools/client/member_source.h"
#include "tools/client/settle.h"

#include <stdio.h>
#include <stdlib.h>

/* -------------------------------------------------------------------------- what is told */

static void tell_ready(struct ternmq_member *member)
{
    if (!member->ready_owed || member->ready_fn == NULL || member->leaving) {
        return;
    }
    member->ready_owed = false;
    client_callback_begin(member->client);
    member->ready_fn(member->context);
    client_callback_end(member->client);
}

void member_notice(struct ternmq_member *member, const struct ternmq_error *error,
                   bool is_last_word)
{
    if (is_last_word) {
        member->last_word = *error;
    } else {
        member->notice = *error;
    }
    tell_ready(member);
}

void member_settle(struct ternmq_member *member, struct held *held,
                   const struct ternmq_settlement *settlement)
{
    const struct settle_terms terms = settle_terms_of(settlement);
    if (!settle_add(member, held, &terms, NULL)) {
        held_free(member, held);
    }
}

static void release_ready(struct ternmq_member *member)
{
    const struct ternmq_settlement release = {.verdict = TERNMQ_RELEASE};
    for (struct list *link = list_first(&member->ready); link != NULL;
         link = list_first(&member->ready)) {
        member_settle(member, CONTAINER_OF(link, struct held, link), &release);
    }
}

void member_took(struct ternmq_member *member)
{
    if (member->leaving) {
        release_ready(member);
        settle_send_all(member);
        return;
    }
    member_watch_leases(member);
    tell_ready(member);
}

/* -------------------------------------------------------------------------- polls */

static uint32_t count_idle(const struct ternmq_member *member)
{
    uint32_t count = 0;
    LIST_FOREACH (link, &member->sources) {
        count += member_source_may_ask(CONTAINER_OF(link, struct member_source, link));
    }
    return count;
}

/* Of the polls that hold more credit, or hold it longer, than where all take turns one ends early, so
 * that its credit is shared anew. */
static void cancel_a_large_poll(struct ternmq_member *member)
{
    struct member_source *largest = NULL;
    LIST_FOREACH (link, &member->sources) {
        struct member_source *source = CONTAINER_OF(link, struct member_source, link);
        bool is_large = source->asked >= 2 || source->wait_ms > RECEIVE_WAIT_MS_SHARED;
        if (source->state == SOURCE_ASKING && is_large &&
            (largest == NULL || source->asked > largest->asked)) {
            largest = source;
        }
    }
    if (largest != NULL) {
        member_source_cancel(largest);
    }
}

/* Whether another one that could be asked had more than it was asked for. */
static bool another_has_more(const struct ternmq_member *member, const struct member_source *source)
{
    LIST_FOREACH (link, &member->sources) {
        const struct member_source *other = CONTAINER_OF(link, struct member_source, link);
        if (other != source && other->was_full && member_source_may_ask(other)) {
            return true;
        }
    }
    return false;
}

/* How long a poll may wait, if `available` messages may be asked for at `left` sources. */
static uint32_t wait_of(const struct ternmq_member *member, const struct member_source *source,
                        uint32_t available, uint32_t left)
{
    if (available >= left) {
        return RECEIVE_WAIT_MS;
    }
    return another_has_more(member, source) ? 0 : RECEIVE_WAIT_MS_SHARED;
}

/* One source of those that are idle, of which `left` have not had their turn. False: no credit. */
static bool ask_source(struct ternmq_member *member, struct member_source *source, uint32_t left)
{
    if (member_credit_left(member) + settle_rideable(source) == 0) {
        return false;
    }
    uint32_t rides = member_source_load(source);
    uint32_t available = member_credit_left(member);
    if (available == 0) {
        return false; /* there was no memory for what should have ridden */
    }
    /* What rides must find its place again if the poll is lost: the poll asks for as much at least. */
    uint32_t share = available / left;
    share = share < rides ? rides : share;
    member_source_ask(source, share == 0 ? 1 : share, wait_of(member, source, available, left));
    return true;
}

void member_ask(struct ternmq_member *member)
{
    if (member->leaving || member->held_bytes >= member->hold_bytes) {
        return;
    }
    uint32_t left = count_idle(member);
    bool starved = false;
    LIST_FOREACH (link, &member->sources) {
        struct member_source *source = CONTAINER_OF(link, struct member_source, link);
        if (!member_source_may_ask(source)) {
            continue;
        }
        /* Where one got nothing, acks ride no further: their credit is for who waits. */
        if (source->is_clock_known && (starved || !ask_source(member, source, left--))) {
            starved = true; /* and so before the others the next time */
            continue;
        }
        if (!source->is_clock_known) {
            member_source_greet(source);
            left--;
        }
        list_remove(&source->link);
        list_append(&member->sources, &source->link);
    }
    if (starved) {
        cancel_a_large_poll(member);
        if (member->settling == member->held_count) {
            settle_send_all(member); /* nothing else is worked on that could go with them */
        }
    }
}

static void linger_over(struct timer *timer)
{
    struct ternmq_member *member = CONTAINER_OF(timer, struct ternmq_member, linger);
    member_ask(member); /* what can ride does */
    settle_send_all(member);
}

/* -------------------------------------------------------------------------- brokers */

static void look_again_in(struct ternmq_member *member, uint64_t pause_ns)
{
    struct reactor *reactor = member->client->reactor;
    timer_start(reactor, &member->route_timer, reactor_now_ns(reactor) + pause_ns);
}

static struct member_source *source_of(struct ternmq_member *member, const char *broker)
{
    LIST_FOREACH (link, &member->sources) {
        struct member_source *source = CONTAINER_OF(link, struct member_source, link);
        if (strcmp(source->broker, broker) == 0) {
            return source;
        }
    }
    return member_source_create(member, broker);
}

/* Makes a source for each broker that the route names and does not know to be dead. */
static void list_sources(struct ternmq_member *member)
{
    const struct client_route *route = member->route;
    LIST_FOREACH (link, &member->sources) {
        CONTAINER_OF(link, struct member_source, link)->listed = false;
    }
    for (uint32_t i = 0; i < route->span_count; i++) {
        if (route->spans[i].address[0] == '\0' ||
            strlen(route->spans[i].broker) > BROKER_NAME_BYTES_MAX) {
            continue;
        }
        struct member_source *source = source_of(member, route->spans[i].broker);
        if (source == NULL) {
            struct ternmq_error error;
            fault_set(&error, TERNMQ_NO_MEMORY, TERNMQ_STORED_NO, "no memory for a broker");
            member_notice(member, &error, false);
            break;
        }
        source->listed = true;
    }
    member_ask(member);
}

static void route_failed(struct ternmq_member *member, const struct ternmq_error *error)
{
    struct ternmq *client = member->client;
    if (!list_is_empty(&member->sources)) { /* it was growth that was asked for: no matter */
        look_again_in(member, (uint64_t)SOURCES_MS * 1000000U);
        return;
    }
    uint64_t now_ns = reactor_now_ns(client->reactor);
    if (member->failing_ns == 0) {
        member->failing_ns = now_ns;
    }
    look_again_in(member, client_pause_ns(client, member->route_tries++, error));
    if (!error->retryable ||
        (now_ns - member->failing_ns) / 1000000U >= client_patience_ms(client, error)) {
        member->failing_ns = now_ns;
        member_notice(member, error, false);
    } else {
        client_tell_waiting(client, error, member->failing_ns);
    }
}

static void route_ready(struct route_waiter *waiter, const struct ternmq_error *error)
{
    struct ternmq_member *member = CONTAINER_OF(waiter, struct ternmq_member, route_waiter);
    if (error != NULL) {
        route_failed(member, error);
        return;
    }
    member->failing_ns = 0;
    member->route_tries = 0;
    list_sources(member);
    look_again_in(member, (uint64_t)SOURCES_MS * 1000000U);
}

static void route_timer_over(struct timer *timer)
{
    struct ternmq_member *member = CONTAINER_OF(timer, struct ternmq_member, route_timer);
    client_route_forget(member->route);
    client_route_wait(member->route, &member->route_waiter);
}

/* -------------------------------------------------------------------------- life */

static bool usage(struct ternmq_error *error_out, const char *what)
{
    fault_set(error_out, TERNMQ_USAGE, TERNMQ_STORED_NO, "%s", what);
    return false;
}

static bool text_fits(const char *text, size_t most)
{
    return text == NULL || (text[0] != '\0' && strlen(text) <= most);
}

static uint32_t or_default(uint32_t given, uint32_t otherwise)
{
    return given == 0 ? otherwise : given;
}

static bool check_options(const struct ternmq_member_options *options,
                          struct ternmq_error *error_out)
{
    if (options->group == NULL || !text_fits(options->group, GROUP_ANY_NAME_BYTES_MAX)) {
        return usage(error_out, "group: 1 to 241 bytes");
    }
    if (!text_fits(options->topic, TOPIC_NAME_BYTES_MAX) ||
        !text_fits(options->name, MEMBER_NAME_BYTES_MAX)) {
        return usage(error_out, "topic, name: 1 to 127 and 1 to 120 bytes");
    }
    if (options->credit > CREDIT_MAX || options->receive_bytes > PULL_BYTES_MAX) {
        return usage(error_out, "credit, receive_bytes: at most 65,535 and 4 MiB");
    }
    if (options->lease_ms != 0 &&
        (options->lease_ms < GROUP_LEASE_MS_LEAST || options->lease_ms > GROUP_LEASE_MS_MOST)) {
        return usage(error_out, "lease_ms: 100 to 43,200,000");
    }
    if (options->settle_count > SETTLE_COUNT_MAX ||
        options->settle_linger_ms > SETTLE_LINGER_MS_MAX) {
        return usage(error_out, "settle_count, settle_linger_ms: at most 1,000");
    }
    return true;
}

static void read_options(struct ternmq_member *member, const struct ternmq_member_options *options)
{
    snprintf(member->group, sizeof(member->group), "%s", options->group);
    snprintf(member->topic, sizeof(member->topic), "%s",
             options->topic == NULL ? "" : options->topic);
    snprintf(member->name, sizeof(member->name), "%s", options->name == NULL ? "" : options->name);
    member->credit = or_default(options->credit, CREDIT_DEFAULT);
    member->hold_bytes =
        options->hold_bytes == 0 ? (size_t)HOLD_BYTES_DEFAULT : options->hold_bytes;
    member->receive_bytes = or_default(options->receive_bytes, PULL_BYTES_DEFAULT);
    member->lease_ms = options->lease_ms;
    member->keep_leases = options->keep_leases;
    member->durable = options->durable;
    member->settle_count = or_default(options->settle_count, SETTLE_COUNT_DEFAULT);
    member->settle_linger_ms = or_default(options->settle_linger_ms, SETTLE_LINGER_MS_DEFAULT);
    member->ready_fn = options->ready;
    member->lost_fn = options->lost;
    member->context = options->context;
    member->ready_owed = true;
}

/* Where its brokers are found. False: no memory. */
static bool make_sources(struct ternmq_member *member)
{
    struct ternmq *client = member->client;
    if (client->direct) {
        return member_source_create(member, "") != NULL;
    }
    /* Topics of the system's own have no route: each broker has its own. */
    bool by_topic = member->topic[0] != '\0' && member->topic[0] != '%';
    member->route = by_topic ? client_route_take(client, ROUTE_TOPIC, member->topic)
                             : client_route_take(client, ROUTE_ANY_BROKER, "");
    return member->route != NULL;
}

TERNMQ_API struct ternmq_member *ternmq_member_open(struct ternmq *client,
                                                    const struct ternmq_member_options *options,
                                                    struct ternmq_error *error_out)
{
    if (!check_options(options, error_out)) {
        return NULL;
    }
    struct ternmq_member *member = calloc(1, sizeof(*member));
    if (member == NULL) {
        fault_set(error_out, TERNMQ_NO_MEMORY, TERNMQ_STORED_NO, "no memory for a member");
        return NULL;
    }
    member->client = client;
    member->linger.fired = linger_over;
    member->lease_timer.fired = member_lease_timer_over;
    member->route_timer.fired = route_timer_over;
    member->route_waiter.ready = route_ready;
    list_init(&member->sources);
    list_init(&member->link);
    list_append(&client->members, &member->link);
    read_options(member, options);
    if (!held_init(member) || !make_sources(member)) {
        fault_set(error_out, TERNMQ_NO_MEMORY, TERNMQ_STORED_NO, "no memory for a member");
        member_drop(member);
        return NULL;
    }
    client_enter(client);
    if (member->route == NULL) {
        member_ask(member);
    } else {
        client_route_wait(member->route, &member->route_waiter);
    }
    return member;
}

void member_leave(struct ternmq_member *member)
{
    struct reactor *reactor = member->client->reactor;
    member->leaving = true;
    timer_stop(reactor, &member->route_timer);
    client_route_unwait(&member->route_waiter);
    release_ready(member);
    LIST_FOREACH (link, &member->sources) {
        struct member_source *source = CONTAINER_OF(link, struct member_source, link);
        member_source_cancel(source);
    }
    settle_send_all(member);
}

bool member_is_home(const struct ternmq_member *member)
{
    LIST_FOREACH (link, &member->sources) {
        const struct member_source *source = CONTAINER_OF(link, struct member_source, link);
        if (source->state == SOURCE_ASKING || !list_is_empty(&source->open) ||
            !list_is_empty(&source->sent)) {
            return false;
        }
    }
    return member->held_count == 0;
}

void member_drop(struct ternmq_member *member)
{
    struct reactor *reactor = member->client->reactor;
    timer_stop(reactor, &member->route_timer);
    timer_stop(reactor, &member->linger);
    timer_stop(reactor, &member->lease_timer);
    client_route_unwait(&member->route_waiter);
    client_route_give(member->route);
    LIST_FOREACH (link, &member->sources) {
        member_source_destroy(CONTAINER_OF(link, struct member_source, link));
    }
    held_deinit(member);
    list_remove(&member->link);
    free(member);
}

/* Everything in hand is given back. */
static void release_given(struct ternmq_member *member)
{
    const struct ternmq_settlement release = {.verdict = TERNMQ_RELEASE};
    for (uint32_t i = 0; i < member->held_max && member->given > 0; i++) {
        struct held *held = &member->held[i];
        if (held->state == HELD_GIVEN) {
            member_settle(member, held, &release);
        }
    }
}

static bool is_home(void *context)
{
    return member_is_home(context);
}

TERNMQ_API int ternmq_member_close(struct ternmq_member *member, int64_t wait_ms,
                                   struct ternmq_error *error_out)
{
    if (member == NULL) {
        return TERNMQ_OK;
    }
    struct ternmq *client = member->client;
    if (wait_ms != 0 && client_must_not_block(client, error_out)) {
        return TERNMQ_USAGE;
    }
    ASSERT(client->callbacks == 0);
    client_enter(client);
    release_given(member);
    member_leave(member);
    int code = TERNMQ_OK;
    if (wait_ms != 0) {
        code = client_run_until(client, wait_ms, is_home, member);
        if (code != TERNMQ_OK) {
            fault_set(error_out, code, TERNMQ_STORED_NO,
                      "%u messages were not given back: they come again when their leases are over",
                      member->held_count);
        }
    }
    member_drop(member);
    return code;
}
