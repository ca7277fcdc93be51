/* SPDX-License-Identifier: Apache-2.0 */
/* lost_verdicts.c - verdicts of a member that a broker did not take. */
#include "tools/cli/lost_verdicts.h"

#include <stdio.h>
#include <string.h>

void lost_verdicts_init(struct lost_verdicts *lost, struct invocation *invocation,
                        const char *topic)
{
    struct ternmq_route route;
    struct ternmq_error error;
    memset(lost, 0, sizeof(*lost));
    lost->invocation = invocation;
    if (invocation_common(invocation, OPTION_BROKER)->given ||
        ternmq_route(invocation->client, topic, &route, &error) != TERNMQ_OK) {
        return;
    }
    for (uint32_t i = 0; i < route.span_count && i < PLACEMENT_PARTS_MAX; i++) {
        struct lost_span *span = &lost->spans[lost->span_count++];
        span->queue_first = route.spans[i].queue_first;
        span->queue_count = route.spans[i].queue_count;
        (void)snprintf(span->broker, sizeof(span->broker), "%s", route.spans[i].broker);
    }
}

static const char *broker_of(const struct lost_verdicts *lost, uint32_t queue)
{
    for (uint32_t i = 0; i < lost->span_count; i++) {
        const struct lost_span *span = &lost->spans[i];
        if (queue >= span->queue_first && queue - span->queue_first < span->queue_count) {
            return span->broker;
        }
    }
    return "";
}

/* Whether nothing of this kind was told; notes that it is now. */
static bool is_new_kind(struct lost_verdicts *lost, const char *broker, int code)
{
    for (uint32_t i = 0; i < lost->kind_count; i++) {
        if (lost->kinds[i].code == code && strcmp(lost->kinds[i].broker, broker) == 0) {
            return false;
        }
    }
    if (lost->kind_count == LOST_KINDS_MAX) {
        return false;
    }
    struct lost_kind *kind = &lost->kinds[lost->kind_count++];
    kind->code = code;
    (void)snprintf(kind->broker, sizeof(kind->broker), "%s", broker);
    return true;
}

void lost_verdicts_note(struct lost_verdicts *lost, const char *topic, uint32_t queue,
                        uint64_t offset, const struct ternmq_error *why)
{
    const char *broker = broker_of(lost, queue);
    lost->count++;
    if (!is_new_kind(lost, broker, why->code)) {
        return;
    }
    invocation_say(lost->invocation,
                   "%s%s%stopic %s, queue %u, offset %llu: %s (%s); it may come again, and more "
                   "of the kind are counted at the end",
                   broker[0] == '\0' ? "" : "broker ", broker, broker[0] == '\0' ? "" : ": ", topic,
                   queue, (unsigned long long)offset, why->message, why->name);
}
