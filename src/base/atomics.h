/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Atomics by name. Shared and cross-thread words are plain C11 atomics; these names keep the order on the access,
 * where a reader of the code looks for it. Everything is acquire or release; a full fence stands only where a store
 * must be seen before a later load (Dekker), and each such place names its partner.
 */
#ifndef TARN_BASE_ATOMICS_H
#define TARN_BASE_ATOMICS_H

#include <stdatomic.h>
#include <stdint.h>

#define load_relaxed(p) atomic_load_explicit((p), memory_order_relaxed)
#define load_acquire(p) atomic_load_explicit((p), memory_order_acquire)
#define store_relaxed(p, v) atomic_store_explicit((p), (v), memory_order_relaxed)
#define store_release(p, v) atomic_store_explicit((p), (v), memory_order_release)
#define fetch_add_acq_rel(p, v) atomic_fetch_add_explicit((p), (v), memory_order_acq_rel)
#define fetch_sub_acq_rel(p, v) atomic_fetch_sub_explicit((p), (v), memory_order_acq_rel)
#define compare_and_swap(p, expected, v)                                                                               \
    atomic_compare_exchange_strong_explicit((p), (expected), (v), memory_order_acq_rel, memory_order_acquire)

/* The publisher's half of the bargain with membarrier(): orders nothing in the processor, only in the compiler. */
static inline void compiler_barrier(void) {
    atomic_signal_fence(memory_order_seq_cst);
}

/* ThreadSanitizer does not model stand-alone fences; a read-modify-write of a dummy is one that it understands. */
static inline void full_fence(void) {
#if defined(__SANITIZE_THREAD__)
    static _Atomic uint32_t tsan_fence;
    atomic_fetch_add_explicit(&tsan_fence, 1, memory_order_seq_cst);
#else
    atomic_thread_fence(memory_order_seq_cst);
#endif
}

/* As full_fence(), behind a sequentially consistent read-modify-write, which on x86 is a fence itself. */
static inline void fence_behind_add(void) {
#if defined(__x86_64__) || defined(__i386__)
    compiler_barrier();
#else
    full_fence();
#endif
}

/* Asks for a line that will be written soon, so that several are under way from another core's cache at a time. */
static inline void prefetch_for_write(const void *address) {
#if defined(__x86_64__)
    __asm__ volatile("prefetchw %0" : : "m"(*(const char *)address)); /* where it is unknown, it does nothing */
#else
    __builtin_prefetch(address, 1);
#endif
}

static inline void spin_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}

#endif
