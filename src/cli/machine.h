/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* What Linux tells about the machine, for `tarn bench` and `tarn doctor`. */
#ifndef TARN_CLI_MACHINE_H
#define TARN_CLI_MACHINE_H

#include "bench/common.h"

struct machine_cpu {
    int number;
    char package[16];    /* these are "" where Linux does not tell */
    char threads[256];   /* of its core, itself included: "0,4" */
    char cache[256];     /* the CPUs that share its largest cache: "0-7" */
    char governor[32];   /* of the clock */
    char driver[32];     /* of the clock */
    char idle_state[32]; /* the deepest that is on */
    double idle_exit_us; /* what it takes to leave that state */
};

struct machine {
    char model[128], kernel[80];
    char allowed[256]; /* CPUs that this process may use: "0-3,8" */
    int allowed_count;
    double clock_ghz;  /* as /proc/cpuinfo says. 0: it does not */
    double load;       /* of the last minute */
    double quota_cpus; /* cgroup v2: cpu.max. 0: no limit */
    bool is_virtual;   /* by a hypervisor's mark: a virtual machine */
    bool is_one_cpu;   /* the following two are the same */
    struct machine_cpu cpus[2];
};

/*
 * Two CPUs that this process may use: the first, and the nearest of another core. The same twice if there is one only.
 */
struct bench_cpus machine_cpus_choose(void);
/* Whether this process can run there; else the system's words are in ret_why. */
bool machine_cpu_usable(int cpu, const char **ret_why);
void machine_read(struct machine *machine, struct bench_cpus cpus);
bool machine_same_core(const struct machine *machine);
/* False only where Linux says that they share no cache, or are in different packages. */
bool machine_same_cache(const struct machine *machine);
bool machine_same_package(const struct machine *machine);

/* Seconds of CPU time. */
struct machine_use {
    int64_t at_ns;
    double busy_s, stolen_s; /* of the two CPUs together: by anybody, and by the host */
    double own_s;            /* of this process and its children that have ended */
    double throttled;        /* how often the cgroup was stopped for having used its quota */
};
struct machine_use machine_use_read(const struct machine *machine);
/* Whether frequency scaling keeps the clock low; then ret is a sentence that says how, and what to do. */
bool machine_is_slowed(char *ret, size_t size, const struct machine *machine);

/* cgroup v2: how much more memory this process' groups may have; limit 0: there is none. */
struct machine_memory {
    double limit_bytes, used_bytes; /* of the group that has least left */
};
struct machine_memory machine_memory_read(void);

/* The first line of a file that may be missing: then "". */
void machine_line(char *ret, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
