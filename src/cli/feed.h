/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Turns input files into messages of one publisher or producer, at a rate, waiting as long as it takes while the topic
 * is full.
 */
#ifndef TARN_CLI_FEED_H
#define TARN_CLI_FEED_H

#include "cli/cli.h"
#include "tarn.h"

enum feed_split {
    FEED_LINES,  /* a message per line */
    FEED_CHUNKS, /* messages of chunk_bytes, the last one shorter */
    FEED_WHOLE,  /* one message */
};

/* How long the library may wait for space before the feed looks at signals and progress. */
#define FEED_SLICE_NS (200 * NS_PER_MS)

struct feed {
    tarn_publisher *publisher;
    tarn_producer *producer; /* instead of a publisher */
    enum feed_split split;
    bool keeps_newlines; /* of lines */
    uint64_t chunk_bytes;
    int64_t period_ns; /* between messages; 0: no pause */
    bool quiet;
    int64_t next_ns;       /* when the next message is due */
    int64_t full_since_ns; /* 0: it is not full; INT64_MAX: that was said */
    struct progress progress;
};

/* Sends one message. Returns EXIT_OK, or another exit code after saying why. */
int feed_message(struct feed *feed, const void *data, size_t bytes);

/* Sends all that fd has, to its end. Returns EXIT_OK, or another exit code after saying why. */
int feed_file(struct feed *feed, int fd, const char *name);

#endif
