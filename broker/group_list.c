/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group_list.c - the method group.list: a page of the home core's directory, by name.
 */
#include "broker/call.h"
#include "broker/core.h"
#include "broker/directory.h"
#include "broker/group_methods.h"

#include <stdlib.h>

enum {
    /* A page ends before the row that would cross this, but for the first; `next` goes on from there. */
    PAGE_BYTES = 1024 * 1024,
    /* What stands around the rows. */
    AROUND_BYTES = GROUP_ANY_NAME_BYTES_MAX + 64,
    /* A row without its topics: name, numbers, keys, and the other settings. */
    ROW_BYTES = GROUP_ANY_NAME_BYTES_MAX + 64 + GROUP_SETTINGS_BYTES_MAX - GROUP_TOPICS_BYTES_MAX
};

static void write_row(struct writer *writer, const struct group *group)
{
    writer_put_map(writer, 4);
    writer_put_key_str(writer, "name", group->name);
    writer_put_key_uint(writer, "id", group->id);
    writer_put_key_uint(writer, "version", group->version);
    group_write_settings(group, writer);
}

/* The rows from place `first` to `end`. `next` is there where more follow: the last name here. */
static void write_page(struct writer *writer, const struct directory *directory, uint32_t first,
                       uint32_t end, bool more)
{
    writer_put_map(writer, more ? 2 : 1);
    writer_put_string(writer, "rows");
    writer_put_array(writer, end - first);
    for (uint32_t place = first; place < end; place++) {
        write_row(writer, directory->groups[place]);
    }
    if (more) {
        writer_put_key_str(writer, "next", directory->groups[end - 1]->name);
    }
}

/* How many rows from `first` on belong to the page, and how many bytes they take at most. */
static uint32_t page_end(const struct directory *directory, uint32_t first, uint64_t limit,
                         struct bytes prefix, size_t *bytes_out)
{
    uint32_t end = first;
    size_t bytes = 0;
    while (end < directory->group_count && end - first < limit &&
           bytes_starts_with(directory->groups[end]->name, prefix)) {
        size_t row = ROW_BYTES + directory->groups[end]->topics_bytes;
        if (end > first && bytes + row > PAGE_BYTES) {
            break;
        }
        bytes += row;
        end++;
    }
    *bytes_out = bytes;
    return end;
}

void group_list_run(struct call *call, const struct arguments *arguments)
{
    const struct directory *directory = call->home->directory;
    struct bytes prefix = arguments_bytes(arguments, ARGUMENT_PREFIX);
    struct bytes after = arguments_bytes(arguments, ARGUMENT_AFTER);
    uint64_t limit = arguments_number(arguments, ARGUMENT_LIMIT);

    uint32_t first = directory_group_place(directory, prefix);
    if (arguments_has(arguments, ARGUMENT_AFTER) && bytes_compare(after, prefix) >= 0) {
        first = directory_group_place_after(directory, after);
    }
    size_t rows_bytes;
    uint32_t end = page_end(directory, first, limit, prefix, &rows_bytes);
    bool more = end > first && end < directory->group_count &&
                bytes_starts_with(directory->groups[end]->name, prefix);

    size_t bytes = AROUND_BYTES + rows_bytes;
    uint8_t *room = malloc(bytes);
    ASSERT(room != NULL);
    struct writer writer = writer_over(room, bytes);
    write_page(&writer, directory, first, end, more);
    ASSERT(!writer.overflowed);
    call_answer(call, writer_bytes(&writer));
    free(room);
}
