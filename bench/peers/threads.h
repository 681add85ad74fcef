/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * For libraries that start threads of their own. The benchmark pins its two processes, each to a CPU on which it spins,
 * and a thread inherits that CPU. Where there are at least two more CPUs, the threads get all but this one. Where there
 * are not, they stay with their process, which was measured to be better than to go where the other spins; a take that
 * found nothing then has to yield, as they wait for milliseconds otherwise.
 */
#ifndef TARN_BENCH_THREADS_H
#define TARN_BENCH_THREADS_H

#include <sched.h>

static cpu_set_t threads_all_cpus;

/* To be called by prepare(). */
static inline void threads_prepare(void) {
    sched_getaffinity(0, sizeof(threads_all_cpus), &threads_all_cpus);
}

/* Around what starts threads: before it, then after it with what the former returned. */
static inline cpu_set_t threads_leave_cpu(void) {
    cpu_set_t own;
    sched_getaffinity(0, sizeof(own), &own);
    if (CPU_COUNT(&threads_all_cpus) >= 4 && CPU_COUNT(&own) == 1) {
        cpu_set_t others;
        CPU_XOR(&others, &threads_all_cpus, &own);
        sched_setaffinity(0, sizeof(others), &others);
    }
    return own;
}

static inline void threads_return(cpu_set_t own) {
    sched_setaffinity(0, sizeof(own), &own);
}

#endif
