/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A child process that is followed through one operation from point to point, by ptrace (Linux x86-64). A point is a
 * place where what others can see is about to change, or has just changed:
 *
 *   POINT_STORE    before an instruction that writes to memory shared by System V segments
 *   POINT_CALL     before a system call
 *   POINT_RETURN   after it
 *
 * No store is missed, whoever makes it, since the segments are write-protected while the operation runs: each store
 * faults, and is let through alone. Between two points the process does nothing that others could see, so to kill it at
 * every point is to kill it at every instruction.
 */
#ifndef TARN_TESTS_TRACER_H
#define TARN_TESTS_TRACER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum point_kind { POINT_STORE, POINT_CALL, POINT_RETURN };

struct point {
    enum point_kind kind;
    long call;        /* number of the system call */
    uint64_t address; /* of the instruction; of what it writes in target */
    uint64_t target;
};

enum { TRACED_SEGMENTS_MAX = 64 };

struct traced {
    pid_t pid;
    struct point at;
    struct {
        uint64_t base, bytes;
    } segments[TRACED_SEGMENTS_MAX];
    unsigned segment_count;
};

/* Whether processes may be traced here. */
bool tracer_works(void);

/* In the traced process: the operation begins, or is over. */
void tracer_mark(void);

/* Forks a child that will run role(arg), and does not yet. */
void tracer_spawn(struct traced *ret, void (*role)(void *arg), void *arg);

/* Runs it to its first mark. */
void tracer_begin(struct traced *traced);

/* From the first mark, or a point, to the next point. False: the operation is over, at the second mark. */
bool tracer_next(struct traced *traced);

/* At a POINT_CALL: the first three arguments, and what is in the process' memory. */
void tracer_arguments(const struct traced *traced, uint64_t ret[static 3]);
uint64_t tracer_peek(const struct traced *traced, uint64_t address);

/* At a POINT_CALL: the call seems to fail with this. It is made all the same, or not. Goes on to its POINT_RETURN. */
void tracer_fail_call(struct traced *traced, int error, bool is_made);

/* At any point: without further points to the second mark. */
void tracer_finish(struct traced *traced);

/* At the second mark: it goes on by itself. It is still a child to wait for. */
void tracer_let_go(struct traced *traced);

/* kill -9 where it is, and waits until it is gone. */
void tracer_kill(struct traced *traced);

/* "before the store at symbol+offset", "before shmget", ...; in a buffer of its own. */
const char *tracer_describe(const struct traced *traced);

#endif
