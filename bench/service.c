/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * How long a request of 8 bytes and its answer take, beside two one-way messages of 8 bytes: the round trip of publish
 * and subscribe. Both sides spin. Rounds of the one and the other alternate, each of some milliseconds; the ratio is
 * the median of the ratios of neighbours, so that a host that moves its CPUs changes times, but not the ratio.
 */
#include "common.h"

#include "tarn.h"

#include <inttypes.h>
#include <stdio.h>

#define ROUNDS_MAX 1000
#define SAMPLES_PER_ROUND 200000
#define ANSWER_NS (10LL * 1000 * 1000 * 1000)
#define MARK_RATIO 1.2
#define LAST_ROUND UINT64_MAX

static tarn_client *client;
static tarn_server *server;

static void open_there(struct bench_pair *pair, void *arguments) {
    (void)pair, (void)arguments;
    tarn_server_options how = {.struct_bytes = sizeof(how), .wait_strategy = TARN_WAIT_SPIN};
    bench_expect(tarn_server_open(&server, "bench/call", &how), 0, "cannot open the server");
}

static void close_there(struct bench_pair *pair, void *arguments) {
    (void)pair, (void)arguments;
    bench_expect(tarn_server_close(server), 0, "the client has not all answers");
}

static void answer_there(struct bench_pair *pair, void *arguments) {
    (void)pair, (void)arguments;
    for (uint64_t word = 0; word != LAST_ROUND;) {
        tarn_request request;
        bench_expect(tarn_server_receive(server, &request, ANSWER_NS), 1, "no request within 10 s");
        word = *(const uint64_t *)request.data;
        bench_expect(tarn_request_reply(&request, &word, sizeof(word)), 1, "cannot reply");
    }
}

/* Returns the time, in ticks, from before the call until the answer was read. */
static uint64_t call_once(uint64_t word) {
    tarn_message message;
    uint64_t start = bench_ticks();
    bench_expect(tarn_client_call(client, &word, sizeof(word), &message, ANSWER_NS), 1, "no answer within 10 s");
    if (message.bytes != sizeof(word) || *(const uint64_t *)message.data != word)
        bench_fail("the answer is another's");
    uint64_t end = bench_ticks();
    bench_expect(tarn_message_release(&message), 0, "cannot release");
    return end - start;
}

static void run_calls(struct bench_pair *pair, int64_t duration_ns, struct bench_samples *samples) {
    bench_pair_begin(pair, answer_there, NULL, 0);
    uint64_t limit = (uint64_t)((double)duration_ns / bench_ns_per_tick()), start = bench_ticks();
    for (uint64_t word = 0; bench_ticks() - start < limit; word++)
        bench_samples_add(samples, call_once(word));
    call_once(LAST_ROUND);
    bench_pair_finish(pair, NULL, 0);
}

static void open_client(struct bench_pair *pair) {
    bench_pair_begin(pair, open_there, NULL, 0);
    bench_pair_finish(pair, NULL, 0);
    tarn_client_options how = {.struct_bytes = sizeof(how), .wait_strategy = TARN_WAIT_SPIN};
    bench_expect(tarn_client_open(&client, "bench/call", &how), 0, "cannot open the client");
}

static double p50_of(struct bench_samples *samples) {
    return bench_samples_summary(samples, 1).p50;
}

static void measure(struct bench_pair *pair, size_t rounds, int64_t round_ns, struct bench_report *report) {
    static double calls[ROUNDS_MAX], trips[ROUNDS_MAX], ratios[ROUNDS_MAX];
    struct bench_samples samples;
    struct bench_pingpong messages = {
        .bytes = 8, .touch = BENCH_TOUCH_LINE, .wait_strategy = TARN_WAIT_SPIN, .publish = true};
    bench_samples_open(&samples, SAMPLES_PER_ROUND);
    bench_pingpong_open(pair, &messages);
    open_client(pair);
    run_calls(pair, 20 * round_ns, &samples); /* memory has been through every place then */
    for (size_t i = 0; i < rounds; i++) {
        samples.count = 0;
        bench_pingpong_run(pair, UINT64_MAX, round_ns, &samples);
        trips[i] = p50_of(&samples);
        samples.count = 0;
        run_calls(pair, round_ns, &samples);
        calls[i] = p50_of(&samples);
        ratios[i] = calls[i] / trips[i];
    }
    double trip = bench_median(trips, rounds), call = bench_median(calls, rounds), ratio = bench_median(ratios, rounds);
    printf("round trip of 8 bytes by publish and subscribe %.0f ns, by call and reply %.0f ns: %.2f times\n", trip,
           call, ratio);
    bench_report_row(report, "call", "bytes", 8.0, "messages_ns", trip, "call_ns", call, "ratio", ratio, NULL);
    bench_report_mark(report, "call and reply / two messages, 8 B", ratio, true, MARK_RATIO, "");
    bench_pair_begin(pair, close_there, NULL, 0);
    bench_pair_finish(pair, NULL, 0);
    bench_expect(tarn_client_close(client), 0, "cannot close");
    bench_pingpong_close(pair);
    bench_samples_close(&samples);
}

int main(int argc, char **argv) {
    const char *rounds = "20", *milliseconds = "10", *cpus_text = NULL, *json = NULL, *marks = NULL;
    const struct bench_option options[] = {
        {"--rounds", "COUNT", "rounds of each (20)", &rounds},
        {"--milliseconds", "COUNT", "length of a round (10)", &milliseconds},
        {"--cpus", "A,B", "the two CPUs to run on", &cpus_text},
        {"--json", "FILE", "write the results to FILE", &json},
        {"--marks", "FILE", "append the marks to FILE", &marks},
    };
    bench_options_parse(argc, argv, "time of a request and its answer between two processes", options,
                        BENCH_COUNT(options));
    double count = bench_parse_number(rounds);
    if (count < 1 || count > ROUNDS_MAX)
        bench_fail("--rounds is a number from 1 to %d", ROUNDS_MAX);
    struct bench_cpus cpus = bench_cpus_choose(cpus_text);
    bench_place_open();
    struct bench_report *report = bench_report_open("service", json, marks);
    struct bench_pair pair;
    bench_pair_start(&pair, cpus);
    measure(&pair, (size_t)count, (int64_t)(bench_parse_number(milliseconds) * 1e6), report);
    bench_pair_stop(&pair);
    bench_report_close(report);
    return 0;
}
