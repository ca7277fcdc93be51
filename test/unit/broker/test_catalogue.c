/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_catalogue.c - the catalogue as a view: operations, rows, and the equation between them.
 */
#include "broker/catalogue.h"
#include "proto/base/random.h"
#include "proto/events.h"
#include "test/lib/check_main.h"

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

static void put(struct catalogue *catalogue, struct history *history, struct topic *topic)
{
    struct writer writer = history_writer(history);
    catalogue_write_put(&writer, topic);
    topic_unref(topic);
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
    put_deleted(catalogue, history, 3, 2);
    set(catalogue, history, "name", "broker-a", 3);
    catalogue->view.operations->reset(&catalogue->view);
    ck_assert_uint_eq(hash_of(catalogue), hash_of(fresh));
    ck_assert_uint_eq(catalogue->next_id, 1);
    ck_assert_uint_eq(catalogue->version, 0);
    history_destroy(history);
    catalogue_destroy(catalogue);
    catalogue_destroy(fresh);
}
END_TEST

START_TEST(entries_that_do_not_parse_are_refused)
{
    struct catalogue *catalogue = catalogue_create(0, DURABILITY_DISK);
    uint8_t bytes[CATALOGUE_OPERATION_BYTES_MAX];
    struct topic *topic = make_topic(1, 1, "orders", 5);
    struct writer writer = writer_over(bytes, sizeof(bytes));
    catalogue_write_put(&writer, topic);
    size_t length = writer_length(&writer);
    /* Whatever byte is wrong: understood or refused, and nothing is read beyond the end. */
    for (size_t i = 2; i < length; i++) {
        for (unsigned flip = 1; flip < 256; flip += 2) {
            uint8_t *copy = malloc(length);
            memcpy(copy, bytes, length);
            copy[i] = (uint8_t)(copy[i] ^ flip);
            (void)give(catalogue, bytes_make(copy, length), false);
            free(copy);
        }
    }
    for (size_t cut = 12; cut < length; cut++) {
        uint8_t *copy = malloc(cut);
        memcpy(copy, bytes, cut);
        ck_assert(!give(catalogue, bytes_make(copy, cut), false));
        free(copy);
    }
    topic_unref(topic);
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

/* One random change that a broker could have decided. */
static void change(struct catalogue *catalogue, struct history *history, struct random *random)
{
    uint64_t version = catalogue->version + 1;
    uint64_t dice = random_below(random, 10);
    char name[32];
    if (dice < 5 || catalogue->topic_count == 0) {
        (void)snprintf(name, sizeof(name), "topic-%u", catalogue->next_id);
        uint32_t queues = 1 + (uint32_t)random_below(random, 20);
        put(catalogue, history, make_topic(catalogue->next_id, version, name, queues));
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
    while (!save_chunk(live, history, &place, 1024 + random_below(&random, 4096))) {
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
    ck_assert_mem_eq(loaded->queue_count, live->queue_count, sizeof(live->queue_count));
    catalogue_destroy(loaded);
    catalogue_destroy(live);
    history_destroy(history);
}
END_TEST

START_TEST(the_largest_topic_fits_an_operation)
{
    uint8_t bytes[CATALOGUE_OPERATION_BYTES_MAX];
    char name[TOPIC_NAME_BYTES_MAX + 1];
    memset(name, 'n', TOPIC_NAME_BYTES_MAX);
    name[TOPIC_NAME_BYTES_MAX] = '\0';
    struct topic *topic = make_topic(UINT32_MAX, INTEGER_LIMIT - 1, name, QUEUES_PER_TOPIC_MAX);
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
    tcase_add_test(cases, settings_keep_their_newest_value);
    tcase_add_test(cases, a_reset_catalogue_is_as_new);
    tcase_add_test(cases, entries_that_do_not_parse_are_refused);
    tcase_add_test(cases, numbers_of_others_are_left_to_them);
    tcase_add_test(cases, the_largest_topic_fits_an_operation);
    tcase_add_loop_test(cases, a_replay_from_a_snapshot_gives_what_a_replay_of_everything_gives, 0,
                        20);
    suite_add_tcase(suite, cases);
    return suite;
}

TEST_MAIN(catalogue_suite)
