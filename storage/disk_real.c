/* SPDX-License-Identifier: Apache-2.0 */

/*
 * disk_real.c - disk.h by system calls, below one directory that is held open and locked.
 *
 * Every path is taken relative to that directory's descriptor, so a store that is moved while it is
 * open goes on working, and nothing can escape through a changed working directory.
 */

#include "proto/base/contract.h"
#include "storage/disk.h"
#include "storage/disk_backend.h"
#include "storage/disk_residency.h"
#include "storage/disk_workers.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

enum {
    LOCK_TRIES = 40,    /* ... */
    LOCK_PAUSE_MS = 50, /* ... make 2 s */
    ZERO_BYTES = 64 * 1024
};

struct real_disk {
    struct disk disk;
    int directory;
    int lock; /* -1: opened to read */
    int sink; /* /dev/null, or -1 */
    struct disk_workers *workers;
    _Atomic int open_files;
};

struct real_file {
    struct disk_file file;
    int descriptor;
};

static struct real_disk *real_disk(struct disk *disk)
{
    return (struct real_disk *)disk;
}

static int descriptor_of(const struct disk_file *file)
{
    return ((const struct real_file *)file)->descriptor;
}

static bool is_read_only(struct disk *disk)
{
    return real_disk(disk)->lock < 0;
}

static int result_of(int result)
{
    return result < 0 ? -errno : 0;
}

/* ----------------------------------------------------------------- files */

static int real_file_open(struct disk *disk, const char *path, enum disk_open_mode mode,
                          struct disk_file **file_out)
{
    static const int flags[] = {
        [DISK_READ] = O_RDONLY,
        [DISK_WRITE] = O_RDWR,
        [DISK_CREATE] = O_RDWR | O_CREAT | O_EXCL,
    };
    if (mode != DISK_READ && is_read_only(disk)) {
        return -EROFS;
    }
    int descriptor = openat(real_disk(disk)->directory, path, flags[mode] | O_CLOEXEC, 0640);
    if (descriptor < 0) {
        return -errno;
    }
    struct real_file *file = malloc(sizeof(*file));
    ASSERT(file != NULL);
    file->file.disk = disk;
    file->descriptor = descriptor;
    real_disk(disk)->open_files++;
    *file_out = &file->file;
    return 0;
}

static void real_file_close(struct disk_file *file)
{
    /* What was written and not synced is not promised to anybody: the result says nothing. */
    (void)close(descriptor_of(file));
    real_disk(file->disk)->open_files--;
    free(file);
}

static int64_t real_file_size(struct disk_file *file)
{
    struct stat facts;
    return fstat(descriptor_of(file), &facts) < 0 ? -errno : (int64_t)facts.st_size;
}

static int real_file_allocate(struct disk_file *file, uint64_t bytes)
{
    int result;
    do {
        result = fallocate(descriptor_of(file), 0, 0, (off_t)bytes);
    } while (result < 0 && errno == EINTR);
    if (result < 0 && errno == EOPNOTSUPP) {
        return -posix_fallocate(descriptor_of(file), 0, (off_t)bytes);
    }
    return result_of(result);
}

/* Drops `done` bytes from the front of the ranges. */
static void iov_advance(struct iovec **iov, int *count, size_t done)
{
    while (*count > 0 && done >= (*iov)->iov_len) {
        done -= (*iov)->iov_len;
        (*iov)++;
        (*count)--;
    }
    if (*count > 0) {
        (*iov)->iov_base = (char *)(*iov)->iov_base + done;
        (*iov)->iov_len -= done;
    }
}

static int real_file_write(struct disk_file *file, struct iovec *iov, int count, uint64_t offset)
{
    while (count > 0) {
        int now = count < IOV_MAX ? count : IOV_MAX;
        ssize_t done = pwritev(descriptor_of(file), iov, now, (off_t)offset);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done < 0) {
            return -errno;
        }
        if (done == 0) {
            return -EIO;
        }
        offset += (uint64_t)done;
        iov_advance(&iov, &count, (size_t)done);
    }
    return 0;
}

static int64_t real_file_read(struct disk_file *file, void *bytes, size_t length, uint64_t offset)
{
    size_t got = 0;
    while (got < length) {
        ssize_t now =
            pread(descriptor_of(file), (char *)bytes + got, length - got, (off_t)(offset + got));
        if (now < 0 && errno == EINTR) {
            continue;
        }
        if (now < 0) {
            return -errno;
        }
        if (now == 0) {
            break;
        }
        got += (size_t)now;
    }
    return (int64_t)got;
}

static int real_file_sync(struct disk_file *file)
{
    return result_of(fdatasync(descriptor_of(file)));
}

static int write_zeros(struct disk_file *file, uint64_t offset, uint64_t bytes)
{
    static const uint8_t zeros[ZERO_BYTES];
    while (bytes > 0) {
        size_t now = bytes < sizeof(zeros) ? (size_t)bytes : sizeof(zeros);
        struct iovec iov = {.iov_base = (void *)(uintptr_t)zeros, .iov_len = now};
        int result = real_file_write(file, &iov, 1, offset);
        if (result < 0) {
            return result;
        }
        offset += now;
        bytes -= now;
    }
    return 0;
}

static int real_file_zero(struct disk_file *file, uint64_t offset, uint64_t bytes)
{
    if (bytes == 0) {
        return 0;
    }
    int result = fallocate(descriptor_of(file), FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
                           (off_t)offset, (off_t)bytes);
    if (result < 0 && (errno == EOPNOTSUPP || errno == EINTR)) {
        return write_zeros(file, offset, bytes);
    }
    return result_of(result);
}

static const uint8_t *real_file_map(struct disk_file *file, uint64_t bytes)
{
    void *map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, descriptor_of(file), 0);
    return map == MAP_FAILED ? NULL : map;
}

static void real_file_unmap(struct disk_file *file, const uint8_t *map, uint64_t bytes)
{
    (void)file;
    ASSERT(munmap((void *)(uintptr_t)map, bytes) == 0);
}

static void real_file_drop_cache(struct disk_file *file)
{
    /* Advice: where it is refused, reads see what the cache has, as without it. */
    (void)posix_fadvise(descriptor_of(file), 0, 0, POSIX_FADV_DONTNEED);
}

static bool real_file_is_resident(struct disk_file *file, uint64_t offset, uint64_t bytes)
{
    return descriptor_is_resident(descriptor_of(file), offset, bytes);
}

static void real_file_read_ahead(struct disk_file *file, uint64_t offset, uint64_t bytes)
{
    if (!descriptor_read_ahead(descriptor_of(file), real_disk(file->disk)->sink, offset, bytes)) {
        descriptor_prefetch(descriptor_of(file), offset, bytes);
    }
}

static void real_file_prefetch(struct disk_file *file, uint64_t offset, uint64_t bytes)
{
    descriptor_prefetch(descriptor_of(file), offset, bytes);
}

static int real_file_fetch(struct disk_file *file, uint64_t offset, uint64_t bytes)
{
    return descriptor_fetch(descriptor_of(file), offset, bytes);
}

static void real_file_drop_range(struct disk_file *file, const uint8_t *map, uint64_t offset,
                                 uint64_t bytes)
{
    /* Whole pages only, and of the mapping first: what is mapped stays in the cache. All of it is
     * advice; where it is refused the cache is fuller than need be. */
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t from = (offset + page - 1) / page * page;
    uint64_t to = (offset + bytes) / page * page;
    if (from < to) {
        if (map != NULL) {
            (void)madvise((void *)(uintptr_t)(map + from), to - from, MADV_DONTNEED);
        }
        (void)posix_fadvise(descriptor_of(file), (off_t)from, (off_t)(to - from),
                            POSIX_FADV_DONTNEED);
    }
}

static int real_file_descriptor(const struct disk_file *file)
{
    return descriptor_of(file);
}

/* ----------------------------------------------------------- directories */

static int real_make_directory(struct disk *disk, const char *path)
{
    if (is_read_only(disk)) {
        return -EROFS;
    }
    int result = mkdirat(real_disk(disk)->directory, path, 0750);
    return result < 0 && errno == EEXIST ? 0 : result_of(result);
}

static int real_rename(struct disk *disk, const char *from, const char *to)
{
    int directory = real_disk(disk)->directory;
    return is_read_only(disk) ? -EROFS : result_of(renameat(directory, from, directory, to));
}

static int real_remove(struct disk *disk, const char *path)
{
    if (is_read_only(disk)) {
        return -EROFS;
    }
    int result = unlinkat(real_disk(disk)->directory, path, 0);
    return result < 0 && errno == ENOENT ? 0 : result_of(result);
}

/* fsync and not fdatasync: of a directory the entries are all there is. */
static int sync_directory_at(int directory, const char *path)
{
    int descriptor = openat(directory, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) {
        return -errno;
    }
    int result = result_of(fsync(descriptor));
    (void)close(descriptor); /* Only read. */
    return result;
}

static int real_sync_directory(struct disk *disk, const char *path)
{
    return sync_directory_at(real_disk(disk)->directory, path[0] == '\0' ? "." : path);
}

static int real_list(struct disk *disk, const char *path,
                     bool (*each)(void *context, const char *name), void *context)
{
    int descriptor = openat(real_disk(disk)->directory, path[0] == '\0' ? "." : path,
                            O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) {
        return -errno;
    }
    DIR *entries = fdopendir(descriptor);
    if (entries == NULL) {
        int result = -errno;
        (void)close(descriptor); /* Only read. */
        return result;
    }
    struct dirent *entry;
    errno = 0;
    while ((entry = readdir(entries)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            !each(context, entry->d_name)) {
            break;
        }
        errno = 0;
    }
    int result = entry == NULL ? -errno : 0;
    (void)closedir(entries); /* Only read. */
    return result;
}

static int64_t real_free_bytes(struct disk *disk)
{
    struct statvfs facts;
    if (fstatvfs(real_disk(disk)->directory, &facts) < 0) {
        return -errno;
    }
    return (int64_t)(facts.f_bavail * facts.f_frsize);
}

static void real_submit(struct disk *disk, struct reactor *reactor, enum disk_worker worker,
                        struct disk_job *job)
{
    disk_workers_submit(real_disk(disk)->workers, reactor, worker, job);
}

/* ------------------------------------------------------------------ life */

static void real_close(struct disk *disk)
{
    struct real_disk *real = real_disk(disk);
    ASSERT(real->open_files == 0);
    disk_workers_destroy(real->workers);
    if (real->sink >= 0) {
        (void)close(real->sink);
    }
    if (real->lock >= 0) {
        (void)close(real->lock); /* Which gives the lock back. */
    }
    (void)close(real->directory); /* Only read. */
    free(real);
}

static const struct disk_operations real_operations = {
    .close = real_close,
    .file_open = real_file_open,
    .file_close = real_file_close,
    .file_size = real_file_size,
    .file_allocate = real_file_allocate,
    .file_write = real_file_write,
    .file_read = real_file_read,
    .file_sync = real_file_sync,
    .file_zero = real_file_zero,
    .file_map = real_file_map,
    .file_unmap = real_file_unmap,
    .file_drop_cache = real_file_drop_cache,
    .file_is_resident = real_file_is_resident,
    .file_read_ahead = real_file_read_ahead,
    .file_prefetch = real_file_prefetch,
    .file_fetch = real_file_fetch,
    .file_drop_range = real_file_drop_range,
    .file_descriptor = real_file_descriptor,
    .make_directory = real_make_directory,
    .rename = real_rename,
    .remove = real_remove,
    .sync_directory = real_sync_directory,
    .list = real_list,
    .free_bytes = real_free_bytes,
    .submit = real_submit,
};

/* Makes `path` and what leads to it; what was made is synced, or a power cut would take the store. */
static bool make_path(const char *path, char *error, size_t error_bytes)
{
    char part[PATH_MAX];
    if (snprintf(part, sizeof(part), "%s", path) >= (int)sizeof(part)) {
        (void)snprintf(error, error_bytes, "store path is longer than %d bytes: choose another",
                       PATH_MAX - 1);
        return false;
    }
    for (char *at = part + 1;; at++) {
        if (*at != '/' && *at != '\0') {
            continue;
        }
        char end = *at;
        *at = '\0';
        if (mkdir(part, 0750) == 0) {
            char *slash = strrchr(part, '/');
            char parent[PATH_MAX] = ".";
            if (slash != NULL) {
                (void)snprintf(parent, sizeof(parent), "%.*s", (int)(slash - part), part);
            }
            (void)sync_directory_at(AT_FDCWD, parent[0] == '\0' ? "/" : parent);
        } else if (errno != EEXIST) {
            (void)snprintf(error, error_bytes,
                           "store %s cannot be made: mkdir %s: %s: choose a path that this user "
                           "may write to",
                           path, part, strerror(errno));
            return false;
        }
        *at = end;
        if (end == '\0') {
            return true;
        }
    }
}

static void pause_ms(long ms)
{
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    (void)nanosleep(&pause, NULL);
}

/* The descriptor that holds the lock, or -1 and the line. The file has the holder's process id. */
static int take_lock(int directory, const char *path, char *error, size_t error_bytes)
{
    int lock = openat(directory, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (lock < 0) {
        (void)snprintf(error, error_bytes, "store %s cannot be locked: open lock: %s", path,
                       strerror(errno));
        return -1;
    }
    for (int i = 0; i < LOCK_TRIES; i++) {
        if (flock(lock, LOCK_EX | LOCK_NB) == 0) {
            char text[32];
            int length = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
            /* For people only; the lock holds without it. */
            (void)(ftruncate(lock, 0) == 0 && pwrite(lock, text, (size_t)length, 0) == length);
            return lock;
        }
        pause_ms(LOCK_PAUSE_MS);
    }
    char holder[32] = "";
    ssize_t length = pread(lock, holder, sizeof(holder) - 1, 0);
    holder[length > 0 ? strspn(holder, "0123456789") : 0] = '\0';
    (void)snprintf(error, error_bytes,
                   "store %s is in use by process %s: stop it, or choose another store", path,
                   holder[0] == '\0' ? "?" : holder);
    (void)close(lock);
    return -1;
}

static bool open_directory(struct disk **disk_out, const char *path, bool to_read, char *error,
                           size_t error_bytes)
{
    int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) {
        (void)snprintf(error, error_bytes, "store %s cannot be opened: %s: check the path", path,
                       strerror(errno));
        return false;
    }
    int lock = to_read ? -1 : take_lock(directory, path, error, error_bytes);
    if (!to_read && lock < 0) {
        (void)close(directory); /* Only read. */
        return false;
    }
    struct real_disk *disk = calloc(1, sizeof(*disk));
    ASSERT(disk != NULL);
    disk->disk.operations = &real_operations;
    disk->directory = directory;
    disk->lock = lock;
    disk->sink = open("/dev/null", O_WRONLY | O_CLOEXEC);
    disk->workers = disk_workers_create();
    *disk_out = &disk->disk;
    return true;
}

bool disk_open(struct disk **disk_out, const char *path, char *error, size_t error_bytes)
{
    if (path[0] == '\0') {
        (void)snprintf(error, error_bytes, "store path is empty: name a directory");
        return false;
    }
    /* A file size limit is then an EFBIG like any other failed write, not a kill. */
    (void)signal(SIGXFSZ, SIG_IGN);
    return make_path(path, error, error_bytes) &&
           open_directory(disk_out, path, false, error, error_bytes);
}

bool disk_open_to_read(struct disk **disk_out, const char *path, char *error, size_t error_bytes)
{
    return open_directory(disk_out, path, true, error, error_bytes);
}
