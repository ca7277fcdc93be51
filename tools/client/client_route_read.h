/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_route_read.h - reads the answers that routes are made of; for client_route.c alone.
 *
 * Threads: the reactor's; what is read may be anything.
 */
#ifndef TOOLS_CLIENT_CLIENT_ROUTE_READ_H
#define TOOLS_CLIENT_CLIENT_ROUTE_READ_H

#include "proto/base/bytes.h"
#include "proto/base/contract.h"
#include "tools/client/client_route.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One block of memory, which begins with the spans: free(spans) frees all. */
struct span_block {
    struct ternmq_route_span *spans;
    uint32_t count;
    const char **masters; /* the addresses of the spans that are alive and take writes, each once */
    uint32_t master_count;
    char *text; /* where the next string goes */
    size_t text_left;
};

/* Reads what answered the question of `route` and sets its version and number of queues. False: it is
 * no route, or there is no memory; nothing is to be freed. */
NODISCARD bool client_route_read(struct client_route *route, struct bytes result,
                                 struct span_block *block_out);

#endif
