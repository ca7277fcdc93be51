/* SPDX-License-Identifier: Apache-2.0 */

/*
 * replay.c - runs a fuzz target over saved inputs, without a fuzzer.
 *
 * Linked with each fuzz_*.c, so that every input that ever broke us is a plain regression test under
 * any compiler: `fuzz_framer test/fuzz/corpus/framer`. Arguments are files, or folders whose files are
 * taken in the order of their names. Writes TAP, a line an input; a target that finds something aborts,
 * and the plan printed first says how many inputs were still to come.
 */

#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

enum { INPUT_BYTES_MAX = 16 << 20, INPUTS_MAX = 65536, PATH_BYTES_MAX = 4096 };

static char *paths[INPUTS_MAX];
static size_t path_count;

static void give_up(const char *what, const char *path)
{
    (void)fflush(stdout);
    (void)fprintf(stderr, "replay: %s %s: %s\n", what, path, strerror(errno));
    exit(EXIT_FAILURE);
}

static void add_path(const char *path)
{
    if (path_count == INPUTS_MAX) {
        errno = E2BIG;
        give_up("take", path);
    }
    paths[path_count] = strdup(path);
    if (paths[path_count] == NULL) {
        give_up("remember", path);
    }
    path_count++;
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void add_folder(const char *folder)
{
    struct dirent **entries = NULL;
    int count = scandir(folder, &entries, is_visible, alphasort);
    if (count < 0) {
        give_up("list", folder);
    }
    for (int i = 0; i < count; i++) {
        char path[PATH_BYTES_MAX];
        if (snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name) >=
            (int)sizeof(path)) {
            errno = ENAMETOOLONG;
            give_up("name", folder);
        }
        add_path(path);
        free(entries[i]);
    }
    free(entries);
}

/*
 * The input stands at the end of an allocation of exactly its size, so that AddressSanitizer sees the
 * first byte that is read behind it.
 */
static void run_input(size_t number, const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        give_up("open", path);
    }
    struct stat facts;
    if (fstat(fileno(file), &facts) != 0) {
        give_up("stat", path);
    }
    if (facts.st_size > INPUT_BYTES_MAX) {
        errno = EFBIG;
        give_up("read", path);
    }
    size_t length = (size_t)facts.st_size;
    uint8_t *input = malloc(length > 0 ? length : 1);
    if (input == NULL || fread(input, 1, length, file) != length) {
        give_up("read", path);
    }
    (void)fclose(file); /* Read only: nothing to lose. */

    (void)LLVMFuzzerTestOneInput(input, length);

    free(input);
    printf("ok %zu - %s\n", number, strrchr(path, '/') != NULL ? strrchr(path, '/') + 1 : path);
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        struct stat facts;
        if (stat(argv[i], &facts) != 0) {
            give_up("find", argv[i]);
        }
        if (S_ISDIR(facts.st_mode)) {
            add_folder(argv[i]);
        } else {
            add_path(argv[i]);
        }
    }
    if (path_count == 0) {
        (void)fprintf(stderr, "replay: no inputs: name files or folders\n");
        return EXIT_FAILURE;
    }

    printf("1..%zu\n", path_count);
    (void)fflush(stdout);
    for (size_t i = 0; i < path_count; i++) {
        run_input(i + 1, paths[i]);
        free(paths[i]);
    }
    return EXIT_SUCCESS;
}
