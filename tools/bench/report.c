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

void report_broker_begin(struct report *report)
{
    report->broker_cpu_ns = report->pid == 0 ? 0 : process_cpu_ns(report->pid);
}

void report_broker_end(struct report *report)
{
    if (report->pid != 0) {
        report->broker_cpu_ns = process_cpu_ns(report->pid) - report->broker_cpu_ns;
    }
}

/* -------------------------------------------------------------------------- the verdict */

bool report_is_good(const struct report *report, const struct ledger_verdict *verdict)
{
    if (!report->checked) {
        return true;
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

static void print_latency(const char *name, const struct histogram *histogram)
{
    char p50[FIGURE_BYTES];
    char p99[FIGURE_BYTES];
    char p999[FIGURE_BYTES];
    char most[FIGURE_BYTES];
    (void)printf(
        "  %s p50 %s p99 %s p99.9 %s max %s us", name, grouped(p50, quantile_us(histogram, 0.5)),
        grouped(p99, quantile_us(histogram, 0.99)), grouped(p999, quantile_us(histogram, 0.999)),
        grouped(most, (double)histogram->max / 1000.0));
}

static void print_json_latency(const char *name, const struct histogram *histogram)
{
    (void)printf(", \"%s_us\": {\"p50\": %.1f, \"p99\": %.1f, \"p99_9\": %.1f, \"max\": %.1f}",
                 name, quantile_us(histogram, 0.5), quantile_us(histogram, 0.99),
                 quantile_us(histogram, 0.999), (double)histogram->max / 1000.0);
}

/* What both forms of the report are made of. */
struct rates {
    double seconds;
    double produced; /* messages a second */
    double consumed;
    double megabytes; /* a second, of the bodies produced, or else consumed */
    double client_us; /* of processor time, a message handled */
    double broker_us;
};

static struct rates rates_of(const struct report *report, const struct load_figures *figures)
{
    struct rates rates = {.seconds = (double)figures->nanoseconds / 1e9};
    uint64_t handled = report->produces ? figures->acknowledged : figures->consumed;
    double messages = handled == 0 ? 1.0 : (double)handled;
    rates.produced = (double)figures->acknowledged / rates.seconds;
    rates.consumed = (double)figures->consumed / rates.seconds;
    rates.megabytes = (double)handled * report->load->size / rates.seconds / 1e6;
    rates.client_us = (double)figures->client_cpu_ns / 1000.0 / messages;
    rates.broker_us = (double)report->broker_cpu_ns / 1000.0 / messages;
    return rates;
}

static void print_line(const struct report *report, const struct load_figures *figures,
                       const struct ledger_verdict *verdict)
{
    char text[FIGURE_BYTES];
    const struct load_options *load = report->load;
    struct rates rates = rates_of(report, figures);
    (void)printf("%s:", report->mode);
    if (report->produces) {
        (void)printf("  %s msg/s", grouped(text, rates.produced));
    }
    if (report->consumes) {
        (void)printf("  %s msg/s consumed", grouped(text, rates.consumed));
    }
    (void)printf("  %.1f MB/s", rates.megabytes);
    if (report->produces) {
        print_latency("ack", &figures->acknowledge);
    }
    if (report->consumes && report->produces) {
        print_latency("end to end", &figures->deliver);
    }
    (void)printf("  client %.2f us/msg", rates.client_us);
    if (report->pid != 0) {
        (void)printf("  broker %.2f us/msg", rates.broker_us);
    }
    (void)printf("  (%.1f s, %u B, batch %u, %u connection%s, window %u, %u queue%s, %s)",
                 rates.seconds, load->size, load->batch, load->connections,
                 load->connections == 1 ? "" : "s", load->window, load->queues,
                 load->queues == 1 ? "" : "s",
                 load->durability == TERNMQ_DURABILITY_MEMORY ? "memory" : "disk");
    if (!report->checked) {
        (void)printf("  not checked");
    } else if (report_is_good(report, verdict)) {
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
    (void)printf("\n");
}

static void print_json(const struct report *report, const struct load_figures *figures,
                       const struct ledger_verdict *verdict)
{
    const struct load_options *load = report->load;
    struct rates rates = rates_of(report, figures);
    (void)printf("{\"mode\": \"%s\", \"seconds\": %.3f, \"size\": %u, \"batch\": %u, "
                 "\"connections\": %u, \"window\": %u, \"queues\": %u, \"durability\": \"%s\"",
                 report->mode, rates.seconds, load->size, load->batch, load->connections,
                 load->window, load->queues,
                 load->durability == TERNMQ_DURABILITY_MEMORY ? "memory" : "disk");
    if (report->latency) {
        (void)printf(", \"rate\": %" PRIu64, load->rate);
    }
    (void)printf(", \"produced_per_s\": %.0f, \"consumed_per_s\": %.0f, \"mb_per_s\": %.1f",
                 rates.produced, rates.consumed, rates.megabytes);
    if (report->produces) {
        print_json_latency("ack", &figures->acknowledge);
    }
    if (report->consumes && report->produces) {
        print_json_latency("end_to_end", &figures->deliver);
    }
    (void)printf(", \"client_cpu_us\": %.3f", rates.client_us);
    if (report->pid != 0) {
        (void)printf(", \"broker_cpu_us\": %.3f", rates.broker_us);
    }
    (void)printf(", \"checked\": %s, \"acknowledged\": %" PRIu64 ", \"seen\": %" PRIu64
                 ", \"missing\": %" PRIu64 ", \"repeated\": %" PRIu64 ", \"invented\": %" PRIu64
                 ", \"disordered\": %" PRIu64 ", \"unknown\": %" PRIu64 ", \"errors\": %" PRIu64
                 "}\n",
                 report->checked ? "true" : "false", verdict->acknowledged, verdict->seen,
                 verdict->missing, verdict->repeated, verdict->invented, verdict->disordered,
                 verdict->unknown, figures->errors);
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
