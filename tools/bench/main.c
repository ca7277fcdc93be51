/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - ternmq-bench: produce, consume, both at once, or latency at a fixed rate; checks that every
 * message it was acknowledged came back exactly once and in order, and says how fast.
 */
#include "proto/base/bytes.h"
#include "proto/base/contract.h"
#include "proto/base/settings.h"
#include "proto/limits.h"
#include "tools/bench/load.h"
#include "tools/bench/report.h"
#include "tools/client/ternmq.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum exit_status {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_WRONG_USAGE = 2,
    EXIT_NOBODY_REACHABLE = 3,
};

enum option {
    OPTION_SIZE,
    OPTION_BATCH,
    OPTION_CONNECTIONS,
    OPTION_WINDOW,
    OPTION_QUEUES,
    OPTION_DURABILITY,
    OPTION_DURATION,
    OPTION_WARMUP,
    OPTION_MESSAGES,
    OPTION_RATE,
    OPTION_TOPIC,
    OPTION_KEEP_TOPIC,
    OPTION_UNCHECKED,
    OPTION_PID,
    OPTION_JSON,
    OPTION_NAMESERVER,
    OPTION_BROKER,
    OPTION_VERSION,
    OPTION_HELP,
    OPTION_COUNT,
};

static const struct setting OPTIONS[OPTION_COUNT] = {
    [OPTION_SIZE] = {.name = "size",
                     .type = SETTING_BYTES,
                     .fallback = "1K",
                     .least = LOAD_HEAD_BYTES,
                     .most = 1 << 20,
                     .help = "bytes of a body"},
    [OPTION_BATCH] = {.name = "batch",
                      .type = SETTING_INTEGER,
                      .fallback = "100",
                      .least = 1,
                      .most = MESSAGES_PER_CALL_MAX,
                      .help = "messages a call, at most 4M bytes of them; latency: 1"},
    [OPTION_CONNECTIONS] = {.name = "connections",
                            .type = SETTING_INTEGER,
                            .fallback = "1",
                            .least = 1,
                            .most = LOAD_CONNECTIONS_MAX,
                            .help = "connections that produce, and as many that consume"},
    [OPTION_WINDOW] = {.name = "window",
                       .type = SETTING_INTEGER,
                       .fallback = "16",
                       .least = 1,
                       .most = UNANSWERED_MAX,
                       .help = "calls of a connection that may be unanswered; latency: 256"},
    [OPTION_QUEUES] = {.name = "queues",
                       .type = SETTING_INTEGER,
                       .fallback = "4",
                       .least = 1,
                       .most = QUEUES_PER_TOPIC_MAX,
                       .help = "queues of the topic"},
    [OPTION_DURABILITY] = {.name = "durability",
                           .type = SETTING_CHOICE,
                           .fallback = "disk",
                           .choices = "memory|disk",
                           .help = "what an acknowledgement stands for, and the topic's setting"},
    [OPTION_DURATION] = {.name = "duration",
                         .type = SETTING_DURATION,
                         .fallback = "10s",
                         .least = 100,
                         .most = 86400000,
                         .help = "how long to measure"},
    [OPTION_WARMUP] = {.name = "warmup",
                       .type = SETTING_DURATION,
                       .fallback = "1s",
                       .most = 3600000,
                       .help = "how long to run before measuring"},
    [OPTION_MESSAGES] = {.name = "messages",
                         .type = SETTING_INTEGER,
                         .fallback = "1000000",
                         .least = 1,
                         .most = 1000000000,
                         .help = "consume: how many to produce first"},
    [OPTION_RATE] = {.name = "rate",
                     .type = SETTING_INTEGER,
                     .fallback = "1000",
                     .least = 1,
                     .most = 10000000,
                     .help = "latency: messages a second"},
    [OPTION_TOPIC] = {.name = "topic",
                      .type = SETTING_TEXT,
                      .fallback = "bench",
                      .least = 1,
                      .most = TOPIC_NAME_BYTES_MAX,
                      .help = "the topic; is deleted and made anew"},
    [OPTION_KEEP_TOPIC] = {.name = "keep-topic",
                           .type = SETTING_FLAG,
                           .help = "use the topic as it is, with --queues as it has"},
    [OPTION_UNCHECKED] = {.name = "unchecked",
                          .type = SETTING_FLAG,
                          .help = "produce: do not read back what was acknowledged"},
    [OPTION_PID] = {.name = "pid",
                    .type = SETTING_INTEGER,
                    .least = 1,
                    .most = 1 << 30,
                    .help = "the broker's process, to say what processor time it took"},
    [OPTION_JSON] = {.name = "json", .type = SETTING_FLAG, .help = "write one JSON object"},
    [OPTION_NAMESERVER] = {.name = "nameserver",
                           .alias = 'n',
                           .metavar = "HOST:PORT[;..]",
                           .type = SETTING_TEXT,
                           .help = "nameservers; else TERNMQ_NAMESERVER, else 127.0.0.1:9876"},
    [OPTION_BROKER] = {.name = "broker",
                       .alias = 'b',
                       .metavar = "HOST:PORT",
                       .type = SETTING_TEXT,
                       .help = "talk to this broker alone"},
    [OPTION_VERSION] = {.name = "version", .type = SETTING_FLAG, .help = "say the version"},
    [OPTION_HELP] = {.name = "help", .alias = 'h', .type = SETTING_FLAG, .help = "this"},
};

enum mode { MODE_PRODUCE, MODE_CONSUME, MODE_BOTH, MODE_LATENCY, MODE_COUNT };
static const char *const MODE_NAMES[MODE_COUNT] = {"produce", "consume", "both", "latency"};

/* What the run was asked to do. */
struct plan {
    enum mode mode;
    struct load_options load;
    uint64_t duration_ms;
    uint64_t warmup_ms;
    uint64_t messages;
    bool keep_topic;
    bool unchecked;
    struct report report;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int signal)
{
    (void)signal;
    interrupted = 1;
}

static void print_help(void)
{
    (void)fputs(
        "ternmq-bench - how fast a broker takes and gives messages\n\n"
        "  ternmq-bench produce                           acknowledged messages a second\n"
        "  ternmq-bench consume --size 100 --batch 1000   the same messages read, again and again\n"
        "  ternmq-bench both --durability memory          produced and consumed at the same time\n"
        "  ternmq-bench latency --rate 10000              at a fixed rate, from the moment at which\n"
        "                                                 each message was meant to be sent\n\n"
        "Every message that was acknowledged must come back exactly once, in order per queue: else\n"
        "the exit status is 1. The result is one line; latencies are in microseconds.\n\nOptions:\n",
        stdout);
    settings_print_help(OPTIONS, OPTION_COUNT, stdout);
}

static int complain(const struct ternmq_error *error)
{
    (void)fprintf(stderr, "ternmq-bench: %s: %s\n", error->name, error->message);
    return error->code == TERNMQ_UNREACHABLE ? EXIT_NOBODY_REACHABLE
           : error->code == TERNMQ_USAGE     ? EXIT_WRONG_USAGE
                                             : EXIT_FAILED;
}

/* -------------------------------------------------------------------------- the topic */

static int make_topic(const struct plan *plan)
{
    struct ternmq_error error;
    struct ternmq *client = ternmq_open(&plan->load.client, &error);
    if (client == NULL) {
        return complain(&error);
    }
    int code = TERNMQ_OK;
    if (!plan->keep_topic) {
        code = ternmq_topic_delete(client, plan->load.topic, &error);
        if (code == TERNMQ_TOPIC_NOT_FOUND) {
            code = TERNMQ_OK;
        }
        if (code == TERNMQ_OK) {
            const struct ternmq_topic_options topic = {.name = plan->load.topic,
                                                       .queues = plan->load.queues,
                                                       .durability = plan->load.durability};
            code = ternmq_topic_put(client, &topic, NULL, NULL, &error);
        }
    }
    ternmq_close(client);
    return code == TERNMQ_OK ? EXIT_DONE : complain(&error);
}

/* -------------------------------------------------------------------------- the runs */

static bool was_interrupted(const struct load *load)
{
    (void)load;
    return interrupted != 0;
}

static bool all_has_come(const struct load *load)
{
    struct load *changeable = (struct load *)(uintptr_t)load;
    const struct ledger *ledger = load_ledger(changeable);
    return load_is_quiet(load) && ledger_seen(ledger) >= ledger_acknowledged(ledger);
}

/* Runs through warm-up and measured time. */
static void measure(const struct plan *plan, struct load *load, struct report *report)
{
    load_run(load, plan->warmup_ms, was_interrupted);
    report_broker_begin(report);
    load_measure_begin(load);
    load_run(load, plan->duration_ms, was_interrupted);
    load_measure_end(load);
    report_broker_end(report);
}

static bool read_all_back(struct load *load, struct ternmq_error *error)
{
    if (!load_consume_begin(load, true, true, error)) {
        return false;
    }
    bool done = load_run(load, UINT32_MAX, load_is_at_end);
    load_consume_end(load);
    return done;
}

static bool run_produce(struct plan *plan, struct load *load, struct ternmq_error *error)
{
    load_produce_begin(load);
    measure(plan, load, &plan->report);
    load_produce_end(load);
    if (!load_run(load, LOAD_TIMEOUT_MS, load_is_quiet)) {
        return load_failure(load) == NULL;
    }
    return plan->unchecked || read_all_back(load, error);
}

static bool run_both(struct plan *plan, struct load *load, struct ternmq_error *error)
{
    /* A topic that was kept may hold what others wrote: only what comes is of interest. */
    if (!load_consume_begin(load, !plan->keep_topic, false, error)) {
        return false;
    }
    load_run(load, 200, NULL); /* every queue has been asked for once */
    load_produce_begin(load);
    measure(plan, load, &plan->report);
    load_produce_end(load);
    load_run(load, LOAD_TIMEOUT_MS, all_has_come);
    load_consume_end(load);
    return load_failure(load) == NULL;
}

/* Fills the topic, then reads it from its first message on until the time is over, each time to the
 * end. */
static bool run_consume(struct plan *plan, struct load *load, struct ternmq_error *error)
{
    load_produce_limit(load, plan->messages);
    load_produce_begin(load);
    if (!load_run(load, UINT32_MAX, load_has_produced_all)) {
        return false;
    }
    load_produce_end(load);
    if (!read_all_back(load, error)) { /* the warm-up, which also shows that all is there */
        return false;
    }
    uint64_t passed_ms = 0;
    report_broker_begin(&plan->report);
    load_measure_begin(load);
    while (passed_ms < plan->duration_ms && interrupted == 0 && load_failure(load) == NULL) {
        ledger_read_again(load_ledger(load));
        if (!read_all_back(load, error)) {
            return false;
        }
        load_measure_end(load);
        passed_ms = load_figures(load)->nanoseconds / 1000000U;
        load_measure_go_on(load);
    }
    load_measure_end(load);
    report_broker_end(&plan->report);
    return true;
}

static int run(struct plan *plan)
{
    struct ternmq_error error = {.code = TERNMQ_OK};
    int status = make_topic(plan);
    if (status != EXIT_DONE) {
        return status;
    }
    struct load *load = load_create(&plan->load, &error);
    if (load == NULL) {
        return complain(&error);
    }
    bool done = plan->mode == MODE_PRODUCE   ? run_produce(plan, load, &error)
                : plan->mode == MODE_CONSUME ? run_consume(plan, load, &error)
                                             : run_both(plan, load, &error);
    if (!done) {
        const struct ternmq_error *why = load_failure(load);
        why = why != NULL ? why : error.code != TERNMQ_OK ? &error : load_last_error(load);
        if (why != NULL) {
            status = complain(why);
        } else {
            (void)fprintf(stderr, "ternmq-bench: no answer within %d s\n", LOAD_TIMEOUT_MS / 1000);
            status = EXIT_FAILED;
        }
    } else {
        struct ledger_verdict verdict = ledger_judge(load_ledger(load));
        plan->report.checked = !plan->unchecked || plan->mode != MODE_PRODUCE;
        report_print(&plan->report, load_figures(load), &verdict);
        const struct ternmq_error *last = load_last_error(load);
        if (last != NULL) {
            (void)fprintf(stderr, "ternmq-bench: the last of the errors: %s: %s\n", last->name,
                          last->message);
        }
        status = report_is_good(&plan->report, &verdict) ? EXIT_DONE : EXIT_FAILED;
    }
    load_destroy(load);
    return status;
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

static void read_plan(const struct settings *settings, struct plan *plan)
{
    const struct setting_value *values = settings->values;
    plan->duration_ms = values[OPTION_DURATION].number;
    plan->warmup_ms = values[OPTION_WARMUP].number;
    plan->messages = values[OPTION_MESSAGES].number;
    plan->keep_topic = values[OPTION_KEEP_TOPIC].given;
    plan->unchecked = values[OPTION_UNCHECKED].given;
    plan->load = (struct load_options){
        .client = {.nameservers = values[OPTION_NAMESERVER].text,
                   .broker = values[OPTION_BROKER].text,
                   .name = "ternmq-bench",
                   .unreachable_ms = 2000},
        .topic = values[OPTION_TOPIC].text,
        .queues = (uint32_t)values[OPTION_QUEUES].number,
        .size = (uint32_t)values[OPTION_SIZE].number,
        .batch = (uint32_t)values[OPTION_BATCH].number,
        .connections = (uint32_t)values[OPTION_CONNECTIONS].number,
        .window = (uint32_t)values[OPTION_WINDOW].number,
        .durability = values[OPTION_DURABILITY].number == 0 ? TERNMQ_DURABILITY_MEMORY
                                                            : TERNMQ_DURABILITY_DISK,
        .rate = plan->mode == MODE_LATENCY ? values[OPTION_RATE].number : 0,
    };
    if (plan->mode == MODE_LATENCY && !values[OPTION_BATCH].given) {
        plan->load.batch = 1; /* a message is not to wait for others */
    }
    if (plan->mode == MODE_LATENCY && !values[OPTION_WINDOW].given) {
        plan->load.window = UNANSWERED_MAX; /* nor for an answer */
    }
    plan->report = (struct report){
        .mode = MODE_NAMES[plan->mode],
        .load = &plan->load,
        .json = values[OPTION_JSON].given,
        .pid = values[OPTION_PID].given ? (int)values[OPTION_PID].number : 0,
        .latency = plan->mode == MODE_LATENCY,
        .produces = plan->mode != MODE_CONSUME,
        .consumes = plan->mode != MODE_PRODUCE,
    };
}

static int wrong_usage(const char *what)
{
    (void)fprintf(stderr, "ternmq-bench: %s; see ternmq-bench --help\n", what);
    return EXIT_WRONG_USAGE;
}

int main(int argc, char **argv)
{
    static struct settings settings;
    static struct plan plan;
    if (!settings_parse(&settings, OPTIONS, OPTION_COUNT, argc, argv)) {
        return wrong_usage(settings.error);
    }
    if (settings.values[OPTION_HELP].given) {
        print_help();
        return EXIT_DONE;
    }
    if (settings.values[OPTION_VERSION].given) {
        (void)printf("ternmq-bench %s\n", ternmq_version());
        return EXIT_DONE;
    }
    if (settings.positional_count != 1 || !find_mode(settings.positional[0], &plan.mode)) {
        return wrong_usage("one of produce, consume, both, latency is wanted");
    }
    read_plan(&settings, &plan);
    if ((uint64_t)plan.load.batch * (plan.load.size + 5) > PULL_BYTES_MAX) {
        return wrong_usage("--batch times --size is more than the 4M of a call");
    }
    struct sigaction action = {.sa_handler = on_signal};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    return run(&plan);
}
