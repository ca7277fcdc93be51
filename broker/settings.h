/* SPDX-License-Identifier: Apache-2.0 */
/*
 * settings.h - how ternmq-broker was started: its command line, read and checked.
 *
 * The table is settings.def. What one value alone can say is checked by its row; what several say
 * together, and what must be resolved, is checked here.
 *
 * Memory:  the caller's; texts point into argv or into the struct.
 * Threads: the main thread, at start. Blocks where the name of a host is looked up.
 */
#ifndef BROKER_SETTINGS_H
#define BROKER_SETTINGS_H

#include "broker/limits.h"
#include "net/address.h"
#include "net/reactor_choice.h"
#include "proto/arguments.h"
#include "proto/base/contract.h"
#include "proto/base/log.h"
#include "proto/base/settings.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum broker_setting {
#define SETTING(id, name, alias, metavar, type, fallback, least, most, choices, help) \
    BROKER_SETTING_##id,
#include "broker/settings.def"
#undef SETTING
    BROKER_SETTING_COUNT
};

/* Longest line that says what is wrong: an address of the longest kind and a sentence. */
#define BROKER_SETTINGS_ERROR_BYTES_MAX 1024

struct broker_settings {
    bool help;
    bool version;
    const char *store;
    const char *name;
    const char *advertise; /* NULL: not given */
    struct address listeners[LISTENERS_MAX];
    uint32_t listener_count;
    struct address nameservers[NAMESERVERS_MAX];
    uint32_t nameserver_count;
    uint32_t shards; /* 0: not given */
    enum durability durability;
    uint64_t retain_bytes;
    uint64_t segment_bytes;
    enum reactor_wish io;
    enum log_level log_level;
    char error[BROKER_SETTINGS_ERROR_BYTES_MAX]; /* when broker_settings_read() gives false */
};

/*
 * Reads the command line. Where --help or --version is given only that is set. False: wrong usage,
 * and `error` is one line that says which flag, which value, and what to do.
 */
NODISCARD bool broker_settings_read(struct broker_settings *settings, int argc, char **argv);

/* The table, for --help and for README.md. */
void broker_settings_print_help(FILE *to);
void broker_settings_print_markdown(FILE *to);

#endif
