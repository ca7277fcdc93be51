/* SPDX-License-Identifier: Apache-2.0 */
/*
 * admin_topic.c - topics made, changed and deleted, on one broker or on several.
 *
 * A topic on several brokers is put to each of them with its whole placement. That takes as many calls as
 * brokers and is no transaction: each call changes nothing the second time, so whoever was cut in the
 * middle does it again. Until a broker was told of its queues nobody is sent there (the route says what
 * each broker knows).
 */
#include "proto/arguments.h"
#include "proto/base/contract.h"
#include "proto/limits.h"
#include "proto/names.h"
#include "tools/client/admin.h"
#include "tools/client/answer_map.h"
#include "tools/client/client.h"
#include "tools/client/client_route.h"
#include "tools/client/fault.h"
#include "tools/client/topic_placement.h"

#include <stdio.h>

/* What a topic became. */
struct put_topic {
    uint64_t id;
    uint64_t version;
};

static void write_settings(struct writer *writer, const struct ternmq_topic_options *options)
{
    const struct topic_settings settings = {
        .has_route = options->route != TERNMQ_ROUTE_DEFAULT,
        .has_durability = options->durability != TERNMQ_DURABILITY_DEFAULT,
        .route = options->route == TERNMQ_ROUTE_KEY ? TOPIC_ROUTE_KEY : TOPIC_ROUTE_ANY,
        .durability =
            options->durability == TERNMQ_DURABILITY_MEMORY ? DURABILITY_MEMORY : DURABILITY_DISK,
    };
    writer_put_string(writer, "settings");
    topic_settings_write(&settings, writer);
}

/* `placement` is NULL for a topic of one broker; else it says how many queues there are, too. */
static void write_topic_put(struct writer *writer, const struct ternmq_topic_options *options,
                            const struct topic_placement *placement)
{
    bool has_settings =
        options->route != TERNMQ_ROUTE_DEFAULT || options->durability != TERNMQ_DURABILITY_DEFAULT;
    bool has_queues = options->queues != 0 && placement == NULL;
    writer_put_map(writer, 1U + has_queues + has_settings + options->rehash +
                               (options->version != 0) + (placement != NULL));
    writer_put_key_string(writer, "name", options->name);
    if (placement != NULL) {
        topic_placement_write(placement, writer);
    }
    if (has_queues) {
        writer_put_key_uint(writer, "queues", options->queues);
    }
    if (has_settings) {
        write_settings(writer, options);
    }
    if (options->rehash) {
        writer_put_key_bool(writer, "rehash", true);
    }
    if (options->version != 0) {
        writer_put_key_uint(writer, "version", options->version);
    }
}

/* What this client knew of a topic that it has changed, or deleted: then no broker is waited for that
 * may still have it. */
static void forget_topic(struct ternmq *client, const char *name, bool is_deleted)
{
    struct client_route *route = client_route_take(client, ROUTE_TOPIC, name);
    if (route != NULL) {
        client_route_forget(route);
        route->denied = route->denied || is_deleted;
    }
    client_route_give(route);
}

/* Puts the topic to the one broker of `call`. */
static int put_topic(struct ternmq *client, struct ternmq_call *call,
                     const struct ternmq_topic_options *options,
                     const struct topic_placement *placement, struct put_topic *put_out,
                     struct ternmq_error *error_out)
{
    uint8_t room[ARGUMENTS_ROOM + TOPIC_PLACEMENT_BYTES_MAX];
    struct writer writer = writer_over(room, sizeof(room));
    write_topic_put(&writer, options, placement);
    ASSERT(!writer.overflowed);
    call->method = "topic.put";
    call->arguments = admin_written(&writer);
    /* With a version a second try would find its own change in the way. */
    call->once = options->version != 0;
    struct ternmq_answer answer;
    int code = ternmq_call(client, call, &answer, error_out);
    if (code != TERNMQ_OK) {
        return code;
    }
    struct bytes result = bytes_make(answer.result.data, answer.result.length);
    if (!answer_find_uint(result, "id", &put_out->id) ||
        !answer_find_uint(result, "version", &put_out->version)) {
        return fault_set(error_out, TERNMQ_PROTOCOL, TERNMQ_STORED_MAYBE,
                         "%s answered no topic's id and version", answer.address);
    }
    return TERNMQ_OK;
}

/* ------------------------------------------------------------------ several brokers */

/* Asks each broker of a placement whether it is there, before any of them changes something. */
static int check_alive(struct ternmq *client, const struct topic_placement *placement,
                       struct ternmq_error *error_out)
{
    for (uint32_t i = 0; i < placement->part_count; i++) {
        if (!topic_placement_is_first(placement, i)) {
            continue;
        }
        struct ternmq_call call = {
            .to = TERNMQ_TO_BROKER, .to_name = placement->parts[i].broker, .method = "hello"};
        struct ternmq_answer answer;
        int code = ternmq_call(client, &call, &answer, error_out);
        if (code != TERNMQ_OK) {
            return code;
        }
    }
    return TERNMQ_OK;
}

/* Says whose error it is. */
static int fail_at(const char *broker, const struct ternmq_error *why,
                   struct ternmq_error *error_out)
{
    struct ternmq_error error = *why;
    (void)snprintf(error.message, sizeof(error.message), "broker %s: %.*s", broker,
                   (int)sizeof(error.message) / 2, why->message);
    return fault_give(&error, error_out);
}

static int put_on_all(struct ternmq *client, const struct ternmq_topic_options *options,
                      const struct topic_placement *placement, struct put_topic *put_out,
                      struct ternmq_error *error_out)
{
    int code = check_alive(client, placement, error_out);
    for (uint32_t i = 0; i < placement->part_count && code == TERNMQ_OK; i++) {
        if (!topic_placement_is_first(placement, i)) {
            continue;
        }
        const char *broker = placement->parts[i].broker;
        struct ternmq_call call = {.to = TERNMQ_TO_BROKER, .to_name = broker};
        struct put_topic put;
        struct ternmq_error error;
        if (put_topic(client, &call, options, placement, &put, &error) != TERNMQ_OK) {
            return fail_at(broker, &error, error_out);
        }
        if (i == 0) {
            *put_out = put;
        }
    }
    return code;
}

/* The placement that the topic shall have: what it has, and what is added shared out among `brokers` or
 * those that have it. */
static int make_placement(const struct ternmq_topic_options *options,
                          struct topic_placement *placement, struct ternmq_error *error_out)
{
    const char *old[PLACEMENT_PARTS_MAX];
    const char *const *brokers = options->brokers;
    uint32_t count = options->broker_count;
    uint32_t queues = options->queues;
    for (uint32_t i = 0; i < placement->part_count && options->broker_count == 0; i++) {
        if (topic_placement_is_first(placement, i)) {
            old[count++] = placement->parts[i].broker;
        }
        brokers = old;
    }
    if (queues == 0) {
        queues = placement->queue_count != 0        ? placement->queue_count
                 : count > QUEUES_PER_TOPIC_DEFAULT ? count
                                                    : QUEUES_PER_TOPIC_DEFAULT;
    }
    if (queues < placement->queue_count) {
        return fault_set(error_out, TERNMQ_BAD_ARGUMENT, TERNMQ_STORED_NO,
                         "the topic has %u queues and never gets fewer; not %u",
                         placement->queue_count, queues);
    }
    if (placement->queue_count == 0 && queues < count) {
        return fault_set(error_out, TERNMQ_BAD_ARGUMENT, TERNMQ_STORED_NO,
                         "%u queues are too few for %u brokers: at least one each", queues, count);
    }
    struct topic_placement grown = *placement;
    if (!topic_placement_share(&grown, brokers, count, queues - placement->queue_count)) {
        return fault_set(error_out, TERNMQ_BAD_ARGUMENT, TERNMQ_STORED_NO,
                         "the placement would have more than %d parts", PLACEMENT_PARTS_MAX);
    }
    *placement = grown;
    return TERNMQ_OK;
}

/* Where the topic is now, empty where it is nowhere. */
static int know_placement(struct ternmq *client, const char *name,
                          struct topic_placement *placement_out, struct ternmq_error *error_out)
{
    struct ternmq_error error;
    struct ternmq_route route;
    int code = ternmq_route(client, name, &route, &error);
    placement_out->part_count = 0;
    placement_out->queue_count = 0;
    if (code == TERNMQ_TOPIC_NOT_FOUND) {
        return TERNMQ_OK;
    }
    if (code != TERNMQ_OK) {
        return fault_give(&error, error_out);
    }
    if (!topic_placement_of_route(&route, placement_out)) {
        return fault_set(error_out, TERNMQ_PROTOCOL, TERNMQ_STORED_NO,
                         "the route of topic %s has more than %d parts", name, PLACEMENT_PARTS_MAX);
    }
    return TERNMQ_OK;
}

static int check_options(const struct ternmq *client, const struct ternmq_topic_options *options,
                         struct ternmq_error *error_out)
{
    const char *wrong = NULL;
    if (options->broker_count > 0 && options->broker != NULL) {
        wrong = "broker and brokers: one of them";
    } else if (options->broker_count > PLACEMENT_PARTS_MAX) {
        wrong = "brokers: at most 48";
    } else if (options->broker_count > 0 && client->direct) {
        wrong = "brokers: this client talks to one broker alone";
    } else if (options->queues > QUEUES_PER_TOPIC_MAX) {
        wrong = "queues: at most 1024";
    }
    for (uint32_t i = 0; i < options->broker_count && wrong == NULL; i++) {
        const char *broker = options->brokers[i];
        wrong = broker != NULL && name_is_broker(bytes_from_string(broker))
                    ? NULL
                    : "brokers: names of 1 to 127 of A-Z a-z 0-9 . _ -";
        for (uint32_t j = 0; j < i && wrong == NULL; j++) {
            wrong = strcmp(broker, options->brokers[j]) == 0 ? "brokers: each once" : NULL;
        }
    }
    return wrong == NULL ? TERNMQ_OK
                         : fault_set(error_out, TERNMQ_USAGE, TERNMQ_STORED_NO, "%s", wrong);
}

/* Puts the topic where it belongs: to one broker, or to all that have a part of it. */
static int put_where_it_belongs(struct ternmq *client, const struct ternmq_topic_options *options,
                                struct put_topic *put_out, struct ternmq_error *error_out)
{
    struct ternmq_call call = {.to = TERNMQ_TO_ANY_BROKER};
    if (options->broker != NULL) {
        call.to = TERNMQ_TO_BROKER;
        call.to_name = options->broker;
    }
    if (options->broker != NULL || client->direct) {
        return put_topic(client, &call, options, NULL, put_out, error_out);
    }
    struct topic_placement placement;
    int code = know_placement(client, options->name, &placement, error_out);
    if (code != TERNMQ_OK) {
        return code;
    }
    if (options->broker_count == 0 && placement.part_count <= 1) {
        call.to = placement.part_count == 0 ? TERNMQ_TO_ANY_BROKER : TERNMQ_TO_TOPIC;
        call.to_name = placement.part_count == 0 ? NULL : options->name;
        return put_topic(client, &call, options, NULL, put_out, error_out);
    }
    if (options->version != 0) {
        return fault_set(error_out, TERNMQ_USAGE, TERNMQ_STORED_NO,
                         "version: of a topic of one broker; of one on several each has its own");
    }
    code = make_placement(options, &placement, error_out);
    return code == TERNMQ_OK ? put_on_all(client, options, &placement, put_out, error_out) : code;
}

TERNMQ_API int ternmq_topic_put(struct ternmq *client, const struct ternmq_topic_options *options,
                                uint64_t *id_out, uint64_t *version_out,
                                struct ternmq_error *error_out)
{
    if (client_must_not_block(client, error_out)) {
        return TERNMQ_USAGE;
    }
    /* Topics of dead letters are made by who has some. */
    if (options->name == NULL || !name_is_topic(bytes_from_string(options->name))) {
        return admin_refuse_name("topic", options->name, error_out);
    }
    int code = check_options(client, options, error_out);
    if (code != TERNMQ_OK) {
        return code;
    }
    struct put_topic put = {.id = 0, .version = 0};
    code = put_where_it_belongs(client, options, &put, error_out);
    forget_topic(client, options->name, false);
    if (code != TERNMQ_OK) {
        return code;
    }
    if (id_out != NULL) {
        *id_out = put.id;
    }
    if (version_out != NULL) {
        *version_out = put.version;
    }
    return TERNMQ_OK;
}

/* Deletes it on every broker of its placement, of which some may have done so before. */
static int delete_on_all(struct ternmq *client, struct ternmq_call *call,
                         const struct topic_placement *placement, struct ternmq_error *error_out)
{
    int code = check_alive(client, placement, error_out);
    for (uint32_t i = 0; i < placement->part_count && code == TERNMQ_OK; i++) {
        if (!topic_placement_is_first(placement, i)) {
            continue;
        }
        call->to = TERNMQ_TO_BROKER;
        call->to_name = placement->parts[i].broker;
        struct ternmq_answer answer;
        struct ternmq_error error;
        int one = ternmq_call(client, call, &answer, &error);
        if (one != TERNMQ_OK && one != TERNMQ_TOPIC_NOT_FOUND) {
            return fail_at(call->to_name, &error, error_out);
        }
    }
    return code;
}

TERNMQ_API int ternmq_topic_delete(struct ternmq *client, const char *name,
                                   struct ternmq_error *error_out)
{
    if (admin_is_no_topic(name)) {
        return admin_refuse_name("topic", name, error_out);
    }
    uint8_t room[ARGUMENTS_ROOM];
    struct writer writer = writer_over(room, sizeof(room));
    writer_put_map(&writer, 1);
    writer_put_key_string(&writer, "name", name);
    /* Deleted twice, the second one finds nothing: that would be no honest answer to the first. */
    struct ternmq_call call = {
        .to = TERNMQ_TO_TOPIC,
        .to_name = name,
        .method = "topic.delete",
        .arguments = admin_written(&writer),
        .once = true,
    };
    struct topic_placement placement = {.part_count = 0};
    if (client_must_not_block(client, error_out)) {
        return TERNMQ_USAGE;
    }
    int code = client->direct ? TERNMQ_OK : know_placement(client, name, &placement, error_out);
    if (code == TERNMQ_OK && placement.part_count > 1) {
        call.once = false; /* each is asked for what it may have done already */
        code = delete_on_all(client, &call, &placement, error_out);
    } else if (code == TERNMQ_OK) {
        struct ternmq_answer answer;
        code = ternmq_call(client, &call, &answer, error_out);
    }
    forget_topic(client, name, code == TERNMQ_OK);
    return code;
}
