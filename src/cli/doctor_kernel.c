/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* tarn doctor: what the kernel does for tarn, and the limits it sets to a process. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cli/doctor.h"

#define MIB (UINT64_C(1) << 20)
#define SEGMENT_LEAST (64 * MIB) /* kernel.shmmax: a publisher's segments grow to more, but do with that */
#define FILES_FEW 256u           /* descriptors */
#define FILES_LEAST 16u
#define FILES_OF_TOPIC 2u /* and three more where a descriptor to wait for is asked for */
#define ADDRESSES_FEW (1024 * MIB)
#define MEMORY_LEAST (64 * MIB)

/* ---- what it does --------------------------------------------------------------------------------------------- */

void look_at_kernel(struct finding *finding, const struct patient *patient) {
    struct utsname system;
    (void)patient;
    if (uname(&system) == 0)
        found(finding, STATE_OK, "%s %s on %s; what matters of it is tried below", system.sysname, system.release,
              system.machine);
    else
        found(finding, STATE_NOTE, "the system does not say what it is: %s", strerror(errno));
}

/* For what nothing works without. */
static void look_at_need(struct finding *finding, int error, const char *works, const char *lacks, const char *what) {
    if (error)
        found(finding, STATE_PROBLEM, "%s: %s", lacks, strerror(error));
    else
        found(finding, STATE_OK, "%s", works);
    if (error)
        advise(finding, "%s", what);
}

/* For what tarn makes do without. */
static void look_at_nicety(struct finding *finding, int error, const char *works, const char *lacks) {
    if (error)
        found(finding, STATE_NOTE, "the kernel, or a seccomp filter, refuses it (%s): %s", strerror(error), lacks);
    else
        found(finding, STATE_OK, "%s", works);
}

#define NEWER_KERNEL "a kernel from 4.14 on, and no seccomp filter that forbids it, is needed"

void look_at_segments(struct finding *finding, const struct patient *patient) {
    look_at_need(
        finding, patient->probe.segments, "System V shared memory: made, attached a second time read-only, freed",
        "System V shared memory does not work",
        patient->probe.segments == ENOSPC
            ? "see segment_limits: raise kernel.shmmni or kernel.shmall, or end what holds the segments (ipcs -m)"
            : "let the container's seccomp filter allow shmget, shmat and shmctl; the kernel needs CONFIG_SYSVIPC");
}

void look_at_locks(struct finding *finding, const struct patient *patient) {
    look_at_need(finding, patient->probe.locks, "open file description locks: set, seen, dropped",
                 "open file description locks do not work, by which tarn knows who lives", NEWER_KERNEL);
}

void look_at_fork(struct finding *finding, const struct patient *patient) {
    look_at_need(finding, patient->probe.wipe_on_fork, "a forked child notices that it is one (MADV_WIPEONFORK)",
                 "pages cannot be wiped on fork (MADV_WIPEONFORK)", NEWER_KERNEL);
}

void look_at_membarrier(struct finding *finding, const struct patient *patient) {
    look_at_nicety(finding, patient->probe.barrier, "membarrier: sending needs no fence where nobody sleeps",
                   "each small message costs a memory fence, some 20 ns");
}

void look_at_futex(struct finding *finding, const struct patient *patient) {
    look_at_nicety(finding, patient->probe.futex, "futex: who sleeps is woken at once",
                   "who sleeps looks once a millisecond, and is not woken");
}

void look_at_deaths(struct finding *finding, const struct patient *patient) {
    look_at_nicety(finding, patient->probe.pidfd, "pidfd_open: a zombie is known to be dead",
                   "a process that is dead, and whose parent has not asked for its exit code, seems to live where a "
                   "child of it keeps its lock");
}

void look_at_timeouts(struct finding *finding, const struct patient *patient) {
    look_at_nicety(finding, patient->probe.fine_timeout, "epoll_pwait2: waitsets wake up to the microsecond",
                   "time-outs of waitsets are rounded up to the millisecond");
}

/* ---- its limits ----------------------------------------------------------------------------------------------- */

/* Of all users together, in this IPC namespace. Near a limit the segments of which nobody has any use are counted. */
struct segment_use {
    struct shminfo limits;
    struct shm_info use;
    uint64_t unattached;
};

static bool read_segment_use(struct segment_use *ret) {
    struct shmid_ds state;
    *ret = (struct segment_use){.unattached = 0};
    int highest = shmctl(0, SHM_INFO, (struct shmid_ds *)&ret->use);
    if (shmctl(0, IPC_INFO, (struct shmid_ds *)&ret->limits) < 0 || highest < 0)
        return false;
    for (int index = 0; index <= highest; index++)
        ret->unattached += shmctl(index, SHM_STAT, &state) >= 0 && state.shm_nattch == 0;
    return true;
}

/* Which limit is the nearest, in percent of it. */
static double percent_used(const struct segment_use *segments, const char **ret_limit) {
    double count = 100.0 * segments->use.used_ids / (double)segments->limits.shmmni;
    double pages = 100.0 * (double)segments->use.shm_tot / (double)segments->limits.shmall;
    *ret_limit = count > pages ? "kernel.shmmni" : "kernel.shmall";
    return count > pages ? count : pages;
}

void look_at_segment_limits(struct finding *finding, const struct patient *patient) {
    struct segment_use segments;
    const char *limit;
    (void)patient;
    if (!read_segment_use(&segments)) {
        found(finding, STATE_NOTE, "the limits of System V shared memory cannot be read: %s", strerror(errno));
        return;
    }
    double percent = percent_used(&segments, &limit);
    enum state state = percent > 95 ? STATE_PROBLEM : percent > 75 ? STATE_NOTE : STATE_OK;
    found(finding, state,
          "%d of %lu segments in use (a topic has one, each publisher one or more), %.0f %% of %s; nobody attaches "
          "%" PRIu64,
          segments.use.used_ids, (unsigned long)segments.limits.shmmni, percent, limit, segments.unattached);
    if (state != STATE_OK)
        advise(finding, "sysctl -w %s=MORE, or end what holds them: ipcs -m -p lists all%s", limit,
               segments.unattached ? ", ipcrm -m removes those of programs that forgot theirs" : "");
    if (segments.limits.shmmax < SEGMENT_LEAST) {
        found(finding, STATE_PROBLEM, "kernel.shmmax allows segments of %s only, and messages that fit there",
              human_bytes(segments.limits.shmmax));
        advise(finding, "sysctl -w kernel.shmmax=18446744073692774399, the kernel's default");
    }
}

void look_at_files(struct finding *finding, const struct patient *patient) {
    struct rlimit limit;
    (void)patient;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        limit.rlim_cur = RLIM_INFINITY;
    if (limit.rlim_cur == RLIM_INFINITY) {
        found(finding, STATE_OK, "any number of open files");
        return;
    }
    found(finding,
          limit.rlim_cur < FILES_LEAST ? STATE_PROBLEM
          : limit.rlim_cur < FILES_FEW ? STATE_NOTE
                                       : STATE_OK,
          "%" PRIu64 " open files: a process can be in some %" PRIu64
          " topics (%u each, 5 with a descriptor to wait for)",
          (uint64_t)limit.rlim_cur, (uint64_t)limit.rlim_cur / FILES_OF_TOPIC, FILES_OF_TOPIC);
    if (finding->state != STATE_OK)
        advise(finding, "ulimit -n 1024, or LimitNOFILE=1024 in the service's unit");
}

void look_at_addresses(struct finding *finding, const struct patient *patient) {
    struct rlimit limit;
    (void)patient;
    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
        found(finding, STATE_OK, "any number of addresses");
        return;
    }
    found(finding, limit.rlim_cur < ADDRESSES_FEW ? STATE_NOTE : STATE_OK,
          "addresses for %s (RLIMIT_AS): all memory of all publishers that a process attaches has to fit",
          human_bytes(limit.rlim_cur));
    if (finding->state != STATE_OK)
        advise(finding, "ulimit -v unlimited; to bound memory, a cgroup's memory.max is the better means");
}

void look_at_locked_memory(struct finding *finding, const struct patient *patient) {
    struct rlimit limit;
    (void)patient;
    bool any = getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY;
    found(finding, STATE_OK, "%s may be locked; tarn locks none, but all that it attaches counts after mlockall",
          any ? "any memory" : human_bytes(limit.rlim_cur));
}

void look_at_memory(struct finding *finding, const struct patient *patient) {
    struct machine_memory memory = machine_memory_read();
    char most[32];
    snprintf(most, sizeof(most), "%s", human_bytes(patient->probe.memory_limit_bytes));
    if (memory.limit_bytes <= 0) {
        found(finding, STATE_OK, "no cgroup limit; a publisher takes %s at most, if its options do not say otherwise",
              most);
        return;
    }
    double left = memory.limit_bytes - memory.used_bytes;
    found(finding, left < (double)MEMORY_LEAST ? STATE_PROBLEM : STATE_OK,
          "%s left of what the cgroup allows (beyond that the kernel kills); a publisher takes %s at most by default",
          human_bytes(left > 0 ? (uint64_t)left : 0), most);
    if (finding->state != STATE_OK)
        advise(finding,
               "raise memory.max (systemd: MemoryMax=, containers: --memory), or give publishers a memory limit");
}
