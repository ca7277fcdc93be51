/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reactor_choice.c - io_uring where it is wished for and can be had, else epoll.
 */

#include "net/reactor_choice.h"

#include "proto/base/contract.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Measured: see "Decisions" in ARCHITECTURE.md. */
enum { AUTO_TAKES = REACTOR_EPOLL };

static bool create_all(struct reactor **reactors, uint32_t count, enum reactor_kind kind,
                       size_t buffers_bytes_max)
{
    for (uint32_t i = 0; i < count; i++) {
        reactors[i] = kind == REACTOR_URING ? reactor_create_uring(buffers_bytes_max)
                                            : reactor_create_epoll(buffers_bytes_max);
        if (reactors[i] == NULL) {
            int error = errno;
            while (i > 0) {
                reactor_destroy(reactors[--i]);
                reactors[i] = NULL;
            }
            errno = error;
            return false;
        }
    }
    return true;
}

/* What an administrator set about io_uring (since 6.6), or -1 where the kernel has no such word. */
static int disabled_by_sysctl(void)
{
    FILE *file = fopen("/proc/sys/kernel/io_uring_disabled", "re");
    int letter = file == NULL ? EOF : fgetc(file);
    if (file != NULL) {
        (void)fclose(file);
    }
    return letter >= '0' && letter <= '9' ? letter - '0' : -1;
}

static const char *reason(int error)
{
    switch (error) {
    case EPERM:
    case EACCES:
        return disabled_by_sysctl() > 0 ? "kernel.io_uring_disabled forbids it"
                                        : "a security filter forbids it, as those of containers do";
    case ENOSYS:
        return "the kernel has none";
    case EINVAL:
        return "it needs Linux 6.12";
    case ENOMEM:
        return "the limit of locked memory is too low: raise LimitMEMLOCK= or ulimit -l";
    default:
        return strerror(error);
    }
}

bool reactors_create(struct reactor **reactors, uint32_t count, enum reactor_wish wish,
                     size_t buffers_bytes_max, char refusal[REACTOR_REFUSAL_BYTES_MAX])
{
    ASSERT(count >= 1);
    refusal[0] = '\0';
    bool wishes_uring = wish == REACTOR_WISH_URING ||
                        (wish == REACTOR_WISH_AUTO && (int)AUTO_TAKES == (int)REACTOR_URING);
    if (wishes_uring) {
        if (create_all(reactors, count, REACTOR_URING, buffers_bytes_max)) {
            return true;
        }
        (void)snprintf(refusal, REACTOR_REFUSAL_BYTES_MAX,
                       "io_uring is refused (%s): epoll takes over", reason(errno));
    }
    return create_all(reactors, count, REACTOR_EPOLL, buffers_bytes_max);
}
