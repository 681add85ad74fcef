/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * An eventfd for events. It has one number, to which is added: enough to carry an event as long as there is one at a
 * time.
 */
#include "peer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

struct end {
    int fd;
    uint64_t event;
};

static const char *version(void) {
    return "";
}

static void prepare(struct peer_channel *channel) {
    int *fd = malloc(sizeof(*fd));
    *fd = eventfd(0, EFD_CLOEXEC | (channel->sleeps ? 0 : EFD_NONBLOCK));
    if (*fd < 0) {
        peer_fail("eventfd: %s", strerror(errno));
    }
    channel->prepared = fd;
}

static void release(struct peer_channel *channel) {
    close(*(int *)channel->prepared);
    free(channel->prepared);
}

static void *open_end(const struct peer_channel *channel, uint32_t index) {
    (void)index;
    struct end *end = calloc(1, sizeof(*end));
    end->fd = *(const int *)channel->prepared;
    return end;
}

static void *loan(void *handle) {
    return &((struct end *)handle)->event;
}

/* 0 could not be sent. */
static void send_event(void *handle) {
    struct end *end = handle;
    uint64_t value = end->event + 1;
    if (write(end->fd, &value, sizeof(value)) != sizeof(value)) {
        peer_fail("write: %s", strerror(errno));
    }
}

static const void *take(void *handle, bool wait) {
    (void)wait;
    struct end *end = handle;
    if (read(end->fd, &end->event, sizeof(end->event)) == sizeof(end->event)) {
        end->event--;
        return &end->event;
    }
    if (errno != EAGAIN && errno != EINTR) {
        peer_fail("read: %s", strerror(errno));
    }
    return NULL;
}

static void done(void *handle) {
    (void)handle;
}

const struct peer peer_notify = {
    .interface = PEER_INTERFACE,
    .name = "eventfd",
    .title = "eventfd",
    .how =
        "An eventfd that both processes inherit, a write for each event, a read to wait for it; its count carries the "
        "event's number, which only works as there is one at a time.",
    .bytes_max = 8,
    .senders_max = 1,
    .receivers_max = 1,
    .copies = true,
    .can_sleep = true,
    .version = version,
    .prepare = prepare,
    .release = release,
    .open_sender = open_end,
    .open_receiver = open_end,
    .loan = loan,
    .send = send_event,
    .take = take,
    .done = done,
    .close_sender = free,
    .close_receiver = free,
};
