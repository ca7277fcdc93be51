/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_bytes.c - spans compare by content, and numbers travel with their high byte first.
 */
#include "proto/base/bytes.h"
#include "test/lib/check_main.h"

START_TEST(numbers_are_stored_high_byte_first_at_any_place)
{
    uint8_t bytes[16] = {0};
    for (size_t place = 0; place < 8; place++) {
        store_u64(bytes + place, UINT64_C(0x0102030405060708));
        ck_assert_mem_eq(bytes + place, "\1\2\3\4\5\6\7\10", 8);
        ck_assert_uint_eq(load_u64(bytes + place), UINT64_C(0x0102030405060708));
        store_u32(bytes + place, 0xfffefdfcU);
        ck_assert_mem_eq(bytes + place, "\xff\xfe\xfd\xfc\5", 5);
        ck_assert_uint_eq(load_u32(bytes + place), 0xfffefdfcU);
        store_u16(bytes + place, 0x8001U);
        ck_assert_mem_eq(bytes + place, "\x80\1\xfd", 3);
        ck_assert_uint_eq(load_u16(bytes + place), 0x8001U);
    }
}
END_TEST

START_TEST(spans_are_equal_by_content_and_ordered_with_prefixes_first)
{
    struct bytes none = {NULL, 0};
    ck_assert(bytes_equal(none, BYTES_OF("")));
    ck_assert(bytes_equal(BYTES_OF("ab"), bytes_from_string("ab")));
    ck_assert(!bytes_equal(BYTES_OF("ab"), BYTES_OF("abc")));
    ck_assert_int_lt(bytes_compare(BYTES_OF("ab"), BYTES_OF("abc")), 0);
    ck_assert_int_gt(bytes_compare(BYTES_OF("b"), BYTES_OF("abc")), 0);
    ck_assert_int_eq(bytes_compare(none, none), 0);
    ck_assert_int_lt(bytes_compare(none, BYTES_OF("a")), 0);
    ck_assert_int_gt(bytes_compare(BYTES_OF("\xff"), BYTES_OF("a")), 0);
    ck_assert(bytes_starts_with(BYTES_OF("abc"), BYTES_OF("ab")));
    ck_assert(bytes_starts_with(BYTES_OF("abc"), none));
    ck_assert(!bytes_starts_with(BYTES_OF("a"), BYTES_OF("ab")));
}
END_TEST

START_TEST(a_container_is_found_from_its_member)
{
    struct whole {
        uint64_t before;
        uint16_t member;
    } whole = {.before = 1};
    ck_assert_ptr_eq(CONTAINER_OF(&whole.member, struct whole, member), &whole);
}
END_TEST

static Suite *bytes_suite(void)
{
    Suite *suite = suite_create("bytes");
    TCase *cases = tcase_create("bytes");
    tcase_add_test(cases, numbers_are_stored_high_byte_first_at_any_place);
    tcase_add_test(cases, spans_are_equal_by_content_and_ordered_with_prefixes_first);
    tcase_add_test(cases, a_container_is_found_from_its_member);
    suite_add_tcase(suite, cases);
    return suite;
}

TEST_MAIN(bytes_suite)
