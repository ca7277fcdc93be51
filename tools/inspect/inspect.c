/* SPDX-License-Identifier: Apache-2.0 */
/* inspect.c - the command `inspect`: opens a store to look, and does what the verb says. */
#include "tools/inspect/inspect.h"

#include "proto/limits.h"
#include "tools/cli/command.h"
#include "tools/inspect/store.h"

#include <string.h>

static const struct setting INSPECT_ROWS[] = {
    [INSPECT_SHARD] = {.name = "shard",
                       .type = SETTING_INTEGER,
                       .most = SHARDS_MAX - 1,
                       .help = "Only this shard"},
    [INSPECT_FROM] = {.name = "from",
                      .metavar = "POSITION",
                      .type = SETTING_INTEGER,
                      .help =
                          "Records: begin with the first at this position of the log or after it"},
    [INSPECT_COUNT] = {.name = "count",
                       .type = SETTING_INTEGER,
                       .help = "Records: at most so many of each shard"},
};

static int run_inspect(struct invocation *invocation)
{
    const char *path = invocation->words[0];
    const char *verb = invocation->words[1];
    int (*run)(struct invocation *, const struct store *) =
        strcmp(verb, "verify") == 0    ? inspect_verify
        : strcmp(verb, "records") == 0 ? inspect_records
                                       : NULL;
    if (run == NULL) {
        return invocation_fail(invocation, EXIT_WRONG_USAGE,
                               "'%s' is neither verify nor records; usage: ternmq inspect DIR "
                               "verify|records",
                               verb);
    }
    char error[512];
    struct store store;
    if (!store_open(&store, path, error, sizeof(error))) {
        return invocation_fail(invocation, EXIT_FAILED, "%s", error);
    }
    int status = run(invocation, &store);
    store_close(&store);
    return status;
}

const struct command INSPECT_COMMAND = {
    .name = "inspect",
    .arguments = "DIR verify|records [--shard N] [--from POSITION] [--count N]",
    .summary = "Read and check a store without a broker",
    .help =
        "  ternmq inspect /var/lib/ternmq verify           is everything whole?\n"
        "  ternmq inspect /var/lib/ternmq records          a line a record\n"
        "  ternmq inspect /var/lib/ternmq records --shard 0 --from 4096 --count 10 --json\n"
        "\n"
        "verify checks both checksums of every record, that positions follow one another and offsets\n"
        "are consecutive, the chain of segments, and each index against one made anew. Nothing is\n"
        "written; a broker may run on the store meanwhile.\n",
    .rows = INSPECT_ROWS,
    .row_count = sizeof(INSPECT_ROWS) / sizeof(INSPECT_ROWS[0]),
    .words_least = 2,
    .words_most = 2,
    .run = run_inspect,
};
