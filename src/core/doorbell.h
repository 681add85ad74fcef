/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A subscriber's file descriptor: an epoll descriptor over a doorbell, which is a FIFO in the topic's directory, and a
 * timer for the look at peers that every sleep includes.
 *
 * A FIFO, opened for reading and writing and non-blocking by both sides, has no hang-up and raises no SIGPIPE, crosses
 * network namespaces, and obeys the directory's permissions. Its name is the slot's, so the slot's next owner replaces
 * it.
 *
 * Order when take finds nothing (models/doorbell.pml): drain; armed; bell's bit; barrier (B1); look; if there is
 * something, ring yourself. Whoever wins the bell rings all that are armed, and only the subscriber makes its doorbell
 * quiet again, so taking one message per readiness is safe.
 */
#ifndef TARN_CORE_DOORBELL_H
#define TARN_CORE_DOORBELL_H

#include "core/topic.h"

struct doorbell {
    bool open;
    int epoll, fifo, timer;
    int64_t interval_ns;
};

int doorbell_open(struct doorbell *doorbell, struct topic *topic, struct subscriber_slot *subscriber, uint32_t slot);
void doorbell_close(struct doorbell *doorbell);

/* Drains it; returns whether the timer had run out, so that it is time for a look at peers. */
bool doorbell_drain(struct doorbell *doorbell);

/* Arms it, for the bell that its owner sleeps on; the caller looks again, and rings itself if there is something. */
void doorbell_arm(struct doorbell *doorbell, struct subscriber_slot *subscriber, _Atomic uint32_t *bell,
                  int64_t interval_ns);
void doorbell_ring_self(struct doorbell *doorbell);

#endif
