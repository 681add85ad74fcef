/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Reading stdin and files. Works with what some other process made non-blocking, too, as output.c does. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

int input_read(int fd, const char *name, void *data, size_t room, size_t *ret) {
    struct pollfd in = {.fd = fd, .events = POLLIN};
    ssize_t got;
    while ((got = read(fd, data, room)) < 0 && (errno == EINTR || errno == EAGAIN) && stop_status() == EXIT_OK)
        if (errno == EAGAIN)
            poll(&in, 1, 100);
    if (stop_status() != EXIT_OK)
        return stop_status();
    if (got < 0) {
        say("cannot read '%s': %s", name, strerror(errno));
        return EXIT_FAILED;
    }
    *ret = (size_t)got;
    return EXIT_OK;
}
