/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_group_queue_model.c - random operations on one queue of a group, against an array that says of each offset
 * what it is.
 */
#include "proto/base/random.h"
#include "test/lib/check_main.h"
#include "test/unit/broker/group_queue_world.h"

enum { OFFSETS = 120, STEPS = 500, SEEDS = 12, KEYS = 9 };

/* What an offset is, in plain words. */
struct offset_model {
    bool is_open;
    enum open_state state;
    uint16_t attempts;
    uint64_t due_ms;
    uint64_t serial;
};

static struct offset_model model[OFFSETS];
static uint64_t model_next;
static struct random chance;

/* In the order of keys every message has one, which its offset says. */
static uint32_t key_of(uint64_t offset)
{
    return queue->order == GROUP_ORDER_KEY ? 1 + (uint32_t)(offset * 7 % KEYS) : 0;
}

/* READY and BLOCKED follow from the others: the model calls both READY. */
static void model_open_to(uint64_t first)
{
    for (; model_next < first; model_next++) {
        model[model_next] = (struct offset_model){.is_open = true, .state = OPEN_READY};
    }
}

static void model_reach(uint64_t end_offset)
{
    model_next = end_offset > model_next ? end_offset : model_next;
}

static void check_model(void)
{
    ck_assert_uint_eq(queue->next, model_next);
    for (uint64_t offset = 0; offset < OFFSETS; offset++) {
        const struct open_range *range = at(offset);
        ck_assert_msg((range != NULL) == model[offset].is_open, "offset %u", (unsigned)offset);
        if (range == NULL) {
            continue;
        }
        enum open_state state =
            range->state == OPEN_BLOCKED ? OPEN_READY : (enum open_state)range->state;
        ck_assert_int_eq(state, model[offset].state);
        ck_assert_uint_eq(range->attempts, model[offset].attempts);
        ck_assert_uint_eq(range->due_ms, model[offset].due_ms);
        ck_assert(state != OPEN_LEASED || range->serial == model[offset].serial);
    }
}

static void step_settle(uint64_t first, uint64_t end_offset)
{
    model_open_to(first);
    for (uint64_t i = first; i < end_offset; i++) {
        model[i].is_open = false;
    }
    model_reach(end_offset);
    settle(first, end_offset - first);
}

static void step_fail(uint64_t first, uint64_t end_offset)
{
    uint16_t attempt = (uint16_t)(1 + random_below(&chance, 5));
    uint64_t due_ms = random_below(&chance, 6) == 0 ? DUE_NEVER : 100 + random_below(&chance, 3);
    model_open_to(first);
    for (uint64_t i = first; i < end_offset; i++) {
        model[i] = (struct offset_model){
            .is_open = true,
            .state = due_ms == DUE_NEVER ? OPEN_DYING : OPEN_WAITING,
            .attempts = attempt,
            .due_ms = due_ms,
        };
    }
    model_reach(end_offset);
    retry_key(first, end_offset - first, attempt, due_ms, key_of(first));
}

/* Only what may be: READY offsets, alike, or new ones; of a key only if nothing else of it is held. */
static bool may_lease(uint64_t first, uint64_t end_offset, uint64_t new_serial)
{
    const struct open_range *range = at(first);
    if (first < model_next &&
        (range == NULL || range->state != OPEN_READY || end_offset > open_range_end(range))) {
        return false;
    }
    bool is_known = range != NULL && range->is_looked_at;
    return is_known || group_queue_key_is_free(queue, key_of(first), new_serial);
}

static void step_lease(uint64_t first, uint64_t end_offset)
{
    uint64_t serial = 1 + random_below(&chance, 4);
    if (!may_lease(first, end_offset, serial)) {
        return;
    }
    uint64_t known = model_next;
    model_open_to(first);
    for (uint64_t i = first; i < end_offset; i++) {
        struct offset_model before = i < known ? model[i] : (struct offset_model){0};
        before.is_open = true;
        before.state = OPEN_LEASED;
        before.serial = serial;
        model[i] = before;
    }
    model_reach(end_offset);
    lease_key(first, end_offset - first, serial, key_of(first));
}

/* The whole range at an offset becomes READY. */
static void step_ready(uint64_t offset)
{
    struct open_range *range = at(offset);
    if (range == NULL || (range->state != OPEN_LEASED && range->state != OPEN_WAITING)) {
        return;
    }
    for (uint64_t i = range->first; i < open_range_end(range); i++) {
        model[i].state = OPEN_READY;
    }
    if (range->state == OPEN_LEASED) {
        group_queue_give_back(queue, range);
    } else {
        group_queue_due(queue, range);
    }
    check_queue();
}

START_TEST(agrees_with_an_array_that_says_what_each_offset_is)
{
    static const enum group_order orders[] = {GROUP_ORDER_NONE, GROUP_ORDER_QUEUE, GROUP_ORDER_KEY};
    begin(orders[_i % 3]);
    random_init(&chance, (uint64_t)_i + 1);
    memset(model, 0, sizeof(model));
    model_next = 0;
    for (uint32_t i = 0; i < STEPS; i++) {
        uint64_t reach = model_next + 10 < OFFSETS ? model_next + 10 : OFFSETS;
        uint64_t first = random_below(&chance, reach);
        uint64_t most = queue->order == GROUP_ORDER_KEY ? 1 : 1 + random_below(&chance, 12);
        uint64_t end_offset = first + most < OFFSETS ? first + most : OFFSETS;
        switch (random_below(&chance, 8)) {
        case 0:
            step_settle(first, end_offset);
            break;
        case 1:
        case 2:
            step_fail(first, end_offset);
            break;
        case 3:
        case 4:
        case 5:
            step_lease(first, end_offset);
            break;
        default:
            step_ready(first);
            break;
        }
        if (i % 16 == 0) {
            check_model();
        }
    }
    check_model();
    end();
}
END_TEST

static Suite *group_queue_model_suite(void)
{
    Suite *suite = suite_create("group_queue_model");
    TCase *tests = tcase_create("group_queue_model");
    tcase_add_loop_test(tests, agrees_with_an_array_that_says_what_each_offset_is, 0, SEEDS);
    tcase_set_timeout(tests, 60);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(group_queue_model_suite)
