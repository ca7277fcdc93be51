/* SPDX-License-Identifier: Apache-2.0 */
/*
 * random.h - a small seeded generator with its state in the caller's hands: xoshiro256**, by
 * Blackman and Vigna (public domain algorithm), seeded through splitmix64.
 *
 * The same seed gives the same numbers for ever: simulations and torture plans depend on it. Not
 * for secrets.
 *
 * Threads: whoever owns the state.
 */
#ifndef PROTO_BASE_RANDOM_H
#define PROTO_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

struct random {
    uint64_t state[4];
};

/* Starts the sequence of `seed`; every seed is good, 0 too. */
void random_init(struct random *random, uint64_t seed);

/* 64 random bits. */
uint64_t random_next(struct random *random);

/* A number from 0 to `bound` - 1, each as likely; `bound` is not 0. */
uint64_t random_below(struct random *random, uint64_t bound);

/* Fills `length` bytes. */
void random_fill(struct random *random, void *to, size_t length);

#endif
