/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NET_REACTOR_CHOICE_H
#define NET_REACTOR_CHOICE_H

/*
 * reactor_choice.h - how a server waits for its sockets: by io_uring or by epoll.
 *
 * io_uring may be refused: by an older kernel, by a sysctl, by the seccomp filter of a container, by
 * the limit of locked memory. Then epoll takes over for all reactors of the process, and everything
 * works as before.
 *
 * Threads: the one that starts the process.
 */

#include "net/reactor.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In the order of REACTOR_WISH_CHOICES. */
enum reactor_wish { REACTOR_WISH_AUTO, REACTOR_WISH_URING, REACTOR_WISH_EPOLL };

/* For the table of a program's settings. */
#define REACTOR_WISH_CHOICES "auto|uring|epoll"

enum { REACTOR_REFUSAL_BYTES_MAX = 200 };

/*
 * Makes `count` reactors of one kind, as reactor_create_epoll() does each. What `auto` takes is
 * decided by measurement: ARCHITECTURE.md says which and why.
 *
 * `refusal` is empty, or one line that says why io_uring was wished for and could not be had.
 * False, with errno: not even epoll can be had; nothing was made.
 */
bool reactors_create(struct reactor **reactors, uint32_t count, enum reactor_wish wish,
                     size_t buffers_bytes_max, char refusal[REACTOR_REFUSAL_BYTES_MAX]);

#endif
