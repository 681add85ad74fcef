/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Tests that fail on purpose, one way each, and some that pass. selftest.sh runs them and looks at what the harness
 * says about each: a check that never fails proves nothing.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <unistd.h>

#include "harness.h"

static void sleep_for_long(void *arg) {
    (void)arg;
    sleep(1000);
}

static void leave_file(void) {
    char path[256];
    snprintf(path, sizeof path, "%s/left", getenv("TARN_DIR"));
    CHECK(close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)) == 0);
}

static void leave_segment(void *arg) {
    (void)arg;
    CHECK(shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600) >= 0);
}

/* ---- these fail ----------------------------------------------------------------------------------------------- */

TEST(fails_check) {
    CHECK(1 + 1 == 3);
}

TEST(fails_check_int) {
    CHECK_INT(1 + 1, ==, 3);
}

TEST(fails_check_status) {
    CHECK_STATUS(tarn_message_release(NULL), 0);
}

TEST(fails_pattern) {
    char bytes[100];
    fill_pattern(bytes, sizeof bytes, 7);
    bytes[99] ^= 1;
    CHECK(check_pattern(bytes, sizeof bytes, 7));
}

TEST(leaks_descriptor) {
    CHECK(open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0);
}

TEST(leaks_segment) {
    leave_segment(NULL);
}

TEST(leaks_segment_of_child) {
    CHECK_INT(wait_child(spawn(leave_segment, NULL), 5), ==, 0);
}

TEST(leaks_file) {
    leave_file();
}

TEST(leaves_child) {
    spawn(sleep_for_long, NULL);
}

static void make_own_session(void *arg) {
    setsid();
    spawn(sleep_for_long, arg);
}

TEST(leaves_child_in_other_session) {
    CHECK_INT(wait_child(spawn(make_own_session, NULL), 5), ==, 0);
}

TEST_LIMIT(hangs, 1) {
    sleep(1000);
}

TEST(crashes) {
    raise(SIGSEGV);
}

static void fail_in_child(void *arg) {
    FAIL("in the child: %s", (char *)arg);
}

TEST(fails_by_child) {
    CHECK_INT(wait_child(spawn(fail_in_child, "so"), 5), ==, 0);
}

TEST(waits_for_slow_child) {
    wait_child(spawn(sleep_for_long, NULL), 1);
}

TEST(waits_at_closed_gate) {
    gate_wait(gate_open(), 1);
}

/* ---- these pass ----------------------------------------------------------------------------------------------- */

TEST(passes) {
    CHECK(true);
    CHECK_INT(1 + 1, ==, 2);
}

TEST(passes_and_leaves_file) {
    allow_files();
    leave_file();
}

TEST(skips) {
    SKIP("because of %s", "it");
}

TEST(pattern_holds) {
    char bytes[100];
    for (size_t n = 0; n <= sizeof bytes; n++) {
        memset(bytes, 0, sizeof bytes);
        fill_pattern(bytes, n, n);
        CHECK(check_pattern(bytes, n, n));
        CHECK(n == sizeof bytes || bytes[n] == 0);
    }
}

ROLE(answerer) {
    int ask, answer;
    CHECK(sscanf(arg, "%d %d", &ask, &answer) == 2);
    gate_wait((struct gate){ask}, 5);
    gate_signal((struct gate){answer});
}

TEST(role_answers) {
    char arg[64];
    struct gate ask = gate_open(), answer = gate_open();
    snprintf(arg, sizeof arg, "%d %d", ask.fd, answer.fd);
    pid_t pid = spawn_role("answerer", arg);
    gate_signal(ask);
    gate_wait(answer, 5);
    CHECK_INT(wait_child(pid, 5), ==, 0);
    gate_close(ask);
    gate_close(answer);
}

TEST(killed_child_is_no_leak) {
    pid_t pid = spawn(sleep_for_long, NULL);
    kill_child(pid);
    kill(spawn(sleep_for_long, NULL), SIGKILL);
}

TEST(prints_random) {
    struct random random = random_start(1);
    for (int i = 0; i < 1000; i++) {
        uint64_t n = random_between(&random, 3, 5);
        CHECK(n >= 3 && n <= 5);
    }
    printf("drew %llu\n", (unsigned long long)random_next(&random));
}
