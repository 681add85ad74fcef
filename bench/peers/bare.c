/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The best that bare shared memory does: one writer, a ring that all map, and for each message a word that says it is
 * there. No names, no growing, no second size, no checks, nobody may die. The ring is 4 MiB, or two messages if those
 * are larger; small messages are packed, others start on a line. A reader tells how far it is every so many bytes, and
 * when it finds nothing. Who sleeps does so by a futex.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "peer.h"

#define RING_BYTES (UINT64_C(4) << 20)
#define LINE_BYTES 64
#define TELL_BYTES (16u << 10)
#define READERS_MAX PEER_HANDLES_MAX

struct cursor {
    _Alignas(LINE_BYTES) _Atomic uint64_t next; /* message that the reader will take */
};

struct ring {
    _Alignas(LINE_BYTES) _Atomic uint32_t bell; /* rung where somebody sleeps */
    _Alignas(LINE_BYTES) _Atomic uint32_t sleepers;
    struct cursor cursors[READERS_MAX];
    _Alignas(LINE_BYTES) char slots[];
};

struct end {
    struct ring *ring;
    uint64_t stride, slots, next; /* next: number of the message, from 1 */
    char *at, *end;               /* its slot; behind the last one */
    uint64_t free_until, tell_each, told;
    uint32_t readers, index;
    bool sleeps;
};

static const char *version(void) {
    return "";
}

static uint64_t stride_of(size_t bytes) {
    uint64_t grain = bytes + 8 <= 32 ? 8 : LINE_BYTES;
    return (bytes + 8 + grain - 1) / grain * grain;
}

static uint64_t slots_of(size_t bytes) {
    uint64_t slots = RING_BYTES / stride_of(bytes);
    return slots < 2 ? 2 : slots;
}

static size_t ring_bytes(const struct peer_channel *channel) {
    return sizeof(struct ring) + slots_of(channel->bytes) * stride_of(channel->bytes);
}

static void prepare(struct peer_channel *channel) {
    struct ring *ring = mmap(NULL, ring_bytes(channel), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (ring == MAP_FAILED) {
        peer_fail("mmap: %s", strerror(errno));
    }
    for (uint32_t i = 0; i < channel->receivers; i++) {
        ring->cursors[i].next = 1;
    }
    channel->prepared = ring;
}

static void release(struct peer_channel *channel) {
    munmap(channel->prepared, ring_bytes(channel));
}

static void *open_end(const struct peer_channel *channel, uint32_t index) {
    struct end *end = calloc(1, sizeof(*end));
    *end = (struct end){.ring = channel->prepared,
                        .stride = stride_of(channel->bytes),
                        .slots = slots_of(channel->bytes),
                        .next = 1,
                        .at = ((struct ring *)channel->prepared)->slots,
                        .readers = channel->receivers,
                        .index = index,
                        .sleeps = channel->sleeps};
    end->end = end->at + end->slots * end->stride;
    end->tell_each = 1 + TELL_BYTES / end->stride;
    end->tell_each = end->tell_each < end->slots / 4 ? end->tell_each : 1;
    return end;
}

static _Atomic uint64_t *word_of(const struct end *end) {
    return (_Atomic uint64_t *)(void *)end->at;
}

static void go_on(struct end *end) {
    end->next++;
    end->at += end->stride;
    if (end->at == end->end) {
        end->at = end->ring->slots;
    }
}

static void wait_for_space(struct end *end) {
    while (end->next >= end->free_until) {
        uint64_t least = UINT64_MAX;
        for (uint32_t i = 0; i < end->readers; i++) {
            uint64_t next = atomic_load_explicit(&end->ring->cursors[i].next, memory_order_acquire);
            least = next < least ? next : least;
        }
        end->free_until = least + end->slots;
    }
}

static void *loan(void *handle) {
    struct end *end = handle;
    if (end->next >= end->free_until) {
        wait_for_space(end);
    }
    return end->at + 8;
}

static void send_message(void *handle) {
    struct end *end = handle;
    atomic_store_explicit(word_of(end), end->next, memory_order_release);
    go_on(end);
    if (end->sleeps) {
        atomic_thread_fence(memory_order_seq_cst);
        if (atomic_load_explicit(&end->ring->sleepers, memory_order_relaxed)) {
            atomic_fetch_add(&end->ring->bell, 1);
            syscall(SYS_futex, &end->ring->bell, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
        }
    }
}

static bool is_there(const struct end *end) {
    return atomic_load_explicit(word_of(end), memory_order_acquire) == end->next;
}

static void tell(struct end *end) {
    end->told = end->next;
    atomic_store_explicit(&end->ring->cursors[end->index].next, end->next, memory_order_release);
}

static void sleep_until_there(struct end *end) {
    atomic_fetch_add(&end->ring->sleepers, 1);
    for (;;) {
        uint32_t bell = atomic_load(&end->ring->bell);
        if (is_there(end)) {
            break;
        }
        syscall(SYS_futex, &end->ring->bell, FUTEX_WAIT, bell, NULL, NULL, 0);
    }
    atomic_fetch_sub(&end->ring->sleepers, 1);
}

static const void *take(void *handle, bool wait) {
    struct end *end = handle;
    if (!is_there(end)) {
        if (end->told != end->next) {
            tell(end);
        }
        if (!wait) {
            return NULL;
        }
        sleep_until_there(end);
    }
    return end->at + 8;
}

static void done(void *handle) {
    struct end *end = handle;
    go_on(end);
    if (end->next - end->told >= end->tell_each) {
        tell(end);
    }
}

#include "stream.h"

const struct peer peer = {
    .interface = PEER_INTERFACE,
    .name = "bare",
    .title = "bare shared memory",
    .how = "One writer's ring of 4 MiB (two messages if larger) in memory that was mapped before the fork, a word that "
           "says "
           "that a message is there; futex to sleep.",
    .bytes_max = UINT64_C(1) << 30,
    .senders_max = 1,
    .receivers_max = READERS_MAX,
    .can_sleep = true,
    .version = version,
    .prepare = prepare,
    .release = release,
    .open_sender = open_end,
    .open_receiver = open_end,
    .loan = loan,
    .send = send_message,
    .take = take,
    .done = done,
    .send_many = stream_send,
    .take_until = stream_take,
    .close_sender = free,
    .close_receiver = free,
};
