/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Runs one thing in a session of its own and reports what it left behind; see harness.h for the rules. */
#ifndef TARN_TESTS_RUNNER_H
#define TARN_TESTS_RUNNER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define EXIT_SKIPPED 77 /* as CTest and automake have it */

enum outcome { OUTCOME_OK, OUTCOME_FAILED, OUTCOME_SKIPPED };

/* Once per program, before any test. */
void runner_start(void);

/* Runs body(arg) in a child, at most limit_s seconds, and checks what is left. Prints the verdict. */
enum outcome run_isolated(const char *name, int limit_s, void (*body)(const void *arg), const void *arg);

/* What the whole program exits with. */
struct tally {
    int of[3]; /* by outcome */
};
int tally_exit_code(const struct tally *tally);

/* Shared by a test and its runner: */
void runner_allow_files(void);
void runner_record_process(void); /* the calling process belongs to the test */

/* Waits until pid has ended or limit_s has passed; whether it has. */
bool wait_limited(pid_t pid, int limit_s, int *ret_status);

/* The seed of all tests of this program: $TARN_SEED, or drawn, and put there for children. */
uint64_t program_seed(void);

#endif
