/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* What the machine has, for defaults: looked up once per process. */
#ifndef TARN_BASE_MACHINE_H
#define TARN_BASE_MACHINE_H

#include <stdint.h>

/*
 * A quarter of the smaller of RAM and the cgroup's limit: beyond a cgroup's limit the kernel kills, it reports nothing.
 */
uint64_t machine_memory_limit(void);

/* How much memory large messages rotate through: more than a core's private cache, well inside the shared one. */
uint64_t machine_rotation_bytes(void);

#endif
