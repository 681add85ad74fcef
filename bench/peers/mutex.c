/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A ring in shared memory under a mutex, as a person would write it from the manual pages: a file in /dev/shm (in the
 * run's folder there, so by open rather than shm_open), a process-shared mutex and two condition variables, messages
 * copied in and out.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "peer.h"

#define RING_BYTES (UINT64_C(4) << 20)

struct ring {
    pthread_mutex_t mutex;
    pthread_cond_t not_empty, not_full;
    uint64_t first, count, slots;
    char messages[];
};

struct end {
    struct ring *ring;
    size_t bytes;
    char *message;
};

static const char *version(void) {
    return "";
}

static uint64_t slots_of(size_t bytes) {
    uint64_t slots = RING_BYTES / bytes;
    return slots < 2 ? 2 : slots > 65536 ? 65536 : slots;
}

static size_t ring_bytes(const struct peer_channel *channel) {
    return sizeof(struct ring) + slots_of(channel->bytes) * channel->bytes;
}

static struct ring *map_ring(const struct peer_channel *channel, int flags) {
    char name[200];
    snprintf(name, sizeof(name), "%s/%s", channel->folder, channel->name);
    int fd = open(name, flags | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)ring_bytes(channel)) != 0) {
        peer_fail("%s: %s", name, strerror(errno));
    }
    struct ring *ring = mmap(NULL, ring_bytes(channel), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (ring == MAP_FAILED) {
        peer_fail("mmap: %s", strerror(errno));
    }
    close(fd);
    return ring;
}

static void prepare(struct peer_channel *channel) {
    struct ring *ring = map_ring(channel, O_RDWR | O_CREAT | O_EXCL);
    pthread_mutexattr_t mutex;
    pthread_mutexattr_init(&mutex);
    pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&ring->mutex, &mutex);
    pthread_condattr_t condition;
    pthread_condattr_init(&condition);
    pthread_condattr_setpshared(&condition, PTHREAD_PROCESS_SHARED);
    pthread_cond_init(&ring->not_empty, &condition);
    pthread_cond_init(&ring->not_full, &condition);
    ring->slots = slots_of(channel->bytes);
    munmap(ring, ring_bytes(channel));
}

static void *open_end(const struct peer_channel *channel, uint32_t index) {
    (void)index;
    struct end *end = calloc(1, sizeof(*end));
    *end = (struct end){map_ring(channel, O_RDWR), channel->bytes, calloc(1, channel->bytes)};
    return end;
}

static void *loan(void *handle) {
    return ((struct end *)handle)->message;
}

static void send_message(void *handle) {
    struct end *end = handle;
    struct ring *ring = end->ring;
    pthread_mutex_lock(&ring->mutex);
    while (ring->count == ring->slots) {
        pthread_cond_wait(&ring->not_full, &ring->mutex);
    }
    memcpy(ring->messages + (ring->first + ring->count) % ring->slots * end->bytes, end->message, end->bytes);
    ring->count++;
    pthread_cond_signal(&ring->not_empty);
    pthread_mutex_unlock(&ring->mutex);
}

static const void *take(void *handle, bool wait) {
    struct end *end = handle;
    struct ring *ring = end->ring;
    pthread_mutex_lock(&ring->mutex);
    while (ring->count == 0 && wait) {
        pthread_cond_wait(&ring->not_empty, &ring->mutex);
    }
    bool any = ring->count > 0;
    if (any) {
        memcpy(end->message, ring->messages + ring->first * end->bytes, end->bytes);
        ring->first = (ring->first + 1) % ring->slots;
        ring->count--;
        pthread_cond_signal(&ring->not_full);
    }
    pthread_mutex_unlock(&ring->mutex);
    return any ? end->message : NULL;
}

static void done(void *handle) {
    (void)handle;
}

static void close_end(void *handle) {
    struct end *end = handle;
    free(end->message);
    free(end); /* the mapping goes with the process */
}

#include "stream.h"

const struct peer peer = {
    .interface = PEER_INTERFACE,
    .name = "mutex",
    .title = "shared memory with a mutex",
    .how = "A file in /dev/shm, a process-shared mutex, two condition variables, a ring of 4 MiB (two messages if "
           "larger), messages "
           "copied in and out.",
    .bytes_max = UINT64_C(1) << 30,
    .senders_max = 256,
    .receivers_max = 1,
    .copies = true,
    .can_sleep = true,
    .version = version,
    .prepare = prepare,
    .open_sender = open_end,
    .open_receiver = open_end,
    .loan = loan,
    .send = send_message,
    .take = take,
    .done = done,
    .send_many = stream_send,
    .take_until = stream_take,
    .close_sender = close_end,
    .close_receiver = close_end,
};
