/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Subscribers within the library: the inboxes of clients and servers, which read what is addressed to them, and nothing
 * else, reliably. All public calls serve them, too.
 */
#ifndef TARN_CORE_SUBSCRIBER_H
#define TARN_CORE_SUBSCRIBER_H

#include <stddef.h>

#include "core/waiter.h"
#include "shm/reader.h"

struct inbox_options {
    enum service_role role;
    const tarn_type *response_type; /* the subscriber options' type is that of requests */
};

/* As tarn_subscriber_open(), without its check of options and not under process_lock(). */
int subscriber_open_inbox(struct tarn_subscriber **ret, const char *topic, const tarn_subscriber_options *options,
                          const struct inbox_options *inbox);

/* From now on called after each look at who is in the topic, in the subscriber's thread, not under process_lock(). */
void subscriber_on_change(struct tarn_subscriber *subscriber, void (*changed)(void *context), void *context);

struct waiter *subscriber_waiter(struct tarn_subscriber *subscriber);

/* The logs that it follows. */
uint32_t subscriber_reader_count(const struct tarn_subscriber *subscriber);
struct log_reader *subscriber_reader(struct tarn_subscriber *subscriber, uint32_t index);

/* Whether something is to be taken of what that speaker sent, or may be. */
bool subscriber_has_unread(struct tarn_subscriber *subscriber, uint64_t speaker);

/* From which log a message is that was not released yet. */
static inline struct log_reader *message_reader(const tarn_message *message) {
    const struct hold *hold = message->held_by;
    return (struct log_reader *)(void *)((char *)(uintptr_t)hold->holder - offsetof(struct log_reader, holder));
}

#endif
