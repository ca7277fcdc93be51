/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_groups.c - any operations and rows, before the view of where groups stand.
 *
 * The input is the content of an events record: an array of entries. An entry whose number is an operation's is
 * applied, any other is loaded as a row. The catalogue has three groups, one of each
 * order: 1 none, 2 queue, 3 key. Extras of dead letters are read from the same bytes.
 *
 * The properties: what is not understood by its fields changes nothing; what is saved and loaded is the same.
 */
#include "broker/catalogue.h"
#include "broker/core.h"
#include "broker/groups.h"
#include "broker/shard.h"
#include "net/simulation.h"
#include "proto/dead_letter_extra.h"
#include "proto/events.h"
#include "test/fuzz/fuzz.h"
#include "test/lib/catalogue_apply.h"
#include "test/lib/group_of_topic.h"

enum { SNAPSHOT_BYTES = 64 * 1024, GROUPS = 3 };

/* What a view of groups needs around it. */
struct stand {
    struct simulation *simulation;
    struct cores cores;
    struct core core;
    struct shard shard;
};

static void put_group(struct catalogue *catalogue, uint32_t id, enum group_order order)
{
    static const char *const names[GROUPS] = {"none", "queue", "key"};
    struct group_settings settings;
    group_settings_init(&settings);
    settings.given = 1U << GROUP_SETTING_ORDER;
    settings.order = order;
    const struct group_parts parts = {
        .id = id, .version = id, .name = bytes_from_string(names[id - 1]), .settings = &settings};
    struct group *group = group_of_topic(&parts, "t", NULL);
    uint8_t bytes[1024];
    struct writer writer = writer_over(bytes, sizeof(bytes));
    catalogue_write_put_group(&writer, group);
    group_unref(group);
    ASSERT(catalogue_apply(catalogue, writer_bytes(&writer)));
}

static void stand_init(struct stand *stand)
{
    const struct simulation_options options = {
        .seed = 1, .delay_ns_least = 1, .delay_ns_most = 2, .window_bytes = 1};
    *stand = (struct stand){.simulation = simulation_create(&options)};
    stand->core.reactor = reactor_create_simulated(stand->simulation, "fuzz");
    stand->core.cores = &stand->cores;
    stand->shard.core = &stand->core;
    stand->shard.catalogue = catalogue_create(0, DURABILITY_MEMORY);
    put_group(stand->shard.catalogue, 1, GROUP_ORDER_NONE);
    put_group(stand->shard.catalogue, 2, GROUP_ORDER_QUEUE);
    put_group(stand->shard.catalogue, 3, GROUP_ORDER_KEY);
    stand->shard.groups = groups_create(&stand->shard);
}

static void stand_deinit(struct stand *stand)
{
    groups_destroy(stand->shard.groups);
    catalogue_destroy(stand->shard.catalogue);
    reactor_destroy(stand->core.reactor);
    simulation_destroy(stand->simulation);
}

static uint64_t hash_of(const struct stand *stand)
{
    const struct view *view = &stand->shard.groups->view;
    return view->operations->hash(view);
}

static bool give(struct stand *stand, uint64_t number, struct cursor fields)
{
    struct view *view = &stand->shard.groups->view;
    if (number > UINT32_MAX) {
        return false;
    }
    return number < ROW_SEGMENT
               ? view->operations->apply_operation(view, (uint32_t)number, &fields, 0, false)
               : view->operations->load(view, (uint32_t)number, &fields);
}

/* Gives all entries up to the first that is none, which a log would end at. */
static void give_all(struct stand *stand, struct bytes content)
{
    struct events_reader reader;
    if (!events_open(&reader, content)) {
        return;
    }
    uint64_t number = 0;
    struct cursor fields;
    while (events_next(&reader, &number, &fields) == EVENTS_ENTRY) {
        /* Of a progress the first ranges may have been settled before a later one is refused. */
        uint64_t before = hash_of(stand);
        if (!give(stand, number, fields)) {
            ASSERT(number == EVENT_PROGRESS || hash_of(stand) == before);
            return;
        }
    }
}

/* Gives `loaded` what a snapshot of `stand` says. */
static void save_and_load(struct stand *stand, struct stand *loaded)
{
    struct view *view = &stand->shard.groups->view;
    static uint8_t bytes[SNAPSHOT_BYTES];
    struct view_place place = {{0}};
    bool done = false;
    while (!done) {
        struct writer writer = writer_over(bytes, sizeof(bytes));
        uint32_t rows = 0;
        done = view->operations->save(view, &place, &writer, &rows);
        ASSERT(!writer.overflowed && (done || rows > 0));
        struct cursor cursor = cursor_over(writer_bytes(&writer));
        for (uint32_t i = 0; i < rows; i++) {
            struct bytes row = {NULL, 0};
            ASSERT(cursor_take_span(&cursor, &row));
            struct cursor fields = cursor_over(row);
            uint32_t count = 0;
            uint64_t number = 0;
            ASSERT(cursor_take_array(&fields, &count) && cursor_take_uint(&fields, &number));
            ASSERT(give(loaded, number, fields));
        }
        ASSERT(cursor_is_done(&cursor));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    uint8_t *copy = fuzz_copy(data, length);
    struct stand stand;
    struct stand loaded;
    struct dead_letter_extra was;
    stand_init(&stand);
    stand_init(&loaded);
    bool is_dead_letter = dead_letter_extra_read(bytes_make(copy, length), &was);
    ASSERT(!is_dead_letter || was.offset < INTEGER_LIMIT);
    give_all(&stand, bytes_make(copy, length));
    save_and_load(&stand, &loaded);
    ASSERT(hash_of(&loaded) == hash_of(&stand));
    stand_deinit(&loaded);
    stand_deinit(&stand);
    free(copy);
    return 0;
}
