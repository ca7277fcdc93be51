/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group_world.c - a simulated broker for a test in another language: a line is a request, a line is
 * its answer.
 *
 *     group_world --shards 4 --cores 2 --seed 7 --wall-ms 1700000000000
 *
 * The broker is the real one, its store a simulated disk with segments so small that logs roll and
 * take snapshots all the time. Bytes and jobs take no simulated time and turns some microseconds, so
 * each command but kill and power lets the running millisecond end first and is done within the next:
 * whoever sends the lines knows to the millisecond what the broker sees. All else that passes is
 * `advance`. The order of what happens at one moment is chance, from the seed.
 *
 *     send CONNECTION HEX   sends a frame; a connection is made by its first use
 *     take CONNECTION       the next answer that has come, or comes within the millisecond
 *     call CONNECTION HEX   both
 *     close CONNECTION      closes it
 *     advance MS            lets time pass
 *     restart               the broker ends in order and starts again
 *     kill                  it ends by SIGKILL, whatever it is doing, and starts again; what was
 *                           written is there
 *     power NUMBER          the same by a power cut: NUMBER decides what is left of what was not synced
 *
 * Every line is answered by one: the wall clock in ms at which it was done, then `result HEX`, `error HEX` (one msgpack
 * value), `nothing` (no answer came), `closed` (the broker has closed the connection) or `ok`. A
 * restart closes all connections. What must not happen ends the program with a line on standard
 * error: a command that it does not know, bytes that are no answer, a broker that fails.
 */
#include "net/simulation.h"
#include "proto/base/contract.h"
#include "proto/base/log.h"
#include "storage/disk_simulated.h"
#include "test/lib/broker_simulated.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MILLISECOND_NS UINT64_C(1000000)

enum {
    CONNECTIONS = 16,
    SEGMENT_BYTES = 64 * 1024,
    WINDOW_BYTES = 64 * 1024,
    LINE_BYTES = 4 << 20 /* of a line, and of what its hex stands for */
};

struct world {
    struct simulation *simulation;
    struct disk_image *image;
    struct disk *disk;
    struct broker_simulated broker;
    struct broker_simulated_options options;
    struct client_simulated *clients[CONNECTIONS];
    uint64_t wall_ms; /* at the start of the simulation */
    uint64_t at_ms;   /* when the command that runs began */
};

static _Noreturn void give_up(const char *what)
{
    (void)fflush(stdout);
    (void)fprintf(stderr, "group_world: %s\n", what);
    exit(EXIT_FAILURE);
}

/* What a killed broker had in flight is nobody's any more: no leak checker can tell that from a
 * leak. Orderly ends are checked for leaks by the unit tests. */
__attribute__((visibility("default"))) int __lsan_is_turned_off(void);

int __lsan_is_turned_off(void)
{
    return 1;
}

static void drop_line(void *context, struct bytes line)
{
    (void)context;
    (void)line;
}

/* ------------------------------------------------------------------ broker */

static void start(struct world *world)
{
    /* Memory is short now and then, so that some reads must wait for a helper. */
    const struct disk_simulated_options options = {.simulation = world->simulation,
                                                   .forgets_one_in = 10};
    world->disk = disk_simulated_open(world->image, &options);
    broker_simulated_start(&world->broker, world->simulation, world->disk, &world->options);
}

static void close_all(struct world *world)
{
    for (uint32_t i = 0; i < CONNECTIONS; i++) {
        if (world->clients[i] != NULL) {
            client_simulated_close(world->clients[i]);
            world->clients[i] = NULL;
        }
    }
}

static void restart(struct world *world)
{
    broker_simulated_stop(&world->broker);
    disk_close(world->disk);
    close_all(world);
    start(world);
}

static void restart_killed(struct world *world)
{
    broker_simulated_kill(&world->broker, world->disk);
    close_all(world);
    start(world);
}

static void restart_without_power(struct world *world, uint64_t number)
{
    uint64_t events = disk_image_events(world->image);
    uint64_t unsynced = disk_image_unsynced(world->image, events);
    struct disk_cut cut = {
        .events = events, .keep = (enum disk_keep)(number % 4), .number = number >> 2};
    if (cut.keep == DISK_KEEP_PREFIX) {
        cut.number %= unsynced + 1;
    }
    broker_simulated_kill(&world->broker, world->disk);
    struct disk_image *left = disk_image_cut(world->image, &cut, true);
    disk_image_destroy(world->image);
    world->image = left;
    close_all(world);
    start(world);
}

/* ------------------------------------------------------------------ the clock */

static void set_true(void *context)
{
    *(bool *)context = true;
}

static bool is_true(void *context)
{
    return *(const bool *)context;
}

/* Lets the millisecond that has begun end, with all that happens in it. */
static void end_millisecond(struct world *world)
{
    uint64_t now_ns = simulation_now_ns(world->simulation);
    bool ended = false;
    simulation_at(world->simulation, now_ns - now_ns % MILLISECOND_NS + MILLISECOND_NS, set_true,
                  &ended);
    if (!simulation_run(world->simulation, 2, is_true, &ended)) {
        give_up("a millisecond did not end");
    }
}

static uint64_t now_ms(const struct world *world)
{
    return world->wall_ms + simulation_now_ns(world->simulation) / MILLISECOND_NS;
}

/* ------------------------------------------------------------------ answers */

static void say(const struct world *world, const char *word)
{
    (void)printf("%" PRIu64 " %s\n", world->at_ms, word);
}

static void say_value(const struct world *world, const char *word, struct bytes value)
{
    static const char DIGITS[] = "0123456789abcdef";
    static char line[2 * LINE_BYTES];
    size_t length = 0;
    if (value.length * 2 > sizeof(line)) {
        give_up("an answer is too long to be written");
    }
    for (size_t i = 0; i < value.length; i++) {
        line[length++] = DIGITS[value.data[i] >> 4];
        line[length++] = DIGITS[value.data[i] & 15];
    }
    (void)printf("%" PRIu64 " %s ", world->at_ms, word);
    (void)fwrite(line, 1, length, stdout);
    (void)putchar('\n');
}

static void take(const struct world *world, struct client_simulated *client)
{
    struct answer answer;
    if (client_simulated_take(client, 1, &answer)) {
        say_value(world, answer.failed ? "error" : "result",
                  answer.failed ? answer.error : answer.result);
    } else {
        say(world, client_simulated_is_closed(client) ? "closed" : "nothing");
    }
    if (client_simulated_nonsense(client) != 0) {
        give_up("the broker sent bytes that are no answer");
    }
}

/* ----------------------------------------------------------------- commands */

static uint64_t number_of(char **rest)
{
    char *end = *rest;
    uint64_t number = strtoull(*rest, &end, 10);
    if (end == *rest) {
        give_up("a number is missing");
    }
    *rest = end;
    return number;
}

static uint32_t connection_of(char **rest)
{
    uint64_t number = number_of(rest);
    if (number >= CONNECTIONS) {
        give_up("there are not so many connections");
    }
    return (uint32_t)number;
}

static struct client_simulated *client_of(struct world *world, uint32_t number)
{
    if (world->clients[number] == NULL) {
        char name[16];
        (void)snprintf(name, sizeof(name), "client-%u", number);
        world->clients[number] =
            client_simulated_open(world->simulation, name, &world->broker.address);
    }
    return world->clients[number];
}

static uint8_t digit_of(char digit)
{
    if (digit >= '0' && digit <= '9') {
        return (uint8_t)(digit - '0');
    }
    if (digit >= 'a' && digit <= 'f') {
        return (uint8_t)(digit - 'a' + 10);
    }
    give_up("that is no hex");
}

/* Where it lies, in place of the digits. */
static struct bytes unhex(char *text)
{
    text += strspn(text, " ");
    size_t length = strcspn(text, "\n");
    uint8_t *bytes = (uint8_t *)text;
    for (size_t i = 0; i + 1 < length; i += 2) {
        bytes[i / 2] = (uint8_t)(digit_of(text[i]) << 4 | digit_of(text[i + 1]));
    }
    return bytes_make(bytes, length / 2);
}

static void run_call(struct world *world, char *rest, bool takes)
{
    struct client_simulated *client = client_of(world, connection_of(&rest));
    client_simulated_send(client, unhex(rest));
    if (takes) {
        take(world, client);
    } else {
        say(world, "ok");
    }
}

static void run_close(struct world *world, char *rest)
{
    uint32_t number = connection_of(&rest);
    if (world->clients[number] != NULL) {
        client_simulated_close(world->clients[number]);
        world->clients[number] = NULL;
    }
    say(world, "ok");
}

static void run_change(struct world *world, const char *word, char *rest)
{
    if (strcmp(word, "advance") == 0) {
        (void)simulation_run(world->simulation, number_of(&rest), NULL, NULL);
        world->at_ms = now_ms(world);
    } else if (strcmp(word, "restart") == 0) {
        restart(world);
    } else if (strcmp(word, "kill") == 0) {
        restart_killed(world);
    } else if (strcmp(word, "power") == 0) {
        restart_without_power(world, number_of(&rest));
    } else {
        give_up("there is no such command");
    }
    say(world, "ok");
}

static void run_line(struct world *world, char *line)
{
    size_t length = strcspn(line, " \n");
    char *rest = line[length] == '\0' ? line + length : line + length + 1;
    line[length] = '\0';
    if (strcmp(line, "kill") != 0 && strcmp(line, "power") != 0) {
        end_millisecond(world);
    }
    world->at_ms = now_ms(world);
    if (strcmp(line, "call") == 0 || strcmp(line, "send") == 0) {
        run_call(world, rest, line[0] == 'c');
    } else if (strcmp(line, "take") == 0) {
        take(world, client_of(world, connection_of(&rest)));
    } else if (strcmp(line, "close") == 0) {
        run_close(world, rest);
    } else {
        run_change(world, line, rest);
    }
    if (world->broker.failed != NULL) {
        give_up(world->broker.failed);
    }
}

/* -------------------------------------------------------------------- main */

static void read_options(struct world *world, struct simulation_options *options, int argc,
                         char **argv)
{
    if (argc % 2 == 0) {
        give_up("each option has a number");
    }
    for (int i = 1; i + 1 < argc; i += 2) {
        char *rest = argv[i + 1];
        uint64_t number = number_of(&rest);
        if (strcmp(argv[i], "--shards") == 0) {
            world->options.shards = (uint32_t)number;
        } else if (strcmp(argv[i], "--cores") == 0) {
            world->options.cores = (uint32_t)number;
        } else if (strcmp(argv[i], "--seed") == 0) {
            options->seed = number;
        } else if (strcmp(argv[i], "--wall-ms") == 0) {
            options->wall_ms = number;
        } else {
            give_up("--shards, --cores, --seed, --wall-ms");
        }
    }
}

int main(int argc, char **argv)
{
    static char line[LINE_BYTES];
    static struct world world;
    struct simulation_options options = {
        .seed = 1, .wall_ms = 1700000000000, .window_bytes = WINDOW_BYTES};
    world.options =
        (struct broker_simulated_options){.cores = 1, .shards = 1, .segment_bytes = SEGMENT_BYTES};
    read_options(&world, &options, argc, argv);
    if (getenv("TERNMQ_LOG") == NULL) {
        log_set_sink(drop_line, NULL);
    }
    world.wall_ms = options.wall_ms;
    world.simulation = simulation_create(&options);
    world.image = disk_image_create(true);
    start(&world);
    while (fgets(line, sizeof(line), stdin) != NULL) {
        run_line(&world, line);
        (void)fflush(stdout);
    }
    close_all(&world);
    broker_simulated_stop(&world.broker);
    disk_close(world.disk);
    disk_image_destroy(world.image);
    simulation_destroy(world.simulation);
    return EXIT_SUCCESS;
}
