/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - ternmq-bench: the command line. What it asks for is done by runs.c.
 */
#include "proto/base/bytes.h"
#include "proto/base/contract.h"
#include "proto/base/settings.h"
#include "proto/limits.h"
#include "tools/bench/options.h"
#include "tools/bench/runs.h"
#include "tools/client/ternmq.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const MODE_NAMES[MODE_COUNT] = {
    [MODE_PRODUCE] = "produce", [MODE_CONSUME] = "consume",   [MODE_BOTH] = "both",
    [MODE_LATENCY] = "latency", [MODE_CATCH_UP] = "catch-up", [MODE_GROUPS] = "groups",
};

static void on_signal(int signal)
{
    (void)signal;
    plan_interrupt();
}

static void print_help(void)
{
    (void)fputs(
        "ternmq-bench - how fast a broker takes and gives messages\n\n"
        "  ternmq-bench produce                           acknowledged messages a second\n"
        "  ternmq-bench consume --size 100 --batch 1000   the same messages read, again and again\n"
        "  ternmq-bench both --durability memory          produced and consumed at the same time\n"
        "  ternmq-bench latency --rate 10000              at a fixed rate, from the moment at which\n"
        "                                                 each message was meant to be sent\n"
        "  ternmq-bench produce --messages 4000000        fills a topic and says how fast\n"
        "  ternmq-bench catch-up                          reads all that the topic holds\n"
        "  ternmq-bench catch-up --rate 5000              the same, and latency at its tail meanwhile\n"
        "  ternmq-bench groups --members 64               received by members of a group and settled\n\n"
        "Every message that was acknowledged must come back exactly once, in order per queue, or as\n"
        "the group keeps it: else\n"
        "the exit status is 1. The result is one line; latencies are in microseconds.\n\n"
        "The topic is deleted and made anew, or produced into with --keep-topic. One that exists is\n"
        "left alone unless its name is bench, begins with bench-, or --yes is given.\n\nOptions:\n",
        stdout);
    settings_print_help(OPTIONS, OPTION_COUNT, stdout);
}

/* -------------------------------------------------------------------------- the command line */

static bool find_mode(const char *word, enum mode *mode_out)
{
    for (int mode = 0; mode < MODE_COUNT; mode++) {
        if (strcmp(word, MODE_NAMES[mode]) == 0) {
            *mode_out = (enum mode)mode;
            return true;
        }
    }
    return false;
}

/* Whether messages go out at a rate: always for latency, else if one is given. */
static bool has_rate(const struct settings *settings, enum mode mode)
{
    return mode == MODE_LATENCY || (settings->values[OPTION_RATE].given && mode != MODE_CONSUME);
}

static struct load_members read_members(const struct settings *settings, enum mode mode)
{
    const struct setting_value *values = settings->values;
    bool keyed = values[OPTION_ORDER].number == 1;
    if (mode != MODE_GROUPS) {
        return (struct load_members){.count = 0};
    }
    return (struct load_members){
        .count = (uint32_t)values[OPTION_MEMBERS].number,
        .sharing = (uint32_t)values[OPTION_SHARING].number,
        .max = (uint32_t)values[OPTION_MAX].number,
        .settle = (enum load_settle)values[OPTION_SETTLE].number,
        .order = keyed ? TERNMQ_ORDER_KEY : TERNMQ_ORDER_NONE,
        .keys = keyed ? (uint32_t)values[OPTION_KEYS].number : 0,
        .nack_percent = (uint32_t)values[OPTION_NACK].number,
        .poisoned_percent = (uint32_t)values[OPTION_POISONED].number,
    };
}

static void read_plan(const struct settings *settings, struct plan *plan)
{
    const struct setting_value *values = settings->values;
    bool rate = has_rate(settings, plan->mode);
    bool given = values[OPTION_DURATION].given;
    plan->duration_ms = plan->mode == MODE_CATCH_UP && !given ? 0 : values[OPTION_DURATION].number;
    plan->warmup_ms = values[OPTION_WARMUP].number;
    plan->messages = plan->mode == MODE_PRODUCE && !values[OPTION_MESSAGES].given
                         ? 0
                         : values[OPTION_MESSAGES].number;
    plan->keep_topic = values[OPTION_KEEP_TOPIC].given || plan->mode == MODE_CATCH_UP;
    plan->yes = values[OPTION_YES].given;
    plan->unchecked = values[OPTION_UNCHECKED].given;
    plan->load = (struct load_options){
        .members = read_members(settings, plan->mode),
        .client = {.nameservers = values[OPTION_NAMESERVER].text,
                   .broker = values[OPTION_BROKER].text,
                   .name = "ternmq-bench",
                   .unreachable_ms = 2000},
        .topic = values[OPTION_TOPIC].text,
        .topics = (uint32_t)values[OPTION_TOPICS].number,
        .queues = (uint32_t)values[OPTION_QUEUES].number,
        .spread = values[OPTION_SPREAD].given,
        .idle = (uint32_t)values[OPTION_IDLE].number,
        .size = (uint32_t)values[OPTION_SIZE].number,
        .batch = (uint32_t)values[OPTION_BATCH].number,
        .connections = (uint32_t)values[OPTION_CONNECTIONS].number,
        .window = (uint32_t)values[OPTION_WINDOW].number,
        .pull_bytes = (uint32_t)values[OPTION_PULL_BYTES].number,
        .durability = values[OPTION_DURABILITY].number == 0 ? TERNMQ_DURABILITY_MEMORY
                                                            : TERNMQ_DURABILITY_DISK,
        .rate = rate ? values[OPTION_RATE].number : 0,
    };
    if (rate && !values[OPTION_BATCH].given) {
        plan->load.batch = 1; /* a message is not to wait for others */
    }
    if (rate && !values[OPTION_WINDOW].given) {
        plan->load.window = UNANSWERED_MAX; /* nor for an answer */
    }
    plan->report = (struct report){
        .mode = MODE_NAMES[plan->mode],
        .load = &plan->load,
        .json = values[OPTION_JSON].given,
        .pid = values[OPTION_PID].given ? (int)values[OPTION_PID].number : 0,
        .produces = plan->mode != MODE_CONSUME && (plan->mode != MODE_GROUPS || rate),
        .consumes = plan->mode != MODE_PRODUCE,
    };
}

static int wrong_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

static int wrong_usage(const char *format, ...)
{
    va_list arguments;
    (void)fputs("ternmq-bench: ", stderr);
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void)fputs("; see ternmq-bench --help\n", stderr);
    return EXIT_WRONG_USAGE;
}

/* Reads the words that are no options: one, the mode. */
static int take_mode(const struct settings *settings, enum mode *mode_out)
{
    static const char modes[] =
        "one of produce, consume, both, latency, catch-up, groups is wanted";
    if (settings->positional_count == 0) {
        return wrong_usage("%s", modes);
    }
    if (!find_mode(settings->positional[0], mode_out)) {
        return wrong_usage("'%s' is nothing to do: %s", settings->positional[0], modes);
    }
    if (settings->positional_count > 1) {
        return wrong_usage("'%s' is one word too many behind %s", settings->positional[1],
                           settings->positional[0]);
    }
    return EXIT_DONE;
}

#define BIT(option) (UINT32_C(1) << (option))

#define OF_A_GROUP                                                                      \
    (BIT(OPTION_MEMBERS) | BIT(OPTION_SHARING) | BIT(OPTION_MAX) | BIT(OPTION_SETTLE) | \
     BIT(OPTION_NACK) | BIT(OPTION_ORDER) | BIT(OPTION_KEYS) | BIT(OPTION_POISONED))

/* What a mode has no use for. */
static const uint32_t USELESS[MODE_COUNT] = {
    [MODE_PRODUCE] = OF_A_GROUP,
    [MODE_CONSUME] = OF_A_GROUP | BIT(OPTION_RATE) | BIT(OPTION_UNCHECKED),
    [MODE_BOTH] = OF_A_GROUP | BIT(OPTION_MESSAGES) | BIT(OPTION_UNCHECKED),
    [MODE_LATENCY] = OF_A_GROUP | BIT(OPTION_MESSAGES) | BIT(OPTION_UNCHECKED),
    [MODE_CATCH_UP] = OF_A_GROUP | BIT(OPTION_MESSAGES) | BIT(OPTION_UNCHECKED),
    [MODE_GROUPS] =
        BIT(OPTION_UNCHECKED) | BIT(OPTION_TOPICS) | BIT(OPTION_KEEP_TOPIC) | BIT(OPTION_SPREAD),
};

/* What catch-up has a use for at the tail alone. */
static const uint32_t OF_A_TAIL = BIT(OPTION_SIZE) | BIT(OPTION_BATCH) | BIT(OPTION_CONNECTIONS) |
                                  BIT(OPTION_WINDOW) | BIT(OPTION_QUEUES) | BIT(OPTION_SPREAD) |
                                  BIT(OPTION_IDLE) | BIT(OPTION_DURABILITY) | BIT(OPTION_WARMUP);

/* Looks at each option by itself, in this mode. */
static int check_options(const struct settings *settings, enum mode mode)
{
    bool reads_only = mode == MODE_CATCH_UP && !settings->values[OPTION_RATE].given;
    for (uint32_t option = 0; option < OPTION_COUNT; option++) {
        const struct setting_value *value = &settings->values[option];
        const char *name = OPTIONS[option].name;
        if (!value->given) {
            continue;
        }
        if ((USELESS[mode] & BIT(option)) != 0) {
            return wrong_usage("--%s means nothing to %s", name, MODE_NAMES[mode]);
        }
        if (reads_only && (OF_A_TAIL & BIT(option)) != 0) {
            return wrong_usage("--%s means nothing to catch-up without --rate", name);
        }
    }
    return EXIT_DONE;
}

/* Looks at what the options say together. */
static int check_plan(const struct plan *plan)
{
    char name[TOPIC_NAME_BYTES_MAX + 1];
    if ((uint64_t)plan->load.batch * (plan->load.size + 5) > PULL_BYTES_MAX) {
        return wrong_usage("--batch times --size is more than the 4M of a call");
    }
    if (!load_topic_name(&plan->load, plan->load.topics - 1, name)) {
        return wrong_usage("--topic is too long for the names of --topics");
    }
    if (plan->mode == MODE_CATCH_UP && plan->load.topics > 1) {
        return wrong_usage("catch-up reads one topic");
    }
    const struct load_members *members = &plan->load.members;
    if (members->settle == LOAD_SETTLE_NOT && plan->load.rate != 0) {
        return wrong_usage("--settle none takes no --rate: leases would never end");
    }
    if (members->keys > 0 && plan->load.queues > 1) {
        return wrong_usage("--order key takes --queues 1: the keys of a call belong to one queue");
    }
    if (members->settle == LOAD_SETTLE_NOT && (members->nack_percent > 0 || members->keys > 0)) {
        return wrong_usage("--settle none: messages are neither refused nor in the order of keys");
    }
    if (members->poisoned_percent > 0 && members->keys == 0) {
        return wrong_usage("--poisoned needs --order key");
    }
    if (plan->mode == MODE_PRODUCE && plan->messages != 0 && plan->load.rate != 0) {
        return wrong_usage("--messages or --rate: not both");
    }
    if (plan->report.pid != 0 && !report_can_see(plan->report.pid)) {
        return wrong_usage("--pid %d: there is no such process, or its memory cannot be read",
                           plan->report.pid);
    }
    return EXIT_DONE;
}

int main(int argc, char **argv)
{
    static struct settings settings;
    static struct plan plan;
    if (!settings_parse(&settings, OPTIONS, OPTION_COUNT, argc, argv)) {
        (void)fprintf(stderr, "ternmq-bench: %s\n", settings.error);
        return EXIT_WRONG_USAGE;
    }
    if (settings.values[OPTION_HELP].given) {
        print_help();
        return EXIT_DONE;
    }
    if (settings.values[OPTION_VERSION].given) {
        (void)printf("ternmq-bench %s\n", ternmq_version());
        return EXIT_DONE;
    }
    int status = take_mode(&settings, &plan.mode);
    status = status != EXIT_DONE ? status : check_options(&settings, plan.mode);
    if (status != EXIT_DONE) {
        return status;
    }
    read_plan(&settings, &plan);
    status = check_plan(&plan);
    if (status != EXIT_DONE) {
        return status;
    }
    struct sigaction action = {.sa_handler = on_signal};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    return (int)plan_run(&plan);
}
