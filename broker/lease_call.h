/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lease_call.h - what a broker says to a nameserver, in bytes; for lease.c.
 *
 * Threads: any; pure but for the connection that is written to.
 * Format:  proto/README.md, lease.renew and lease.release.
 */
#ifndef BROKER_LEASE_CALL_H
#define BROKER_LEASE_CALL_H

#include "proto/base/bytes.h"
#include "proto/base/contract.h"

#include <stdbool.h>
#include <stdint.h>

struct connection;
struct directory;

struct lease_request {
    uint32_t msgid;
    const char *name;
    const char *address;
    uint32_t epoch;
    const struct directory *directory;
    bool with_topics; /* the list, beside its digest */
};

/* Queues a lease.renew. */
void lease_write_renew(const struct lease_request *request, struct connection *connection);

/* Queues a lease.release. */
void lease_write_release(uint32_t msgid, const char *name, uint32_t epoch,
                         struct connection *connection);

/* A shorter lease would be renewed all the time; a longer one is taken for this. */
#define LEASE_MS_LEAST 100
#define LEASE_MS_MOST  60000

struct lease_renewed {
    uint32_t lease_ms; /* LEASE_MS_LEAST to LEASE_MS_MOST */
    bool want_topics;
};

/* Reads the result of lease.renew. False: it is none. */
NODISCARD bool lease_read_renewed(struct bytes result, struct lease_renewed *renewed_out);

#endif
