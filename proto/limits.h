/* SPDX-License-Identifier: Apache-2.0 */
/*
 * limits.h - every bound that two processes must agree on.
 *
 * `hello` names the ones that a client needs under `limits`. A limit is a number with its reason
 * beside it; raising one is a change of the protocol, lowering one breaks what is stored.
 */
#ifndef PROTO_LIMITS_H
#define PROTO_LIMITS_H

#include <assert.h>
#include <stdint.h>

#define PROTOCOL_VERSION 1

/* Integers stay exact in every language's float64 below this. */
#define INTEGER_LIMIT (UINT64_C(1) << 53)

/* Sizes. */
#define MESSAGE_BYTES_MAX        (4U << 20)  /* element 12 of a record: one message as stored */
#define FRAME_BYTES_MAX          (8U << 20)  /* one request or answer, from first byte to last */
#define MESSAGES_PER_CALL_MAX    65535       /* fits a u16, and an answer's array32 stays small */
#define FRAME_DEPTH_MAX          8           /* an answer's `dead` list is at 6; two to spare */
#define FRAME_ELEMENTS_MAX       (2U << 20)  /* 32 for each of 65,535 messages: ~10 ms to walk */
#define TAG_BYTES_MAX            255         /* a str8 */
#define KEYS_MAX                 32          /* keys of a message */
#define KEY_BYTES_MAX            255         /* a str8 */
#define PROPERTIES_MAX           128         /* entries of a message's map */
#define PROPERTIES_BYTES_MAX     (32U << 10) /* the map as stored, its header included */
#define EXTRA_BYTES_MAX          512         /* element 11 of a record */
#define TOPIC_NAME_BYTES_MAX     127         /* leaves room for %DLQ% and a group within a str8 */
#define GROUP_NAME_BYTES_MAX     120         /* so that %DLQ% and it is a topic's name */
#define MEMBER_NAME_BYTES_MAX    120         /* as a group's, which it may stand behind */
#define BROKER_NAME_BYTES_MAX    127         /* spelled as a topic's */
#define ADDRESS_BYTES_MAX        261  /* a DNS name of 255 characters, a colon, five digits */
#define CLIENT_NAME_BYTES_MAX    255  /* hello's client and version, for logs */
#define QUEUES_PER_TOPIC_MAX     1024 /* a topic.put event stays below 15 KiB */
#define QUEUES_PER_TOPIC_DEFAULT 4
#define PLACEMENT_PARTS_MAX      48    /* of a topic: as many brokers, or as often grown */
#define TOPICS_MAX               16384 /* a broker's; its lease.renew stays below 4 MiB */
#define SHARDS_MAX               64    /* a broker's */

/* Consumer groups. */
#define GROUPS_MAX                 16384 /* a broker's, as many as topics; members are groups, too */
#define GROUP_ANY_NAME_BYTES_MAX   241   /* a group's name, an @, the name of its member */
#define REASON_BYTES_MAX           120   /* of a nack: a dead letter's extra has it and two names */
#define GROUP_TOPICS_MAX           64    /* a receive looks at all of them */
#define GROUP_TOPICS_BYTES_MAX     (14U << 10) /* 64 of the longest names and 6 KiB of filters */
#define GROUP_ATTEMPTS_MAX         1000        /* with one a minute most of a day */
#define GROUP_ATTEMPTS_DEFAULT     17          /* one, and a retry for each step of the backoff */
#define GROUP_BACKOFF_MAX          32          /* steps; twice the sixteen that are usual */
#define GROUP_LEASE_MS_LEAST       100         /* several round trips of a slow network */
#define GROUP_LEASE_MS_MOST        43200000    /* half a day: a night's work of one message */
#define GROUP_LEASE_MS_DEFAULT     30000       /* a callback of some seconds, with room */
#define GROUP_IDLE_EXPIRE_MS_LEAST 1000        /* below it a restarted worker would find nothing */
#define GROUP_MEMBERS_MAX          1024        /* of a broadcast: a sixteenth of all groups */

/* Pull. */
#define PULL_BYTES_DEFAULT (256U << 10) /* some ms of a 1 Gb/s link */
#define PULL_BYTES_MAX     (4U << 20)   /* half a frame, so that one more message fits */
#define WAIT_MS_MAX        60000        /* half of the idle close */
#define FILTER_BYTES_MAX   4096         /* of its text: 128 tags of 29 letters */
#define TIMEOUT_MS_DEFAULT 5000         /* of a produce: several slow fsyncs */
#define DURATION_MS_MAX    86400000     /* one day: deadline_ms, timeout_ms, lease_ms */
#define LIST_ROWS_DEFAULT  1000         /* topic.list, broker.list */
#define LIST_ROWS_MAX      10000

/* Back-pressure of one connection. */
#define UNANSWERED_MAX       256        /* requests read and not answered */
#define UNANSWERED_BYTES_MAX (4U << 20) /* their frames; a lone frame may exceed it */
#define PARKED_MAX           64         /* long polls waiting */
#define UNSENT_BYTES_MAX     (1U << 20) /* answers not yet taken by the socket */
#define IDLE_CLOSE_MS        120000     /* unless a poll is parked */
#define KEEPALIVE_IDLE_S     30
#define KEEPALIVE_INTERVAL_S 10
#define KEEPALIVE_PROBES     3
#define TCP_USER_TIMEOUT_MS  30000

/* Nameserver. */
#define LEASE_MS      10000 /* renewed every third of it */
#define LEASE_LOST_MS 1000  /* what is left of it when its connection is lost */
#define BROKERS_MAX   1024  /* a cluster's */

/* Ports. */
#define NAMESERVER_PORT 9876
#define BROKER_PORT     10911

static_assert(MESSAGE_BYTES_MAX + PULL_BYTES_MAX <= FRAME_BYTES_MAX,
              "a pull that is one message short of its bytes still fits a frame");
static_assert(GROUP_NAME_BYTES_MAX + sizeof("%DLQ%") - 1 <= TOPIC_NAME_BYTES_MAX,
              "a group's dead letters are a topic");
static_assert(GROUP_NAME_BYTES_MAX + 1 + MEMBER_NAME_BYTES_MAX == GROUP_ANY_NAME_BYTES_MAX,
              "a member of a broadcast group is a group");
static_assert(QUEUES_PER_TOPIC_MAX <= UINT16_MAX + 1, "a queue is a u16 in a record");

#endif
