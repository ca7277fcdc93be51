/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_filter.c - any text as a filter, any bytes as a message.
 *
 * The properties: a refusal names a column of the text; what the exact look wants its hash does not rule
 * out; a condition and its NOT are never both true, both with itself are what it is; and the same labels
 * are found in a message that is cut off behind them.
 *
 * An input is a text, a byte 0, and the element 12 of a record.
 */
#include "proto/base/crc32c.h"
#include "proto/filter.h"
#include "proto/limits.h"
#include "test/fuzz/fuzz.h"

static struct filter *compile(struct bytes text)
{
    struct filter *filter = NULL;
    struct refusal refusal;
    if (filter_create(text, &filter, &refusal) == OK) {
        ASSERT(filter != NULL);
        return filter;
    }
    uint64_t column;
    bool has_column = refusal_get(&refusal, REFUSAL_COLUMN, &column);
    ASSERT(refusal.code == ERROR_BAD_FILTER && has_column);
    ASSERT(column >= 1 && column <= text.length + 1);
    ASSERT(refusal.message[0] != '\0');
    return NULL;
}

/* What `before text middle text after` says; `is_known` false: it is beyond a bound. */
static bool wants_around(const char *const around[3], struct bytes text,
                         const struct message_labels *labels, bool *is_known)
{
    static char buffer[3 * FILTER_BYTES_MAX];
    bool twice = around[2] != NULL;
    int length = snprintf(buffer, sizeof(buffer), "%s%.*s%s", around[0], (int)text.length,
                          (const char *)text.data, around[1]);
    if (twice) {
        length += snprintf(buffer + length, sizeof(buffer) - (size_t)length, "%.*s%s",
                           (int)text.length, (const char *)text.data, around[2]);
    }
    struct filter *filter = compile(bytes_make(buffer, (size_t)length));
    *is_known = filter != NULL;
    bool wanted = filter != NULL && filter_wants(filter, labels);
    filter_destroy(filter);
    return wanted;
}

static void check_logic(struct bytes text, const struct message_labels *labels, bool wanted)
{
    static const char *const of_not[3] = {"NOT (", ")", NULL};
    static const char *const of_and[3] = {"(", ") AND (", ")"};
    static const char *const of_or[3] = {"(", ") OR (", ")"};
    bool is_known;
    bool denied = wants_around(of_not, text, labels, &is_known);
    ASSERT(!is_known || !(wanted && denied));
    /* A LIKE may run out of comparisons the second time: then less is wanted, never more. */
    bool both = wants_around(of_and, text, labels, &is_known);
    ASSERT(!is_known || wanted || !both);
    bool either = wants_around(of_or, text, labels, &is_known);
    ASSERT(!is_known || either == wanted);
}

static void check_cut(struct bytes element, const struct message_labels *labels)
{
    struct message_labels again;
    if (labels->properties.length == 0) {
        return;
    }
    size_t length = (size_t)(labels->properties.data + labels->properties.length - element.data);
    uint8_t *copy = fuzz_copy(element.data, length);
    bool is_read = message_read_labels(bytes_make(copy, length), &again);
    ASSERT(is_read);
    ASSERT(again.property_count == labels->property_count);
    ASSERT(bytes_equal(again.tag, labels->tag) &&
           bytes_equal(again.properties, labels->properties));
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    const uint8_t *end = length == 0 ? NULL : memchr(data, 0, length);
    size_t text_bytes = end == NULL ? length : (size_t)(end - data);
    size_t element_bytes = end == NULL ? 0 : length - text_bytes - 1;
    uint8_t *text_copy = fuzz_copy(data, text_bytes);
    uint8_t *element_copy = fuzz_copy(end == NULL ? data : end + 1, element_bytes);
    struct bytes text = {text_copy, text_bytes};
    struct bytes element = {element_copy, element_bytes};
    struct message_labels labels = {.has_tag = false};
    if (message_read_labels(element, &labels)) {
        check_cut(element, &labels);
    } else {
        labels = (struct message_labels){.has_tag = false};
    }
    struct filter *filter = compile(text);
    if (filter != NULL) {
        bool wanted = filter_wants(filter, &labels);
        ASSERT(!wanted || filter_may_want(filter, crc32c(labels.tag.data, labels.tag.length)));
        ASSERT(!filter_wants_all(filter) || wanted);
        if (!filter_wants_all(filter) && !filter_knows_hashes(filter)) {
            check_logic(text, &labels, wanted);
        }
    }
    filter_destroy(filter);
    free(text_copy);
    free(element_copy);
    return 0;
}
