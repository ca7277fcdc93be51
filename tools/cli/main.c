/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - the program ternmq: finds the command among the words, reads its options, runs it. */
#include "tools/cli/command.h"
#include "tools/cli/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct command *const COMMANDS[] = {
    &TOPIC_CREATE_COMMAND,
    &TOPIC_SET_COMMAND,
    &TOPIC_LIST_COMMAND,
    &TOPIC_SHOW_COMMAND,
    &TOPIC_DELETE_COMMAND,
    &PRODUCE_COMMAND,
    &CONSUME_COMMAND,
    &GROUP_CREATE_COMMAND,
    &GROUP_SET_COMMAND,
    &GROUP_LIST_COMMAND,
    &GROUP_SHOW_COMMAND,
    &GROUP_MEMBERS_COMMAND,
    &GROUP_SEEK_COMMAND,
    &GROUP_DEAD_COMMAND,
    &GROUP_DELETE_COMMAND,
    &EXPLAIN_GROUP_COMMAND,
    &EXPLAIN_MESSAGE_COMMAND,
    &BROKER_LIST_COMMAND,
    &BROKER_SHOW_COMMAND,
    &ROUTE_COMMAND,
    &PING_COMMAND,
    &STATS_COMMAND,
    &FILTER_TEST_COMMAND,
    &INSPECT_COMMAND,
    NULL,
};

volatile sig_atomic_t interrupted;

/* The invocation that signals are for. */
static struct invocation current;

static void on_signal(int signal)
{
    (void)signal;
    int kept = errno;
    interrupted = 1;
    if (current.client != NULL) {
        ternmq_interrupt(current.client);
    }
    errno = kept;
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    if (signal(SIGHUP, SIG_IGN) != SIG_IGN) { /* not under nohup */
        (void)sigaction(SIGHUP, &action, NULL);
    }
    (void)signal(SIGPIPE, SIG_IGN); /* A closed pipe is an end of output, not of the program. */
}

/* ------------------------------------------------------------------ help */

static void print_overview(FILE *to)
{
    (void)fputs("ternmq - produce, consume and administer TernMQ\n\n"
                "  ternmq topic create orders\n"
                "  ternmq produce orders 'a message' 'and another'\n"
                "  ternmq consume orders\n\n"
                "Commands:\n",
                to);
    for (const struct command *const *command = COMMANDS; *command != NULL; command++) {
        char name[32];
        const char *group = (*command)->group;
        (void)snprintf(name, sizeof(name), "%s%s%s", group == NULL ? "" : group,
                       group == NULL ? "" : " ", (*command)->name);
        (void)fprintf(to, "  %-15s %s\n", name, (*command)->summary);
    }
    (void)fputs("\nEach has its own help: ternmq produce --help. Options that all have:\n\n", to);
    settings_print_help(COMMON_OPTIONS, OPTION_COMMON_COUNT, to);
    (void)fputs(
        "\nSizes take K, M or G; durations have a unit: ms, s, m, h or d. Exit status: 0 done,\n"
        "1 failed, 2 wrong usage, 3 nobody reachable.\n",
        to);
}

static void print_group(const char *group, FILE *to)
{
    (void)fprintf(to, "ternmq %s - commands:\n\n", group);
    for (const struct command *const *command = COMMANDS; *command != NULL; command++) {
        if ((*command)->group != NULL && strcmp((*command)->group, group) == 0) {
            (void)fprintf(to, "  ternmq %s %s %s\n      %s\n", group, (*command)->name,
                          (*command)->arguments, (*command)->summary);
        }
    }
    (void)fprintf(to, "\nEach has its own help: ternmq %s COMMAND --help\n", group);
}

static void print_command(const struct command *command, FILE *to)
{
    const char *group = command->group == NULL ? "" : command->group;
    const char *space = command->group == NULL ? "" : " ";
    (void)fprintf(to, "ternmq %s%s%s %s\n\n%s.\n\n%s\n", group, space, command->name,
                  command->arguments, command->summary, command->help);
    if (command->row_count > 0) {
        (void)fputs("Options:\n", to);
        settings_print_help(command->rows, command->row_count, to);
        (void)fputs("\n", to);
    }
    (void)fputs("Options of all commands:\n", to);
    settings_print_help(COMMON_OPTIONS, OPTION_COMMON_COUNT, to);
}

/* --------------------------------------------------- finding the command */

/* Whether an argument is a common option, and then whether its value is the next argument. */
static bool is_common_option(const char *argument, bool *takes_next)
{
    for (uint32_t row = 0; row < OPTION_COMMON_COUNT; row++) {
        const struct setting *option = &COMMON_OPTIONS[row];
        bool has_value = option->type != SETTING_FLAG;
        size_t length = strlen(option->name);
        if (strncmp(argument, "--", 2) == 0 && strncmp(argument + 2, option->name, length) == 0 &&
            (argument[2 + length] == '\0' || argument[2 + length] == '=')) {
            *takes_next = has_value && argument[2 + length] == '\0';
            return true;
        }
        if (option->alias != 0 && argument[0] == '-' && argument[1] == option->alias) {
            *takes_next = has_value && argument[2] == '\0';
            return true;
        }
    }
    return false;
}

/* The next word from `*at` on that is no common option or its value; moves *at past it. */
static const char *next_word(int argc, char **argv, int *at)
{
    while (*at < argc) {
        const char *argument = argv[(*at)++];
        bool takes_next = false;
        if (argument[0] != '-' || argument[1] == '\0') {
            return argument;
        }
        if (!is_common_option(argument, &takes_next)) {
            return argument;
        }
        *at += takes_next ? 1 : 0;
    }
    return NULL;
}

static bool group_exists(const char *word)
{
    for (const struct command *const *command = COMMANDS; *command != NULL; command++) {
        if ((*command)->group != NULL && strcmp((*command)->group, word) == 0) {
            return true;
        }
    }
    return false;
}

static const struct command *find_command(const char *group, const char *name)
{
    for (const struct command *const *command = COMMANDS; *command != NULL; command++) {
        bool same_group = group == NULL
                              ? (*command)->group == NULL
                              : (*command)->group != NULL && strcmp((*command)->group, group) == 0;
        if (same_group && strcmp((*command)->name, name) == 0) {
            return *command;
        }
    }
    return NULL;
}

static bool is_given(int argc, char **argv, const char *flag, const char *alias)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], flag) == 0 || (alias != NULL && strcmp(argv[i], alias) == 0)) {
            return true;
        }
    }
    return false;
}

static int print_version(void)
{
    (void)printf("ternmq " TERNMQ_VERSION "\n");
    return EXIT_DONE;
}

/* `help`, `help topic`, `help topic create`: the words are from argv[at] on. */
static int run_help(int argc, char **argv, int at)
{
    const char *word = next_word(argc, argv, &at);
    const char *second = word == NULL ? NULL : next_word(argc, argv, &at);
    bool is_group = word != NULL && group_exists(word);
    if (word == NULL) {
        print_overview(stdout);
        return EXIT_DONE;
    }
    if (is_group && second == NULL) {
        print_group(word, stdout);
        return EXIT_DONE;
    }
    const struct command *command = find_command(is_group ? word : NULL, is_group ? second : word);
    if (command == NULL) {
        (void)fprintf(stderr, "ternmq: there is no command '%s%s%s'; see ternmq help\n", word,
                      is_group ? " " : "", is_group ? second : "");
        return EXIT_WRONG_USAGE;
    }
    print_command(command, stdout);
    return EXIT_DONE;
}

/* Without a command: help, version, or wrong usage. */
static int run_without_command(int argc, char **argv)
{
    if (is_given(argc, argv, "--version", NULL)) {
        return print_version();
    }
    bool help = is_given(argc, argv, "--help", "-h");
    print_overview(help ? stdout : stderr);
    return help ? EXIT_DONE : EXIT_WRONG_USAGE;
}

static int run_group(const char *group, const char *word, int argc, char **argv)
{
    if (word == NULL || word[0] == '-') {
        bool help = is_given(argc, argv, "--help", "-h");
        print_group(group, help ? stdout : stderr);
        return help ? EXIT_DONE : EXIT_WRONG_USAGE;
    }
    (void)fprintf(stderr, "ternmq: there is no command '%s %s'; see ternmq %s --help\n", group,
                  word, group);
    return EXIT_WRONG_USAGE;
}

/* --------------------------------------------------------------- running */

/* Reads options and words. Gives an exit status, or -1: run it. */
static int prepare(struct invocation *invocation, const struct command *command, int argc,
                   char **argv)
{
    invocation->command = command;
    invocation->progress_ms = clock_run_ms();
    memcpy(invocation->rows, COMMON_OPTIONS, sizeof(COMMON_OPTIONS));
    if (command->row_count > 0) {
        memcpy(invocation->rows + OPTION_COMMON_COUNT, command->rows,
               command->row_count * sizeof(*command->rows));
    }
    if (!settings_parse(&invocation->settings, invocation->rows,
                        OPTION_COMMON_COUNT + command->row_count, argc, argv)) {
        return invocation_fail(invocation, EXIT_WRONG_USAGE, "%s", invocation->settings.error);
    }
    if (invocation_common(invocation, OPTION_HELP)->given) {
        print_command(command, stdout);
        return EXIT_DONE;
    }
    if (invocation_common(invocation, OPTION_VERSION)->given) {
        return print_version();
    }
    invocation->json = invocation_common(invocation, OPTION_JSON)->given;
    int own_words = command->group == NULL ? 1 : 2;
    invocation->words = invocation->settings.positional + own_words;
    invocation->word_count = invocation->settings.positional_count - own_words;
    if (invocation->word_count < command->words_least ||
        invocation->word_count > command->words_most) {
        const char *group = command->group == NULL ? "" : command->group;
        return invocation_fail(
            invocation, EXIT_WRONG_USAGE, "%s; usage: ternmq %s%s%s %s",
            invocation->word_count < command->words_least ? "an argument is missing"
                                                          : "there is an argument too many",
            group, command->group == NULL ? "" : " ", command->name, command->arguments);
    }
    if (invocation_common(invocation, OPTION_NAMESERVER)->given &&
        invocation_common(invocation, OPTION_BROKER)->given) {
        return invocation_fail(invocation, EXIT_WRONG_USAGE,
                               "-n and -b exclude each other: -b talks to one broker, without a "
                               "nameserver");
    }
    return -1;
}

/* What was written must have arrived, or the work was not done. */
static int close_output(struct invocation *invocation, int status)
{
    if (fflush(stdout) == 0 && ferror(stdout) == 0) {
        return status;
    }
    if (errno == EPIPE || status != EXIT_DONE) {
        return status;
    }
    return invocation_fail(invocation, EXIT_FAILED, "writing to standard output failed: %s",
                           strerror(errno));
}

int main(int argc, char **argv)
{
    int at = 1;
    const char *word = next_word(argc, argv, &at);
    if (word != NULL && strcmp(word, "help") == 0) {
        return run_help(argc, argv, at);
    }
    if (word != NULL && strcmp(word, "version") == 0) {
        return print_version();
    }
    if (word == NULL) {
        return run_without_command(argc, argv);
    }
    const struct command *command = NULL;
    if (group_exists(word)) {
        const char *second = next_word(argc, argv, &at);
        command = second == NULL ? NULL : find_command(word, second);
        if (command == NULL) {
            return run_group(word, second, argc, argv);
        }
    } else {
        command = find_command(NULL, word);
    }
    if (command == NULL) {
        (void)fprintf(stderr, "ternmq: there is no %s '%s'%s; see ternmq --help\n",
                      word[0] == '-' ? "option" : "command", word,
                      word[0] == '-' ? " before the command" : "");
        return EXIT_WRONG_USAGE;
    }

    catch_signals();
    int status = prepare(&current, command, argc, argv);
    if (status < 0) {
        status = command->run(&current);
    }
    status = close_output(&current, status);
    invocation_close(&current);
    return status;
}
