/* SPDX-License-Identifier: Apache-2.0 */
/* change.c - asks before a deletion, says what is done, and what is otherwise than asked. */
#include "tools/cli/change.h"

#include "proto/limits.h"
#include "tools/cli/json.h"
#include "tools/cli/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

const struct setting DELETE_ROWS[1] = {
    {.name = "yes", .alias = 'y', .type = SETTING_FLAG, .help = "Do not ask"},
};

/* Whether whoever sits there types the name. */
static bool is_confirmed(const char *noun, const char *name, const char *all_that)
{
    char line[GROUP_ANY_NAME_BYTES_MAX + 2]; /* the longest name of all */
    (void)fprintf(stderr, "This deletes %s %s %s. Type its name to go on: ", noun, name, all_that);
    if (fgets(line, sizeof(line), stdin) == NULL) {
        return false;
    }
    line[strcspn(line, "\n")] = '\0';
    return strcmp(line, name) == 0;
}

int change_confirm_delete(struct invocation *invocation, const char *noun, const char *name,
                          const char *all_that)
{
    if (invocation_option(invocation, 0)->given) {
        return EXIT_DONE;
    }
    if (isatty(STDIN_FILENO) == 0) {
        return invocation_fail(invocation, EXIT_WRONG_USAGE, "%s %s %s would be deleted: add --yes",
                               noun, name, all_that);
    }
    if (!is_confirmed(noun, name, all_that)) {
        return invocation_fail(invocation, EXIT_FAILED, "%s %s was not deleted", noun, name);
    }
    return EXIT_DONE;
}

int change_say_done(const struct invocation *invocation, const char *noun, const char *name,
                    const char *done)
{
    if (invocation->json) {
        struct json_object object = json_open(stdout);
        json_pair_text(&object, "name", name);
        json_pair_bool(&object, done, true);
        json_close(&object);
    } else {
        (void)printf("%s %s %s\n", noun, name, done);
    }
    return EXIT_DONE;
}

void differences_add(struct differences *differences, const char *format, ...)
{
    char one[sizeof(differences->text)];
    char clean[sizeof(one)]; /* names and filters are a server's */
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(one, sizeof(one), format, arguments);
    va_end(arguments);
    size_t room = sizeof(differences->text) - differences->used;
    int written = snprintf(differences->text + differences->used, room, "%s%s",
                           differences->used == 0 ? "" : ", ",
                           text_clean(bytes_from_string(one), clean, sizeof(clean)));
    differences->used += (size_t)written < room ? (size_t)written : room - 1;
}
