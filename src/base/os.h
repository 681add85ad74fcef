/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The operating system's part of everything but files and segments: clock, futex, barrier, locks, who we are.
 * One place, so that a test build can replace it at link time.
 */
#ifndef TARN_BASE_OS_H
#define TARN_BASE_OS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define NS_PER_SECOND INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)

int64_t os_now_ns(void);        /* CLOCK_MONOTONIC */
int64_t os_now_coarse_ns(void); /* the same, some ms late, and much cheaper */

/* now + duration_ns, or INT64_MAX where that is more. */
static inline int64_t os_time_after(int64_t now, int64_t duration_ns) {
    return duration_ns > INT64_MAX - now ? INT64_MAX : now + duration_ns;
}

/* The instant that ends a timeout: now + timeout, TARN_FOREVER saturating. */
int64_t os_deadline_ns(int64_t timeout_ns);

uint64_t os_random(void); /* never 0 */

/*
 * Sleeps while *word == value, at most timeout_ns. May return early for any reason, and does within a millisecond where
 * futexes are forbidden.
 */
void os_futex_wait(_Atomic uint32_t *word, uint32_t value, int64_t timeout_ns);
void os_futex_wake_all(_Atomic uint32_t *word);

/*
 * As epoll_wait, for at most timeout_ns; later by up to a millisecond where the kernel has no finer clock for that. The
 * count, which may be 0 early for any reason, or a negative errno.
 */
struct epoll_event;
int os_epoll_wait(int epoll, struct epoll_event *events, int most, int64_t timeout_ns);

/* membarrier: registers this process' publishers, or makes all registered processes pass a full fence. */
bool os_barrier_register(void);
bool os_barrier(void);

/* For tools: 0, or the errno of the kernel's refusal, which the functions above and os_pid_is_dead make do with. */
int os_try_futex(void);
int os_try_pidfd(void);
int os_try_fine_timeout(void); /* of epoll */

/* Threads of this process; 0 if /proc cannot tell. */
unsigned os_thread_count(void);

/* Open file description locks on single bytes, never blocking. 0, or a negative errno (-EAGAIN: another has it). */
int os_lock(int fd, int64_t byte);
int os_unlock(int fd, int64_t byte);
/*
 * First byte in [from, from + bytes) that another open file description locks; -1: none; below -1: negative errno - 1.
 */
int64_t os_locked(int fd, int64_t from, int64_t bytes);

struct identity;
void os_identify(struct identity *ret); /* this process; number is left alone */
/*
 * Whether the process behind an identity is certainly gone: its pid does not exist, is a zombie, or is another's by
 * now. False when it cannot be told (another pid namespace, no /proc).
 */
bool os_is_gone(int32_t pid, uint64_t start_time, uint64_t namespaces);
bool os_pid_is_dead(int32_t pid); /* no such process, or a zombie */
uint64_t os_namespaces(void);
bool os_numbers_alike(uint64_t namespaces); /* whether a pid from there means the same process here */
uint64_t os_ipc_namespace(void);            /* 0: cannot be told */

#endif
