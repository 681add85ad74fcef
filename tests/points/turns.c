/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A reader of a key goes on instruction by instruction, and between any two of them the key may be set: to a small
 * value, or to a large one, which lies elsewhere. Each read gives a whole value, and none is said to be damaged.
 */
#include <sys/ptrace.h>

#include "../multi/common.h"
#include "tracer.h"

#define TOPIC "points"

enum { STEPS = 60000, SMALL_BYTES = 100, LARGE_BYTES = 70000, APART_MAX = 60 };

static char data[LARGE_BYTES];

static void read_for_ever(void *arg) {
    tarn_reader *reader;
    (void)arg;
    CHECK_STATUS(tarn_reader_open(&reader, TOPIC, NULL), 0);
    int key = tarn_reader_key(reader, "a");
    CHECK_INT(key, >=, 0);
    CHECK(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
    raise(SIGSTOP);
    for (;;) {
        tarn_message value;
        CHECK_STATUS(tarn_reader_take(reader, key, &value), 1);
        CHECK(value.bytes == SMALL_BYTES || value.bytes == LARGE_BYTES);
        CHECK_STATUS(tarn_message_release(&value), 0);
    }
}

static void step(pid_t pid) {
    int status;
    CHECK(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) == 0);
    CHECK(waitpid(pid, &status, 0) == pid);
    if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP)
        FAIL("the reader ended, or was stopped, with status %#x", status);
}

TEST_LIMIT(a_key_is_set_between_any_two_instructions, 60) {
    struct random random = random_start(0);
    tarn_writer *writer;
    int status;
    if (!tracer_works())
        SKIP("processes cannot be traced here");
    pid_t pid = spawn(read_for_ever, NULL);
    CHECK_STATUS(tarn_writer_open(&writer, TOPIC, NULL), 0);
    int key = tarn_writer_key(writer, "a");
    CHECK_STATUS(tarn_writer_set(writer, key, data, SMALL_BYTES), 1);
    CHECK(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
    for (unsigned i = 0; i < STEPS;) {
        CHECK_STATUS(tarn_writer_set(writer, key, data, random_one_in(&random, 2) ? SMALL_BYTES : LARGE_BYTES), 1);
        for (uint64_t apart = random_between(&random, 1, APART_MAX); apart > 0; apart--, i++)
            step(pid);
    }
    kill_child(pid);
    CHECK_INT(tarn_writer_close(writer), >=, 0);
}
