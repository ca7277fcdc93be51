/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load_idle.c - connections that are held open and ask for nothing: what a broker has of most of its clients.
 */
#include "tools/bench/load_state.h"
#include "tools/client/attach.h"

#include <sys/resource.h>

/* Besides the idle connections: those that work, and what the process has open anyway. */
enum { FILES_BESIDE = 256 };

/* As many files as the connections need, where the hard limit allows it; else opening says what is wrong. */
static void raise_file_limit(uint32_t connections)
{
    struct rlimit limit;
    rlim_t wanted = connections + FILES_BESIDE;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < wanted) {
        limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void greeted(void *context, const struct ternmq_answer *answer,
                    const struct ternmq_error *error)
{
    struct load *load = context;
    (void)answer;
    load->idle_greeted++;
    if (error != NULL) {
        load->failure = *error;
    }
}

static bool all_are_greeted(const struct load *load)
{
    return load->idle_greeted == load->options.idle;
}

bool load_idle_open(struct load *load, struct ternmq_error *error)
{
    raise_file_limit(load->options.idle);
    const struct ternmq_call hello = {.to = TERNMQ_TO_ANY_BROKER, .method = "hello"};
    for (uint32_t i = 0; i < load->options.idle; i++) {
        load->idle[i] = client_attach(load->reactor, &load->options.client, error);
        if (load->idle[i] == NULL ||
            ternmq_call_async(load->idle[i], &hello, greeted, load, error) != TERNMQ_OK) {
            return false;
        }
    }
    if (load->options.idle > 0 && !load_run(load, LOAD_TIMEOUT_MS, all_are_greeted)) {
        const struct ternmq_error *why = load_failure(load);
        *error = why != NULL ? *why
                             : (struct ternmq_error){.code = TERNMQ_TIMED_OUT, .name = "TIMED_OUT"};
        return false;
    }
    return true;
}
