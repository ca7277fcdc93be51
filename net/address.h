/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NET_ADDRESS_H
#define NET_ADDRESS_H

/*
 * address.h - where a process listens: HOST:PORT, [IPV6]:PORT or unix:PATH.
 *
 * Threads: any; no state.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum { ADDRESS_TEXT_BYTES = 300 }; /* a 255-byte host name or a unix path, port, brackets, NUL */

struct address {
    struct sockaddr_storage socket; /* what the kernel takes; family AF_INET, AF_INET6, AF_UNIX */
    socklen_t length;
    char text[ADDRESS_TEXT_BYTES]; /* as people write it */
};

/*
 * Parses and resolves `text`. Blocks where a host is a name that must be looked up: only at
 * start, or on a thread that is the user's own. On failure writes one line that says what is
 * wrong with which text to `error` (`error_bytes` bytes) and returns false.
 */
bool address_parse(const char *text, uint16_t port_default, struct address *address_out,
                   char *error, size_t error_bytes);

/* Whether only this machine can reach it: 127.0.0.0/8, ::1, a unix path. */
bool address_is_loopback(const struct address *address);

/* Whether it names all interfaces (0.0.0.0 or ::), so that nobody can be told to connect to it. */
bool address_is_wildcard(const struct address *address);

uint16_t address_port(const struct address *address); /* 0 for a unix path */
void address_set_port(struct address *address, uint16_t port);

#endif
