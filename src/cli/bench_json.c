/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* What `tarn bench` found, as one JSON object. What is not known or was not measured is null. */
#include <inttypes.h>

#include "cli/bench.h"
#include "tarn.h"

static void text(const char *name, const char *value) {
    output_print("\"%s\": ", name);
    if (value[0])
        format_json_string(value);
    else
        output_print("null");
}

static void known(const char *name, double value) {
    if (value > 0)
        output_print("\"%s\": %.6g", name, value);
    else
        output_print("\"%s\": null", name);
}

static void times(const struct bench_summary *times) {
    output_print("\"p50_ns\": %.1f, \"p99_ns\": %.1f, \"p99_9_ns\": %.1f, \"max_ns\": %.0f, \"mean_ns\": %.1f, "
                 "\"samples\": %zu",
                 times->p50, times->p99, times->p999, times->max, times->mean, times->count);
}

static void rounds(struct bench_floor floor, size_t kept, size_t thrown) {
    output_print(", \"standing_ns\": %.1f, \"walking_ns\": %.1f, \"rounds_kept\": %zu, \"rounds_thrown\": %zu",
                 floor.standing_ns, floor.walking_ns, kept, thrown);
}

/* Opens the list of a part, or says null. */
static bool list(const char *name, bool measured) {
    output_print(measured ? ",\n \"%s\": [" : ",\n \"%s\": null", name);
    return measured;
}

static void row(size_t index) {
    output_print(index ? ",\n  {" : "\n  {");
}

/* ---- the machine ---------------------------------------------------------------------------------------------- */

static void print_cpu(const struct machine_cpu *cpu) {
    output_print("\"cpu\": %d, ", cpu->number);
    text("package", cpu->package);
    output_print(", ");
    text("core_cpus", cpu->threads);
    output_print(", ");
    text("cache_cpus", cpu->cache);
    output_print(", ");
    text("governor", cpu->governor);
    output_print(", ");
    text("frequency_driver", cpu->driver);
    output_print(", ");
    text("idle_state", cpu->idle_state);
    output_print(", ");
    known("idle_exit_us", cpu->idle_exit_us);
    output_print("}");
}

static void print_machine(const struct results *results) {
    const struct machine *machine = &results->machine;
    output_print(",\n \"machine\": {");
    text("cpu_model", machine->model);
    output_print(", ");
    text("kernel", machine->kernel);
    output_print(", \"virtual\": %s, ", machine->is_virtual ? "true" : "false");
    known("clock_ghz", machine->clock_ghz);
    output_print(",\n  \"allowed_cpus\": \"%s\", ", machine->allowed);
    known("quota_cpus", machine->quota_cpus);
    output_print(", \"load_1min\": %.2f, \"others_share\": %.3f, \"stolen_share\": %.3f, \"throttled\": %.0f}",
                 machine->load, results->others_share > 0 ? results->others_share : 0, results->stolen_share,
                 results->throttled);
    output_print(",\n \"cpus\": [");
    for (size_t i = 0; i < 2; i++) {
        row(i);
        print_cpu(&machine->cpus[i]);
    }
    output_print("]");
}

static void print_floors(const struct floors *floors) {
    const struct bench_floor *low = &floors->low, *high = &floors->high;
    if (!floors->count) {
        output_print(",\n \"floors\": null");
        return;
    }
    output_print(",\n \"floors\": {\"measured\": %zu, \"standing_p10_ns\": %.1f, \"standing_p90_ns\": %.1f, "
                 "\"walking_p10_ns\": %.1f, \"walking_p90_ns\": %.1f,\n"
                 "  \"additions_p10_per_ns\": %.2f, \"additions_p90_per_ns\": %.2f}",
                 floors->count, low->standing_ns, high->standing_ns, low->walking_ns, high->walking_ns,
                 low->speed_per_ns, high->speed_per_ns);
}

/* ---- parts ---------------------------------------------------------------------------------------------------- */

static void print_latency(const struct results *results, bool measured) {
    if (!list("latency", measured))
        return;
    for (size_t i = 0; i < LATENCY_SIZES; i++) {
        const struct latency_row *it = &results->latency[i];
        row(i);
        output_print("\"bytes\": %" PRIu64 ", ", it->bytes);
        times(&it->times);
        rounds(it->floor, it->kept, it->thrown);
        output_print(", \"to_walking\": %.3f}", it->to_walking);
    }
    output_print("]");
}

static void print_stream(const struct results *results, bool measured) {
    if (!list("stream", measured))
        return;
    for (size_t i = 0; i < STREAM_SIZES; i++) {
        const struct stream_row *it = &results->stream[i];
        row(i);
        output_print("\"bytes\": %" PRIu64 ", \"messages_per_s\": %.0f, \"bytes_per_s\": %.0f", it->bytes, it->per_s,
                     it->per_s * (double)it->bytes);
        rounds(it->floor, it->kept, it->thrown);
        output_print("}");
    }
    output_print("]");
}

static void print_fanout(const struct results *results, bool measured) {
    if (!list("fanout", measured))
        return;
    for (size_t i = 0; i < FANOUT_COUNTS; i++) {
        const struct fanout_row *it = &results->fanout[i];
        row(i);
        output_print("\"subscribers\": %" PRIu64 ", \"p50_ns\": %.1f, \"p99_ns\": %.1f, \"mean_ns\": %.1f, ",
                     it->subscribers, it->costs.many.p50, it->costs.many.p99, it->costs.many.mean);
        output_print("\"samples\": %zu, \"one_p50_ns\": %.1f, \"one_p99_ns\": %.1f, \"one_mean_ns\": %.1f}",
                     it->costs.messages, it->costs.one.p50, it->costs.one.p99, it->costs.one.mean);
    }
    output_print("]");
}

static void print_wakeup(const struct results *results, bool measured) {
    static const char *const names[BENCH_SLEEP_KINDS] = {"futex", "receive", "fifo", "fd"};
    if (!list("wakeup", measured))
        return;
    for (size_t i = 0; i < BENCH_SLEEP_KINDS; i++) {
        row(i);
        output_print("\"asleep_in\": \"%s\", ", names[i]);
        times(&results->wakeup[i]);
        output_print("}");
    }
    output_print("]");
}

static void print_asleep(const struct results *results, bool measured) {
    if (!list("asleep", measured))
        return;
    for (size_t i = 0; i < ASLEEP_SIZES; i++) {
        const struct asleep_row *it = &results->asleep[i];
        row(i);
        output_print("\"bytes\": %" PRIu64 ", ", it->bytes);
        times(&it->tarn);
        output_print(", \"pipe_p50_ns\": %.1f, \"pipe_p99_ns\": %.1f}", it->pipe.p50, it->pipe.p99);
    }
    output_print("]");
}

void bench_json_print(const struct results *results, const struct verdict *verdict) {
    bool one = results->machine.is_one_cpu;
    output_print("{\"version\": \"%s\", \"took_s\": %.2f", tarn_version(), results->took_s);
    print_machine(results);
    print_floors(&results->floors);
    print_latency(results, !one && results->parts[PART_LATENCY]);
    print_stream(results, !one && results->parts[PART_STREAM]);
    print_fanout(results, !one && results->parts[PART_FANOUT]);
    print_wakeup(results, !one && results->parts[PART_WAKEUP]);
    print_asleep(results, one);
    output_print(",\n \"verdict\": [");
    for (size_t i = 0; i < verdict->count; i++) {
        row(i);
        text("name", verdict->sentences[i].name);
        output_print(", ");
        text("text", verdict->sentences[i].text);
        output_print("}");
    }
    output_print("]}\n");
}
