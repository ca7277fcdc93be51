/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filter_number.c - decimal numbers, compared exactly.
 *
 * A float64 would make 0.1 + 0.2 of a sender something else than 0.3, and two ids above 2^53 the same.
 */
#include "proto/filter_program.h"

enum {
    WHOLE_DIGITS_MAX = 19, /* the largest number of nines in 64 bits */
    FRACTION_DIGITS_MAX = 18,
    EXPONENT_MAX = 9999, /* beyond, no digit is among the above */
};

static const uint64_t powers_of_ten[WHOLE_DIGITS_MAX] = {
    UINT64_C(1),
    UINT64_C(10),
    UINT64_C(100),
    UINT64_C(1000),
    UINT64_C(10000),
    UINT64_C(100000),
    UINT64_C(1000000),
    UINT64_C(10000000),
    UINT64_C(100000000),
    UINT64_C(1000000000),
    UINT64_C(10000000000),
    UINT64_C(100000000000),
    UINT64_C(1000000000000),
    UINT64_C(10000000000000),
    UINT64_C(100000000000000),
    UINT64_C(1000000000000000),
    UINT64_C(10000000000000000),
    UINT64_C(100000000000000000),
    UINT64_C(1000000000000000000),
};

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

/* The parts of a number's text. */
struct shape {
    size_t digits_begin;
    size_t digits_end; /* the point among them */
    size_t whole_digits;
    size_t digits;
    int exponent;
};

static size_t skip_digits(struct bytes text, size_t at)
{
    while (at < text.length && is_digit(text.data[at])) {
        at++;
    }
    return at;
}

/* Reads `e [+-] digits` up to the end of the text. */
static bool read_exponent(struct bytes text, size_t at, int *exponent_out)
{
    bool negative = at < text.length && text.data[at] == '-';
    int exponent = 0;
    at += at < text.length && (text.data[at] == '-' || text.data[at] == '+');
    if (at == text.length || skip_digits(text, at) != text.length) {
        return false;
    }
    for (; at < text.length; at++) {
        exponent = exponent * 10 + (text.data[at] - '0');
        exponent = exponent < EXPONENT_MAX ? exponent : EXPONENT_MAX;
    }
    *exponent_out = negative ? -exponent : exponent;
    return true;
}

static bool read_shape(struct bytes text, size_t at, struct shape *shape)
{
    *shape = (struct shape){.digits_begin = at};
    at = skip_digits(text, at);
    shape->whole_digits = at - shape->digits_begin;
    shape->digits = shape->whole_digits;
    if (at < text.length && text.data[at] == '.') {
        size_t end = skip_digits(text, at + 1);
        shape->digits += end - (at + 1);
        at = end;
    }
    shape->digits_end = at;
    if (shape->digits == 0) {
        return false;
    }
    if (at < text.length && (text.data[at] == 'e' || text.data[at] == 'E')) {
        return read_exponent(text, at + 1, &shape->exponent);
    }
    return at == text.length;
}

/* Adds one digit that counts 10^place. */
static void add_digit(struct filter_number *number, int place, uint8_t digit)
{
    if (digit == 0 || number->whole == UINT64_MAX) {
        return;
    }
    if (place >= WHOLE_DIGITS_MAX) {
        number->whole = UINT64_MAX;
    } else if (place >= 0) {
        number->whole += digit * powers_of_ten[place];
    } else if (place >= -FRACTION_DIGITS_MAX) {
        number->fraction += 2 * digit * powers_of_ten[FRACTION_DIGITS_MAX + place];
    } else {
        number->fraction |= 1;
    }
}

bool filter_number_read(struct bytes text, struct filter_number *number_out)
{
    if (text.length == 0 || text.length > FILTER_NUMBER_BYTES_MAX) {
        return false;
    }
    struct shape shape;
    bool has_sign = text.data[0] == '-' || text.data[0] == '+';
    if (!read_shape(text, has_sign ? 1 : 0, &shape)) {
        return false;
    }
    struct filter_number number = {.whole = 0};
    int place = (int)shape.whole_digits - 1 + shape.exponent;
    for (size_t i = shape.digits_begin; i < shape.digits_end; i++) {
        if (text.data[i] != '.') {
            add_digit(&number, place, (uint8_t)(text.data[i] - '0'));
            place--;
        }
    }
    number.negative = text.data[0] == '-' && (number.whole | number.fraction) != 0;
    *number_out = number;
    return true;
}

bool filter_number_is_exact(const struct filter_number *number)
{
    return number->whole != UINT64_MAX && (number->fraction & 1) == 0;
}

int filter_number_compare(const struct filter_number *a, const struct filter_number *b)
{
    if (a->negative != b->negative) {
        return a->negative ? -1 : 1;
    }
    int order = (a->whole > b->whole) - (a->whole < b->whole);
    if (order == 0) {
        order = (a->fraction > b->fraction) - (a->fraction < b->fraction);
    }
    return a->negative ? -order : order;
}
