/* SPDX-License-Identifier: Apache-2.0 */
/*
 * runs.c - one run of ternmq-bench: produce, consume, both at once, latency at a fixed rate, or catch-up; checks
 * that every message it was acknowledged came back exactly once and in order, and says how fast.
 */
#include "tools/bench/runs.h"

#include "proto/base/bytes.h"
#include "tools/bench/catch_up.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t interrupted;

void plan_interrupt(void)
{
    interrupted = 1;
}

static enum exit_status complain(const struct ternmq_error *error)
{
    (void)fprintf(stderr, "ternmq-bench: %s: %s\n", error->name, error->message);
    return error->code == TERNMQ_UNREACHABLE ? EXIT_NOBODY_REACHABLE
           : error->code == TERNMQ_USAGE     ? EXIT_WRONG_USAGE
                                             : EXIT_FAILED;
}

/* -------------------------------------------------------------------------- the topics */

static int make_topic(const struct plan *plan, struct ternmq *client, const char *name,
                      struct ternmq_error *error)
{
    int code = ternmq_topic_delete(client, name, error);
    if (code != TERNMQ_OK && code != TERNMQ_TOPIC_NOT_FOUND) {
        return code;
    }
    const struct ternmq_topic_options topic = {
        .name = name,
        .queues = plan->load.queues,
        .route =
            plan->load.members.order == TERNMQ_ORDER_KEY ? TERNMQ_ROUTE_KEY : TERNMQ_ROUTE_DEFAULT,
        .durability = plan->load.durability,
    };
    code = ternmq_topic_put(client, &topic, NULL, NULL, error);
    return code == TERNMQ_OK && plan->mode == MODE_GROUPS
               ? load_group_put(&plan->load, client, error)
               : code;
}

/* Whether a topic is named as the bench names its own: nobody else's messages are looked for there. */
static bool is_own_name(const char *name)
{
    return strcmp(name, "bench") == 0 || strncmp(name, "bench-", 6) == 0;
}

/* Somebody's topic is neither deleted nor produced into, unless that was said to be meant. */
static enum exit_status spare_topic(const struct plan *plan, struct ternmq *client,
                                    const char *name)
{
    bool produces = plan->mode != MODE_CATCH_UP || plan->load.rate != 0;
    if (plan->yes || !produces || is_own_name(name)) {
        return EXIT_DONE;
    }
    if (plan->mode == MODE_GROUPS) {
        (void)fprintf(stderr,
                      "ternmq-bench: a topic and a group %s would be deleted: add --yes if that is "
                      "meant, or take another --topic, such as bench-%s\n",
                      name, name);
        return EXIT_WRONG_USAGE;
    }
    struct ternmq_error error;
    struct ternmq_route route;
    int code = ternmq_route(client, name, &route, &error);
    if (code == TERNMQ_TOPIC_NOT_FOUND) {
        return EXIT_DONE;
    }
    if (code != TERNMQ_OK) {
        return complain(&error);
    }
    (void)fprintf(stderr,
                  "ternmq-bench: topic %s exists and would be %s: add --yes if that is meant, or "
                  "take another --topic, such as bench-%s\n",
                  name, plan->keep_topic ? "produced into" : "deleted with all its messages", name);
    return EXIT_WRONG_USAGE;
}

static enum exit_status make_topics(const struct plan *plan)
{
    struct ternmq_error error;
    struct ternmq *client = ternmq_open(&plan->load.client, &error);
    if (client == NULL) {
        return complain(&error);
    }
    enum exit_status status = EXIT_DONE;
    char name[TOPIC_NAME_BYTES_MAX + 1];
    /* First all of them: a run that is refused has changed nothing. */
    for (uint32_t i = 0; i < plan->load.topics && status == EXIT_DONE; i++) {
        (void)load_topic_name(&plan->load, i, name);
        status = spare_topic(plan, client, name);
    }
    for (uint32_t i = 0; i < plan->load.topics && !plan->keep_topic && status == EXIT_DONE; i++) {
        (void)load_topic_name(&plan->load, i, name);
        if (make_topic(plan, client, name, &error) != TERNMQ_OK) {
            status = complain(&error);
        }
    }
    ternmq_close(client);
    return status;
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

/* Measures from the first message to the last answer. */
static bool fill(struct plan *plan, struct load *load)
{
    load_produce_limit(load, plan->messages);
    report_broker_begin(&plan->report);
    load_measure_begin(load);
    load_produce_begin(load);
    bool done = load_run(load, UINT32_MAX, load_has_produced_all);
    load_measure_end(load);
    report_broker_end(&plan->report);
    load_produce_end(load);
    return done;
}

static bool run_produce(struct plan *plan, struct load *load, struct ternmq_error *error)
{
    if (plan->messages != 0) {
        if (!fill(plan, load)) {
            return false;
        }
    } else {
        load_produce_begin(load);
        measure(plan, load, &plan->report);
        load_produce_end(load);
    }
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
    if (!fill(plan, load)) {
        return false;
    }
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

/* -------------------------------------------------------------------------- groups */

/* Ends the members; what they have under way comes home. */
static bool end_members(struct load *load)
{
    load_members_end(load);
    return load_run(load, LOAD_TIMEOUT_MS, load_members_are_quiet) && load_failure(load) == NULL;
}

/* Fills the topic, then measures until all of it is settled. */
static bool settle_all(struct plan *plan, struct load *load, struct ternmq_error *error)
{
    struct broker_counters before;
    struct broker_counters *counters = &plan->report.counters;
    const struct ternmq_options *client = &plan->load.client;
    if (!fill(plan, load) || broker_counters_read(client, &before, error) != TERNMQ_OK) {
        return false;
    }
    report_broker_begin(&plan->report);
    load_measure_begin(load);
    bool done = load_members_begin(load, error) && load_run(load, UINT32_MAX, load_is_settled);
    load_measure_end(load);
    report_broker_end(&plan->report);
    if (!end_members(load) || broker_counters_read(client, counters, error) != TERNMQ_OK) {
        return false;
    }
    counters->log_bytes -= before.log_bytes;
    counters->core_messages -= before.core_messages;
    return done;
}

/* Members wait for what is produced at a rate. */
static bool settle_at_rate(struct plan *plan, struct load *load, struct ternmq_error *error)
{
    if (!load_members_begin(load, error)) {
        return false;
    }
    load_run(load, 200, NULL); /* every member has asked once */
    load_produce_begin(load);
    measure(plan, load, &plan->report);
    load_produce_end(load);
    load_run(load, LOAD_TIMEOUT_MS, load_is_settled);
    return end_members(load);
}

static bool run_groups(struct plan *plan, struct load *load, struct ternmq_error *error)
{
    return plan->load.rate == 0 ? settle_all(plan, load, error) : settle_at_rate(plan, load, error);
}

/* What a group promises: each message once, but those that cannot be settled; in order where it has one. */
static void judge_groups(const struct plan *plan, const struct load *load,
                         struct ledger_verdict *verdict)
{
    uint64_t poisoned = load_poisoned(load);
    verdict->missing =
        verdict->missing > poisoned ? verdict->missing - poisoned : poisoned - verdict->missing;
    if (plan->load.members.order != TERNMQ_ORDER_KEY) {
        verdict->disordered = 0;
    }
}

/* -------------------------------------------------------------------------- catch-up */

/* What a load's loop waits for while another thread reads. */
static const struct catch_up *reader;

static bool reader_has_ended(const struct load *load)
{
    (void)load;
    return catch_up_has_ended(reader) || interrupted != 0;
}

/* Producing and consuming at the tail as long as the reader reads. */
static bool run_beside(struct plan *plan, struct load *load, struct catch_up *catch_up,
                       struct ternmq_error *error)
{
    if (!load_consume_begin(load, false, false, error)) {
        return false;
    }
    load_run(load, 200, NULL); /* every queue has been asked for once */
    load_produce_begin(load);
    load_run(load, plan->warmup_ms, was_interrupted);
    reader = catch_up;
    report_broker_begin(&plan->report);
    load_measure_begin(load);
    catch_up_start(catch_up);
    load_run(load, UINT32_MAX, reader_has_ended);
    load_measure_end(load);
    report_broker_end(&plan->report);
    load_produce_end(load);
    load_run(load, LOAD_TIMEOUT_MS, all_has_come);
    load_consume_end(load);
    return load_failure(load) == NULL;
}

static enum exit_status run_catch_up(struct plan *plan)
{
    struct ternmq_error error = {.code = TERNMQ_OK};
    struct report *report = &plan->report;
    struct load *load = NULL;
    struct ledger_verdict verdict = {.acknowledged = 0};
    struct catch_up *catch_up =
        catch_up_create(&plan->load.client, plan->load.topic, plan->duration_ms, &error);
    bool done = catch_up != NULL;
    if (done && plan->load.rate != 0) {
        load = load_create(&plan->load, &error);
        done = load != NULL && run_beside(plan, load, catch_up, &error);
    } else if (done) {
        report_broker_begin(report);
        catch_up_start(catch_up);
        while (!catch_up_has_ended(catch_up) && interrupted == 0) {
            (void)usleep(1000);
        }
        report_broker_end(report);
    }
    if (done) {
        report->catch_up = catch_up_finish(catch_up, &error);
        done = report->catch_up != NULL;
    }
    enum exit_status status;
    if (done) {
        if (load != NULL) {
            verdict = ledger_judge(load_ledger(load));
        }
        report->checked = true;
        report_print(report, load == NULL ? NULL : load_figures(load), &verdict);
        status = report_is_good(report, &verdict) ? EXIT_DONE : EXIT_FAILED;
    } else {
        const struct ternmq_error *why = load == NULL ? NULL : load_failure(load);
        status = complain(why == NULL ? &error : why);
    }
    if (load != NULL) {
        load_destroy(load);
    }
    catch_up_destroy(catch_up);
    return status;
}

/* -------------------------------------------------------------------------- any of them */

static enum exit_status explain(const struct load *load, const struct ternmq_error *error)
{
    const struct ternmq_error *why = load_failure(load);
    why = why != NULL ? why : error->code != TERNMQ_OK ? error : load_last_error(load);
    if (why != NULL) {
        return complain(why);
    }
    (void)fprintf(stderr, "ternmq-bench: no answer within %d s\n", LOAD_TIMEOUT_MS / 1000);
    return EXIT_FAILED;
}

static enum exit_status conclude(struct plan *plan, struct load *load)
{
    struct ledger_verdict verdict = ledger_judge(load_ledger(load));
    if (plan->mode == MODE_GROUPS) {
        judge_groups(plan, load, &verdict);
    }
    plan->report.checked = !plan->unchecked || plan->mode != MODE_PRODUCE;
    report_print(&plan->report, load_figures(load), &verdict);
    const struct ternmq_error *last = load_last_error(load);
    if (last != NULL) {
        (void)fprintf(stderr, "ternmq-bench: the last of the errors: %s: %s\n", last->name,
                      last->message);
    }
    return report_is_good(&plan->report, &verdict) ? EXIT_DONE : EXIT_FAILED;
}

enum exit_status plan_run(struct plan *plan)
{
    struct ternmq_error error = {.code = TERNMQ_OK};
    enum exit_status status = make_topics(plan);
    if (status != EXIT_DONE) {
        return status;
    }
    if (plan->mode == MODE_CATCH_UP) {
        return run_catch_up(plan);
    }
    struct load *load = load_create(&plan->load, &error);
    if (load == NULL) {
        return complain(&error);
    }
    bool done = plan->mode == MODE_PRODUCE   ? run_produce(plan, load, &error)
                : plan->mode == MODE_CONSUME ? run_consume(plan, load, &error)
                : plan->mode == MODE_GROUPS  ? run_groups(plan, load, &error)
                                             : run_both(plan, load, &error);
    status = done ? conclude(plan, load) : explain(load, &error);
    load_destroy(load);
    return status;
}
