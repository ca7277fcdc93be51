/* SPDX-License-Identifier: Apache-2.0 */
/*
 * contract.c - the end of a program that found itself wrong.
 */
#include "proto/base/contract.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void contract_failed(const char *fact, const char *file, int line)
{
    /* <2> is journald's "critical"; the line is complete before abort() can lose it. */
    fprintf(stderr, "<2>assertion failed: %s at %s:%d\n", fact, file, line);
    fflush(stderr);
    abort();
}
