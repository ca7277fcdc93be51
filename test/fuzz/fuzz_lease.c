/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_lease.c - any bytes, where a broker expects a nameserver's answer to a renewal.
 *
 * The property: a lease that is accepted is one that can be renewed in time.
 */
#include "broker/lease_call.h"
#include "proto/cursor.h"
#include "proto/error.h"
#include "proto/request.h"
#include "test/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    uint8_t *copy = fuzz_copy(data, length);
    struct answer answer;
    if (answer_read(bytes_make(copy, length), &answer) == OK) {
        struct lease_renewed renewed = {.lease_ms = 0};
        struct refusal refusal;
        struct cursor error = cursor_over(answer.error);
        if (answer.failed) {
            ASSERT(!refusal_read(&error, &refusal) || refusal.code != OK);
        } else if (lease_read_renewed(answer.result, &renewed)) {
            ASSERT(renewed.lease_ms >= LEASE_MS_LEAST && renewed.lease_ms <= LEASE_MS_MOST);
        }
    }
    free(copy);
    return 0;
}
