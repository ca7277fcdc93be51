/* SPDX-License-Identifier: Apache-2.0 */
/*
 * address.c - addresses as people write them, and as the kernel takes them.
 */

#include "net/address.h"

#include "proto/base/contract.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#define UNIX_PREFIX "unix:"

enum {
    HOST_BYTES = 256, /* a name of 255 bytes */
    PORT_MAX = 65535
};

struct refusal {
    char *text;
    size_t bytes;
};

__attribute__((format(printf, 2, 3))) static bool refuse(struct refusal refusal, const char *format,
                                                         ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(refusal.text, refusal.bytes, format, arguments);
    va_end(arguments);
    return false;
}

static bool parse_unix(const char *text, struct address *out, struct refusal refusal)
{
    const char *path = text + strlen(UNIX_PREFIX);
    struct sockaddr_un *socket = (struct sockaddr_un *)&out->socket;
    size_t length = strlen(path);
    if (length == 0) {
        return refuse(refusal, "'%s': a path must follow 'unix:'", text);
    }
    if (length >= sizeof(socket->sun_path)) {
        return refuse(refusal, "'%s': the path of a unix socket has at most %zu bytes", text,
                      sizeof(socket->sun_path) - 1);
    }
    socket->sun_family = AF_UNIX;
    memcpy(socket->sun_path, path, length + 1);
    out->length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
    (void)snprintf(out->text, sizeof(out->text), "%s", text);
    return true;
}

static bool parse_port(const char *digits, uint16_t *port_out)
{
    size_t length = strlen(digits);
    if (length == 0 || length > 5 || strspn(digits, "0123456789") != length) {
        return false;
    }
    unsigned long port = strtoul(digits, NULL, 10);
    if (port > PORT_MAX) {
        return false;
    }
    *port_out = (uint16_t)port;
    return true;
}

/* Splits HOST:PORT, [HOST]:PORT, HOST or [HOST]. A bare IPv6 address has no port. */
static bool split(const char *text, char host[HOST_BYTES], uint16_t *port, struct refusal refusal)
{
    const char *begin = text;
    const char *end = text + strlen(text);
    const char *rest = end;
    if (*text == '[') {
        begin = text + 1;
        end = strchr(begin, ']');
        if (end == NULL || (end[1] != '\0' && end[1] != ':')) {
            return refuse(refusal, "'%s': expected [ADDRESS]:PORT", text);
        }
        rest = end + 1;
    } else if (strchr(text, ':') != NULL && strchr(text, ':') == strrchr(text, ':')) {
        end = strchr(text, ':');
        rest = end;
    }
    if (end == begin) {
        return refuse(refusal, "'%s': expected HOST:PORT, [ADDRESS]:PORT or unix:PATH", text);
    }
    if ((size_t)(end - begin) >= HOST_BYTES) {
        return refuse(refusal, "a host name has at most %d characters", HOST_BYTES - 1);
    }
    if (*rest == ':' && !parse_port(rest + 1, port)) {
        return refuse(refusal, "'%s': the port must be a number from 0 to %d", text, PORT_MAX);
    }
    memcpy(host, begin, (size_t)(end - begin));
    host[end - begin] = '\0';
    return true;
}

static bool resolve(const char *host, uint16_t port, struct address *out, struct refusal refusal)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    char service[8];
    (void)snprintf(service, sizeof(service), "%u", (unsigned)port);
    struct addrinfo *found = NULL;
    int error = getaddrinfo(host, service, &hints, &found);
    if (error != 0) {
        return refuse(refusal, "'%s': %s", host, gai_strerror(error));
    }
    /* A name that has both is reached by IPv4, as "localhost" is listened on there. */
    const struct addrinfo *chosen = found;
    for (const struct addrinfo *one = found; one != NULL; one = one->ai_next) {
        if (one->ai_family == AF_INET) {
            chosen = one;
            break;
        }
    }
    ASSERT(chosen->ai_addrlen <= sizeof(out->socket));
    memcpy(&out->socket, chosen->ai_addr, chosen->ai_addrlen);
    out->length = chosen->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

bool address_parse(const char *text, uint16_t port_default, struct address *address_out,
                   char *error, size_t error_bytes)
{
    struct refusal refusal = {error, error_bytes};
    struct address parsed;
    memset(&parsed, 0, sizeof(parsed));
    if (strncmp(text, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0) {
        if (!parse_unix(text, &parsed, refusal)) {
            return false;
        }
        *address_out = parsed;
        return true;
    }
    char host[HOST_BYTES];
    uint16_t port = port_default;
    if (!split(text, host, &port, refusal) || !resolve(host, port, &parsed, refusal)) {
        return false;
    }
    bool bracketed = strchr(host, ':') != NULL;
    (void)snprintf(parsed.text, sizeof(parsed.text), bracketed ? "[%s]:%u" : "%s:%u", host,
                   (unsigned)port);
    *address_out = parsed;
    return true;
}

bool address_is_loopback(const struct address *address)
{
    if (address->socket.ss_family == AF_INET) {
        const struct sockaddr_in *four = (const struct sockaddr_in *)&address->socket;
        return (ntohl(four->sin_addr.s_addr) >> 24) == IN_LOOPBACKNET;
    }
    if (address->socket.ss_family == AF_INET6) {
        const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&address->socket;
        return IN6_IS_ADDR_LOOPBACK(&six->sin6_addr) ||
               (IN6_IS_ADDR_V4MAPPED(&six->sin6_addr) &&
                six->sin6_addr.s6_addr[12] == IN_LOOPBACKNET);
    }
    return address->socket.ss_family == AF_UNIX;
}

bool address_is_wildcard(const struct address *address)
{
    if (address->socket.ss_family == AF_INET) {
        const struct sockaddr_in *four = (const struct sockaddr_in *)&address->socket;
        return four->sin_addr.s_addr == htonl(INADDR_ANY);
    }
    if (address->socket.ss_family == AF_INET6) {
        const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&address->socket;
        return IN6_IS_ADDR_UNSPECIFIED(&six->sin6_addr);
    }
    return false;
}

uint16_t address_port(const struct address *address)
{
    if (address->socket.ss_family == AF_INET) {
        return ntohs(((const struct sockaddr_in *)&address->socket)->sin_port);
    }
    if (address->socket.ss_family == AF_INET6) {
        return ntohs(((const struct sockaddr_in6 *)&address->socket)->sin6_port);
    }
    return 0;
}

void address_set_port(struct address *address, uint16_t port)
{
    if (address->socket.ss_family == AF_INET) {
        ((struct sockaddr_in *)&address->socket)->sin_port = htons(port);
    } else if (address->socket.ss_family == AF_INET6) {
        ((struct sockaddr_in6 *)&address->socket)->sin6_port = htons(port);
    } else {
        return;
    }
    char *colon = strrchr(address->text, ':');
    ASSERT(colon != NULL);
    size_t room = sizeof(address->text) - (size_t)(colon - address->text);
    (void)snprintf(colon, room, ":%u", (unsigned)port);
}
