/* SPDX-License-Identifier: Apache-2.0 */
/*
 * names.c - spelling, nothing more.
 */
#include "proto/names.h"

#include "proto/limits.h"

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
