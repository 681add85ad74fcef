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
#include "cli/machine.h"

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
