/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - the daemon ternmq-nameserver: settings, signals, and how it ends. */
#include "nameserver/nameserver.h"
#include "net/address.h"
#include "net/reactor.h"
#include "net/reactor_choice.h"
#include "proto/base/log.h"
#include "proto/base/settings.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { EXIT_USAGE = 2 };

/* How long what was answered may take to leave when the process is asked to end. */
#define STOP_MS_MAX 2000

enum {
    SETTING_LISTEN,
    SETTING_IO,
    SETTING_LOG_LEVEL,
    SETTING_HELP,
    SETTING_VERSION,
    SETTING_COUNT
};

static const struct setting SETTINGS[] = {
    [SETTING_LISTEN] = {.name = "listen",
                        .metavar = "ADDRESS[;ADDRESS]",
                        .type = SETTING_TEXT,
                        .fallback = "127.0.0.1:9876",
                        .most = 4096,
                        .help = "Where to listen: HOST:PORT, [IPV6]:PORT or unix:PATH"},
    [SETTING_IO] = {.name = "io",
                    .type = SETTING_CHOICE,
                    .fallback = "auto",
                    .choices = REACTOR_WISH_CHOICES,
                    .help = "How sockets are waited for: auto is epoll today, as measured "
                            "(ARCHITECTURE.md, Decisions); uring is io_uring, and where the system "
                            "refuses that, epoll takes over"},
    [SETTING_LOG_LEVEL] = {.name = "log-level",
                           .type = SETTING_CHOICE,
                           .fallback = "info",
                           .choices = LOG_LEVEL_CHOICES,
                           .help = "What to write to standard error"},
    [SETTING_HELP] = {.name = "help",
                      .alias = 'h',
                      .type = SETTING_FLAG,
                      .help = "Show this help and exit"},
    [SETTING_VERSION] = {.name = "version",
                         .type = SETTING_FLAG,
                         .help = "Show the version and exit"},
};

static struct reactor *running;

static void on_signal(int signal)
{
    (void)signal;
    reactor_stop(running);
}

static void show_help(void)
{
    (void)printf(
        "ternmq-nameserver - tells clients which brokers have which topics\n\n"
        "  ternmq-nameserver                            listen on 127.0.0.1:9876\n"
        "  ternmq-nameserver --listen 10.0.0.5:9876     for other machines too\n"
        "  ternmq-nameserver --listen '127.0.0.1:9876;unix:/run/ternmq-nameserver/socket'\n\n"
        "Run two on machines that fail apart and give both to every broker and client:\n\n"
        "  ternmq-broker --store /var/lib/ternmq --nameserver 'a:9876;b:9876'\n"
        "  TERNMQ_NAMESERVER='a:9876;b:9876' ternmq topic list\n\n"
        "It keeps everything in memory: brokers tell it again within seconds of a restart.\n"
        "SIGTERM and SIGINT end it in order. Exit status: 0 ended in order, 1 failed, 2 wrong\n"
        "usage.\n\nOptions:\n");
    settings_print_help(SETTINGS, SETTING_COUNT, stdout);
}

/* Two sockets a broker and one a client may come: as many descriptors as the system lets us have. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit); /* Refused, there are fewer: that is all. */
    }
}

/* Where to listen, as it was asked for. */
struct places {
    struct address addresses[NAMESERVER_LISTENERS_MAX];
    uint32_t count;
};

/* Reads a list with semicolons. False: it was said what is wrong with it. */
static bool read_places(const char *list, struct places *places_out)
{
    char copy[NAMESERVER_LISTENERS_MAX * ADDRESS_TEXT_BYTES];
    char error[512];
    (void)snprintf(copy, sizeof(copy), "%s", list);
    places_out->count = 0;
    char *rest = NULL;
    for (char *text = strtok_r(copy, ";", &rest); text != NULL; text = strtok_r(NULL, ";", &rest)) {
        if (places_out->count == NAMESERVER_LISTENERS_MAX) {
            (void)fprintf(stderr, "ternmq-nameserver: --listen: more than %d addresses\n",
                          NAMESERVER_LISTENERS_MAX);
            return false;
        }
        if (!address_parse(text, NAMESERVER_PORT, &places_out->addresses[places_out->count++],
                           error, sizeof(error))) {
            (void)fprintf(stderr, "ternmq-nameserver: --listen %s: %s\n", text, error);
            return false;
        }
    }
    if (places_out->count == 0) {
        (void)fprintf(stderr,
                      "ternmq-nameserver: --listen '%s' names no address: give HOST:PORT or "
                      "unix:PATH\n",
                      list);
    }
    return places_out->count > 0;
}

static bool listen_on(struct nameserver *nameserver, const struct places *places,
                      enum reactor_kind kind)
{
    for (uint32_t i = 0; i < places->count; i++) {
        char error[512];
        struct address bound;
        if (!nameserver_listen(nameserver, &places->addresses[i], &bound, error, sizeof(error))) {
            log_error("--listen %s: %s", places->addresses[i].text, error);
            return false;
        }
        log_info("listening on %s, %s", bound.text, reactor_kind_name(kind));
        if (!address_is_loopback(&bound)) {
            log_warn("%s can be reached from other machines, and there is no security yet: keep it "
                     "on a network that you trust",
                     bound.text);
        }
    }
    return true;
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGINT, &action, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
}

static void stopped(void *owner)
{
    *(bool *)owner = true;
}

/* Lets what was answered leave, but not for ever. */
static bool stop_in_order(struct nameserver *nameserver, struct reactor *reactor)
{
    bool is_stopped = false;
    nameserver_stop(nameserver, stopped, &is_stopped);
    reactor_run_once(reactor, 0);
    uint64_t until_ms = reactor_now_ms(reactor) + STOP_MS_MAX;
    while (!is_stopped && reactor_now_ms(reactor) < until_ms) {
        reactor_run_once(reactor, 100);
    }
    return is_stopped;
}

int main(int argc, char **argv)
{
    struct settings settings;
    if (!settings_parse(&settings, SETTINGS, SETTING_COUNT, argc, argv)) {
        (void)fprintf(stderr, "ternmq-nameserver: %s\n", settings.error);
        return EXIT_USAGE;
    }
    if (settings.values[SETTING_HELP].given) {
        show_help();
        return EXIT_SUCCESS;
    }
    if (settings.values[SETTING_VERSION].given) {
        (void)printf("ternmq-nameserver " TERNMQ_VERSION_TEXT "\n");
        return EXIT_SUCCESS;
    }
    if (settings.positional_count > 0) {
        (void)fprintf(stderr, "ternmq-nameserver: '%s' is not understood; see --help\n",
                      settings.positional[0]);
        return EXIT_USAGE;
    }
    struct places places;
    if (!read_places(settings.values[SETTING_LISTEN].text, &places)) {
        return EXIT_USAGE;
    }
    log_set_level(log_level_from_choice(settings.values[SETTING_LOG_LEVEL].number));
    raise_descriptor_limit();

    struct reactor *reactor = NULL;
    char refusal[REACTOR_REFUSAL_BYTES_MAX];
    enum reactor_wish wish = (enum reactor_wish)settings.values[SETTING_IO].number;
    if (!reactors_create(&reactor, 1, wish, NAMESERVER_RECEIVE_BYTES_MAX, refusal)) {
        log_error("cannot start: %s", strerror(errno));
        return EXIT_FAILURE;
    }
    if (refusal[0] != '\0') {
        log_warn("--io: %s", refusal);
    }
    running = reactor;
    catch_signals();
    struct nameserver_options options = {.lease_ms = LEASE_MS, .idle_ms = IDLE_CLOSE_MS};
    struct nameserver *nameserver = nameserver_create(reactor, &options);
    bool listens = listen_on(nameserver, &places, reactor_kind(reactor));
    if (listens) {
        reactor_run(reactor);
        log_info("stopping");
    }
    if (!stop_in_order(nameserver, reactor)) {
        log_warn("stopped with answers unsent: a peer does not read");
        /* Their connections go with the process. */
        return EXIT_SUCCESS;
    }
    nameserver_destroy(nameserver);
    reactor_destroy(reactor);
    return listens ? EXIT_SUCCESS : EXIT_FAILURE;
}
