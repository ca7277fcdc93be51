/* SPDX-License-Identifier: Apache-2.0 */
/*
 * random.c - xoshiro256** and the splitmix64 that spreads a seed over its state.
 */
#include "proto/base/random.h"

#include "proto/base/contract.h"

#include <string.h>

static uint64_t rotate(uint64_t value, int bits)
{
    return value << bits | value >> (64 - bits);
}

void random_init(struct random *random, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        seed += UINT64_C(0x9e3779b97f4a7c15);
        uint64_t mixed = seed;
        mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
        random->state[i] = mixed ^ mixed >> 31;
    }
}

uint64_t random_next(struct random *random)
{
    uint64_t *s = random->state;
    uint64_t result = rotate(s[1] * 5, 7) * 9;
    uint64_t shifted = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate(s[3], 45);
    return result;
}

uint64_t random_below(struct random *random, uint64_t bound)
{
    ASSERT(bound > 0);

    /* The first `skew` of the 2^64 values would make low results likelier: draw again. */
    uint64_t skew = (0 - bound) % bound;
    uint64_t value;
    do {
        value = random_next(random);
    } while (value < skew);
    return value % bound;
}

void random_fill(struct random *random, void *to, size_t length)
{
    uint8_t *at = (uint8_t *)to;
    while (length > 0) {
        uint64_t value = random_next(random);
        size_t piece = length < sizeof(value) ? length : sizeof(value);
        memcpy(at, &value, piece);
        at += piece;
        length -= piece;
    }
}
