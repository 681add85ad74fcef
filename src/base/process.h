/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * What a process has once: the lock of the library's private lists, the mark that tells a forked child, the
 * registration for membarrier; and what tells its threads apart.
 *
 * The mark is a page that the kernel wipes in a child (MADV_WIPEONFORK), also one made by a raw clone(). It holds the
 * process' epoch; a handle remembers the epoch it was made in. So one load and compare tells whose handle it is.
 */
#ifndef TARN_BASE_PROCESS_H
#define TARN_BASE_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/atomics.h"
#include "base/compiler.h"

struct identity;

extern const volatile uint32_t *process_mark; /* never NULL */

/* Whether something made in that epoch belongs to this process, and not to its parent. */
static inline bool process_is_epoch(uint32_t epoch) {
    return *process_mark == epoch;
}

/*
 * Called first by every open: makes the mark, and, in a child, forgets (without unlocking anything) what belonged to
 * the parent. Returns 0 or a status.
 */
int process_enter(void);

/*
 * The lock of all private lists. Held for joins, leaves and attaching, never on the data path. fork() waits for it,
 * so that a child never inherits it locked.
 */
void process_lock(void);
void process_unlock(void);

/* Registered by core/topic.c: closes, in a child, the descriptors that belong to the parent. */
extern void (*process_forget_parent)(void);

/* For membarrier. 0: not tried, 1: yes, -1: refused. */
extern _Atomic int process_registered;
static inline bool process_is_registered(void) {
    return load_relaxed(&process_registered) == 1;
}
bool process_register(void);

/* The cheap side of a bargain with os_barrier(): a fence, which that barrier issues for us where we are registered. */
static inline void light_fence(void) {
    if (likely(process_is_registered()))
        compiler_barrier();
    else
        full_fence();
}

extern _Thread_local char process_thread STATIC_TLS;
/* Tells apart the threads that there are. One that ends before another begins may be told as the same. */
static inline const void *process_this_thread(void) {
    return &process_thread;
}

void process_identify(struct identity *ret); /* with a new random number */

/*
 * For sentences: "pid 5", or, where that number would mean another process or none, "pid 5 of another pid namespace".
 */
struct pid_text {
    char text[48];
};
struct pid_text process_pid_text(int32_t pid, uint64_t namespaces);

#endif
