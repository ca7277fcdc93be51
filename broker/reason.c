/* SPDX-License-Identifier: Apache-2.0 */
/* reason.c - counted texts. */
#include "broker/reason.h"

#include "proto/base/contract.h"

#include <stdlib.h>
#include <string.h>

struct reason *reason_make(struct bytes text, struct reason *like)
{
    ASSERT(text.length <= REASON_BYTES_MAX);
    if (text.length == 0) {
        return NULL;
    }
    if (like != NULL && bytes_equal(reason_text(like), text)) {
        return reason_ref(like);
    }
    struct reason *reason = malloc(sizeof(*reason) + text.length);
    ASSERT(reason != NULL);
    atomic_init(&reason->references, 1);
    reason->length = (uint8_t)text.length;
    memcpy(reason->text, text.data, text.length);
    return reason;
}

struct reason *reason_ref(struct reason *reason)
{
    if (reason != NULL) {
        atomic_fetch_add_explicit(&reason->references, 1, memory_order_relaxed);
    }
    return reason;
}

void reason_unref(struct reason *reason)
{
    if (reason != NULL &&
        atomic_fetch_sub_explicit(&reason->references, 1, memory_order_acq_rel) == 1) {
        free(reason);
    }
}

struct bytes reason_text(const struct reason *reason)
{
    return reason == NULL ? (struct bytes){NULL, 0} : bytes_make(reason->text, reason->length);
}
