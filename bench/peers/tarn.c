/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * tarn itself. Receivers are reliable, so that nothing is lost. Who sends little publishes it, others write in place.
 */
#include "peer.h"

#include <stdlib.h>

#include "tarn.h"

#define PUBLISHED_BYTES_MAX 24
#define STREAMED_BYTES_MAX 64 /* what is published shares lines, what is loaned has its own */
#define LIMIT_BYTES (UINT64_C(4) << 20)
#define LIMIT_MESSAGES 3 /* large ones are rounded up by up to an eighth: so it has two, as the bare ring */
#define AT_ONCE                                                                                                        \
    32 /* taken in a stream of small ones: who holds many large ones leaves the publisher less to write in */

struct sender {
    tarn_publisher *publisher;
    tarn_loan loan;
    size_t bytes;
    bool publishes;
    uint32_t receivers;
    char message[STREAMED_BYTES_MAX];
};

struct receiver {
    tarn_subscriber *subscriber;
    tarn_message messages[AT_ONCE];
    int next, count, at_once; /* of messages: the one that is next to be read, those that were taken, and may be */
};

static const char *version(void) {
    return tarn_version();
}

static uint64_t in_flight_bytes(uint64_t bytes) {
    return bytes * LIMIT_MESSAGES > LIMIT_BYTES ? bytes * LIMIT_MESSAGES : LIMIT_BYTES;
}

static void *open_sender(const struct peer_channel *channel, uint32_t index) {
    (void)index;
    struct sender *sender = calloc(1, sizeof(*sender));
    tarn_publisher_options options = {
        .struct_bytes = sizeof(options),
        .full_timeout_ns = TARN_FOREVER,
        .depth = 1,
        .memory_limit_bytes = channel->streams ? in_flight_bytes(channel->bytes) : 0,
        .rotation_bytes = channel->streams ? 0 : 1,
    };
    sender->bytes = channel->bytes;
    sender->publishes = channel->bytes <= (channel->streams ? STREAMED_BYTES_MAX : PUBLISHED_BYTES_MAX);
    sender->receivers = channel->receivers;
    if (tarn_publisher_open(&sender->publisher, channel->name, &options) < 0) {
        peer_fail("%s", tarn_error());
    }
    return sender;
}

static void *open_receiver(const struct peer_channel *channel, uint32_t index) {
    (void)index;
    struct receiver *receiver = calloc(1, sizeof(*receiver));
    tarn_subscriber_options options = {
        .struct_bytes = sizeof(options),
        .reliable = 1,
        .wait_strategy = channel->sleeps ? TARN_WAIT_SLEEP : TARN_WAIT_SPIN,
    };
    if (tarn_subscriber_open(&receiver->subscriber, channel->name, &options) < 0) {
        peer_fail("%s", tarn_error());
    }
    receiver->at_once = channel->streams && !channel->sleeps && channel->bytes <= STREAMED_BYTES_MAX ? AT_ONCE : 1;
    return receiver;
}

static bool connected(void *handle) {
    struct sender *sender = handle;
    return tarn_publisher_subscribers(sender->publisher) == (int)sender->receivers;
}

static void *loan(void *handle) {
    struct sender *sender = handle;
    if (sender->publishes) {
        return sender->message;
    }
    if (tarn_publisher_loan(sender->publisher, sender->bytes, &sender->loan) != 1) {
        peer_fail("%s", tarn_error());
    }
    return sender->loan.data;
}

static void send_message(void *handle) {
    struct sender *sender = handle;
    int result = sender->publishes ? tarn_publisher_publish(sender->publisher, sender->message, sender->bytes)
                                   : tarn_loan_send(&sender->loan);
    if (result != 1) {
        peer_fail("%s", tarn_error());
    }
}

static bool take_more(struct receiver *receiver, bool wait) {
    int result = receiver->at_once > 1 ? tarn_subscriber_take_many(receiver->subscriber, receiver->messages, AT_ONCE)
                 : wait                ? tarn_subscriber_receive(receiver->subscriber, receiver->messages, TARN_FOREVER)
                                       : tarn_subscriber_take(receiver->subscriber, receiver->messages);
    if (result < 0) {
        peer_fail("%s", tarn_error());
    }
    receiver->next = 0;
    receiver->count = result;
    return result > 0;
}

static const void *take(void *handle, bool wait) {
    struct receiver *receiver = handle;
    if (receiver->next == receiver->count && !take_more(receiver, wait)) {
        return NULL;
    }
    const tarn_message *message = &receiver->messages[receiver->next];
    if (message->lost != 0) {
        peer_fail("a reliable subscriber lost messages");
    }
    return message->data;
}

static void done(void *handle) {
    struct receiver *receiver = handle;
    tarn_message_release(&receiver->messages[receiver->next++]);
}

static void close_sender(void *handle) {
    struct sender *sender = handle;
    tarn_publisher_close(sender->publisher);
    free(sender);
}

static void close_receiver(void *handle) {
    struct receiver *receiver = handle;
    tarn_subscriber_close(receiver->subscriber);
    free(receiver);
}

#include "stream.h"

const struct peer peer = {
    .interface = PEER_INTERFACE,
    .name = "tarn",
    .title = "tarn",
    .how = "Publish up to 24 B, in streams up to 64 B, else loans; reliable subscribers, take (spinning) or receive "
           "(sleeping). Depth 1; in streams take_many up to 64 B, and a memory limit of 4 MiB, or 3 messages if that "
           "is more; where one message is under way at a time, as little memory to go round in as there can be.",
    .bytes_max = UINT64_C(1) << 30,
    .senders_max = PEER_HANDLES_MAX,
    .receivers_max = PEER_HANDLES_MAX,
    .can_sleep = true,
    .version = version,
    .open_sender = open_sender,
    .open_receiver = open_receiver,
    .connected = connected,
    .loan = loan,
    .send = send_message,
    .take = take,
    .done = done,
    .send_many = stream_send,
    .take_until = stream_take,
    .close_sender = close_sender,
    .close_receiver = close_receiver,
};
