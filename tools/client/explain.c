/* SPDX-License-Identifier: Apache-2.0 */
/* explain.c - explanations asked for, and what sentences are made of. */
#include "tools/client/explain.h"

#include "proto/base/utf8.h"
#include "proto/limits.h"
#include "proto/names.h"
#include "proto/writer.h"
#include "tools/client/answer_map.h"
#include "tools/client/client.h"
#include "tools/client/fault.h"
#include "tools/client/ternmq_explain.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --------------------------------------------------------------- sentences */

static void say(struct explained *explained, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

static void say(struct explained *explained, const char *format, va_list arguments)
{
    if (explained->count < EXPLAINED_SENTENCES_MAX) {
        (void)vsnprintf(explained->sentences[explained->count++], EXPLAINED_SENTENCE_BYTES, format,
                        arguments);
    }
}

void explained_say(struct explained *explained, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say(explained, format, arguments);
    va_end(arguments);
}

void explained_warn(struct explained *explained, const char *format, ...)
{
    va_list arguments;
    explained->is_well = false;
    va_start(arguments, format);
    say(explained, format, arguments);
    va_end(arguments);
}

struct explained_text explained_name(struct bytes name)
{
    struct explained_text clean = {.text = ""};
    size_t most = sizeof(clean.text) - 1;
    size_t length = name.length < most ? name.length : most;
    (void)utf8_replace_controls(bytes_make(name.data, length), clean.text);
    return clean;
}

struct explained_text explained_count(uint64_t count, const char *noun)
{
    struct explained_text text;
    (void)snprintf(text.text, sizeof(text.text), "%llu %s%s", (unsigned long long)count, noun,
                   count == 1 ? "" : "s");
    return text;
}

struct explained_text explained_are(uint64_t count, const char *noun)
{
    struct explained_text text;
    (void)snprintf(text.text, sizeof(text.text), "%llu %s%s", (unsigned long long)count, noun,
                   count == 1 ? " is" : "s are");
    return text;
}

struct explained_text explained_distance(uint64_t moment_ms, uint64_t now_ms)
{
    struct explained_text text;
    bool is_past = moment_ms <= now_ms;
    uint64_t distance_ms = is_past ? now_ms - moment_ms : moment_ms - now_ms;
    (void)snprintf(text.text, sizeof(text.text), "%s%.1f s%s", is_past ? "" : "in ",
                   (double)distance_ms / 1000, is_past ? " ago" : "");
    return text;
}

struct explained_text explained_due(uint64_t moment_ms, uint64_t now_ms)
{
    struct explained_text now = {.text = "now"};
    return moment_ms <= now_ms ? now : explained_distance(moment_ms, now_ms);
}

uint64_t explained_number(struct bytes map, const char *key)
{
    uint64_t number = 0;
    return answer_find_uint(map, key, &number) ? number : 0;
}

struct bytes explained_bytes(struct bytes map, const char *key)
{
    struct cursor cursor;
    struct bytes text;
    bool is_there = answer_find(map, key, &cursor) && cursor_take_text(&cursor, &text);
    return is_there ? text : BYTES_OF("");
}

/* -------------------------------------------------------------------- asking */

/* Asks, and copies the answer, whose memory the next step needs. */
static int ask(struct ternmq *client, const struct ternmq_call *call, struct bytes *answer_out,
               char address_out[ADDRESS_TEXT_BYTES], struct ternmq_error *error_out)
{
    struct ternmq_answer answer;
    int code = ternmq_call(client, call, &answer, error_out);
    if (code != TERNMQ_OK) {
        return code;
    }
    uint8_t *copy = malloc(answer.result.length + 1);
    if (copy == NULL) {
        return fault_set(error_out, TERNMQ_NO_MEMORY, TERNMQ_STORED_NO, "no memory for an answer");
    }
    memcpy(copy, answer.result.data, answer.result.length);
    (void)snprintf(address_out, ADDRESS_TEXT_BYTES, "%s", answer.address);
    *answer_out = bytes_make(copy, answer.result.length);
    return TERNMQ_OK;
}

/* Gives sentences and answer out, in memory that the client keeps. */
static int give(struct ternmq *client, const struct explained *explained, struct bytes answer,
                struct ternmq_explanation *explanation_out, struct ternmq_error *error_out)
{
    size_t table_bytes = explained->count * sizeof(const char *);
    size_t text_bytes = explained->count * (size_t)EXPLAINED_SENTENCE_BYTES;
    uint8_t *kept = client_keep(client, table_bytes + text_bytes + answer.length + 1);
    if (kept == NULL) {
        return fault_set(error_out, TERNMQ_NO_MEMORY, TERNMQ_STORED_NO,
                         "no memory for an explanation");
    }
    const char **table = (const char **)(void *)kept;
    char *texts = (char *)kept + table_bytes;
    memcpy(texts, explained->sentences, text_bytes);
    for (uint32_t i = 0; i < explained->count; i++) {
        table[i] = texts + i * (size_t)EXPLAINED_SENTENCE_BYTES;
    }
    uint8_t *copy = kept + table_bytes + text_bytes;
    memcpy(copy, answer.data, answer.length);
    *explanation_out = (struct ternmq_explanation){
        .is_well = explained->is_well,
        .count = explained->count,
        .sentences = table,
        .answer = ternmq_bytes(copy, answer.length),
    };
    return TERNMQ_OK;
}

/* Explains what was asked for with `call`: a group, or a message of `epoch`. */
static int explain(struct ternmq *client, const struct ternmq_call *call, bool is_group,
                   uint32_t epoch, struct ternmq_explanation *explanation_out,
                   struct ternmq_error *error_out)
{
    char address[ADDRESS_TEXT_BYTES];
    struct bytes answer;
    int code = ask(client, call, &answer, address, error_out);
    if (code != TERNMQ_OK) {
        return code;
    }
    struct explained *explained = malloc(sizeof(*explained));
    if (explained == NULL) {
        code = fault_set(error_out, TERNMQ_NO_MEMORY, TERNMQ_STORED_NO,
                         "no memory for an explanation");
    } else if (!(is_group ? explain_group(answer, explained)
                          : explain_message(answer, epoch, explained))) {
        code = fault_set(error_out, TERNMQ_PROTOCOL, TERNMQ_STORED_NO,
                         "%s answered nothing that could be explained", address);
    } else {
        code = give(client, explained, answer, explanation_out, error_out);
    }
    free(explained);
    free((uint8_t *)(uintptr_t)answer.data);
    return code;
}

TERNMQ_API int ternmq_explain_group(struct ternmq *client, const char *broker, const char *group,
                                    struct ternmq_explanation *explanation_out,
                                    struct ternmq_error *error_out)
{
    if (group == NULL || !name_is_any_group(bytes_from_string(group))) {
        return fault_set(error_out, TERNMQ_BAD_ARGUMENT, TERNMQ_STORED_NO,
                         "'%s' is no name of a group", group == NULL ? "" : group);
    }
    uint8_t room[GROUP_ANY_NAME_BYTES_MAX + 16];
    struct writer writer = writer_over(room, sizeof(room));
    writer_put_map(&writer, 1);
    writer_put_key_string(&writer, "name", group);
    const struct ternmq_call call = {
        .to = broker == NULL ? TERNMQ_TO_ANY_BROKER : TERNMQ_TO_BROKER,
        .to_name = broker,
        .method = "group.show",
        .arguments = ternmq_bytes(room, writer_length(&writer)),
    };
    return explain(client, &call, true, 0, explanation_out, error_out);
}

TERNMQ_API int ternmq_explain_message(struct ternmq *client, const char *topic, uint32_t queue,
                                      uint64_t offset, uint32_t epoch,
                                      struct ternmq_explanation *explanation_out,
                                      struct ternmq_error *error_out)
{
    if (topic == NULL || !name_is_any_topic(bytes_from_string(topic))) {
        return fault_set(error_out, TERNMQ_BAD_ARGUMENT, TERNMQ_STORED_NO,
                         "'%s' is no name of a topic", topic == NULL ? "" : topic);
    }
    uint8_t room[TOPIC_NAME_BYTES_MAX + 64];
    struct writer writer = writer_over(room, sizeof(room));
    writer_put_map(&writer, 3);
    writer_put_key_string(&writer, "topic", topic);
    writer_put_key_uint(&writer, "queue", queue);
    writer_put_key_uint(&writer, "offset", offset);
    const struct ternmq_call call = {
        .to = TERNMQ_TO_TOPIC,
        .to_name = topic,
        .queue = queue,
        .method = "message.trace",
        .arguments = ternmq_bytes(room, writer_length(&writer)),
    };
    return explain(client, &call, false, epoch, explanation_out, error_out);
}
