/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_filter.c - which messages a filter wants, and what it says of a text that is none.
 */
#include "proto/base/crc32c.h"
#include "proto/filter.h"
#include "proto/limits.h"
#include "proto/writer.h"
#include "test/lib/check_main.h"
#include "test/unit/proto/hex.h"

#include <stdio.h>

/* The message that all filters below are asked about. */
#define TAG "paid"

static const char *const properties[][2] = {
    {"weight", "2.50"},
    {"count", "9007199254740993"},
    {"city", "Rome"},
    {"fragile", "TRUE"},
    {"empty", ""},
    {"odd name", "x"},
    {"TAGS", "a property"},
    {"path", "a_b%c"},
    {"word", "\xc3\xbc"
             "ber"},
};

static struct message_labels message(void)
{
    static uint8_t buffer[1024];
    struct writer writer = writer_over(buffer, sizeof(buffer));
    uint32_t count = sizeof(properties) / sizeof(properties[0]);
    for (uint32_t i = 0; i < count; i++) {
        writer_put_string(&writer, properties[i][0]);
        writer_put_string(&writer, properties[i][1]);
    }
    ck_assert(!writer.overflowed);
    return (struct message_labels){BYTES_OF(TAG), writer_bytes(&writer), count, true};
}

static struct filter *compile(const char *text)
{
    struct filter *filter = NULL;
    struct refusal refusal;
    uint8_t *copy = exact_copy(bytes_from_string(text));
    enum error error = filter_create(bytes_make(copy, strlen(text)), &filter, &refusal);
    free(copy); /* a filter keeps nothing of its text */
    ck_assert_msg(error == OK, "%s: %s", text, error == OK ? "" : refusal.message);
    return filter;
}

static bool wants_of(const char *text, const struct message_labels *labels)
{
    struct filter *filter = compile(text);
    bool wanted = filter_wants(filter, labels);
    ck_assert_msg(!wanted || filter_may_want(filter, crc32c(labels->tag.data, labels->tag.length)),
                  "%s: its hash says no", text);
    filter_destroy(filter);
    return wanted;
}

static bool wants(const char *text)
{
    struct message_labels labels = message();
    return wants_of(text, &labels);
}

/* 'T', 'F', or 'U' where neither a condition nor its NOT is true. */
static char truth(const char *text)
{
    char negated[512];
    char plain[512];
    snprintf(negated, sizeof(negated), "NOT (%s)", text);
    snprintf(plain, sizeof(plain), "(%s)", text); /* one word alone would be a tag */
    ck_assert(!wants(plain) || !wants(negated));
    return wants(plain) ? 'T' : wants(negated) ? 'F' : 'U';
}

struct sentence {
    const char *text;
    char truth;
};

#define CHECK_ALL(sentences)                                                                       \
    for (size_t i = 0; i < sizeof(sentences) / sizeof((sentences)[0]); i++) {                      \
        char found = truth((sentences)[i].text);                                                   \
        ck_assert_msg(found == (sentences)[i].truth, "%s: %c, not %c", (sentences)[i].text, found, \
                      (sentences)[i].truth);                                                       \
    }

/* -------------------------------------------------------------------- tags */

START_TEST(a_star_and_nothing_want_every_message)
{
    static const char *const texts[] = {"", " ", "*", " * ", "\t*\n"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct message_labels none = {.has_tag = false};
        struct filter *filter = compile(texts[i]);
        ck_assert(filter_wants_all(filter));
        ck_assert(filter_may_want(filter, 0) && filter_may_want(filter, 1));
        ck_assert(filter_wants(filter, &none));
        filter_destroy(filter);
    }
}
END_TEST

START_TEST(tags_are_words_between_bars)
{
    ck_assert(wants("paid"));
    ck_assert(wants("  paid  "));
    ck_assert(wants("sent||paid"));
    ck_assert(wants("sent || paid || x"));
    ck_assert(!wants("sent"));
    ck_assert(!wants("Paid"));
    ck_assert(!wants("pai || paidd"));
    ck_assert(!wants("TRUE")); /* a word alone is a tag, whatever it is */
    struct message_labels none = {.has_tag = false};
    ck_assert(!wants_of("paid", &none));
    struct message_labels empty = {.tag = {NULL, 0}, .has_tag = true};
    ck_assert(!wants_of("paid", &empty));
    struct message_labels umlaut = {.tag = BYTES_OF("\xc3\xbc-1/2"), .has_tag = true};
    ck_assert(wants_of("a||\xc3\xbc-1/2", &umlaut));
}
END_TEST

START_TEST(a_hash_that_no_tag_has_is_never_wanted)
{
    struct filter *filter = compile("paid || sent");
    ck_assert(filter_knows_hashes(filter) && !filter_wants_all(filter));
    ck_assert(filter_may_want(filter, crc32c("paid", 4)));
    ck_assert(filter_may_want(filter, crc32c("sent", 4)));
    ck_assert(!filter_may_want(filter, crc32c("send", 4)));
    ck_assert(!filter_may_want(filter, 0));
    filter_destroy(filter);
    filter = compile("TAGS = 'paid'");
    ck_assert(!filter_knows_hashes(filter) && filter_may_want(filter, 0));
    filter_destroy(filter);
}
END_TEST

/* --------------------------------------------------------------------- SQL */

/* The whole of three-valued logic: T is TRUE, F is FALSE, and a property that is not there is UNKNOWN. */
START_TEST(unknown_is_neither_true_nor_false)
{
    static const char *const values[] = {"TRUE", "(absent = 'x')", "FALSE"};
    static const char names[] = "TUF";
    static const char of_and[3][4] = {"TUF", "UUF", "FFF"};
    static const char of_or[3][4] = {"TTT", "TUU", "TUF"};
    static const char of_not[] = "FUT";
    for (int a = 0; a < 3; a++) {
        char text[128];
        ck_assert_int_eq(truth(values[a]), names[a]);
        snprintf(text, sizeof(text), "NOT %s", values[a]);
        ck_assert_int_eq(truth(text), of_not[a]);
        for (int b = 0; b < 3; b++) {
            snprintf(text, sizeof(text), "%s AND %s", values[a], values[b]);
            ck_assert_msg(truth(text) == of_and[a][b], "%s", text);
            snprintf(text, sizeof(text), "%s OR %s", values[a], values[b]);
            ck_assert_msg(truth(text) == of_or[a][b], "%s", text);
        }
    }
}
END_TEST

START_TEST(a_property_that_is_not_there_is_unknown_but_for_is_null)
{
    static const struct sentence sentences[] = {
        {"absent = 1", 'U'},
        {"absent <> 1", 'U'},
        {"absent < 'a'", 'U'},
        {"absent = absent", 'U'},
        {"absent = city", 'U'},
        {"absent = TRUE", 'U'},
        {"absent", 'U'},
        {"absent IN ('a')", 'U'},
        {"absent NOT IN ('a')", 'U'},
        {"absent LIKE '%'", 'U'},
        {"absent NOT LIKE '%'", 'U'},
        {"absent BETWEEN 1 AND 2", 'U'},
        {"absent NOT BETWEEN 1 AND 2", 'U'},
        {"weight BETWEEN 3 AND absent", 'F'}, /* it is below 3, whatever the other is */
        {"weight NOT BETWEEN 3 AND absent", 'T'},
        {"weight BETWEEN 1 AND absent", 'U'},
        {"absent IS NULL", 'T'},
        {"absent IS NOT NULL", 'F'},
        {"empty IS NULL", 'F'},
        {"empty IS NOT NULL", 'T'},
        {"TAGS IS NULL", 'F'},
    };
    CHECK_ALL(sentences);
    struct message_labels none = {.has_tag = false};
    ck_assert(wants_of("TAGS IS NULL", &none));
    ck_assert(!wants_of("TAGS = 'a' OR NOT TAGS = 'a'", &none));
}
END_TEST

START_TEST(literals_say_how_properties_are_read)
{
    static const struct sentence sentences[] = {
        {"weight = 2.5", 'T'},
        {"weight = '2.5'", 'F'},
        {"weight = '2.50'", 'T'},
        {"2.5 = weight", 'T'},
        {"3 > weight", 'T'},
        {"weight > 10", 'F'},
        {"weight > '10'", 'T'},
        {"city > 1", 'U'},
        {"NOT city > 1", 'U'},
        {"empty = 0", 'U'},
        {"city = 'Rome'", 'T'},
        {"city = 'rome'", 'F'},
        {"city <> 'Oslo'", 'T'},
        {"city >= 'Rom'", 'T'},
        {"fragile", 'T'},
        {"fragile = true", 'T'},
        {"fragile <> FALSE", 'T'},
        {"city = TRUE", 'U'},
        {"city", 'U'},
        {"TAGS = 'paid'", 'T'},
        {"\"TAGS\" = 'a property'", 'T'},
        {"\"odd name\" = 'x'", 'T'},
        {"weight = weight", 'T'},
        {"weight < city", 'T'},
        {"1 = 1.0", 'T'},
        {"'a' < 'b'", 'T'},
    };
    CHECK_ALL(sentences);
}
END_TEST

START_TEST(numbers_compare_exactly)
{
    static const struct sentence sentences[] = {
        {"count = 9007199254740993", 'T'},
        {"count = 9007199254740992", 'F'},
        {"count > 9007199254740992", 'T'},
        {"weight = 25e-1", 'T'},
        {"weight = .25E+1", 'T'},
        {"weight = +2.5", 'T'},
        {"weight > -2.5", 'T'},
        {"-0 = 0", 'T'},
        {"-1 < -0.5", 'T'},
        {"0.1 = 0.10", 'T'},
        {"9999999999999999999 > 9999999999999999998", 'T'},
        {"0.000000000000000001 > 0", 'T'},
        {"1e18 = 1000000000000000000", 'T'},
        {"100e-2 = 1", 'T'},
    };
    CHECK_ALL(sentences);
}
END_TEST

/* One property `n` of a text; what a condition on it is. */
static bool wants_number(const char *value, const char *text)
{
    uint8_t buffer[256];
    struct writer writer = writer_over(buffer, sizeof(buffer));
    writer_put_string(&writer, "n");
    writer_put_string(&writer, value);
    struct message_labels labels = {.properties = writer_bytes(&writer), .property_count = 1};
    return wants_of(text, &labels);
}

START_TEST(numbers_of_properties_may_have_any_digits)
{
    ck_assert(wants_number("0.1000000000000000000000000000001", "n > 0.1 AND n <> 0.1"));
    ck_assert(wants_number("-0.1000000000000000000000000000001", "n < -0.1"));
    ck_assert(wants_number("1e300", "n > 9999999999999999999"));
    ck_assert(wants_number("-1e300", "n < -9999999999999999999"));
    ck_assert(wants_number("1e-300", "n > 0 AND n < 0.000000000000000001"));
    ck_assert(wants_number("0e99999999999", "n = 0"));
    ck_assert(wants_number("00000000000000000000000000000000001", "n = 1"));
    ck_assert(wants_number("123456789012345678901234567890e-29", "n > 1.2 AND n < 1.3"));
    static const char *const none[] = {
        "",    " 1",  "1 ",
        "1a",  "0x1", "+",
        "-",   ".",   "1..2",
        "1e",  "1e+", "e1",
        "--1", "1,5", "\xd9\xa1",
        "NaN", "inf", "00000000000000000000000000000000000000000000000000000000000000001",
    };
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        ck_assert_msg(!wants_number(none[i], "n = 1 OR n <> 1"), "%s", none[i]);
    }
}
END_TEST

START_TEST(like_knows_any_text_and_one_character)
{
    static const struct sentence sentences[] = {
        {"city LIKE 'Rome'", 'T'},
        {"city LIKE 'R%'", 'T'},
        {"city LIKE '%e'", 'T'},
        {"city LIKE '%om%'", 'T'},
        {"city LIKE 'R__e'", 'T'},
        {"city LIKE 'R_e'", 'F'},
        {"city LIKE '%%_%'", 'T'},
        {"city LIKE ''", 'F'},
        {"empty LIKE ''", 'T'},
        {"empty LIKE '%'", 'T'},
        {"empty LIKE '_'", 'F'},
        {"city NOT LIKE 'O%'", 'T'},
        {"word LIKE '_ber'", 'T'},
        {"word LIKE '____'", 'T'},
        {"word LIKE '_____'", 'F'},
        {"word LIKE '%____'", 'T'},
        {"word LIKE '%_____'", 'F'},
        {"path LIKE 'a!_b!%c' ESCAPE '!'", 'T'},
        {"path LIKE 'a!_b!%d' ESCAPE '!'", 'F'},
        {"city LIKE 'R!_me' ESCAPE '!'", 'F'},
        {"TAGS LIKE 'p%d'", 'T'},
        {"'a''b' LIKE 'a''''b' ESCAPE ''''", 'T'},
    };
    CHECK_ALL(sentences);
}
END_TEST

START_TEST(conditions_and_what_is_between_them)
{
    static const struct sentence sentences[] = {
        {"weight BETWEEN 2.5 AND 3", 'T'},
        {"weight BETWEEN 2.6 AND 3", 'F'},
        {"weight NOT BETWEEN 2.6 AND 3", 'T'},
        {"city BETWEEN 'A' AND 'S'", 'T'},
        {"city IN ('Oslo', 'Rome')", 'T'},
        {"city NOT IN ('Oslo', 'Rome')", 'F'},
        {"weight IN (1, 2.5)", 'T'},
        {"weight IN ('2.5')", 'F'},
        {"city IN (1)", 'U'},
        {"fragile IN (TRUE)", 'T'},
        {"TRUE OR FALSE AND FALSE", 'T'}, /* AND is stronger, */
        {"(TRUE OR FALSE) AND FALSE", 'F'},
        {"NOT FALSE AND FALSE", 'F'}, /* NOT the strongest */
        {"NOT (FALSE AND FALSE)", 'T'},
        {"NOT NOT TRUE", 'T'},
        {"not fragile or city like 'R%' and weight is not null", 'T'},
        {"((((TRUE))))", 'T'},
        {"weight>2 AND(city='Rome')", 'T'},
    };
    CHECK_ALL(sentences);
}
END_TEST

/* ---------------------------------------------------------------- refusals */

static uint64_t column_of(struct bytes text, const char *part)
{
    struct filter *filter = NULL;
    struct refusal refusal;
    uint64_t column = 0;
    uint8_t *copy = exact_copy(text);
    enum error error = filter_create(bytes_make(copy, text.length), &filter, &refusal);
    free(copy);
    ck_assert_msg(error == ERROR_BAD_FILTER, "%.*s", (int)text.length, (const char *)text.data);
    ck_assert_str_eq(refusal.key, "filter");
    ck_assert(refusal_get(&refusal, REFUSAL_COLUMN, &column));
    ck_assert_msg(strstr(refusal.message, part) != NULL, "'%s' is not in '%s'", part,
                  refusal.message);
    return column;
}

START_TEST(a_refusal_names_the_column_and_what_was_expected)
{
    static const struct {
        const char *text;
        uint64_t column;
        const char *part;
    } rows[] = {
        {"a |b", 3, "|| between tags"},
        {"a|b", 2, "|| between tags"},
        {"a || ", 6, "expected a tag, not the end"},
        {"a || || b", 6, "expected a tag"},
        {"a || *", 6, "expected a tag"},
        {"a =", 4, "expected a property, TAGS or a literal, not the end"},
        {"a = = 1", 5, "not '='"},
        {"a = NULL", 5, "not 'NULL'"},
        {"a b", 3, "AND, OR or the end, not 'b'"},
        {"a > 1 b", 7, "AND, OR or the end"},
        {"(a > 1", 7, "AND, OR or )"},
        {"a > 1)", 6, "AND, OR or the end, not ')'"},
        {"()", 2, "expected a property"},
        {"a != 1", 3, "<> for unequal"},
        {"a = 1 || b = 2", 7, "OR between conditions"},
        {"a = 'x", 7, "' at the end of the text"},
        {"\"a = 1", 7, "at the end of the name"},
        {"a = 5x", 5, "a number of at most 19 digits"},
        {"a = 1e30", 5, "a number of at most 19 digits"},
        {"a = 0.1234567890123456789", 5, "18 behind the point"},
        {"a = 1.2.3", 5, "a number"},
        {"a > TRUE", 3, "= or <> beside TRUE and FALSE"},
        {"a BETWEEN TRUE AND FALSE", 3, "= or <>"},
        {"a BETWEEN 1 OR 2", 13, "AND of BETWEEN"},
        {"a BETWEEN 1 AND 'x'", 17, "a number, as the one before"},
        {"a IN 1", 6, "( of IN"},
        {"a IN ()", 7, "expected a literal"},
        {"a IN ('x', 1)", 12, "a text in single quotes"},
        {"a IN ('x' 'y')", 11, ", or ) of IN"},
        {"a IN (b)", 7, "expected a literal"},
        {"a NOT = 1", 7, "BETWEEN, IN or LIKE"},
        {"a LIKE 1", 8, "a text in single quotes"},
        {"a LIKE 'x!y' ESCAPE '!'", 8, "behind each escape"},
        {"a LIKE 'x!' ESCAPE '!'", 8, "behind each escape"},
        {"a LIKE 'x' ESCAPE 'yz'", 19, "one character"},
        {"a LIKE 'x' ESCAPE '%'", 19, "one character"},
        {"a LIKE 'x' ESCAPE ''", 19, "one character"},
        {"a IS 1", 6, "NULL or NOT NULL"},
        {"1 IS NULL", 1, "a property or TAGS before IS NULL"},
        {"(1)", 3, "a comparison"},
        {"'a' AND b", 5, "a comparison"},
        {"a > 1 AND", 10, "not the end"},
        {"a > 1 AND ;", 11, "not ';'"},
        {"\xc3\xbc = 1", 1, "not '\xc3\xbc'"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t column = column_of(bytes_from_string(rows[i].text), rows[i].part);
        ck_assert_msg(column == rows[i].column, "%s: column %llu, not %llu", rows[i].text,
                      (unsigned long long)column, (unsigned long long)rows[i].column);
    }
    ck_assert_uint_eq(column_of(BYTES_OF("a = \xff"), "UTF-8"), 1);
    ck_assert_uint_eq(column_of(bytes_make("a =\0 1", 6), "expected"), 4);
}
END_TEST

/* `count` times `part`, between `begin` and `end`. */
static struct bytes repeated(const char *begin, const char *part, uint32_t count, const char *end)
{
    static uint8_t text[3 * FILTER_BYTES_MAX];
    struct writer writer = writer_over(text, sizeof(text));
    writer_put_raw(&writer, bytes_from_string(begin));
    for (uint32_t i = 0; i < count; i++) {
        writer_put_raw(&writer, bytes_from_string(part));
    }
    writer_put_raw(&writer, bytes_from_string(end));
    ck_assert(!writer.overflowed);
    return writer_bytes(&writer);
}

static void fits(struct bytes text)
{
    struct filter *filter = NULL;
    struct refusal refusal;
    struct message_labels labels = message();
    enum error error = filter_create(text, &filter, &refusal);
    ck_assert_msg(error == OK, "%s", error == OK ? "" : refusal.message);
    (void)filter_wants(filter, &labels);
    filter_destroy(filter);
}

START_TEST(every_bound_is_a_refusal)
{
    fits(repeated("a = '", "x", FILTER_BYTES_MAX - 6, "'"));
    column_of(repeated("a = '", "x", FILTER_BYTES_MAX - 5, "'"), "more than 4096 bytes");
    column_of(repeated("", "(", FILTER_DEPTH_MAX + 1, "a=1"), "more than 64 levels");
    column_of(repeated("", "NOT ", FILTER_DEPTH_MAX + 1, "a=1"), "more than 64 levels");
    fits(repeated("", "NOT ", FILTER_DEPTH_MAX, "a=1"));
    fits(repeated("a=1", " OR a=1", FILTER_STEPS_MAX / 2 - 1, ""));
    column_of(repeated("a=1", " OR a=1", FILTER_STEPS_MAX / 2, ""), "more than 256 conditions");
    fits(repeated("a IN (1", ",1", FILTER_LIST_MAX - 1, ")"));
    column_of(repeated("a IN (1", ",1", FILTER_LIST_MAX, ")"), "more than 128 literals of IN");
    fits(repeated("a", "||b", FILTER_LIST_MAX - 1, ""));
    column_of(repeated("a", "||b", FILTER_LIST_MAX, ""), "more than 128 tags");
    fits(repeated("", "t", TAG_BYTES_MAX, ""));
    column_of(repeated("", "t", TAG_BYTES_MAX + 1, ""), "more than 255 bytes of a tag");
    char names[FILTER_BYTES_MAX] = "a=1";
    for (int i = 1; i <= FILTER_NAMES_MAX; i++) {
        fits(bytes_from_string(names));
        size_t length = strlen(names);
        snprintf(names + length, sizeof(names) - length, " OR n%d=1", i);
    }
    column_of(bytes_from_string(names), "more than 64 different properties");
    char lists[FILTER_BYTES_MAX] = "";
    for (int i = 0; i < 5; i++) {
        struct bytes list = repeated("a IN (1", ",1", FILTER_LIST_MAX - 1, ") OR ");
        strncat(lists, (const char *)list.data, list.length);
    }
    column_of(bytes_from_string(lists), "more than 512 literals");
}
END_TEST

START_TEST(a_deep_text_waits_on_both_sides)
{
    /* Every level holds a value while the next is looked at. */
    char text[FILTER_BYTES_MAX] = "";
    for (int i = 0; i < FILTER_DEPTH_MAX / 2; i++) {
        strncat(text, "a=1 OR (", sizeof(text) - strlen(text) - 1);
    }
    strncat(text, "fragile AND weight BETWEEN 2 AND 3", sizeof(text) - strlen(text) - 1);
    column_of(bytes_from_string(text), "more than 64 levels");
    memmove(text, text + 8, strlen(text + 8) + 1);
    for (int i = 1; i < FILTER_DEPTH_MAX / 2; i++) {
        strncat(text, ")", sizeof(text) - strlen(text) - 1);
    }
    ck_assert(wants(text));
}
END_TEST

START_TEST(a_like_that_takes_too_long_is_unknown)
{
    enum { LENGTH = 20000 };
    static uint8_t text[LENGTH];
    static uint8_t buffer[LENGTH + 16];
    memset(text, 'a', sizeof(text));
    struct writer writer = writer_over(buffer, sizeof(buffer));
    writer_put_string(&writer, "n");
    writer_put_str(&writer, bytes_make(text, sizeof(text)));
    struct message_labels labels = {.properties = writer_bytes(&writer), .property_count = 1};
    ck_assert(wants_of("n LIKE '%a'", &labels));
    ck_assert(wants_of("NOT n LIKE '%b'", &labels));
    ck_assert(!wants_of("n LIKE '%aaaaaaaaaaaaaaaaaaaaaaaaab%'", &labels));
    ck_assert(!wants_of("NOT n LIKE '%aaaaaaaaaaaaaaaaaaaaaaaaab%'", &labels));
}
END_TEST

/* ------------------------------------------------------------------ labels */

START_TEST(labels_are_read_from_the_beginning_of_a_message)
{
    /* ["paid", ["k"], {"a": "1"}, "body"] */
    struct bytes whole = hex("94 a4 70 61 69 64 91 a1 6b 81 a1 61 a1 31 c4 04 62 6f 64 79");
    size_t labels_end = whole.length - 6;
    for (size_t length = 0; length <= whole.length; length++) {
        struct message_labels labels;
        uint8_t *copy = exact_copy(bytes_make(whole.data, length));
        bool is_read = message_read_labels(bytes_make(copy, length), &labels);
        ck_assert_msg(is_read == (length >= labels_end), "%zu", length);
        if (is_read) {
            ck_assert(labels.has_tag);
            ck_assert_bytes_eq(labels.tag, BYTES_OF("paid"));
            ck_assert_uint_eq(labels.property_count, 1);
            ck_assert_uint_eq(labels.properties.length, 4);
        }
        free(copy);
    }
    struct message_labels labels;
    ck_assert(message_read_labels(hex("c4 04 62"), &labels)); /* a body alone */
    ck_assert(!labels.has_tag && labels.property_count == 0);
    ck_assert(message_read_labels(hex("94 c0 c0 c0 c4"), &labels));
    ck_assert(!labels.has_tag && labels.property_count == 0);
    ck_assert(!message_read_labels(hex("93 c0 c0 c0"), &labels));
    ck_assert(!message_read_labels(hex("94 01 c0 c0 c4 00"), &labels));
    ck_assert(!message_read_labels(hex("94 c0 c0 df 00 00 01 00"), &labels));
}
END_TEST

static Suite *filter_suite(void)
{
    Suite *suite = suite_create("filter");
    TCase *cases = tcase_create("filter");
    tcase_add_test(cases, a_star_and_nothing_want_every_message);
    tcase_add_test(cases, tags_are_words_between_bars);
    tcase_add_test(cases, a_hash_that_no_tag_has_is_never_wanted);
    tcase_add_test(cases, unknown_is_neither_true_nor_false);
    tcase_add_test(cases, a_property_that_is_not_there_is_unknown_but_for_is_null);
    tcase_add_test(cases, literals_say_how_properties_are_read);
    tcase_add_test(cases, numbers_compare_exactly);
    tcase_add_test(cases, numbers_of_properties_may_have_any_digits);
    tcase_add_test(cases, like_knows_any_text_and_one_character);
    tcase_add_test(cases, conditions_and_what_is_between_them);
    tcase_add_test(cases, a_refusal_names_the_column_and_what_was_expected);
    tcase_add_test(cases, every_bound_is_a_refusal);
    tcase_add_test(cases, a_deep_text_waits_on_both_sides);
    tcase_add_test(cases, a_like_that_takes_too_long_is_unknown);
    tcase_add_test(cases, labels_are_read_from_the_beginning_of_a_message);
    suite_add_tcase(suite, cases);
    return suite;
}

TEST_MAIN(filter_suite)
