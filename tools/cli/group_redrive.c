/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group_redrive.c - `group dead G redrive` and `discard`: dead letters produced again where they were, and settled.
 *
 * A message is produced first and settled then, both without heeding Ctrl-C: so one that ends in between is
 * the broker's doing or the network's, and is said. What cannot go back to where it was, because that topic
 * is gone, is kept.
 */
#include "proto/filter.h"
#include "proto/limits.h"
#include "proto/message.h"
#include "proto/writer.h"
#include "tools/cli/dead_letters.h"
#include "tools/cli/group_dead.h"
#include "tools/cli/json.h"
#include "tools/cli/text.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    /* Of one produce: bodies are as large as MESSAGE_BYTES_MAX, frames larger. */
    BATCH_BYTES = 1 << 20,
    /* Batches a second where there is a rate, so that it is even. */
    BATCHES_A_SECOND = 5,
    ARGUMENTS_BYTES = TOPIC_NAME_BYTES_MAX + 64,
    /* Reasons why something was kept that are said; the rest is counted. */
    SAID_MAX = 5
};

struct redrive {
    struct invocation *invocation;
    struct dead_letters *letters;
    struct filter *filter; /* NULL: all */
    bool discards;
    bool is_dry;
    uint64_t rate; /* messages a second; 0: as fast as may be */
    uint64_t began_ms;
    uint64_t done;      /* redriven or discarded, or with --dry-run would be */
    uint64_t unwanted;  /* by the filter */
    uint64_t refused;   /* could not go back */
    uint64_t uncertain; /* may have gone back, and may go again */
    uint32_t said;
    bool lacks_broker; /* one was passed over */
};

static const char *verb_done(const struct redrive *redrive)
{
    return redrive->discards ? "discarded" : "redriven";
}

/* ---------------------------------------------------------------------- rate */

static uint32_t most_at_once(const struct redrive *redrive)
{
    uint64_t most = redrive->rate == 0 ? DEAD_TAKE_MAX : redrive->rate / BATCHES_A_SECOND;
    most = most < 1 ? 1 : most;
    return most < DEAD_TAKE_MAX ? (uint32_t)most : DEAD_TAKE_MAX;
}

/* Waits until so much may have been done. */
static int keep_to_rate(struct redrive *redrive)
{
    int status = EXIT_DONE;
    while (redrive->rate != 0 && !redrive->is_dry && !interrupted && status == EXIT_DONE) {
        uint64_t due_ms = redrive->began_ms + redrive->done * 1000 / redrive->rate;
        uint64_t now_ms = clock_run_ms();
        if (now_ms >= due_ms) {
            return EXIT_DONE;
        }
        (void)ternmq_poll(redrive->invocation->client, (int64_t)(due_ms - now_ms));
        status = dead_letters_extend(redrive->letters);
    }
    return status;
}

static void show_progress(const struct redrive *redrive)
{
    invocation_progress(redrive->invocation, "%s %s, %s kept", text_of_number(redrive->done),
                        verb_done(redrive), text_of_number(redrive->unwanted + redrive->refused));
}

/* ------------------------------------------------------------------- produce */

/* How many of what was taken go to the same place, in one call. */
static uint32_t batch_of(const struct dead_taken *taken, uint32_t count)
{
    const struct dead_letter *first = &taken[0].letter;
    size_t bytes = first->element.length;
    uint32_t n = 1;
    for (; n < count && bytes < BATCH_BYTES; n++) {
        const struct dead_letter *next = &taken[n].letter;
        bytes += next->element.length;
        if (next->origin_queue != first->origin_queue || !bytes_equal(next->topic, first->topic) ||
            bytes > BATCH_BYTES) {
            break;
        }
    }
    return n;
}

static int produce(struct redrive *redrive, const struct dead_taken *taken, uint32_t count,
                   struct ternmq_error *error_out)
{
    size_t bytes = ARGUMENTS_BYTES;
    for (uint32_t i = 0; i < count; i++) {
        bytes += taken[i].letter.element.length;
    }
    uint8_t *room = malloc(bytes);
    if (room == NULL) {
        *error_out = (struct ternmq_error){
            .code = TERNMQ_NO_MEMORY, .name = "NO_MEMORY", .message = "no memory for a message"};
        return TERNMQ_NO_MEMORY;
    }
    struct writer writer = writer_over(room, bytes);
    writer_put_map(&writer, 3);
    writer_put_string(&writer, "topic");
    writer_put_str(&writer, taken[0].letter.topic);
    writer_put_key_uint(&writer, "queue", taken[0].letter.origin_queue);
    writer_put_string(&writer, "messages");
    writer_put_array(&writer, count);
    for (uint32_t i = 0; i < count; i++) {
        writer_put_raw(&writer, taken[i].letter.element);
    }
    struct ternmq_answer answer;
    int code = writer.overflowed ? TERNMQ_USAGE
                                 : dead_letters_call(redrive->letters, "produce",
                                                     ternmq_bytes(room, writer_length(&writer)),
                                                     true, &answer, error_out);
    free(room);
    /* Stored, but not as durably as its letter is about to be gone: it stays, and may go back twice. */
    return code;
}

/* Whether it is the message, or its place, that is refused, so that others may go. */
static bool is_of_message(const struct ternmq_error *error)
{
    return error->code < TERNMQ_NOT_MASTER || error->code == TERNMQ_WRONG_BROKER ||
           error->code == TERNMQ_TOPIC_NOT_FOUND ||
           (error->code >= TERNMQ_OFFSET_TOO_SMALL && error->code < TERNMQ_NOT_YET_DURABLE);
}

static void say_refused(struct redrive *redrive, const struct dead_taken *taken, uint32_t count,
                        const struct ternmq_error *error)
{
    const struct dead_letter *letter = &taken[0].letter;
    redrive->refused += count;
    if (redrive->said++ < SAID_MAX) {
        invocation_say(
            redrive->invocation, "%s/%u/%llu%s stays: it cannot go back to %.*s/%u: %s (%s)",
            redrive->letters->name, letter->queue, (unsigned long long)letter->offset,
            count == 1 ? "" : " and those behind it", (int)letter->topic.length,
            (const char *)letter->topic.data, letter->origin_queue, error->message, error->name);
    }
}

/* ------------------------------------------------------------------- a batch */

/* Puts back and settles. */
static int finish(struct redrive *redrive, const struct dead_taken *taken, uint32_t count)
{
    struct ternmq_error error;
    int code = redrive->discards ? TERNMQ_OK : produce(redrive, taken, count, &error);
    if (code != TERNMQ_OK && is_of_message(&error)) {
        say_refused(redrive, taken, count, &error);
        return dead_letters_keep(redrive->letters, taken, count) ? EXIT_DONE : EXIT_FAILED;
    }
    if (code != TERNMQ_OK) {
        redrive->uncertain += error.stored == TERNMQ_STORED_NO ? 0 : count;
        (void)dead_letters_keep(redrive->letters, taken, count);
        return invocation_fail_with(redrive->invocation, &error, "topic %.*s",
                                    (int)taken[0].letter.topic.length,
                                    (const char *)taken[0].letter.topic.data);
    }
    uint32_t lost = 0;
    int status = dead_letters_settle(redrive->letters, taken, count, &lost);
    redrive->uncertain += status == EXIT_DONE ? lost : count;
    redrive->done += count;
    return status;
}

/* The same, which Ctrl-C does not cut in two. */
static int finish_whole(struct redrive *redrive, const struct dead_taken *taken, uint32_t count)
{
    if (redrive->is_dry) {
        redrive->done += count;
        return dead_letters_keep(redrive->letters, taken, count) ? EXIT_DONE : EXIT_FAILED;
    }
    sigset_t before;
    dead_letters_block_signals(&before);
    /* One that came just before would cut the next call. */
    int status = EXIT_FAILED;
    if (!interrupted) {
        status = finish(redrive, taken, count);
    } else {
        (void)dead_letters_keep(redrive->letters, taken, count);
    }
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    return status;
}

static bool wants(struct redrive *redrive, const struct dead_taken *taken)
{
    struct message_labels labels;
    if (!taken->is_read) {
        return redrive->discards && redrive->filter == NULL;
    }
    return redrive->filter == NULL || (message_read_labels(taken->letter.element, &labels) &&
                                       filter_wants(redrive->filter, &labels));
}

/* Works on what was taken; what is wanted moves to the front. */
static int work_on(struct redrive *redrive, struct dead_taken *taken, uint32_t count)
{
    uint32_t wanted = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (wants(redrive, &taken[i])) {
            taken[wanted++] = taken[i];
        } else if (dead_letters_keep(redrive->letters, &taken[i], 1)) {
            redrive->unwanted++;
        } else {
            return EXIT_FAILED;
        }
    }
    int status = EXIT_DONE;
    uint32_t at = 0;
    while (status == EXIT_DONE && at < wanted && !interrupted) {
        uint32_t batch = redrive->discards ? wanted : batch_of(taken + at, wanted - at);
        status = finish_whole(redrive, taken + at, batch);
        at += batch;
    }
    if (at < wanted) { /* was taken, and is given back */
        (void)dead_letters_keep(redrive->letters, taken + at, wanted - at);
    }
    return status;
}

/* ------------------------------------------------------------------- a visit */

static int visit(struct redrive *redrive, const char *group, const struct group_holders *brokers,
                 size_t broker, bool *has_some)
{
    struct dead_letters letters;
    int status = dead_letters_open(redrive->invocation, group, brokers, broker, &letters, has_some);
    letters.member = redrive->discards ? "ternmq group dead discard" : "ternmq group dead redrive";
    redrive->letters = &letters;
    redrive->lacks_broker = redrive->lacks_broker || letters.is_away;
    uint32_t count = status == EXIT_DONE && *has_some ? 1 : 0;
    while (count > 0 && status == EXIT_DONE && !interrupted) {
        status = keep_to_rate(redrive);
        if (status == EXIT_DONE && !interrupted) {
            status = dead_letters_take(&letters, most_at_once(redrive), &count);
        }
        if (status == EXIT_DONE && count > 0) {
            status = work_on(redrive, letters.taken, count);
            show_progress(redrive);
        }
    }
    return dead_letters_close(&letters, interrupted ? EXIT_DONE : status);
}

static void say_counts(struct redrive *redrive)
{
    uint64_t kept = redrive->unwanted + redrive->refused;
    invocation_end_progress(redrive->invocation);
    if (redrive->invocation->json) {
        struct json_object object = json_open(stdout);
        json_pair_number(&object, verb_done(redrive), redrive->done);
        json_pair_number(&object, "unwanted", redrive->unwanted);
        json_pair_number(&object, "refused", redrive->refused);
        json_pair_number(&object, "uncertain", redrive->uncertain);
        json_pair_bool(&object, "dry_run", redrive->is_dry);
        json_close(&object);
        return;
    }
    (void)printf("%s %s%s, %s kept\n", text_of_count(redrive->done, "message"),
                 redrive->is_dry ? "would be " : "", verb_done(redrive), text_of_number(kept));
    if (redrive->refused > 0) {
        invocation_say(redrive->invocation, "%s could not go back",
                       text_of_count(redrive->refused, "message"));
    }
    if (redrive->uncertain > 0) {
        invocation_say(redrive->invocation, "%s may have gone back, and may go again",
                       text_of_count(redrive->uncertain, "message"));
    }
}

static int read_options(struct invocation *invocation, struct redrive *redrive)
{
    const struct setting_value *text = invocation_option(invocation, DEAD_FILTER);
    struct refusal refusal;
    if (text->given &&
        filter_create(bytes_from_string(text->text), &redrive->filter, &refusal) != OK) {
        return invocation_fail(invocation, EXIT_WRONG_USAGE, "--filter: %s", refusal.message);
    }
    const struct setting_value *rate = invocation_option(invocation, DEAD_RATE);
    if (!rate->given) {
        return EXIT_DONE;
    }
    char *end;
    redrive->rate = strtoull(rate->text, &end, 10);
    bool is_number = rate->text[0] >= '0' && rate->text[0] <= '9';
    if (!is_number || (strcmp(end, "/s") != 0 && *end != '\0') || redrive->rate == 0 ||
        redrive->rate > 1000000) {
        return invocation_fail(invocation, EXIT_WRONG_USAGE,
                               "--rate '%s': has to be messages a second, as in 100/s, at most "
                               "1000000/s",
                               rate->text);
    }
    return EXIT_DONE;
}

int group_redrive_run(struct invocation *invocation, const char *group, bool discards)
{
    struct redrive redrive = {
        .invocation = invocation,
        .discards = discards,
        .is_dry = invocation_option(invocation, DEAD_DRY_RUN)->given,
        .began_ms = clock_run_ms(),
    };
    struct group_holders brokers = {.count = 0};
    int status = read_options(invocation, &redrive);
    if (status == EXIT_DONE) {
        status = group_holders_all(invocation, &brokers);
    }
    bool is_begun = status == EXIT_DONE;
    bool is_found = false;
    for (size_t i = 0; status == EXIT_DONE && i < brokers.count && !interrupted; i++) {
        bool has_some;
        status = visit(&redrive, group, &brokers, i, &has_some);
        is_found = is_found || has_some;
    }
    if (status == EXIT_DONE && !is_found && !interrupted) {
        status = group_dead_check_group(invocation, group);
        is_begun = status == EXIT_DONE;
    }
    if (is_begun) {
        say_counts(&redrive);
    }
    group_holders_free(&brokers);
    filter_destroy(redrive.filter);
    bool is_all =
        !interrupted && !redrive.lacks_broker && redrive.refused == 0 && redrive.uncertain == 0;
    return status == EXIT_DONE && !is_all ? EXIT_FAILED : status;
}
