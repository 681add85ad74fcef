/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* What 'tarn doctor' asks the library: what the kernel does, and what the dead have left. */
#include <sys/ipc.h>
#include <sys/shm.h>
#include <unistd.h>

#include "common.h"
#include "core/inspect.h"
#include "shm/segment.h"

TEST(probes_and_leaves_nothing) {
    struct inspect_probe probe;
    inspect_probe(&probe); /* the runner counts descriptors and segments afterwards */
    CHECK_INT(probe.wipe_on_fork, ==, 0);
    CHECK_INT(probe.locks, ==, 0);
    CHECK_INT(probe.segments, ==, 0);
    CHECK_INT(probe.memory_limit_bytes, >, 0);
}

#define SEED 4242u
#define FIRST_KEY ((key_t)(SEED * 0x9e3779b1u | 1)) /* as segment.c has it */

/* As somebody who dies within segment_create. */
static void leave_orphan(void) {
    CHECK_INT(shmget(FIRST_KEY, 4096, IPC_CREAT | IPC_EXCL | 0600), >=, 0);
}

TEST(counts_orphans_and_leaves_them) {
    CHECK_INT(segment_count_orphans(SEED), ==, 0);
    leave_orphan();
    CHECK_INT(segment_count_orphans(SEED), ==, 0); /* its maker lives: it is in the making */
    CHECK_INT(shmctl(shmget(FIRST_KEY, 0, 0), IPC_RMID, NULL), ==, 0);

    pid_t maker = fork();
    if (maker == 0) {
        leave_orphan();
        _exit(0);
    }
    CHECK_INT(wait_child(maker, 5), ==, 0);
    CHECK_INT(segment_count_orphans(SEED), ==, 1);
    CHECK_INT(segment_count_orphans(SEED), ==, 1);
    void *attached = shmat(shmget(FIRST_KEY, 0, 0), NULL, SHM_RDONLY);
    CHECK(attached != (void *)-1);
    CHECK_INT(segment_count_orphans(SEED), ==, 0);
    shmdt(attached);
    CHECK_INT(segment_sweep_all(SEED), ==, 1);
    CHECK_INT(segment_count_orphans(SEED), ==, 0);
}

TEST(counts_topics_that_nobody_is_in) {
    struct inspect_left left;
    CHECK_STATUS(inspect_left(&left, NULL, NULL), 0);
    CHECK_INT(left.topics, ==, 0);
    tarn_publisher *publisher = publisher_with();
    CHECK_STATUS(inspect_left(&left, NULL, NULL), 0);
    CHECK_INT(left.topics, ==, 0);
    CHECK_INT(left.segments, ==, 0);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);

    pid_t victim = fork();
    if (victim == 0) {
        publisher_with();
        _exit(0);
    }
    CHECK_INT(wait_child(victim, 5), ==, 0);
    CHECK_STATUS(inspect_left(&left, NULL, NULL), 0);
    CHECK_INT(left.topics, ==, 1);
    struct inspect_sweep sweep;
    CHECK_STATUS(inspect_sweep(&sweep, NULL, NULL), 0);
    CHECK_INT(sweep.topics_removed, ==, 1);
}
