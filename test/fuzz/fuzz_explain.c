/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_explain.c - any bytes as the answer of group.show and of message.trace.
 *
 * The properties: what is explained has a sentence, no more of them than there is room for, and no byte of a
 * peer's that could steer a terminal.
 */
#include "proto/base/contract.h"
#include "test/fuzz/fuzz.h"
#include "tools/client/explain.h"

static void check(const struct explained *explained)
{
    ASSERT(explained->count >= 1 && explained->count <= EXPLAINED_SENTENCES_MAX);
    for (uint32_t i = 0; i < explained->count; i++) {
        const char *sentence = explained->sentences[i];
        size_t length = strlen(sentence);
        ASSERT(length > 0 && length < EXPLAINED_SENTENCE_BYTES);
        for (size_t at = 0; at < length; at++) {
            uint8_t byte = (uint8_t)sentence[at];
            ASSERT(byte >= 0x20 && byte != 0x7f);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    static struct explained explained;
    uint8_t *copy = fuzz_copy(data, length);
    struct bytes answer = bytes_make(copy, length);
    if (explain_group(answer, &explained)) {
        check(&explained);
    }
    if (explain_message(answer, 1, &explained)) {
        check(&explained);
    }
    free(copy);
    return 0;
}
