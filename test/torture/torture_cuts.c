/* SPDX-License-Identifier: Apache-2.0 */

/*
 * torture_cuts.c - a power cut behind every write, sync, rename and remove of a log's life.
 *
 *     torture_cuts [--seed N] [--full]
 *
 * A log on a simulated disk lives through several starts, rolls and snapshots, with small segments.
 * Syncs take time, and appends and turns go on meanwhile: what is written while a sync is in flight it
 * need not cover. A plan in which that never happens fails.
 * Then the power is cut behind every event of that life. Of what was not synced then the image
 * keeps nothing, all, each prefix, and seeded subsets torn at 512 bytes. Each image is recovered
 * twice and judged by what was acknowledged before the cut:
 *
 *     - every message that was acknowledged as durable is there, with identical bytes; where all was
 *       kept, as after a kill, also every one that was acknowledged as written
 *     - none is there that was not sent; offsets are consecutive and below no hole
 *     - every operation acknowledged as durable has happened, in order
 *     - an epoch that was begun is never taken again
 *     - the second recovery finds what the first one left: the same state, nothing more to cut
 *     - of some: a new epoch is taken, a message is appended, and all of it is there again
 *     - of some: the power is cut again, behind every event of the recovery itself
 */

#include "test/lib/log_world.h"

#include <inttypes.h>

enum {
    SUBSETS = 8,
    STEPS_FULL = 600,
    LIVES_FULL = 4,
    STEPS_SMALL = 240,
    STARTS = 4,
    AGAIN_EVERY = 16, /* one of so many images is written to again */
    NESTED_EVERY = 97,
    PRODUCES_MAX = 4096,
    OPERATIONS_MAX = 4096,
    SAMPLES_MAX = 8192,
    STEPS_AT_ONCE = 4 /* events of the simulation between two appends */
};

struct set {
    struct log_operation operation;
    uint64_t key;
    uint64_t value; /* grows with time */
    uint64_t told_events;
    struct disk_image *image;
};

/* What was true of the live log when the image had so many events. */
struct sample {
    uint64_t events;
    uint32_t epoch;
    uint64_t first[TALLY_QUEUES];
};

struct life {
    struct log_world world;
    struct produce *produces[PRODUCES_MAX];
    uint16_t queues[PRODUCES_MAX];
    uint32_t produce_count;
    uint64_t message_count;
    struct set *sets[OPERATIONS_MAX];
    uint32_t set_count;
    struct sample samples[SAMPLES_MAX];
    uint32_t sample_count;
    uint64_t rolls;
    uint64_t snapshots;
    uint64_t removed;
};

static uint64_t seed = 1;
static uint64_t image_count;
static uint64_t overtaken_count;
static const char *doing = "";

#define CHECK(fact) ((fact) ? (void)0 : found(#fact, __LINE__))

static struct {
    struct disk_cut cut;
    uint64_t unsynced;
} now;

/* The image has all that was given to the kernel, as after a kill: also what was only written is
 * promised then. */
static bool nothing_is_lost;

static _Noreturn void found(const char *fact, int line)
{
    (void)fprintf(stderr,
                  "torture_cuts: FAILED (line %d): %s\n  seed %" PRIu64 ", image %" PRIu64
                  ": cut behind event %" PRIu64 ", keep %d number %" PRIu64 " of %" PRIu64
                  " unsynced, %s\n",
                  line, fact, seed, image_count, now.cut.events, (int)now.cut.keep, now.cut.number,
                  now.unsynced, doing);
    exit(EXIT_FAILURE);
}

/* ------------------------------------------------------------------ life */

static void take_sample(struct life *life)
{
    struct log_world *world = &life->world;
    CHECK(life->sample_count < SAMPLES_MAX);
    struct sample *sample = &life->samples[life->sample_count++];
    sample->events = disk_image_events(world->image);
    sample->epoch = world->report.epoch + 1;
    for (uint16_t i = 0; i < TALLY_QUEUES; i++) {
        sample->first[i] = queue_state(commit_log_queue_find(world->log, 1, i)).first;
    }
}

static void set_done(struct log_operation *operation)
{
    struct set *set = (struct set *)operation;
    set->told_events = disk_image_events(set->image);
}

static void put_set(struct life *life)
{
    uint8_t bytes[64];
    struct writer writer = writer_over(bytes, sizeof(bytes));
    struct set *set = calloc(1, sizeof(*set));
    CHECK(set != NULL && life->set_count < OPERATIONS_MAX);
    set->operation.done = set_done;
    set->key = random_below(&life->world.random, TALLY_KEYS);
    set->value = life->set_count + 1;
    set->image = life->world.image;
    writer_put_array(&writer, 3);
    writer_put_uint(&writer, TALLY_SET);
    writer_put_uint(&writer, set->key);
    writer_put_u64_fixed(&writer, set->value);
    CHECK(commit_log_operate(life->world.log, writer_bytes(&writer), &set->operation) == OK);
    life->sets[life->set_count++] = set;
}

static void put_messages(struct life *life)
{
    struct log_world *world = &life->world;
    static const uint32_t most[] = {40, 300, 900, 5000};
    uint16_t queue = (uint16_t)random_below(&world->random, TALLY_QUEUES);
    uint32_t count = 1 + (uint32_t)random_below(&world->random, 6);
    uint32_t length =
        11 + (uint32_t)random_below(&world->random, most[random_below(&world->random, 4)]);
    enum error error;
    struct produce *produce = world_produce(world, queue, count, length, life->message_count,
                                            random_below(&world->random, 3) > 0, &error);
    CHECK(error == OK && life->produce_count < PRODUCES_MAX);
    life->queues[life->produce_count] = queue;
    life->produces[life->produce_count++] = produce;
    life->message_count += count;
}

/* Some milliseconds, or only the next few events: a job's work may be done then and the job not yet
 * home, so that what is appended next is written behind a sync in flight. */
static void let_time_pass(struct log_world *world)
{
    if (random_below(&world->random, 3) == 0) {
        (void)world_run(world, random_below(&world->random, 4), NULL, NULL);
        return;
    }
    uint64_t count = 1 + random_below(&world->random, STEPS_AT_ONCE);
    while (count-- > 0 && simulation_step(world->simulation)) {
    }
}

static void live_once(struct life *life, uint32_t steps, bool retains)
{
    struct log_world *world = &life->world;
    doing = "the life itself";
    world->options.retain_bytes = retains ? 4 * WORLD_SEGMENT_BYTES : 0;
    CHECK(world_open(world));
    CHECK(!world->report.corrupt);
    CHECK(world_begin_epoch(world));
    world_put_queues(world, LOG_DISK);
    commit_log_queue_put(world->log, 1, 2, LOG_MEMORY);
    commit_log_queue_put(world->log, 1, 3, LOG_MEMORY);
    take_sample(life);
    for (uint32_t i = 0; i < steps; i++) {
        uint64_t what = random_below(&world->random, 10);
        if (what < 4) {
            put_messages(life);
        } else if (what < 5) {
            put_set(life);
        } else {
            let_time_pass(world);
        }
        take_sample(life);
    }
    struct commit_log_counters counters;
    commit_log_counters(world->log, &counters);
    life->rolls += counters.rolls;
    life->snapshots += counters.snapshots;
    life->removed += counters.segments_removed;
    world_close(world);
    CHECK(world->failures == 0);
}

/* Appends that were told when a sync came home behind which more had been written already: a power cut
 * at that moment keeps them, and need not keep the rest. */
static uint64_t count_overtaken(const struct life *life)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < life->produce_count; i++) {
        const struct produce *produce = life->produces[i];
        count +=
            produce->append.wait_durable && produce->told_events > 0 &&
            disk_image_event_kind(life->world.image, produce->told_events - 1) == DISK_EVENT_WRITE;
    }
    return count;
}

static void life_deinit(struct life *life)
{
    for (uint32_t i = 0; i < life->produce_count; i++) {
        produce_free(life->produces[i]);
    }
    for (uint32_t i = 0; i < life->set_count; i++) {
        free(life->sets[i]);
    }
    world_deinit(&life->world);
}

/* ------------------------------------------------------------- judgement */

struct judge {
    const struct life *life;
    uint16_t queue;
    uint64_t next;               /* the offset that must come next */
    bool is_there[PRODUCES_MAX]; /* all its messages were seen */
    uint32_t seen[PRODUCES_MAX];
    uint32_t epoch;
};

static struct produce *find_produce(const struct life *life, uint64_t number, uint32_t *index_out)
{
    uint32_t low = 0;
    uint32_t high = life->produce_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        struct produce *produce = life->produces[middle];
        if (number < produce->number) {
            high = middle;
        } else if (number >= produce->number + produce->append.count) {
            low = middle + 1;
        } else {
            *index_out = middle;
            return produce;
        }
    }
    return NULL;
}

static void judge_record(void *context, const uint8_t *record)
{
    struct judge *judge = context;
    struct record_view view;
    uint32_t index = 0;
    CHECK(record_read_anywhere(bytes_make(record, record_size(record)), &view) == RECORD_WHOLE);
    CHECK(view.fields.offset == judge->next);
    judge->next++;
    CHECK(view.fields.epoch <= judge->epoch);
    CHECK(view.message.length >= 11);
    uint64_t number = load_u64(view.message.data + 3);
    const struct produce *produce = find_produce(judge->life, number, &index);
    CHECK(produce != NULL);
    const struct append_message *sent = &produce->messages[number - produce->number];
    CHECK(bytes_equal(view.message, bytes_make(sent->bytes, sent->length)));
    CHECK(judge->life->queues[index] == judge->queue);
    CHECK(view.fields.offset == produce->append.offset + (number - produce->number));
    judge->seen[index]++;
}

static const struct sample *sample_at(const struct life *life, uint64_t events, bool after)
{
    const struct sample *found_sample = NULL;
    for (uint32_t i = 0; i < life->sample_count; i++) {
        if (life->samples[i].events <= events) {
            found_sample = &life->samples[i];
        } else {
            return after ? &life->samples[i] : found_sample;
        }
    }
    return found_sample;
}

/* The live log may have lost nothing that it had acknowledged when the image had `events`. */
static void judge_log(const struct life *life, struct log_world *world, uint64_t events)
{
    static struct judge judge;
    memset(&judge, 0, sizeof(judge));
    judge.life = life;
    judge.epoch = world->report.epoch;
    const struct sample *before = sample_at(life, events, false);
    const struct sample *after = sample_at(life, events, true);
    CHECK(before == NULL || world->report.epoch >= before->epoch);
    uint64_t first[TALLY_QUEUES] = {0};
    for (uint16_t i = 0; i < TALLY_QUEUES; i++) {
        struct queue *queue = commit_log_queue_find(world->log, 1, i);
        if (queue != NULL) {
            first[i] = queue_state(queue).first;
            CHECK(after == NULL || first[i] <= after->first[i]);
            judge.queue = i;
            judge.next = first[i];
            CHECK(world_read_all(world, i, judge_record, &judge) == OK);
            CHECK(judge.next == queue_state(queue).next);
        }
    }
    for (uint32_t i = 0; i < life->produce_count; i++) {
        const struct produce *produce = life->produces[i];
        bool is_promised = produce->append.wait_durable || nothing_is_lost;
        if (!is_promised || produce->told_events == 0 || produce->told_events > events) {
            continue;
        }
        uint64_t from = produce->append.offset;
        uint64_t gone = first[life->queues[i]] > from ? first[life->queues[i]] - from : 0;
        uint64_t left = gone < produce->append.count ? produce->append.count - gone : 0;
        CHECK(judge.seen[i] == left);
    }
    for (uint32_t i = 0; i < life->set_count; i++) {
        const struct set *set = life->sets[i];
        if (set->told_events != 0 && set->told_events <= events) {
            CHECK(world->tally.entries[set->key].is_there);
            CHECK(world->tally.entries[set->key].value >= set->value);
        }
    }
}

/* Taken up again: a new epoch, a message, and both are there at the next start. */
static void write_again(const struct life *life, struct log_world *world, uint64_t events)
{
    enum error error;
    doing = "written to again";
    uint32_t epoch = world->report.epoch + 1;
    CHECK(world_begin_epoch(world));
    world_put_queues(world, LOG_DISK);
    uint64_t next = queue_state(commit_log_queue_find(world->log, 1, 1)).next;
    struct produce *produce = world_produce(world, 1, 3, 700, life->message_count, true, &error);
    CHECK(error == OK && produce->append.offset == next);
    CHECK(world_run(world, 10000, produce_is_told, produce));
    world_close(world);
    CHECK(world_open(world));
    CHECK(world->report.epoch == epoch && world->report.cut_bytes == 0 && !world->report.corrupt);
    struct queue *queue = commit_log_queue_find(world->log, 1, 1);
    CHECK(queue != NULL && queue_state(queue).next == next + 3);
    struct run_list list;
    CHECK(commit_log_read(world->log, queue, &(struct read_limits){next, 3, 1 << 20, false},
                          &list) == OK &&
          list.messages == 3);
    const uint8_t *record = segment_bytes(list.runs[0].segment) + list.runs[0].place;
    CHECK(record_epoch(record) == epoch && record_offset(record) == next);
    for (uint32_t i = 0; i < list.count; i++) {
        segment_unref(list.runs[i].segment);
    }
    produce_free(produce);
    (void)events;
}

static void recover_twice(const struct life *life, struct log_world *world,
                          struct disk_image *image, uint64_t events)
{
    image_count++;
    world->image = image;
    doing = "first recovery";
    if (!world_open(world)) {
        (void)fprintf(stderr, "torture_cuts: %s\n", world->error);
        found("a torn log opens", __LINE__);
    }
    CHECK(!world->report.corrupt);
    judge_log(life, world, events);
    uint64_t hash = commit_log_hash(world->log);
    uint64_t end = world->report.end;
    uint32_t epoch = world->report.epoch;
    world_close(world);
    CHECK(world->failures == 0);

    doing = "second recovery";
    CHECK(world_open(world));
    CHECK(!world->report.corrupt && world->report.cut_bytes == 0);
    CHECK(world->report.end == end && world->report.epoch == epoch);
    CHECK(commit_log_hash(world->log) == hash);
    if (image_count % AGAIN_EVERY == 0) {
        write_again(life, world, events);
    }
    world_close(world);
}

/* Cuts the power behind every event of the recovery of one image. */
static void cut_recovery(const struct life *life, struct log_world *world, uint64_t events)
{
    struct disk_image *image = disk_image_cut(life->world.image, &now.cut, true);
    uint64_t before = disk_image_events(image);
    doing = "the recovery that is cut itself";
    world->image = image;
    CHECK(world_open(world));
    CHECK(world_begin_epoch(world));
    uint64_t after = disk_image_events(image);
    world_close(world);
    for (uint64_t i = before; i <= after; i++) {
        for (uint64_t j = 0; j < 2 + SUBSETS; j++) {
            struct disk_cut cut = {i,
                                   j == 0   ? DISK_KEEP_NONE
                                   : j == 1 ? DISK_KEEP_ALL
                                            : DISK_KEEP_SUBSET,
                                   seed * 1000003 + j};
            struct disk_image *again = disk_image_cut(image, &cut, false);
            recover_twice(life, world, again, events);
            disk_image_destroy(again);
        }
    }
    disk_image_destroy(image);
}

static void judge_image(const struct life *life, struct log_world *world)
{
    struct disk_image *image = disk_image_cut(life->world.image, &now.cut, false);
    nothing_is_lost = now.cut.keep == DISK_KEEP_PREFIX && now.cut.number == now.unsynced;
    recover_twice(life, world, image, now.cut.events);
    nothing_is_lost = false;
    disk_image_destroy(image);
    if (image_count % NESTED_EVERY == 0) {
        cut_recovery(life, world, now.cut.events);
    }
}

static void cut_everywhere(const struct life *life)
{
    struct log_world world;
    struct disk_image *none = disk_image_create(false);
    world_init(&world, seed, none);
    uint64_t events = disk_image_events(life->world.image);
    for (uint64_t i = 0; i <= events; i++) {
        now.unsynced = disk_image_unsynced(life->world.image, i);
        for (uint64_t j = 0; j <= now.unsynced; j++) {
            now.cut = (struct disk_cut){i, DISK_KEEP_PREFIX, j};
            judge_image(life, &world);
        }
        for (uint64_t j = 0; j < (now.unsynced > 0 ? SUBSETS : 0); j++) {
            now.cut = (struct disk_cut){i, DISK_KEEP_SUBSET, seed * 1000 + j};
            judge_image(life, &world);
        }
    }
    world_deinit(&world);
    disk_image_destroy(none);
}

static void torture(uint32_t steps, bool retains)
{
    struct life *life = calloc(1, sizeof(*life));
    ASSERT(life != NULL);
    world_init(&life->world, seed, NULL);
    for (uint32_t i = 0; i < STARTS; i++) {
        live_once(life, steps / STARTS, retains);
    }
    uint64_t before = image_count;
    uint64_t overtaken = count_overtaken(life);
    overtaken_count += overtaken;
    cut_everywhere(life);
    printf("%" PRIu64 " images of %" PRIu64 " events: %u appends, %" PRIu64
           " told with more written behind their sync, %u operations, %" PRIu64 " rolls, %" PRIu64
           " snapshots, %" PRIu64 " segments removed\n",
           image_count - before, disk_image_events(life->world.image), life->produce_count,
           overtaken, life->set_count, life->rolls, life->snapshots, life->removed);
    (void)fflush(stdout);
    life_deinit(life);
    free(life);
}

int main(int argc, char **argv)
{
    uint32_t steps = STEPS_SMALL;
    uint32_t lives = 1;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
            seed = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--full") == 0) {
            steps = STEPS_FULL;
            lives = LIVES_FULL;
        } else {
            (void)fprintf(stderr, "usage: torture_cuts [--seed N] [--full]\n");
            return 2;
        }
    }
    for (uint32_t i = 0; i < lives; i++, seed++) {
        printf("seed %" PRIu64 "\n", seed);
        (void)fflush(stdout);
        torture(steps, false);
        torture(steps, true);
    }
    doing = "the plan";
    CHECK(overtaken_count > 0);
    printf("%" PRIu64 " images, every promise kept\n", image_count);
    return EXIT_SUCCESS;
}
