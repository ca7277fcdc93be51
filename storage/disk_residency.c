/* SPDX-License-Identifier: Apache-2.0 */

/*
 * disk_residency.c - cachestat, or preadv2 with RWF_NOWAIT.
 */

#include "storage/disk_residency.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* Debian 12's headers are older than the call; the numbers and structs are the kernel's interface. */
#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif

struct page_range {
    uint64_t offset;
    uint64_t bytes;
};

struct page_counts {
    uint64_t cached;
    uint64_t dirty;
    uint64_t writeback;
    uint64_t evicted;
    uint64_t recently_evicted;
};

enum {
    PROBE_BYTES = 64 * 1024,
    /* One order to read ahead is cut off silently at the larger of the device's `read_ahead_kb` and
     * `max_sectors_kb`; both are seldom less. */
    READ_AHEAD_STEP_BYTES = 128 * 1024
};

static uint64_t page_bytes(void)
{
    return (uint64_t)sysconf(_SC_PAGESIZE);
}

/* The byte at `offset`, if that needs no disk. */
static bool byte_is_resident(int descriptor, uint64_t offset)
{
    uint8_t byte;
    struct iovec to = {.iov_base = &byte, .iov_len = sizeof(byte)};
    ssize_t count = preadv2(descriptor, &to, 1, (off_t)offset, RWF_NOWAIT);
    return count >= 0 || errno != EAGAIN;
}

static bool probe(int descriptor, uint64_t offset, uint64_t bytes)
{
    for (uint64_t at = 0; at < bytes; at += PROBE_BYTES) {
        if (!byte_is_resident(descriptor, offset + at)) {
            return false;
        }
    }
    return byte_is_resident(descriptor, offset + bytes - 1);
}

/* Whether all pages are there or on their way; true also if it cannot be told. */
static bool has_all_pages(int descriptor, uint64_t offset, uint64_t bytes)
{
    static atomic_bool lacks_cachestat;
    if (atomic_load_explicit(&lacks_cachestat, memory_order_relaxed)) {
        return true;
    }
    struct page_range range = {offset, bytes};
    struct page_counts counts = {0};
    if (syscall(SYS_cachestat, descriptor, &range, &counts, 0) == 0) {
        return counts.cached >= (offset + bytes - 1) / page_bytes() - offset / page_bytes() + 1;
    }
    /* EOPNOTSUPP: memory, or huge pages of it; else a kernel before 6.5, or a container that refuses
     * what it does not know. */
    if (errno != EOPNOTSUPP) {
        atomic_store_explicit(&lacks_cachestat, true, memory_order_relaxed);
    }
    return true;
}

bool descriptor_is_resident(int descriptor, uint64_t offset, uint64_t bytes)
{
    return bytes == 0 ||
           (has_all_pages(descriptor, offset, bytes) && probe(descriptor, offset, bytes));
}

void descriptor_prefetch(int descriptor, uint64_t offset, uint64_t bytes)
{
    for (uint64_t at = 0; at < bytes; at += READ_AHEAD_STEP_BYTES) {
        uint64_t left = bytes - at;
        (void)posix_fadvise(descriptor, (off_t)(offset + at),
                            (off_t)(left < READ_AHEAD_STEP_BYTES ? left : READ_AHEAD_STEP_BYTES),
                            POSIX_FADV_WILLNEED);
    }
}

bool descriptor_read_ahead(int descriptor, int sink, uint64_t offset, uint64_t bytes)
{
    off_t at = (off_t)offset;
    off_t end = (off_t)(offset + bytes);
    while (sink >= 0 && at < end) {
        ssize_t count = sendfile(sink, descriptor, &at, (size_t)(end - at));
        if (count == 0 || (count < 0 && errno != EINTR)) {
            break;
        }
    }
    return at >= end;
}

int descriptor_fetch(int descriptor, uint64_t offset, uint64_t bytes)
{
    uint64_t page = page_bytes();
    uint64_t end = offset + bytes;
    for (uint64_t at = offset; at < end; at = (at / page + 1) * page) {
        uint8_t byte;
        ssize_t count;
        do {
            count = pread(descriptor, &byte, sizeof(byte), (off_t)at);
        } while (count < 0 && errno == EINTR);
        if (count <= 0) {
            return count < 0 ? -errno : 0;
        }
    }
    return 0;
}
