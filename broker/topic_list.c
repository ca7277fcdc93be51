/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topic_list.c - the method topic.list: a page of the home core's directory, by name.
 */
#include "broker/call.h"
#include "broker/core.h"
#include "broker/directory.h"
#include "broker/topic_methods.h"

#include <stdlib.h>

enum {
    /* A page ends after the row that crosses this; `next` goes on from there. */
    PAGE_BYTES = 1024 * 1024,
    /* One row without its placement, and what stands around the rows. */
    ROW_BYTES = TOPIC_NAME_BYTES_MAX + 128,
    AROUND_BYTES = TOPIC_NAME_BYTES_MAX + 64
};

static void write_row(struct writer *writer, const struct topic *topic, const char *broker)
{
    writer_put_map(writer, 6);
    writer_put_key_str(writer, "name", topic->name);
    writer_put_key_uint(writer, "id", topic->id);
    writer_put_key_uint(writer, "version", topic->version);
    writer_put_key_uint(writer, "queues", topic->queue_count);
    writer_put_string(writer, "placement");
    topic_write_placement(topic, broker, writer);
    topic_write_settings(topic, writer);
}

/* The rows from place `first` to `end`. `next` is there where more follow: the last name here. */
static void write_page(struct writer *writer, const struct core *core, uint32_t first, uint32_t end,
                       bool more)
{
    const struct directory *directory = core->directory;
    writer_put_map(writer, more ? 2 : 1);
    writer_put_string(writer, "rows");
    writer_put_array(writer, end - first);
    for (uint32_t place = first; place < end; place++) {
        write_row(writer, directory->sorted[place], core->cores->name);
    }
    if (more) {
        writer_put_key_str(writer, "next", directory->sorted[end - 1]->name);
    }
}

void topic_list_run(struct call *call, const struct arguments *arguments)
{
    const struct directory *directory = call->home->directory;
    struct bytes prefix = arguments_bytes(arguments, ARGUMENT_PREFIX);
    struct bytes after = arguments_bytes(arguments, ARGUMENT_AFTER);
    uint64_t limit = arguments_number(arguments, ARGUMENT_LIMIT);

    uint32_t first = directory_place(directory, prefix);
    if (arguments_has(arguments, ARGUMENT_AFTER) && bytes_compare(after, prefix) >= 0) {
        first = directory_place_after(directory, after);
    }
    uint32_t end = first;
    size_t bytes = AROUND_BYTES;
    while (end < directory->count && end - first < limit && bytes < PAGE_BYTES &&
           bytes_starts_with(directory->sorted[end]->name, prefix)) {
        bytes += ROW_BYTES + topic_placement_bytes(directory->sorted[end]);
        end++;
    }
    bool more = end > first && end < directory->count &&
                bytes_starts_with(directory->sorted[end]->name, prefix);

    uint8_t *room = malloc(bytes);
    ASSERT(room != NULL);
    struct writer writer = writer_over(room, bytes);
    write_page(&writer, call->home, first, end, more);
    ASSERT(!writer.overflowed);
    call_answer(call, writer_bytes(&writer));
    free(room);
}
