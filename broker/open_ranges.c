/* SPDX-License-Identifier: Apache-2.0 */
/*
 * open_ranges.c - an ordered set in blocks: a binary search finds the block, another one the place in it.
 */
#include "broker/open_ranges.h"

#include "proto/base/contract.h"

#include <stdlib.h>
#include <string.h>

enum {
    BLOCK_RANGES = 256, /* 2 KiB: moving half of it costs less than finding the block */
    BLOCKS_LEAST = 4
};

struct open_block {
    uint32_t count;
    uint32_t untried; /* ranges of no attempt */
    uint64_t offsets; /* in all of its ranges */
    struct open_range *ranges[BLOCK_RANGES];
};

/* Where a range stands, or would. */
struct place {
    uint32_t block;
    uint32_t index;
};

void open_ranges_deinit(struct open_ranges *ranges)
{
    for (uint32_t i = 0; i < ranges->block_count; i++) {
        free(ranges->blocks[i]);
    }
    free(ranges->blocks);
    *ranges = (struct open_ranges){.count = 0};
}

/* Counts `range` into its block, `by` 1, or out of it, -1. */
static void count_in(struct open_block *block, const struct open_range *range, int by)
{
    block->untried += range->attempts > 0 ? 0 : (uint32_t)by;
    block->offsets += by > 0 ? range->count : 0 - (uint64_t)range->count;
}

static uint64_t block_end(const struct open_block *block)
{
    return open_range_end(block->ranges[block->count - 1]);
}

/* The place of the first range that ends behind `offset`; behind all, {block_count, 0}. */
static struct place find_place(const struct open_ranges *ranges, uint64_t offset)
{
    uint32_t low = 0;
    uint32_t high = ranges->block_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (block_end(ranges->blocks[middle]) > offset) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    struct place place = {.block = low, .index = 0};
    if (low == ranges->block_count) {
        return place;
    }
    const struct open_block *block = ranges->blocks[low];
    uint32_t least = 0;
    uint32_t most = block->count - 1;
    while (least < most) {
        uint32_t middle = least + (most - least) / 2;
        if (open_range_end(block->ranges[middle]) > offset) {
            most = middle;
        } else {
            least = middle + 1;
        }
    }
    place.index = least;
    return place;
}

static struct open_block *insert_block(struct open_ranges *ranges, uint32_t at)
{
    if (ranges->block_count == ranges->block_capacity) {
        ranges->block_capacity =
            ranges->block_capacity == 0 ? BLOCKS_LEAST : 2 * ranges->block_capacity;
        ranges->blocks =
            realloc(ranges->blocks, ranges->block_capacity * sizeof(ranges->blocks[0]));
        ASSERT(ranges->blocks != NULL);
    }
    struct open_block *block = malloc(sizeof(*block));
    ASSERT(block != NULL);
    *block = (struct open_block){.count = 0};
    memmove(ranges->blocks + at + 1, ranges->blocks + at,
            (ranges->block_count - at) * sizeof(ranges->blocks[0]));
    ranges->blocks[at] = block;
    ranges->block_count++;
    return block;
}

/* Moves the later half of a full block to one behind it; of the last block nothing, since what comes
 * mostly comes behind all. */
static void split_block(struct open_ranges *ranges, struct place *place)
{
    struct open_block *block = ranges->blocks[place->block];
    bool is_end = place->block + 1 == ranges->block_count && place->index == block->count;
    uint32_t kept = is_end ? block->count : block->count / 2;
    struct open_block *behind = insert_block(ranges, place->block + 1);
    behind->count = block->count - kept;
    memcpy(behind->ranges, block->ranges + kept, behind->count * sizeof(behind->ranges[0]));
    block->count = kept;
    for (uint32_t i = 0; i < behind->count; i++) {
        count_in(block, behind->ranges[i], -1);
        count_in(behind, behind->ranges[i], 1);
    }
    if (place->index >= kept) {
        place->block++;
        place->index -= kept;
    }
}

void open_ranges_add(struct open_ranges *ranges, struct open_range *range)
{
    ASSERT(range->count > 0);
    struct place place = find_place(ranges, range->first);
    if (place.block == ranges->block_count) {
        if (ranges->block_count == 0) {
            insert_block(ranges, 0);
        } else {
            place.block--;
        }
        place.index = ranges->blocks[place.block]->count;
    } else {
        ASSERT(ranges->blocks[place.block]->ranges[place.index]->first >= open_range_end(range));
    }
    if (ranges->blocks[place.block]->count == BLOCK_RANGES) {
        split_block(ranges, &place);
    }
    struct open_block *block = ranges->blocks[place.block];
    memmove(block->ranges + place.index + 1, block->ranges + place.index,
            (block->count - place.index) * sizeof(block->ranges[0]));
    block->ranges[place.index] = range;
    block->count++;
    count_in(block, range, 1);
    ranges->count++;
    ranges->offsets += range->count;
}

static struct place place_of(const struct open_ranges *ranges, const struct open_range *range)
{
    struct place place = find_place(ranges, range->first);
    ASSERT(place.block < ranges->block_count &&
           ranges->blocks[place.block]->ranges[place.index] == range);
    return place;
}

static void remove_block(struct open_ranges *ranges, uint32_t at)
{
    free(ranges->blocks[at]);
    ranges->block_count--;
    memmove(ranges->blocks + at, ranges->blocks + at + 1,
            (ranges->block_count - at) * sizeof(ranges->blocks[0]));
}

/* Makes a block and the one behind it one, where that leaves room to grow. */
static void merge_blocks(struct open_ranges *ranges, uint32_t at)
{
    if (at + 1 >= ranges->block_count) {
        return;
    }
    struct open_block *block = ranges->blocks[at];
    const struct open_block *behind = ranges->blocks[at + 1];
    if (block->count + behind->count > BLOCK_RANGES / 2) {
        return;
    }
    memcpy(block->ranges + block->count, behind->ranges, behind->count * sizeof(behind->ranges[0]));
    block->count += behind->count;
    block->untried += behind->untried;
    block->offsets += behind->offsets;
    remove_block(ranges, at + 1);
}

void open_ranges_remove(struct open_ranges *ranges, struct open_range *range)
{
    struct place place = place_of(ranges, range);
    struct open_block *block = ranges->blocks[place.block];
    block->count--;
    count_in(block, range, -1);
    memmove(block->ranges + place.index, block->ranges + place.index + 1,
            (block->count - place.index) * sizeof(block->ranges[0]));
    ranges->count--;
    ranges->offsets -= range->count;
    if (block->count == 0) {
        remove_block(ranges, place.block);
    } else if (block->count <= BLOCK_RANGES / 4) {
        if (place.block + 1 < ranges->block_count) {
            merge_blocks(ranges, place.block);
        }
        if (place.block > 0) {
            merge_blocks(ranges, place.block - 1);
        }
    }
}

void open_ranges_resize(struct open_ranges *ranges, struct open_range *range, uint64_t first,
                        uint32_t count)
{
    ASSERT(count > 0);
    struct open_block *block = ranges->blocks[place_of(ranges, range).block];
    count_in(block, range, -1);
    ranges->offsets = ranges->offsets - range->count + count;
    range->first = first;
    range->count = count;
    count_in(block, range, 1);
    ASSERT_SLOW(ranges->blocks[place_of(ranges, range).block] == block);
}

void open_ranges_set_attempts(struct open_ranges *ranges, struct open_range *range,
                              uint16_t attempts)
{
    if ((range->attempts == 0) == (attempts == 0)) {
        range->attempts = attempts;
        return;
    }
    struct open_block *block = ranges->blocks[place_of(ranges, range).block];
    count_in(block, range, -1);
    range->attempts = attempts;
    count_in(block, range, 1);
}

static struct open_range *at(const struct open_ranges *ranges, struct place place)
{
    if (place.block < ranges->block_count && place.index == ranges->blocks[place.block]->count) {
        place = (struct place){place.block + 1, 0};
    }
    return place.block == ranges->block_count ? NULL
                                              : ranges->blocks[place.block]->ranges[place.index];
}

struct open_range *open_ranges_find(const struct open_ranges *ranges, uint64_t offset)
{
    return at(ranges, find_place(ranges, offset));
}

struct open_range *open_ranges_next(const struct open_ranges *ranges,
                                    const struct open_range *range)
{
    return at(ranges, find_place(ranges, open_range_end(range)));
}

struct open_range *open_ranges_first(const struct open_ranges *ranges)
{
    return at(ranges, (struct place){0, 0});
}

/* How many offsets of a range lie in [first, end). */
static uint64_t count_within(const struct open_range *range, uint64_t first, uint64_t end)
{
    uint64_t low = range->first > first ? range->first : first;
    uint64_t high = open_range_end(range) < end ? open_range_end(range) : end;
    return high > low ? high - low : 0;
}

uint64_t open_ranges_count(const struct open_ranges *ranges, uint64_t first, uint64_t end)
{
    uint64_t count = 0;
    struct place place = find_place(ranges, first);
    const uint32_t partly = place.block; /* what of it lies before `first` does not count */
    for (; place.block < ranges->block_count; place = (struct place){place.block + 1, 0}) {
        const struct open_block *block = ranges->blocks[place.block];
        if (place.block != partly && block_end(block) <= end) {
            count += block->offsets;
            continue;
        }
        for (; place.index < block->count; place.index++) {
            const struct open_range *range = block->ranges[place.index];
            if (range->first >= end) {
                return count;
            }
            count += count_within(range, first, end);
        }
    }
    return count;
}

struct open_range *open_ranges_first_untried(const struct open_ranges *ranges)
{
    for (uint32_t i = 0; i < ranges->block_count; i++) {
        const struct open_block *block = ranges->blocks[i];
        for (uint32_t index = 0; block->untried > 0 && index < block->count; index++) {
            if (block->ranges[index]->attempts == 0) {
                return block->ranges[index];
            }
        }
    }
    return NULL;
}
