/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* tarn's notifiers and listeners. */
#include "peer.h"

#include <stdlib.h>

#include "tarn.h"

struct end {
    tarn_notifier *notifier;
    tarn_listener *listener;
    uint64_t event;
};

static const char *version(void) {
    return tarn_version();
}

static void *open_notifier(const struct peer_channel *channel, uint32_t index) {
    (void)index;
    struct end *end = calloc(1, sizeof(*end));
    if (tarn_notifier_open(&end->notifier, channel->name, NULL) < 0) {
        peer_fail("%s", tarn_error());
    }
    return end;
}

static void *open_listener(const struct peer_channel *channel, uint32_t index) {
    (void)index;
    struct end *end = calloc(1, sizeof(*end));
    tarn_listener_options options = {.struct_bytes = sizeof(options),
                                     .wait_strategy = channel->sleeps ? TARN_WAIT_SLEEP : TARN_WAIT_SPIN};
    if (tarn_listener_open(&end->listener, channel->name, &options) < 0) {
        peer_fail("%s", tarn_error());
    }
    return end;
}

static bool connected(void *handle) {
    struct end *end = handle;
    return tarn_notifier_listeners(end->notifier) == 1;
}

static void *loan(void *handle) {
    return &((struct end *)handle)->event;
}

static void notify(void *handle) {
    struct end *end = handle;
    if (tarn_notifier_notify(end->notifier, (uint32_t)end->event) != 1) {
        peer_fail("%s", tarn_error());
    }
}

static const void *take(void *handle, bool wait) {
    struct end *end = handle;
    tarn_event event;
    int result =
        wait ? tarn_listener_receive(end->listener, &event, TARN_FOREVER) : tarn_listener_take(end->listener, &event);
    if (result < 0) {
        peer_fail("%s", tarn_error());
    }
    if (result == 0) {
        return NULL;
    }
    end->event = event.id;
    return &end->event;
}

static void done(void *handle) {
    (void)handle;
}

static void close_end(void *handle) {
    struct end *end = handle;
    tarn_notifier_close(end->notifier);
    tarn_listener_close(end->listener);
    free(end);
}

const struct peer peer_notify = {
    .interface = PEER_INTERFACE,
    .name = "tarn",
    .title = "tarn",
    .how = "Notifier and listener, 64 events; take (spinning) or receive (sleeping).",
    .bytes_max = 8,
    .senders_max = 1,
    .receivers_max = PEER_HANDLES_MAX,
    .can_sleep = true,
    .version = version,
    .open_sender = open_notifier,
    .open_receiver = open_listener,
    .connected = connected,
    .loan = loan,
    .send = notify,
    .take = take,
    .done = done,
    .close_sender = close_end,
    .close_receiver = close_end,
};
