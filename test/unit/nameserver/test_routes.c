/* SPDX-License-Identifier: Apache-2.0 */
/* test_routes.c - leases and routes, with time as an argument. */
#include "nameserver/routes.h"
#include "proto/limits.h"
#include "test/lib/check_main.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The nameserver starts at START; WARM is past its first lease. */
enum { START = 1000000, LEASE = 10000, WARM = START + LEASE };

static struct routes *routes;
static struct refusal refusal;
static struct lease_answer answer;
static uint8_t rows_room[1 << 20];
static uint8_t answer_room[ROUTES_ANSWER_BYTES_MAX];

static void set_up(void)
{
    routes = routes_create(&(struct routes_options){START, LEASE, 42});
}

static void tear_down(void)
{
    routes_destroy(routes);
}

/* One row of lease.renew: `topic` with `queues` queues, all at `broker`. */
static void put_row(struct writer *writer, const char *topic, const char *broker, uint32_t id,
                    uint64_t version, uint32_t queues)
{
    writer_put_array(writer, 4);
    writer_put_string(writer, topic);
    writer_put_uint(writer, id);
    writer_put_uint(writer, version);
    writer_put_array(writer, 1);
    writer_put_array(writer, 3);
    writer_put_string(writer, broker);
    writer_put_uint(writer, 0);
    writer_put_uint(writer, queues);
}

static struct lease lease_of(const char *broker, const char *address, uint32_t epoch,
                             uint64_t digest)
{
    return (struct lease){.broker = bytes_from_string(broker),
                          .address = bytes_from_string(address),
                          .epoch = epoch,
                          .digest = digest,
                          .session = 1};
}

/* Renews with the named topics, of 4 queues each and version 1; the list ends with NULL. */
static enum error renew_topics(uint64_t now_ms, struct lease lease, ...)
{
    struct writer writer = writer_over(rows_room, sizeof(rows_room));
    va_list topics;
    va_start(topics, lease);
    const char *topic;
    char broker[BROKER_NAME_BYTES_MAX + 1];
    (void)snprintf(broker, sizeof(broker), "%.*s", (int)lease.broker.length,
                   (const char *)lease.broker.data);
    while ((topic = va_arg(topics, const char *)) != NULL) {
        put_row(&writer, topic, broker, ++lease.topic_count, 1, 4);
    }
    va_end(topics);
    lease.has_topics = true;
    lease.topics = cursor_over(writer_bytes(&writer));
    return routes_renew(routes, now_ms, &lease, &answer, &refusal);
}

static enum error renew(uint64_t now_ms, struct lease lease)
{
    return routes_renew(routes, now_ms, &lease, &answer, &refusal);
}

static enum error find(uint64_t now_ms, const char *topic, uint64_t *version_out)
{
    struct route_topic *found;
    routes_advance(routes, now_ms, NULL, NULL);
    enum error error = routes_find(routes, now_ms, bytes_from_string(topic), &found, &refusal);
    if (error == OK && version_out != NULL) {
        *version_out = route_version(found);
    }
    return error;
}

#define A lease_of("a", "127.0.0.1:1", 1, 11)

START_TEST(a_broker_that_is_new_is_asked_for_its_topics_and_then_routed)
{
    ck_assert_int_eq(renew(WARM, A), OK);
    ck_assert(answer.want_topics);
    ck_assert(answer.arrived);
    ck_assert_int_eq(renew_topics(WARM, A, "orders", NULL), OK);
    ck_assert(!answer.want_topics);
    ck_assert(!answer.arrived);
    ck_assert_int_eq(find(WARM, "orders", NULL), OK);
    ck_assert_int_eq(find(WARM, "others", NULL), ERROR_TOPIC_NOT_FOUND);
}
END_TEST

START_TEST(another_digest_is_asked_for_and_the_list_replaces_the_old_one)
{
    ck_assert_int_eq(renew_topics(WARM, A, "x", "y", NULL), OK);
    struct lease changed = lease_of("a", "127.0.0.1:1", 1, 12);
    ck_assert_int_eq(renew(WARM + 1, changed), OK);
    ck_assert(answer.want_topics);
    ck_assert_int_eq(find(WARM + 1, "x", NULL), OK);
    ck_assert_int_eq(renew_topics(WARM + 2, changed, "y", "z", NULL), OK);
    ck_assert_int_eq(find(WARM + 2, "x", NULL), ERROR_TOPIC_NOT_FOUND);
    ck_assert_int_eq(find(WARM + 2, "y", NULL), OK);
    ck_assert_int_eq(find(WARM + 2, "z", NULL), OK);
    ck_assert_uint_eq(routes_usage(routes).entries, 2);
}
END_TEST

START_TEST(an_absent_topic_is_warming_for_one_lease_after_the_start)
{
    ck_assert_int_eq(find(START, "x", NULL), ERROR_WARMING);
    ck_assert_int_eq(find(WARM - 1, "x", NULL), ERROR_WARMING);
    uint64_t retry_after_ms = 0;
    ck_assert(refusal_get(&refusal, REFUSAL_RETRY_AFTER_MS, &retry_after_ms));
    ck_assert_uint_eq(retry_after_ms, 1);
    ck_assert_int_eq(find(WARM, "x", NULL), ERROR_TOPIC_NOT_FOUND);
    ck_assert_int_eq(renew_topics(WARM - 1, A, "x", NULL), OK);
}
END_TEST

START_TEST(a_silent_broker_is_out_at_the_expiry_of_its_lease)
{
    ck_assert_int_eq(renew_topics(WARM, A, "x", NULL), OK);
    ck_assert_uint_eq(routes_next_ms(routes), WARM + LEASE);
    ck_assert_int_eq(find(WARM + LEASE - 1, "x", NULL), OK);
    ck_assert_int_eq(renew(WARM + LEASE - 1, A), OK);
    ck_assert_int_eq(find(WARM + LEASE, "x", NULL), OK);
    ck_assert_int_eq(find(WARM + 2 * LEASE - 1, "x", NULL), ERROR_TOPIC_NOT_FOUND);
    ck_assert_uint_eq(routes_usage(routes).brokers, 0);
}
END_TEST

START_TEST(a_lost_connection_ends_the_lease_after_a_second)
{
    ck_assert_int_eq(renew_topics(WARM, A, "x", NULL), OK);
    ck_assert_uint_eq(routes_lose(routes, WARM + 5, 1), 1);
    ck_assert_int_eq(find(WARM + 5 + LEASE_LOST_MS - 1, "x", NULL), OK);
    ck_assert_int_eq(find(WARM + 5 + LEASE_LOST_MS, "x", NULL), ERROR_TOPIC_NOT_FOUND);
}
END_TEST

START_TEST(a_connection_lost_just_before_the_expiry_prolongs_nothing)
{
    ck_assert_int_eq(renew_topics(WARM, A, "x", NULL), OK);
    ck_assert_uint_eq(routes_lose(routes, WARM + LEASE - 10, 1), 1);
    ck_assert_int_eq(find(WARM + LEASE, "x", NULL), ERROR_TOPIC_NOT_FOUND);
}
END_TEST

START_TEST(a_renewal_over_a_new_connection_makes_the_loss_of_the_old_one_nothing)
{
    ck_assert_int_eq(renew_topics(WARM, A, "x", NULL), OK);
    struct lease again = A;
    again.session = 2;
    ck_assert_int_eq(renew(WARM + 100, again), OK);
    ck_assert(!answer.want_topics);
    ck_assert_uint_eq(routes_lose(routes, WARM + 200, 1), 0);
    ck_assert_int_eq(find(WARM + 5000, "x", NULL), OK);
}
END_TEST

START_TEST(a_release_ends_the_lease_at_once_and_forgets_the_epoch)
{
    ck_assert_int_eq(renew_topics(WARM, lease_of("a", "h:1", 7, 1), "x", NULL), OK);
    ck_assert_int_eq(routes_release(routes, WARM, BYTES_OF("a"), 6, &refusal), ERROR_FENCED);
    ck_assert_int_eq(routes_release(routes, WARM, BYTES_OF("a"), 8, &refusal), ERROR_FENCED);
    ck_assert_int_eq(routes_release(routes, WARM, BYTES_OF("a"), 7, &refusal), OK);
    ck_assert_int_eq(find(WARM, "x", NULL), ERROR_TOPIC_NOT_FOUND);
    ck_assert_int_eq(routes_release(routes, WARM, BYTES_OF("a"), 7, &refusal), OK);
    ck_assert_int_eq(renew(WARM, lease_of("a", "h:1", 1, 1)), OK);
}
END_TEST

START_TEST(the_highest_epoch_wins_and_lower_ones_are_fenced)
{
    ck_assert_int_eq(renew_topics(WARM, lease_of("a", "h:1", 5, 1), "x", NULL), OK);
    ck_assert_int_eq(renew(WARM, lease_of("a", "h:2", 4, 1)), ERROR_FENCED);
    ck_assert_int_eq(renew(WARM, lease_of("a", "h:2", 6, 1)), OK);
    ck_assert(answer.replaced);
    ck_assert_int_eq(renew(WARM, lease_of("a", "h:1", 5, 1)), ERROR_FENCED);
    uint64_t after_takeover;
    ck_assert_int_eq(find(WARM, "x", &after_takeover), OK);
}
END_TEST

START_TEST(two_brokers_of_one_name_and_epoch_do_not_share_a_lease)
{
    ck_assert_int_eq(renew(WARM, lease_of("a", "h:1", 1, 1)), OK);
    ck_assert_int_eq(renew(WARM + 1, lease_of("a", "h:2", 1, 1)), ERROR_FENCED);
    ck_assert_ptr_nonnull(strstr(refusal.message, "h:1"));
    ck_assert_int_eq(renew(WARM + LEASE, lease_of("a", "h:2", 1, 1)), OK);
}
END_TEST

START_TEST(an_expired_epoch_is_remembered_for_one_more_lease)
{
    ck_assert_int_eq(renew(WARM, lease_of("a", "h:1", 5, 1)), OK);
    ck_assert_int_eq(renew(WARM + 2 * LEASE - 1, lease_of("a", "h:1", 4, 1)), ERROR_FENCED);
    ck_assert_int_eq(renew(WARM + 2 * LEASE, lease_of("a", "h:1", 4, 1)), OK);
}
END_TEST

START_TEST(versions_follow_content_alone)
{
    uint64_t first;
    uint64_t second;
    ck_assert_int_eq(renew_topics(WARM, A, "x", NULL), OK);
    ck_assert_int_eq(find(WARM, "x", &first), OK);
    ck_assert_int_eq(renew_topics(WARM + 1, A, "x", "y", NULL), OK);
    ck_assert_int_eq(find(WARM + 1, "x", &second), OK);
    ck_assert_uint_eq(first, second);
    ck_assert_int_eq(renew(WARM + 2, lease_of("a", "127.0.0.1:1", 2, 11)), OK);
    ck_assert_int_eq(find(WARM + 2, "x", &second), OK);
    ck_assert_uint_ne(first, second);
    ck_assert_uint_lt(first, INTEGER_LIMIT);

    /* Another nameserver, another seed, the same content. */
    struct routes *mine = routes;
    routes = routes_create(&(struct routes_options){START, LEASE, 43});
    ck_assert_int_eq(renew_topics(WARM, A, "x", "y", NULL), OK);
    ck_assert_int_eq(find(WARM, "x", &second), OK);
    routes_destroy(routes);
    routes = mine;
    ck_assert_uint_eq(first, second);
}
END_TEST

/* -------------------------------------------------------------- watching */

struct counting_watch {
    struct route_watch watch;
    int runs;
};

static void count_run(struct route_watch *watch)
{
    CONTAINER_OF(watch, struct counting_watch, watch)->runs++;
}

static void watch_topic(struct counting_watch *watch, uint64_t now_ms, const char *topic)
{
    struct route_topic *found;
    watch->watch.changed = count_run;
    ck_assert_int_eq(routes_find(routes, now_ms, bytes_from_string(topic), &found, &refusal), OK);
    route_watch_topic(found, &watch->watch);
}

START_TEST(a_watch_runs_once_when_its_topic_changes_and_not_for_others)
{
    ck_assert_int_eq(renew_topics(WARM, A, "x", NULL), OK);
    struct counting_watch watch = {.runs = 0};
    watch_topic(&watch, WARM, "x");
    ck_assert_int_eq(renew_topics(WARM + 1, A, "x", "y", NULL), OK);
    ck_assert_int_eq(renew(WARM + 2, A), OK);
    ck_assert_int_eq(watch.runs, 0);
    ck_assert_int_eq(renew_topics(WARM + 3, A, "y", NULL), OK);
    ck_assert_int_eq(watch.runs, 1);
}
END_TEST

START_TEST(a_watch_runs_when_the_lease_of_its_topic_expires)
{
    ck_assert_int_eq(renew_topics(WARM, A, "x", NULL), OK);
    struct counting_watch watch = {.runs = 0};
    watch_topic(&watch, WARM, "x");
    routes_advance(routes, WARM + LEASE - 1, NULL, NULL);
    ck_assert_int_eq(watch.runs, 0);
    routes_advance(routes, WARM + LEASE, NULL, NULL);
    ck_assert_int_eq(watch.runs, 1);
}
END_TEST

START_TEST(lists_have_watches_of_their_own)
{
    struct counting_watch brokers = {.watch.changed = count_run};
    struct counting_watch topics = {.watch.changed = count_run};
    route_watch_list(routes, ROUTES_BROKERS, &brokers.watch);
    route_watch_list(routes, ROUTES_TOPICS, &topics.watch);
    ck_assert_int_eq(renew(WARM, A), OK);
    ck_assert_int_eq(brokers.runs, 1);
    ck_assert_int_eq(topics.runs, 0);
    ck_assert_int_eq(renew_topics(WARM, A, "x", NULL), OK);
    ck_assert_int_eq(topics.runs, 1);
}
END_TEST

START_TEST(a_cancelled_watch_never_runs)
{
    ck_assert_int_eq(renew_topics(WARM, A, "x", NULL), OK);
    struct counting_watch watch = {.runs = 0};
    watch_topic(&watch, WARM, "x");
    route_watch_cancel(&watch.watch);
    routes_advance(routes, WARM + 5 * LEASE, NULL, NULL);
    ck_assert_int_eq(watch.runs, 0);
}
END_TEST

/* --------------------------------------------------------------- answers */

/* The names of a page, joined by commas; `next_out` has the key next, or "". */
static const char *page_names(enum routes_list list, const char *prefix, const char *after,
                              uint32_t limit, char *next_out)
{
    static char names[4096];
    struct writer writer = writer_over(answer_room, sizeof(answer_room));
    routes_list_write(
        routes, WARM,
        &(struct routes_page){list, bytes_from_string(prefix), bytes_from_string(after), limit},
        &writer);
    ck_assert(!writer.overflowed);
    struct cursor cursor = cursor_over(writer_bytes(&writer));
    uint32_t pairs = 0;
    ck_assert(cursor_take_map(&cursor, &pairs));
    names[0] = '\0';
    next_out[0] = '\0';
    for (uint32_t i = 0; i < pairs; i++) {
        struct bytes key;
        ck_assert(cursor_take_str(&cursor, &key));
        if (bytes_equal(key, BYTES_OF("next"))) {
            struct bytes next;
            ck_assert(cursor_take_str(&cursor, &next));
            (void)sprintf(next_out, "%.*s", (int)next.length, (const char *)next.data);
            continue;
        }
        if (!bytes_equal(key, BYTES_OF("rows"))) {
            ck_assert(cursor_skip(&cursor));
            continue;
        }
        uint32_t rows = 0;
        ck_assert(cursor_take_array(&cursor, &rows));
        for (uint32_t row = 0; row < rows; row++) {
            uint32_t fields = 0;
            struct bytes field;
            struct bytes name;
            ck_assert(cursor_take_map(&cursor, &fields));
            ck_assert(cursor_take_str(&cursor, &field) && cursor_take_str(&cursor, &name));
            ck_assert(bytes_equal(field, BYTES_OF("name")));
            size_t used = strlen(names);
            (void)snprintf(names + used, sizeof(names) - used, "%s%.*s", used > 0 ? "," : "",
                           (int)name.length, (const char *)name.data);
            for (uint32_t skip = 1; skip < fields; skip++) {
                ck_assert(cursor_skip(&cursor) && cursor_skip(&cursor));
            }
        }
    }
    ck_assert(cursor_is_done(&cursor));
    return names;
}

START_TEST(lists_come_by_name_in_pages_of_a_prefix)
{
    char next[200];
    ck_assert_int_eq(renew_topics(WARM, A, "b2", "a", "b1", "c", "b3", NULL), OK);
    ck_assert_str_eq(page_names(ROUTES_TOPICS, "", "", 100, next), "a,b1,b2,b3,c");
    ck_assert_str_eq(next, "");
    ck_assert_str_eq(page_names(ROUTES_TOPICS, "b", "", 2, next), "b1,b2");
    ck_assert_str_eq(next, "b2");
    ck_assert_str_eq(page_names(ROUTES_TOPICS, "b", "b2", 2, next), "b3");
    ck_assert_str_eq(next, "");
    ck_assert_str_eq(page_names(ROUTES_TOPICS, "b", "a", 9, next), "b1,b2,b3");
    ck_assert_str_eq(page_names(ROUTES_TOPICS, "", "a", 1, next), "b1");
    ck_assert_int_eq(renew(WARM, lease_of("b", "h:2", 1, 1)), OK);
    ck_assert_str_eq(page_names(ROUTES_BROKERS, "", "", 100, next), "a,b");
    routes_advance(routes, WARM + LEASE, NULL, NULL);
    ck_assert_str_eq(page_names(ROUTES_BROKERS, "", "", 100, next), "");
}
END_TEST

/* A placement of parts "a4 b2": a broker of one letter and its queues. */
static void put_placed_row(struct writer *writer, const char *topic, uint64_t version,
                           const char *parts)
{
    writer_put_array(writer, 4);
    writer_put_string(writer, topic);
    writer_put_uint(writer, 1);
    writer_put_uint(writer, version);
    writer_put_array(writer, (uint32_t)(strlen(parts) + 1) / 3);
    uint32_t first = 0;
    for (const char *part = parts; *part != '\0'; part += part[2] == ' ' ? 3 : 2) {
        uint32_t count = (uint32_t)(part[1] - '0');
        writer_put_array(writer, 3);
        writer_put_str(writer, bytes_make(part, 1));
        writer_put_uint(writer, first);
        writer_put_uint(writer, count);
        first += count;
    }
}

/* Broker `name` renews with topic "x" alone; whether that is disputed. */
static bool renew_placed(const char *name, uint64_t version, const char *parts)
{
    uint8_t room[256];
    struct writer writer = writer_over(room, sizeof(room));
    put_placed_row(&writer, "x", version, parts);
    struct lease lease = lease_of(name, "h:1", 1, version);
    lease.has_topics = true;
    lease.topic_count = 1;
    lease.topics = cursor_over(writer_bytes(&writer));
    ck_assert_int_eq(renew(WARM, lease), OK);
    ck_assert(answer.disputed.length == 0 || bytes_equal(answer.disputed, BYTES_OF("x")));
    return answer.disputed.length > 0;
}

/* Whether the route of "x" has this placement, byte for byte. */
static bool route_is(const char *parts)
{
    uint8_t room[256];
    struct writer expected = writer_over(room, sizeof(room));
    put_placed_row(&expected, "x", 1, parts);
    struct cursor cursor = cursor_over(writer_bytes(&expected));
    for (int skip = 0; skip < 3; skip++) {
        uint32_t fields;
        ck_assert(skip == 0 ? cursor_take_array(&cursor, &fields) : cursor_skip(&cursor));
    }
    ck_assert(cursor_skip(&cursor));
    struct route_topic *topic;
    ck_assert_int_eq(routes_find(routes, WARM, BYTES_OF("x"), &topic, &refusal), OK);
    struct writer writer = writer_over(answer_room, sizeof(answer_room));
    route_write(topic, &writer);
    return memmem(answer_room, writer_length(&writer), cursor.at, cursor_left(&cursor)) != NULL;
}

START_TEST(the_longer_of_two_placements_leads_whatever_the_versions_of_the_catalogues)
{
    ck_assert(!renew_placed("a", 900, "a4 b4"));
    ck_assert(!renew_placed("b", 2, "a4 b4"));
    ck_assert(route_is("a4 b4"));
    ck_assert(!renew_placed("b", 3, "a4 b6")); /* b was told first that it has more */
    ck_assert(route_is("a4 b6"));
    ck_assert(!renew_placed("a", 901, "a4 b6 a1"));
    ck_assert(route_is("a4 b6 a1"));
    ck_assert_int_eq(routes_release(routes, WARM, BYTES_OF("a"), 1, &refusal), OK);
    ck_assert(route_is("a4 b6")); /* what is known of those that are there */
}
END_TEST

START_TEST(a_route_says_how_many_queues_each_of_its_brokers_knows_and_changes_with_it)
{
    uint64_t before;
    uint64_t after;
    (void)renew_placed("a", 1, "a4 b4");
    (void)renew_placed("b", 1, "a4 b4 a1");
    ck_assert_int_eq(find(WARM, "x", &before), OK);
    struct route_topic *topic;
    ck_assert_int_eq(routes_find(routes, WARM, BYTES_OF("x"), &topic, &refusal), OK);
    struct writer writer = writer_over(answer_room, sizeof(answer_room));
    route_write(topic, &writer);
    static const uint8_t EIGHT[] = {0xa6, 'q', 'u', 'e', 'u', 'e', 's', 8};
    static const uint8_t NINE[] = {0xa6, 'q', 'u', 'e', 'u', 'e', 's', 9};
    const uint8_t *of_a = memmem(answer_room, writer_length(&writer), EIGHT, sizeof(EIGHT));
    const uint8_t *of_b = memmem(answer_room, writer_length(&writer), NINE, sizeof(NINE));
    ck_assert(of_a != NULL && of_b != NULL && of_a < of_b);
    struct counting_watch watch = {.runs = 0};
    watch_topic(&watch, WARM, "x");
    (void)renew_placed("a", 2, "a4 b4 a1");
    ck_assert_int_eq(watch.runs, 1);
    ck_assert_int_eq(find(WARM, "x", &after), OK);
    ck_assert_uint_ne(before, after);
}
END_TEST

START_TEST(two_topics_of_one_name_are_disputed_and_the_one_of_more_queues_leads)
{
    ck_assert(!renew_placed("b", 9, "b4"));
    ck_assert(renew_placed("a", 1, "a4"));
    ck_assert(route_is("a4")); /* as many: the first by name */
    ck_assert(renew_placed("b", 10, "b5"));
    ck_assert(route_is("b5"));
    ck_assert(renew_placed("a", 2, "a4 b1")); /* queues 0 to 3 are b's there */
    ck_assert(renew_placed("c", 1, "b4 c4"));
    ck_assert(route_is("b4 c4"));
}
END_TEST

/* --------------------------------------------------------------- refusal */

static enum error renew_raw(const void *rows, size_t length, uint32_t count)
{
    struct lease lease = A;
    lease.has_topics = true;
    lease.topics = cursor_over(bytes_make(rows, length));
    lease.topic_count = count;
    return routes_renew(routes, WARM, &lease, &answer, &refusal);
}

START_TEST(a_list_that_is_wrong_anywhere_changes_nothing)
{
    ck_assert_int_eq(renew_topics(WARM, A, "x", NULL), OK);
    static const char *const BAD[] = {
        "\xa1y",             /* not an array */
        "\x93\xa1y\x01\x01", /* three fields */
        "\x94\xa1%\x01\x01\x91\x93\xa1"
        "a\x00\x04", /* a name of the system's */
        "\x94\xa1y\x01\x01\x91\x93\xa1"
        "a\x01\x04", /* queue 0 is nobody's */
        "\x94\xa1y\x01\x01\x91\x93\xa1"
        "a\x00\x00",             /* no queue */
        "\x94\xa1y\x01\x01\x90", /* no placement */
        "\x94\xa1y\x01\x01\x91\x93\xa1"
        "a\x00\xcd\x04\x01", /* 1,025 queues */
    };
    static const size_t LENGTHS[] = {2, 5, 11, 11, 11, 6, 13};
    for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++) {
        uint8_t room[64];
        struct writer writer = writer_over(room, sizeof(room));
        put_row(&writer, "good", "a", 1, 1, 1);
        writer_put_raw(&writer, bytes_make(BAD[i], LENGTHS[i]));
        ck_assert_int_eq(renew_raw(room, writer_length(&writer), 2), ERROR_BAD_ARGUMENT);
        ck_assert_str_eq(refusal.key, "topics");
    }
    ck_assert_int_eq(find(WARM, "good", NULL), ERROR_TOPIC_NOT_FOUND);
    ck_assert_int_eq(find(WARM, "x", NULL), OK);
}
END_TEST

START_TEST(fields_of_later_versions_are_skipped)
{
    static const uint8_t ROW[] = {0x95, 0xa1, 'y', 1, 1, 0x91, 0x93, 0xa1, 'a', 0, 4, 0x81, 1, 2};
    ck_assert_int_eq(renew_raw(ROW, sizeof(ROW), 1), OK);
    ck_assert_int_eq(find(WARM, "y", NULL), OK);
}
END_TEST

START_TEST(brokers_are_bounded_and_the_past_make_room)
{
    char name[32];
    for (uint32_t i = 0; i < BROKERS_MAX; i++) {
        (void)snprintf(name, sizeof(name), "broker-%u", i);
        ck_assert_int_eq(renew(WARM + i, lease_of(name, "h:1", 1, 1)), OK);
    }
    ck_assert_int_eq(renew(WARM + 2000, lease_of("more", "h:1", 1, 1)), ERROR_OVERLOADED);
    uint64_t limit = 0;
    ck_assert(refusal_get(&refusal, REFUSAL_LIMIT, &limit));
    ck_assert_uint_eq(limit, BROKERS_MAX);
    /* broker-0's lease is over, its epoch is still remembered: it goes first. */
    ck_assert_int_eq(renew(WARM + LEASE, lease_of("more", "h:1", 1, 1)), OK);
}
END_TEST

START_TEST(memory_goes_back_to_nothing_with_the_brokers)
{
    ck_assert_int_eq(renew_topics(WARM, A, "x", "y", "z", NULL), OK);
    ck_assert_uint_gt(routes_usage(routes).bytes, 0);
    routes_advance(routes, WARM + LEASE, NULL, NULL);
    routes_advance(routes, WARM + 2 * LEASE, NULL, NULL);
    ck_assert_uint_eq(routes_usage(routes).bytes, 0);
    ck_assert_uint_eq(routes_usage(routes).topics, 0);
    ck_assert_uint_eq(routes_next_ms(routes), UINT64_MAX);
}
END_TEST

static Suite *suite(void)
{
    Suite *made = suite_create("routes");
    TCase *leases = tcase_create("leases");
    tcase_add_checked_fixture(leases, set_up, tear_down);
    tcase_add_test(leases, a_broker_that_is_new_is_asked_for_its_topics_and_then_routed);
    tcase_add_test(leases, another_digest_is_asked_for_and_the_list_replaces_the_old_one);
    tcase_add_test(leases, an_absent_topic_is_warming_for_one_lease_after_the_start);
    tcase_add_test(leases, a_silent_broker_is_out_at_the_expiry_of_its_lease);
    tcase_add_test(leases, a_lost_connection_ends_the_lease_after_a_second);
    tcase_add_test(leases, a_connection_lost_just_before_the_expiry_prolongs_nothing);
    tcase_add_test(leases, a_renewal_over_a_new_connection_makes_the_loss_of_the_old_one_nothing);
    tcase_add_test(leases, a_release_ends_the_lease_at_once_and_forgets_the_epoch);
    tcase_add_test(leases, the_highest_epoch_wins_and_lower_ones_are_fenced);
    tcase_add_test(leases, two_brokers_of_one_name_and_epoch_do_not_share_a_lease);
    tcase_add_test(leases, an_expired_epoch_is_remembered_for_one_more_lease);
    suite_add_tcase(made, leases);

    TCase *answers = tcase_create("answers");
    tcase_add_checked_fixture(answers, set_up, tear_down);
    tcase_add_test(answers, versions_follow_content_alone);
    tcase_add_test(answers, a_watch_runs_once_when_its_topic_changes_and_not_for_others);
    tcase_add_test(answers, a_watch_runs_when_the_lease_of_its_topic_expires);
    tcase_add_test(answers, lists_have_watches_of_their_own);
    tcase_add_test(answers, a_cancelled_watch_never_runs);
    tcase_add_test(answers, lists_come_by_name_in_pages_of_a_prefix);
    tcase_add_test(answers,
                   the_longer_of_two_placements_leads_whatever_the_versions_of_the_catalogues);
    tcase_add_test(answers,
                   a_route_says_how_many_queues_each_of_its_brokers_knows_and_changes_with_it);
    tcase_add_test(answers, two_topics_of_one_name_are_disputed_and_the_one_of_more_queues_leads);
    suite_add_tcase(made, answers);

    TCase *refusals = tcase_create("refusals");
    tcase_add_checked_fixture(refusals, set_up, tear_down);
    tcase_add_test(refusals, a_list_that_is_wrong_anywhere_changes_nothing);
    tcase_add_test(refusals, fields_of_later_versions_are_skipped);
    tcase_add_test(refusals, brokers_are_bounded_and_the_past_make_room);
    tcase_add_test(refusals, memory_goes_back_to_nothing_with_the_brokers);
    suite_add_tcase(made, refusals);
    return made;
}

TEST_MAIN(suite)
