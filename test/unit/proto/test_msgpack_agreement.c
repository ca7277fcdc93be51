/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_msgpack_agreement.c - msgpack-c as oracle: it reads what our writer wrote, writes the same
 * bytes for the same values, and our cursor finds the ends that it finds.
 *
 * The only file that includes msgpack-c.
 */
#include "proto/cursor.h"
#include "proto/framer.h"
#include "test/lib/check_main.h"
#include "test/unit/proto/values.h"

#include <msgpack.h>

static uint8_t buffer[4 << 20];

START_TEST(it_reads_what_we_write_and_packs_it_to_the_same_bytes)
{
    struct random random;
    random_init(&random, 31);
    for (int round = 0; round < 3000; round++) {
        struct writer writer = writer_over(buffer, sizeof(buffer));
        values_put(&random, &writer, 4);
        ck_assert(!writer.overflowed);

        msgpack_unpacked unpacked;
        msgpack_sbuffer packed;
        size_t offset = 0;
        msgpack_unpacked_init(&unpacked);
        ck_assert_int_eq(
            msgpack_unpack_next(&unpacked, (const char *)buffer, writer_length(&writer), &offset),
            MSGPACK_UNPACK_SUCCESS);
        ck_assert_uint_eq(offset, writer_length(&writer));
        msgpack_sbuffer_init(&packed);
        msgpack_packer packer;
        msgpack_packer_init(&packer, &packed, msgpack_sbuffer_write);
        ck_assert_int_eq(msgpack_pack_object(&packer, unpacked.data), 0);
        ck_assert_uint_eq(packed.size, writer_length(&writer));
        ck_assert_mem_eq(packed.data, buffer, packed.size);
        msgpack_sbuffer_destroy(&packed);
        msgpack_unpacked_destroy(&unpacked);
    }
}
END_TEST

/* True where an ext is somewhere in the object: msgpack-c takes them, and our wire has none. */
static bool has_ext(const msgpack_object *object)
{
    bool found = object->type == MSGPACK_OBJECT_EXT;
    if (object->type == MSGPACK_OBJECT_ARRAY) {
        for (uint32_t i = 0; i < object->via.array.size && !found; i++) {
            found = has_ext(&object->via.array.ptr[i]);
        }
    }
    if (object->type == MSGPACK_OBJECT_MAP) {
        for (uint32_t i = 0; i < object->via.map.size && !found; i++) {
            found = has_ext(&object->via.map.ptr[i].key) || has_ext(&object->via.map.ptr[i].val);
        }
    }
    return found;
}

/* True when msgpack-c takes one value at the start of the bytes; `*length_out` is its size. */
static bool oracle_takes(const uint8_t *bytes, size_t length, size_t *length_out)
{
    msgpack_unpacked unpacked;
    msgpack_unpacked_init(&unpacked);
    *length_out = 0;
    msgpack_unpack_return result =
        msgpack_unpack_next(&unpacked, (const char *)bytes, length, length_out);
    bool is_taken = (result == MSGPACK_UNPACK_SUCCESS || result == MSGPACK_UNPACK_EXTRA_BYTES) &&
                    !has_ext(&unpacked.data);
    msgpack_unpacked_destroy(&unpacked);
    return is_taken;
}

/* True where a 32-bit count may stand: msgpack-c allocates what it says before it looks on. */
static bool has_long_count(const uint8_t *bytes, size_t length)
{
    return memchr(bytes, 0xdd, length) != NULL || memchr(bytes, 0xdf, length) != NULL;
}

START_TEST(we_find_the_end_of_damaged_values_where_it_does)
{
    struct random random;
    uint32_t taken_count = 0;
    random_init(&random, 32);
    for (int round = 0; round < 20000; round++) {
        struct writer writer = writer_over(buffer, sizeof(buffer));
        values_put(&random, &writer, 3);
        size_t length = writer_length(&writer);
        size_t place = random_below(&random, length);
        uint8_t damage = (uint8_t)random_next(&random);
        buffer[place] = damage;
        struct cursor cursor = cursor_over(bytes_make(buffer, length));
        size_t oracle_length;
        bool ours = cursor_skip(&cursor);
        if (!ours && has_long_count(buffer, length)) {
            continue;
        }
        bool oracle = oracle_takes(buffer, length, &oracle_length);
        ck_assert_int_eq(ours, oracle);
        if (ours) {
            ck_assert_uint_eq((size_t)(cursor.at - buffer), oracle_length);
            taken_count++;
        }
    }
    ck_assert_uint_gt(taken_count, 2000);
    ck_assert_uint_lt(taken_count, 19990);
}
END_TEST

/* The object as our cursor reads it: compares, whatever width the packer chose. */
static void same(const msgpack_object *object, struct cursor *cursor)
{
    uint64_t number;
    int64_t integer;
    bool truth;
    struct bytes content;
    uint32_t count;
    switch (object->type) {
    case MSGPACK_OBJECT_NIL:
        ck_assert(cursor_take_nil(cursor));
        break;
    case MSGPACK_OBJECT_BOOLEAN:
        ck_assert(cursor_take_bool(cursor, &truth));
        ck_assert_int_eq(truth, object->via.boolean);
        break;
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        ck_assert(cursor_take_u64(cursor, &number));
        ck_assert_uint_eq(number, object->via.u64);
        break;
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        if (object->via.i64 <= -(INT64_C(1) << 53)) {
            ck_assert(cursor_skip(cursor));
            break;
        }
        ck_assert(cursor_take_int(cursor, &integer));
        ck_assert_int_eq(integer, object->via.i64);
        break;
    case MSGPACK_OBJECT_STR:
        ck_assert(cursor_take_str(cursor, &content));
        ck_assert(bytes_equal(content, bytes_make(object->via.str.ptr, object->via.str.size)));
        break;
    case MSGPACK_OBJECT_BIN:
        ck_assert(cursor_take_bin(cursor, &content));
        ck_assert(bytes_equal(content, bytes_make(object->via.bin.ptr, object->via.bin.size)));
        break;
    case MSGPACK_OBJECT_ARRAY:
        ck_assert(cursor_take_array(cursor, &count));
        ck_assert_uint_eq(count, object->via.array.size);
        for (uint32_t i = 0; i < count; i++) {
            same(&object->via.array.ptr[i], cursor);
        }
        break;
    case MSGPACK_OBJECT_MAP:
        ck_assert(cursor_take_map(cursor, &count));
        ck_assert_uint_eq(count, object->via.map.size);
        for (uint32_t i = 0; i < count; i++) {
            same(&object->via.map.ptr[i].key, cursor);
            same(&object->via.map.ptr[i].val, cursor);
        }
        break;
    default:
        ck_abort_msg("a type that was not written");
    }
}

START_TEST(both_read_the_same_values)
{
    struct random random;
    random_init(&random, 33);
    for (int round = 0; round < 2000; round++) {
        struct writer writer = writer_over(buffer, sizeof(buffer));
        msgpack_unpacked unpacked;
        size_t offset = 0;
        values_put(&random, &writer, 4);
        msgpack_unpacked_init(&unpacked);
        ck_assert_int_eq(
            msgpack_unpack_next(&unpacked, (const char *)buffer, writer_length(&writer), &offset),
            MSGPACK_UNPACK_SUCCESS);
        struct cursor cursor = cursor_over(writer_bytes(&writer));
        same(&unpacked.data, &cursor);
        ck_assert(cursor_is_done(&cursor));
        msgpack_unpacked_destroy(&unpacked);
    }
}
END_TEST

static Suite *msgpack_agreement_suite(void)
{
    Suite *suite = suite_create("msgpack_agreement");
    TCase *cases = tcase_create("msgpack_agreement");
    tcase_add_test(cases, it_reads_what_we_write_and_packs_it_to_the_same_bytes);
    tcase_add_test(cases, we_find_the_end_of_damaged_values_where_it_does);
    tcase_add_test(cases, both_read_the_same_values);
    suite_add_tcase(suite, cases);
    return suite;
}

TEST_MAIN(msgpack_agreement_suite)
