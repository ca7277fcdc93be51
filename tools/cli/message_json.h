/* SPDX-License-Identifier: Apache-2.0 */
/*
 * message_json.h - a delivered message as the pairs of a JSON object.
 *
 * Threads: one a stream.
 */
#ifndef TOOLS_CLI_MESSAGE_JSON_H
#define TOOLS_CLI_MESSAGE_JSON_H

#include "tools/cli/json.h"
#include "tools/client/ternmq.h"

/* topic, queue, offset, epoch, stored_at, born_at; tag, keys, properties where there are. */
void message_json_put_place(struct json_object *object, const struct ternmq_delivery *delivery);

/* body, or, where that is not UTF-8, body_base64. */
void message_json_put_body(struct json_object *object, const struct ternmq_delivery *delivery);

#endif
