/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * guard_paths PATH WARM_UP MESSAGES: sends and takes so many messages along one of the main paths, and then so many
 * more, for "run" (beside this file) to count what the library's calls cost, under valgrind. Alone it shows nothing but
 * that the path works.
 *
 *   instructions   run counts those of calls that are made from here: of this program's own only its clock
 *   lines          a store to one of the marks begins and ends each call. What else is touched in between that is not
 *                  the library's is the user's: message, loan, data to publish, and where on the stack it calls from
 *
 * Publisher and subscribers are in one process, but each side has the publisher's segments at addresses of its own.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tarn.h"

#define LINE_BYTES 64
#define SUBSCRIBERS_MAX 16
#define DATA_BYTES 64
#define MANY 32
#define CALL_NS 1000000000

enum send { SEND_NOTHING, SEND_PUBLISH, SEND_LOAN, SEND_REQUEST, SEND_CALL };
enum take { TAKE_MESSAGE, TAKE_UNMARKED, TAKE_NOTHING, TAKE_RECEIVE, TAKE_REQUEST, TAKE_MANY };

static const struct path {
    const char *name;
    size_t bytes;
    uint64_t batch; /* so many are sent before any is taken */
    int subscribers;
    enum send send;
    enum take take;
} paths[] = {
    {"publish-8", 8, 1, 1, SEND_PUBLISH, TAKE_MESSAGE},  {"publish-64", 64, 1, 1, SEND_PUBLISH, TAKE_MESSAGE},
    {"loan-64", 64, 1, 1, SEND_LOAN, TAKE_MESSAGE},      {"loan-64K", 64 << 10, 1, 1, SEND_LOAN, TAKE_MESSAGE},
    {"loan-1M", 1 << 20, 1, 1, SEND_LOAN, TAKE_MESSAGE}, {"fanout-16", 8, 64, 16, SEND_PUBLISH, TAKE_UNMARKED},
    {"empty", 0, 1, 1, SEND_NOTHING, TAKE_NOTHING},      {"receive-8", 8, 1, 1, SEND_PUBLISH, TAKE_RECEIVE},
    {"call-8", 8, 1, 0, SEND_REQUEST, TAKE_REQUEST},     {"one-call-8", 8, 1, 0, SEND_CALL, TAKE_REQUEST},
    {"many-8", 8, MANY, 1, SEND_PUBLISH, TAKE_MANY},
};

/*
 * The clock, for the library too. It nearly stands still, or what the library does once a second would be done in one
 * run and not in another.
 */
int clock_gettime(clockid_t clock, struct timespec *ret) {
    static long now_ns;
    (void)clock;
    *ret = (struct timespec){1, ++now_ns % 1000000000};
    return 0;
}

/* ---- marks ---------------------------------------------------------------------------------------------------- */

enum mark { SEND_BEGINS, SEND_ENDS, TAKE_BEGINS, TAKE_ENDS };
static _Alignas(LINE_BYTES) volatile char marks[LINE_BYTES];

static inline void mark(enum mark which) {
    __asm__ volatile("" ::: "memory");
    marks[which] = 1;
    __asm__ volatile("" ::: "memory");
}

/* An argument that is to be in a register before a side begins, not to be fetched from the stack then. */
#define READY(value) __asm__ volatile("" : "+r"(value))

static void tell_where_what_is(void) {
    printf("marks %" PRIxPTR "\n", (uintptr_t)marks);
    FILE *maps = fopen("/proc/self/maps", "re");
    for (char line[4352]; maps && fgets(line, sizeof(line), maps);)
        printf("map %s", line);
    if (maps)
        fclose(maps);
}

/* ---- the two sides of a message ------------------------------------------------------------------------------- */

static inline void expect(int result, int expected) {
    if (result != expected) {
        fprintf(stderr, "guard_paths: %d instead of %d: %s\n", result, expected, tarn_error());
        exit(EXIT_FAILURE);
    }
}

static inline void publish_one(tarn_publisher *publisher, const void *data, size_t bytes) {
    READY(publisher);
    READY(data);
    READY(bytes);
    mark(SEND_BEGINS);
    int result = tarn_publisher_publish(publisher, data, bytes);
    mark(SEND_ENDS);
    expect(result, 1);
}

static inline void loan_one(tarn_publisher *publisher, size_t bytes, tarn_loan *loan) {
    READY(publisher);
    READY(bytes);
    READY(loan);
    mark(SEND_BEGINS);
    int result = tarn_publisher_loan(publisher, bytes, loan);
    mark(SEND_ENDS);
    expect(result, 1);
    memcpy(loan->data, &bytes, sizeof(bytes));
    READY(loan);
    mark(SEND_BEGINS);
    result = tarn_loan_send(loan);
    mark(SEND_ENDS);
    expect(result, 1);
}

static inline int take_marked(tarn_subscriber *subscriber, enum take take, tarn_message *message) {
    int result;
    READY(subscriber);
    READY(message);
    if (take == TAKE_RECEIVE) {
        mark(TAKE_BEGINS);
        result = tarn_subscriber_receive(subscriber, message, 0);
    } else {
        mark(TAKE_BEGINS);
        result = tarn_subscriber_take(subscriber, message);
    }
    mark(TAKE_ENDS);
    return result;
}

static inline void release_marked(tarn_message *message) {
    READY(message);
    mark(TAKE_BEGINS);
    int result = tarn_message_release(message);
    mark(TAKE_ENDS);
    expect(result, 0);
}

static inline void take_one(tarn_subscriber *subscriber, enum take take, tarn_message *message) {
    switch (take) {
    case TAKE_UNMARKED:
        expect(tarn_subscriber_take(subscriber, message), 1);
        expect(tarn_message_release(message), 0);
        return;
    case TAKE_NOTHING:
        expect(take_marked(subscriber, take, message), 0);
        return;
    case TAKE_MESSAGE:
    case TAKE_RECEIVE:
        expect(take_marked(subscriber, take, message), 1);
        release_marked(message);
        return;
    case TAKE_REQUEST:
    case TAKE_MANY:
        return;
    }
}

/* Only what is done for each message is marked: releasing it. */
static inline void take_many(tarn_subscriber *subscriber, tarn_message messages[MANY]) {
    expect(tarn_subscriber_take_many(subscriber, messages, MANY), MANY);
    for (int i = 0; i < MANY; i++)
        release_marked(&messages[i]);
}

/* A request and its answer: what the client does is the sending, what the server does the taking. */
static inline void call_one(tarn_client *client, tarn_server *server, const void *data, size_t bytes,
                            tarn_request *request, tarn_message *message) {
    READY(client);
    READY(server);
    READY(data);
    READY(bytes);
    READY(request);
    READY(message);
    mark(SEND_BEGINS);
    int result = tarn_client_send(client, data, bytes, NULL);
    mark(SEND_ENDS);
    expect(result, 1);
    mark(TAKE_BEGINS);
    result = tarn_server_receive(server, request, 0);
    mark(TAKE_ENDS);
    expect(result, 1);
    mark(TAKE_BEGINS);
    result = tarn_request_reply(request, data, bytes);
    mark(TAKE_ENDS);
    expect(result, 1);
    mark(SEND_BEGINS);
    result = tarn_client_receive(client, message, 0);
    mark(SEND_ENDS);
    expect(result, 1);
    mark(SEND_BEGINS);
    result = tarn_message_release(message);
    mark(SEND_ENDS);
    expect(result, 0);
}

/*
 * Answers the client's last request, and says that it was the next, which the client will give the next number: in the
 * word before the data (see layout.h), which is changed when it was sent. So a call of this one thread finds its answer
 * there.
 */
static __attribute__((noinline)) void uncounted_answer(tarn_server *server, tarn_request *request, const void *data,
                                                       size_t bytes) {
    tarn_loan loan;
    expect(tarn_server_receive(server, request, 0), 1);
    expect(tarn_request_loan(request, bytes, 1, &loan), 1);
    memcpy(loan.data, data, bytes);
    uint64_t *word = (uint64_t *)loan.data - 1;
    expect(tarn_loan_send(&loan), 1);
    ++*word;
}

/* What the client does: the call is the sending, the release the taking. */
static inline void call_at_once(tarn_client *client, const void *data, size_t bytes, tarn_message *message) {
    READY(client);
    READY(data);
    READY(bytes);
    READY(message);
    mark(SEND_BEGINS);
    int result = tarn_client_call(client, data, bytes, message, CALL_NS);
    mark(SEND_ENDS);
    expect(result, 1);
    release_marked(message);
}

/* Where callgrind starts to count. */
static __attribute__((noinline)) void is_warm(void) {
    __asm__ volatile("" ::: "memory");
}

static void run(const struct path *path, uint64_t warm_up, uint64_t messages, tarn_publisher *publisher,
                tarn_subscriber **subscribers) {
    /* aligned, and so is the stack from here on, wherever it starts in this run */
    _Alignas(LINE_BYTES) tarn_message message = {0}, taken[MANY] = {{0}};
    _Alignas(LINE_BYTES) tarn_loan loan = {0};
    _Alignas(LINE_BYTES) char data[DATA_BYTES] = "data";
    for (uint64_t done = 0; done < warm_up + messages; done += path->batch) {
        if (done == warm_up)
            is_warm();
        for (uint64_t i = 0; i < path->batch && path->send == SEND_PUBLISH; i++)
            publish_one(publisher, data, path->bytes);
        for (uint64_t i = 0; i < path->batch && path->send == SEND_LOAN; i++)
            loan_one(publisher, path->bytes, &loan);
        for (int k = 0; k < path->subscribers; k++)
            for (uint64_t i = 0; i < path->batch && path->take != TAKE_MANY; i++)
                take_one(subscribers[k], path->take, &message);
        if (path->take == TAKE_MANY)
            take_many(subscribers[0], taken);
    }
}

static void run_calls(const struct path *path, uint64_t warm_up, uint64_t calls, tarn_client *client,
                      tarn_server *server) {
    _Alignas(LINE_BYTES) tarn_message message = {0};
    _Alignas(LINE_BYTES) tarn_request request = {0};
    _Alignas(LINE_BYTES) char data[DATA_BYTES] = "data";
    for (uint64_t done = 0; done < warm_up + calls; done++) {
        if (done == warm_up)
            is_warm();
        call_one(client, server, data, path->bytes, &request, &message);
    }
}

static void run_calls_at_once(const struct path *path, uint64_t warm_up, uint64_t calls, tarn_client *client,
                              tarn_server *server) {
    _Alignas(LINE_BYTES) tarn_message message = {0};
    _Alignas(LINE_BYTES) tarn_request request = {0};
    _Alignas(LINE_BYTES) char data[DATA_BYTES] = "data";
    expect(tarn_client_call(client, data, path->bytes, &message, 0),
           0); /* in vain: what answers it is the next one's */
    for (uint64_t done = 0; done < warm_up + calls; done++) {
        if (done == warm_up)
            is_warm();
        uncounted_answer(server, &request, data, path->bytes);
        call_at_once(client, data, path->bytes, &message);
    }
}

/* ---- the program ---------------------------------------------------------------------------------------------- */

static const struct path *find_path(const char *name) {
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        if (strcmp(paths[i].name, name) == 0)
            return &paths[i];
    return NULL;
}

/* what would else be the machine's memory and caches */
#define LIMIT_BYTES (64 << 20)

static void guard_messages(const struct path *path, uint64_t warm_up, uint64_t messages) {
    tarn_publisher_options sends = {.struct_bytes = sizeof(sends),
                                    .memory_limit_bytes = LIMIT_BYTES,
                                    .rotation_bytes = 4 << 20,
                                    .linger_ns = TARN_IMMEDIATELY};
    tarn_subscriber_options takes = {.struct_bytes = sizeof(takes), .reliable = 1};
    tarn_publisher *publisher;
    tarn_subscriber *subscribers[SUBSCRIBERS_MAX];
    expect(tarn_publisher_open(&publisher, "guard", &sends), 0);
    for (int i = 0; i < path->subscribers; i++)
        expect(tarn_subscriber_open(&subscribers[i], "guard", &takes), 0);
    run(path, warm_up, messages, publisher, subscribers);
    tell_where_what_is();
    for (int i = 0; i < path->subscribers; i++)
        tarn_subscriber_close(subscribers[i]);
    tarn_publisher_close(publisher);
}

static void guard_calls(const struct path *path, uint64_t warm_up, uint64_t calls) {
    tarn_client_options asks = {.struct_bytes = sizeof(asks), .memory_limit_bytes = LIMIT_BYTES};
    tarn_server_options answers = {.struct_bytes = sizeof(answers), .memory_limit_bytes = LIMIT_BYTES};
    tarn_client *client;
    tarn_server *server;
    expect(tarn_server_open(&server, "guard", &answers), 0);
    expect(tarn_client_open(&client, "guard", &asks), 0);
    (path->send == SEND_CALL ? run_calls_at_once : run_calls)(path, warm_up, calls, client, server);
    tell_where_what_is();
    tarn_client_close(client);
    tarn_server_close(server);
}

int main(int argc, char **argv) {
    const struct path *path = argc == 4 ? find_path(argv[1]) : NULL;
    if (!path) {
        fprintf(stderr, "usage: guard_paths PATH WARM_UP MESSAGES\n");
        return 2;
    }
    if (tarn_process_register() != 1) {
        printf("guard_paths: this kernel has no membarrier for us, and with fences the figures are others\n");
        return 77;
    }
    uint64_t warm_up = strtoull(argv[2], NULL, 10), messages = strtoull(argv[3], NULL, 10);
    if (path->take == TAKE_REQUEST)
        guard_calls(path, warm_up, messages);
    else
        guard_messages(path, warm_up, messages);
    return 0;
}
