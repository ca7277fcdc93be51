/* SPDX-License-Identifier: Apache-2.0 */
/*
 * directory_groups.h - the groups' part of a directory's life; for directory*.c alone.
 *
 * Threads: the core's.
 */
#ifndef BROKER_DIRECTORY_GROUPS_H
#define BROKER_DIRECTORY_GROUPS_H

#include "broker/directory.h"

void directory_init_groups(struct directory *directory, struct map_seed seed);
void directory_deinit_groups(struct directory *directory);

#endif
