/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record.c - heads are a template with a few stores; checks go from what costs least.
 */
#include "proto/record.h"

#include "proto/base/crc32c.h"
#include "proto/cursor.h"

/* Bytes 6 up to element 12 are what the head's crc covers. */
#define HEAD_CRC_FROM RECORD_PLACE_SIZE

#define MARK_ARRAY      0x9d
#define MARK_U16        0xcd
#define MARK_U32        0xce
#define MARK_U64        0xcf
#define MARK_NIL        0xc0
#define MARK_BIN32      0xc6
#define MARK_ARRAY_OF_4 0x94

#define KIND_MASK   0x0f
#define CODEC_SHIFT 4
#define CODEC_MASK  0x07

static const uint8_t template[RECORD_HEAD_BYTES] = {
    [0] = MARK_ARRAY,
    [RECORD_PLACE_HEAD_CRC] = MARK_U32,
    [RECORD_PLACE_SIZE] = MARK_U32,
    [RECORD_PLACE_MESSAGE_CRC] = MARK_U32,
    [RECORD_PLACE_KIND] = MARK_U16,
    [RECORD_PLACE_EPOCH] = MARK_U32,
    [RECORD_PLACE_POSITION] = MARK_U64,
    [RECORD_PLACE_TOPIC] = MARK_U32,
    [RECORD_PLACE_QUEUE] = MARK_U16,
    [RECORD_PLACE_OFFSET] = MARK_U64,
    [RECORD_PLACE_STORED_AT] = MARK_U64,
    [RECORD_PLACE_BORN_AT] = MARK_U64,
    [RECORD_PLACE_EXTRA] = MARK_NIL,
};

static_assert(RECORD_PLACE_SIZE == RECORD_PLACE_HEAD_CRC + 5, "u32 takes 5 bytes");
static_assert(RECORD_PLACE_KIND == RECORD_PLACE_MESSAGE_CRC + 5, "u32 takes 5 bytes");
static_assert(RECORD_PLACE_POSITION == RECORD_PLACE_EPOCH + 5, "u32 takes 5 bytes");
static_assert(RECORD_PLACE_TOPIC == RECORD_PLACE_POSITION + 9, "u64 takes 9 bytes");
static_assert(RECORD_PLACE_OFFSET == RECORD_PLACE_QUEUE + 3, "u16 takes 3 bytes");
static_assert(RECORD_PLACE_EXTRA == RECORD_PLACE_BORN_AT + 9, "u64 takes 9 bytes");

/* ---- building ---- */

/* Inlined, so that there is one for no extra, whose sizes are known. */
static inline __attribute__((always_inline)) uint32_t build_head(uint8_t *to,
                                                                 const struct record_fields *fields,
                                                                 struct bytes extra,
                                                                 uint32_t message_bytes)
{
    ASSERT(fields->kind >= RECORD_MESSAGE && fields->kind <= RECORD_SEGMENT);
    ASSERT(extra.length <= EXTRA_BYTES_MAX);
    ASSERT(message_bytes >= 2 && message_bytes <= MESSAGE_BYTES_MAX);

    uint32_t head_bytes = RECORD_HEAD_BYTES;
    memcpy(to, template, RECORD_HEAD_BYTES);
    store_u32(to + RECORD_PLACE_SIZE + 1, record_size_for(extra.length, message_bytes));
    store_u32(to + RECORD_PLACE_MESSAGE_CRC + 1, fields->message_crc);
    store_u16(to + RECORD_PLACE_KIND + 1,
              (uint16_t)((uint32_t)fields->kind | (uint32_t)fields->codec << CODEC_SHIFT));
    store_u32(to + RECORD_PLACE_EPOCH + 1, fields->epoch);
    store_u64(to + RECORD_PLACE_POSITION + 1, fields->position);
    store_u32(to + RECORD_PLACE_TOPIC + 1, fields->topic);
    store_u16(to + RECORD_PLACE_QUEUE + 1, fields->queue);
    store_u64(to + RECORD_PLACE_OFFSET + 1, fields->offset);
    store_u64(to + RECORD_PLACE_STORED_AT + 1, fields->stored_at_ms);
    store_u64(to + RECORD_PLACE_BORN_AT + 1, fields->born_at_ms);
    if (extra.length > 0) {
        memcpy(to + RECORD_PLACE_EXTRA, extra.data, extra.length);
        head_bytes = RECORD_PLACE_EXTRA + (uint32_t)extra.length;
    }
    store_u32(to + RECORD_PLACE_HEAD_CRC + 1,
              crc32c(to + HEAD_CRC_FROM, head_bytes - HEAD_CRC_FROM));
    return head_bytes;
}

uint32_t record_build_head(uint8_t *to, const struct record_fields *fields, struct bytes extra,
                           uint32_t message_bytes)
{
    if (__builtin_expect(extra.length == 0, 1)) {
        return build_head(to, fields, bytes_make(NULL, 0), message_bytes);
    }
    return build_head(to, fields, extra, message_bytes);
}

uint32_t record_build_own(uint8_t *to, struct record_fields *fields, struct bytes content)
{
    ASSERT(fields->kind >= RECORD_EVENTS && fields->kind <= RECORD_SEGMENT);
    ASSERT(content.length + 5 <= MESSAGE_BYTES_MAX);

    uint8_t *element = to + RECORD_HEAD_BYTES;
    uint32_t element_bytes = (uint32_t)content.length + 5;
    if (content.length > 0 && content.data != to + RECORD_CONTENT_PLACE) {
        memmove(to + RECORD_CONTENT_PLACE, content.data, content.length);
    }
    element[0] = MARK_BIN32;
    store_u32(element + 1, (uint32_t)content.length);
    fields->codec = RECORD_CODEC_NONE;
    fields->message_crc = crc32c(element, element_bytes);
    fields->size = record_size_for(0, element_bytes);
    (void)record_build_head(to, fields, (struct bytes){NULL, 0}, element_bytes);
    return fields->size;
}

/* ---- reading ---- */

/* True when every fixed place holds what it must. */
static bool has_marks(const uint8_t *at)
{
    return at[0] == MARK_ARRAY && at[RECORD_PLACE_HEAD_CRC] == MARK_U32 &&
           at[RECORD_PLACE_SIZE] == MARK_U32 && at[RECORD_PLACE_MESSAGE_CRC] == MARK_U32 &&
           at[RECORD_PLACE_KIND] == MARK_U16 && at[RECORD_PLACE_EPOCH] == MARK_U32 &&
           at[RECORD_PLACE_POSITION] == MARK_U64 && at[RECORD_PLACE_TOPIC] == MARK_U32 &&
           at[RECORD_PLACE_QUEUE] == MARK_U16 && at[RECORD_PLACE_OFFSET] == MARK_U64 &&
           at[RECORD_PLACE_STORED_AT] == MARK_U64 && at[RECORD_PLACE_BORN_AT] == MARK_U64;
}

static void read_fields(const uint8_t *at, struct record_fields *fields)
{
    uint16_t kind = load_u16(at + RECORD_PLACE_KIND + 1);
    *fields = (struct record_fields){
        .size = record_size(at),
        .message_crc = load_u32(at + RECORD_PLACE_MESSAGE_CRC + 1),
        .kind = (enum record_kind)(kind & KIND_MASK),
        .codec = (enum record_codec)(kind >> CODEC_SHIFT & CODEC_MASK),
        .epoch = record_epoch(at),
        .position = record_position(at),
        .topic = record_topic(at),
        .queue = record_queue(at),
        .offset = record_offset(at),
        .stored_at_ms = record_stored_at_ms(at),
        .born_at_ms = load_u64(at + RECORD_PLACE_BORN_AT + 1),
    };
}

/* True when the numbers of a head can be those of a record. */
static bool is_sane(const struct record_fields *fields, const uint8_t *at)
{
    uint16_t kind = load_u16(at + RECORD_PLACE_KIND + 1);
    return fields->size >= RECORD_BYTES_MIN && fields->size <= RECORD_BYTES_MAX &&
           fields->kind >= RECORD_MESSAGE && fields->kind <= RECORD_SEGMENT &&
           fields->codec <= RECORD_CODEC_ZLIB && kind >> CODEC_SHIFT <= CODEC_MASK;
}

/* Finds the extra of a record of `size` bytes, of which `available` may be a beginning only. */
static enum record_state find_extra(struct bytes available, uint32_t size, struct bytes *extra_out)
{
    if (available.data[RECORD_PLACE_EXTRA] == MARK_NIL) {
        *extra_out = (struct bytes){NULL, 0};
        return RECORD_WHOLE;
    }
    size_t there = available.length < size ? available.length : size;
    size_t limit = there < RECORD_HEAD_BYTES_MAX ? there : RECORD_HEAD_BYTES_MAX;
    struct cursor cursor = cursor_over(
        (struct bytes){available.data + RECORD_PLACE_EXTRA, limit - RECORD_PLACE_EXTRA});
    bool is_map = cursor_peek(&cursor) == CURSOR_MAP;
    if (is_map && cursor_take_span(&cursor, extra_out)) {
        return RECORD_WHOLE;
    }
    bool may_go_on = is_map && there < size && limit < RECORD_HEAD_BYTES_MAX;
    return may_go_on ? RECORD_SHORT : RECORD_BAD;
}

static enum record_state read_head(struct bytes available, struct record_view *view_out)
{
    struct record_view view;
    const uint8_t *at = available.data;

    if (available.length < RECORD_HEAD_BYTES) {
        return RECORD_SHORT;
    }
    if (!has_marks(at)) {
        return RECORD_BAD;
    }
    read_fields(at, &view.fields);
    if (!is_sane(&view.fields, at)) {
        return RECORD_BAD;
    }
    enum record_state state = find_extra(available, view.fields.size, &view.extra);
    if (state != RECORD_WHOLE) {
        return state;
    }
    size_t head_bytes = RECORD_PLACE_EXTRA + (view.extra.length == 0 ? 1 : view.extra.length);
    view.head_crc = record_head_crc(at);
    if (view.fields.size < head_bytes + 2 ||
        crc32c(at + HEAD_CRC_FROM, head_bytes - HEAD_CRC_FROM) != view.head_crc) {
        return RECORD_BAD;
    }
    view.whole = (struct bytes){at, view.fields.size};
    view.message = (struct bytes){at + head_bytes, view.fields.size - head_bytes};
    *view_out = view;
    return RECORD_WHOLE;
}

enum record_state record_read_head(struct bytes available, uint64_t position,
                                   struct record_view *view_out)
{
    struct record_view view;
    enum record_state state = read_head(available, &view);
    if (state != RECORD_WHOLE) {
        return state;
    }
    if (view.fields.position != position) {
        return RECORD_BAD;
    }
    *view_out = view;
    return RECORD_WHOLE;
}

/* True when the message is one value of a shape that its kind may have. */
static bool has_shape(const struct record_view *view)
{
    struct cursor cursor = cursor_over(view->message);
    enum cursor_type type = cursor_peek(&cursor);
    bool may_be_array = view->fields.kind <= RECORD_PREPARED;
    if (type != CURSOR_BIN && !(may_be_array && view->message.data[0] == MARK_ARRAY_OF_4)) {
        return false;
    }
    return cursor_skip(&cursor) && cursor_is_done(&cursor);
}

/* Checks the message of a record whose head is good. */
static enum record_state check_message(struct bytes available, const struct record_view *view)
{
    if (available.length < view->fields.size) {
        return RECORD_SHORT;
    }
    if (crc32c(view->message.data, view->message.length) != view->fields.message_crc ||
        !has_shape(view)) {
        return RECORD_BAD;
    }
    return RECORD_WHOLE;
}

enum record_state record_read(struct bytes available, uint64_t position,
                              struct record_view *view_out)
{
    struct record_view view;
    enum record_state state = record_read_head(available, position, &view);
    if (state == RECORD_WHOLE) {
        state = check_message(available, &view);
    }
    if (state == RECORD_WHOLE) {
        *view_out = view;
    }
    return state;
}

enum record_state record_read_anywhere(struct bytes available, struct record_view *view_out)
{
    struct record_view view;
    enum record_state state = read_head(available, &view);
    if (state == RECORD_WHOLE) {
        state = check_message(available, &view);
    }
    if (state == RECORD_WHOLE) {
        *view_out = view;
    }
    return state;
}

struct bytes record_content(const struct record_view *view)
{
    struct cursor cursor = cursor_over(view->message);
    struct bytes content = {NULL, 0};
    (void)cursor_take_bin(&cursor, &content); /* no bin: stays empty, as promised */
    return content;
}
