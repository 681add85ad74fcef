/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A request and its response, one at a time. Where the peer has a table for calls, its client and server; else a
 * message there and one back, by two one-way channels, which is also what calls are compared with. In both, whoever
 * cares for time has memory for the next request before it is needed, and lets go of a response when the next request
 * is on its way.
 */
#include "run.h"

#define RESPONSE (UINT64_C(1) << 40) /* more than the request's seed */

static void serve_there(struct bench_pair *pair, void *arguments) {
    (void)pair, (void)arguments;
    void *server = own.receivers[0];
    bool more = true;
    for (uint64_t seed = 1; more; seed++) {
        const void *request;
        while ((request = run.peer->serve_take(server, run.there.sleeps)) == NULL) {
            bench_relax();
        }
        more = check(request, seed);
        bench_payload_write(run.peer->serve_loan(server), run.there.bytes, run.touch, more ? seed + RESPONSE : LAST);
        run.peer->serve_send(server);
    }
}

static void request(uint64_t seed) {
    void *client = own.senders[0];
    if (own.memory == NULL) {
        own.memory = run.peer->loan(client);
    }
    bench_payload_write(own.memory, run.there.bytes, run.touch, seed);
    run.peer->send(client);
    if (seed > 1) {
        run.peer->done(client);
    }
    own.memory = seed != LAST ? run.peer->loan(client) : NULL;
}

static void call(struct bench_pair *pair, bool warm_up) {
    bench_pair_begin(pair, serve_there, NULL, 0);
    uint64_t start = bench_ticks(), last = start;
    request(1);
    for (uint64_t seed = 1;; seed++) {
        check(take_some(own.senders[0]), seed + RESPONSE);
        uint64_t now = bench_ticks();
        if (!warm_up) {
            bench_samples_add(&samples, now - last);
        }
        last = now;
        if (is_over(warm_up, now - start, seed)) {
            break;
        }
        request(seed + 1);
    }
    request(LAST);
    check(take_some(own.senders[0]), LAST);
    run.peer->done(own.senders[0]);
    bench_pair_finish(pair, NULL, 0);
}

void measure_call(struct bench_pair *pair) {
    void (*go)(struct bench_pair * pair, bool warm_up) = run.peer->serve_take != NULL ? call : bounce;
    bench_samples_open(&samples, SAMPLES_MAX);
    open_ends(pair);
    go(pair, true);
    go(pair, false);
    print_times("round_trip", &samples, 1);
    close_ends(pair);
}
