/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * See feed.h. Chunks and files of known size are read straight into a loan, so the kernel's copy out of the file is
 * the only one. Lines gather in a buffer first: nobody knows their length, and many come with one read.
 */
#include "cli/feed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_BYTES = 256 * 1024 };

/* ---- sending -------------------------------------------------------------------------------------------------- */

/*
 * Sleeps until the next message is due. A stall of up to 0.1 s is caught up with, so that the mean rate holds. Returns
 * EXIT_OK, or the exit code of a signal that came: then what was read already is not sent any more.
 */
static int pace(struct feed *feed) {
    if (feed->period_ns == 0)
        return stop_status();
    int64_t now = clock_ns();
    if (now - feed->next_ns > 100 * NS_PER_MS)
        feed->next_ns = now;
    while (feed->next_ns > clock_ns() && stop_status() == EXIT_OK) {
        int64_t tick = clock_ns() + FEED_SLICE_NS;
        clock_sleep_until(tick < feed->next_ns ? tick : feed->next_ns);
        progress_tick(&feed->progress);
    }
    feed->next_ns = feed->next_ns > INT64_MAX - feed->period_ns ? INT64_MAX : feed->next_ns + feed->period_ns;
    return stop_status();
}

static void count(struct feed *feed, size_t bytes) {
    feed->full_since_ns = 0;
    feed->progress.messages++;
    feed->progress.bytes += bytes;
    progress_tick(&feed->progress);
}

/* Says once what is waited for, when it has been a second. */
static void note_full(struct feed *feed, const char *sentence) {
    int64_t now = clock_ns();
    progress_tick(&feed->progress);
    if (feed->full_since_ns == 0)
        feed->full_since_ns = now;
    if (feed->quiet || now - feed->full_since_ns < NS_PER_S)
        return;
    progress_clear(&feed->progress);
    say("waiting: %s", sentence);
    feed->full_since_ns = INT64_MAX;
}

/*
 * Whether somebody may make space: a producer waits for workers that are yet to come, too. For a publisher the library
 * gives up before its slice is over only where no subscriber keeps anything, so that no waiting helps. A slow machine
 * makes a try longer, never shorter.
 */
static bool may_get_space(const struct feed *feed, int64_t tried_ns) {
    return feed->producer || (tried_ns >= FEED_SLICE_NS && tarn_publisher_subscribers(feed->publisher) > 0);
}

/*
 * What to do after a loan or a message was refused, in a try that began at begin_ns; 0: it was the first, which nobody
 * timed. Returns EXIT_OK to try again: it is full, and a subscriber may make space. Else an exit code, the reason said.
 * begin_ns receives when the next try begins.
 */
static int refused(struct feed *feed, int status, int64_t *begin_ns) {
    char sentence[1024];
    int64_t tried_ns = *begin_ns ? clock_ns() - *begin_ns : INT64_MAX;
    snprintf(sentence, sizeof(sentence), "%s", tarn_error());
    *begin_ns = clock_ns();
    if (stop_status() != EXIT_OK)
        return stop_status();
    if (status == TARN_ERROR_FULL && may_get_space(feed, tried_ns)) {
        note_full(feed, sentence);
        return EXIT_OK;
    }
    progress_clear(&feed->progress);
    say("%s", sentence);
    return EXIT_FAILED;
}

static int try_copy(struct feed *feed, const void *data, size_t bytes) {
    return feed->producer ? tarn_producer_push(feed->producer, data, bytes)
                          : tarn_publisher_publish(feed->publisher, data, bytes);
}

static int try_loan(struct feed *feed, size_t bytes, tarn_loan *ret) {
    return feed->producer ? tarn_producer_loan(feed->producer, bytes, ret)
                          : tarn_publisher_loan(feed->publisher, bytes, ret);
}

static int send_copy(struct feed *feed, const void *data, size_t bytes) {
    int status, code = EXIT_OK;
    int64_t begin_ns = 0;
    while (code == EXIT_OK && (status = try_copy(feed, data, bytes)) != 1)
        code = refused(feed, status, &begin_ns);
    if (code == EXIT_OK)
        count(feed, bytes);
    return code;
}

int feed_message(struct feed *feed, const void *data, size_t bytes) {
    int code = pace(feed);
    return code == EXIT_OK ? send_copy(feed, data, bytes) : code;
}

static int get_loan(struct feed *feed, size_t bytes, tarn_loan *ret) {
    int status, code = EXIT_OK;
    int64_t begin_ns = 0;
    while (code == EXIT_OK && (status = try_loan(feed, bytes, ret)) != 1)
        code = refused(feed, status, &begin_ns);
    return code;
}

static int send_loan(struct feed *feed, tarn_loan *loan) {
    int status, code = EXIT_OK;
    int64_t begin_ns = 0;
    size_t bytes = loan->bytes;
    while (code == EXIT_OK && (status = tarn_loan_send(loan)) != 1)
        code = refused(feed, status, &begin_ns);
    if (code == EXIT_OK)
        count(feed, bytes);
    return code;
}

/* ---- reading -------------------------------------------------------------------------------------------------- */

/* Reads until room is full or the file ends. */
static int read_full(int fd, const char *name, char *data, size_t room, size_t *ret) {
    size_t got = 1;
    int code = EXIT_OK;
    for (*ret = 0; code == EXIT_OK && got && *ret < room; *ret += got)
        code = input_read(fd, name, data + *ret, room - *ret, &got);
    return code;
}

struct buffer {
    char *bytes;
    size_t used, capacity;
};

/* Appends what one read brings. Sets ended at the file's end. */
static int buffer_fill(struct buffer *buffer, int fd, const char *name, bool *ended) {
    size_t got = 0;
    if (buffer->capacity - buffer->used < READ_BYTES / 2) {
        size_t capacity = buffer->capacity ? 2 * buffer->capacity : READ_BYTES;
        char *bytes = realloc(buffer->bytes, capacity);
        if (!bytes) {
            say("no memory for a message of more than %s from '%s'", human_bytes(buffer->used), name);
            return EXIT_FAILED;
        }
        buffer->bytes = bytes;
        buffer->capacity = capacity;
    }
    int code = input_read(fd, name, buffer->bytes + buffer->used, buffer->capacity - buffer->used, &got);
    buffer->used += got;
    *ended = got == 0;
    return code;
}

/* ---- splitting ------------------------------------------------------------------------------------------------ */

/* Sends the complete lines of the buffer; those before searched bytes are known to have none. Keeps the rest. */
static int send_lines(struct feed *feed, struct buffer *buffer, size_t searched) {
    char *line = buffer->bytes, *from = line + searched, *end = line + buffer->used, *newline;
    int code = EXIT_OK;
    while (code == EXIT_OK && (newline = memchr(from, '\n', (size_t)(end - from)))) {
        from = newline + 1;
        code = feed_message(feed, line, (size_t)((feed->keeps_newlines ? from : newline) - line));
        line = from;
    }
    buffer->used = (size_t)(end - line);
    memmove(buffer->bytes, line, buffer->used);
    return code;
}

static int feed_lines(struct feed *feed, int fd, const char *name) {
    struct buffer buffer = {NULL, 0, 0};
    bool ended = false;
    int code = EXIT_OK;
    while (code == EXIT_OK && !ended) {
        size_t searched = buffer.used;
        code = buffer_fill(&buffer, fd, name, &ended);
        if (code == EXIT_OK)
            code = send_lines(feed, &buffer, searched);
    }
    if (code == EXIT_OK && buffer.used) /* the last line, without a newline */
        code = feed_message(feed, buffer.bytes, buffer.used);
    free(buffer.bytes);
    return code;
}

/*
 * One message of up to room bytes, read into a loan; none if nothing is left. Sets ended if the file ended. A chunk
 * waits for its turn here, as reading tells whether there is one; a whole file has waited before.
 */
static int feed_loan(struct feed *feed, int fd, const char *name, size_t room, bool *ended) {
    tarn_loan loan;
    size_t got = 0;
    int code = get_loan(feed, room, &loan);
    if (code != EXIT_OK)
        return code;
    code = read_full(fd, name, loan.data, room, &got);
    *ended = got < room;
    loan.bytes = got;
    if (code == EXIT_OK && got && feed->split == FEED_CHUNKS)
        code = pace(feed);
    if (code == EXIT_OK && got)
        code = send_loan(feed, &loan);
    else
        tarn_loan_drop(&loan);
    return code;
}

static int feed_chunks(struct feed *feed, int fd, const char *name) {
    bool ended = false;
    int code = EXIT_OK;
    while (code == EXIT_OK && !ended)
        code = feed_loan(feed, fd, name, feed->chunk_bytes, &ended);
    return code;
}

/* A message of a size that only reading tells: a pipe, or a file that says it is empty, as those of /proc do. */
static int feed_stream(struct feed *feed, int fd, const char *name) {
    struct buffer buffer = {NULL, 0, 0};
    bool ended = false;
    int code = EXIT_OK;
    while (code == EXIT_OK && !ended)
        code = buffer_fill(&buffer, fd, name, &ended);
    if (code == EXIT_OK)
        code = send_copy(feed, buffer.bytes, buffer.used);
    free(buffer.bytes);
    return code;
}

/* What of a regular file is still to read; 0 if that cannot be told. */
static size_t bytes_left(int fd) {
    struct stat file;
    off_t at = lseek(fd, 0, SEEK_CUR);
    return at >= 0 && fstat(fd, &file) == 0 && S_ISREG(file.st_mode) && file.st_size > at ? (size_t)(file.st_size - at)
                                                                                          : 0;
}

/* One message: what the file has when the message is due, not when the one before was. */
static int feed_whole(struct feed *feed, int fd, const char *name) {
    bool ended;
    int code = pace(feed);
    if (code != EXIT_OK)
        return code;
    size_t size = bytes_left(fd);
    return size ? feed_loan(feed, fd, name, size, &ended) : feed_stream(feed, fd, name);
}

int feed_file(struct feed *feed, int fd, const char *name) {
    switch (feed->split) {
    case FEED_LINES:
        return feed_lines(feed, fd, name);
    case FEED_CHUNKS:
        return feed_chunks(feed, fd, name);
    default:
        return feed_whole(feed, fd, name);
    }
}
