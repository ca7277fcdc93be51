/* SPDX-License-Identifier: Apache-2.0 */
/* filter_scan.c - candidates from the index, then what of them is wanted. */
#include "broker/filter_scan.h"

#include "broker/core.h"
#include "broker/delivery.h"
#include "broker/queue_reader.h"
#include "broker/shard.h"
#include "proto/base/contract.h"
#include "proto/filter.h"
#include "proto/record.h"
#include "storage/segment.h"

#include <stdlib.h>

/* The clock is looked at once in so many messages: a few microseconds of them. */
enum { MESSAGES_A_CLOCK = 16 };

static_assert(FILTER_SCAN_WINDOW_BYTES > RECORD_HEAD_BYTES_MAX + 1 + (TAG_BYTES_MAX + 5) + 5 +
                                             KEYS_MAX * (KEY_BYTES_MAX + 5) + PROPERTIES_BYTES_MAX,
              "everything before a body fits, with headers longer than need be");

/* One look through candidates. */
struct sieve {
    struct queue_reader *reader;
    struct core *at;
    struct run_list *wanted;
    const struct run *run; /* what the window is of */
    uint32_t begin;        /* the place of its first byte */
    uint32_t length;
    uint32_t looked_at;
};

/* ------------------------------------------------------------------ window */

/* Bytes of the run from `place` on, at least `least` of them or all that it has; empty: the disk cannot
 * give them. */
static struct bytes look(struct sieve *sieve, uint32_t place, uint32_t least, uint32_t read_bytes)
{
    const struct run *run = sieve->run;
    uint8_t *window = sieve->at->scans.window;
    uint32_t left = run->place + run->bytes - place;
    uint32_t inside = place - sieve->begin;
    least = least < left ? least : left;
    if (place < sieve->begin || inside > sieve->length || sieve->length - inside < least) {
        uint32_t wanted = read_bytes > least ? read_bytes : least;
        sieve->begin = place;
        sieve->length = wanted < left ? wanted : left;
        inside = 0;
        if (!segment_read(run->segment, place, window, sieve->length)) {
            sieve->length = 0;
        }
    }
    return (struct bytes){window + inside, sieve->length - inside};
}

/* Reads the head and the labels of the record at `place`. */
static enum error look_at(struct sieve *sieve, uint32_t place, uint32_t read_bytes,
                          struct record_view *view, struct message_labels *labels)
{
    uint64_t position = segment_base(sieve->run->segment) + place;
    uint32_t least = RECORD_BYTES_MIN;
    for (;;) {
        struct bytes bytes = look(sieve, place, least, read_bytes);
        if (bytes.length == 0) {
            return ERROR_IO_FAILED;
        }
        enum record_state state = record_read_head(bytes, position, view);
        if (state == RECORD_BAD) {
            return ERROR_CORRUPT;
        }
        if (state == RECORD_WHOLE) {
            size_t head_bytes = (size_t)(view->message.data - bytes.data);
            size_t here = bytes.length - head_bytes;
            here = here < view->message.length ? here : view->message.length;
            if (message_read_labels((struct bytes){view->message.data, here}, labels)) {
                return OK;
            }
            if (here == view->message.length) {
                return ERROR_CORRUPT;
            }
        }
        if (least == FILTER_SCAN_WINDOW_BYTES) {
            return ERROR_CORRUPT; /* more than any record has before its body */
        }
        least = FILTER_SCAN_WINDOW_BYTES;
    }
}

/* ------------------------------------------------------------------- sieve */

static bool has_time(struct sieve *sieve)
{
    return ++sieve->looked_at % MESSAGES_A_CLOCK != 0 ||
           reactor_clock_ns(sieve->at->reactor) < sieve->at->scans.until_ns;
}

/* False: there is no room for it. */
static bool add(struct sieve *sieve, const struct run *record)
{
    const struct queue_reader *reader = sieve->reader;
    struct run_list *wanted = sieve->wanted;
    bool fits = wanted->messages == 0 || wanted->bytes + record->bytes <= reader->bytes_max;
    return wanted->messages < reader->messages_max && fits && run_list_add(wanted, record);
}

/* Whether the record at `place` is the one that the index says it is. */
static bool belongs(const struct sieve *sieve, uint32_t place, uint64_t offset,
                    const struct record_view *view)
{
    const struct queue_reader *reader = sieve->reader;
    return view->fields.topic == reader->topic_id && view->fields.queue == reader->queue &&
           view->fields.offset == offset &&
           view->fields.size <= sieve->run->place + sieve->run->bytes - place;
}

/* Looks through one run. False: it ends here, at `*next`, for want of time or room or with an error. */
static bool sift_run(struct sieve *sieve, const struct run *run, uint64_t *next, enum error *error)
{
    const struct queue_reader *reader = sieve->reader;
    uint32_t place = run->place;
    uint32_t read_bytes = FILTER_SCAN_WINDOW_BYTES;
    sieve->run = run;
    sieve->begin = run->place;
    sieve->length = 0;
    for (uint32_t i = 0; i < run->messages; i++) {
        struct record_view view;
        struct message_labels labels;
        *next = run->offset + i;
        *error = look_at(sieve, place, read_bytes, &view, &labels);
        if (*error == OK && !belongs(sieve, place, *next, &view)) {
            *error = ERROR_CORRUPT;
        }
        if (*error != OK) {
            return false;
        }
        const struct run record = {run->segment, place, view.fields.size, 1, *next};
        if (filter_wants(reader->filter, &labels) && !add(sieve, &record)) {
            return false;
        }
        place += view.fields.size;
        *next += 1;
        if (!has_time(sieve)) {
            return false;
        }
        read_bytes = view.fields.size < FILTER_SCAN_GLANCE_BYTES ? FILTER_SCAN_WINDOW_BYTES
                                                                 : FILTER_SCAN_GLANCE_BYTES;
    }
    return true;
}

/* Looks through all candidates; answers where it came to. */
static uint64_t sift(struct sieve *sieve, const struct run_list *candidates, enum error *error)
{
    uint64_t next = candidates->next;
    for (uint32_t i = 0; i < candidates->count; i++) {
        if (!sift_run(sieve, &candidates->runs[i], &next, error)) {
            return next;
        }
    }
    return candidates->next;
}

static bool may_look(struct core *at)
{
    struct filter_scans *scans = &at->scans;
    if (scans->window == NULL) {
        scans->window = malloc(FILTER_SCAN_WINDOW_BYTES);
        ASSERT(scans->window != NULL);
        filter_scans_begin(scans);
    }
    if (scans->until_ns == 0) {
        scans->until_ns = reactor_clock_ns(at->reactor) + FILTER_SCAN_NS_MAX;
    }
    return scans->messages_left > 0 && reactor_clock_ns(at->reactor) < scans->until_ns;
}

/* What was found and how far it came, as the reader's. */
static void conclude(struct sieve *sieve, uint64_t next)
{
    struct queue_reader *reader = sieve->reader;
    struct core *at = sieve->at;
    uint32_t looked_at = (uint32_t)(next - reader->from);
    at->counters.filtered_messages += looked_at - sieve->wanted->messages;
    at->scans.messages_left -=
        looked_at < at->scans.messages_left ? looked_at : at->scans.messages_left;
    reader->next = next;
    if (sieve->wanted->messages > 0) {
        reader->runs = sieve->wanted;
        return;
    }
    reader->from = next;
    pool_give(&at->run_lists, sieve->wanted);
}

enum error filter_scan(struct queue_reader *reader, struct core *at, struct queue *queue,
                       struct cold_range *cold_out)
{
    reader->put_off = !may_look(at);
    if (reader->put_off) {
        return OK;
    }
    const struct read_limits limits = {.offset = reader->from,
                                       .messages_max =
                                           reader->one_by_one ? 1 : FILTER_SCAN_MESSAGES_MAX,
                                       .bytes_max = FILTER_SCAN_BYTES_MAX,
                                       .may_wait = queue_reader_may_wait(reader)};
    uint64_t left = reader->until - reader->from;
    uint32_t most = at->scans.messages_left;
    const struct read_selection selection = {reader->filter, left < most ? (uint32_t)left : most};
    struct run_list *candidates = pool_take(&at->run_lists);
    enum error error =
        commit_log_select(reader->shard->log, queue, &limits, &selection, candidates);
    if (error != OK) {
        pool_give(&at->run_lists, candidates);
        return error;
    }
    struct sieve sieve = {.reader = reader, .at = at, .wanted = pool_take(&at->run_lists)};
    sieve.wanted->count = 0;
    sieve.wanted->messages = 0;
    sieve.wanted->bytes = 0;
    uint64_t next = sift(&sieve, candidates, &error);
    *cold_out = candidates->cold;
    delivery_drop(candidates);
    pool_give(&at->run_lists, candidates);
    conclude(&sieve, next);
    /* What is in order before something broken is delivered first. */
    return reader->runs == NULL ? error : OK;
}

/* --------------------------------------------------------------- the rest */

void filter_scans_begin(struct filter_scans *scans)
{
    scans->messages_left = FILTER_SCAN_MESSAGES_MAX;
    scans->until_ns = 0;
}

void filter_scans_deinit(struct filter_scans *scans)
{
    free(scans->window);
}
