/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json.h - writes JSON to a stream, from C values and from msgpack.
 *
 * Text that is not UTF-8 cannot stand in JSON: bytes are written as a str where they are UTF-8, else
 * as {"base64": ".."}.
 *
 * Threads: one a stream. Errors of the stream are looked at by whoever closes it.
 */
#ifndef TOOLS_CLI_JSON_H
#define TOOLS_CLI_JSON_H

#include "proto/base/bytes.h"
#include "proto/cursor.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* A quoted string; `text` is UTF-8. */
void json_put_string(FILE *to, struct bytes text);

/* Bytes in base64, quoted. */
void json_put_base64(FILE *to, struct bytes bytes);

/* One msgpack value that the cursor stands before, which is taken. False: it could not be read. */
bool json_put_value(FILE *to, struct cursor *cursor);

/* An object being written: json_open(), pairs, json_close(). */
struct json_object {
    FILE *to;
    bool has_pairs;
};
struct json_object json_open(FILE *to);
void json_close(struct json_object *object);

/* The key of a pair whose value the caller writes. */
void json_key(struct json_object *object, const char *key);
void json_pair_number(struct json_object *object, const char *key, uint64_t number);
void json_pair_text(struct json_object *object, const char *key, const char *text);
void json_pair_bool(struct json_object *object, const char *key, bool truth);
void json_pair_real(struct json_object *object, const char *key, double number);

#endif
