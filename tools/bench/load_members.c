/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load_members.c - members of a group: each asks for messages, settles what it got, and asks again.
 */
#include "proto/base/bytes.h"
#include "proto/base/contract.h"
#include "proto/limits.h"
#include "tools/bench/load_state.h"
#include "tools/client/attach.h"
#include "tools/client/receive_answer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    /* A receipt around the topic's name and the lease; what else a call says. */
    RECEIPT_BYTES = 32,
    CALL_BYTES = 1024,
    KEY_BYTES = 12,
    /* How long a member waits at the broker: short, for who settles with the next receive says so late. */
    WAIT_MS = 500,
    BACKOFF_MS = 1000,
};

static void ask(struct load_member *member, const struct load_receipts *acks);

/* -------------------------------------------------------------------------- calls */

static void fail(struct load *load, const struct ternmq_error *error)
{
    load->figures.errors++;
    load->last_error = *error;
    load->failure = *error;
}

static void call(struct load_member *member, const char *method, const struct writer *writer,
                 ternmq_answered_fn *answered)
{
    ASSERT(!writer->overflowed);
    const struct ternmq_call wish = {
        .to = TERNMQ_TO_ANY_BROKER,
        .method = method,
        .arguments = ternmq_bytes(writer->start, writer_length(writer)),
        .timeout_ms = LOAD_TIMEOUT_MS,
        .once = true,
    };
    struct ternmq_error error;
    if (ternmq_call_async(member->client, &wish, answered, member, &error) == TERNMQ_OK) {
        member->under_way++;
    } else {
        fail(member->load, &error);
    }
}

static struct writer begin_call(const struct load *load, uint32_t pairs)
{
    struct writer writer = writer_over(load->arguments, load->arguments_bytes);
    writer_put_map(&writer, pairs);
    writer_put_key_string(&writer, "group", load->options.topic);
    return writer;
}

static void put_receipts(struct writer *writer, const char *key,
                         const struct load_receipts *receipts)
{
    writer_put_string(writer, key);
    writer_put_array(writer, receipts->count);
    writer_put_raw(writer, writer_bytes(&receipts->writer));
}

/* -------------------------------------------------------------------------- settle */

/* What the member had is settled. */
static void count_settled(struct load_member *member)
{
    struct load *load = member->load;
    load->settled += member->acking;
    if (load->measuring && member->acking > 0) {
        load->figures.consumed += member->acking;
        histogram_add(&load->figures.settle, clock_ns() - member->acking_ns, member->acking);
    }
    member->acking = 0;
}

static void settled(void *context, const struct ternmq_answer *answer,
                    const struct ternmq_error *error)
{
    static const uint8_t none_failed[] = {0x81, 0xa6, 'f', 'a', 'i', 'l', 'e', 'd', 0x90};
    struct load_member *member = context;
    struct load *load = member->load;
    member->under_way--;
    if (error != NULL) {
        fail(load, error);
        return;
    }
    if (answer->result.length != sizeof(none_failed) ||
        memcmp(answer->result.data, none_failed, sizeof(none_failed)) != 0) {
        fail(load, &(struct ternmq_error){.code = TERNMQ_CORRUPT,
                                          .name = "LEASE_LOST",
                                          .message = "what was leased could not be settled"});
        return;
    }
    if (member->under_way == 0) {
        count_settled(member);
        ask(member, NULL);
    }
}

static void nack(struct load_member *member)
{
    struct load *load = member->load;
    bool at_once = load->options.members.poisoned_percent == 0;
    struct writer writer = begin_call(load, at_once ? 3 : 2);
    put_receipts(&writer, "receipts", &load->nacks);
    if (at_once) {
        writer_put_key_uint(&writer, "delay_ms", 0);
    }
    if (load->measuring) {
        load->figures.nacked += load->nacks.messages;
    }
    call(member, "nack", &writer, settled);
}

static void ack(struct load_member *member)
{
    struct writer writer = begin_call(member->load, 2);
    put_receipts(&writer, "receipts", &member->load->acks);
    call(member, "ack", &writer, settled);
}

static void settle(struct load_member *member)
{
    struct load *load = member->load;
    const struct load_receipts *acks = &load->acks;
    if (load->nacks.count > 0) {
        nack(member);
    }
    member->acking = acks->messages;
    member->acking_ns = member->asked_ns;
    if (load->options.members.settle == LOAD_SETTLE_NOT) {
        count_settled(member);
        ask(member, NULL);
    } else if (acks->count > 0 && load->options.members.settle == LOAD_SETTLE_RECEIVE &&
               load->receiving) {
        ask(member, acks);
    } else if (acks->count > 0) {
        ack(member);
    }
}

/* -------------------------------------------------------------------------- receive */

static void received(void *context, const struct ternmq_answer *answer,
                     const struct ternmq_error *error)
{
    struct load_member *member = context;
    struct load *load = member->load;
    uint32_t messages;
    member->under_way--;
    if (error != NULL) {
        fail(load, error);
        return;
    }
    load->figures.receives += load->measuring;
    if (!load_members_judge(member, answer->result, &messages)) {
        return;
    }
    if (load->options.members.settle == LOAD_SETTLE_RECEIVE) {
        count_settled(member);
    }
    if (messages > 0) {
        settle(member);
    } else {
        ask(member, NULL);
    }
}

/* Asks for messages; `acks`, unless it is NULL, are settled by the same call. Nothing is asked for behind the
 * end, nor while a refusal is under way. */
static void ask(struct load_member *member, const struct load_receipts *acks)
{
    struct load *load = member->load;
    if (acks == NULL && (!load->receiving || member->under_way > 0)) {
        return;
    }
    bool waits = load->options.rate != 0 || acks == NULL;
    struct writer writer = begin_call(load, acks == NULL ? 4 : 5);
    writer_put_key_string(&writer, "member", member->name);
    writer_put_key_uint(&writer, "max", load->options.members.max);
    writer_put_key_uint(&writer, "wait_ms", waits ? WAIT_MS : 0);
    if (acks != NULL) {
        put_receipts(&writer, "ack", acks);
    }
    member->asked_ns = clock_ns();
    call(member, "receive", &writer, received);
}

bool load_members_begin(struct load *load, struct ternmq_error *error)
{
    load->receiving = true;
    for (uint32_t i = 0; i < load->options.members.count; i++) {
        ask(&load->members[i], NULL);
    }
    *error = load->failure;
    return load->failure.code == TERNMQ_OK;
}

void load_members_end(struct load *load)
{
    load->receiving = false;
}

bool load_members_are_quiet(const struct load *load)
{
    for (uint32_t i = 0; i < load->options.members.count; i++) {
        if (load->members[i].under_way > 0) {
            return false;
        }
    }
    return true;
}

uint64_t load_poisoned(const struct load *load)
{
    return load->poisoned;
}

bool load_is_settled(const struct load *load)
{
    return load_is_quiet(load) &&
           load->settled >= ledger_acknowledged(load->ledger) - load->poisoned;
}

/* -------------------------------------------------------------------------- life */

int load_group_put(const struct load_options *options, struct ternmq *client,
                   struct ternmq_error *error)
{
    static const uint32_t backoff_ms[] = {BACKOFF_MS};
    const struct ternmq_group_topic topic = {.name = options->topic};
    const struct ternmq_group_options group = {
        .name = options->topic,
        .topics = &topic,
        .topic_count = 1,
        .from = TERNMQ_FROM_FIRST,
        .order = options->members.order,
        .lease_ms =
            options->members.settle == LOAD_SETTLE_NOT ? GROUP_LEASE_MS_MOST : 2 * LOAD_TIMEOUT_MS,
        .attempts = GROUP_ATTEMPTS_MAX,
        .backoff_ms = backoff_ms,
        .backoff_count = 1,
    };
    int code = ternmq_group_delete(client, options->topic, error);
    if (code != TERNMQ_OK && code != TERNMQ_GROUP_NOT_FOUND) {
        return code;
    }
    return ternmq_group_put(client, &group, error);
}

static void make_keys(struct load *load)
{
    uint32_t count = load->options.members.keys;
    if (count == 0) {
        return;
    }
    load->keys = calloc(count, sizeof(*load->keys));
    char *text = calloc(count, KEY_BYTES);
    ASSERT(load->keys != NULL && text != NULL);
    for (uint32_t i = 0; i < count; i++, text += KEY_BYTES) {
        int length = snprintf(text, KEY_BYTES, "k%u", i);
        load->keys[i] = ternmq_bytes(text, (size_t)length);
    }
}

static void make_rooms(struct load *load)
{
    const struct load_members *members = &load->options.members;
    load->arguments_bytes =
        CALL_BYTES +
        (size_t)members->max * (RECEIPT_BYTES + strlen(load->options.topic) + LEASE_BYTES_MAX);
    load->arguments = malloc(load->arguments_bytes);
    load->acks.bytes = malloc(load->arguments_bytes);
    load->nacks.bytes = malloc(load->arguments_bytes);
    ASSERT(load->arguments != NULL && load->acks.bytes != NULL && load->nacks.bytes != NULL);
}

bool load_members_open(struct load *load, struct ternmq_error *error)
{
    const struct load_members *members = &load->options.members;
    uint32_t clients = load_member_clients(&load->options);
    make_keys(load);
    make_rooms(load);
    load->members = calloc(members->count, sizeof(*load->members));
    load->member_clients = calloc(clients, sizeof(*load->member_clients));
    ASSERT(load->members != NULL && load->member_clients != NULL);
    for (uint32_t i = 0; i < clients; i++) {
        load->member_clients[i] = client_attach(load->reactor, &load->options.client, error);
        if (load->member_clients[i] == NULL) {
            return false;
        }
    }
    for (uint32_t i = 0; i < members->count; i++) {
        struct load_member *member = &load->members[i];
        member->load = load;
        member->client = load->member_clients[i / members->sharing];
        (void)snprintf(member->name, sizeof(member->name), "member-%u", i);
    }
    return true;
}

void load_members_free(struct load *load)
{
    if (load->keys != NULL) {
        free((void *)(uintptr_t)load->keys[0].data);
    }
    free(load->keys);
    free(load->members);
    free(load->member_clients);
    free(load->acks.bytes);
    free(load->nacks.bytes);
    free(load->arguments);
}
