/* SPDX-License-Identifier: Apache-2.0 */
/*
 * settings.c - the command line of ternmq-broker.
 */
#include "broker/settings.h"

#include "proto/limits.h"
#include "proto/names.h"

#include <stdlib.h>
#include <string.h>

static const struct setting rows[BROKER_SETTING_COUNT] = {
#define SETTING(id, name_, alias_, metavar_, type_, fallback_, least_, most_, choices_, help_) \
    [BROKER_SETTING_##id] = {                                                                  \
        .name = name_,                                                                         \
        .alias = alias_,                                                                       \
        .metavar = metavar_,                                                                   \
        .type = SETTING_##type_,                                                               \
        .fallback = fallback_,                                                                 \
        .least = least_,                                                                       \
        .most = most_,                                                                         \
        .choices = choices_,                                                                   \
        .help = help_,                                                                         \
    },
#include "broker/settings.def"
#undef SETTING
};

void broker_settings_print_help(FILE *to)
{
    settings_print_help(rows, BROKER_SETTING_COUNT, to);
}

void broker_settings_print_markdown(FILE *to)
{
    settings_print_markdown(rows, BROKER_SETTING_COUNT, to);
}

#define REFUSE(settings, ...) \
    ((void)snprintf((settings)->error, sizeof((settings)->error), __VA_ARGS__), false)

/* Addresses of one flag, separated by ';'. */
struct address_list {
    const char *flag;
    const char *text;
    uint16_t port_default;
    struct address *addresses;
    uint32_t most;
    uint32_t count;
};

static bool read_address(struct broker_settings *settings, struct address_list *list,
                         struct bytes text)
{
    if (list->count == list->most) {
        return REFUSE(settings, "--%s '%s': more than %u addresses", list->flag, list->text,
                      list->most);
    }
    if (text.length >= ADDRESS_TEXT_BYTES) {
        return REFUSE(settings, "--%s '%.60s...': an address is at most %d characters long",
                      list->flag, list->text, ADDRESS_TEXT_BYTES - 1);
    }
    char copy[ADDRESS_TEXT_BYTES];
    memcpy(copy, text.data, text.length);
    copy[text.length] = '\0';
    if (text.length > 0 && strspn(copy, "0123456789") == text.length) {
        /* To the resolver any number is an address, 20911 that of 0.0.81.175. */
        return REFUSE(settings, "--%s '%s': HOST:PORT is wanted, as in 127.0.0.1:%s", list->flag,
                      copy, copy);
    }
    char why[BROKER_SETTINGS_ERROR_BYTES_MAX - ADDRESS_TEXT_BYTES];
    if (!address_parse(copy, list->port_default, &list->addresses[list->count], why, sizeof(why))) {
        return REFUSE(settings, "--%s: %s", list->flag, why);
    }
    list->count++;
    return true;
}

static bool read_addresses(struct broker_settings *settings, struct address_list *list)
{
    const char *at = list->text;
    for (;;) {
        size_t length = strcspn(at, ";");
        /* A lone ';' at the end is what scripts make that join lists. */
        bool is_last_and_empty = length == 0 && at[0] == '\0' && list->count > 0;
        if (!is_last_and_empty && !read_address(settings, list, bytes_make(at, length))) {
            return false;
        }
        if (at[length] == '\0') {
            return true;
        }
        at += length + 1;
    }
}

static bool read_listeners(struct broker_settings *settings, const char *text)
{
    struct address_list list = {
        .flag = "listen",
        .text = text,
        .port_default = BROKER_PORT,
        .addresses = settings->listeners,
        .most = LISTENERS_MAX,
    };
    if (!read_addresses(settings, &list)) {
        return false;
    }
    settings->listener_count = list.count;
    if (settings->advertise == NULL && address_is_wildcard(&settings->listeners[0])) {
        return REFUSE(settings,
                      "--listen %s: nobody can connect to a wildcard address; say with --advertise "
                      "HOST:PORT what others shall connect to",
                      settings->listeners[0].text);
    }
    return true;
}

static bool read_nameservers(struct broker_settings *settings, const char *text)
{
    struct address_list list = {
        .flag = "nameserver",
        .text = text,
        .port_default = NAMESERVER_PORT,
        .addresses = settings->nameservers,
        .most = NAMESERVERS_MAX,
    };
    if (!read_addresses(settings, &list)) {
        return false;
    }
    settings->nameserver_count = list.count;
    return true;
}

static bool check_texts(struct broker_settings *settings)
{
    if (!name_is_broker(bytes_from_string(settings->name))) {
        return REFUSE(
            settings,
            "--name '%.200s': a broker's name is 1 to %d letters, digits, '.', '_' or '-'",
            settings->name, BROKER_NAME_BYTES_MAX);
    }
    if (settings->advertise != NULL && !name_is_address(bytes_from_string(settings->advertise))) {
        return REFUSE(settings, "--advertise '%.300s': give it as HOST:PORT, e.g. 192.0.2.1:%d",
                      settings->advertise, BROKER_PORT);
    }
    return true;
}

static void take_values(struct broker_settings *settings, const struct setting_value *values)
{
    settings->store = values[BROKER_SETTING_STORE].text;
    settings->name = values[BROKER_SETTING_NAME].text;
    settings->advertise = values[BROKER_SETTING_ADVERTISE].text;
    settings->shards = (uint32_t)values[BROKER_SETTING_SHARDS].number;
    settings->durability = (enum durability)values[BROKER_SETTING_DURABILITY].number;
    settings->retain_bytes = values[BROKER_SETTING_RETAIN_BYTES].number;
    settings->segment_bytes = values[BROKER_SETTING_SEGMENT_BYTES].number;
    settings->io = (enum reactor_wish)values[BROKER_SETTING_IO].number;
    settings->log_level = log_level_from_choice(values[BROKER_SETTING_LOG_LEVEL].number);
}

bool broker_settings_read(struct broker_settings *settings, int argc, char **argv)
{
    *settings = (struct broker_settings){0};
    struct settings parsed;
    if (!settings_parse(&parsed, rows, BROKER_SETTING_COUNT, argc, argv)) {
        return REFUSE(settings, "%s", parsed.error);
    }
    settings->help = parsed.values[BROKER_SETTING_HELP].given;
    settings->version = parsed.values[BROKER_SETTING_VERSION].given;
    if (settings->help || settings->version) {
        return true;
    }
    if (parsed.positional_count > 0) {
        return REFUSE(settings, "'%.200s': there is nothing to give without a flag; see --help",
                      parsed.positional[0]);
    }
    take_values(settings, parsed.values);
    if (settings->store == NULL) {
        return REFUSE(settings,
                      "--store DIR is required: the directory in which everything is kept");
    }
    return check_texts(settings) &&
           read_listeners(settings, parsed.values[BROKER_SETTING_LISTEN].text) &&
           read_nameservers(settings, parsed.values[BROKER_SETTING_NAMESERVER].text);
}
