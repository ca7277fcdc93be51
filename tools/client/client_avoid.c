/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_avoid.c - a short list of addresses, the one that failed last in front.
 */
#include "tools/client/client_avoid.h"

#include "net/address.h"
#include "proto/base/contract.h"
#include "proto/base/list.h"
#include "tools/client/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct avoided {
    struct list link; /* client->avoided */
    uint64_t until_ns;
    uint32_t pause_ms; /* the last one */
    char address[ADDRESS_TEXT_BYTES];
};

static struct avoided *find(const struct ternmq *client, const char *address)
{
    LIST_FOREACH (link, &client->avoided) {
        struct avoided *avoided = CONTAINER_OF(link, struct avoided, link);
        if (strcmp(avoided->address, address) == 0) {
            return avoided;
        }
    }
    return NULL;
}

static void forget(struct ternmq *client, struct avoided *avoided)
{
    list_remove(&avoided->link);
    client->avoided_count--;
    free(avoided);
}

/* One for an address that is not there, in the place of the one that failed longest ago if there is no
 * room; NULL: no memory. */
static struct avoided *make(struct ternmq *client, const char *address)
{
    if (client->avoided_count == AVOIDED_MAX) {
        forget(client, CONTAINER_OF(list_last(&client->avoided), struct avoided, link));
    }
    struct avoided *avoided = calloc(1, sizeof(*avoided));
    if (avoided == NULL) {
        return NULL;
    }
    list_init(&avoided->link);
    (void)snprintf(avoided->address, sizeof(avoided->address), "%s", address);
    list_prepend(&client->avoided, &avoided->link);
    client->avoided_count++;
    return avoided;
}

void client_avoid(struct ternmq *client, const char *address)
{
    uint64_t now_ns = reactor_now_ns(client->reactor);
    struct avoided *avoided = find(client, address);
    if (avoided == NULL) {
        avoided = make(client, address);
    } else if (now_ns < avoided->until_ns) {
        return;
    }
    if (avoided == NULL) {
        return;
    }
    uint32_t pause_ms = avoided->pause_ms == 0 ? AVOID_MS_LEAST : avoided->pause_ms * 2;
    avoided->pause_ms = pause_ms < AVOID_MS_MOST ? pause_ms : AVOID_MS_MOST;
    avoided->until_ns = now_ns + (uint64_t)avoided->pause_ms * 1000000U;
    list_remove(&avoided->link);
    list_prepend(&client->avoided, &avoided->link);
}

void client_avoid_no_more(struct ternmq *client, const char *address)
{
    if (client->avoided_count == 0) {
        return; /* nearly always */
    }
    struct avoided *avoided = find(client, address);
    if (avoided != NULL) {
        forget(client, avoided);
    }
}

uint64_t client_avoided_until_ns(const struct ternmq *client, const char *address)
{
    const struct avoided *avoided = client->avoided_count == 0 ? NULL : find(client, address);
    return avoided == NULL ? 0 : avoided->until_ns;
}

void client_avoided_drop(struct ternmq *client)
{
    LIST_FOREACH (link, &client->avoided) {
        forget(client, CONTAINER_OF(link, struct avoided, link));
    }
}
