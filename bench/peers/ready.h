/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* A number in channel->prepared that both processes see: for libraries that do not tell senders who is listening. */
#ifndef TARN_BENCH_READY_H
#define TARN_BENCH_READY_H

#include "peer.h"

#include <stdatomic.h>
#include <sys/mman.h>

static inline void ready_prepare(struct peer_channel *channel) {
    channel->prepared = mmap(NULL, sizeof(_Atomic uint32_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (channel->prepared == MAP_FAILED) {
        peer_fail("no memory to share");
    }
}

static inline void ready_release(struct peer_channel *channel) {
    munmap(channel->prepared, sizeof(_Atomic uint32_t));
}

static inline void ready_add(const struct peer_channel *channel, uint32_t count) {
    atomic_fetch_add((_Atomic uint32_t *)channel->prepared, count);
}

static inline uint32_t ready_count(const struct peer_channel *channel) {
    return atomic_load((_Atomic uint32_t *)channel->prepared);
}

#endif
