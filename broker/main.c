/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - the daemon ternmq-broker: settings, threads, signals, and how it ends.
 *
 * A thread a core, core 0 on the main thread; one more waits for signals. The first SIGTERM or SIGINT
 * stops in order within STOP_S, the second ends the process at once: what was acknowledged is
 * kept either way.
 */
#include "broker/broker.h"
#include "broker/core.h"
#include "broker/limits.h"
#include "broker/settings.h"
#include "net/reactor.h"
#include "net/reactor_choice.h"
#include "net/socket.h"
#include "proto/base/log.h"
#include "storage/disk.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_USAGE = 2 };

/* Shards of a new store: more than eight logs on one disk only make its writes smaller. */
#define SHARDS_DEFAULT_MAX 8

/* How long an orderly end may take. */
#define STOP_S 5

struct daemon {
    struct broker_settings settings;
    struct disk *disk;
    uint32_t shard_count;
    uint32_t core_count;
    struct reactor *reactors[CORES_MAX];
    pthread_t threads[CORES_MAX];
    uint32_t threads_running;
    struct broker *broker;
    struct op stop_op;        /* posted to core 0 by the signal thread */
    _Atomic bool can_stop;    /* the broker has started */
    _Atomic bool stop_posted; /* the signal thread touches no reactor any more */
};

/* --------------------------------------------------------------- signals */

static void catch_signals(sigset_t *signals)
{
    (void)sigemptyset(signals);
    (void)sigaddset(signals, SIGTERM);
    (void)sigaddset(signals, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, signals, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
}

static void *wait_for_signals(void *argument)
{
    struct daemon *daemon = argument;
    sigset_t signals;
    catch_signals(&signals);
    int number;
    while (sigwait(&signals, &number) != 0) {
    }
    if (!atomic_load(&daemon->can_stop)) {
        log_info("stopped while starting");
        _exit(EXIT_SUCCESS); /* nothing was accepted yet */
    }
    log_info("stopping: %s", number == SIGTERM ? "SIGTERM" : "SIGINT");
    reactor_post(daemon->reactors[0], &daemon->stop_op, 0);
    atomic_store(&daemon->stop_posted, true);

    const struct timespec patience = {.tv_sec = STOP_S};
    int second;
    do {
        second = sigtimedwait(&signals, NULL, &patience);
    } while (second < 0 && errno == EINTR);
    if (second < 0) {
        log_error("not stopped after %d s: the disk is too slow; what was acknowledged is kept",
                  STOP_S);
    } else {
        log_warn("stopped at once by a second signal; what was acknowledged is kept");
    }
    _exit(EXIT_FAILURE);
}

static bool start_signal_thread(struct daemon *daemon)
{
    pthread_t thread;
    sigset_t signals;
    catch_signals(&signals);
    if (pthread_create(&thread, NULL, wait_for_signals, daemon) != 0) {
        log_error("cannot start: a thread cannot be made");
        return false;
    }
    (void)pthread_detach(thread);
    return true;
}

/* ----------------------------------------------------------------- start */

static uint32_t count_processors(void)
{
    cpu_set_t processors;
    if (sched_getaffinity(0, sizeof(processors), &processors) != 0) {
        return 1;
    }
    uint32_t count = (uint32_t)CPU_COUNT(&processors);
    return count < CORES_MAX ? count : CORES_MAX;
}

/* Raises the limit of open files as far as it goes; gives how many connections it allows. */
static uint32_t raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return 1;
    }
    if (limit.rlim_cur < limit.rlim_max) {
        rlim_t before = limit.rlim_cur;
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
            limit.rlim_cur = before;
        }
    }
    uint64_t reserved = DESCRIPTORS_RESERVED + limit.rlim_cur / 4;
    uint64_t most = limit.rlim_cur > reserved ? limit.rlim_cur - reserved : 1;
    return most < CONNECTIONS_MAX ? (uint32_t)most : CONNECTIONS_MAX;
}

/* The machine's boot, as the kernel names it; zeros where it does not. */
static void read_boot_id(uint8_t boot_id[16])
{
    memset(boot_id, 0, 16);
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (file == NULL) {
        return;
    }
    for (int digit = 0; digit < 32;) {
        int letter = fgetc(file);
        if (letter == EOF) {
            break;
        }
        if (letter == '-' || letter == '\n') {
            continue;
        }
        int value = letter >= 'a' ? letter - 'a' + 10 : letter - '0';
        boot_id[digit / 2] = (uint8_t)(boot_id[digit / 2] << 4 | (value & 15));
        digit++;
    }
    (void)fclose(file);
}

/* One line, whoever cannot go on. The process ends with it: nothing more is acknowledged. */
static void broker_failed(void *owner, const char *what)
{
    (void)owner;
    log_error("%s", what);
    _exit(EXIT_FAILURE);
}

/* One processor is left to what works for the broker beside its loops: the kernel's side of the network, the
 * helper threads, often the clients. Measured: see "Decisions" in ARCHITECTURE.md. */
static uint32_t shards_by_default(uint32_t processors)
{
    uint32_t loops = processors > 1 ? processors - 1 : 1;
    return loops < SHARDS_DEFAULT_MAX ? loops : SHARDS_DEFAULT_MAX;
}

/* As many shards as the store has or is to have, and a core for each while there are processors. */
static bool count_cores(struct daemon *daemon)
{
    char error[BROKER_SETTINGS_ERROR_BYTES_MAX];
    uint32_t asked = daemon->settings.shards;
    uint32_t processors = count_processors();
    uint32_t wanted = asked > 0 ? asked : shards_by_default(processors);
    if (!broker_count_shards(daemon->disk, wanted, &daemon->shard_count, error, sizeof(error))) {
        log_error("%s", error);
        return false;
    }
    if (daemon->shard_count != wanted && asked > 0) {
        log_warn("--shards %u: the store has %u and keeps them", wanted, daemon->shard_count);
    }
    daemon->core_count = daemon->shard_count < processors ? daemon->shard_count : processors;
    return true;
}

static bool make_reactors(struct daemon *daemon)
{
    char refusal[REACTOR_REFUSAL_BYTES_MAX];
    if (!reactors_create(daemon->reactors, daemon->core_count, daemon->settings.io,
                         CORE_BUFFER_BYTES_MAX, refusal)) {
        log_error("cannot start: the loops of %u cores cannot be made: %s", daemon->core_count,
                  strerror(errno));
        return false;
    }
    if (refusal[0] != '\0') {
        log_warn("--io: %s", refusal);
    }
    return true;
}

static bool make_broker(struct daemon *daemon)
{
    const struct broker_settings *settings = &daemon->settings;
    char error[BROKER_SETTINGS_ERROR_BYTES_MAX];
    uint32_t shards = daemon->shard_count;
    struct broker_options options = {
        .name = settings->name,
        .advertise = settings->advertise,
        .listeners = settings->listeners,
        .listener_count = settings->listener_count,
        .nameservers = settings->nameservers,
        .nameserver_count = settings->nameserver_count,
        .disk = daemon->disk,
        .reactors = daemon->reactors,
        .core_count = daemon->core_count,
        .shard_count = shards,
        .durability = settings->durability,
        .retain_bytes = (settings->retain_bytes + shards - 1) / shards,
        .segment_bytes = settings->segment_bytes,
        .connections_max = raise_descriptor_limit(),
        .recover_in_parallel = true,
        .failed = broker_failed,
        .owner = daemon,
    };
    read_boot_id(options.boot_id);
    if (!broker_create(&daemon->broker, &options, error, sizeof(error))) {
        log_error("%s", error);
        return false;
    }
    return true;
}

/* ------------------------------------------------------------------- run */

static void stopped(void *owner)
{
    struct daemon *daemon = owner;
    for (uint32_t i = 0; i < daemon->core_count; i++) {
        reactor_stop(daemon->reactors[i]);
    }
}

static void stop_posted(struct op *op, int64_t result)
{
    (void)result;
    struct daemon *daemon = CONTAINER_OF(op, struct daemon, stop_op);
    broker_stop(daemon->broker, stopped, daemon);
}

static void *run_core(void *reactor)
{
    reactor_run(reactor);
    return NULL;
}

static bool start_core_threads(struct daemon *daemon)
{
    for (uint32_t i = 1; i < daemon->core_count; i++) {
        if (pthread_create(&daemon->threads[i], NULL, run_core, daemon->reactors[i]) != 0) {
            log_error("cannot start: the thread of core %u cannot be made", i);
            return false;
        }
        char name[16];
        (void)snprintf(name, sizeof(name), "core-%u", i);
        (void)pthread_setname_np(daemon->threads[i], name);
        daemon->threads_running = i;
    }
    return true;
}

static bool run(struct daemon *daemon)
{
    char error[BROKER_SETTINGS_ERROR_BYTES_MAX];
    if (!broker_start(daemon->broker, error, sizeof(error))) {
        log_error("%s", error);
        return false;
    }
    if (!start_core_threads(daemon)) {
        _exit(EXIT_FAILURE); /* some run already; nothing was accepted yet */
    }
    atomic_store(&daemon->can_stop, true);
    reactor_run(daemon->reactors[0]);
    for (uint32_t i = 1; i <= daemon->threads_running; i++) {
        (void)pthread_join(daemon->threads[i], NULL);
    }
    /* The post has been heard, so this is a matter of a moment. */
    while (!atomic_load(&daemon->stop_posted)) {
        (void)sched_yield();
    }
    return true;
}

/* Whether a new store may be made: a start that fails for its address is not to leave one behind. Where a store is
 * already nobody asks, as its clients would connect to a socket that goes again. */
static bool may_make_store(const struct broker_settings *settings)
{
    if (access(settings->store, F_OK) == 0) {
        return true;
    }
    for (uint32_t i = 0; i < settings->listener_count; i++) {
        const struct address *wanted = &settings->listeners[i];
        struct address bound;
        int socket = socket_listen(wanted, &bound);
        if (socket < 0) {
            char error[BROKER_SETTINGS_ERROR_BYTES_MAX];
            broker_say_cannot_listen(wanted, -socket, error, sizeof(error));
            log_error("%s", error);
            return false;
        }
        (void)close(socket); /* the path of a unix socket stays, and is taken again */
    }
    return true;
}

static bool serve(struct daemon *daemon)
{
    char error[BROKER_SETTINGS_ERROR_BYTES_MAX];
    if (!may_make_store(&daemon->settings)) {
        return false;
    }
    if (!disk_open(&daemon->disk, daemon->settings.store, error, sizeof(error))) {
        log_error("%s", error);
        return false;
    }
    bool served =
        count_cores(daemon) && make_reactors(daemon) && make_broker(daemon) && run(daemon);
    broker_destroy(daemon->broker);
    /* First: a helper thread of the disk may still be about to wake a reactor. */
    disk_close(daemon->disk);
    for (uint32_t i = 0; i < daemon->core_count; i++) {
        if (daemon->reactors[i] != NULL) {
            reactor_destroy(daemon->reactors[i]);
        }
    }
    return served;
}

/* ------------------------------------------------------------------ main */

static void show_help(void)
{
    (void)printf(
        "ternmq-broker - stores messages and delivers them\n\n"
        "  ternmq-broker --store /var/lib/ternmq               listen on 127.0.0.1:10911, known to\n"
        "                                                      the nameserver 127.0.0.1:9876\n"
        "  ternmq-broker --store DIR --listen 127.0.0.1:20911 --name broker-b\n"
        "                                                      a second one on this machine\n"
        "  ternmq-broker --store DIR --listen 0.0.0.0:10911 --advertise 10.0.0.7:10911 \\\n"
        "                --nameserver '10.0.0.5:9876;10.0.0.6:9876'\n"
        "                                                      for other machines\n\n"
        "Logs go to standard error. SIGTERM and SIGINT end it in order within 5 s. Exit status:\n"
        "0 ended in order, 1 failed, 2 wrong usage.\n\nOptions:\n");
    broker_settings_print_help(stdout);
}

int main(int argc, char **argv)
{
    static struct daemon daemon; /* zeroed; large, because of its addresses */
    if (!broker_settings_read(&daemon.settings, argc, argv)) {
        (void)fprintf(stderr, "ternmq-broker: %s\n", daemon.settings.error);
        return EXIT_USAGE;
    }
    if (daemon.settings.help) {
        show_help();
        return EXIT_SUCCESS;
    }
    if (daemon.settings.version) {
        (void)printf("ternmq-broker " TERNMQ_VERSION_TEXT "\n");
        return EXIT_SUCCESS;
    }
    log_set_level(daemon.settings.log_level);
    daemon.stop_op.done = stop_posted;
    if (!start_signal_thread(&daemon)) {
        return EXIT_FAILURE;
    }
    bool served = serve(&daemon);
    if (served) {
        log_info("stopped");
    }
    return served ? EXIT_SUCCESS : EXIT_FAILURE;
}
