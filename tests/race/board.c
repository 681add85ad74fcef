/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A blackboard's key in many threads: one sets it, and another when the first has closed, against readers that copy
 * values, wait for them or hold some. A value's size and contents follow from its version, whoever set it, so each is
 * seen to be whole.
 */
#include "common.h"

enum { GETTERS = 2, TAKERS = 2, READERS = GETTERS + TAKERS, VALUES = 60000, HELD = 3, MOST = 3000 };

static uint64_t values; /* of each writer */
static pthread_barrier_t all_are_there;
static tarn_writer *second;

static tarn_writer *open_writer(void) {
    tarn_writer *writer = NULL;
    tarn_writer_options options = {.struct_bytes = sizeof options, .memory_limit_bytes = 512 * 1024};
    CHECK_STATUS(tarn_writer_open(&writer, TOPIC, &options), 0);
    return writer;
}

static void set_versions(tarn_writer *writer, int key, uint64_t from, uint64_t to) {
    for (uint64_t version = from; version <= to; version++) {
        tarn_loan loan;
        CHECK_STATUS(tarn_writer_loan(writer, key, bytes_of(0, version, MOST), &loan), 1);
        fill_pattern(loan.data, loan.bytes, seed_of(0, version));
        CHECK_STATUS(tarn_loan_send(&loan), 1);
    }
}

static void *set_and_close(void *arg) {
    tarn_writer *writer = arg;
    int key = tarn_writer_key(writer, "key");
    CHECK_INT(key, >=, 0);
    pthread_barrier_wait(&all_are_there);
    set_versions(writer, key, 1, values);
    CHECK_INT(tarn_writer_close(writer), >=, 0);
    return NULL;
}

static void *take_over(void *arg) {
    int key;
    (void)arg;
    pthread_barrier_wait(&all_are_there);
    while ((key = tarn_writer_key(second, "key")) < 0)
        CHECK_STATUS(key, TARN_ERROR_TAKEN);
    set_versions(second, key, values + 1, 2 * values);
    return NULL;
}

static void check_value(uint64_t version, const void *data, size_t bytes, uint64_t *seen) {
    CHECK_INT(version, >=, *seen);
    CHECK_INT(bytes, ==, bytes_of(0, version, MOST));
    CHECK(check_pattern(data, bytes, seed_of(0, version)));
    *seen = version;
}

static tarn_reader *open_reader(int *ret_key) {
    tarn_reader *reader = NULL;
    CHECK_STATUS(tarn_reader_open(&reader, TOPIC, NULL), 0);
    *ret_key = tarn_reader_key(reader, "key");
    CHECK_INT(*ret_key, >=, 0);
    return reader;
}

/* waits: for each value, else it looks all the time. */
static void *get_all(void *waits) {
    char data[MOST];
    int key;
    tarn_reader *reader = open_reader(&key);
    pthread_barrier_wait(&all_are_there);
    for (uint64_t seen = 0; seen < 2 * values;) {
        tarn_value value;
        if (waits)
            CHECK_STATUS(tarn_reader_wait_key(reader, key, seen, TARN_FOREVER), 1);
        int status = tarn_reader_get(reader, key, data, sizeof data, &value);
        if (status == 0)
            continue; /* not set yet, or gone with the first writer, of which this one has read nothing */
        CHECK_STATUS(status, 1);
        check_value(value.version, data, value.bytes, &seen);
    }
    CHECK_STATUS(tarn_reader_close(reader), 0);
    return NULL;
}

static void *take_all(void *arg) {
    tarn_message held[HELD] = {{0}};
    int key;
    tarn_reader *reader = open_reader(&key);
    (void)arg;
    pthread_barrier_wait(&all_are_there);
    for (uint64_t seen = 0, i = 0; seen < 2 * values; i++) {
        tarn_message *message = &held[i % HELD];
        if (message->held_by) {
            check_value(message->sequence, message->data, message->bytes, &(uint64_t){0}); /* whatever was set since */
            CHECK_STATUS(tarn_message_release(message), 0);
        }
        int status = tarn_reader_take(reader, key, message);
        if (status == 0)
            continue; /* as for get_all() */
        CHECK_STATUS(status, 1);
        check_value(message->sequence, message->data, message->bytes, &seen);
    }
    CHECK_STATUS(tarn_reader_close(reader), 0);
    for (int i = 0; i < HELD; i++)
        if (held[i].held_by)
            CHECK_STATUS(tarn_message_release(&held[i]), 0);
    return NULL;
}

TEST_LIMIT(values_are_whole_and_one_writer_follows_another, 120) {
    pthread_t threads[2 + READERS];
    values = ROUNDS(VALUES);
    CHECK_INT(pthread_barrier_init(&all_are_there, NULL, 2 + READERS), ==, 0);
    second = open_writer();
    threads[0] = start(set_and_close, open_writer());
    threads[1] = start(take_over, NULL);
    for (uintptr_t i = 0; i < READERS; i++)
        threads[2 + i] = i < GETTERS ? start(get_all, (void *)(i % 2)) : start(take_all, NULL);
    for (int i = 0; i < 2 + READERS; i++)
        join(threads[i]);
    CHECK_INT(tarn_writer_close(second), >=, 0);
    CHECK_INT(pthread_barrier_destroy(&all_are_there), ==, 0);
}
