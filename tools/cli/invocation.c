/* SPDX-License-Identifier: Apache-2.0 */
/* invocation.c - what commands share: options, the client, and how they talk to people. */
#include "tools/cli/command.h"
#include "tools/cli/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How long nobody at all may be reachable before a command gives up: a restart, no more. */
#define UNREACHABLE_MS 3000

#define CONNECT_MS 2000

/* How often progress is a line where nobody sees it move: some lines for a minute of a script's log. */
#define PROGRESS_LINE_MS 5000

const struct setting COMMON_OPTIONS[OPTION_COMMON_COUNT] = {
    [OPTION_NAMESERVER] = {.name = "nameserver",
                           .alias = 'n',
                           .metavar = "HOST:PORT[;HOST:PORT]",
                           .type = SETTING_TEXT,
                           .least = 1,
                           .most = 4096,
                           .help = "Nameservers; else TERNMQ_NAMESERVER, else 127.0.0.1:9876"},
    [OPTION_BROKER] = {.name = "broker",
                       .alias = 'b',
                       .metavar = "HOST:PORT",
                       .type = SETTING_TEXT,
                       .least = 1,
                       .most = 4096,
                       .help = "Talk to this one broker, to no nameserver"},
    [OPTION_TIMEOUT] = {.name = "timeout",
                        .type = SETTING_DURATION,
                        .fallback = "30s",
                        .least = 1,
                        .most = 86400000,
                        .help = "How long a call may take, waits and retries included"},
    [OPTION_JSON] = {.name = "json", .type = SETTING_FLAG, .help = "Write JSON, an object a line"},
    [OPTION_HELP] = {.name = "help",
                     .alias = 'h',
                     .type = SETTING_FLAG,
                     .help = "Show this help and exit"},
    [OPTION_VERSION] = {.name = "version",
                        .type = SETTING_FLAG,
                        .help = "Show the version and exit"},
};

const struct setting_value *invocation_option(const struct invocation *invocation, uint32_t row)
{
    return &invocation->settings.values[OPTION_COMMON_COUNT + row];
}

const struct setting_value *invocation_common(const struct invocation *invocation, uint32_t row)
{
    return &invocation->settings.values[row];
}

const char *invocation_list_next(const struct invocation *invocation, uint32_t row, uint32_t *index)
{
    return settings_list_next(&invocation->settings, OPTION_COMMON_COUNT + row, index);
}

/* ----------------------------------------------------------- to people */

void invocation_end_progress(struct invocation *invocation)
{
    if (invocation->shows_progress) {
        (void)fputs("\r\033[K", stderr);
        invocation->shows_progress = false;
    }
}

int invocation_fail(struct invocation *invocation, enum exit_status status, const char *format, ...)
{
    invocation_end_progress(invocation);
    va_list arguments;
    va_start(arguments, format);
    (void)fputs("ternmq: ", stderr);
    (void)vfprintf(stderr, format, arguments);
    (void)fputc('\n', stderr);
    va_end(arguments);
    return (int)status;
}

int invocation_refuse_time(struct invocation *invocation, const char *option, const char *text,
                           const char *forms)
{
    if (text[0] == '-' && text_is_digits(text + 1)) {
        return invocation_fail(invocation, EXIT_WRONG_USAGE,
                               "--%s %s needs a unit, as in %ss or %sh: it is a time before now",
                               option, text, text, text);
    }
    return invocation_fail(invocation, EXIT_WRONG_USAGE,
                           "--%s '%s' is none of: %s, a time such as 2026-01-31T12:00:00 or -1h",
                           option, text, forms);
}

void invocation_say(struct invocation *invocation, const char *format, ...)
{
    invocation_end_progress(invocation);
    va_list arguments;
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    (void)fputc('\n', stderr);
    va_end(arguments);
}

bool invocation_shows_progress(void)
{
    return isatty(STDERR_FILENO) == 1 && isatty(STDOUT_FILENO) == 0;
}

void invocation_progress(struct invocation *invocation, const char *format, ...)
{
    bool is_terminal = isatty(STDERR_FILENO) == 1;
    uint64_t now_ms = clock_run_ms();
    if (now_ms - invocation->progress_ms < (is_terminal ? PROGRESS_MS : PROGRESS_LINE_MS)) {
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    (void)fputs(is_terminal ? "\r\033[K" : "", stderr);
    (void)vfprintf(stderr, format, arguments);
    (void)fputs(is_terminal ? "" : "\n", stderr);
    (void)fflush(stderr);
    va_end(arguments);
    invocation->progress_ms = now_ms;
    invocation->shows_progress = is_terminal;
}

/* What to do about an error; NULL where the message says it. */
static const char *advice_for(const struct ternmq_error *error)
{
    switch (error->code) {
    case TERNMQ_TOPIC_NOT_FOUND:
        return "'ternmq topic list' shows what there is, 'ternmq broker list' whether its broker is "
               "up, 'ternmq topic create NAME' makes one";
    case TERNMQ_GROUP_NOT_FOUND:
        return "'ternmq group list' shows what there is, 'ternmq group create NAME --topic TOPIC' makes one";
    case TERNMQ_UNREACHABLE:
        return "is it running there? -n, -b or TERNMQ_NAMESERVER say where to look";
    case TERNMQ_BAD_FILTER:
        return "'ternmq filter test --help' shows what can be written";
    case TERNMQ_MIXED_QUEUES:
        return "the topic is routed by key: leave --queue away, or give the key that it has";
    case TERNMQ_WOULD_REORDER:
        return "with --rehash it is done, and keys may change their queue";
    case TERNMQ_NOT_YET_DURABLE:
        return "it is stored: do not send it again";
    case TERNMQ_CONFLICT:
        return "somebody else has changed it: look at it, then try again";
    case TERNMQ_READ_ONLY:
        return "a part of the broker's store is damaged: see its log, and 'ternmq inspect'";
    case TERNMQ_DISK_FULL:
        return "make room on the broker's disk; it goes on by itself";
    case TERNMQ_UNKNOWN_METHOD:
    case TERNMQ_UNKNOWN_ARGUMENT:
        return "the server is of another version, or of the other kind: -n is for nameservers, -b for "
               "brokers";
    default:
        break;
    }
    return error->stored == TERNMQ_STORED_MAYBE ? "it may be stored: look before you send it again"
                                                : NULL;
}

int invocation_fail_with(struct invocation *invocation, const struct ternmq_error *error,
                         const char *format, ...)
{
    char what[512];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(what, sizeof(what), format, arguments);
    va_end(arguments);
    const char *advice = advice_for(error);
    enum exit_status status = error->code == TERNMQ_UNREACHABLE ? EXIT_NOBODY_REACHABLE
                              : error->code == TERNMQ_USAGE || error->code == TERNMQ_BAD_FILTER
                                  ? EXIT_WRONG_USAGE
                                  : EXIT_FAILED;
    return invocation_fail(invocation, status, "%s: %s (%s)%s%s", what, error->message, error->name,
                           advice == NULL ? "" : "; ", advice == NULL ? "" : advice);
}

int invocation_fail_without_broker(struct invocation *invocation)
{
    return invocation_fail(invocation, EXIT_NOBODY_REACHABLE,
                           "%s knows no broker: is one running, and was it given this nameserver?",
                           invocation_target(invocation));
}

/* ------------------------------------------------------------ the client */

/* The client is about to try again later. */
static void on_waiting(void *context, const struct ternmq_error *why, uint64_t waited_ms)
{
    (void)waited_ms;
    /* Who is not reachable is tried for a few seconds only, and then said to be so. */
    if (why->code != TERNMQ_UNREACHABLE) {
        invocation_say_waiting(context, why);
    }
}

void invocation_stop_waiting(struct invocation *invocation)
{
    if (invocation->said_code != TERNMQ_OK) {
        invocation_say(invocation, "going on");
    }
    invocation->said_code = TERNMQ_OK;
}

void invocation_say_waiting(struct invocation *invocation, const struct ternmq_error *why)
{
    if (invocation->said_code == why->code) {
        return;
    }
    invocation->said_code = why->code;
    if (why->code == TERNMQ_WARMING) {
        invocation_say(invocation,
                       "waiting: the nameserver has just started and does not know every "
                       "broker yet (WARMING)");
    } else {
        invocation_say(invocation, "waiting: %s (%s)", why->message, why->name);
    }
}

const char *invocation_target(const struct invocation *invocation)
{
    static char text[512];
    const char *broker = invocation_common(invocation, OPTION_BROKER)->text;
    const char *nameserver = invocation_common(invocation, OPTION_NAMESERVER)->text;
    if (broker != NULL) {
        (void)snprintf(text, sizeof(text), "broker %s", broker);
        return text;
    }
    if (nameserver == NULL) {
        nameserver = getenv("TERNMQ_NAMESERVER");
    }
    if (nameserver == NULL || nameserver[0] == '\0') {
        nameserver = "127.0.0.1:9876";
    }
    (void)snprintf(text, sizeof(text), "nameserver %s", nameserver);
    return text;
}

struct ternmq *invocation_client(struct invocation *invocation, int *status_out)
{
    if (invocation->client != NULL) {
        return invocation->client;
    }
    struct ternmq_options options = {
        .nameservers = invocation_common(invocation, OPTION_NAMESERVER)->text,
        .broker = invocation_common(invocation, OPTION_BROKER)->text,
        .name = "ternmq",
        .timeout_ms = (uint32_t)invocation_common(invocation, OPTION_TIMEOUT)->number,
        .unreachable_ms =
            invocation->unreachable_ms != 0 ? invocation->unreachable_ms : UNREACHABLE_MS,
        .connect_timeout_ms = CONNECT_MS,
        .waiting = on_waiting,
        .context = invocation,
    };
    struct ternmq_error error;
    invocation->client = ternmq_open(&options, &error);
    if (invocation->client == NULL) {
        *status_out = invocation_fail_with(invocation, &error, "%s", invocation_target(invocation));
    }
    return invocation->client;
}

int invocation_call(struct invocation *invocation, const struct ternmq_call *call,
                    struct ternmq_answer *answer_out, const char *what)
{
    int status = EXIT_FAILED;
    struct ternmq *client = invocation_client(invocation, &status);
    if (client == NULL) {
        return status;
    }
    struct ternmq_error error;
    if (ternmq_call(client, call, answer_out, &error) != TERNMQ_OK) {
        return invocation_fail_with(invocation, &error, "%s", what);
    }
    return EXIT_DONE;
}

void invocation_close(struct invocation *invocation)
{
    invocation_end_progress(invocation);
    struct ternmq *client = invocation->client;
    invocation->client = NULL; /* First: a signal may come in between. */
    ternmq_close(client);
}
