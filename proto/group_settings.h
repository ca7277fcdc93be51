/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group_settings.h - what a consumer group is told: one msgpack map, read, merged and written.
 *
 * The same map stands in group.put, in answers, and in the log:
 *
 *     topics          {name: filter or nil}, 1 to GROUP_TOPICS_MAX: what the group reads
 *     from            first | last | ms since 1970: where it begins in a queue (last)
 *     order           none | queue | key: what is never delivered in parallel (none)
 *     broadcast       bool: every member gets every message (false)
 *     lease_ms        how long a message is somebody's (GROUP_LEASE_MS_DEFAULT)
 *     attempts        deliveries before a message is a dead letter (GROUP_ATTEMPTS_DEFAULT)
 *     backoff         [ms..], before each retry; the last one repeats (10 s to 2 h in 16 steps)
 *     jitter          percent by which a backoff varies (0)
 *     exhausted       dead | stay: what becomes of a message after its last attempt (dead)
 *     idle_expire_ms  the group goes when nobody received or settled for so long; 0: never (0)
 *
 * A struct has a value for each, the default where none was given, and knows which were: only these are
 * stored, so that a later default reaches groups that left it open.
 *
 * Memory:  `topics` points into what was read and lives as long.
 * Threads: any.
 */
#ifndef PROTO_GROUP_SETTINGS_H
#define PROTO_GROUP_SETTINGS_H

#include "proto/base/bytes.h"
#include "proto/base/contract.h"
#include "proto/cursor.h"
#include "proto/error.h"
#include "proto/limits.h"
#include "proto/writer.h"

#include <stdbool.h>
#include <stdint.h>

enum group_from {
    GROUP_FROM_FIRST,
    GROUP_FROM_LAST,
    GROUP_FROM_TIME, /* the first message stored at from_ms or later */
};

enum group_order {
    GROUP_ORDER_NONE,
    GROUP_ORDER_QUEUE,
    GROUP_ORDER_KEY,
};
#define GROUP_ORDER_CHOICES "none|queue|key"

enum group_exhausted {
    GROUP_EXHAUSTED_DEAD,
    GROUP_EXHAUSTED_STAY,
};
#define GROUP_EXHAUSTED_CHOICES "dead|stay"

/* The settings, in the order in which they are written. */
enum group_setting {
    GROUP_SETTING_TOPICS,
    GROUP_SETTING_FROM,
    GROUP_SETTING_ORDER,
    GROUP_SETTING_BROADCAST,
    GROUP_SETTING_LEASE_MS,
    GROUP_SETTING_ATTEMPTS,
    GROUP_SETTING_BACKOFF,
    GROUP_SETTING_JITTER,
    GROUP_SETTING_EXHAUSTED,
    GROUP_SETTING_IDLE_EXPIRE_MS,
    GROUP_SETTING_COUNT,
};

struct group_settings {
    uint32_t given;       /* bit 1 << enum group_setting: it was, and is stored */
    uint32_t topic_count; /* 0: topics were not given */
    struct cursor topics; /* over as many pairs, for group_settings_take_topic() */
    enum group_from from;
    uint64_t from_ms; /* since 1970, of GROUP_FROM_TIME */
    enum group_order order;
    bool broadcast;
    uint32_t lease_ms;
    uint32_t attempts;                      /* 1 to GROUP_ATTEMPTS_MAX */
    uint32_t backoff_count;                 /* 1 to GROUP_BACKOFF_MAX */
    uint32_t backoff_ms[GROUP_BACKOFF_MAX]; /* each at most DURATION_MS_MAX */
    uint32_t jitter_percent;
    enum group_exhausted exhausted;
    uint64_t idle_expire_ms; /* 0: never */
};

/* One pair of `topics`. */
struct group_topic_setting {
    struct bytes name;
    struct bytes filter; /* empty: every message; not compiled here */
};

/* What happens to a key that is not known: a caller's is refused, a newer version's in the log is
 * left out. */
enum group_settings_unknown {
    GROUP_SETTINGS_REFUSE,
    GROUP_SETTINGS_SKIP,
};

/* All defaults, nothing given. */
void group_settings_init(struct group_settings *settings);

/*
 * Reads `pair_count` pairs; nil is absent. ERROR_BAD_ARGUMENT {key, limit}: another key, another value,
 * one twice, a topic twice, or topics and filters above GROUP_TOPICS_BYTES_MAX together. That topics are
 * there and filters can be compiled is for others to see.
 */
NODISCARD enum error group_settings_read(struct cursor pairs, uint32_t pair_count,
                                         enum group_settings_unknown unknown,
                                         struct group_settings *settings_out,
                                         struct refusal *refusal);

/* The next of the topics that were read: as often as topic_count says. */
struct group_topic_setting group_settings_take_topic(struct cursor *topics);

/* Writes one, as that takes it. */
void group_settings_put_topic(struct writer *writer, const struct group_topic_setting *topic);

/* `settings` with what `change` gives in its place. */
struct group_settings group_settings_merge(const struct group_settings *settings,
                                           const struct group_settings *change);

/* Whether the same is given with the same values; `topics` must be in the same order. */
bool group_settings_equal(const struct group_settings *a, const struct group_settings *b);

/* Writes one map: what was given, or all that is in force. */
void group_settings_write_given(const struct group_settings *settings, struct writer *writer);
void group_settings_write(const struct group_settings *settings, struct writer *writer);

/* What a backoff before delivery number `attempt` (from 2) lasts, without jitter. */
uint32_t group_settings_backoff_ms(const struct group_settings *settings, uint32_t attempt);

/* What stands beside the names and filters of a topics map of one: the headers. */
#define GROUP_TOPIC_HEADER_BYTES 5

/* An upper bound of what both of the above write. */
#define GROUP_SETTINGS_BYTES_MAX (GROUP_TOPICS_BYTES_MAX + 512U)

#endif
