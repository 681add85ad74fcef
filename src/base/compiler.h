/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Hints to the compiler. What is called for every message has two halves: a short one that is inlined into the public
 * function and calls nothing, so that no register has to be saved for it, and a long one behind a call at its end.
 */
#ifndef TARN_BASE_COMPILER_H
#define TARN_BASE_COMPILER_H

#include <limits.h> /* of libc, which tells by it that it is glibc */

#define likely(condition) __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)
#define SHORT_HALF static inline __attribute__((always_inline))
#define LONG_HALF static __attribute__((noinline))

/* For thread-local words on a message's way: in a shared library on glibc they are got at by one instruction. */
#if defined(__GLIBC__)
#define STATIC_TLS __attribute__((tls_model("initial-exec")))
#else
#define STATIC_TLS
#endif

#endif
