/* SPDX-License-Identifier: Apache-2.0 */
/* group_dead.c - the command `group dead`: the dead letters of a group, listed and shown. */
#include "tools/cli/group_dead.h"

#include "proto/names.h"
#include "proto/writer.h"
#include "tools/cli/dead_letters.h"
#include "tools/cli/group.h"
#include "tools/cli/json.h"
#include "tools/cli/message_json.h"
#include "tools/cli/show.h"
#include "tools/cli/table.h"
#include "tools/cli/text.h"

#include <stdio.h>
#include <string.h>

enum { LIMIT_MOST = 1000000, ID_BYTES = TOPIC_NAME_BYTES_MAX + 32, SHOWN_BYTES = 120 };

static const struct setting DEAD_ROWS[DEAD_ROW_COUNT] = {
    [DEAD_FILTER] = {.name = "filter",
                     .metavar = "EXPR",
                     .type = SETTING_TEXT,
                     .least = 1,
                     .most = FILTER_BYTES_MAX,
                     .help = "redrive, discard: only what this wants; the rest stays"},
    [DEAD_RATE] = {.name = "rate",
                   .metavar = "N/s",
                   .type = SETTING_TEXT,
                   .least = 1,
                   .most = 16,
                   .help = "redrive, discard: so many messages a second at the most"},
    [DEAD_DRY_RUN] = {.name = "dry-run",
                      .type = SETTING_FLAG,
                      .help = "redrive, discard: only say how many it would be"},
    [DEAD_LIMIT] = {.name = "limit",
                    .metavar = "N",
                    .type = SETTING_INTEGER,
                    .fallback = "1000",
                    .least = 1,
                    .most = LIMIT_MOST,
                    .help = "list: the first so many of each broker"},
};

int group_dead_check_group(struct invocation *invocation, const char *group)
{
    struct group_holders holders;
    int status = group_holders_find(invocation, group, &holders);
    group_holders_say_gaps(invocation, &holders, false);
    group_holders_free(&holders);
    return group_reach_status(&holders.reach, status);
}

/* ------------------------------------------------------------------ one letter */

static void put_text(struct json_object *object, const char *key, struct bytes text)
{
    json_key(object, key);
    json_put_string(object->to, text);
}

/* What it was, and why it is one. */
static void put_death(struct json_object *object, const struct dead_letter *letter)
{
    put_text(object, "group", letter->group);
    put_text(object, "origin_topic", letter->topic);
    json_pair_number(object, "origin_queue", letter->origin_queue);
    json_pair_number(object, "origin_offset", letter->origin_offset);
    json_pair_number(object, "attempts", letter->attempts);
    if (letter->reason.length > 0) {
        put_text(object, "reason", letter->reason);
    }
}

static void write_id(char id[ID_BYTES], const char *topic, const struct dead_letter *letter)
{
    (void)snprintf(id, ID_BYTES, "%s/%u/%llu", topic, letter->queue,
                   (unsigned long long)letter->offset);
}

static const char *clean(struct bytes text, char out[SHOWN_BYTES + 1])
{
    return text_clean(text, out, SHOWN_BYTES + 1);
}

/* ------------------------------------------------------------------------ list */

struct listing {
    struct invocation *invocation;
    struct dead_letters *letters;
    const char *broker;
    uint64_t now_ms;
    uint64_t count; /* shown */
    bool is_found;  /* a broker has dead letters of the group, open or not */
    struct group_reach reach;
    struct table table; /* for people, from the first one on */
};

static const char *const LIST_HEADINGS[] = {"ID", "ORIGIN", ">ATTEMPTS", ">AGE", "REASON", NULL};

static void list_one(struct listing *listing, const struct dead_letter *letter)
{
    char id[ID_BYTES];
    char topic[SHOWN_BYTES + 1];
    char reason[SHOWN_BYTES + 1];
    uint64_t age_ms =
        listing->now_ms > letter->stored_at_ms ? listing->now_ms - letter->stored_at_ms : 0;
    write_id(id, listing->letters->name, letter);
    if (listing->count++ == 0 && !listing->invocation->json) {
        table_init(&listing->table, LIST_HEADINGS);
    }
    if (!listing->invocation->json) {
        table_add(&listing->table, "%s", id);
        table_add(&listing->table, "%s/%u/%llu", clean(letter->topic, topic), letter->origin_queue,
                  (unsigned long long)letter->origin_offset);
        table_add(&listing->table, "%u", letter->attempts);
        table_add(&listing->table, "%.1f s", (double)age_ms / 1000);
        table_add(&listing->table, "%s", clean(letter->reason, reason));
        return;
    }
    struct json_object object = json_open(stdout);
    json_pair_text(&object, "id", id);
    if (listing->broker[0] != '\0') {
        json_pair_text(&object, "broker", listing->broker);
    }
    put_death(&object, letter);
    json_pair_number(&object, "stored_at", letter->stored_at_ms);
    json_pair_number(&object, "age_ms", age_ms);
    json_close(&object);
}

/* All that is open at one broker: taken, shown, given back. */
static int list_at(struct listing *listing, const char *group, const struct group_holders *brokers,
                   size_t broker)
{
    struct dead_letters letters;
    bool has_some;
    uint64_t left = invocation_option(listing->invocation, DEAD_LIMIT)->number;
    int status =
        dead_letters_open(listing->invocation, group, brokers, broker, &letters, &has_some);
    listing->is_found = listing->is_found || has_some;
    listing->reach.away += letters.is_away;
    listing->letters = &letters;
    listing->broker = brokers->brokers[broker];
    uint32_t count = status == EXIT_DONE && has_some ? 1 : 0;
    while (status == EXIT_DONE && count > 0 && left > 0 && !interrupted) {
        status = dead_letters_take(&letters, left < DEAD_TAKE_MAX ? (uint32_t)left : DEAD_TAKE_MAX,
                                   &count);
        if (status != EXIT_DONE || count == 0) {
            break;
        }
        left -= count;
        status = dead_letters_keep(&letters, letters.taken, count) ? EXIT_DONE : EXIT_FAILED;
        for (uint32_t i = 0; i < count; i++) {
            if (letters.taken[i].is_read) {
                list_one(listing, &letters.taken[i].letter);
            }
        }
    }
    if (left == 0) {
        invocation_say(listing->invocation, "there may be more: --limit says how many are listed");
    }
    return dead_letters_close(&letters, interrupted ? EXIT_DONE : status);
}

static int list(struct invocation *invocation, const char *group)
{
    struct group_holders brokers;
    struct listing listing = {.invocation = invocation, .now_ms = clock_wall_ms()};
    int status = group_holders_all(invocation, &brokers);
    for (size_t i = 0; status == EXIT_DONE && i < brokers.count && !interrupted; i++) {
        status = list_at(&listing, group, &brokers, i);
    }
    if (status == EXIT_DONE && !listing.is_found && !interrupted) {
        status = group_dead_check_group(invocation, group);
    }
    status = group_reach_status(&listing.reach, status);
    if (!invocation->json && listing.count > 0) {
        table_print(&listing.table, stdout);
    } else if (!invocation->json && status == EXIT_DONE) {
        invocation_say(invocation, "group %s has no open dead letters", group);
    }
    group_holders_free(&brokers);
    return interrupted ? EXIT_FAILED : status;
}

/* ------------------------------------------------------------------------ show */

static void show_property(struct cursor *properties)
{
    char name_text[SHOWN_BYTES + 1];
    char value_text[SHOWN_BYTES + 1];
    struct bytes name;
    struct bytes value;
    if (cursor_take_text(properties, &name) && cursor_take_text(properties, &value)) {
        (void)printf("property %s  %s\n", clean(name, name_text), clean(value, value_text));
    }
}

static void show_labels(const struct ternmq_delivery *delivery)
{
    char text[SHOWN_BYTES + 1];
    struct ternmq_bytes key;
    if (delivery->tag.data != NULL) {
        (void)printf("tag       %s\n",
                     clean(bytes_make(delivery->tag.data, delivery->tag.length), text));
    }
    for (uint32_t i = 0; ternmq_delivery_key(delivery, i, &key); i++) {
        (void)printf("key       %s\n", clean(bytes_make(key.data, key.length), text));
    }
    struct cursor properties =
        cursor_over(bytes_make(delivery->properties.data, delivery->properties.length));
    uint32_t count = 0;
    if (delivery->properties.data != NULL && cursor_take_map(&properties, &count)) {
        for (uint32_t i = 0; i < count; i++) {
            show_property(&properties);
        }
    }
}

static void show_text(const char *broker, const char *id, const struct dead_letter *letter,
                      const struct ternmq_delivery *delivery)
{
    char topic[SHOWN_BYTES + 1];
    char reason[SHOWN_BYTES + 1];
    (void)printf("id        %s\n", id);
    if (broker[0] != '\0') {
        (void)printf("broker    %s\n", broker);
    }
    (void)printf("origin    %s/%u/%llu\n", clean(letter->topic, topic), letter->origin_queue,
                 (unsigned long long)letter->origin_offset);
    (void)printf("attempts  %u\nreason    %s\n", letter->attempts, clean(letter->reason, reason));
    (void)printf("died at   %s\n", text_of_time(letter->stored_at_ms));
    show_labels(delivery);
    (void)printf("body      %s\n\n", text_of_bytes(delivery->body.length));
    (void)fwrite(delivery->body.data, 1, delivery->body.length, stdout);
    (void)putchar('\n');
}

static bool show_record(const struct invocation *invocation, const char *broker, const char *topic,
                        struct bytes result)
{
    struct cursor messages;
    struct bytes record;
    uint32_t count;
    struct dead_letter letter;
    struct ternmq_delivery delivery;
    char id[ID_BYTES];
    if (!result_find(result, "messages", &messages) || !cursor_take_array(&messages, &count) ||
        count != 1 || !cursor_take_span(&messages, &record) || !dead_letter_read(record, &letter) ||
        !dead_letter_delivery(&letter, topic, &delivery)) {
        return false;
    }
    write_id(id, topic, &letter);
    if (!invocation->json) {
        show_text(broker, id, &letter, &delivery);
        return true;
    }
    struct json_object object = json_open(stdout);
    json_pair_text(&object, "id", id);
    if (broker[0] != '\0') {
        json_pair_text(&object, "broker", broker);
    }
    put_death(&object, &letter);
    message_json_put_place(&object, &delivery);
    message_json_put_body(&object, &delivery);
    json_close(&object);
    return true;
}

/* What was found of it. */
struct sighting {
    uint32_t shown;
    bool has_topic; /* a broker has dead letters of the group */
    struct group_reach reach;
};

static int show_at(struct dead_letters *letters, uint32_t queue, uint64_t offset,
                   struct sighting *sighting)
{
    uint8_t room[TOPIC_NAME_BYTES_MAX + 64];
    struct writer writer = writer_over(room, sizeof(room));
    writer_put_map(&writer, 3);
    writer_put_key_string(&writer, "topic", letters->name);
    writer_put_key_uint(&writer, "queue", queue);
    writer_put_key_uint(&writer, "offset", offset);
    struct ternmq_answer answer;
    struct ternmq_error error;
    const char *broker = letters->brokers->brokers[letters->broker];
    int code = dead_letters_call(letters, "message.get", ternmq_bytes(room, writer_length(&writer)),
                                 false, &answer, &error);
    sighting->has_topic = sighting->has_topic || code != TERNMQ_TOPIC_NOT_FOUND;
    if (code != TERNMQ_OK && letters->brokers->count > 1 &&
        group_holders_pass_over(letters->invocation, broker, &error)) {
        sighting->reach.away++;
        return EXIT_DONE;
    }
    if (code == TERNMQ_TOPIC_NOT_FOUND || code == TERNMQ_MESSAGE_NOT_FOUND ||
        code == TERNMQ_OFFSET_TOO_SMALL || code == TERNMQ_BAD_ARGUMENT) {
        return EXIT_DONE; /* not at this broker */
    }
    if (code != TERNMQ_OK) {
        return invocation_fail_with(letters->invocation, &error, "message %s/%u/%llu",
                                    letters->name, queue, (unsigned long long)offset);
    }
    sighting->shown++;
    return show_record(letters->invocation, broker, letters->name,
                       bytes_make(answer.result.data, answer.result.length))
               ? EXIT_DONE
               : invocation_fail(letters->invocation, EXIT_FAILED,
                                 "message %s/%u/%llu could not be read", letters->name, queue,
                                 (unsigned long long)offset);
}

static int show(struct invocation *invocation, const char *group, const char *id)
{
    struct dead_letters letters = {.invocation = invocation};
    struct group_holders brokers = {.count = 0};
    uint32_t queue;
    uint64_t offset;
    struct sighting sighting = {.shown = 0};
    dead_letters_name(group, letters.name);
    letters.brokers = &brokers;
    if (!dead_letter_read_id(id, letters.name, &queue, &offset)) {
        return invocation_fail(invocation, EXIT_WRONG_USAGE,
                               "'%s' is no id of a dead letter of group %s: QUEUE/OFFSET, or "
                               "%s/QUEUE/OFFSET as 'list' says it",
                               id, group, letters.name);
    }
    int status = group_holders_all(invocation, &brokers);
    for (letters.broker = 0; status == EXIT_DONE && letters.broker < brokers.count;
         letters.broker++) {
        status = show_at(&letters, queue, offset, &sighting);
    }
    if (status == EXIT_DONE && !sighting.has_topic) {
        status = group_dead_check_group(invocation, group);
    }
    if (status == EXIT_DONE && sighting.shown == 0) {
        status = invocation_fail(invocation, EXIT_FAILED,
                                 "there is no dead letter %s/%u/%llu (MESSAGE_NOT_FOUND); 'ternmq "
                                 "group dead %s list' shows those that are open",
                                 letters.name, queue, (unsigned long long)offset, group);
    }
    group_holders_free(&brokers);
    return group_reach_status(&sighting.reach, status);
}

/* --------------------------------------------------------------------- command */

/* Options are of some verbs: one that would do nothing is refused. */
static const char *foreign_option(const struct invocation *invocation, bool settles, bool lists)
{
    for (uint32_t row = 0; row < DEAD_ROW_COUNT; row++) {
        bool is_of_it = row == DEAD_LIMIT ? lists : settles;
        if (invocation_option(invocation, row)->given && !is_of_it) {
            return DEAD_ROWS[row].name;
        }
    }
    return NULL;
}

static int run_dead(struct invocation *invocation)
{
    const char *group = invocation->words[0];
    const char *verb = invocation->words[1];
    bool is_list = strcmp(verb, "list") == 0;
    bool is_show = strcmp(verb, "show") == 0;
    bool is_redrive = strcmp(verb, "redrive") == 0;
    bool is_discard = strcmp(verb, "discard") == 0;
    if (!name_is_group(bytes_from_string(group))) {
        return group_refuse_name(invocation, group);
    }
    if (!is_list && !is_show && !is_redrive && !is_discard) {
        return invocation_fail(invocation, EXIT_WRONG_USAGE,
                               "there is no '%s' of dead letters: list, show, redrive, discard",
                               verb);
    }
    if (invocation->word_count != (is_show ? 3 : 2)) {
        return invocation_fail(invocation, EXIT_WRONG_USAGE, "usage: ternmq group dead %s %s%s",
                               group, verb, is_show ? " ID" : "");
    }
    const char *foreign = foreign_option(invocation, is_redrive || is_discard, is_list);
    if (foreign != NULL) {
        return invocation_fail(invocation, EXIT_WRONG_USAGE, "--%s is no option of '%s'", foreign,
                               verb);
    }
    return is_list   ? list(invocation, group)
           : is_show ? show(invocation, group, invocation->words[2])
                     : group_redrive_run(invocation, group, is_discard);
}

const struct command GROUP_DEAD_COMMAND = {
    .group = "group",
    .name = "dead",
    .arguments =
        "GROUP list | show ID | redrive | discard [--filter EXPR] [--rate N/s] [--dry-run]",
    .summary = "List, show, redrive or discard the dead letters of a consumer group",
    .help =
        "  ternmq group dead billing list                       what is open: origin, attempts, why\n"
        "  ternmq group dead billing show 0/17                  one of them, with its body\n"
        "  ternmq group dead billing redrive                    each back to its topic and queue\n"
        "  ternmq group dead billing redrive --filter \"region = 'EU'\" --rate 100/s\n"
        "  ternmq group dead billing discard --filter test      give up for good\n"
        "\n"
        "A message that failed for the last time, or that retention came for, is a message of the topic\n"
        "%DLQ%GROUP. What was redriven or discarded once is not again: where that stands is the group\n"
        "%DLQ%GROUP, which 'ternmq group seek' can set back as long as the messages are kept.\n"
        "Redriven messages are new ones of their queue: every group that reads the topic gets them.\n"
        "What --filter does not want stays, and so does what cannot go back. Ctrl-C ends it between two\n"
        "messages; a broker that dies in between may have one batch of 256 twice. The exit status is 1\n"
        "where not all was done.\n",
    .rows = DEAD_ROWS,
    .row_count = DEAD_ROW_COUNT,
    .words_least = 2,
    .words_most = 3,
    .run = run_dead,
};
