/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_catalogue.c - the catalogue as a view: operations, rows, and the equation between them.
 */
#include "broker/catalogue.h"
#include "proto/base/random.h"
#include "proto/events.h"
#include "test/lib/check_main.h"
#include "test/lib/group_of_topic.h"

#include <stdio.h>

enum { ENTRIES_MAX = 40000 };

/* Operations and rows as a log has them: one after the other. */
struct history {
    uint8_t *bytes;
    size_t used;
    size_t capacity;
    size_t ends[ENTRIES_MAX];
    bool is_row[ENTRIES_MAX];
    uint32_t count;
};

static struct history *history_create(void)
{
    struct history *history = calloc(1, sizeof(*history));
    history->capacity = 64U << 20;
    history->bytes = malloc(history->capacity);
    ck_assert_ptr_nonnull(history->bytes);
    return history;
}

static void history_destroy(struct history *history)
{
    free(history->bytes);
    free(history);
}

static struct writer history_writer(struct history *history)
{
    return writer_over(history->bytes + history->used, history->capacity - history->used);
}

static void history_add(struct history *history, const struct writer *writer, bool is_row)
{
    ck_assert(!writer->overflowed);
    ck_assert_uint_lt(history->count, ENTRIES_MAX);
    history->used += writer_length(writer);
    history->ends[history->count] = history->used;
    history->is_row[history->count++] = is_row;
}

/* Gives one entry to a catalogue, as a log does; whether it was understood. */
static bool give(struct catalogue *catalogue, struct bytes entry, bool is_row)
{
    struct cursor cursor = cursor_over(entry);
    uint32_t fields;
    uint64_t number;
    ck_assert(cursor_take_array(&cursor, &fields));
    ck_assert(cursor_take_uint(&cursor, &number));
    struct view *view = &catalogue->view;
    return is_row ? view->operations->load(view, (uint32_t)number, &cursor)
                  : view->operations->apply_operation(view, (uint32_t)number, &cursor, 0, false);
}

static void replay(struct catalogue *catalogue, const struct history *history, uint32_t first)
{
    for (uint32_t i = first; i < history->count; i++) {
        size_t begin = i == 0 ? 0 : history->ends[i - 1];
        struct bytes entry = bytes_make(history->bytes + begin, history->ends[i] - begin);
        ck_assert(give(catalogue, entry, history->is_row[i]));
    }
}

static uint64_t hash_of(const struct catalogue *catalogue)
{
    return catalogue->view.operations->hash(&catalogue->view);
}

static struct topic *make_topic(uint32_t id, uint64_t version, const char *name, uint32_t queues)
{
    uint16_t shards[QUEUES_PER_TOPIC_MAX];
    for (uint32_t i = 0; i < queues; i++) {
        shards[i] = (uint16_t)((id + i) % 4);
    }
    const struct topic_parts parts = {
        .id = id,
        .version = version,
        .name = bytes_from_string(name),
        .settings = {.has_route = true, .route = TOPIC_ROUTE_KEY},
        .queue_count = queues,
        .shards = shards,
    };
    return topic_create(&parts);
}

/* The same of which every second queue is another broker's. */
static struct topic *make_shared_topic(uint32_t id, uint64_t version, const char *name,
                                       uint32_t queues)
{
    uint16_t shards[QUEUES_PER_TOPIC_MAX];
    struct event_placement parts[PLACEMENT_PARTS_MAX];
    ASSERT(queues <= PLACEMENT_PARTS_MAX);
    for (uint32_t i = 0; i < queues; i++) {
        bool is_here = i % 2 == 0;
        shards[i] = is_here ? (uint16_t)((id + i) % 4) : TOPIC_ELSEWHERE;
        parts[i] = (struct event_placement){.broker = is_here ? BYTES_OF("broker-a")
                                                              : BYTES_OF("broker-b"),
                                            .first = i,
                                            .count = 1};
    }
    const struct topic_parts topic_parts = {
        .id = id,
        .version = version,
        .name = bytes_from_string(name),
        .queue_count = queues,
        .shards = shards,
        .parts = parts,
        .part_count = queues,
    };
    return topic_create(&topic_parts);
}

static void put(struct catalogue *catalogue, struct history *history, struct topic *topic)
{
    struct writer writer = history_writer(history);
    catalogue_write_put(&writer, topic);
    topic_unref(topic);
    ck_assert(give(catalogue, writer_bytes(&writer), false));
    history_add(history, &writer, false);
}

/* A group of topic `topic` with this filter (NULL: none). */
static struct group *make_group(uint32_t id, uint64_t version, const char *name, const char *topic,
                                const char *filter)
{
    struct group_settings settings;
    group_settings_init(&settings);
    settings.given = 1U << GROUP_SETTING_ATTEMPTS;
    settings.attempts = 1 + (uint32_t)version % 100;
    const struct group_parts parts = {
        .id = id, .version = version, .name = bytes_from_string(name), .settings = &settings};
    return group_of_topic(&parts, topic, filter);
}

static void put_group(struct catalogue *catalogue, struct history *history, struct group *group)
{
    struct writer writer = history_writer(history);
    catalogue_write_put_group(&writer, group);
    group_unref(group);
    ck_assert(give(catalogue, writer_bytes(&writer), false));
    history_add(history, &writer, false);
}

static void put_deleted(struct catalogue *catalogue, struct history *history, uint32_t id,
                        uint64_t version)
{
    struct writer writer = history_writer(history);
    catalogue_write_delete(&writer, id, version);
    ck_assert(give(catalogue, writer_bytes(&writer), false));
    history_add(history, &writer, false);
}

static void set(struct catalogue *catalogue, struct history *history, const char *name,
                const char *value, uint64_t version)
{
    struct writer writer = history_writer(history);
    catalogue_write_setting(&writer, name, value, version);
    ck_assert(give(catalogue, writer_bytes(&writer), false));
    history_add(history, &writer, false);
}

START_TEST(what_was_put_is_found)
{
    struct catalogue *catalogue = catalogue_create(0, DURABILITY_DISK);
    struct history *history = history_create();
    put(catalogue, history, make_topic(1, 1, "orders", 3));
    put(catalogue, history, make_topic(2, 2, "payments", 1));
    const struct topic *topic = catalogue_find(catalogue, BYTES_OF("orders"));
    ck_assert_uint_eq(topic->id, 1);
    ck_assert_uint_eq(topic->queue_count, 3);
    ck_assert_int_eq(topic->route, TOPIC_ROUTE_KEY);
    ck_assert_int_eq(topic->durability, DURABILITY_DISK);
    ck_assert_uint_eq(catalogue_find_id(catalogue, 2)->version, 2);
    ck_assert_uint_eq(catalogue->version, 2);
    ck_assert_uint_eq(catalogue->next_id, 3);
    ck_assert_uint_eq(catalogue->queue_count[1], 1);
    ck_assert_uint_eq(catalogue->queue_count[2], 2);
    history_destroy(history);
    catalogue_destroy(catalogue);
}
END_TEST

START_TEST(an_older_version_changes_nothing)
{
    struct catalogue *catalogue = catalogue_create(0, DURABILITY_DISK);
    struct history *history = history_create();
    put(catalogue, history, make_topic(1, 5, "orders", 3));
    uint64_t hash = hash_of(catalogue);
    put(catalogue, history, make_topic(1, 4, "orders", 2));
    ck_assert_uint_eq(hash_of(catalogue), hash);
    put(catalogue, history, make_topic(1, 5, "orders", 3));
    ck_assert_uint_eq(hash_of(catalogue), hash);
    put(catalogue, history, make_topic(1, 6, "orders", 4));
    ck_assert_uint_ne(hash_of(catalogue), hash);
    history_destroy(history);
    catalogue_destroy(catalogue);
}
END_TEST

START_TEST(a_deletion_is_final_and_its_id_never_comes_again)
{
    struct catalogue *catalogue = catalogue_create(0, DURABILITY_DISK);
    struct history *history = history_create();
    put(catalogue, history, make_topic(1, 1, "orders", 3));
    put_deleted(catalogue, history, 1, 2);
    ck_assert_ptr_null(catalogue_find(catalogue, BYTES_OF("orders")));
    ck_assert_uint_eq(catalogue_find_deleted(catalogue, 1)->version, 2);
    ck_assert_uint_eq(catalogue->queue_count[1], 0);
    put(catalogue, history, make_topic(1, 9, "orders", 3));
    ck_assert_ptr_null(catalogue_find(catalogue, BYTES_OF("orders")));
    ck_assert_uint_eq(catalogue->next_id, 2);
    put(catalogue, history, make_topic(2, 10, "orders", 1));
    ck_assert_uint_eq(catalogue_find(catalogue, BYTES_OF("orders"))->id, 2);
    history_destroy(history);
    catalogue_destroy(catalogue);
}
END_TEST

START_TEST(of_two_topics_of_one_name_the_newer_stays)
{
    struct catalogue *catalogue = catalogue_create(0, DURABILITY_DISK);
    struct history *history = history_create();
    put(catalogue, history, make_topic(1, 1, "orders", 1));
    put(catalogue, history, make_topic(2, 3, "orders", 1));
    ck_assert_uint_eq(catalogue_find(catalogue, BYTES_OF("orders"))->id, 2);
    ck_assert_uint_eq(catalogue->topic_count, 1);
    put(catalogue, history, make_topic(1, 2, "orders", 1));
    ck_assert_uint_eq(catalogue_find(catalogue, BYTES_OF("orders"))->id, 2);
    history_destroy(history);
    catalogue_destroy(catalogue);
}
END_TEST

START_TEST(the_newest_deletions_are_remembered)
{
    struct catalogue *catalogue = catalogue_create(0, DURABILITY_DISK);
    struct history *history = history_create();
    for (uint32_t id = 1; id <= DELETED_MAX + 10; id++) {
        put_deleted(catalogue, history, id, id);
    }
    ck_assert_uint_eq(catalogue->deleted_count, DELETED_MAX);
    ck_assert_ptr_null(catalogue_find_deleted(catalogue, 10));
    ck_assert_ptr_nonnull(catalogue_find_deleted(catalogue, 11));
    ck_assert_uint_eq(catalogue->next_id, DELETED_MAX + 11);
    history_destroy(history);
    catalogue_destroy(catalogue);
}
END_TEST

START_TEST(a_group_that_was_put_is_found)
{
    struct catalogue *catalogue = catalogue_create(3, DURABILITY_DISK);
    struct history *history = history_create();
    put(catalogue, history, make_topic(1, 1, "same", 3));
    put_group(catalogue, history, make_group(2, 2, "same", "orders", "paid"));
    put_group(catalogue, history, make_group(3, 3, "%DLQ%same", "%DLQ%same", NULL));
    put_group(catalogue, history, make_group(4, 4, "same@one", "orders", "*"));
    const struct group *group = catalogue_find_group(catalogue, BYTES_OF("same"));
    ck_assert_uint_eq(group->id, 2);
    ck_assert_uint_eq(catalogue_find(catalogue, BYTES_OF("same"))->id, 1);
    ck_assert_ptr_eq(catalogue_find_group_id(catalogue, 2), group);
    ck_assert_ptr_null(catalogue_find_group_id(catalogue, 1));
    ck_assert_ptr_null(catalogue_find_id(catalogue, 2));
    ck_assert_ptr_nonnull(group->topics[0].filter);
    ck_assert_uint_eq(group->settings.attempts, 3);
    ck_assert_uint_eq(group->settings.lease_ms, GROUP_LEASE_MS_DEFAULT);
    /* A filter that wants everything is none, and stays as it was given. */
    group = catalogue_find_group(catalogue, BYTES_OF("same@one"));
    ck_assert_ptr_null(group->topics[0].filter);
    ck_assert(bytes_equal(group->topics[0].filter_text, BYTES_OF("*")));
    ck_assert_uint_eq(catalogue->group_count, 3);
    ck_assert_uint_eq(catalogue->next_id, 5);
    ck_assert_uint_eq(catalogue->version, 4);
    history_destroy(history);
    catalogue_destroy(catalogue);
}
END_TEST

START_TEST(of_a_group_the_highest_version_stays)
{
    struct catalogue *catalogue = catalogue_create(0, DURABILITY_DISK);
    struct history *history = history_create();
    put_group(catalogue, history, make_group(1, 5, "g", "orders", "paid"));
    uint64_t hash = hash_of(catalogue);
    uint64_t bytes = catalogue->group_bytes;
    put_group(catalogue, history, make_group(1, 4, "g", "orders", "paid || sent"));
    ck_assert_uint_eq(hash_of(catalogue), hash);
    put_group(catalogue, history, make_group(1, 5, "g", "orders", "paid"));
    ck_assert_uint_eq(hash_of(catalogue), hash);
    ck_assert_uint_eq(catalogue->group_bytes, bytes);
    put_group(catalogue, history, make_group(1, 6, "g", "orders", "paid || sent"));
    ck_assert_uint_ne(hash_of(catalogue), hash);
    ck_assert_uint_gt(catalogue->group_bytes, bytes);
    /* Another of its name, which was made when this one was gone. */
    put_group(catalogue, history, make_group(2, 9, "g", "orders", NULL));
    ck_assert_uint_eq(catalogue_find_group(catalogue, BYTES_OF("g"))->id, 2);
    put_group(catalogue, history, make_group(1, 8, "g", "orders", NULL));
    ck_assert_uint_eq(catalogue_find_group(catalogue, BYTES_OF("g"))->id, 2);
    ck_assert_uint_eq(catalogue->group_count, 1);
    history_destroy(history);
    catalogue_destroy(catalogue);
}
END_TEST

START_TEST(a_deleted_group_never_comes_again)
{
    struct catalogue *catalogue = catalogue_create(0, DURABILITY_DISK);
    struct history *history = history_create();
    put_group(catalogue, history, make_group(1, 1, "g", "orders", NULL));
    uint8_t bytes[64];
    struct writer writer = writer_over(bytes, sizeof(bytes));
    catalogue_write_delete_group(&writer, 1, 2);
    ck_assert(give(catalogue, writer_bytes(&writer), false));
    ck_assert_ptr_null(catalogue_find_group(catalogue, BYTES_OF("g")));
    ck_assert_uint_eq(catalogue->group_bytes, 0);
    ck_assert_uint_eq(catalogue_find_deleted(catalogue, 1)->version, 2);
    put_group(catalogue, history, make_group(1, 9, "g", "orders", NULL));
    ck_assert_uint_eq(catalogue->group_count, 0);
    history_destroy(history);
    catalogue_destroy(catalogue);
}
END_TEST

START_TEST(a_filter_that_cannot_be_compiled_is_no_entry_of_ours)
{
    struct catalogue *catalogue = catalogue_create(0, DURABILITY_DISK);
    struct group *group = make_group(1, 1, "g", "orders", "a = 1");
    uint8_t bytes[CATALOGUE_OPERATION_BYTES_MAX];
    struct writer writer = writer_over(bytes, sizeof(bytes));
    catalogue_write_put_group(&writer, group);
    group_unref(group);
    uint8_t *one = memmem(bytes, writer_length(&writer), "a = 1", 5);
    ck_assert_ptr_nonnull(one);
    one[4] = '=';
    ck_assert(!give(catalogue, writer_bytes(&writer), false));
    ck_assert_uint_eq(catalogue->group_count, 0);
    catalogue_destroy(catalogue);
}
END_TEST

START_TEST(the_largest_group_fits_an_operation_and_the_smallest_chunk)
{
    enum { CHUNK_BYTES = 16 * 1024 };
    static uint8_t pairs[GROUP_TOPICS_BYTES_MAX];
    char name[GROUP_ANY_NAME_BYTES_MAX + 1];
    memset(name, 'n', sizeof(name));
    name[GROUP_NAME_BYTES_MAX] = '@';
    struct writer writer = writer_over(pairs, sizeof(pairs));
    static char filter[FILTER_BYTES_MAX];
    memset(filter, 'f', sizeof(filter));
    for (size_t i = 250; i < sizeof(filter); i += 251) {
        filter[i] = ' ';
        filter[i - 1] = filter[i - 2] = '|';
        filter[i - 3] = ' ';
    }
    uint32_t count = 0;
    while (writer_left(&writer) > FILTER_BYTES_MAX + 16) {
        char topic[16];
        (void)snprintf(topic, sizeof(topic), "topic-%u", count++);
        writer_put_string(&writer, topic);
        writer_put_str(&writer, bytes_make(filter, sizeof(filter)));
    }
    struct group_settings settings;
    group_settings_init(&settings);
    settings.given = (1U << GROUP_SETTING_COUNT) - 1;
    settings.topic_count = count;
    settings.topics = cursor_over(writer_bytes(&writer));
    settings.backoff_count = GROUP_BACKOFF_MAX;
    for (uint32_t i = 0; i < GROUP_BACKOFF_MAX; i++) {
        settings.backoff_ms[i] = DURATION_MS_MAX;
    }
    const struct group_parts parts = {.id = UINT32_MAX - 1,
                                      .version = INTEGER_LIMIT - 1,
                                      .name = bytes_make(name, GROUP_ANY_NAME_BYTES_MAX),
                                      .settings = &settings};
    struct group *group;
    struct refusal refusal;
    ck_assert_int_eq(group_create(&parts, &group, &refusal), OK);
    struct catalogue *catalogue = catalogue_create(0, DURABILITY_DISK);
    struct history *history = history_create();
    put_group(catalogue, history, group);
    uint8_t *chunk = malloc(CHUNK_BYTES);
    writer = writer_over(chunk, CHUNK_BYTES);
    events_begin(&writer);
    struct view_place place = {{0}};
    uint32_t rows = 0;
    (void)catalogue->view.operations->save(&catalogue->view, &place, &writer, &rows);
    ck_assert(!writer.overflowed);
    ck_assert_uint_ge(rows, 1);
    free(chunk);
    history_destroy(history);
    catalogue_destroy(catalogue);
}
END_TEST

START_TEST(settings_keep_their_newest_value)
{
    struct catalogue *catalogue = catalogue_create(0, DURABILITY_DISK);
    struct history *history = history_create();
    ck_assert_ptr_null(catalogue_find_setting(catalogue, "name"));
    set(catalogue, history, "name", "broker-a", 1);
    set(catalogue, history, "name", "broker-b", 3);
    set(catalogue, history, "name", "broker-c", 2);
    ck_assert_str_eq(catalogue_find_setting(catalogue, "name")->value, "broker-b");
    ck_assert_uint_eq(catalogue->version, 3);
    history_destroy(history);
    catalogue_destroy(catalogue);
}
END_TEST

START_TEST(a_reset_catalogue_is_as_new)
{
    struct catalogue *catalogue = catalogue_create(2, DURABILITY_MEMORY);
    struct catalogue *fresh = catalogue_create(2, DURABILITY_MEMORY);
    struct history *history = history_create();
    put(catalogue, history, make_topic(4, 1, "orders", 3));
    put_group(catalogue, history, make_group(5, 2, "g", "orders", "paid"));
    put_deleted(catalogue, history, 3, 2);
    set(catalogue, history, "name", "broker-a", 3);
    catalogue->view.operations->reset(&catalogue->view);
    ck_assert_uint_eq(hash_of(catalogue), hash_of(fresh));
    ck_assert_uint_eq(catalogue->next_id, 1);
    ck_assert_uint_eq(catalogue->version, 0);
    ck_assert_ptr_null(catalogue_find_group(catalogue, BYTES_OF("g")));
    history_destroy(history);
    catalogue_destroy(catalogue);
    catalogue_destroy(fresh);
}
END_TEST

/* Whatever byte is wrong: understood or refused, and nothing is read beyond the end. */
static void give_damaged(struct catalogue *catalogue, struct bytes entry)
{
    for (size_t i = 2; i < entry.length; i++) {
        for (unsigned flip = 1; flip < 256; flip += 2) {
            uint8_t *copy = malloc(entry.length);
            memcpy(copy, entry.data, entry.length);
            copy[i] = (uint8_t)(copy[i] ^ flip);
            (void)give(catalogue, bytes_make(copy, entry.length), false);
            free(copy);
        }
    }
    for (size_t cut = 12; cut < entry.length; cut++) {
        uint8_t *copy = malloc(cut);
        memcpy(copy, entry.data, cut);
        ck_assert(!give(catalogue, bytes_make(copy, cut), false));
        free(copy);
    }
}

START_TEST(entries_that_do_not_parse_are_refused)
{
    struct catalogue *catalogue = catalogue_create(0, DURABILITY_DISK);
    uint8_t bytes[CATALOGUE_OPERATION_BYTES_MAX];
    struct topic *topic = make_topic(1, 1, "orders", 5);
    struct writer writer = writer_over(bytes, sizeof(bytes));
    catalogue_write_put(&writer, topic);
    give_damaged(catalogue, writer_bytes(&writer));
    topic_unref(topic);
    struct group *group = make_group(2, 2, "billing", "orders", "paid || sent");
    writer = writer_over(bytes, sizeof(bytes));
    catalogue_write_put_group(&writer, group);
    give_damaged(catalogue, writer_bytes(&writer));
    group_unref(group);
    catalogue_destroy(catalogue);
}
END_TEST

START_TEST(numbers_of_others_are_left_to_them)
{
    struct catalogue *catalogue = catalogue_create(0, DURABILITY_DISK);
    uint8_t bytes[16];
    struct writer writer = writer_over(bytes, sizeof(bytes));
    event_put_durable(&writer, 5);
    ck_assert(!give(catalogue, writer_bytes(&writer), false));
    ck_assert(!give(catalogue, writer_bytes(&writer), true));
    catalogue_destroy(catalogue);
}
END_TEST

/* One random change of a group that a broker could have decided. */
static void change_group(struct catalogue *catalogue, struct history *history,
                         struct random *random)
{
    static const char *const filters[] = {NULL, "paid", "*", "weight > 2.5"};
    const char *filter = filters[random_below(random, 4)];
    uint64_t version = catalogue->version + 1;
    char name[32];
    if (catalogue->group_count == 0 || random_below(random, 3) > 0) {
        (void)snprintf(name, sizeof(name), "group-%u", catalogue->next_id);
        put_group(catalogue, history, make_group(catalogue->next_id, version, name, "t", filter));
        return;
    }
    const struct group *group = catalogue->groups[random_below(random, catalogue->group_count)];
    if (random_below(random, 2) == 0) {
        (void)snprintf(name, sizeof(name), "%.*s", (int)group->name.length,
                       (const char *)group->name.data);
        put_group(catalogue, history, make_group(group->id, version, name, "t", filter));
    } else {
        put_deleted(catalogue, history, group->id, version);
    }
}

/* One random change that a broker could have decided. */
static void change(struct catalogue *catalogue, struct history *history, struct random *random)
{
    uint64_t version = catalogue->version + 1;
    uint64_t dice = random_below(random, 14);
    char name[32];
    if (dice >= 10) {
        change_group(catalogue, history, random);
    } else if (dice < 5 || catalogue->topic_count == 0) {
        (void)snprintf(name, sizeof(name), "topic-%u", catalogue->next_id);
        uint32_t queues = 1 + (uint32_t)random_below(random, 20);
        put(catalogue, history,
            dice == 0 ? make_shared_topic(catalogue->next_id, version, name, queues)
                      : make_topic(catalogue->next_id, version, name, queues));
    } else if (dice < 9) {
        uint64_t place = random_below(random, catalogue->topic_count);
        const struct topic *topic = catalogue->topics[place];
        if (dice < 7) {
            (void)snprintf(name, sizeof(name), "%.*s", (int)topic->name.length,
                           (const char *)topic->name.data);
            put(catalogue, history, make_topic(topic->id, version, name, topic->queue_count + 1));
        } else {
            put_deleted(catalogue, history, topic->id, version);
        }
    } else {
        (void)snprintf(name, sizeof(name), "setting-%u", (unsigned)random_below(random, 5));
        set(catalogue, history, name, name + 8, version);
    }
}

/* Writes one chunk of a snapshot; true when it was the last. */
static bool save_chunk(struct catalogue *catalogue, struct history *history,
                       struct view_place *place, size_t bytes)
{
    uint8_t *chunk = malloc(bytes);
    struct writer writer = writer_over(chunk, bytes);
    uint32_t rows = 0;
    bool done = catalogue->view.operations->save(&catalogue->view, place, &writer, &rows);
    ck_assert(!writer.overflowed);
    struct cursor cursor = cursor_over(writer_bytes(&writer));
    for (uint32_t i = 0; i < rows; i++) {
        struct bytes row;
        ck_assert(cursor_take_span(&cursor, &row));
        struct writer copy = history_writer(history);
        writer_put_raw(&copy, row);
        history_add(history, &copy, true);
    }
    ck_assert(cursor_is_done(&cursor));
    free(chunk);
    return done;
}

START_TEST(a_replay_from_a_snapshot_gives_what_a_replay_of_everything_gives)
{
    struct random random;
    random_init(&random, (uint64_t)_i);
    struct catalogue *live = catalogue_create(0, DURABILITY_DISK);
    struct history *history = history_create();
    uint64_t before = random_below(&random, 3000);
    for (uint64_t i = 0; i < before; i++) {
        change(live, history, &random);
    }
    uint32_t begin = history->count;
    struct view_place place = {0};
    while (!save_chunk(live, history, &place, 16384 + random_below(&random, 4096))) {
        for (uint64_t i = random_below(&random, 20); i > 0; i--) {
            change(live, history, &random);
        }
    }
    for (uint64_t i = random_below(&random, 50); i > 0; i--) {
        change(live, history, &random);
    }
    struct catalogue *loaded = catalogue_create(0, DURABILITY_DISK);
    replay(loaded, history, begin);
    ck_assert_uint_eq(hash_of(loaded), hash_of(live));
    ck_assert_uint_eq(loaded->version, live->version);
    ck_assert_uint_eq(loaded->next_id, live->next_id);
    ck_assert_uint_eq(loaded->topic_count, live->topic_count);
    ck_assert_uint_eq(loaded->group_count, live->group_count);
    ck_assert_uint_eq(loaded->group_bytes, live->group_bytes);
    ck_assert_mem_eq(loaded->queue_count, live->queue_count, sizeof(live->queue_count));
    ck_assert_uint_eq(loaded->part_count, live->part_count);
    catalogue_destroy(loaded);
    catalogue_destroy(live);
    history_destroy(history);
}
END_TEST

START_TEST(a_topic_on_two_brokers_comes_back_with_its_placement)
{
    struct catalogue *catalogue = catalogue_create(0, DURABILITY_DISK);
    struct history *history = history_create();
    put(catalogue, history, make_shared_topic(8, 1, "orders", 5));
    const struct topic *topic = catalogue_find(catalogue, BYTES_OF("orders"));
    ck_assert_uint_eq(topic->queue_count, 5);
    ck_assert_uint_eq(topic->part_count, 5);
    for (uint32_t queue = 0; queue < 5; queue++) {
        ck_assert_int_eq(topic_has(topic, queue), queue % 2 == 0);
        ck_assert_uint_eq(topic->parts[queue].first, queue);
    }
    ck_assert(bytes_equal(topic->parts[3].broker, BYTES_OF("broker-b")));
    ck_assert_uint_eq(topic_shard(topic, 4), (8 + 4) % 4);
    ck_assert_uint_eq(catalogue->part_count, 5);
    put_deleted(catalogue, history, 8, 2);
    ck_assert_uint_eq(catalogue->part_count, 0);
    ck_assert_uint_eq(catalogue->queue_count[0] + catalogue->queue_count[2], 0);
    history_destroy(history);
    catalogue_destroy(catalogue);
}
END_TEST

START_TEST(queues_beyond_a_placement_or_out_of_order_are_refused)
{
    static const struct event_queue_shard beyond[] = {{0, 0}, {4, 1}};
    static const struct event_queue_shard twice[] = {{1, 0}, {1, 1}};
    static const struct event_queue_shard good[] = {{0, 0}, {1, 1}};
    const struct event_placement parts[] = {{BYTES_OF("broker-a"), 0, 2}, {BYTES_OF("b"), 2, 2}};
    const struct event_placement gap[] = {{BYTES_OF("broker-a"), 0, 2}, {BYTES_OF("b"), 3, 1}};
    struct catalogue *catalogue = catalogue_create(0, DURABILITY_DISK);
    const struct event_topic event = {
        .id = 1, .version = 1, .name = BYTES_OF("t"), .placement_count = 2, .queue_count = 2};
    const struct {
        const struct event_placement *parts;
        const struct event_queue_shard *queues;
        bool is_good;
    } rows[] = {
        {parts, beyond, false}, {parts, twice, false}, {gap, good, false}, {parts, good, true}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint8_t bytes[256];
        struct writer writer = writer_over(bytes, sizeof(bytes));
        event_put_topic(&writer, EVENT_TOPIC_PUT, &event, rows[i].parts, rows[i].queues);
        ck_assert_int_eq(give(catalogue, writer_bytes(&writer), false), rows[i].is_good);
    }
    catalogue_destroy(catalogue);
}
END_TEST

START_TEST(the_largest_topic_fits_an_operation)
{
    uint8_t bytes[CATALOGUE_OPERATION_BYTES_MAX];
    char name[TOPIC_NAME_BYTES_MAX + 1];
    memset(name, 'n', TOPIC_NAME_BYTES_MAX);
    name[TOPIC_NAME_BYTES_MAX] = '\0';
    struct topic *topic = make_topic(UINT32_MAX, INTEGER_LIMIT - 1, name, QUEUES_PER_TOPIC_MAX);
    struct event_placement parts[PLACEMENT_PARTS_MAX];
    for (uint32_t i = 0; i < PLACEMENT_PARTS_MAX; i++) {
        parts[i] = (struct event_placement){bytes_from_string(name), QUEUES_PER_TOPIC_MAX, 1};
    }
    topic->parts = parts;
    topic->part_count = PLACEMENT_PARTS_MAX;
    struct writer writer = writer_over(bytes, sizeof(bytes));
    catalogue_write_put(&writer, topic);
    ck_assert(!writer.overflowed);
    topic_unref(topic);
}
END_TEST

static Suite *catalogue_suite(void)
{
    Suite *suite = suite_create("catalogue");
    TCase *cases = tcase_create("catalogue");
    tcase_add_test(cases, what_was_put_is_found);
    tcase_add_test(cases, an_older_version_changes_nothing);
    tcase_add_test(cases, a_deletion_is_final_and_its_id_never_comes_again);
    tcase_add_test(cases, of_two_topics_of_one_name_the_newer_stays);
    tcase_add_test(cases, the_newest_deletions_are_remembered);
    tcase_add_test(cases, a_group_that_was_put_is_found);
    tcase_add_test(cases, of_a_group_the_highest_version_stays);
    tcase_add_test(cases, a_deleted_group_never_comes_again);
    tcase_add_test(cases, a_filter_that_cannot_be_compiled_is_no_entry_of_ours);
    tcase_add_test(cases, the_largest_group_fits_an_operation_and_the_smallest_chunk);
    tcase_add_test(cases, settings_keep_their_newest_value);
    tcase_add_test(cases, a_reset_catalogue_is_as_new);
    tcase_add_test(cases, entries_that_do_not_parse_are_refused);
    tcase_add_test(cases, numbers_of_others_are_left_to_them);
    tcase_add_test(cases, the_largest_topic_fits_an_operation);
    tcase_add_test(cases, a_topic_on_two_brokers_comes_back_with_its_placement);
    tcase_add_test(cases, queues_beyond_a_placement_or_out_of_order_are_refused);
    tcase_add_loop_test(cases, a_replay_from_a_snapshot_gives_what_a_replay_of_everything_gives, 0,
                        20);
    suite_add_tcase(suite, cases);
    return suite;
}

TEST_MAIN(catalogue_suite)
