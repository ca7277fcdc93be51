/* SPDX-License-Identifier: Apache-2.0 */
/*
 * repair.c - the newest version of everything, and where it is missing.
 */
#include "broker/repair.h"

#include <stdio.h>
#include <stdlib.h>

/* What became of one topic or group, as one of the catalogues has it. */
struct finding {
    uint32_t id;
    uint64_t version;
    struct topic *topic;
    struct group *group; /* both NULL: deleted */
};

struct findings {
    struct finding *at;
    uint32_t count;
};

static bool is_deleted(const struct finding *finding)
{
    return finding->topic == NULL && finding->group == NULL;
}

/* By id, the newest first; a deletion is final and goes before everything. */
static int compare_by_id(const void *a, const void *b)
{
    const struct finding *left = a;
    const struct finding *right = b;
    if (left->id != right->id) {
        return left->id < right->id ? -1 : 1;
    }
    if (is_deleted(left) != is_deleted(right)) {
        return is_deleted(left) ? -1 : 1;
    }
    return (left->version < right->version) - (left->version > right->version);
}

/* In the order in which it happened, so that a name is free again before it is taken. */
static int compare_by_version(const void *a, const void *b)
{
    const struct finding *left = a;
    const struct finding *right = b;
    return (left->version > right->version) - (left->version < right->version);
}

/* With references: an append below replaces what the catalogue has. */
static void gather_from(const struct catalogue *catalogue, struct findings *found)
{
    for (uint32_t i = 0; i < catalogue->topic_count; i++) {
        struct topic *topic = topic_ref(catalogue->topics[i]);
        found->at[found->count++] =
            (struct finding){.id = topic->id, .version = topic->version, .topic = topic};
    }
    for (uint32_t i = 0; i < catalogue->group_count; i++) {
        struct group *group = group_ref(catalogue->groups[i]);
        found->at[found->count++] =
            (struct finding){.id = group->id, .version = group->version, .group = group};
    }
    for (uint32_t i = 0; i < catalogue->deleted_count; i++) {
        const struct catalogue_deleted *deleted = &catalogue->deleted[i];
        found->at[found->count++] =
            (struct finding){.id = deleted->id, .version = deleted->version};
    }
}

static struct findings gather(const struct repair_options *options)
{
    uint32_t most = 0;
    for (uint32_t shard = 0; shard < options->shard_count; shard++) {
        const struct catalogue *catalogue = options->catalogues[shard];
        most += catalogue->topic_count + catalogue->group_count + catalogue->deleted_count;
    }
    struct findings found = {.at = calloc(most + 1, sizeof(struct finding)), .count = 0};
    ASSERT(found.at != NULL);
    for (uint32_t shard = 0; shard < options->shard_count; shard++) {
        gather_from(options->catalogues[shard], &found);
    }
    return found;
}

static void finding_give_back(struct finding *finding)
{
    topic_unref(finding->topic);
    group_unref(finding->group);
}

static void keep_newest(struct findings *found)
{
    qsort(found->at, found->count, sizeof(found->at[0]), compare_by_id);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < found->count; i++) {
        if (kept > 0 && found->at[kept - 1].id == found->at[i].id) {
            finding_give_back(&found->at[i]);
            continue;
        }
        found->at[kept++] = found->at[i];
    }
    found->count = kept;
    qsort(found->at, found->count, sizeof(found->at[0]), compare_by_version);
}

/* Whether the catalogue of `shard` must still be told. */
static bool is_missing(const struct repair_options *options, uint32_t shard,
                       const struct finding *finding)
{
    const struct catalogue *catalogue = options->catalogues[shard];
    const struct topic *topic = catalogue_find_id(catalogue, finding->id);
    const struct group *group = catalogue_find_group_id(catalogue, finding->id);
    if (finding->topic != NULL) {
        bool concerns = (topic_shards(finding->topic) >> shard & 1) != 0;
        return concerns && (topic == NULL || topic->version < finding->version);
    }
    if (finding->group != NULL) {
        return group == NULL || group->version < finding->version;
    }
    /* Shard 0 gives the next id and version, so it must have heard of this one at least once. */
    bool unheard =
        shard == 0 && (finding->id >= catalogue->next_id || finding->version > catalogue->version);
    return topic != NULL || group != NULL || unheard;
}

/* A deletion is of what the catalogue still has under this id. */
static void write_finding(const struct finding *finding, const struct catalogue *catalogue,
                          struct writer *writer)
{
    if (finding->topic != NULL) {
        catalogue_write_put(writer, finding->topic);
    } else if (finding->group != NULL) {
        catalogue_write_put_group(writer, finding->group);
    } else if (catalogue_find_group_id(catalogue, finding->id) != NULL) {
        catalogue_write_delete_group(writer, finding->id, finding->version);
    } else {
        catalogue_write_delete(writer, finding->id, finding->version);
    }
    ASSERT(!writer->overflowed);
}

static bool append(const struct repair_options *options, uint32_t shard,
                   const struct finding *finding)
{
    const struct catalogue *catalogue = options->catalogues[shard];
    uint8_t bytes[CATALOGUE_OPERATION_BYTES_MAX];
    struct writer writer = writer_over(bytes, sizeof(bytes));
    write_finding(finding, catalogue, &writer);
    struct group *old = catalogue_find_group_id(catalogue, finding->id);
    if (old != NULL) {
        group_ref(old);
    }
    bool appended = options->append(options->context, shard, writer_bytes(&writer));
    const struct group *group = catalogue_find_group_id(catalogue, finding->id);
    if (appended && group != NULL) {
        options->group_put(options->context, shard, group, old);
    }
    group_unref(old);
    return appended;
}

static bool tell(const struct repair_options *options, const struct finding *finding,
                 uint32_t *appended, char *error, size_t error_bytes)
{
    for (uint32_t shard = 0; shard < options->shard_count; shard++) {
        bool is_writable = (options->read_only >> shard & 1) == 0;
        if (!is_writable || !is_missing(options, shard, finding)) {
            continue;
        }
        if (!append(options, shard, finding)) {
            (void)snprintf(error, error_bytes,
                           "shard %u cannot record the topics and groups it has missed: the disk "
                           "is full; make room",
                           shard);
            return false;
        }
        (*appended)++;
    }
    return true;
}

/* A queue that lies in `shard`: its topic and, in `queue_out`, its number; NULL: there is none. */
static const struct topic *find_queue_in(const struct repair_options *options, uint32_t shard,
                                         uint32_t *queue_out)
{
    for (uint32_t i = 0; i < options->shard_count; i++) {
        const struct catalogue *catalogue = options->catalogues[i];
        for (uint32_t j = 0; j < catalogue->topic_count; j++) {
            const struct topic *topic = catalogue->topics[j];
            for (uint32_t queue = 0; queue < topic->queue_count; queue++) {
                if (topic->shards[queue] == shard) {
                    *queue_out = queue;
                    return topic;
                }
            }
        }
    }
    return NULL;
}

/* How many shards the store says that it has had; 0 where it says nothing. */
static uint32_t shards_said(const struct repair_options *options)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < options->shard_count; i++) {
        const struct catalogue_setting *setting =
            catalogue_find_setting(options->catalogues[i], CATALOGUE_SETTING_SHARDS);
        unsigned long said = setting == NULL ? 0 : strtoul(setting->value, NULL, 10);
        most = said > most && said <= SHARDS_MAX ? (uint32_t)said : most;
    }
    return most;
}

bool catalogues_check_lost(const struct repair_options *options, uint64_t logs, char *error,
                           size_t error_bytes)
{
    uint32_t said = shards_said(options);
    for (uint32_t shard = 0; shard < SHARDS_MAX; shard++) {
        if ((logs >> shard & 1) != 0) {
            continue;
        }
        uint32_t queue = 0;
        const struct topic *topic = find_queue_in(options, shard, &queue);
        /* Logs are made in order, so one before another was there as well. */
        bool is_lost = topic != NULL || shard < said || logs >> shard != 0;
        if (topic != NULL) {
            (void)snprintf(error, error_bytes,
                           "shard %u of the store has lost its log: queue %u of topic '%.*s' was "
                           "in it; put its directory back",
                           shard, queue, (int)topic->name.length, (const char *)topic->name.data);
        } else if (is_lost) {
            (void)snprintf(error, error_bytes,
                           "shard %u of the store has lost its log; put its directory back", shard);
        }
        if (is_lost) {
            return false;
        }
    }
    return true;
}

bool catalogues_repair(const struct repair_options *options, uint32_t *appended_out, char *error,
                       size_t error_bytes)
{
    struct findings found = gather(options);
    keep_newest(&found);
    uint32_t appended = 0;
    bool repaired = true;
    for (uint32_t i = 0; i < found.count && repaired; i++) {
        repaired = tell(options, &found.at[i], &appended, error, error_bytes);
    }
    for (uint32_t i = 0; i < found.count; i++) {
        if (found.at[i].topic != NULL && repaired) {
            options->topic(options->context, found.at[i].topic);
        }
        if (found.at[i].group != NULL && repaired) {
            options->group(options->context, found.at[i].group);
        }
        finding_give_back(&found.at[i]);
    }
    free(found.at);
    if (repaired) {
        *appended_out = appended;
    }
    return repaired;
}
