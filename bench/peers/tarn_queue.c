/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * tarn's work queue, as it is by default: 1024 messages that are not acknowledged, workers that look for 10 us, then
 * sleep.
 */
#include "peer.h"

#include <stdlib.h>

#include "tarn.h"

#define COPIED_BYTES_MAX 24

struct end {
    tarn_producer *producer;
    tarn_worker *worker;
    tarn_loan loan;
    tarn_job job;
    size_t bytes;
    uint32_t workers;
    char message[COPIED_BYTES_MAX];
};

static const char *version(void) {
    return tarn_version();
}

static struct end *make_end(const struct peer_channel *channel) {
    struct end *end = calloc(1, sizeof(*end));
    end->bytes = channel->bytes;
    end->workers = channel->receivers;
    return end;
}

static void *open_producer(const struct peer_channel *channel, uint32_t index) {
    (void)index;
    struct end *end = make_end(channel);
    tarn_producer_options options = {
        .struct_bytes = sizeof(options), .full_timeout_ns = TARN_FOREVER, .linger_ns = TARN_IMMEDIATELY};
    if (tarn_producer_open(&end->producer, channel->name, &options) < 0) {
        peer_fail("%s", tarn_error());
    }
    return end;
}

static void *open_worker(const struct peer_channel *channel, uint32_t index) {
    (void)index;
    struct end *end = make_end(channel);
    if (tarn_worker_open(&end->worker, channel->name, NULL) < 0) {
        peer_fail("%s", tarn_error());
    }
    return end;
}

static bool connected(void *handle) {
    struct end *end = handle;
    return tarn_producer_workers(end->producer) == (int)end->workers;
}

static void *loan(void *handle) {
    struct end *end = handle;
    if (end->bytes <= COPIED_BYTES_MAX) {
        return end->message;
    }
    if (tarn_producer_loan(end->producer, end->bytes, &end->loan) != 1) {
        peer_fail("%s", tarn_error());
    }
    return end->loan.data;
}

static void push(void *handle) {
    struct end *end = handle;
    int result = end->bytes <= COPIED_BYTES_MAX ? tarn_producer_push(end->producer, end->message, end->bytes)
                                                : tarn_loan_send(&end->loan);
    if (result != 1) {
        peer_fail("%s", tarn_error());
    }
}

static const void *take(void *handle, bool wait) {
    struct end *end = handle;
    int result =
        wait ? tarn_worker_receive(end->worker, &end->job, TARN_FOREVER) : tarn_worker_take(end->worker, &end->job);
    if (result < 0) {
        peer_fail("%s", tarn_error());
    }
    return result == 1 ? end->job.data : NULL;
}

static void acknowledge(void *handle) {
    struct end *end = handle;
    if (tarn_job_acknowledge(&end->job) != 0) {
        peer_fail("%s", tarn_error());
    }
}

static void close_end(void *handle) {
    struct end *end = handle;
    tarn_producer_close(end->producer);
    tarn_worker_close(end->worker);
    free(end);
}

const struct peer peer_queue = {
    .interface = PEER_INTERFACE,
    .name = "tarn",
    .title = "tarn",
    .how = "Producer and workers, push up to 24 B, else loans; up to 1024 messages not acknowledged, a prefetch of 1, "
           "each "
           "message acknowledged by itself; workers look for 10 us, then sleep.",
    .bytes_max = UINT64_C(1) << 30,
    .senders_max = 1,
    .receivers_max = PEER_HANDLES_MAX,
    .can_sleep = true,
    .version = version,
    .open_sender = open_producer,
    .open_receiver = open_worker,
    .connected = connected,
    .loan = loan,
    .send = push,
    .take = take,
    .done = acknowledge,
    .close_sender = close_end,
    .close_receiver = close_end,
};
