/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report.c - the one line, or JSON object, that a run ends with.
 */
#include "tools/bench/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FIGURE_BYTES = 32 };

/* -------------------------------------------------------------------------- the broker */

/* utime and stime are fields 14 and 15 of /proc/PID/stat; the name before them, in parentheses, may
 * hold anything. 0: there is no such process. */
static uint64_t process_cpu_ns(int pid)
{
    char path[64];
    char text[1024];
    (void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return 0;
    }
    size_t length = fread(text, 1, sizeof(text) - 1, file);
    (void)fclose(file);
    text[length] = '\0';
    const char *rest = strrchr(text, ')');
    uint64_t user;
    uint64_t system;
    if (rest == NULL ||
        sscanf(rest, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64, &user,
               &system) != 2) {
        return 0;
    }
    return (user + system) * (1000000000U / (uint64_t)sysconf(_SC_CLK_TCK));
}

/* The second number of /proc/PID/statm is what is resident, in pages. 0: there is no such process. */
static uint64_t process_rss_bytes(int pid)
{
    char path[64];
    uint64_t pages = 0;
    (void)snprintf(path, sizeof(path), "/proc/%d/statm", pid);
    FILE *file = fopen(path, "r");
    if (file != NULL) {
        if (fscanf(file, "%*u %" SCNu64, &pages) != 1) {
            pages = 0;
        }
        (void)fclose(file);
    }
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Of that the process's own, by RssAnon of /proc/PID/status, in KiB. 0: there is no such process. */
static int64_t process_own_bytes(int pid)
{
    char path[64];
    char line[256];
    int64_t kib = 0;
    (void)snprintf(path, sizeof(path), "/proc/%d/status", pid);
    FILE *file = fopen(path, "r");
    while (file != NULL && kib == 0 && fgets(line, sizeof(line), file) != NULL) {
        (void)sscanf(line, "RssAnon: %" SCNd64, &kib);
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return kib * 1024;
}

bool report_can_see(int pid)
{
    return process_rss_bytes(pid) != 0;
}

void report_broker_begin(struct report *report)
{
    if (report->pid != 0) {
        report->broker_own_bytes = process_own_bytes(report->pid);
        report->broker_cpu_ns = process_cpu_ns(report->pid);
    }
}

void report_broker_end(struct report *report)
{
    if (report->pid != 0) {
        report->broker_cpu_ns = process_cpu_ns(report->pid) - report->broker_cpu_ns;
        report->broker_rss_bytes = process_rss_bytes(report->pid);
        report->broker_own_bytes = process_own_bytes(report->pid) - report->broker_own_bytes;
    }
}

/* -------------------------------------------------------------------------- the verdict */

bool report_is_good(const struct report *report, const struct ledger_verdict *verdict)
{
    if (!report->checked) {
        return true;
    }
    const struct catch_up_figures *read = report->catch_up;
    if (read != NULL && (read->verdict.gaps != 0 || read->verdict.disordered != 0)) {
        return false;
    }
    return verdict->missing == 0 && verdict->repeated == 0 && verdict->invented == 0 &&
           verdict->disordered == 0;
}

/* 1234567.8 as "1,234,568". */
static const char *grouped(char text[FIGURE_BYTES], double value)
{
    char digits[FIGURE_BYTES];
    int length = snprintf(digits, sizeof(digits), "%.0f", value);
    char *to = text;
    for (int i = 0; i < length && to < text + FIGURE_BYTES - 2; i++) {
        if (i > 0 && (length - i) % 3 == 0) {
            *to++ = ',';
        }
        *to++ = digits[i];
    }
    *to = '\0';
    return text;
}

static double quantile_us(const struct histogram *histogram, double fraction)
{
    return (double)histogram_quantile(histogram, fraction) / 1000.0;
}

static const struct {
    const char *name; /* as in p99.9 */
    const char *key;  /* in JSON */
    double fraction;
} QUANTILES[] = {
    {"p50", "p50", 0.5},
    {"p99", "p99", 0.99},
    {"p99.9", "p99_9", 0.999},
    {"p99.99", "p99_99", 0.9999},
};
enum { QUANTILE_COUNT = sizeof(QUANTILES) / sizeof(QUANTILES[0]) };

static void print_latency(const char *name, const struct histogram *histogram)
{
    char text[FIGURE_BYTES];
    (void)printf("  %s", name);
    for (int i = 0; i < QUANTILE_COUNT; i++) {
        (void)printf(" %s %s", QUANTILES[i].name,
                     grouped(text, quantile_us(histogram, QUANTILES[i].fraction)));
    }
    (void)printf(" max %s us", grouped(text, (double)histogram->max / 1000.0));
}

static void print_json_latency(const char *name, const struct histogram *histogram)
{
    (void)printf(", \"%s_us\": {", name);
    for (int i = 0; i < QUANTILE_COUNT; i++) {
        (void)printf("\"%s\": %.1f, ", QUANTILES[i].key,
                     quantile_us(histogram, QUANTILES[i].fraction));
    }
    (void)printf("\"max\": %.1f}", (double)histogram->max / 1000.0);
}

/* What both forms of the report are made of; zeroes where there is no such thing. */
struct rates {
    double seconds;
    double produced; /* messages a second */
    double consumed;
    double megabytes; /* a second, of the bodies produced, or else consumed */
    double client_us; /* of processor time, a message handled */
    double broker_us;
    double read; /* by catch-up, messages a second */
    double read_megabytes;
};

static struct rates rates_of(const struct report *report, const struct load_figures *figures)
{
    struct rates rates = {.seconds = 0};
    uint64_t handled = 0;
    uint64_t client_cpu_ns = 0;
    if (figures != NULL) {
        rates.seconds = (double)figures->nanoseconds / 1e9;
        handled = report->produces ? figures->acknowledged : figures->consumed;
        client_cpu_ns = figures->client_cpu_ns;
        rates.produced = (double)figures->acknowledged / rates.seconds;
        rates.consumed = (double)figures->consumed / rates.seconds;
        rates.megabytes = (double)handled * report->load->size / rates.seconds / 1e6;
    }
    const struct catch_up_figures *read = report->catch_up;
    if (read != NULL) {
        rates.seconds = (double)read->nanoseconds / 1e9;
        handled = read->verdict.messages;
        client_cpu_ns = read->cpu_ns;
        rates.read = (double)handled / rates.seconds;
        rates.read_megabytes = (double)read->verdict.body_bytes / rates.seconds / 1e6;
    }
    double messages = handled == 0 ? 1.0 : (double)handled;
    rates.client_us = (double)client_cpu_ns / 1000.0 / messages;
    rates.broker_us = (double)report->broker_cpu_ns / 1000.0 / messages;
    return rates;
}

/* Whether what was acknowledged falls short of the rate that was asked for. What was sent last and is not answered
 * yet, and a rate that does not divide the time, are no shortfall. */
static bool is_rate_missed(const struct report *report, const struct load_figures *figures)
{
    double rate = (double)report->load->rate;
    double asked = rate * (double)figures->nanoseconds / 1e9;
    double allowed = 0.02 * asked + 0.05 * rate + 1;
    return rate > 0 && (double)figures->acknowledged + allowed < asked;
}

/* -------------------------------------------------------------------------- one line */

static void print_line_verdict(const struct report *report, const struct load_figures *figures,
                               const struct ledger_verdict *verdict)
{
    char text[FIGURE_BYTES];
    const struct catch_up_figures *read = report->catch_up;
    if (read != NULL) {
        (void)printf("  %s read in %" PRIu64 " pass%s",
                     grouped(text, (double)read->verdict.messages), read->passes,
                     read->passes == 1 ? "" : "es");
        if (read->verdict.gaps == 0 && read->verdict.disordered == 0) {
            (void)printf(", without a gap, in order");
        } else {
            (void)printf("  WRONG: %" PRIu64 " gaps, %" PRIu64 " out of order", read->verdict.gaps,
                         read->verdict.disordered);
        }
    }
    if (figures == NULL) {
        return;
    }
    if (!report->checked) {
        (void)printf("  not checked");
    } else if (verdict->missing == 0 && verdict->repeated == 0 && verdict->invented == 0 &&
               verdict->disordered == 0) {
        (void)printf("  %s acknowledged, each came once, in order",
                     grouped(text, (double)verdict->acknowledged));
    } else {
        (void)printf("  WRONG: of %" PRIu64 " acknowledged %" PRIu64 " missing, %" PRIu64
                     " repeated, %" PRIu64 " invented, %" PRIu64 " out of order",
                     verdict->acknowledged, verdict->missing, verdict->repeated, verdict->invented,
                     verdict->disordered);
    }
    if (figures->errors > 0) {
        (void)printf("  %" PRIu64 " errors, %" PRIu64 " of unknown fate", figures->errors,
                     verdict->unknown);
    }
}

static void print_line_load(const struct report *report, double seconds)
{
    const struct load_options *load = report->load;
    (void)printf("  (%.1f s, %u B, batch %u, %u connection%s, window %u, ", seconds, load->size,
                 load->batch, load->connections, load->connections == 1 ? "" : "s", load->window);
    if (load->topics > 1) {
        (void)printf("%u topics of ", load->topics);
    }
    (void)printf("%u queue%s, %s", load->queues, load->queues == 1 ? "" : "s",
                 load->durability == TERNMQ_DURABILITY_MEMORY ? "memory" : "disk");
    if (load->idle > 0) {
        (void)printf(", %u idle", load->idle);
    }
    if (load->members.count > 0) {
        (void)printf(", %u member%s, receive %u", load->members.count,
                     load->members.count == 1 ? "" : "s", load->members.max);
    }
    (void)printf(")");
}

/* What became of a message that was consumed. */
static const char *consumed_how(const struct load_options *load)
{
    return load->members.count == 0                  ? "consumed"
           : load->members.settle == LOAD_SETTLE_NOT ? "given out"
                                                     : "settled";
}

static void print_line(const struct report *report, const struct load_figures *figures,
                       const struct ledger_verdict *verdict)
{
    char text[FIGURE_BYTES];
    struct rates rates = rates_of(report, figures);
    (void)printf("%s:", report->mode);
    if (report->catch_up != NULL) {
        (void)printf("  %s msg/s  %.1f MB/s", grouped(text, rates.read), rates.read_megabytes);
        (void)printf("  first after %.1f ms", (double)report->catch_up->first_ns / 1e6);
    }
    if (figures != NULL && report->produces) {
        (void)printf("  %s msg/s", grouped(text, rates.produced));
        if (is_rate_missed(report, figures)) {
            (void)printf(" (asked for %s/s: not reached)",
                         grouped(text, (double)report->load->rate));
        }
    }
    if (figures != NULL && report->consumes) {
        (void)printf("  %s msg/s %s", grouped(text, rates.consumed), consumed_how(report->load));
    }
    if (figures != NULL) {
        (void)printf("  %.1f MB/s", rates.megabytes);
        if (report->produces) {
            print_latency("ack", &figures->acknowledge);
        }
        if (report->consumes && report->produces) {
            print_latency("end to end", &figures->deliver);
        }
        if (report->load->members.count > 0 && report->load->rate == 0) {
            print_latency("asked to settled", &figures->settle);
        }
    }
    (void)printf("  client %.2f us/msg", rates.client_us);
    if (report->pid != 0) {
        (void)printf("  broker %.2f us/msg, %.1f MiB", rates.broker_us,
                     (double)report->broker_rss_bytes / (1 << 20));
    }
    if (figures != NULL) {
        print_line_load(report, rates.seconds);
    }
    print_line_verdict(report, figures, verdict);
    (void)printf("\n");
}

/* -------------------------------------------------------------------------- one JSON object */

static void print_json_catch_up(const struct catch_up_figures *read, const struct rates *rates)
{
    (void)printf(", \"read\": %" PRIu64 ", \"read_per_s\": %.0f, \"read_mb_per_s\": %.1f, "
                 "\"first_ms\": %.2f, \"passes\": %" PRIu64 ", \"gaps\": %" PRIu64
                 ", \"read_disordered\": %" PRIu64,
                 read->verdict.messages, rates->read, rates->read_megabytes,
                 (double)read->first_ns / 1e6, read->passes, read->verdict.gaps,
                 read->verdict.disordered);
}

static void print_json_load(const struct report *report, const struct load_figures *figures,
                            const struct rates *rates)
{
    const struct load_options *load = report->load;
    (void)printf(", \"size\": %u, \"batch\": %u, \"connections\": %u, \"window\": %u, "
                 "\"topics\": %u, \"queues\": %u, \"idle\": %u, \"durability\": \"%s\"",
                 load->size, load->batch, load->connections, load->window, load->topics,
                 load->queues, load->idle,
                 load->durability == TERNMQ_DURABILITY_MEMORY ? "memory" : "disk");
    if (load->rate != 0) {
        (void)printf(", \"rate\": %" PRIu64 ", \"rate_reached\": %s", load->rate,
                     is_rate_missed(report, figures) ? "false" : "true");
    }
    (void)printf(", \"produced_per_s\": %.0f, \"consumed_per_s\": %.0f, \"mb_per_s\": %.1f",
                 rates->produced, rates->consumed, rates->megabytes);
    if (report->produces) {
        print_json_latency("ack", &figures->acknowledge);
    }
    if (report->consumes && report->produces) {
        print_json_latency("end_to_end", &figures->deliver);
    }
    if (load->members.count > 0) {
        print_json_latency("settle", &figures->settle);
        (void)printf(", \"members\": %u, \"max\": %u, \"receives\": %" PRIu64
                     ", \"consumed\": %" PRIu64 ", \"nacked\": %" PRIu64 ", \"log_bytes\": %" PRIu64
                     ", \"core_messages\": %" PRIu64,
                     load->members.count, load->members.max, figures->receives, figures->consumed,
                     figures->nacked, report->counters.log_bytes, report->counters.core_messages);
    }
}

static void print_json(const struct report *report, const struct load_figures *figures,
                       const struct ledger_verdict *verdict)
{
    struct rates rates = rates_of(report, figures);
    (void)printf("{\"mode\": \"%s\", \"seconds\": %.3f", report->mode, rates.seconds);
    if (report->catch_up != NULL) {
        print_json_catch_up(report->catch_up, &rates);
    }
    if (figures != NULL) {
        print_json_load(report, figures, &rates);
    }
    (void)printf(", \"client_cpu_us\": %.3f", rates.client_us);
    if (report->pid != 0) {
        (void)printf(", \"broker_cpu_us\": %.3f, \"broker_rss_bytes\": %" PRIu64
                     ", \"broker_own_growth_bytes\": %" PRId64,
                     rates.broker_us, report->broker_rss_bytes, report->broker_own_bytes);
    }
    (void)printf(", \"checked\": %s", report->checked ? "true" : "false");
    if (figures != NULL) {
        (void)printf(", \"acknowledged\": %" PRIu64 ", \"seen\": %" PRIu64 ", \"missing\": %" PRIu64
                     ", \"repeated\": %" PRIu64 ", \"invented\": %" PRIu64
                     ", \"disordered\": %" PRIu64 ", \"unknown\": %" PRIu64
                     ", \"errors\": %" PRIu64,
                     verdict->acknowledged, verdict->seen, verdict->missing, verdict->repeated,
                     verdict->invented, verdict->disordered, verdict->unknown, figures->errors);
    }
    (void)printf("}\n");
}

void report_print(const struct report *report, const struct load_figures *figures,
                  const struct ledger_verdict *verdict)
{
    if (report->json) {
        print_json(report, figures, verdict);
    } else {
        print_line(report, figures, verdict);
    }
}
