/* SPDX-License-Identifier: Apache-2.0 */
/* explain_message.c - what became of a message, from the answer of message.trace. */
#include "proto/cursor.h"
#include "tools/client/answer_map.h"
#include "tools/client/explain.h"

#include <stdio.h>

/* Groups that are told of by name; the others are counted. */
enum { GROUPS_NAMED = 16 };

/* The last event of a group. */
struct last_event {
    struct bytes member; /* empty: none */
    struct bytes outcome;
    uint64_t attempt;
    uint64_t at_ms;
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

static bool take_event(struct cursor *cursor, struct bytes *group, struct last_event *event)
{
    event->member = BYTES_OF("");
    return cursor_take_array_of(cursor, 5) && cursor_take_text(cursor, group) &&
           (cursor_try_nil(cursor) || cursor_take_text(cursor, &event->member)) &&
           cursor_take_uint(cursor, &event->attempt) && cursor_take_uint(cursor, &event->at_ms) &&
           cursor_take_text(cursor, &event->outcome);
}

/* The last event of a group; false: there is none. */
static bool find_last(const struct message *message, struct bytes group,
                      struct last_event *last_out)
{
    struct cursor cursor;
    uint32_t count = 0;
    bool is_found = false;
    if (!answer_find(message->answer, "deliveries", &cursor) ||
        !cursor_take_array(&cursor, &count)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct bytes of;
        struct last_event event;
        if (!take_event(&cursor, &of, &event)) {
            return is_found;
        }
        if (bytes_equal(of, group)) {
            *last_out = event;
            is_found = true;
        }
    }
    return is_found;
}

/* -------------------------------------------------------------------- groups */

static void say_settled(const struct message *message, struct bytes group)
{
    struct last_event last;
    const struct explained_text name = explained_name(group);
    if (!find_last(message, group, &last)) {
        explained_say(
            message->explained,
            "Group %s is done with it: its filter did not want it, or that was before %s.",
            name.text,
            explained_distance(explained_number(message->answer, "since"), message->now_ms).text);
        return;
    }
    if (bytes_equal(last.outcome, BYTES_OF("dead")) ||
        bytes_equal(last.outcome, BYTES_OF("skipped"))) {
        bool is_dead = bytes_equal(last.outcome, BYTES_OF("dead"));
        explained_warn(message->explained, "Group %s: %s %s, after %s.", name.text,
                       is_dead ? "it became a dead letter" : "it was passed over, as it was gone,",
                       explained_distance(last.at_ms, message->now_ms).text,
                       explained_count(last.attempt, "attempt").text);
        return;
    }
    explained_say(message->explained, "Group %s is done with it: %s %s%s%s.", name.text,
                  explained_name(last.outcome).text,
                  explained_distance(last.at_ms, message->now_ms).text,
                  last.member.length > 0 ? " by member " : "", explained_name(last.member).text);
}

static void say_failed(const struct message *message, struct bytes row, const char *what)
{
    struct bytes reason = explained_bytes(row, "reason");
    uint64_t failed = explained_number(row, "failed");
    explained_warn(
        message->explained, "Group %s: %s, attempt %llu%s%s.",
        explained_name(explained_bytes(row, "group")).text, what, (unsigned long long)failed + 1,
        reason.length > 0 ? "; the one before failed: " : "", explained_name(reason).text);
}

static void say_leased(const struct message *message, struct bytes row)
{
    struct bytes member = explained_bytes(row, "member");
    explained_say(
        message->explained, "Group %s: it is with %s%s, attempt %llu, whose lease ends %s.",
        explained_name(explained_bytes(row, "group")).text,
        member.length > 0 ? "member " : "a member of before the broker's start",
        explained_name(member).text, (unsigned long long)explained_number(row, "failed") + 1,
        explained_distance(explained_number(row, "until"), message->now_ms).text);
}

static void say_group(const struct message *message, struct bytes row)
{
    struct bytes group = explained_bytes(row, "group");
    struct bytes state = explained_bytes(row, "state");
    if (bytes_equal(state, BYTES_OF("settled"))) {
        say_settled(message, group);
    } else if (bytes_equal(state, BYTES_OF("leased"))) {
        say_leased(message, row);
    } else if (bytes_equal(state, BYTES_OF("waiting"))) {
        char what[sizeof(struct explained_text) + 32];
        (void)snprintf(what, sizeof(what), "it is tried again %s",
                       explained_distance(explained_number(row, "until"), message->now_ms).text);
        say_failed(message, row, what);
    } else if (bytes_equal(state, BYTES_OF("dying"))) {
        say_failed(message, row, "it is on its way to the dead letters");
    } else if (bytes_equal(state, BYTES_OF("blocked"))) {
        explained_say(message->explained,
                      "Group %s: it waits for an earlier message of its key to be done.",
                      explained_name(group).text);
    } else if (bytes_equal(state, BYTES_OF("ready")) && explained_number(row, "failed") > 0) {
        say_failed(message, row, "it can be given out again now");
    } else {
        explained_say(message->explained, "Group %s: it is %s.", explained_name(group).text,
                      bytes_equal(state, BYTES_OF("ready")) ? "free to be given out now"
                                                            : "not given out yet");
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
        explained_say(message->explained, "No group reads its topic on this broker.");
    }
    for (uint32_t i = 0; i < count && i < GROUPS_NAMED; i++) {
        struct bytes row;
        if (!cursor_take_span(&cursor, &row)) {
            return false;
        }
        say_group(message, row);
    }
    if (count > GROUPS_NAMED) {
        explained_say(message->explained, "There are %s more that read its topic.",
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
