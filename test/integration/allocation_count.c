/* SPDX-License-Identifier: Apache-2.0 */
/*
 * allocation_count.c - linked into a program with -Wl,--wrap=malloc and its kin: counts what our own
 * code asks the allocator for, in a file that TERNMQ_ALLOCATION_COUNT names, as one 64-bit number in the
 * machine's order. What libraries allocate for themselves is not counted.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* The names that the linker gives them. */
void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *block, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
int __real_posix_memalign(void **block, size_t alignment, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *block, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
int __wrap_posix_memalign(void **block, size_t alignment, size_t bytes);

static _Atomic uint64_t count_of_nobody;
static _Atomic uint64_t *count = &count_of_nobody;

/* Before main(), so before any thread. */
__attribute__((constructor)) static void count_open(void)
{
    const char *path = getenv("TERNMQ_ALLOCATION_COUNT");
    int file = path == NULL ? -1 : open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (file < 0) {
        return;
    }
    if (ftruncate(file, sizeof(*count)) == 0) {
        void *place = mmap(NULL, sizeof(*count), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        count = place == MAP_FAILED ? count : place;
    }
    (void)close(file);
}

static void note(void)
{
    atomic_fetch_add_explicit(count, 1, memory_order_relaxed);
}

void *__wrap_malloc(size_t bytes)
{
    note();
    return __real_malloc(bytes);
}

void *__wrap_calloc(size_t elements, size_t bytes)
{
    note();
    return __real_calloc(elements, bytes);
}

void *__wrap_realloc(void *block, size_t bytes)
{
    note();
    return __real_realloc(block, bytes);
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
    note();
    return __real_aligned_alloc(alignment, bytes);
}

int __wrap_posix_memalign(void **block, size_t alignment, size_t bytes)
{
    note();
    return __real_posix_memalign(block, alignment, bytes);
}
