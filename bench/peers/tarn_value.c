/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* tarn's blackboard with one key. Small values are copied in and out, others are written and read where they lie. */
#include "peer.h"

#include <stdlib.h>

#include "tarn.h"

#define KEY "value"
#define COPIED_BYTES_MAX 1024

struct end {
    tarn_writer *writer;
    tarn_reader *reader;
    int key;
    size_t bytes;
    tarn_loan loan;
    tarn_message message;
    _Alignas(64) char copy[COPIED_BYTES_MAX];
};

static const char *version(void) {
    return tarn_version();
}

static void *make_end(const struct peer_channel *channel) {
    struct end *end = aligned_alloc(64, (sizeof(struct end) + 63) / 64 * 64);
    *end = (struct end){.bytes = channel->bytes};
    return end;
}

static void *open_writer(const struct peer_channel *channel, uint32_t index) {
    (void)index;
    struct end *end = make_end(channel);
    if (tarn_writer_open(&end->writer, channel->name, NULL) < 0 || (end->key = tarn_writer_key(end->writer, KEY)) < 0) {
        peer_fail("%s", tarn_error());
    }
    return end;
}

static void *open_reader(const struct peer_channel *channel, uint32_t index) {
    (void)index;
    struct end *end = make_end(channel);
    if (tarn_reader_open(&end->reader, channel->name, NULL) < 0 || (end->key = tarn_reader_key(end->reader, KEY)) < 0) {
        peer_fail("%s", tarn_error());
    }
    return end;
}

static void *loan(void *handle) {
    struct end *end = handle;
    if (end->bytes <= COPIED_BYTES_MAX) {
        return end->copy;
    }
    if (tarn_writer_loan(end->writer, end->key, end->bytes, &end->loan) != 1) {
        peer_fail("%s", tarn_error());
    }
    return end->loan.data;
}

static void set(void *handle) {
    struct end *end = handle;
    int result = end->bytes <= COPIED_BYTES_MAX ? tarn_writer_set(end->writer, end->key, end->copy, end->bytes)
                                                : tarn_loan_send(&end->loan);
    if (result != 1) {
        peer_fail("%s", tarn_error());
    }
}

static const void *read_value(void *handle, bool wait) {
    (void)wait;
    struct end *end = handle;
    int result = end->bytes <= COPIED_BYTES_MAX
                     ? tarn_reader_get(end->reader, end->key, end->copy, sizeof(end->copy), NULL)
                     : tarn_reader_take(end->reader, end->key, &end->message);
    if (result != 1) {
        peer_fail("%s", result < 0 ? tarn_error() : "there is no value");
    }
    return end->bytes <= COPIED_BYTES_MAX ? end->copy : end->message.data;
}

static void done(void *handle) {
    struct end *end = handle;
    if (end->bytes > COPIED_BYTES_MAX) {
        tarn_message_release(&end->message);
    }
}

static void close_end(void *handle) {
    struct end *end = handle;
    tarn_writer_close(end->writer);
    tarn_reader_close(end->reader);
    free(end);
}

const struct peer peer_value = {
    .interface = PEER_INTERFACE,
    .name = "tarn",
    .title = "tarn",
    .how = "A blackboard with one key; set and get up to 1 KB, else loans, take and release.",
    .bytes_max = UINT64_C(1) << 30,
    .senders_max = 1,
    .receivers_max = PEER_HANDLES_MAX,
    .version = version,
    .open_sender = open_writer,
    .open_receiver = open_reader,
    .loan = loan,
    .send = set,
    .take = read_value,
    .done = done,
    .close_sender = close_end,
    .close_receiver = close_end,
};
