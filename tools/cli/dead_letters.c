/* SPDX-License-Identifier: Apache-2.0 */
/* dead_letters.c - receive, ack, nack and extend on the group of dead letters of one broker. */
#include "tools/cli/dead_letters.h"

#include "proto/base/contract.h"
#include "proto/names.h"
#include "proto/writer.h"
#include "tools/cli/show.h"
#include "tools/cli/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    /* Long enough for a pause of this machine; a visit extends it at a third. */
    DEAD_LEASE_MS = 120000,
    /* Soon after a visit that ended without giving back. */
    BACKOFF_MS = 1000,
    TAKE_BYTES = 1 << 20,
    RECEIPTS_AT_ONCE = 1000,
    RECEIPT_BYTES = TOPIC_NAME_BYTES_MAX + DEAD_LEASE_BYTES_MAX + 32,
    ARGUMENTS_BYTES = GROUP_ANY_NAME_BYTES_MAX + 128
};

/* --------------------------------------------------------------------- calls */

void dead_letters_block_signals(sigset_t *before_out)
{
    sigset_t ends;
    (void)sigemptyset(&ends);
    (void)sigaddset(&ends, SIGHUP);
    (void)sigaddset(&ends, SIGINT);
    (void)sigaddset(&ends, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &ends, before_out);
}

int dead_letters_call(struct dead_letters *letters, const char *method,
                      struct ternmq_bytes arguments, bool once, struct ternmq_answer *answer_out,
                      struct ternmq_error *error_out)
{
    int status = EXIT_FAILED;
    struct ternmq *client = invocation_client(letters->invocation, &status);
    if (client == NULL) {
        *error_out = (struct ternmq_error){.code = TERNMQ_USAGE, .name = "USAGE"};
        return TERNMQ_USAGE;
    }
    struct ternmq_call call = {.method = method, .arguments = arguments, .once = once};
    group_holders_address(letters->brokers->brokers[letters->broker], &call);
    sigset_t before;
    dead_letters_block_signals(&before);
    int code = ternmq_call(client, &call, answer_out, error_out);
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    return code;
}

static int say(const struct dead_letters *letters, const struct ternmq_error *error)
{
    if (error->code == TERNMQ_INTERRUPTED) {
        return EXIT_FAILED; /* whoever did it knows */
    }
    const char *broker = letters->brokers->brokers[letters->broker];
    return invocation_fail_with(letters->invocation, error, "dead letters %s%s%s", letters->name,
                                broker[0] == '\0' ? "" : " on broker ", broker);
}

static int say_no_memory(const struct dead_letters *letters)
{
    return invocation_fail(letters->invocation, EXIT_FAILED, "dead letters %s: no memory",
                           letters->name);
}

static int say_bad_answer(const struct dead_letters *letters, const char *method)
{
    return invocation_fail(letters->invocation, EXIT_FAILED,
                           "dead letters %s: the broker's answer to %s could not be read",
                           letters->name, method);
}

/* ---------------------------------------------------------------------- open */

void dead_letters_name(const char *group, char name_out[TOPIC_NAME_BYTES_MAX + 1])
{
    struct bytes name = name_of_dead_letters(bytes_from_string(group), name_out);
    name_out[name.length] = '\0';
}

static void write_group(struct writer *writer, const char *name)
{
    writer_put_map(writer, 2);
    writer_put_key_string(writer, "name", name);
    writer_put_string(writer, "settings");
    writer_put_map(writer, 3);
    writer_put_string(writer, "topics");
    writer_put_map(writer, 1);
    writer_put_string(writer, name);
    writer_put_nil(writer);
    writer_put_key_string(writer, "from", "first");
    writer_put_string(writer, "backoff");
    writer_put_array(writer, 1);
    writer_put_uint(writer, BACKOFF_MS);
}

int dead_letters_open(struct invocation *invocation, const char *group,
                      const struct group_holders *brokers, size_t broker,
                      struct dead_letters *letters_out, bool *has_some_out)
{
    *letters_out = (struct dead_letters){.invocation = invocation,
                                         .brokers = brokers,
                                         .broker = broker,
                                         .member = "ternmq group dead"};
    dead_letters_name(group, letters_out->name);
    uint8_t room[2 * TOPIC_NAME_BYTES_MAX + 128];
    struct writer writer = writer_over(room, sizeof(room));
    write_group(&writer, letters_out->name);
    ASSERT(!writer.overflowed);
    struct ternmq_answer answer;
    struct ternmq_error error;
    int code =
        dead_letters_call(letters_out, "group.put", ternmq_bytes(room, writer_length(&writer)),
                          false, &answer, &error);
    *has_some_out = code == TERNMQ_OK;
    if (code != TERNMQ_OK && brokers->count > 1 &&
        group_holders_pass_over(invocation, brokers->brokers[broker], &error)) {
        letters_out->is_away = true;
        return EXIT_DONE;
    }
    if (code != TERNMQ_OK) {
        return code == TERNMQ_TOPIC_NOT_FOUND ? EXIT_DONE : say(letters_out, &error);
    }
    letters_out->taken = calloc(DEAD_TAKE_MAX, sizeof(letters_out->taken[0]));
    letters_out->extended_ms = clock_run_ms();
    return letters_out->taken == NULL ? say_no_memory(letters_out) : EXIT_DONE;
}

/* ------------------------------------------------------------------- settling */

/* Receipts of ranges, with what the method takes besides; how many failed. */
static int settle_some(struct dead_letters *letters, const char *method,
                       const struct dead_range *ranges, size_t count, uint32_t *failed_out)
{
    bool is_ack = strcmp(method, "ack") == 0;
    size_t bytes = ARGUMENTS_BYTES + count * RECEIPT_BYTES;
    uint8_t *room = malloc(bytes);
    if (room == NULL) {
        return say_no_memory(letters);
    }
    struct writer writer = writer_over(room, bytes);
    writer_put_map(&writer, 3);
    writer_put_key_string(&writer, "group", letters->name);
    if (is_ack) {
        writer_put_key_bool(&writer, "durable", true);
    } else if (strcmp(method, "nack") == 0) {
        writer_put_key_bool(&writer, "count", false);
    } else {
        writer_put_key_uint(&writer, "lease_ms", DEAD_LEASE_MS);
    }
    writer_put_string(&writer, "receipts");
    writer_put_array(&writer, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        writer_put_array(&writer, 5);
        writer_put_string(&writer, letters->name);
        writer_put_uint(&writer, ranges[i].queue);
        writer_put_uint(&writer, ranges[i].first);
        writer_put_uint(&writer, ranges[i].span);
        writer_put_bin(&writer, bytes_make(ranges[i].lease, ranges[i].lease_bytes));
    }
    ASSERT(!writer.overflowed);
    struct ternmq_answer answer;
    struct ternmq_error error;
    struct cursor failed;
    int code = dead_letters_call(letters, method, ternmq_bytes(room, writer_length(&writer)), false,
                                 &answer, &error);
    free(room);
    if (code != TERNMQ_OK) {
        return say(letters, &error);
    }
    struct bytes result = bytes_make(answer.result.data, answer.result.length);
    if (!result_find(result, "failed", &failed) || !cursor_take_array(&failed, failed_out)) {
        return say_bad_answer(letters, method);
    }
    return EXIT_DONE;
}

static int settle_all(struct dead_letters *letters, const char *method,
                      const struct dead_range *ranges, size_t count, uint32_t *failed_out)
{
    int status = EXIT_DONE;
    *failed_out = 0;
    for (size_t at = 0; status == EXIT_DONE && at < count; at += RECEIPTS_AT_ONCE) {
        size_t left = count - at;
        uint32_t failed = 0;
        status = settle_some(letters, method, ranges + at,
                             left < RECEIPTS_AT_ONCE ? left : RECEIPTS_AT_ONCE, &failed);
        *failed_out += failed;
    }
    return status;
}

int dead_letters_extend(struct dead_letters *letters)
{
    uint64_t now_ms = clock_run_ms();
    uint32_t failed;
    if (now_ms - letters->extended_ms < DEAD_LEASE_MS / 3) {
        return EXIT_DONE;
    }
    letters->extended_ms = now_ms;
    return settle_all(letters, "extend", letters->kept, letters->kept_count, &failed);
}

static struct dead_range range_of(const struct dead_taken *taken)
{
    struct dead_range range = *taken->range;
    range.first = taken->letter.offset;
    range.span = 1;
    return range;
}

int dead_letters_settle(struct dead_letters *letters, const struct dead_taken *taken,
                        uint32_t count, uint32_t *lost_out)
{
    struct dead_range ranges[DEAD_TAKE_MAX];
    ASSERT(count <= DEAD_TAKE_MAX);
    for (uint32_t i = 0; i < count; i++) {
        ranges[i] = range_of(&taken[i]);
    }
    return settle_all(letters, "ack", ranges, count, lost_out);
}

/* Whether a range goes on where the last one that is kept ends. */
static bool joins(const struct dead_range *last, const struct dead_range *range)
{
    return last->queue == range->queue && last->first + last->span == range->first &&
           last->lease_bytes == range->lease_bytes &&
           memcmp(last->lease, range->lease, range->lease_bytes) == 0;
}

static bool keep_range(struct dead_letters *letters, const struct dead_range *range)
{
    if (letters->kept_count > 0 && joins(&letters->kept[letters->kept_count - 1], range)) {
        letters->kept[letters->kept_count - 1].span += range->span;
        return true;
    }
    if (letters->kept_count == letters->kept_room) {
        size_t grown = letters->kept_room == 0 ? 256 : 2 * letters->kept_room;
        struct dead_range *kept = realloc(letters->kept, grown * sizeof(kept[0]));
        if (kept == NULL) {
            (void)say_no_memory(letters);
            return false;
        }
        letters->kept = kept;
        letters->kept_room = grown;
    }
    letters->kept[letters->kept_count++] = *range;
    return true;
}

bool dead_letters_keep(struct dead_letters *letters, const struct dead_taken *taken, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct dead_range range = range_of(&taken[i]);
        if (!keep_range(letters, &range)) {
            return false;
        }
    }
    return true;
}

int dead_letters_close(struct dead_letters *letters, int status)
{
    uint32_t failed;
    if (letters->kept_count > 0) {
        /* Takes the interrupt that ended the visit. */
        if (letters->invocation->client != NULL) {
            (void)ternmq_poll(letters->invocation->client, 0);
        }
        int given = settle_all(letters, "nack", letters->kept, letters->kept_count, &failed);
        status = status == EXIT_DONE ? given : status;
    }
    free(letters->answer);
    free(letters->ranges);
    free(letters->taken);
    free(letters->kept);
    return status;
}

/* --------------------------------------------------------------------- taking */

/* [topic, queue, first, span, messages, attempt, lease, until, reason]; a newer broker may say more. */
static bool take_range(struct cursor *cursor, struct dead_range *range, uint32_t *messages)
{
    uint32_t elements;
    struct bytes topic;
    struct bytes lease;
    uint32_t attempt;
    bool is_read = cursor_take_array(cursor, &elements) && elements >= 9 &&
                   cursor_take_text(cursor, &topic) && cursor_take_u32(cursor, &range->queue) &&
                   cursor_take_uint(cursor, &range->first) &&
                   cursor_take_uint(cursor, &range->span) && cursor_take_u32(cursor, messages) &&
                   cursor_take_u32(cursor, &attempt) && cursor_take_text(cursor, &lease) &&
                   lease.length <= sizeof(range->lease);
    for (uint32_t i = 7; is_read && i < elements; i++) {
        is_read = cursor_skip(cursor);
    }
    if (is_read) {
        memcpy(range->lease, lease.data, lease.length);
        range->lease_bytes = (uint8_t)lease.length;
    }
    return is_read;
}

static bool has_room_for_ranges(struct dead_letters *letters, uint32_t count)
{
    if (count > letters->range_room) {
        struct dead_range *grown = realloc(letters->ranges, count * sizeof(grown[0]));
        if (grown == NULL) {
            return false;
        }
        letters->ranges = grown;
        letters->range_room = count;
    }
    return true;
}

/* One record, which lies in its range. */
static bool take_record(struct cursor *records, const struct dead_range *range,
                        struct dead_taken *taken)
{
    struct bytes record;
    if (!cursor_take_span(records, &record)) {
        return false;
    }
    taken->range = range;
    taken->letter = (struct dead_letter){.element = {NULL, 0}};
    taken->is_read = dead_letter_read(record, &taken->letter);
    return taken->letter.element.data != NULL && taken->letter.queue == range->queue &&
           taken->letter.offset >= range->first &&
           taken->letter.offset - range->first < range->span;
}

static bool read_answer(struct dead_letters *letters, struct bytes answer, uint32_t most,
                        uint32_t *count_out)
{
    struct cursor ranges;
    struct cursor records;
    uint32_t range_count;
    uint32_t record_count;
    uint32_t taken = 0;
    if (!result_find(answer, "ranges", &ranges) || !cursor_take_array(&ranges, &range_count) ||
        !result_find(answer, "messages", &records) || !cursor_take_array(&records, &record_count) ||
        range_count > most || record_count > most || !has_room_for_ranges(letters, range_count)) {
        return false;
    }
    for (uint32_t i = 0; i < range_count; i++) {
        struct dead_range *range = &letters->ranges[i];
        uint32_t messages;
        if (!take_range(&ranges, range, &messages) || messages > record_count - taken) {
            return false;
        }
        for (uint32_t j = 0; j < messages; j++) {
            if (!take_record(&records, range, &letters->taken[taken++])) {
                return false;
            }
        }
    }
    *count_out = taken;
    return taken == record_count;
}

/* An answer is good until the next call, and what was taken is settled by calls. */
static bool copy_answer(struct dead_letters *letters, const struct ternmq_bytes *result)
{
    if (result->length > letters->answer_room) {
        free(letters->answer);
        letters->answer = malloc(result->length);
        letters->answer_room = letters->answer == NULL ? 0 : result->length;
    }
    if (letters->answer_room < result->length) {
        return false;
    }
    memcpy(letters->answer, result->data, result->length);
    return true;
}

static struct ternmq_bytes write_receive(const struct dead_letters *letters, uint32_t most,
                                         uint8_t *room, size_t room_bytes)
{
    struct writer writer = writer_over(room, room_bytes);
    writer_put_map(&writer, 5);
    writer_put_key_string(&writer, "group", letters->name);
    writer_put_key_string(&writer, "member", letters->member);
    writer_put_key_uint(&writer, "max", most);
    writer_put_key_uint(&writer, "max_bytes", TAKE_BYTES);
    writer_put_key_uint(&writer, "lease_ms", DEAD_LEASE_MS);
    ASSERT(!writer.overflowed);
    return ternmq_bytes(room, writer_length(&writer));
}

int dead_letters_take(struct dead_letters *letters, uint32_t most, uint32_t *count_out)
{
    uint8_t room[ARGUMENTS_BYTES];
    struct ternmq_answer answer;
    struct ternmq_error error;
    int status = dead_letters_extend(letters);
    if (status != EXIT_DONE) {
        return status;
    }
    int code =
        dead_letters_call(letters, "receive", write_receive(letters, most, room, sizeof(room)),
                          false, &answer, &error);
    if (code != TERNMQ_OK) {
        return say(letters, &error);
    }
    if (!copy_answer(letters, &answer.result)) {
        return say_no_memory(letters);
    }
    struct bytes result = bytes_make(letters->answer, answer.result.length);
    return read_answer(letters, result, most, count_out) ? EXIT_DONE
                                                         : say_bad_answer(letters, "receive");
}
