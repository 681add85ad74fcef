/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The latest value behind a sequence lock, by hand: one writer, a number that is odd while it writes, readers that copy
 * and look whether the number is still the same. Mapped before the fork; nobody may die. Readers do nothing to memory,
 * but have to begin again when the writer came between, so one that always writes can keep them from reading at all.
 *
 * The bytes are copied by plain instructions, and thrown away if the number has moved, which C does not bless, but
 * every compiler does as it is meant here: the fences keep the copy between the two looks.
 */
#include "peer.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct board {
    _Atomic uint64_t sequence; /* beside the value's beginning, so that a small one needs a line less */
    unsigned char value[];
};

struct end {
    struct board *board;
    size_t bytes;
    void *copy; /* writer: of what to write; reader: of what was read */
};

static const char *version(void) {
    return "";
}

static size_t board_bytes(const struct peer_channel *channel) {
    return sizeof(struct board) + channel->bytes;
}

static void prepare(struct peer_channel *channel) {
    channel->prepared = mmap(NULL, board_bytes(channel), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (channel->prepared == MAP_FAILED) {
        peer_fail("mmap: %s", strerror(errno));
    }
}

static void release(struct peer_channel *channel) {
    munmap(channel->prepared, board_bytes(channel));
}

static void *open_end(const struct peer_channel *channel, uint32_t index) {
    (void)index;
    struct end *end = calloc(1, sizeof(*end));
    *end = (struct end){.board = channel->prepared, .bytes = channel->bytes};
    end->copy = aligned_alloc(64, (channel->bytes + 63) / 64 * 64);
    return end;
}

static void close_end(void *handle) {
    struct end *end = handle;
    free(end->copy);
    free(end);
}

static void *loan(void *handle) {
    return ((struct end *)handle)->copy;
}

static void write_value(void *handle) {
    struct end *end = handle;
    struct board *board = end->board;
    uint64_t sequence = atomic_load_explicit(&board->sequence, memory_order_relaxed);
    atomic_store_explicit(&board->sequence, sequence + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    memcpy(board->value, end->copy, end->bytes);
    atomic_store_explicit(&board->sequence, sequence + 2, memory_order_release);
}

static const void *read_value(void *handle, bool wait) {
    (void)wait;
    struct end *end = handle;
    struct board *board = end->board;
    uint64_t before = atomic_load_explicit(&board->sequence, memory_order_acquire);
    if (before % 2 != 0) {
        return NULL;
    }
    memcpy(end->copy, board->value, end->bytes);
    atomic_thread_fence(memory_order_acquire);
    return atomic_load_explicit(&board->sequence, memory_order_relaxed) == before ? end->copy : NULL;
}

static void done(void *handle) {
    (void)handle;
}

const struct peer peer_value = {
    .interface = PEER_INTERFACE,
    .name = "seqlock",
    .title = "sequence lock by hand",
    .how = "One value in memory that was mapped before the fork, copied in by one writer and out by readers, who try "
           "again "
           "where it was written meanwhile.",
    .bytes_max = UINT64_C(1) << 30,
    .senders_max = 1,
    .receivers_max = 1,
    .copies = true,
    .version = version,
    .prepare = prepare,
    .release = release,
    .open_sender = open_end,
    .open_receiver = open_end,
    .loan = loan,
    .send = write_value,
    .take = read_value,
    .done = done,
    .close_sender = close_end,
    .close_receiver = close_end,
};
