/* SPDX-License-Identifier: Apache-2.0 */
/*
 * request.c - envelopes, read in place and written in front of what they carry.
 */
#include "proto/request.h"

#include "proto/limits.h"

/* Takes `[args]` in all its forms; an empty span stands for no arguments. A map is the rest of the
 * frame: who reads it sees that it ends where the frame does. */
static bool take_arguments(struct cursor *cursor, struct bytes *arguments_out)
{
    struct bytes arguments = {NULL, 0};
    uint32_t count;

    if (!cursor_take_array(cursor, &count) || count > 1) {
        return cursor_fail(cursor);
    }
    if (count == 1 && !cursor_try_nil(cursor)) {
        bool is_taken = cursor_peek(cursor) == CURSOR_MAP
                            ? cursor_take_raw(cursor, cursor_left(cursor), &arguments)
                            : cursor_take_array_of(cursor, 0);
        if (!is_taken) {
            return cursor_fail(cursor);
        }
    }
    *arguments_out = arguments;
    return true;
}

enum error request_read(struct bytes frame, struct request *request_out)
{
    struct cursor cursor = cursor_over(frame);
    struct request request = {.type = ENVELOPE_ONE_WAY};
    uint64_t type;
    uint32_t count;

    /* The count is read without the bytes that it promises: a beginning may be all there is. */
    request_out->has_msgid = false;
    request_out->msgid = 0;
    if (frame.length > 0 && (frame.data[0] & 0xf0) == 0x90) {
        count = frame.data[0] & 0x0f;
        cursor.at++;
    } else if (!cursor_take_array(&cursor, &count)) {
        return ERROR_MALFORMED;
    }
    if (!cursor_take_uint(&cursor, &type)) {
        return ERROR_MALFORMED;
    }
    if (type == ENVELOPE_REQUEST && count == 4) {
        request.type = ENVELOPE_REQUEST;
        request.has_msgid = cursor_take_u32(&cursor, &request.msgid);
        request_out->has_msgid = request.has_msgid;
        request_out->msgid = request.msgid;
    } else if (type != ENVELOPE_ONE_WAY || count != 3) {
        return ERROR_MALFORMED;
    }
    if (!cursor_take_text(&cursor, &request.method) ||
        !take_arguments(&cursor, &request.arguments) || !cursor_is_done(&cursor)) {
        return ERROR_MALFORMED;
    }
    *request_out = request;
    return OK;
}

enum error answer_read(struct bytes frame, struct answer *answer_out)
{
    struct cursor cursor = cursor_over(frame);
    struct answer answer = {.failed = false};
    uint64_t type;

    if (!cursor_take_array_of(&cursor, 4) || !cursor_take_uint(&cursor, &type) ||
        type != ENVELOPE_ANSWER || !cursor_take_u32(&cursor, &answer.msgid)) {
        return ERROR_MALFORMED;
    }
    answer.failed = cursor_peek(&cursor) != CURSOR_NIL;
    if (!cursor_take_span(&cursor, &answer.error) || !cursor_take_span(&cursor, &answer.result) ||
        !cursor_is_done(&cursor)) {
        return ERROR_MALFORMED;
    }
    *answer_out = answer;
    return OK;
}

void request_begin(struct writer *writer, uint32_t msgid, const char *method,
                   uint32_t argument_count)
{
    writer_put_array(writer, 4);
    writer_put_uint(writer, ENVELOPE_REQUEST);
    writer_put_uint(writer, msgid);
    writer_put_string(writer, method);
    writer_put_array(writer, 1);
    writer_put_map(writer, argument_count);
}

void one_way_begin(struct writer *writer, const char *method, uint32_t argument_count)
{
    writer_put_array(writer, 3);
    writer_put_uint(writer, ENVELOPE_ONE_WAY);
    writer_put_string(writer, method);
    writer_put_array(writer, 1);
    writer_put_map(writer, argument_count);
}

static void put_answer_head(struct writer *writer, uint32_t msgid)
{
    writer_put_array(writer, 4);
    writer_put_uint(writer, ENVELOPE_ANSWER);
    writer_put_uint(writer, msgid);
}

void answer_begin(struct writer *writer, uint32_t msgid)
{
    put_answer_head(writer, msgid);
    writer_put_nil(writer);
}

void answer_write_nil(struct writer *writer, uint32_t msgid)
{
    answer_begin(writer, msgid);
    writer_put_nil(writer);
}

void answer_write_refusal(struct writer *writer, uint32_t msgid, const struct refusal *refusal,
                          enum error_form form)
{
    put_answer_head(writer, msgid);
    refusal_write(refusal, form, writer);
    writer_put_nil(writer);
}

void answer_put_limits(struct writer *writer)
{
    static const struct {
        const char *key;
        uint64_t value;
    } limits[] = {
        {"message", MESSAGE_BYTES_MAX},
        {"frame", FRAME_BYTES_MAX},
        {"messages", MESSAGES_PER_CALL_MAX},
        {"tag", TAG_BYTES_MAX},
        {"keys", KEYS_MAX},
        {"key", KEY_BYTES_MAX},
        {"properties", PROPERTIES_MAX},
        {"properties_bytes", PROPERTIES_BYTES_MAX},
        {"topic_name", TOPIC_NAME_BYTES_MAX},
        {"group_name", GROUP_NAME_BYTES_MAX},
        {"wait_ms", WAIT_MS_MAX},
        {"max_bytes", PULL_BYTES_MAX},
        {"unanswered", UNANSWERED_MAX},
        {"unanswered_bytes", UNANSWERED_BYTES_MAX},
        {"parked", PARKED_MAX},
    };
    const uint32_t count = sizeof(limits) / sizeof(limits[0]);

    writer_put_string(writer, "limits");
    writer_put_map(writer, count);
    for (uint32_t i = 0; i < count; i++) {
        writer_put_key_uint(writer, limits[i].key, limits[i].value);
    }
}
