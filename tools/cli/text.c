/* SPDX-License-Identifier: Apache-2.0 */
/* text.c - numbers and times as people write and read them. */
#include "tools/cli/text.h"

#include "proto/base/settings.h"
#include "proto/base/utf8.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PLACES = 16, PLACE_BYTES = 64 };

/* One of a few buffers in turn, so that one line can show several. */
static char *take_place(void)
{
    static char places[PLACES][PLACE_BYTES];
    static unsigned next;
    return places[next++ % PLACES];
}

const char *text_of_number(uint64_t number)
{
    char digits[32];
    int length = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)number);
    char *text = take_place();
    char *to = text;
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0) {
            *to++ = ',';
        }
        *to++ = digits[i];
    }
    *to = '\0';
    return text;
}

const char *text_of_bytes(uint64_t bytes)
{
    static const char *const UNITS[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    double value = (double)bytes;
    unsigned unit = 0;
    while (value >= 999.5 && unit + 1 < sizeof(UNITS) / sizeof(UNITS[0])) {
        value /= 1000;
        unit++;
    }
    char *text = take_place();
    (void)snprintf(text, PLACE_BYTES, value < 10 && unit > 0 ? "%.1f %s" : "%.0f %s", value,
                   UNITS[unit]);
    return text;
}

const char *text_of_time(uint64_t ms)
{
    char *text = take_place();
    time_t seconds = (time_t)(ms / 1000);
    struct tm parts;
    if (gmtime_r(&seconds, &parts) == NULL) {
        (void)snprintf(text, PLACE_BYTES, "%llu", (unsigned long long)ms);
        return text;
    }
    size_t length = strftime(text, PLACE_BYTES, "%Y-%m-%dT%H:%M:%S", &parts);
    (void)snprintf(text + length, PLACE_BYTES - length, ".%03uZ", (unsigned)(ms % 1000));
    return text;
}

const char *text_of_count(uint64_t count, const char *noun)
{
    char number[32]; /* twenty digits and what stands between them */
    (void)snprintf(number, sizeof(number), "%s", text_of_number(count));
    char *text = take_place();
    (void)snprintf(text, PLACE_BYTES, "%s %s%s", number, noun, count == 1 ? "" : "s");
    return text;
}

/* ------------------------------------------------------------------ times */

/* Takes `count` digits. */
static bool take_digits(const char **at, int count, int *value_out)
{
    int value = 0;
    for (int i = 0; i < count; i++) {
        if ((*at)[i] < '0' || (*at)[i] > '9') {
            return false;
        }
        value = value * 10 + ((*at)[i] - '0');
    }
    *at += count;
    *value_out = value;
    return true;
}

static bool take_character(const char **at, char wanted)
{
    if (**at != wanted) {
        return false;
    }
    (*at)++;
    return true;
}

/* "12:00", "12:00:30", "12:00:30.250". */
static bool take_clock(const char **at, struct tm *parts, int *ms)
{
    if (!take_digits(at, 2, &parts->tm_hour) || !take_character(at, ':') ||
        !take_digits(at, 2, &parts->tm_min)) {
        return false;
    }
    if (take_character(at, ':') && !take_digits(at, 2, &parts->tm_sec)) {
        return false;
    }
    if (take_character(at, '.')) {
        int scale = 100;
        if (**at < '0' || **at > '9') {
            return false;
        }
        for (; **at >= '0' && **at <= '9'; (*at)++, scale /= 10) {
            *ms += (**at - '0') * scale;
        }
    }
    return parts->tm_hour < 24 && parts->tm_min < 60 && parts->tm_sec < 61;
}

/* "Z", "+01:00", "-0130"; nothing leaves `zone_is_given` false. */
static bool take_zone(const char **at, int *minutes, bool *zone_is_given)
{
    *zone_is_given = **at != '\0';
    if (**at == '\0' || take_character(at, 'Z')) {
        return true;
    }
    int sign = **at == '-' ? -1 : 1;
    int hours = 0;
    int rest = 0;
    if ((**at != '+' && **at != '-')) {
        return false;
    }
    (*at)++;
    if (!take_digits(at, 2, &hours)) {
        return false;
    }
    (void)take_character(at, ':');
    if (**at != '\0' && !take_digits(at, 2, &rest)) {
        return false;
    }
    *minutes = sign * (hours * 60 + rest);
    return true;
}

static bool read_date(const char *text, uint64_t *ms_out)
{
    struct tm parts = {.tm_isdst = -1};
    int ms = 0;
    int zone_minutes = 0;
    bool zone_is_given = false;
    const char *at = text;
    if (!take_digits(&at, 4, &parts.tm_year) || !take_character(&at, '-') ||
        !take_digits(&at, 2, &parts.tm_mon) || !take_character(&at, '-') ||
        !take_digits(&at, 2, &parts.tm_mday) || parts.tm_mon < 1 || parts.tm_mon > 12 ||
        parts.tm_mday < 1 || parts.tm_mday > 31) {
        return false;
    }
    if ((take_character(&at, 'T') || take_character(&at, ' ')) && !take_clock(&at, &parts, &ms)) {
        return false;
    }
    if (!take_zone(&at, &zone_minutes, &zone_is_given) || *at != '\0') {
        return false;
    }
    int day = parts.tm_mday;
    parts.tm_year -= 1900;
    parts.tm_mon -= 1;
    time_t seconds = zone_is_given ? timegm(&parts) : mktime(&parts);
    seconds -= (time_t)zone_minutes * 60;
    /* Both functions turn the 31st of a shorter month into another day. */
    if (seconds < 0 || parts.tm_mday != day) {
        return false;
    }
    *ms_out = (uint64_t)seconds * 1000 + (uint64_t)ms;
    return true;
}

bool text_read_time(const char *text, uint64_t now_ms, uint64_t *ms_out)
{
    if (text[0] != '-') {
        return read_date(text, ms_out);
    }
    static const struct setting DURATION = {.name = "from", .type = SETTING_DURATION};
    char error[SETTINGS_ERROR_BYTES_MAX];
    uint64_t ago_ms;
    if (!settings_read_value(&DURATION, text + 1, &ago_ms, error, sizeof(error))) {
        return false;
    }
    *ms_out = ago_ms < now_ms ? now_ms - ago_ms : 0;
    return true;
}

/* ------------------------------------------------------------ text of others */

bool text_is_digits(const char *text)
{
    return text[0] != '\0' && strspn(text, "0123456789") == strlen(text);
}

bool text_take_number(const char **text, uint64_t most, uint64_t *number_out)
{
    char *end;
    if (**text < '0' || **text > '9') {
        return false;
    }
    errno = 0;
    *number_out = strtoull(*text, &end, 10);
    *text = end;
    return errno == 0 && *number_out <= most;
}

const char *text_clean(struct bytes text, char *out, size_t room)
{
    size_t length = text.length < room ? text.length : room - 1;
    out[utf8_replace_controls(bytes_make(text.data, length), out)] = '\0';
    return out;
}

/* ----------------------------------------------------------------- clocks */

static uint64_t clock_ms(clockid_t clock)
{
    struct timespec now;
    (void)clock_gettime(clock, &now); /* Cannot fail for these clocks. */
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t clock_wall_ms(void)
{
    return clock_ms(CLOCK_REALTIME);
}

uint64_t clock_run_ms(void)
{
    return clock_ms(CLOCK_MONOTONIC);
}
