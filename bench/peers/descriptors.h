/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * What pipes and sockets share: a descriptor for each pair of sender and receiver. A sender writes each message by one
 * system call, to each receiver; a receiver reads as much as there is, so a stream of small messages costs it one call
 * for many. Blocking where the channel sleeps; with one sender, receivers then sleep in read() itself, else in poll().
 */
#ifndef TARN_BENCH_DESCRIPTORS_H
#define TARN_BENCH_DESCRIPTORS_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "peer.h"

#define BUFFER_BYTES_LEAST (64u << 10)

struct fd_sender {
    size_t bytes;
    uint32_t count;
    int *fds;
    char *message;
};

struct fd_source {
    int fd;
    char *buffer;
    size_t from, to; /* unread */
};

struct fd_receiver {
    size_t bytes, capacity;
    uint32_t count, next, taken;
    bool packets; /* every read() gets one whole message */
    struct fd_source *sources;
    struct pollfd *polled;
};

static void set_blocking(int fd, bool blocks) {
    int flags = fcntl(fd, F_GETFL);
    fcntl(fd, F_SETFL, blocks ? flags & ~O_NONBLOCK : flags | O_NONBLOCK);
}

/* The descriptors are for the caller to fill in. */
static struct fd_sender *make_fd_sender(const struct peer_channel *channel) {
    struct fd_sender *sender = calloc(1, sizeof(*sender));
    sender->bytes = channel->bytes;
    sender->count = channel->receivers;
    sender->fds = calloc(sender->count, sizeof(int));
    sender->message = calloc(1, sender->bytes);
    return sender;
}

static struct fd_receiver *make_fd_receiver(const struct peer_channel *channel, bool packets) {
    struct fd_receiver *receiver = calloc(1, sizeof(*receiver));
    receiver->bytes = channel->bytes;
    receiver->capacity = packets || channel->bytes > BUFFER_BYTES_LEAST ? channel->bytes : BUFFER_BYTES_LEAST;
    receiver->packets = packets;
    receiver->count = channel->senders;
    receiver->sources = calloc(receiver->count, sizeof(struct fd_source));
    receiver->polled = calloc(receiver->count, sizeof(struct pollfd));
    for (uint32_t i = 0; i < receiver->count; i++) {
        receiver->sources[i].buffer = malloc(receiver->capacity);
    }
    return receiver;
}

/* After all descriptors are there. */
static void ready_fd_receiver(struct fd_receiver *receiver, bool sleeps) {
    for (uint32_t i = 0; i < receiver->count; i++) {
        set_blocking(receiver->sources[i].fd, sleeps && receiver->count == 1);
        receiver->polled[i] = (struct pollfd){.fd = receiver->sources[i].fd, .events = POLLIN};
    }
}

static void *loan_fd(void *handle) {
    return ((struct fd_sender *)handle)->message;
}

static void write_all(int fd, const char *data, size_t bytes) {
    while (bytes > 0) {
        ssize_t written = write(fd, data, bytes);
        if (written < 0 && errno == EAGAIN) {
            poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, -1);
        } else if (written < 0 && errno != EINTR) {
            peer_fail("write: %s", strerror(errno));
        } else if (written > 0) {
            data += written;
            bytes -= (size_t)written;
        }
    }
}

static void send_fd(void *handle) {
    struct fd_sender *sender = handle;
    for (uint32_t i = 0; i < sender->count; i++) {
        write_all(sender->fds[i], sender->message, sender->bytes);
    }
}

/* A whole message in the buffer, reading at most once. */
static bool fill(struct fd_receiver *receiver, struct fd_source *source) {
    if (source->to - source->from >= receiver->bytes) {
        return true;
    }
    if (source->from > 0) {
        memmove(source->buffer, source->buffer + source->from, source->to - source->from);
        source->to -= source->from;
        source->from = 0;
    }
    ssize_t got = read(source->fd, source->buffer + source->to, receiver->capacity - source->to);
    if (got < 0 && errno != EAGAIN && errno != EINTR) {
        peer_fail("read: %s", strerror(errno));
    }
    if (got == 0) {
        peer_fail("the sender has gone");
    }
    source->to += got > 0 ? (size_t)got : 0;
    return source->to - source->from >= receiver->bytes;
}

static const void *take_fd(void *handle, bool wait) {
    struct fd_receiver *receiver = handle;
    for (;;) {
        for (uint32_t i = 0; i < receiver->count; i++) {
            struct fd_source *source = &receiver->sources[receiver->next];
            receiver->taken = receiver->next;
            if (++receiver->next == receiver->count) {
                receiver->next = 0;
            }
            if (fill(receiver, source)) {
                return source->buffer + source->from;
            }
        }
        if (!wait) {
            return NULL;
        }
        if (receiver->count > 1) {
            poll(receiver->polled, receiver->count, -1);
        }
    }
}

static void done_fd(void *handle) {
    struct fd_receiver *receiver = handle;
    receiver->sources[receiver->taken].from += receiver->bytes;
}

static void close_fd_sender(void *handle) {
    struct fd_sender *sender = handle;
    for (uint32_t i = 0; i < sender->count; i++) {
        close(sender->fds[i]);
    }
    free(sender->fds);
    free(sender->message);
    free(sender);
}

static void close_fd_receiver(void *handle) {
    struct fd_receiver *receiver = handle;
    for (uint32_t i = 0; i < receiver->count; i++) {
        close(receiver->sources[i].fd);
        free(receiver->sources[i].buffer);
    }
    free(receiver->sources);
    free(receiver->polled);
    free(receiver);
}

#define PEER_BY_DESCRIPTORS(largest)                                                                                   \
    .interface = PEER_INTERFACE, .bytes_max = (largest), .senders_max = 256, .receivers_max = PEER_HANDLES_MAX,        \
    .copies = true, .can_sleep = true, .loan = loan_fd, .send = send_fd, .take = take_fd, .done = done_fd,             \
    .close_sender = close_fd_sender, .close_receiver = close_fd_receiver

#endif
