/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fault.c - fills `struct ternmq_error`; the public codes are those of proto/error.def.
 */
#include "tools/client/fault.h"

#include "proto/cursor.h"
#include "proto/error.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

/* The installed header repeats the table, because it includes nothing: keep them the same. */
#define ERROR(name, code, text) static_assert(TERNMQ_##name == (code), "ternmq.h has " #name);
#include "proto/error.def"
#undef ERROR
static_assert((int)TERNMQ_STORED_MAYBE == (int)ERROR_STORED_MAYBE, "one order");
static_assert((int)TERNMQ_STORED_YES == (int)ERROR_STORED_YES, "one order");

TERNMQ_API const char *ternmq_version(void)
{
    return TERNMQ_VERSION;
}

TERNMQ_API const char *ternmq_code_name(int code)
{
    switch (code) {
    case TERNMQ_UNREACHABLE:
        return "UNREACHABLE";
    case TERNMQ_LOST:
        return "LOST";
    case TERNMQ_TIMED_OUT:
        return "TIMED_OUT";
    case TERNMQ_PROTOCOL:
        return "PROTOCOL";
    case TERNMQ_NO_MEMORY:
        return "NO_MEMORY";
    case TERNMQ_USAGE:
        return "USAGE";
    case TERNMQ_INTERRUPTED:
        return "INTERRUPTED";
    case TERNMQ_CLOSED:
        return "CLOSED";
    case TERNMQ_FULL:
        return "FULL";
    case TERNMQ_NOTHING:
        return "NOTHING";
    case TERNMQ_END:
        return "END";
    default:
        return error_name((enum error)code);
    }
}

static bool code_is_retryable(int code)
{
    return code == TERNMQ_UNREACHABLE || code == TERNMQ_FULL ||
           error_is_retryable((enum error)code);
}

static void fault_clear(struct ternmq_error *error, int code, enum ternmq_stored stored)
{
    *error = (struct ternmq_error){
        .code = code,
        .name = ternmq_code_name(code),
        .retryable = code_is_retryable(code),
        .stored = stored,
        .limit = -1,
        .value = -1,
        .usage = -1,
        .retry_after_ms = -1,
        .resume = -1,
        .queue = -1,
        .offset = -1,
        .version = -1,
    };
}

int fault_set(struct ternmq_error *error, int code, enum ternmq_stored stored, const char *format,
              ...)
{
    if (error == NULL) {
        return code;
    }

    va_list arguments;
    va_start(arguments, format);
    /* The text may quote the error's own message, which is cleared below. */
    char message[sizeof(error->message)];
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);

    fault_clear(error, code, stored);
    memcpy(error->message, message, sizeof(message));
    return code;
}

static int64_t detail_of(const struct refusal *refusal, enum refusal_detail detail)
{
    uint64_t value;
    return refusal_get(refusal, detail, &value) ? (int64_t)value : -1;
}

void fault_read(struct ternmq_error *error, struct bytes element, const char *address)
{
    struct refusal refusal;
    struct cursor cursor = cursor_over(element);
    if (!refusal_read(&cursor, &refusal)) {
        fault_set(error, TERNMQ_PROTOCOL, TERNMQ_STORED_MAYBE,
                  "%s answered an error of no known form", address);
        return;
    }

    fault_clear(error, (int)refusal.code, (enum ternmq_stored)error_stored(refusal.code));
    error->limit = detail_of(&refusal, REFUSAL_LIMIT);
    error->value = detail_of(&refusal, REFUSAL_VALUE);
    error->usage = detail_of(&refusal, REFUSAL_USAGE);
    error->retry_after_ms = detail_of(&refusal, REFUSAL_RETRY_AFTER_MS);
    error->resume = detail_of(&refusal, REFUSAL_RESUME);
    if (error->resume < 0) {
        error->resume = detail_of(&refusal, REFUSAL_FIRST);
    }
    if (error->resume < 0) {
        error->resume = detail_of(&refusal, REFUSAL_NEXT);
    }
    error->queue = detail_of(&refusal, REFUSAL_QUEUE);
    error->offset = detail_of(&refusal, REFUSAL_OFFSET);
    error->version = detail_of(&refusal, REFUSAL_VERSION);
    if (refusal.key[0] != '\0' && strstr(refusal.message, refusal.key) == NULL) {
        snprintf(error->message, sizeof(error->message), "%s: %s", refusal.key, refusal.message);
    } else {
        snprintf(error->message, sizeof(error->message), "%s", refusal.message);
    }
}

int fault_give(const struct ternmq_error *error, struct ternmq_error *error_out)
{
    if (error_out != NULL) {
        *error_out = *error;
    }
    return error->code;
}

bool fault_can_retry(const struct ternmq_error *error)
{
    /* DEADLINE is retryable for whoever has time left; a call of ours that gets it has none. */
    return error->retryable && error->stored == TERNMQ_STORED_NO && error->code != TERNMQ_DEADLINE;
}
