/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_group_retention.c - what groups have open in a segment when retention comes for it: a shard with small
 * segments in a simulated world, whose groups are told directly what was given out.
 */
#include "broker/catalogue.h"
#include "broker/catalogue_change.h"
#include "broker/core.h"
#include "broker/dead_letter.h"
#include "broker/directory.h"
#include "broker/group_retention.h"
#include "broker/groups.h"
#include "broker/recovery.h"
#include "broker/shard.h"
#include "net/simulation.h"
#include "proto/base/crc32c.h"
#include "proto/base/log.h"
#include "proto/message.h"
#include "storage/disk_simulated.h"
#include "storage/segment.h"
#include "test/lib/check_main.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BODY_BYTES = 512, SEGMENT_BYTES = 64 << 10, KEEP_BYTES = 160 << 10, WAIT_MS = 600000 };

/* The topic that groups read, the one that fills the log, and the ids of groups. */
enum { TOPIC = 1, FILLER = 2, GROUP = 10, OTHER = 11 };

static bool fails[DISK_CALL_SYNC_DIRECTORY + 1];

static int fault(void *context, enum disk_call call)
{
    (void)context;
    return fails[call] ? -ENOSPC : 0;
}

struct world {
    struct simulation *simulation;
    struct disk_image *image;
    struct disk *disk;
    struct reactor *reactor;
    struct cores *cores;
    struct directory *directory; /* stays where it is: a world is copied */
    struct shard *shard;
    uint64_t version;
};

static void found_topic(void *context, struct topic *topic)
{
    directory_put(((struct world *)context)->directory, topic);
}

static void found_group(void *context, struct group *group)
{
    directory_put_group(((struct world *)context)->directory, group);
}

static void log_failed(void *owner, const char *what)
{
    (void)owner;
    ck_abort_msg("%s", what);
}

static void start(struct world *world, uint64_t read_only)
{
    world->reactor = reactor_create_simulated(world->simulation, "broker/0");
    world->cores = cores_create(&world->reactor, 1, 1);
    world->directory = calloc(1, sizeof(*world->directory));
    ck_assert_ptr_nonnull(world->directory);
    directory_init(world->directory, (struct map_seed){1, 2});
    world->cores->core[0]->directory = world->directory;
    world->shard = world->cores->shard[0];
    const struct broker_options broker = {
        .name = "broker-a",
        .disk = world->disk,
        .reactors = &world->reactor,
        .core_count = 1,
        .shard_count = 1,
        .retain_bytes = KEEP_BYTES,
        .segment_bytes = SEGMENT_BYTES,
    };
    const struct recovery_options options = {
        .broker = &broker,
        .cores = world->cores,
        .log_failed = log_failed,
        .topic = found_topic,
        .group = found_group,
        .context = world,
    };
    struct recovery_result result;
    char error[512];
    ck_assert_msg(recovery_run(&options, &result, error, sizeof(error)), "%s", error);
    world->cores->epoch = result.epoch;
    groups_attach(world->shard->groups);
    const struct catalogue_rules rules = {.shard_count = 1, .read_only = read_only};
    world->cores->changes = catalogue_changes_create(world->cores->core[0], NULL, &rules);
}

static void nothing_left(void *owner)
{
    *(bool *)owner = true;
}

static bool is_set(void *context)
{
    return *(const bool *)context;
}

static void stop(struct world *world)
{
    bool stopped = false;
    catalogue_changes_stop(world->cores->changes, nothing_left, &stopped);
    ck_assert(simulation_run(world->simulation, WAIT_MS, is_set, &stopped));
    catalogue_changes_destroy(world->cores->changes);
    bool closed = false;
    groups_stop(world->shard->groups);
    dead_letters_stop(world->shard->groups);
    group_retention_stop(world->shard->retention);
    commit_log_close(world->shard->log, nothing_left, &closed);
    ck_assert(simulation_run(world->simulation, WAIT_MS, is_set, &closed));
    world->shard->log = NULL;
    recovery_close(world->cores);
    cores_destroy(world->cores);
    directory_deinit(world->directory);
    free(world->directory);
    reactor_destroy(world->reactor);
}

static struct world begin(void)
{
    struct world world = {.version = 0};
    memset(fails, 0, sizeof(fails));
    log_set_level(LOG_LEVEL_ERROR);
    const struct simulation_options options = {
        .seed = 3, .wall_ms = UINT64_C(1700000000000), .window_bytes = 4096};
    world.simulation = simulation_create(&options);
    world.image = disk_image_create(false);
    const struct disk_simulated_options disk_options = {.simulation = world.simulation,
                                                        .job_ns_least = 100000,
                                                        .job_ns_most = 2000000,
                                                        .fault = fault};
    world.disk = disk_simulated_open(world.image, &disk_options);
    return world;
}

static void end(struct world *world)
{
    stop(world);
    disk_close(world->disk);
    disk_image_destroy(world->image);
    simulation_destroy(world->simulation);
}

static void run_ms(struct world *world, uint64_t ms)
{
    (void)simulation_run(world->simulation, ms, NULL, NULL);
}

/* -------------------------------------------------------------- what there is */

static void operate(struct world *world, const struct writer *writer)
{
    struct log_operation operation = {.done = NULL};
    ck_assert(!writer->overflowed);
    ck_assert_int_eq(commit_log_operate(world->shard->log, writer_bytes(writer), &operation), OK);
}

static void put_topic(struct world *world, uint32_t id, const char *name)
{
    static const uint16_t shards[1] = {0};
    const struct topic_parts parts = {
        .id = id,
        .version = ++world->version,
        .name = bytes_from_string(name),
        .queue_count = 1,
        .shards = shards,
    };
    struct topic *topic = topic_create(&parts);
    uint8_t bytes[CATALOGUE_OPERATION_BYTES_MAX];
    struct writer writer = writer_over(bytes, sizeof(bytes));
    catalogue_write_put(&writer, topic);
    operate(world, &writer);
    directory_put(world->directory, topic);
    topic_unref(topic);
}

static void put_group(struct world *world, uint32_t id, const char *name, const char *topic,
                      enum group_order order)
{
    uint8_t topics[64];
    struct writer writer = writer_over(topics, sizeof(topics));
    writer_put_string(&writer, topic);
    writer_put_nil(&writer);
    struct group_settings settings;
    group_settings_init(&settings);
    settings.order = order;
    settings.topic_count = 1;
    settings.topics = cursor_over(writer_bytes(&writer));
    settings.given = 1U << GROUP_SETTING_TOPICS | 1U << GROUP_SETTING_ORDER;
    const struct group_parts parts = {
        .id = id,
        .version = ++world->version,
        .name = bytes_from_string(name),
        .settings = &settings,
    };
    struct group *group;
    struct refusal refusal;
    ck_assert_int_eq(group_create(&parts, &group, &refusal), OK);
    uint8_t bytes[CATALOGUE_OPERATION_BYTES_MAX];
    struct writer operation = writer_over(bytes, sizeof(bytes));
    catalogue_write_put_group(&operation, group);
    operate(world, &operation);
    directory_put_group(world->directory, group);
    group_unref(group);
}

/* ------------------------------------------------------------------- messages */

struct produced {
    struct append append;
    bool done;
};

static void produced_done(struct append *append)
{
    CONTAINER_OF(append, struct produced, append)->done = true;
}

/* `key` is of all of them; 0: none. */
static void produce(struct world *world, uint32_t topic, uint32_t count, uint32_t key)
{
    static uint8_t body[BODY_BYTES + 3];
    struct writer writer = writer_over(body, sizeof(body));
    static uint8_t zeroes[BODY_BYTES];
    writer_put_bin(&writer, bytes_make(zeroes, sizeof(zeroes)));
    struct append_message message = {
        .bytes = body,
        .length = (uint32_t)writer_length(&writer),
        .crc = crc32c(body, writer_length(&writer)),
        .key_hash = key,
    };
    for (uint32_t i = 0; i < count; i++) {
        struct produced produced = {.done = false};
        produced.append.done = produced_done;
        produced.append.queue = commit_log_queue_find(world->shard->log, topic, 0);
        produced.append.messages = &message;
        produced.append.count = 1;
        list_init(&produced.append.link);
        ck_assert_int_eq(commit_log_append(world->shard->log, &produced.append), OK);
        ck_assert(simulation_run(world->simulation, WAIT_MS, is_set, &produced.done));
    }
}

static uint64_t first_kept(const struct world *world, uint32_t topic)
{
    return queue_state(commit_log_queue_find(world->shard->log, topic, 0)).first;
}

static uint64_t removed(const struct world *world)
{
    struct commit_log_counters counters;
    commit_log_counters(world->shard->log, &counters);
    return counters.segments_removed;
}

/* Fills the log until a segment more should go, as far as its bytes say. */
static void fill(struct world *world)
{
    produce(world, FILLER, 2 * KEEP_BYTES / BODY_BYTES, 0);
}

/* Until `count` segments are gone; false: they are not in `most_ms`. */
struct goal {
    const struct world *world;
    uint64_t count;
};

static bool is_removed(void *context)
{
    const struct goal *goal = context;
    return removed(goal->world) >= goal->count;
}

static bool goes(struct world *world, uint64_t count, uint64_t most_ms)
{
    struct goal goal = {world, count};
    return simulation_run(world->simulation, most_ms, is_removed, &goal);
}

/* --------------------------------------------------------------------- groups */

static struct group_queue *begin_group(struct world *world, uint32_t group, uint32_t topic)
{
    const struct group_place place = {group, topic, 0};
    ck_assert_int_eq(groups_seek(world->shard->groups, &place, 0), OK);
    return groups_find(world->shard->groups, &place);
}

static void lease(struct world *world, struct group_queue *queue, uint64_t first, uint64_t count,
                  uint32_t key)
{
    const struct event_lease event = {
        .place = queue->place,
        .range = {first, count},
        .until_ms = reactor_wall_ms(world->reactor) + 3600000,
        .serial = ++world->shard->groups->lease_serial,
        .key = key,
    };
    ck_assert_int_eq(groups_lease(queue, &event, NULL), OK);
    groups_changed(queue);
}

static void fail_at(struct world *world, struct group_queue *queue, uint64_t first, uint64_t count,
                    uint32_t key)
{
    const struct event_retry event = {
        .place = queue->place,
        .range = {first, count},
        .attempt = 3,
        .due_ms = reactor_wall_ms(world->reactor) + 3600000,
        .reason = BYTES_OF("it is broken"),
        .key = key,
    };
    ck_assert_int_eq(groups_retry(queue, &event), OK);
    groups_changed(queue);
}

static struct topic *letters_of(struct world *world, const char *name)
{
    return directory_find(world->directory, bytes_from_string(name));
}

struct letter {
    uint64_t offset;
    uint64_t attempts;
    char reason[REASON_BYTES_MAX + 1];
};

static void read_extra(struct bytes extra, struct letter *letter)
{
    struct cursor cursor = cursor_over(extra);
    uint32_t pairs;
    uint32_t elements;
    struct bytes text;
    uint64_t queue;
    ck_assert(cursor_take_map(&cursor, &pairs) && cursor_take_text(&cursor, &text));
    ck_assert(bytes_equal(text, BYTES_OF("dead")) && cursor_take_array(&cursor, &elements));
    ck_assert_uint_eq(elements, 6);
    ck_assert(cursor_take_text(&cursor, &text) && cursor_take_text(&cursor, &text));
    ck_assert(cursor_take_uint(&cursor, &queue) && cursor_take_uint(&cursor, &letter->offset) &&
              cursor_take_uint(&cursor, &letter->attempts) && cursor_take_text(&cursor, &text));
    memcpy(letter->reason, text.data, text.length);
    letter->reason[text.length] = '\0';
}

/* Dead letter `number` of the group. */
static struct letter letter_of(struct world *world, const char *name, uint64_t number)
{
    struct topic *topic = letters_of(world, name);
    ck_assert_ptr_nonnull(topic);
    struct queue *queue = commit_log_queue_find(world->shard->log, topic->id, 0);
    static struct run_list list;
    const struct read_limits limits = {number, 1, 1 << 20, true};
    ck_assert_int_eq(commit_log_read(world->shard->log, queue, &limits, &list), OK);
    ck_assert_uint_eq(list.messages, 1);
    uint8_t bytes[BODY_BYTES + 512];
    struct record_view view;
    struct letter letter = {.offset = 0};
    ck_assert_uint_le(list.runs[0].bytes, sizeof(bytes));
    ck_assert(segment_read(list.runs[0].segment, list.runs[0].place, bytes, list.runs[0].bytes));
    ck_assert_int_eq(record_read_anywhere(bytes_make(bytes, list.runs[0].bytes), &view),
                     RECORD_WHOLE);
    ck_assert_uint_eq(view.message.length, BODY_BYTES + 3);
    read_extra(view.extra, &letter);
    segment_unref(list.runs[0].segment);
    return letter;
}

static uint64_t letter_count(struct world *world, const char *name)
{
    struct topic *topic = letters_of(world, name);
    if (topic == NULL) {
        return 0;
    }
    return queue_state(commit_log_queue_find(world->shard->log, topic->id, 0)).next;
}

static struct world begin_with(enum group_order order, uint64_t read_only)
{
    struct world world = begin();
    start(&world, read_only);
    put_topic(&world, TOPIC, "t");
    put_topic(&world, FILLER, "filler");
    put_group(&world, GROUP, "g", "t", order);
    return world;
}

/* ---------------------------------------------------------------------- cases */

START_TEST(what_is_open_becomes_dead_letters)
{
    struct world world = begin_with(GROUP_ORDER_NONE, 0);
    produce(&world, TOPIC, 10, 0);
    struct group_queue *queue = begin_group(&world, GROUP, TOPIC);
    lease(&world, queue, 0, 3, 0);
    fail_at(&world, queue, 4, 2, 0); /* and 3 was passed: given out to nobody */
    fill(&world);
    ck_assert(goes(&world, 1, WAIT_MS));
    ck_assert_uint_ge(first_kept(&world, TOPIC), 10);
    ck_assert_uint_eq(letter_count(&world, "%DLQ%g"), 5);
    uint64_t seen = 0;
    for (uint64_t i = 0; i < 5; i++) {
        struct letter letter = letter_of(&world, "%DLQ%g", i);
        seen |= UINT64_C(1) << letter.offset;
        ck_assert_str_eq(letter.reason, "retention");
        ck_assert_uint_eq(letter.attempts, letter.offset < 3 ? 0 : 3);
    }
    ck_assert_uint_eq(seen, 0x37);
    ck_assert_uint_eq(queue->skipped, 5); /* 3, and 6 to 9 */
    ck_assert_uint_ge(queue->next, 10);
    ck_assert_uint_eq(queue->open.count, 0);
    ck_assert_uint_eq(queue->group->dead, 5);
    end(&world);
}
END_TEST

START_TEST(a_restart_knows_what_was_skipped)
{
    struct world world = begin_with(GROUP_ORDER_NONE, 0);
    produce(&world, TOPIC, 10, 0);
    struct group_queue *queue = begin_group(&world, GROUP, TOPIC);
    fail_at(&world, queue, 2, 1, 0);
    fill(&world);
    ck_assert(goes(&world, 1, WAIT_MS));
    run_ms(&world, 1000);
    uint64_t hash = group_queue_hash(queue);
    stop(&world);
    start(&world, 0);
    const struct group_place place = {GROUP, TOPIC, 0};
    queue = groups_find(world.shard->groups, &place);
    ck_assert_ptr_nonnull(queue);
    ck_assert_uint_eq(queue->skipped, 9);
    ck_assert_uint_eq(group_queue_hash(queue), hash);
    ck_assert_uint_eq(letter_count(&world, "%DLQ%g"), 1);
    end(&world);
}
END_TEST

/* Settled messages, other groups' and those of later segments are nobody's concern. */
START_TEST(what_is_settled_or_later_stays_as_it_is)
{
    struct world world = begin_with(GROUP_ORDER_NONE, 0);
    produce(&world, TOPIC, 4, 0);
    struct group_queue *queue = begin_group(&world, GROUP, TOPIC);
    lease(&world, queue, 0, 4, 0);
    const struct offset_range all = {0, 4};
    ck_assert_int_eq(groups_settle(queue, &all), OK);
    fill(&world);
    ck_assert(goes(&world, 1, WAIT_MS));
    run_ms(&world, 10000);
    produce(&world, TOPIC, 2, 0);
    lease(&world, queue, 4, 2, 0);
    uint64_t before = removed(&world);
    produce(&world, FILLER, SEGMENT_BYTES / BODY_BYTES, 0);
    ck_assert(goes(&world, before + 1, WAIT_MS));
    ck_assert_uint_eq(letter_count(&world, "%DLQ%g"), 0);
    ck_assert_uint_eq(queue->skipped, 0);
    ck_assert_uint_eq(queue->in_state[OPEN_LEASED], 2);
    end(&world);
}
END_TEST

/* A range that ends behind the segment: what lies in the next one stays leased. */
START_TEST(a_range_is_cut_where_the_segment_ends)
{
    struct world world = begin_with(GROUP_ORDER_NONE, 0);
    uint32_t count = 3 * SEGMENT_BYTES / 2 / BODY_BYTES;
    produce(&world, TOPIC, count, 0);
    struct group_queue *queue = begin_group(&world, GROUP, TOPIC);
    lease(&world, queue, 0, count, 0);
    while (removed(&world) == 0) {
        produce(&world, FILLER, 1, 0);
    }
    uint64_t kept = first_kept(&world, TOPIC);
    ck_assert_uint_gt(kept, 0);
    ck_assert_uint_lt(kept, count);
    ck_assert_uint_eq(letter_count(&world, "%DLQ%g"), kept);
    ck_assert_uint_eq(queue->in_state[OPEN_LEASED], count - kept);
    ck_assert_uint_eq(queue->skipped, 0);
    end(&world);
}
END_TEST

START_TEST(ordered_groups_lose_nothing_either)
{
    enum group_order order = _i == 0 ? GROUP_ORDER_QUEUE : GROUP_ORDER_KEY;
    uint32_t key = _i == 0 ? 0 : 77;
    struct world world = begin_with(order, 0);
    produce(&world, TOPIC, 6, key);
    struct group_queue *queue = begin_group(&world, GROUP, TOPIC);
    fail_at(&world, queue, 0, 1, key);
    if (key != 0) {
        (void)group_queue_meet_key(queue, 1, key); /* passed: its key is parked */
        lease(&world, queue, 2, 1, 5);
    }
    fill(&world);
    ck_assert(goes(&world, 1, WAIT_MS));
    ck_assert_uint_eq(letter_count(&world, "%DLQ%g"), key == 0 ? 1 : 2);
    ck_assert_uint_eq(letter_of(&world, "%DLQ%g", 0).attempts, 3);
    ck_assert_uint_eq(queue->skipped, key == 0 ? 5 : 4);
    ck_assert_uint_eq(queue->open.count, 0);
    ck_assert_uint_eq(queue->keys.count, 0);
    end(&world);
}
END_TEST

/* More than one turn's share, in ranges that lie apart. */
START_TEST(many_open_ranges_take_several_turns)
{
    enum { MANY = 3000 };
    struct world world = begin();
    start(&world, 0);
    put_topic(&world, TOPIC, "t");
    put_topic(&world, FILLER, "filler");
    for (uint32_t i = 0; i < 60; i++) {
        char name[8];
        (void)snprintf(name, sizeof(name), "g%u", i);
        put_group(&world, GROUP + i, name, "t", GROUP_ORDER_NONE);
    }
    produce(&world, TOPIC, 100, 0);
    for (uint32_t i = 0; i < 60; i++) {
        struct group_queue *queue = begin_group(&world, GROUP + i, TOPIC);
        for (uint64_t offset = 0; offset < 100; offset += 2) {
            lease(&world, queue, offset, 1, 0);
        }
    }
    fill(&world);
    ck_assert(goes(&world, 1, WAIT_MS));
    uint64_t letters = 0;
    for (uint32_t i = 0; i < 60; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "%%DLQ%%g%u", i);
        letters += letter_count(&world, name);
        const struct group_place place = {GROUP + i, TOPIC, 0};
        ck_assert_uint_ge(groups_find(world.shard->groups, &place)->next,
                          first_kept(&world, TOPIC));
    }
    ck_assert_uint_ge(letters,
                      MANY * 9 / 10); /* what lies in the next segment goes later, or stays */
    end(&world);
}
END_TEST

/* Nobody gets back into what goes: it counts as skipped once more. */
START_TEST(a_seek_into_the_segment_is_looked_at_again)
{
    struct world world = begin_with(GROUP_ORDER_NONE, UINT64_C(1));
    produce(&world, TOPIC, 10, 0);
    struct group_queue *queue = begin_group(&world, GROUP, TOPIC);
    fail_at(&world, queue, 0, 10, 0);
    fill(&world);
    run_ms(&world, 5000);
    ck_assert_uint_eq(removed(&world), 0); /* the topic of dead letters cannot be made */
    ck_assert_uint_eq(queue->in_state[OPEN_DYING], 10);
    ck_assert_int_eq(groups_seek(world.shard->groups, &queue->place, 4), OK);
    ck_assert(goes(&world, 1, 5000));
    ck_assert_uint_eq(queue->skipped, 6);
    ck_assert_uint_ge(queue->next, 10);
    ck_assert_uint_eq(letter_count(&world, "%DLQ%g"), 0);
    end(&world);
}
END_TEST

START_TEST(a_topic_that_cannot_be_made_does_not_fill_the_disk)
{
    struct world world = begin_with(GROUP_ORDER_NONE, UINT64_C(1));
    put_group(&world, OTHER, "other", "t", GROUP_ORDER_NONE);
    put_topic(&world, 3, "%DLQ%other");
    produce(&world, TOPIC, 10, 0);
    struct group_queue *queue = begin_group(&world, GROUP, TOPIC);
    struct group_queue *other = begin_group(&world, OTHER, TOPIC);
    lease(&world, queue, 0, 10, 0);
    lease(&world, other, 0, 10, 0);
    fill(&world);
    run_ms(&world, 30000);
    ck_assert_uint_eq(removed(&world), 0);
    /* Others' dead letters need not wait for it. */
    ck_assert_uint_eq(letter_count(&world, "%DLQ%other"), 10);
    ck_assert(goes(&world, 1, 40000));
    run_ms(&world, 5000);
    ck_assert_uint_eq(queue->skipped, 10);
    ck_assert_uint_eq(queue->open.count, 0);
    ck_assert_uint_eq(other->skipped, 0);
    end(&world);
}
END_TEST

/* They are kept as long as there is room, and tried again: nothing is a dead letter twice. */
START_TEST(dead_letters_make_no_dead_letters)
{
    struct world world = begin();
    start(&world, 0);
    put_topic(&world, 3, "%DLQ%g");
    put_topic(&world, FILLER, "filler");
    put_group(&world, GROUP, "%DLQ%g", "%DLQ%g", GROUP_ORDER_NONE);
    const struct group *group = directory_find_group_id(world.directory, GROUP);
    uint64_t due_ms = groups_due_ms(group, 1000, 1, 5);
    ck_assert_uint_eq(due_ms, 5 + 7200000);
    ck_assert_uint_eq(groups_due_ms(group, 1, 9, 5), 9);
    produce(&world, 3, 4, 0);
    struct group_queue *queue = begin_group(&world, GROUP, 3);
    lease(&world, queue, 0, 2, 0);
    fail_at(&world, queue, 2, 1, 0);
    fill(&world);
    ck_assert(goes(&world, 1, WAIT_MS));
    ck_assert_uint_eq(queue->skipped, 4);
    ck_assert_uint_eq(queue->open.count, 0);
    ck_assert_uint_eq(queue_state(commit_log_queue_find(world.shard->log, 3, 0)).next, 4);
    end(&world);
}
END_TEST

/* Of `count` messages, one by one, each is a dead letter of the group or counted; none is lost or both. */
static void check_all_told(struct world *world, const struct group_queue *queue, const char *name,
                           uint64_t count)
{
    const struct open_range *first = open_ranges_first(&queue->open);
    ck_assert(first == NULL || first->first >= first_kept(world, TOPIC));
    ck_assert_uint_eq(letter_count(world, name) + queue->skipped + queue->in_state[OPEN_LEASED],
                      count);
}

/* Dead letters are as many bytes as the segment for each group, and a full disk has no room for all. */
START_TEST(a_full_disk_is_given_a_while)
{
    enum { GROUPS = 6, MESSAGES = 90 };
    struct world world = begin();
    start(&world, 0);
    put_topic(&world, TOPIC, "t");
    put_topic(&world, FILLER, "filler");
    struct group_queue *queues[GROUPS];
    produce(&world, TOPIC, MESSAGES, 0);
    for (uint32_t i = 0; i < GROUPS; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "%%DLQ%%g%u", i);
        put_topic(&world, 3 + i, name);
        put_group(&world, GROUP + i, name + 5, "t", GROUP_ORDER_NONE);
        queues[i] = begin_group(&world, GROUP + i, TOPIC);
        lease(&world, queues[i], 0, MESSAGES, 0);
    }
    uint32_t filled = 0;
    while (queues[0]->in_state[OPEN_DYING] == 0 && filled++ < 2 * KEEP_BYTES / BODY_BYTES) {
        produce(&world, FILLER, 1, 0);
    }
    fails[DISK_CALL_ALLOCATE] = true;
    ck_assert(!goes(&world, 1, 50000));
    ck_assert(goes(&world, 1, 30000));
    ck_assert_uint_lt(letter_count(&world, "%DLQ%g5"), MESSAGES);
    fails[DISK_CALL_ALLOCATE] = false;
    run_ms(&world, 120000);
    for (uint32_t i = 0; i < GROUPS; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "%%DLQ%%g%u", i);
        check_all_told(&world, queues[i], name, MESSAGES);
    }
    end(&world);
}
END_TEST

/* A group that goes, or a topic, takes with it what was waited for. */
START_TEST(a_group_that_is_deleted_holds_nothing_up)
{
    struct world world = begin_with(GROUP_ORDER_NONE, UINT64_C(1));
    produce(&world, TOPIC, 10, 0);
    struct group_queue *queue = begin_group(&world, GROUP, TOPIC);
    lease(&world, queue, 0, 10, 0);
    fill(&world);
    run_ms(&world, 5000);
    ck_assert_uint_eq(removed(&world), 0);
    uint8_t bytes[64];
    struct writer writer = writer_over(bytes, sizeof(bytes));
    catalogue_write_delete_group(&writer, GROUP, ++world.version);
    operate(&world, &writer);
    directory_remove_group(world.directory, GROUP);
    ck_assert(goes(&world, 1, 5000));
    end(&world);
}
END_TEST

static Suite *suite(void)
{
    Suite *all = suite_create("group_retention");
    TCase *cases = tcase_create("group_retention");
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, what_is_open_becomes_dead_letters);
    tcase_add_test(cases, a_restart_knows_what_was_skipped);
    tcase_add_test(cases, what_is_settled_or_later_stays_as_it_is);
    tcase_add_test(cases, a_range_is_cut_where_the_segment_ends);
    tcase_add_loop_test(cases, ordered_groups_lose_nothing_either, 0, 2);
    tcase_add_test(cases, many_open_ranges_take_several_turns);
    tcase_add_test(cases, a_seek_into_the_segment_is_looked_at_again);
    tcase_add_test(cases, a_topic_that_cannot_be_made_does_not_fill_the_disk);
    tcase_add_test(cases, dead_letters_make_no_dead_letters);
    tcase_add_test(cases, a_full_disk_is_given_a_while);
    tcase_add_test(cases, a_group_that_is_deleted_holds_nothing_up);
    suite_add_tcase(all, cases);
    return all;
}

TEST_MAIN(suite)
