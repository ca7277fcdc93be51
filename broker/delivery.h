/* SPDX-License-Identifier: Apache-2.0 */
/*
 * delivery.h - runs of a log, out to a connection, as they lie.
 *
 * A run is adjacent bytes of one segment. Long ones go from the page cache to the socket by
 * sendfile, shorter ones are gathered from the segment's mapping into one sendmsg. The kernel alone
 * reads them: what the disk cannot give ends the connection, and no byte goes through a buffer.
 *
 * Memory:  none; each run's reference to its segment is given back when its bytes are sent or the
 *          connection drops them.
 * Threads: the connection's core.
 */
#ifndef BROKER_DELIVERY_H
#define BROKER_DELIVERY_H

#include <stdint.h>

struct connection;
struct core;
struct run_list;

enum {
    DELIVERY_SENDFILE_BYTES = 16 * 1024 /* from here sendfile costs less than a copy */
};

/* Queues the bytes of all runs, in order, and takes their references over. */
void delivery_write(struct connection *connection, struct run_list *runs);

/* Gives the references of all runs back unsent. */
void delivery_drop(struct run_list *runs);

#endif
