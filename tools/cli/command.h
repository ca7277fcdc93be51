/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command.h - what a command of `ternmq` is, and what it is given to run with.
 *
 * A command has its words, its options beside those that all have, its help, and a function. The
 * program finds the command, reads the options, checks the number of words, and runs it with an
 * invocation; what `run` returns is the exit status. Results go to standard output, everything else
 * to standard error, errors as one line that says what, the value, and what to do.
 *
 * Threads: the one that there is; signal handlers only set `interrupted` and wake the client.
 */
#ifndef TOOLS_CLI_COMMAND_H
#define TOOLS_CLI_COMMAND_H

#include "proto/base/settings.h"
#include "proto/limits.h"
#include "tools/client/ternmq.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

struct invocation;

enum exit_status {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_WRONG_USAGE = 2,
    EXIT_NOBODY_REACHABLE = 3,
};

/* As many words as wanted. */
#define WORDS_ANY 1000000000

struct command {
    const char *group;     /* "topic" of `topic create`; NULL */
    const char *name;      /* "create" */
    const char *arguments; /* what follows, for the first line of the help */
    const char *summary;   /* one line for the list of commands */
    const char *help;      /* examples, then what must be known */
    const struct setting *rows;
    uint32_t row_count;
    int words_least; /* after the command's own */
    int words_most;
    int (*run)(struct invocation *invocation);
};

/* All commands, in the order in which help lists them; NULL ends them. */
extern const struct command *const COMMANDS[];

extern const struct command BROKER_LIST_COMMAND;
extern const struct command BROKER_SHOW_COMMAND;
extern const struct command CONSUME_COMMAND;
extern const struct command EXPLAIN_GROUP_COMMAND;
extern const struct command EXPLAIN_MESSAGE_COMMAND;
extern const struct command FILTER_TEST_COMMAND;
extern const struct command GROUP_CREATE_COMMAND;
extern const struct command GROUP_DEAD_COMMAND;
extern const struct command GROUP_DELETE_COMMAND;
extern const struct command GROUP_LIST_COMMAND;
extern const struct command GROUP_MEMBERS_COMMAND;
extern const struct command GROUP_SEEK_COMMAND;
extern const struct command GROUP_SET_COMMAND;
extern const struct command GROUP_SHOW_COMMAND;
extern const struct command INSPECT_COMMAND;
extern const struct command PING_COMMAND;
extern const struct command PRODUCE_COMMAND;
extern const struct command ROUTE_COMMAND;
extern const struct command STATS_COMMAND;
extern const struct command TOPIC_CREATE_COMMAND;
extern const struct command TOPIC_DELETE_COMMAND;
extern const struct command TOPIC_LIST_COMMAND;
extern const struct command TOPIC_SET_COMMAND;
extern const struct command TOPIC_SHOW_COMMAND;

/* The options that every command takes; its own rows follow them. */
enum {
    OPTION_NAMESERVER,
    OPTION_BROKER,
    OPTION_TIMEOUT,
    OPTION_JSON,
    OPTION_HELP,
    OPTION_VERSION,
    OPTION_COMMON_COUNT,
};
extern const struct setting COMMON_OPTIONS[OPTION_COMMON_COUNT];

struct invocation {
    const struct command *command;
    struct setting rows[SETTINGS_ROWS_MAX];
    struct settings settings;
    char **words; /* after the command's own */
    int word_count;
    bool json;
    struct ternmq *client;              /* invocation_client() */
    char broker[ADDRESS_BYTES_MAX + 1]; /* where the value of -b is one that was found */
    bool shows_progress;                /* a line of progress is on the terminal */
    uint64_t progress_ms;               /* when progress was shown last, or the command began */
    uint32_t unreachable_ms;            /* how long to wait for somebody; 0: for a restart */
    int said_code;                      /* of the last thing that was waited for and said */
};

/* True once SIGINT, SIGTERM or SIGHUP came: end cleanly. */
extern volatile sig_atomic_t interrupted;

/* The value of a command's own option, by its place among them; of a common one. */
const struct setting_value *invocation_option(const struct invocation *invocation, uint32_t row);
const struct setting_value *invocation_common(const struct invocation *invocation, uint32_t row);

/* The next value of a command's own list option; as settings_list_next(). */
const char *invocation_list_next(const struct invocation *invocation, uint32_t row,
                                 uint32_t *index);

/* Prints one line on standard error and gives the exit status back: `return fail(...)`. */
int invocation_fail(struct invocation *invocation, enum exit_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same of an error of the client, with what to do about it. The format says what failed. */
int invocation_fail_with(struct invocation *invocation, const struct ternmq_error *error,
                         const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The same of an option's text that is no time and none of the `forms` that may stand there beside one; it says
 * where only the unit is missing. Gives EXIT_WRONG_USAGE. */
int invocation_refuse_time(struct invocation *invocation, const char *option, const char *text,
                           const char *forms);

/* The same where a nameserver answers, and knows no broker. */
int invocation_fail_without_broker(struct invocation *invocation);

/* Prints one line on standard error that is no failure. */
void invocation_say(struct invocation *invocation, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Says what is waited for, once for each reason until invocation_stop_waiting(). */
void invocation_say_waiting(struct invocation *invocation, const struct ternmq_error *why);

/* It goes on, which is said if waiting was; what is waited for next is said again. */
void invocation_stop_waiting(struct invocation *invocation);

/* How long a line of progress on a terminal is let stand. */
#define PROGRESS_MS 200

/* Shows a line of progress, unless one was shown just now: on a terminal in place of the one before, each
 * PROGRESS_MS; else as a line of its own, after each 5 s. */
void invocation_progress(struct invocation *invocation, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Takes the line of progress away, before anything else is written where standard output is a terminal, too. */
void invocation_end_progress(struct invocation *invocation);

/* Whether a command that writes all the time, or may go on for ever, shows progress: where standard error is
 * a terminal and standard output is none. */
bool invocation_shows_progress(void);

/*
 * The client that the options name, opened when first asked for. NULL: it was said why, and
 * `*status_out` is the exit status.
 */
struct ternmq *invocation_client(struct invocation *invocation, int *status_out);

/* Calls a method; on failure says what failed and gives the exit status, else EXIT_DONE. */
int invocation_call(struct invocation *invocation, const struct ternmq_call *call,
                    struct ternmq_answer *answer_out, const char *what);

/* Where the invocation goes: "the nameserver at ..", "the broker at ..", for lines to people. */
const char *invocation_target(const struct invocation *invocation);

/* Gives back what the invocation holds. */
void invocation_close(struct invocation *invocation);

#endif
