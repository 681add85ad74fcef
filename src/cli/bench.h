/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * What the files of `tarn bench` share. It measures by bench/common_*.c, as the programs of bench/ do.
 *
 *   bench.c          options, measuring, tables     machine.c     what Linux tells about the CPUs, and who used them
 *   bench_json.c     the same as JSON               verdict.c     what limits the figures, in sentences
 */
#ifndef TARN_CLI_BENCH_H
#define TARN_CLI_BENCH_H

#include "bench/common.h"
#include "cli/cli.h"

/* ---- machine.c ------------------------------------------------------------------------------------------------ */

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

/* Two CPUs that this process may use: the first, and the nearest of another core. The same twice if there is one only. */
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

/* ---- bench.c -------------------------------------------------------------------------------------------------- */

enum { LATENCY_SIZES = 5, STREAM_SIZES = 2, FANOUT_COUNTS = 3, ASLEEP_SIZES = 4 };

enum part { PART_LATENCY, PART_STREAM, PART_FANOUT, PART_WAKEUP, PARTS };

struct latency_row {
    uint64_t bytes;
    struct bench_summary times;
    struct bench_floor floor;
    double to_walking;
    size_t kept, thrown; /* rounds, the latter because their floors differ. kept 0: one was taken nevertheless */
};

struct stream_row {
    uint64_t bytes;
    double per_s;
    struct bench_floor floor;
    size_t kept, thrown;
};

struct fanout_row {
    uint64_t subscribers;
    struct bench_crowd_costs costs;
};

/* Where there is one CPU only: both processes on it. */
struct asleep_row {
    uint64_t bytes;
    struct bench_summary tarn, pipe;
};

enum { FLOORS_MOST = 4000 };

/* All that were measured meanwhile; then, of each, what all but the lowest and the highest tenth are between. */
struct floors {
    double standing_ns[FLOORS_MOST], walking_ns[FLOORS_MOST], speed_per_ns[FLOORS_MOST];
    size_t count;
    struct bench_floor low, high;
};

struct results {
    bool parts[PARTS]; /* that were chosen */
    struct machine machine;
    struct latency_row latency[LATENCY_SIZES];
    struct stream_row stream[STREAM_SIZES];
    struct fanout_row fanout[FANOUT_COUNTS];
    struct bench_summary wakeup[BENCH_SLEEP_KINDS];
    struct asleep_row asleep[ASLEEP_SIZES];
    struct floors floors;
    double others_share, stolen_share; /* of the two CPUs' time: used by other processes, taken by the host */
    double throttled, took_s;
};

/* ---- verdict.c ------------------------------------------------------------------------------------------------ */

enum { VERDICT_SENTENCES = 16 };

struct verdict {
    size_t count;
    struct {
        const char *name; /* for programs: stays as it is */
        char text[640];
    } sentences[VERDICT_SENTENCES];
};
void verdict_make(struct verdict *verdict, const struct results *results);

/* ---- bench_json.c --------------------------------------------------------------------------------------------- */

void bench_json_print(const struct results *results, const struct verdict *verdict);

#endif
