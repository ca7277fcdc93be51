/* SPDX-License-Identifier: Apache-2.0 */
/*
 * consume_group.c - `consume --group`: a member of a group that writes messages, or runs a command on each.
 */
#include "proto/limits.h"
#include "proto/names.h"
#include "tools/cli/consume.h"
#include "tools/cli/consume_exec.h"
#include "tools/cli/group.h"
#include "tools/cli/group_presence.h"
#include "tools/cli/lost_verdicts.h"
#include "tools/cli/message_json.h"
#include "tools/cli/output.h"
#include "tools/cli/text.h"
#include "tools/client/ternmq_groups.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    RECEIVED_MAX = 256,
    CREDIT_AUTO = 100,
    CREDIT_EXEC = 2, /* one to work on, one that comes next */
    /* What is given back at the end has so long to arrive. */
    CLOSE_MS = 5000,
    ACK_EXEC = 1
};

/* A member under way. */
struct membership {
    struct invocation *invocation;
    struct group_need need;
    struct ternmq_member *member;
    bool json;
    bool runs_command;
    uint64_t most;
    uint64_t idle_ms; /* 0: for ever */
    uint64_t last_ms; /* when something came last */
    uint64_t count;   /* acked */
    uint64_t refused; /* attempts, by the command: a message may have several */
    struct lost_verdicts lost;
    struct output output;
    int status;
};

/* ------------------------------------------------------------------- output */

static void write_json(const struct membership *membership, const struct ternmq_received *received)
{
    struct json_object object = json_open(stdout);
    json_pair_text(&object, "group", membership->need.group);
    message_json_put_place(&object, &received->message);
    json_pair_number(&object, "attempt", received->attempt);
    if (received->reason.data != NULL) {
        json_key(&object, "reason");
        json_put_string(stdout, bytes_make(received->reason.data, received->reason.length));
    }
    message_json_put_body(&object, &received->message);
    json_close(&object);
}

static void write_message(const struct membership *membership,
                          const struct ternmq_received *received)
{
    if (membership->json) {
        write_json(membership, received);
        return;
    }
    output_put_line(received->message.body);
}

static void on_lost(void *context, const char *topic, uint32_t queue, uint64_t offset,
                    const struct ternmq_error *why)
{
    struct membership *membership = context;
    lost_verdicts_note(&membership->lost, topic, queue, offset, why);
}

/* ------------------------------------------------------------------ working */

static void settle(struct membership *membership, const uint64_t *receipts, size_t count,
                   const struct ternmq_settlement *settlement)
{
    struct ternmq_error error;
    if (count > 0 &&
        ternmq_settle(membership->member, receipts, count, settlement, &error) != TERNMQ_OK) {
        membership->status = invocation_fail_with(membership->invocation, &error, "group %s",
                                                  membership->need.group);
    }
}

/* Writes messages, and acks them when they are written. False: nobody reads them any more. */
static bool write_all(struct membership *membership, const struct ternmq_received *received,
                      size_t count)
{
    uint64_t receipts[RECEIVED_MAX];
    for (size_t i = 0; i < count; i++) {
        write_message(membership, &received[i]);
        receipts[i] = received[i].receipt;
    }
    if (!output_flush(&membership->output)) {
        return false; /* how much arrived is not known: all of it is given back */
    }
    settle(membership, receipts, count, NULL);
    membership->count += count;
    return true;
}

/* Runs the command on one message and settles that. False: none can be run. */
static bool run_command_on(struct membership *membership, const struct ternmq_received *received)
{
    struct invocation *invocation = membership->invocation;
    struct exec_end end;
    if (!exec_run(invocation, invocation->words + 1, invocation->word_count - 1, received, &end)) {
        membership->status = EXIT_FAILED;
        return false;
    }
    struct ternmq_settlement settlement = {.verdict = TERNMQ_ACK};
    if (end.succeeded) {
        membership->count++;
    } else if (end.was_interrupted) {
        settlement.verdict = TERNMQ_RELEASE; /* that it failed is our doing */
    } else {
        settlement.verdict = TERNMQ_RETRY;
        settlement.reason = end.reason;
        membership->refused++;
    }
    settle(membership, &received->receipt, 1, &settlement);
    return true;
}

/* False: that was the end. */
static bool work_on(struct membership *membership, const struct ternmq_received *received,
                    size_t count)
{
    if (!membership->runs_command) {
        return write_all(membership, received, count);
    }
    return run_command_on(membership, received) && output_is_open(&membership->output);
}

/* ----------------------------------------------------------------- the loop */

/* What ternmq_receive() said other than messages. False: that was the end. */
static bool go_on_after(struct membership *membership, int code, const struct ternmq_error *error)
{
    struct invocation *invocation = membership->invocation;
    uint64_t now_ms = clock_run_ms();
    switch (code) {
    case TERNMQ_NOTHING:
        return membership->idle_ms == 0 || now_ms - membership->last_ms < membership->idle_ms;
    case TERNMQ_INTERRUPTED:
        return !interrupted;
    case TERNMQ_CORRUPT:
        membership->status =
            invocation_fail_with(invocation, error, "group %s", membership->need.group);
        return true;
    case TERNMQ_GROUP_NOT_FOUND: /* a broker has come that has the topic, or the group was deleted */
        membership->need.from_given = false;
        membership->need.was_there = true;
        membership->status = group_presence_ensure(invocation, &membership->need);
        return membership->status == EXIT_DONE;
    default:
        break;
    }
    if (error->retryable || code == TERNMQ_LOST || code == TERNMQ_TIMED_OUT) {
        invocation_say_waiting(invocation, error);
        return true;
    }
    membership->status =
        invocation_fail_with(invocation, error, "group %s", membership->need.group);
    return false;
}

/* How long to wait for the next message. */
static int64_t wait_ms(const struct membership *membership)
{
    if (membership->idle_ms == 0) {
        return CONSUME_WAIT_MS;
    }
    uint64_t end_ms = membership->last_ms + membership->idle_ms;
    uint64_t now_ms = clock_run_ms();
    uint64_t left_ms = end_ms > now_ms ? end_ms - now_ms : 1;
    return left_ms < CONSUME_WAIT_MS ? (int64_t)left_ms : CONSUME_WAIT_MS;
}

static size_t most_at_once(const struct membership *membership)
{
    uint64_t left = membership->most - membership->count;
    size_t most = membership->runs_command ? 1 : RECEIVED_MAX;
    return left < most ? (size_t)left : most;
}

static void consume_all(struct membership *membership)
{
    struct ternmq_received received[RECEIVED_MAX];
    struct ternmq_error error;
    membership->last_ms = clock_run_ms();
    while (!interrupted && membership->count < membership->most) {
        size_t count = 0;
        int code = ternmq_receive(membership->member, wait_ms(membership), received,
                                  most_at_once(membership), &count, &error);
        if (code == TERNMQ_OK) {
            invocation_stop_waiting(membership->invocation);
            if (!work_on(membership, received, count)) {
                return;
            }
            membership->last_ms = clock_run_ms();
        } else if (!go_on_after(membership, code, &error)) {
            return;
        }
        if (!membership->runs_command && output_reader_has_gone(&membership->output)) {
            return;
        }
    }
}

/* Sends what is settled and gives back the rest. */
static void end_membership(struct membership *membership)
{
    struct invocation *invocation = membership->invocation;
    struct ternmq_error error;
    (void)ternmq_poll(invocation->client, 0); /* takes the interrupt that ended the loop */
    if (ternmq_member_close(membership->member, CLOSE_MS, &error) != TERNMQ_OK) {
        invocation_say(invocation, "group %s: %s (%s)", membership->need.group, error.message,
                       error.name);
    }
}

static void say_counts(struct membership *membership)
{
    char refused[64] = "";
    char lost[64] = "";
    if (membership->refused > 0) {
        (void)snprintf(refused, sizeof(refused), ", %s failed",
                       text_of_count(membership->refused, "attempt"));
    }
    if (membership->lost.count > 0) {
        (void)snprintf(lost, sizeof(lost), ", %s that may come again",
                       text_of_number(membership->lost.count));
    }
    invocation_say(membership->invocation, "%s from %s for group %s%s%s%s",
                   text_of_count(membership->count, "message"), membership->need.topic,
                   membership->need.group, refused, lost,
                   membership->output.pipe_closed ? ", until the reader closed the pipe"
                   : interrupted                  ? ", until interrupted"
                                                  : "");
}

/* ------------------------------------------------------------------- begin */

static int read_from(struct invocation *invocation, struct group_need *need)
{
    const struct setting_value *from = invocation_option(invocation, CONSUME_FROM);
    need->from_given = from->given;
    need->from = TERNMQ_FROM_FIRST;
    if (!from->given || group_from_read(from->text, &need->from, &need->from_ms)) {
        return EXIT_DONE;
    }
    return invocation_refuse_time(invocation, "from", from->text, "first, last");
}

static int read_membership(struct invocation *invocation, struct membership *membership)
{
    const struct setting_value *count = invocation_option(invocation, CONSUME_COUNT);
    const struct setting_value *member = invocation_option(invocation, CONSUME_MEMBER);
    *membership = (struct membership){
        .invocation = invocation,
        .need.group = invocation_option(invocation, CONSUME_GROUP)->text,
        .need.topic = invocation->words[0],
        .need.filter = invocation_option(invocation, CONSUME_FILTER)->text,
        .need.has_member = member->given,
        .json = invocation->json || invocation_option(invocation, CONSUME_FORMAT)->number == 1,
        .runs_command = invocation_option(invocation, CONSUME_ACK)->number == ACK_EXEC,
        .most = count->given ? count->number : UINT64_MAX,
        .idle_ms = invocation_option(invocation, CONSUME_IDLE)->number,
        .status = EXIT_DONE,
    };
    if (member->given && !name_is_member_part(bytes_from_string(member->text))) {
        return invocation_fail(invocation, EXIT_WRONG_USAGE,
                               "--member has to be 1 to %d bytes of UTF-8", MEMBER_NAME_BYTES_MAX);
    }
    if (invocation_option(invocation, CONSUME_QUEUE)->given) {
        return invocation_fail(invocation, EXIT_WRONG_USAGE,
                               "--queue is for who reads alone: a group shares all queues");
    }
    if (membership->runs_command != (invocation->word_count > 1)) {
        return invocation_fail(invocation, EXIT_WRONG_USAGE,
                               membership->runs_command
                                   ? "--ack exec needs a command: ternmq consume %s --group %s "
                                     "--ack exec CMD"
                                   : "the command behind topic %s of group %s needs --ack exec",
                               membership->need.topic, membership->need.group);
    }
    return read_from(invocation, &membership->need);
}

static int open_member(struct membership *membership)
{
    struct invocation *invocation = membership->invocation;
    const struct setting_value *credit = invocation_option(invocation, CONSUME_CREDIT);
    const struct setting_value *member = invocation_option(invocation, CONSUME_MEMBER);
    char host[64] = "member";
    char name[MEMBER_NAME_BYTES_MAX + 1];
    (void)gethostname(host, sizeof(host) - 1);
    (void)snprintf(name, sizeof(name), "%s-%ld", host, (long)getpid());
    uint64_t most = credit->given              ? credit->number
                    : membership->runs_command ? (uint64_t)CREDIT_EXEC
                                               : (uint64_t)CREDIT_AUTO;
    const struct ternmq_member_options options = {
        .group = membership->need.group,
        .topic = membership->need.topic,
        .name = member->given ? member->text : name,
        .credit = (uint32_t)(most < membership->most ? most : membership->most),
        .lease_ms = (uint32_t)invocation_option(invocation, CONSUME_LEASE)->number,
        .keep_leases = true,
        .lost = on_lost,
        .context = membership,
    };
    struct ternmq_error error;
    lost_verdicts_init(&membership->lost, invocation, membership->need.topic);
    membership->member = ternmq_member_open(invocation->client, &options, &error);
    if (membership->member == NULL) {
        return invocation_fail_with(invocation, &error, "group %s", membership->need.group);
    }
    return EXIT_DONE;
}

int consume_group_run(struct invocation *invocation)
{
    struct membership membership;
    int status = read_membership(invocation, &membership);
    if (status == EXIT_DONE) {
        status = group_presence_ensure(invocation, &membership.need);
    }
    if (status == EXIT_DONE && membership.most > 0) {
        status = open_member(&membership);
    }
    if (status != EXIT_DONE) {
        return interrupted ? EXIT_DONE : status;
    }
    if (membership.member != NULL) {
        output_open();
        consume_all(&membership);
        end_membership(&membership);
    }
    if (membership.output.write_failed) {
        return output_status(invocation, &membership.output, EXIT_FAILED);
    }
    if (membership.status == EXIT_DONE || membership.count > 0) {
        say_counts(&membership);
    }
    return membership.status;
}
