/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * stdout. Small pieces gather in a buffer; large ones are written from where they are, so that payload goes from shared
 * memory to the kernel without a copy here. Whoever waits for something flushes first. Works with a stdout that some
 * other process made non-blocking, too.
 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli.h"

enum { BUFFER_BYTES = 64 * 1024, DIRECT_BYTES = 16 * 1024 };

static char buffer[BUFFER_BYTES];
static size_t used;
static int status = EXIT_OK;

static void give_up(int error_number) {
    if (error_number == EPIPE) {
        status = EXIT_SIGNAL + SIGPIPE; /* quietly: the reader has what it wanted */
    } else {
        status = EXIT_FAILED;
        say("cannot write to standard output: %s", strerror(error_number));
    }
}

/* After a failed write: whether to try again. */
static bool may_go_on(int error_number) {
    struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};
    if (stop_status() != EXIT_OK)
        status = stop_status();
    else if (error_number == EAGAIN)
        poll(&out, 1, 100);
    else if (error_number != EINTR)
        give_up(error_number);
    return status == EXIT_OK;
}

static void write_all(const char *bytes, size_t count) {
    while (count && status == EXIT_OK) {
        ssize_t written = write(STDOUT_FILENO, bytes, count);
        if (written >= 0) {
            bytes += written;
            count -= (size_t)written;
        } else if (!may_go_on(errno)) {
            return;
        }
    }
}

void output_flush(void) {
    write_all(buffer, used);
    used = 0;
}

void output_bytes(const void *bytes, size_t count) {
    if (count > BUFFER_BYTES - used || count >= DIRECT_BYTES)
        output_flush();
    if (count >= DIRECT_BYTES) {
        write_all(bytes, count);
    } else if (count) {
        memcpy(buffer + used, bytes, count);
        used += count;
    }
}

void output_print(const char *format, ...) {
    char piece[8 * 1024];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(piece, sizeof(piece), format, arguments);
    va_end(arguments);
    if (length > 0)
        output_bytes(piece, (size_t)length < sizeof(piece) ? (size_t)length : sizeof(piece) - 1);
}

int output_status(void) {
    return status;
}

bool output_is_coloured(void) {
    const char *refused = getenv("NO_COLOR"), *terminal = getenv("TERM");
    return isatty(STDOUT_FILENO) && !(refused && refused[0]) && terminal && strcmp(terminal, "dumb") != 0;
}

int output_columns(void) {
    struct winsize size;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

void output_look(void) {
    struct pollfd out = {.fd = STDOUT_FILENO};
    if (status == EXIT_OK && poll(&out, 1, 0) > 0 && (out.revents & (POLLERR | POLLHUP)))
        give_up(EPIPE);
}
