/* SPDX-License-Identifier: Apache-2.0 */
/* consume_exec.c - runs a command on a message. */
#include "tools/cli/consume_exec.h"

#include "tools/cli/text.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    /* A command that was told to end has so long. */
    END_MS = 5000,
    /* How often it is looked at where no signal came. */
    LOOK_MS = 500,
    /* The same of what the command has begun, whose end gives no signal. */
    LOOK_GROUP_MS = 50,
    STATUS_NOT_FOUND = 127
};

/* The client whose loop a command's end wakes. */
static struct ternmq *woken;

static void on_child(int signal)
{
    (void)signal;
    int kept = errno;
    if (woken != NULL) {
        ternmq_interrupt(woken);
    }
    errno = kept;
}

/* ---------------------------------------------------------------- its input */

/* The body as a file that begins at its beginning; -1 with errno. */
static int body_open(struct ternmq_bytes body)
{
    int file = memfd_create("message", MFD_CLOEXEC);
    const char *at = body.data;
    size_t left = body.length;
    while (file >= 0 && left > 0) {
        ssize_t written = write(file, at, left);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0) {
            int kept = errno;
            close(file);
            errno = kept;
            return -1;
        }
        at += written;
        left -= (size_t)written;
    }
    if (file >= 0 && lseek(file, 0, SEEK_SET) < 0) {
        close(file);
        return -1;
    }
    return file;
}

/* ---------------------------------------------------------- its environment */

/* Sets a variable to bytes, or takes it away: a zero byte can stand in none. */
static void put_bytes(const char *name, struct ternmq_bytes bytes)
{
    char *text = NULL;
    if (bytes.data != NULL && memchr(bytes.data, '\0', bytes.length) == NULL) {
        text = strndup(bytes.data, bytes.length);
    }
    if (text == NULL) {
        (void)unsetenv(name);
    } else {
        (void)setenv(name, text, 1);
    }
    free(text);
}

static void put_number(const char *name, uint64_t number)
{
    char text[32];
    (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
    (void)setenv(name, text, 1);
}

static void put_properties(const struct ternmq_delivery *message)
{
    struct ternmq_property property;
    for (uint32_t i = 0; ternmq_delivery_property_at(message, i, &property); i++) {
        bool is_name = memchr(property.name.data, '=', property.name.length) == NULL &&
                       memchr(property.name.data, '\0', property.name.length) == NULL;
        char *name = malloc(sizeof("TERNMQ_PROPERTY_") + property.name.length);
        if (is_name && name != NULL) {
            (void)sprintf(name, "TERNMQ_PROPERTY_%.*s", (int)property.name.length,
                          (const char *)property.name.data);
            put_bytes(name, property.value);
        }
        free(name);
    }
}

static void put_environment(const struct ternmq_received *received)
{
    const struct ternmq_delivery *message = &received->message;
    struct ternmq_bytes key = {NULL, 0};
    (void)ternmq_delivery_key(message, 0, &key);
    (void)setenv("TERNMQ_TOPIC", message->topic, 1);
    put_number("TERNMQ_QUEUE", message->queue);
    put_number("TERNMQ_OFFSET", message->offset);
    put_number("TERNMQ_ATTEMPT", received->attempt);
    put_bytes("TERNMQ_TAG", message->tag);
    put_bytes("TERNMQ_KEY", key);
    put_properties(message);
}

/* ------------------------------------------------------------------ running */

/* In the new process: becomes the command. */
static _Noreturn void become(char **words, int word_count, int input,
                             const struct ternmq_received *received)
{
    (void)setpgid(0, 0);
    put_environment(received);
    (void)signal(SIGPIPE, SIG_DFL);
    if (dup2(input, STDIN_FILENO) >= 0) {
        if (word_count == 1) {
            (void)execl("/bin/sh", "sh", "-c", words[0], (char *)NULL);
        } else {
            char **ended = calloc((size_t)word_count + 1, sizeof(*ended));
            if (ended != NULL) {
                memcpy(ended, words, (size_t)word_count * sizeof(*ended));
                (void)execvp(ended[0], ended);
            }
        }
    }
    (void)dprintf(STDERR_FILENO, "ternmq: %s: %s\n", words[0], strerror(errno));
    _exit(STATUS_NOT_FOUND);
}

/* Tells all of a command to end. One that a terminal stopped has to go on for that. */
static void tell_to_end(pid_t command)
{
    (void)kill(-command, SIGTERM);
    (void)kill(-command, SIGCONT);
}

/* Whether something of a command that has ended itself still runs. */
static bool leaves_some(pid_t command)
{
    return kill(-command, 0) == 0;
}

/* Runs the loop until the command has ended, and where it was told to, all that it began; gives its status. */
static int await_end(struct invocation *invocation, pid_t command, bool *was_interrupted_out)
{
    uint64_t told_ms = 0;
    int status = 0;
    bool has_ended = false;
    for (;;) {
        if (!has_ended) {
            pid_t ended = waitpid(command, &status, WNOHANG);
            has_ended = ended == command || (ended < 0 && errno != EINTR);
        }
        if (has_ended && (told_ms == 0 || !leaves_some(command))) {
            break;
        }
        if (interrupted && told_ms == 0) {
            *was_interrupted_out = true;
            told_ms = clock_run_ms();
            tell_to_end(command);
        } else if (told_ms != 0 && clock_run_ms() - told_ms > END_MS) {
            (void)kill(-command, SIGKILL);
            if (has_ended) {
                break; /* a signal that nothing can refuse needs no look */
            }
        }
        (void)ternmq_poll(invocation->client, told_ms == 0 ? LOOK_MS : LOOK_GROUP_MS);
    }
    *was_interrupted_out = *was_interrupted_out || interrupted != 0;
    return status;
}

static void describe_end(int status, struct exec_end *end)
{
    if (WIFEXITED(status)) {
        end->succeeded = WEXITSTATUS(status) == 0;
        (void)snprintf(end->reason, sizeof(end->reason), "exit status %d", WEXITSTATUS(status));
    } else {
        (void)snprintf(end->reason, sizeof(end->reason), "killed by signal %d", WTERMSIG(status));
    }
}

bool exec_run(struct invocation *invocation, char **words, int word_count,
              const struct ternmq_received *received, struct exec_end *end_out)
{
    struct exec_end end = {.succeeded = false};
    int input = body_open(received->message.body);
    if (input < 0) {
        invocation_say(invocation, "no memory for a message's body: %s", strerror(errno));
        return false;
    }
    struct sigaction action = {.sa_handler = on_child, .sa_flags = SA_NOCLDSTOP | SA_RESTART};
    woken = invocation->client;
    (void)sigaction(SIGCHLD, &action, NULL);
    (void)fflush(stdout); /* the command may write there too */
    pid_t child = fork();
    if (child == 0) {
        become(words, word_count, input, received);
    }
    close(input);
    if (child < 0) {
        invocation_say(invocation, "no process for %s: %s", words[0], strerror(errno));
    } else {
        (void)setpgid(child, child); /* here too: which of the two comes first is not known */
        describe_end(await_end(invocation, child, &end.was_interrupted), &end);
    }
    woken = NULL;
    (void)signal(SIGCHLD, SIG_DFL);
    *end_out = end;
    return child > 0;
}
