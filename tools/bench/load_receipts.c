/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load_receipts.c - what a member makes of the messages that it got: which it acknowledges, which it refuses.
 */
#include "proto/record.h"
#include "tools/bench/load_state.h"
#include "tools/client/delivery.h"
#include "tools/client/receive_answer.h"

#include <string.h>

enum fate { FATE_ACK, FATE_NACK, FATE_COUNT };

static void broke(struct load *load, const char *what)
{
    load->failure = (struct ternmq_error){.code = TERNMQ_CORRUPT, .name = "CORRUPT"};
    (void)strncpy(load->failure.message, what, sizeof(load->failure.message) - 1);
}

/* Whether a message is refused at its first attempt; always the same ones, in no order. */
static bool is_nacked(const struct load_members *members, uint64_t number)
{
    return (number * UINT64_C(0x9e3779b97f4a7c15) >> 32) % 100 < members->nack_percent;
}

static enum fate judge(struct load *load, const struct receive_range *range,
                       const struct ternmq_delivery *delivery)
{
    struct body_head head;
    const struct load_options *options = &load->options;
    if (!body_read(delivery->body, &head) || head.run != load->run) {
        return FATE_ACK;
    }
    if (load_is_poisoned(options, head.number)) {
        return FATE_NACK;
    }
    if (range->attempt == 1 && is_nacked(&options->members, head.number)) {
        return FATE_NACK;
    }
    uint64_t now_ns = clock_ns();
    ledger_see(load->ledger, head.stream, head.number, load_key(options, head.number));
    if (load->measuring) {
        histogram_add(&load->figures.deliver, now_ns > head.meant_ns ? now_ns - head.meant_ns : 0,
                      1);
    }
    return FATE_ACK;
}

static void add_receipt(struct load_receipts *receipts, const struct receive_range *range,
                        uint64_t first, uint64_t span)
{
    struct writer *writer = &receipts->writer;
    writer_put_array(writer, 5);
    writer_put_str(writer, range->topic);
    writer_put_uint(writer, range->queue);
    writer_put_uint(writer, first);
    writer_put_uint(writer, span);
    writer_put_bin(writer, range->lease);
    receipts->count++;
}

/* One range: a receipt for each run of messages of the same fate. */
static bool judge_range(struct load *load, const struct receive_range *range)
{
    struct load_receipts *receipts[FATE_COUNT] = {&load->acks, &load->nacks};
    const uint8_t *at = range->records.data;
    const uint8_t *end = at + range->records.length;
    enum fate before = FATE_COUNT;
    uint64_t first = range->first;
    for (uint32_t i = 0; i < range->message_count; i++) {
        struct ternmq_delivery delivery;
        const struct delivery_place place = {load->options.topic, range->queue, record_offset(at)};
        if (!delivery_read(bytes_make(at, (size_t)(end - at)), &place, &delivery)) {
            broke(load, "a message is not what was produced");
            return false;
        }
        enum fate fate = judge(load, range, &delivery);
        if (fate != before && before != FATE_COUNT) {
            add_receipt(receipts[before], range, first, place.offset - first);
            first = place.offset;
        }
        before = fate;
        receipts[fate]->messages++;
        at += record_size(at);
    }
    add_receipt(receipts[before], range, first, range->first + range->span - first);
    return true;
}

static void clear(struct load *load, struct load_receipts *receipts)
{
    receipts->writer = writer_over(receipts->bytes, load->arguments_bytes);
    receipts->count = 0;
    receipts->messages = 0;
}

bool load_members_judge(struct load_member *member, struct ternmq_bytes result,
                        uint32_t *messages_out)
{
    struct load *load = member->load;
    struct receive_answer answer;
    struct receive_range range;
    clear(load, &load->acks);
    clear(load, &load->nacks);
    if (!receive_answer_read(bytes_make(result.data, result.length), load->options.members.max,
                             &answer)) {
        broke(load, "what came is no answer to a receive");
        return false;
    }
    if (answer.acked_count > 0) {
        broke(load, "a receive has refused to settle what was leased");
        return false;
    }
    *messages_out = answer.message_count;
    while (receive_answer_next(&answer, &range)) {
        if (!judge_range(load, &range)) {
            return false;
        }
    }
    return true;
}
