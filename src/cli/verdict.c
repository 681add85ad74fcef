/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * What limits the figures of `tarn bench`: each sentence says what was seen, what it means, and what to do. Only what
 * was seen is said; where there are several explanations, they are named as such.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/bench.h"

#define FAR_NS 100.0 /* a cache line between cores that share a cache needs 20 to 70 ns */
#define NEAR_WORDS "20 to 70 ns"
#define MOVED 1.5            /* floors, from one moment to another */
#define LIMITED_BY_LINE 1.25 /* of the walking floor */
#define SLOWED 0.7           /* of the speed in other moments */
#define PER_CYCLE_LEAST 2.6  /* additions: 4 on most cores, 2 where two threads share one */
#define SHARE_LEAST 0.03     /* of CPU time: less is accounting */
#define MANY_OTHERS 0.1      /* of CPU time: then speeds are low because they took turns */
#define SLOW_WAKE_NS 10000.0

static void add(struct verdict *verdict, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void add(struct verdict *verdict, const char *name, const char *format, ...) {
    va_list arguments;
    if (verdict->count == VERDICT_SENTENCES)
        return;
    verdict->sentences[verdict->count].name = name;
    va_start(arguments, format);
    vsnprintf(verdict->sentences[verdict->count++].text, sizeof(verdict->sentences[0].text), format, arguments);
    va_end(arguments);
}

/* ---- the figures themselves ----------------------------------------------------------------------------------- */

static void say_limit(struct verdict *verdict, const struct results *results) {
    const struct latency_row *row = &results->latency[0];
    char p50[32], walking[32];
    if (!results->parts[PART_LATENCY])
        return;
    bench_format_ns(p50, sizeof(p50), row->times.p50);
    bench_format_ns(walking, sizeof(walking), row->floor.walking_ns);
    if (row->to_walking <= LIMITED_BY_LINE)
        add(verdict, "limit",
            "A small message needs %s one way, %.2f times what a cache line needs (%s): the way between the CPUs is "
            "the "
            "limit, and tarn adds little to it.",
            p50, row->to_walking, walking);
    else
        add(verdict, "limit",
            "A small message needs %s one way, %.2f times what a cache line needs (%s): beside the way between the "
            "CPUs, "
            "what the CPUs compute for sending and receiving counts.",
            p50, row->to_walking, walking);
}

static void say_one_cpu(struct verdict *verdict, const struct results *results) {
    const struct machine *machine = &results->machine;
    char why[128];
    if (machine->allowed_count == 1)
        snprintf(why, sizeof(why), "Only CPU %d may be used (taskset, cgroup, or a machine with one)",
                 machine->cpus[0].number);
    else
        snprintf(why, sizeof(why), "Both processes ran on CPU %d, as --cpus says", machine->cpus[0].number);
    add(verdict, "one_cpu",
        "%s: sender and receiver take turns on it, so each message costs a change between processes. Spinning was not "
        "measured, nor stream and fanout: a receiver that spins keeps the CPU from the sender. In programs for such a "
        "machine let subscribers sleep at once (TARN_WAIT_SLEEP); for speed, give them two CPUs.",
        why);
}

/* ---- where the CPUs are --------------------------------------------------------------------------------------- */

static void say_same_core(struct verdict *verdict, const struct machine *machine) {
    if (machine_same_core(machine))
        add(verdict, "same_core",
            "CPUs %d and %d are two threads of one core (hyper-threads): they are as near as can be, and each is "
            "slowed by "
            "what the other does, by spinning, too. See 'lscpu -e' for other cores, and choose by --cpus.",
            machine->cpus[0].number, machine->cpus[1].number);
}

static const char *far_why(const struct machine *machine) {
    if (!machine_same_package(machine))
        return "they are in different sockets. Choose two of one socket by --cpus ('lscpu -e' lists them), and pin "
               "your "
               "programs alike";
    if (!machine_same_cache(machine))
        return "they share no cache. Choose two that do by --cpus ('lscpu -e' lists them), and pin your programs alike";
    if (machine->is_virtual)
        return "this is a virtual machine whose host runs them there, and may run them nearer in some minutes. Run it "
               "again, or have the host pin them";
    return "Linux does not tell why. Try others by --cpus";
}

static void say_far(struct verdict *verdict, const struct results *results) {
    const struct machine *machine = &results->machine;
    if (results->floors.low.walking_ns > FAR_NS)
        add(verdict, "far",
            "CPUs %d and %d are far apart: a cache line needs %.0f ns one way, between near ones " NEAR_WORDS
            ". The reason: %s.",
            machine->cpus[0].number, machine->cpus[1].number, results->floors.low.walking_ns, far_why(machine));
}

static void say_moved(struct verdict *verdict, const struct results *results) {
    double least_ns = results->floors.low.walking_ns, most_ns = results->floors.high.walking_ns;
    if (most_ns < least_ns * MOVED)
        return;
    if (results->machine.is_virtual)
        add(verdict, "moved",
            "This is a virtual machine whose host moves its CPUs: what a cache line needs changed between %.0f and "
            "%.0f ns "
            "while measuring. So times of different rows do not compare, and may be others the next time; ratios, "
            "taken in "
            "the same moments, do. Run it again for times.",
            least_ns, most_ns);
    else
        add(verdict, "moved",
            "What a cache line needs changed between %.0f and %.0f ns while measuring: other programs use the CPUs or "
            "the "
            "cache, or the clock changes. Times of different rows do not compare. Run it again when less is running.",
            least_ns, most_ns);
}

/* ---- how fast they are ---------------------------------------------------------------------------------------- */

static void say_slow(struct verdict *verdict, const struct results *results) {
    const struct machine *machine = &results->machine;
    double least = results->floors.low.speed_per_ns, most = results->floors.high.speed_per_ns;
    const char *who = machine->is_virtual ? "by whatever the host put there" : "by another program";
    if (machine_same_core(machine) || most <= 0)
        return;
    if (machine->clock_ghz > 0 && most < PER_CYCLE_LEAST * machine->clock_ghz)
        add(verdict, "half_speed",
            "A CPU ran at about half of its speed all the time (%.1f additions per ns, of some %.1f): probably the "
            "other "
            "thread of its core is used, %s. Run it again when less is running.",
            most, 4 * machine->clock_ghz, who);
    else if (least < SLOWED * most && results->others_share < MANY_OTHERS)
        add(verdict, "half_speed",
            "A CPU ran at %.0f %% of its speed at times (%.1f additions per ns, else %.1f): either the other thread of "
            "its "
            "core was used, %s, or the clock was lower. Figures of those moments are worse.",
            100 * least / most, least, most, who);
}

static void say_governor(struct verdict *verdict, const struct machine *machine) {
    char text[640];
    if (machine_is_slowed(text, sizeof(text), machine))
        add(verdict, "governor", "%s", text);
}

static void say_waking(struct verdict *verdict, const struct results *results) {
    const struct machine_cpu *sleeper = &results->machine.cpus[1];
    double futex_us = results->wakeup[BENCH_SLEEP_FUTEX].p50 / 1000;
    if (!results->parts[PART_WAKEUP] || futex_us * 1000 < SLOW_WAKE_NS)
        return;
    if (sleeper->idle_exit_us > 1 && !results->machine.is_virtual)
        add(verdict, "waking",
            "Waking is slow, %.0f us by a bare futex, because idle CPUs sleep deeply (cpuidle state %s, %.0f us to "
            "leave "
            "it). Subscribers that spin do not wait for that; 'cpupower idle-set -D 10' turns such states off.",
            futex_us, sleeper->idle_state, sleeper->idle_exit_us);
    else if (results->machine.is_virtual)
        add(verdict, "waking",
            "Waking is slow, %.0f us by a bare futex, as in most virtual machines: an idle CPU is given back to the "
            "host, "
            "which must run it again. Let subscribers spin (TARN_WAIT_SPIN) where every microsecond counts.",
            futex_us);
    else
        add(verdict, "waking",
            "Waking is slow, %.0f us by a bare futex, and Linux does not tell why. Let subscribers spin "
            "(TARN_WAIT_SPIN) "
            "where every microsecond counts.",
            futex_us);
}

/* ---- who else uses them --------------------------------------------------------------------------------------- */

static void say_others(struct verdict *verdict, const struct results *results) {
    const struct machine *machine = &results->machine;
    if (results->others_share > SHARE_LEAST)
        add(verdict, "others",
            "Other processes used %.0f %% of the time of %s meanwhile (load of the last minute: %.1f). Figures, "
            "p99 and "
            "more above all, are worse for it. Run it again when less is running, or choose idle CPUs by --cpus.",
            100 * results->others_share, machine->is_one_cpu ? "this CPU" : "these CPUs", machine->load);
    if (results->stolen_share > SHARE_LEAST)
        add(verdict, "stolen",
            "The host took %.0f %% of the CPUs' time for others (steal time). Figures, p99 and more above all, are "
            "worse "
            "for it.",
            100 * results->stolen_share);
    if (machine->quota_cpus > 0 && (machine->quota_cpus < 2 || results->throttled > 0))
        add(verdict, "quota",
            "This container may use %.2g CPUs' time (cgroup cpu.max) and was stopped %.0f times while measuring. Two "
            "processes that spin use two CPUs: raise the limit, or let subscribers sleep.",
            machine->quota_cpus, results->throttled);
}

static void say_unsteady(struct verdict *verdict, const struct results *results) {
    bool any = false;
    for (size_t i = 0; i < LATENCY_SIZES; i++)
        any |= results->parts[PART_LATENCY] && !results->latency[i].kept;
    for (size_t i = 0; i < STREAM_SIZES; i++)
        any |= results->parts[PART_STREAM] && !results->stream[i].kept;
    if (any)
        add(verdict, "unsteady",
            "Rows with ! are worth little: what a cache line needs changed by more than 20 %% in each of their "
            "moments. A "
            "longer run (--seconds 20) finds more of them.");
}

void verdict_make(struct verdict *verdict, const struct results *results) {
    verdict->count = 0;
    if (results->machine.is_one_cpu) {
        say_one_cpu(verdict, results);
        say_others(verdict, results);
        say_governor(verdict, &results->machine);
        return;
    }
    say_limit(verdict, results);
    size_t so_far = verdict->count;
    say_others(verdict, results);
    say_same_core(verdict, &results->machine);
    say_far(verdict, results);
    say_moved(verdict, results);
    say_unsteady(verdict, results);
    say_slow(verdict, results);
    say_waking(verdict, results);
    say_governor(verdict, &results->machine);
    if (verdict->count == so_far)
        add(verdict, "clean", "Nothing was seen that disturbs the figures.");
}
