/* SPDX-License-Identifier: Apache-2.0 */
/* explain_message.c - what became of a message, from the answer of message.trace. */
#include "proto/cursor.h"
#include "tools/client/answer_map.h"
#include "tools/client/explain.h"

#include <stdio.h>
#include <string.h>

/* Groups that are told of by name; the others are counted. */
enum { GROUPS_NAMED = 16 };

struct event {
    struct bytes member; /* empty: none */
    struct bytes outcome;
    uint64_t attempt; /* 0: none */
    uint64_t at_ms;
};

/* What is known to have happened in a group. */
struct past {
    bool is_known;
    struct event last;
    uint32_t expired_count;
    struct event expired; /* the last of these */
};

/* The end of a sentence. */
struct clause {
    char text[480];
};

struct message {
    struct explained *explained;
    struct bytes answer;
    uint64_t now_ms;
};

static bool is_true(struct bytes map, const char *key)
{
    struct cursor cursor;
    bool value = false;
    return answer_find(map, key, &cursor) && cursor_take_bool(&cursor, &value) && value;
}

/* -------------------------------------------------------------------- events */

static bool take_event(struct cursor *cursor, struct bytes *group, struct event *event)
{
    event->member = BYTES_OF("");
    return cursor_take_array_of(cursor, 5) && cursor_take_text(cursor, group) &&
           (cursor_try_nil(cursor) || cursor_take_text(cursor, &event->member)) &&
           cursor_take_uint(cursor, &event->attempt) && cursor_take_uint(cursor, &event->at_ms) &&
           cursor_take_text(cursor, &event->outcome);
}

static bool is(struct bytes text, const char *other)
{
    return bytes_equal(text, bytes_from_string(other));
}

static struct past past_of(const struct message *message, struct bytes group)
{
    struct past past = {.is_known = false};
    struct cursor cursor;
    uint32_t count = 0;
    if (!answer_find(message->answer, "deliveries", &cursor) ||
        !cursor_take_array(&cursor, &count)) {
        return past;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct bytes of;
        struct event event;
        if (!take_event(&cursor, &of, &event)) {
            return past;
        }
        if (!bytes_equal(of, group)) {
            continue;
        }
        past.is_known = true;
        past.last = event;
        if (is(event.outcome, "expired")) {
            past.expired = event;
            past.expired_count++;
        }
    }
    return past;
}

/* The command line takes dead letters under this name, and what it does with them behind it. */
static const char DEAD_COMMAND[] = "ternmq group dead";

static bool is_dead_command(struct bytes member)
{
    size_t length = strlen(DEAD_COMMAND);
    return member.length >= length && memcmp(member.data, DEAD_COMMAND, length) == 0 &&
           (member.length == length || member.data[length] == ' ');
}

/* "member one"; the command line is no member. */
static struct explained_text member_text(struct bytes member)
{
    struct explained_text text = {.text = ""};
    (void)snprintf(text.text, sizeof(text.text), "%s%.180s",
                   is_dead_command(member) ? "" : "member ",
                   is_dead_command(member) ? DEAD_COMMAND : explained_name(member).text);
    return text;
}

/* What an ack was. */
static const char *acked_word(struct bytes member)
{
    return is(member, "ternmq group dead redrive")   ? "redriven"
           : is(member, "ternmq group dead discard") ? "discarded"
                                                     : "acked";
}

/* "; the lease of attempt 1, with member one, expired 3.0 s ago"; empty where none did. */
static struct clause expired_clause(const struct message *message, const struct past *past)
{
    struct clause clause = {.text = ""};
    const struct event *expired = &past->expired;
    bool has_member = expired->member.length > 0;
    struct explained_text name = {.text = ""};
    if (has_member) {
        name = member_text(expired->member);
    }
    unsigned long long attempt = expired->attempt;
    struct explained_text ago = explained_distance(expired->at_ms, message->now_ms);
    if (past->expired_count == 1) {
        (void)snprintf(clause.text, sizeof(clause.text),
                       "; the lease of attempt %llu%s%s%s expired %s", attempt,
                       has_member ? ", with " : "", name.text, has_member ? "," : "", ago.text);
    } else if (past->expired_count > 1) {
        (void)snprintf(clause.text, sizeof(clause.text),
                       "; leases expired, the last, of attempt %llu%s%s, %s", attempt,
                       has_member ? " with " : "", name.text, ago.text);
    }
    return clause;
}

/* -------------------------------------------------------------------- settled */

/* Nothing is known but that the group is not to have it: what can have been so. */
static void say_passed(const struct message *message, struct bytes row)
{
    uint64_t stored_ms = explained_number(message->answer, "stored_at");
    uint64_t since_ms = explained_number(message->answer, "since");
    bool may_be_older = stored_ms <= since_ms; /* also where it is not known when it was stored */
    struct explained_text older = explained_distance(since_ms, message->now_ms);
    explained_say(message->explained,
                  "Group %s goes on behind it, and no event says why: %sit began or was set behind "
                  "it%s%s.",
                  explained_name(explained_bytes(row, "group")).text,
                  is_true(row, "filter") ? "its filter did not want it, or " : "",
                  may_be_older ? ", or that was before the first event that is known, " : "",
                  may_be_older ? older.text : "");
}

static void say_dead(const struct message *message, struct bytes group, const struct past *past)
{
    const struct event *last = &past->last;
    struct explained_text attempts = {.text = ""};
    if (last->attempt > 0) {
        (void)snprintf(attempts.text, sizeof(attempts.text), ", after %.64s",
                       explained_count(last->attempt, "attempt").text);
    }
    explained_warn(message->explained, "Group %s: it %s %s%s%s.", explained_name(group).text,
                   is(last->outcome, "dead") ? "became a dead letter"
                                             : "was passed over, as it was gone,",
                   explained_distance(last->at_ms, message->now_ms).text, attempts.text,
                   expired_clause(message, past).text);
}

static void say_settled(const struct message *message, struct bytes row)
{
    struct bytes group = explained_bytes(row, "group");
    const struct past past = past_of(message, group);
    const struct event *last = &past.last;
    if (!past.is_known) {
        say_passed(message, row);
    } else if (is(last->outcome, "dead") || is(last->outcome, "skipped")) {
        say_dead(message, group, &past);
    } else if (is(last->outcome, "acked")) {
        explained_say(message->explained, "Group %s is done with it: %s %s%s%s%s.",
                      explained_name(group).text, acked_word(last->member),
                      explained_distance(last->at_ms, message->now_ms).text,
                      last->member.length > 0 ? " by " : "",
                      last->member.length > 0 ? member_text(last->member).text : "",
                      expired_clause(message, &past).text);
    } else {
        explained_say(message->explained,
                      "Group %s goes on behind it, without an ack: the last that is known of it is "
                      "that attempt %llu was %s, %s.",
                      explained_name(group).text, (unsigned long long)last->attempt,
                      explained_name(last->outcome).text,
                      explained_distance(last->at_ms, message->now_ms).text);
    }
}

/* ----------------------------------------------------------------------- open */

/* Why the attempt before failed, and which lease expired; empty where there is nothing to tell. */
static struct clause failure_clause(const struct message *message, struct bytes row)
{
    struct clause clause = {.text = ""};
    struct bytes reason = explained_bytes(row, "reason");
    uint64_t failed = explained_number(row, "failed");
    const struct past past = past_of(message, explained_bytes(row, "group"));
    const struct clause expired = expired_clause(message, &past);
    /* The reason of an attempt that expired is just that. */
    bool tells_reason =
        reason.length > 0 && (past.expired_count == 0 || past.expired.attempt != failed);
    (void)snprintf(clause.text, sizeof(clause.text), "%s%.160s%.280s",
                   tells_reason ? "; the one before failed: " : "",
                   tells_reason ? explained_name(reason).text : "", expired.text);
    return clause;
}

static void say_failed(const struct message *message, struct bytes row, const char *what)
{
    explained_warn(message->explained, "Group %s: %s, attempt %llu%s.",
                   explained_name(explained_bytes(row, "group")).text, what,
                   (unsigned long long)explained_number(row, "failed") + 1,
                   failure_clause(message, row).text);
}

static void say_dying(const struct message *message, struct bytes row)
{
    uint64_t failed = explained_number(row, "failed"); /* 0: retention came for it */
    explained_warn(message->explained, "Group %s: it is on its way to the dead letters%s%s%s.",
                   explained_name(explained_bytes(row, "group")).text, failed > 0 ? ", after " : "",
                   failed > 0 ? explained_count(failed, "attempt").text : "",
                   failure_clause(message, row).text);
}

static void say_leased(const struct message *message, struct bytes row)
{
    struct bytes member = explained_bytes(row, "member");
    explained_say(message->explained,
                  "Group %s: it is with %s%s, attempt %llu, whose lease ends %s%s.",
                  explained_name(explained_bytes(row, "group")).text,
                  member.length > 0 ? "" : "a member whose name is not known",
                  member.length > 0 ? member_text(member).text : "",
                  (unsigned long long)explained_number(row, "failed") + 1,
                  explained_due(explained_number(row, "until"), message->now_ms).text,
                  failure_clause(message, row).text);
}

/* The group is to come to it. */
static void say_ahead(const struct message *message, struct bytes group)
{
    const struct past past = past_of(message, group);
    if (!past.is_known) {
        explained_say(message->explained, "Group %s: it is not given out yet.",
                      explained_name(group).text);
        return;
    }
    explained_say(message->explained,
                  "Group %s was set back, and has not come to it again: it was %s %s.",
                  explained_name(group).text, explained_name(past.last.outcome).text,
                  explained_distance(past.last.at_ms, message->now_ms).text);
}

static void say_waiting(const struct message *message, struct bytes row)
{
    struct explained_text due = explained_due(explained_number(row, "until"), message->now_ms);
    char what[sizeof(due) + 32];
    if (explained_number(row, "failed") > 0) {
        (void)snprintf(what, sizeof(what), "it is tried again %s", due.text);
        say_failed(message, row, what);
    } else {
        explained_say(message->explained, "Group %s: it was given back, and is given out again %s.",
                      explained_name(explained_bytes(row, "group")).text, due.text);
    }
}

static void say_group(const struct message *message, struct bytes row)
{
    struct bytes group = explained_bytes(row, "group");
    struct bytes state = explained_bytes(row, "state");
    if (is(state, "settled")) {
        say_settled(message, row);
    } else if (is(state, "leased")) {
        say_leased(message, row);
    } else if (is(state, "waiting")) {
        say_waiting(message, row);
    } else if (is(state, "dying")) {
        say_dying(message, row);
    } else if (is(state, "blocked")) {
        explained_say(message->explained,
                      "Group %s: it waits for an earlier message to be done, for their order.",
                      explained_name(group).text);
    } else if (is(state, "ready") && explained_number(row, "failed") > 0) {
        say_failed(message, row, "it can be given out again now");
    } else if (is(state, "ready")) {
        explained_say(message->explained, "Group %s: it is free to be given out now.",
                      explained_name(group).text);
    } else {
        say_ahead(message, group);
    }
}

static bool say_groups(const struct message *message)
{
    struct cursor cursor;
    uint32_t count = 0;
    if (!answer_find(message->answer, "groups", &cursor) || !cursor_take_array(&cursor, &count)) {
        return false;
    }
    if (count == 0) {
        explained_say(message->explained,
                      "No group reads its topic on this broker, or only broadcast groups "
                      "without a member.");
    }
    for (uint32_t i = 0; i < count && i < GROUPS_NAMED; i++) {
        struct bytes row;
        if (!cursor_take_span(&cursor, &row)) {
            return false;
        }
        say_group(message, row);
    }
    if (count > GROUPS_NAMED) {
        bool are_others = explained_bytes(message->answer, "next").length > 0;
        explained_say(message->explained, "There are %s%s more that read its topic.",
                      are_others ? "at least " : "",
                      explained_count(count - GROUPS_NAMED, "group").text);
    }
    return true;
}

/* ---------------------------------------------------------------------- stored */

static void say_stored(const struct message *message, uint32_t epoch)
{
    uint64_t stored_ms = explained_number(message->answer, "stored_at");
    uint64_t stored_epoch = explained_number(message->answer, "epoch");
    if (is_true(message->answer, "removed")) {
        explained_warn(message->explained, "Retention has removed it.");
        return;
    }
    if (stored_ms == 0) {
        explained_warn(message->explained, "It is being written, or its record cannot be read.");
        return;
    }
    if (epoch != 0 && stored_epoch != epoch) {
        explained_warn(message->explained,
                       "The message of epoch %u at this place is gone: the one that is here is of "
                       "epoch %llu.",
                       epoch, (unsigned long long)stored_epoch);
    }
    explained_say(message->explained, "It was stored %s, in epoch %llu; it is %s disk.",
                  explained_distance(stored_ms, message->now_ms).text,
                  (unsigned long long)stored_epoch,
                  is_true(message->answer, "durable") ? "on" : "not yet known to be on");
}

bool explain_message(struct bytes answer, uint32_t epoch, struct explained *explained_out)
{
    const struct message message = {
        .explained = explained_out,
        .answer = answer,
        .now_ms = explained_number(answer, "now"),
    };
    explained_out->is_well = true;
    explained_out->count = 0;
    say_stored(&message, epoch);
    return say_groups(&message);
}
