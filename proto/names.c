/* SPDX-License-Identifier: Apache-2.0 */
/*
 * names.c - spelling, nothing more.
 */
#include "proto/names.h"

#include "proto/base/contract.h"
#include "proto/base/utf8.h"
#include "proto/limits.h"

#define DEAD_LETTERS_PREFIX "%DLQ%"

static bool is_name_byte(uint8_t byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9') || byte == '.' || byte == '_' || byte == '-';
}

bool name_is_valid(struct bytes name, size_t bytes_max)
{
    if (name.length == 0 || name.length > bytes_max) {
        return false;
    }
    for (size_t i = 0; i < name.length; i++) {
        if (!is_name_byte(name.data[i])) {
            return false;
        }
    }
    return true;
}

bool name_is_topic(struct bytes name)
{
    return name_is_valid(name, TOPIC_NAME_BYTES_MAX);
}

bool name_is_group(struct bytes name)
{
    return name_is_valid(name, GROUP_NAME_BYTES_MAX);
}

bool name_is_broker(struct bytes name)
{
    return name_is_valid(name, BROKER_NAME_BYTES_MAX);
}

/* ---- the system's own ---- */

static struct bytes behind(struct bytes name, size_t length)
{
    return bytes_make(name.data + length, name.length - length);
}

/* Where GROUP ends in GROUP@MEMBER; the length of a name without @. */
static size_t group_length(struct bytes name)
{
    const uint8_t *at = name.length == 0 ? NULL : memchr(name.data, '@', name.length);
    return at == NULL ? name.length : (size_t)(at - name.data);
}

bool name_is_dead_letters(struct bytes name)
{
    return bytes_starts_with(name, BYTES_OF(DEAD_LETTERS_PREFIX)) &&
           name_is_group(behind(name, sizeof(DEAD_LETTERS_PREFIX) - 1));
}

bool name_is_member_part(struct bytes member)
{
    return member.length > 0 && member.length <= MEMBER_NAME_BYTES_MAX && utf8_is_valid(member);
}

bool name_is_member(struct bytes name)
{
    size_t length = group_length(name);
    return length < name.length && name_is_group(bytes_make(name.data, length)) &&
           name_is_member_part(behind(name, length + 1));
}

bool name_is_any_topic(struct bytes name)
{
    return name_is_topic(name) || name_is_dead_letters(name);
}

bool name_is_any_group(struct bytes name)
{
    return name_is_group(name) || name_is_dead_letters(name) || name_is_member(name);
}

struct bytes name_group_of(struct bytes name)
{
    if (bytes_starts_with(name, BYTES_OF(DEAD_LETTERS_PREFIX))) {
        return behind(name, sizeof(DEAD_LETTERS_PREFIX) - 1);
    }
    return bytes_make(name.data, group_length(name));
}

struct bytes name_of_dead_letters(struct bytes group, char *name_out)
{
    ASSERT(name_is_any_group(group));
    struct bytes plain = name_group_of(group);
    memcpy(name_out, DEAD_LETTERS_PREFIX, sizeof(DEAD_LETTERS_PREFIX) - 1);
    memcpy(name_out + sizeof(DEAD_LETTERS_PREFIX) - 1, plain.data, plain.length);
    return bytes_make(name_out, sizeof(DEAD_LETTERS_PREFIX) - 1 + plain.length);
}

struct bytes name_of_members(struct bytes group, char *name_out)
{
    ASSERT(name_is_group(group));
    memcpy(name_out, group.data, group.length);
    name_out[group.length] = '@';
    return bytes_make(name_out, group.length + 1);
}

struct bytes name_of_member(struct bytes group, struct bytes member, char *name_out)
{
    ASSERT(name_is_member_part(member));
    struct bytes members = name_of_members(group, name_out);
    memcpy(name_out + members.length, member.data, member.length);
    return bytes_make(name_out, members.length + member.length);
}

/* ---- addresses ---- */

/* True of 1 to 65535 in decimal, without sign or leading zeros. */
static bool is_port(struct bytes port)
{
    uint32_t number = 0;
    if (port.length == 0 || port.length > 5 || port.data[0] == '0') {
        return false;
    }
    for (size_t i = 0; i < port.length; i++) {
        if (port.data[i] < '0' || port.data[i] > '9') {
            return false;
        }
        number = number * 10 + (uint32_t)(port.data[i] - '0');
    }
    return number <= UINT16_MAX;
}

bool name_is_address(struct bytes address)
{
    if (address.length > ADDRESS_BYTES_MAX) {
        return false;
    }
    size_t colon = SIZE_MAX;
    for (size_t i = 0; i < address.length; i++) {
        if (address.data[i] <= ' ' || address.data[i] >= 0x7f) {
            return false;
        }
        if (address.data[i] == ':') {
            colon = i;
        }
    }
    if (bytes_starts_with(address, BYTES_OF("unix:"))) {
        return address.length > sizeof("unix:") - 1;
    }
    if (colon == SIZE_MAX || colon == 0) {
        return false;
    }
    struct bytes host = {address.data, colon};
    bool is_bracketed = host.data[0] == '[' && host.data[host.length - 1] == ']';
    bool has_colon = memchr(host.data, ':', host.length) != NULL;
    return has_colon == is_bracketed &&
           is_port((struct bytes){address.data + colon + 1, address.length - colon - 1});
}
