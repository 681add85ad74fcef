/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Publishers within the library: those of requests and responses, each with one subscriber that it writes for. Their topic
 * is joined already; they wake that one only, are read by that one only, and have a word of their own before each payload.
 */
#ifndef TARN_CORE_PUBLISHER_H
#define TARN_CORE_PUBLISHER_H

#include "core/topic.h"
#include "tarn.h"

struct publisher_address {
    uint64_t addressee;  /* peer_word() of a subscriber that is, or was, LIVE */
    uint64_t speaker;    /* and of who it belongs to */
    uint64_t lead_bytes; /* before each payload: a power of two from 8 on, and the alignment if that is more */
};

/* The options' type says alignment and size of payloads; it is not settled. Not under process_lock(). 0 or a status. */
int publisher_open_addressed(struct tarn_publisher **ret, struct topic *topic, const tarn_publisher_options *options,
                             const struct publisher_address *address);

/* As tarn_publisher_publish(), with that word in the 8 bytes before the payload. The handle is not checked. */
int publisher_publish_led(struct tarn_publisher *publisher, uint64_t word, const void *data, uint64_t bytes);

/* The same, but for when it is full: TARN_ERROR_FULL at once. */
int publisher_publish_led_now(struct tarn_publisher *publisher, uint64_t word, const void *data, uint64_t bytes);

/* Waits until the addressee has attached all of the memory, so that it can read to the end when this is closed. */
bool publisher_is_attached(struct tarn_publisher *publisher, int64_t timeout_ns);

#endif
