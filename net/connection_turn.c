/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connection_turn.c - the hooks of a reactor's connections, and the memory of output queues.
 */

#include "net/connection_turn.h"

#include "proto/base/contract.h"

#include <stdlib.h>

enum { PARTS_PER_SLAB = 64 };

struct slab {
    struct list link;
    struct output_part parts[PARTS_PER_SLAB];
};

/* ------------------------------------------------------------------ hooks */

static void run_begin(struct turn_hook *hook)
{
    struct connection_turn *turn = CONTAINER_OF(hook, struct connection_turn, begin);
    if (turn->homecomings != turn->reactor->homecomings) {
        turn->homecomings = turn->reactor->homecomings;
        list_move_all(&turn->wanted, &turn->starved);
    }
    if (list_is_empty(&turn->wanted)) {
        return;
    }
    /* Those that ask again while this runs have their next turn. */
    struct list now;
    list_init(&now);
    list_move_all(&now, &turn->wanted);
    struct list *link;
    while ((link = list_take_first(&now)) != NULL) {
        connection_go_on(CONTAINER_OF(link, struct connection, wanted));
    }
}

static bool begin_is_pending(struct turn_hook *hook)
{
    struct connection_turn *turn = CONTAINER_OF(hook, struct connection_turn, begin);
    return !list_is_empty(&turn->wanted);
}

static void run_send(struct turn_hook *hook)
{
    struct connection_turn *turn = CONTAINER_OF(hook, struct connection_turn, send);
    struct list *link;
    while ((link = list_take_first(&turn->dirty)) != NULL) {
        connection_output_start(CONTAINER_OF(link, struct connection, dirty));
    }
}

static bool send_is_pending(struct turn_hook *hook)
{
    struct connection_turn *turn = CONTAINER_OF(hook, struct connection_turn, send);
    return !list_is_empty(&turn->dirty);
}

/* ------------------------------------------------------------------- life */

static void connection_turn_destroy(struct connection_turn *turn)
{
    LIST_FOREACH (link, &turn->blocks) {
        free(CONTAINER_OF(link, struct output_block, all));
    }
    LIST_FOREACH (link, &turn->slabs) {
        free(CONTAINER_OF(link, struct slab, link));
    }
    free(turn);
}

struct connection_turn *connection_turn_of(struct reactor *reactor)
{
    if (reactor->connections != NULL) {
        return reactor->connections;
    }
    struct connection_turn *turn = calloc(1, sizeof(*turn));
    ASSERT(turn != NULL);
    turn->reactor = reactor;
    list_init(&turn->dirty);
    list_init(&turn->wanted);
    list_init(&turn->starved);
    list_init(&turn->blocks);
    list_init(&turn->slabs);
    list_init(&turn->parts_free);
    turn->begin = (struct turn_hook){.run = run_begin, .pending = begin_is_pending};
    turn->send = (struct turn_hook){.run = run_send, .pending = send_is_pending};
    reactor_hook_add(reactor, TURN_BEGIN, &turn->begin);
    reactor->last_hook = &turn->send;
    reactor->connections = turn;
    reactor->connections_destroy = connection_turn_destroy;
    return turn;
}

/* ----------------------------------------------------------------- memory */

struct output_block *output_block_take(struct connection_turn *turn, size_t bytes)
{
    struct output_block *block = turn->blocks_free;
    if (bytes <= OUTPUT_BLOCK_BYTES && block != NULL) {
        turn->blocks_free = block->next_free;
        turn->blocks_free_count--;
    } else {
        size_t capacity = bytes < OUTPUT_BLOCK_BYTES ? OUTPUT_BLOCK_BYTES : bytes;
        block = malloc(sizeof(*block) + capacity);
        ASSERT(block != NULL); /* an owner bounds what it queues: this is the machine's end */
        block->capacity = (uint32_t)capacity;
        list_init(&block->all);
        list_append(&turn->blocks, &block->all);
    }
    block->used = 0;
    block->parts = 0;
    block->next_free = NULL;
    return block;
}

void output_block_give(struct connection_turn *turn, struct output_block *block)
{
    ASSERT(block->parts == 0);
    if (block->capacity != OUTPUT_BLOCK_BYTES || turn->blocks_free_count >= OUTPUT_BLOCKS_KEPT) {
        list_remove(&block->all);
        free(block);
        return;
    }
    block->next_free = turn->blocks_free;
    turn->blocks_free = block;
    turn->blocks_free_count++;
}

struct output_part *output_part_take(struct connection_turn *turn)
{
    struct list *link = list_take_first(&turn->parts_free);
    if (link == NULL) {
        struct slab *slab = malloc(sizeof(*slab));
        ASSERT(slab != NULL);
        list_append(&turn->slabs, &slab->link);
        for (int i = 0; i < PARTS_PER_SLAB; i++) {
            list_init(&slab->parts[i].link);
            list_append(&turn->parts_free, &slab->parts[i].link);
        }
        link = list_take_first(&turn->parts_free);
    }
    struct output_part *part = CONTAINER_OF(link, struct output_part, link);
    *part = (struct output_part){.file = -1};
    list_init(&part->link);
    return part;
}

void output_part_give(struct connection_turn *turn, struct output_part *part)
{
    list_remove(&part->link);
    list_prepend(&turn->parts_free, &part->link);
}
