/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_catalogue.c - any operations and rows, before the catalogue.
 *
 * The input is the content of an events record: an array of entries. An entry whose number is an
 * operation's is applied, any other is loaded as a row.
 *
 * The properties: what is not understood changes nothing; applying everything again changes
 * nothing; what is saved and loaded is the same catalogue.
 */
#include "broker/catalogue.h"
#include "proto/events.h"
#include "test/fuzz/fuzz.h"

enum { SNAPSHOT_BYTES = 1 << 20, SHARD = 1 };

static uint64_t hash_of(const struct catalogue *catalogue)
{
    return catalogue->view.operations->hash(&catalogue->view);
}

static bool give(struct catalogue *catalogue, uint64_t number, struct cursor fields)
{
    struct view *view = &catalogue->view;
    if (number > UINT32_MAX) {
        return false;
    }
    return number < ROW_SEGMENT
               ? view->operations->apply_operation(view, (uint32_t)number, &fields, 0, false)
               : view->operations->load(view, (uint32_t)number, &fields);
}

/* Gives all entries; false where the input is no array of entries to its end. */
static bool give_all(struct catalogue *catalogue, struct bytes content)
{
    struct events_reader reader;
    if (!events_open(&reader, content)) {
        return false;
    }
    for (;;) {
        uint64_t number = 0;
        struct cursor fields;
        enum events_result result = events_next(&reader, &number, &fields);
        if (result != EVENTS_ENTRY) {
            return result == EVENTS_DONE;
        }
        uint64_t before = hash_of(catalogue);
        if (!give(catalogue, number, fields)) {
            ASSERT(hash_of(catalogue) == before);
        }
    }
}

/* What a snapshot of it gives. */
static struct catalogue *saved_and_loaded(struct catalogue *catalogue)
{
    struct catalogue *loaded = catalogue_create(SHARD, DURABILITY_DISK);
    uint8_t *bytes = malloc(SNAPSHOT_BYTES);
    ASSERT(bytes != NULL);
    struct view_place place = {{0}};
    bool done = false;
    while (!done) {
        struct writer writer = writer_over(bytes, SNAPSHOT_BYTES);
        uint32_t rows = 0;
        done = catalogue->view.operations->save(&catalogue->view, &place, &writer, &rows);
        ASSERT(!writer.overflowed);
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
    free(bytes);
    return loaded;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    uint8_t *copy = fuzz_copy(data, length);
    struct catalogue *catalogue = catalogue_create(SHARD, DURABILITY_DISK);
    (void)give_all(catalogue, bytes_make(copy, length));
    struct catalogue *loaded = saved_and_loaded(catalogue);
    ASSERT(hash_of(loaded) == hash_of(catalogue));
    catalogue_destroy(loaded);
    catalogue_destroy(catalogue);
    free(copy);
    return 0;
}
