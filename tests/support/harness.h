/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * What a test is written with. A test program is one file with any number of
 *
 *     TEST(takes_what_was_sent) {
 *         ...
 *         CHECK_INT(tarn_subscriber_take(sub, &m), ==, 1);
 *     }
 *
 * and no main. Each test runs in a process and session of its own, with an empty topic directory ($TARN_DIR), and a
 * time limit. When it has ended, the runner (runner.c) checks that it left nothing behind: no descriptor, no System V
 * segment, no file in $TARN_DIR (unless it called allow_files), no process. What is left is reported, removed, and
 * makes the test fail.
 *
 *     unit_log                    runs all tests
 *     unit_log NAME...            runs these
 *     unit_log --list             names them
 *     TARN_SEED=n unit_log NAME   replays random choices; the seed is printed when a test fails
 *     TARN_LIMIT_FACTOR=n         multiplies all time limits (emulators, sanitizers)
 *
 * A failed check prints where and what, and ends its process with 1, in children too; so a test must look at what
 * became of its children (wait_child), and those are checks like any other.
 */
#ifndef TARN_TESTS_HARNESS_H
#define TARN_TESTS_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tarn.h"

/* ---- tests ---------------------------------------------------------------------------------------------------- */

#define TEST_LIMIT_DEFAULT_S 20

struct test {
    const char *name;
    int limit_s;
    void (*run)(void);
    struct test *next;
};
void harness_add_test(struct test *test);

#define TEST(name_) TEST_LIMIT(name_, TEST_LIMIT_DEFAULT_S)

#define TEST_LIMIT(name_, seconds)                                                                                     \
    static void test_##name_(void);                                                                                    \
    __attribute__((constructor)) static void add_test_##name_(void) {                                                  \
        static struct test test = {#name_, (seconds), test_##name_, NULL};                                             \
        harness_add_test(&test);                                                                                       \
    }                                                                                                                  \
    static void test_##name_(void)

/* This test leaves topic files behind, for good reason. */
void allow_files(void);

/* ---- checks --------------------------------------------------------------------------------------------------- */

/* Ends the process as failed, with a sentence. */
#define FAIL(...) harness_fail(__FILE__, __LINE__, __VA_ARGS__)

/* What could be had without swapping; 0: the kernel does not say. */
uint64_t harness_memory_bytes(void);

/* Ends the test as skipped, saying why: for what this machine cannot do, proven by a probe. */
#define SKIP(...) harness_skip(__VA_ARGS__)

#define CHECK(condition) ((condition) ? (void)0 : FAIL("CHECK(%s)", #condition))

/* CHECK_INT(tarn_publisher_close(pub), ==, 0): integers of any kind, both shown when it fails. */
#define CHECK_INT(value, operator, expected)                                                                           \
    do {                                                                                                               \
        long long value_ = (long long)(value), expected_ = (long long)(expected);                                      \
        if (!(value_ operator expected_))                                                                              \
            FAIL("CHECK_INT(%s, %s, %s): %lld against %lld", #value, #operator, #expected, value_, expected_);         \
    } while (0)

/* A call into tarn that returns this; its error sentence is shown when it does not. */
#define CHECK_STATUS(call, expected)                                                                                   \
    do {                                                                                                               \
        int got_ = (call), expected_ = (expected);                                                                     \
        if (got_ != expected_)                                                                                         \
            FAIL("CHECK_STATUS(%s, %s): %d (%s), not %d; tarn_error: %s", #call, #expected, got_,                      \
                 tarn_status_text(got_), expected_, tarn_error());                                                     \
    } while (0)

/* What is being tried, said with each check that fails in this process from now on. */
void set_context(const char *format, ...) __attribute__((format(printf, 1, 2)));

_Noreturn void harness_fail(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));
_Noreturn void harness_skip(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- processes ------------------------------------------------------------------------------------------------ */

/* A forked child that calls role(arg) and exits with 0. It inherits everything: for before the first tarn handle. */
pid_t spawn(void (*role)(void *arg), void *arg);

/* A fresh process of this same program that runs ROLE(name) with this argument and exits with 0. */
pid_t spawn_role(const char *name, const char *arg);

/* A program; arguments end with NULL, the first is its path. */
pid_t spawn_program(const char *const arguments[]);

/* The command line's path, for spawn_program: $TARN_BIN, else beside the folder of this program. */
const char *tarn_program(void);

struct role {
    const char *name;
    void (*run)(const char *arg);
    struct role *next;
};
void harness_add_role(struct role *role);

/* ROLE(name) { ... arg ... }: what spawn_role runs. */
#define ROLE(name_)                                                                                                    \
    static void role_##name_(const char *arg);                                                                         \
    __attribute__((constructor)) static void add_role_##name_(void) {                                                  \
        static struct role role = {#name_, role_##name_, NULL};                                                        \
        harness_add_role(&role);                                                                                       \
    }                                                                                                                  \
    static void role_##name_(__attribute__((unused)) const char *arg)

/* Waits for a child and returns its exit code, or minus the signal that killed it. Not in time: the test fails. */
#define wait_child(pid, limit_s) harness_wait_child(__FILE__, __LINE__, (pid), (limit_s))
int harness_wait_child(const char *file, int line, pid_t pid, int limit_s);

/* kill -9, and waits until it is gone. */
void kill_child(pid_t pid);

/* ---- gates: one process waits until another says so ------------------------------------------------------------ */

/* Open it before the fork; for spawn_role pass the number fd in the argument, and use gate_of there. */
struct gate {
    int fd; /* an eventfd that counts signals */
};
struct gate gate_open(void);
struct gate gate_of(const char *number);
void gate_close(struct gate gate);
void gate_signal(struct gate gate); /* lets one wait pass, now or later */
#define gate_wait(gate, limit_s) harness_gate_wait(__FILE__, __LINE__, (gate), (limit_s))
void harness_gate_wait(const char *file, int line, struct gate gate, int limit_s);

/* ---- looks ---------------------------------------------------------------------------------------------------- */

int count_attached(void); /* System V segments in this process' address space */

/* ---- chance --------------------------------------------------------------------------------------------------- */

/* Each user (thread, process) starts its own with a salt of its own; the same seed gives the same numbers. */
struct random {
    uint64_t state;
};
uint64_t test_seed(void); /* of this test, from $TARN_SEED and its name */
struct random random_start(uint64_t salt);
uint64_t random_next(struct random *random);
uint64_t random_between(struct random *random, uint64_t least, uint64_t most); /* both included */
bool random_one_in(struct random *random, uint64_t n);

/* ---- payload -------------------------------------------------------------------------------------------------- */

/* Bytes that depend on seed and place, and that are checked as fast as they are made. */
void fill_pattern(void *buffer, size_t bytes, uint64_t seed);
bool check_pattern(const void *buffer, size_t bytes, uint64_t seed); /* says on stderr where it differs */

#endif
