/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * "WHAT A CALL MAY DO", the table in tarn.h: allocations, page faults and system calls per call.
 *
 *   allocations    this program has a malloc of its own, which counts and hands on to the C library's
 *   page faults    getrusage before and after
 *   system calls   the calls run in a child that its parent traces; a call with an impossible number marks where a
 *                  measured stretch begins and ends. Reading the clock is not counted: it is none where the vDSO can
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"

/* ---- allocations ---------------------------------------------------------------------------------------------- */

static long allocations;

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define COUNTS_ALLOCATIONS 1
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *old, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);

void *malloc(size_t bytes) {
    allocations++;
    return __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes) {
    allocations++;
    return __libc_calloc(count, bytes);
}

void *realloc(void *old, size_t bytes) {
    allocations++;
    return __libc_realloc(old, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes) {
    allocations++;
    return __libc_memalign(alignment, bytes);
}
#else
#define COUNTS_ALLOCATIONS 0
#endif

/* ---- page faults ---------------------------------------------------------------------------------------------- */

static long faults_now(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt + usage.ru_majflt;
}

/* ---- system calls --------------------------------------------------------------------------------------------- */

#define MARK 0x7a26 /* no system call has this number */

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define COUNTS_CALLS 1
#include <sys/user.h>

static long call_number(pid_t pid) {
    struct user_regs_struct registers;
    CHECK_INT(ptrace(PTRACE_GETREGS, pid, NULL, &registers), ==, 0);
    return (long)registers.orig_rax;
}

/* Runs to the child's next stop at a system call; false: it has ended, well. */
static bool run_to_call(pid_t pid, int signal) {
    int status;
    for (;; signal = WSTOPSIG(status)) {
        CHECK_INT(ptrace(PTRACE_SYSCALL, pid, NULL, signal), ==, 0);
        CHECK_INT(waitpid(pid, &status, 0), ==, pid);
        if (WIFEXITED(status)) {
            CHECK_INT(WEXITSTATUS(status), ==, 0);
            return false;
        }
        if (WIFSIGNALED(status))
            FAIL("the traced child was killed by signal %d", WTERMSIG(status));
        if (WSTOPSIG(status) == (SIGTRAP | 0x80))
            return true;
    }
}

/* The system calls of each marked stretch: how many, and one of them. */
struct stretch {
    int count;
    long number;
};

static int trace(pid_t pid, struct stretch *ret, int most) {
    int status, stretches = 0;
    bool inside = false;
    CHECK_INT(waitpid(pid, &status, 0), ==, pid);
    CHECK(WIFSTOPPED(status));
    CHECK_INT(ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL), ==, 0);
    while (run_to_call(pid, 0)) { /* stops at entry, then at exit */
        long number = call_number(pid);
        if (number == MARK) {
            inside = !inside;
            if (inside)
                ret[stretches] = (struct stretch){0, 0};
            else if (++stretches == most)
                inside = false;
        } else if (inside && number != SYS_clock_gettime) {
            ret[stretches].count++;
            ret[stretches].number = number;
        }
        if (!run_to_call(pid, 0))
            break;
    }
    return stretches;
}
#else
#define COUNTS_CALLS 0
#endif

static bool is_traced;

static void mark(void) {
    if (is_traced)
        syscall(MARK);
}

/* ---- what is measured ----------------------------------------------------------------------------------------- */

#define BATCH 32

enum call {
    PUBLISH,
    TAKE,
    TAKE_MANY,
    RELEASE,
    LOAN,
    SEND,
    DROP,
    WAIT,
    RECEIVE,
    INTERRUPT,
    NOTIFY,
    HEAR,
    PUSH,
    LEND,
    TAKE_JOB,
    ACKNOWLEDGE,
    GIVE_BACK,
    REJECT,
    SET,
    GET,
    TAKE_VALUE,
    CALLS
};
static const char *const names[CALLS] = {
    [PUBLISH] = "publish",
    [TAKE] = "take",
    [TAKE_MANY] = "take many",
    [RELEASE] = "release",
    [LOAN] = "loan",
    [SEND] = "send",
    [DROP] = "drop",
    [WAIT] = "wait(0)",
    [RECEIVE] = "receive",
    [INTERRUPT] = "interrupt",
    [NOTIFY] = "notify",
    [HEAR] = "take event",
    [PUSH] = "push",
    [LEND] = "lend",
    [TAKE_JOB] = "take of a job",
    [ACKNOWLEDGE] = "acknowledge",
    [GIVE_BACK] = "give back",
    [REJECT] = "reject",
    [SET] = "set",
    [GET] = "get",
    [TAKE_VALUE] = "take a value",
};

struct measured {
    long allocations, faults;
};

static struct fixture {
    tarn_publisher *publisher;
    tarn_subscriber *subscriber;
    tarn_notifier *notifier;
    tarn_listener *listener;
    tarn_message messages[BATCH];
    tarn_loan loans[BATCH];
    tarn_producer *producer;
    tarn_worker *worker;
    tarn_job jobs[BATCH];
    tarn_writer *writer;
    tarn_reader *reader;
    size_t bytes;
    char *data, *copy;
} fixture;

static int call_once(enum call call, int i) {
    tarn_event event;
    switch (call) {
    case PUBLISH:
        return tarn_publisher_publish(fixture.publisher, fixture.data, fixture.bytes);
    case TAKE:
        return tarn_subscriber_take(fixture.subscriber, &fixture.messages[i]);
    case TAKE_MANY:
        return tarn_subscriber_take_many(fixture.subscriber, &fixture.messages[i], 1);
    case RECEIVE:
        return tarn_subscriber_receive(fixture.subscriber, &fixture.messages[i], TARN_FOREVER);
    case WAIT:
        return tarn_subscriber_wait(fixture.subscriber, TARN_FOREVER);
    case RELEASE:
        return 1 + tarn_message_release(&fixture.messages[i]);
    case LOAN:
        return tarn_publisher_loan(fixture.publisher, fixture.bytes, &fixture.loans[i]);
    case SEND:
        return tarn_loan_send(&fixture.loans[i]);
    case DROP:
        return 1 + tarn_loan_drop(&fixture.loans[i]);
    case NOTIFY:
        return tarn_notifier_notify(fixture.notifier, (uint32_t)i);
    case HEAR:
        return tarn_listener_receive(fixture.listener, &event, TARN_FOREVER);
    case PUSH:
        return tarn_producer_push(fixture.producer, fixture.data, fixture.bytes);
    case LEND:
        return tarn_producer_loan(fixture.producer, fixture.bytes, &fixture.loans[i]);
    case TAKE_JOB:
        return tarn_worker_take(fixture.worker, &fixture.jobs[i]);
    case ACKNOWLEDGE:
        return 1 + tarn_job_acknowledge(&fixture.jobs[i]);
    case GIVE_BACK:
        return 1 + tarn_job_give_back(&fixture.jobs[i]);
    case REJECT:
        return 1 + tarn_job_reject(&fixture.jobs[i]);
    case SET:
        return tarn_writer_set(fixture.writer, 0, fixture.data, fixture.bytes);
    case GET:
        return tarn_reader_get(fixture.reader, 0, fixture.copy, fixture.bytes, NULL);
    case TAKE_VALUE:
        return tarn_reader_take(fixture.reader, 0, &fixture.messages[i]);
    default:
        return 1 + tarn_subscriber_interrupt(fixture.subscriber);
    }
}

/* Each of a round's steps is a batch of one call; each lets the next have something to do. */
static const enum call steps[] = {PUBLISH,  TAKE_MANY,   RELEASE, PUBLISH, TAKE,       RELEASE, LOAN,     SEND,
                                  WAIT,     RECEIVE,     RELEASE, LOAN,    DROP,       PUSH,    TAKE_JOB, GIVE_BACK,
                                  TAKE_JOB, ACKNOWLEDGE, LEND,    SEND,    TAKE_JOB,   REJECT,  LEND,     DROP,
                                  NOTIFY,   HEAR,        SET,     GET,     TAKE_VALUE, RELEASE, INTERRUPT};
#define STEP_COUNT ((int)(sizeof steps / sizeof steps[0]))

static struct measured measure(enum call call) {
    struct measured before = {allocations, faults_now()};
    mark();
    for (int i = 0; i < BATCH; i++)
        if (call_once(call, i) != 1)
            FAIL("%s failed: %s", names[call], tarn_error());
    mark();
    return (struct measured){allocations - before.allocations, faults_now() - before.faults};
}

/*
 * A worker's look at its peers, which comes ten times a second, comes now; so does the wake-up that its sleep asked
 * for.
 */
static void look_after_peers(void) {
    CHECK_STATUS(tarn_worker_wait(fixture.worker, 101000000), 0);
    CHECK_INT(call_once(PUSH, 0) + call_once(TAKE_JOB, 0) + call_once(ACKNOWLEDGE, 0), ==, 3);
}

static void one_round(struct measured ret[STEP_COUNT]) {
    if (is_traced)
        look_after_peers();
    for (int i = 0; i < STEP_COUNT; i++)
        ret[i] = measure(steps[i]);
    CHECK_STATUS(tarn_subscriber_wait(fixture.subscriber, 0), TARN_ERROR_INTERRUPTED);
}

static void open_fixture(size_t bytes) {
    fixture.bytes = bytes;
    fixture.data = malloc(bytes);
    memset(fixture.data, 1, bytes);
    fixture.copy = malloc(bytes);
    CHECK_STATUS(tarn_writer_open(&fixture.writer, TOPIC "/board", NULL), 0);
    CHECK_STATUS(tarn_reader_open(&fixture.reader, TOPIC "/board", NULL), 0);
    CHECK_STATUS(tarn_writer_key(fixture.writer, "key"), 0);
    CHECK_STATUS(tarn_reader_key(fixture.reader, "key"), 0);
    fixture.publisher = publisher_with(.depth = 1);
    fixture.subscriber = subscriber_with(.reliable = 1, .wait_strategy = TARN_WAIT_SLEEP);
    CHECK_STATUS(tarn_notifier_open(&fixture.notifier, TOPIC "/events", NULL), 0);
    CHECK_STATUS(tarn_listener_open(&fixture.listener, TOPIC "/events", NULL), 0);
    tarn_producer_options producing = {.struct_bytes = sizeof producing, .capacity = 2 * BATCH};
    tarn_worker_options working = {.struct_bytes = sizeof working, .prefetch = BATCH};
    CHECK_STATUS(tarn_producer_open(&fixture.producer, TOPIC "/jobs", &producing), 0);
    CHECK_STATUS(tarn_worker_open(&fixture.worker, TOPIC "/jobs", &working), 0);
}

static void close_fixture(void) {
    CHECK_STATUS(tarn_listener_close(fixture.listener), 0);
    CHECK_STATUS(tarn_notifier_close(fixture.notifier), 0);
    CHECK_STATUS(tarn_subscriber_close(fixture.subscriber), 0);
    CHECK_STATUS(tarn_publisher_close(fixture.publisher), 0);
    CHECK_STATUS(tarn_worker_close(fixture.worker), 0);
    CHECK_STATUS(tarn_producer_close(fixture.producer), 0);
    CHECK_INT(tarn_writer_close(fixture.writer), >=, 0);
    CHECK_STATUS(tarn_reader_close(fixture.reader), 0);
    free(fixture.data);
    free(fixture.copy);
}

/* Until all memory that is used in turn has been used. */
static void warm_up(void) {
    struct measured ignored[STEP_COUNT];
    bool traced = is_traced;
    is_traced = false;
    for (int i = 0; i < 400; i++)
        one_round(ignored);
    is_traced = traced;
}

/* ---- the steady state ----------------------------------------------------------------------------------------- */

/* A fault that the kernel made on its own (moving pages) may come once, not in every one of some rounds. */
static void check_quiet(size_t bytes) {
    struct measured round[STEP_COUNT];
    long fewest[STEP_COUNT];
    open_fixture(bytes);
    warm_up();
    for (int i = 0; i < STEP_COUNT; i++)
        fewest[i] = -1;
    for (int k = 0; k < 5; k++) {
        one_round(round);
        for (int i = 0; i < STEP_COUNT; i++) {
            if (round[i].allocations)
                FAIL("%s of %zu bytes allocates", names[steps[i]], bytes);
            if (fewest[i] < 0 || round[i].faults < fewest[i])
                fewest[i] = round[i].faults;
        }
    }
    for (int i = 0; i < STEP_COUNT; i++)
        if (fewest[i])
            FAIL("%d times %s of %zu bytes: %ld page faults", BATCH, names[steps[i]], bytes, fewest[i]);
    close_fixture();
}

TEST(no_call_allocates_or_faults_in_the_steady_state) {
    if (!COUNTS_ALLOCATIONS)
        SKIP("the sanitizer has its own malloc");
    check_quiet(8);
    check_quiet(1000);
    check_quiet(70000);
    check_quiet(300000);
}

#if COUNTS_CALLS
static void traced_rounds(void *arg) {
    struct measured ignored[STEP_COUNT];
    open_fixture(*(size_t *)arg);
    warm_up();
    is_traced = true;
    CHECK_INT(ptrace(PTRACE_TRACEME, 0, NULL, NULL), ==, 0);
    raise(SIGSTOP);
    one_round(ignored);
    is_traced = false;
    close_fixture();
}

static void check_calls(size_t bytes) {
    struct stretch stretches[STEP_COUNT];
    CHECK_INT(trace(spawn(traced_rounds, &bytes), stretches, STEP_COUNT), ==, STEP_COUNT);
    for (int i = 0; i < STEP_COUNT; i++)
        if (stretches[i].count)
            FAIL("%d times %s of %zu bytes: %d system calls, e.g. number %ld", BATCH, names[steps[i]], bytes,
                 stretches[i].count, stretches[i].number);
}

TEST(no_call_enters_the_kernel_in_the_steady_state) {
    check_calls(8);
    check_calls(1000);
    check_calls(70000);
    check_calls(300000);
}

/* A waitset that is busy takes message after message without the kernel, but for the look at peers, once per slice. */
static void traced_waitset(void *arg) {
    tarn_waitset *waitset;
    tarn_ready ready;
    tarn_message message;
    open_fixture(*(size_t *)arg);
    CHECK_STATUS(tarn_waitset_open(&waitset, NULL), 0);
    CHECK_STATUS(tarn_waitset_add(waitset, fixture.subscriber, NULL), 0);
    for (int round = 0; round < 60; round++) {
        measure(PUBLISH);
        is_traced = round == 59;
        if (is_traced) {
            CHECK_INT(ptrace(PTRACE_TRACEME, 0, NULL, NULL), ==, 0);
            raise(SIGSTOP);
        }
        mark();
        for (int i = 0; i < BATCH; i++) {
            CHECK_STATUS(tarn_waitset_wait(waitset, &ready, 1, TARN_FOREVER), 1);
            take_one(ready.handle, &message);
            release(&message);
        }
        mark();
    }
    is_traced = false;
    CHECK_STATUS(tarn_waitset_close(waitset), 0);
    close_fixture();
}

TEST(a_busy_waitset_stays_out_of_the_kernel) {
    struct stretch stretch;
    for (size_t bytes = 8; bytes < 100000; bytes *= 100) {
        CHECK_INT(trace(spawn(traced_waitset, &bytes), &stretch, 1), ==, 1);
        CHECK_INT(stretch.count, <=, 6); /* a look at peers may just be due */
    }
}

/* The instrument itself: a stretch with one system call in it is seen. */
static void traced_one_call(void *arg) {
    (void)arg;
    is_traced = true;
    CHECK_INT(ptrace(PTRACE_TRACEME, 0, NULL, NULL), ==, 0);
    raise(SIGSTOP);
    mark();
    getppid();
    mark();
}

TEST(the_tracer_sees_a_call) {
    struct stretch stretch;
    CHECK_INT(trace(spawn(traced_one_call, NULL), &stretch, 1), ==, 1);
    CHECK_INT(stretch.count, ==, 1);
    CHECK_INT(stretch.number, ==, SYS_getppid);
}
#endif

/* ---- never, steady or not ------------------------------------------------------------------------------------- */

/* From the first message on, while memory grows: what the table says "no" to without a condition. */
static void check_growing(size_t bytes, int overtaken) {
    open_fixture(bytes);
    for (int i = 0; i < 20; i++) {
        measure(LOAN);
        for (int k = 0; k < BATCH; k++)
            memset(fixture.loans[k].data, 1, bytes);
        if (overtaken)
            CHECK_STATUS(tarn_publisher_publish(fixture.publisher, fixture.data, bytes), 1);
        measure(SEND);
        struct measured loan = measure(LOAN), drop = measure(DROP);
        (void)loan;
        CHECK_INT(drop.allocations, ==, 0);
        CHECK_INT(drop.faults, ==, 0);
        for (int k = 0; k < BATCH + overtaken; k++) {
            tarn_message message;
            take_one(fixture.subscriber, &message);
            struct measured before = {allocations, faults_now()};
            release(&message);
            CHECK_INT(allocations - before.allocations, ==, 0);
            CHECK_INT(faults_now() - before.faults, ==, 0);
        }
    }
    close_fixture();
}

TEST(drop_and_release_never_allocate_or_fault) {
    if (!COUNTS_ALLOCATIONS)
        SKIP("the sanitizer has its own malloc");
    check_growing(100, 0);
    check_growing(100, 1);
    check_growing(70000, 0);
    check_growing(70000, 1);
}

/* The table: take allocates at joins, and when messages of more extents are held than ever before. */
TEST(take_allocates_at_joins_and_highs_only) {
    if (!COUNTS_ALLOCATIONS)
        SKIP("the sanitizer has its own malloc");
    static tarn_message messages[64];
    tarn_publisher *publisher = publisher_with();
    tarn_subscriber *subscriber = subscriber_with(.reliable = 1);
    for (uint64_t i = 1; i <= 128; i++) { /* the publisher grows */
        CHECK_STATUS(send_pattern(publisher, 70000, i), 1);
        if (i > 64) {
            take_one(subscriber, &messages[0]);
            release(&messages[0]);
        }
    }
    CHECK_STATUS(tarn_subscriber_wait(subscriber, 0), 1); /* and it is followed */
    long before = allocations;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 64; i++) {
            take_one(subscriber, &messages[i]);
            if (round == 1 && allocations != before)
                FAIL("taking a message while %d are held allocates again", i);
        }
        for (int i = 0; i < 64; i++)
            release(&messages[i]);
        for (uint64_t i = 1; round == 0 && i <= 64; i++)
            CHECK_STATUS(send_pattern(publisher, 70000, 128 + i), 1);
        before = allocations;
    }
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

/* Publishes, so often that who is in the topic is looked at; returns how many allocations that took. */
static long allocations_of_publishing(tarn_publisher *publisher) {
    static char data[4000];
    long before = allocations;
    for (int i = 0; i < 2000; i++)
        CHECK_STATUS(tarn_publisher_publish(publisher, data, sizeof data), 1);
    return allocations - before;
}

/* The table: publish allocates at joins, with .realtime, too, and only then. */
TEST(publish_allocates_at_joins_only) {
    enum { ROUNDS = 3, JOINING = 40 };
    if (!COUNTS_ALLOCATIONS)
        SKIP("the sanitizer has its own malloc");
    static tarn_subscriber *subscribers[ROUNDS * JOINING];
    tarn_publisher *publisher = publisher_with(.depth = 1, .realtime = 1, .memory_limit_bytes = 4 * MIB);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < JOINING; i++)
            subscribers[round * JOINING + i] = subscriber_with();
        CHECK_INT(allocations_of_publishing(publisher), <=, 3); /* the list doubles some times */
        CHECK_INT(allocations_of_publishing(publisher), ==, 0);
    }
    for (int i = 0; i < ROUNDS * JOINING; i++)
        CHECK_STATUS(tarn_subscriber_close(subscribers[i]), 0);
    CHECK_INT(allocations_of_publishing(publisher), ==, 0);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

/*
 * The table: a loan allocates when more are open than ever before, and something else is sent in between, and only
 * then.
 */
TEST(loan_allocates_at_highs_only) {
    if (!COUNTS_ALLOCATIONS)
        SKIP("the sanitizer has its own malloc");
    tarn_loan loans[BATCH];
    tarn_publisher *publisher = publisher_with(.realtime = 1, .memory_limit_bytes = 4 * MIB);
    for (int round = 0; round < 3; round++) {
        long before = allocations;
        for (int i = 0; i < BATCH; i++) {
            CHECK_STATUS(tarn_publisher_loan(publisher, 100, &loans[i]), 1);
            CHECK_STATUS(tarn_publisher_publish(publisher, "x", 1), 1);
        }
        CHECK_INT(allocations - before, <=, round == 0 ? BATCH : 0);
        for (int i = 0; i < BATCH; i++)
            CHECK_STATUS(tarn_loan_drop(&loans[i]), 0);
    }
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

/* ---- requests -------------------------------------------------------------------------------------------------- */

static void ask_and_answer(tarn_client *client, tarn_server *server) {
    tarn_request request;
    tarn_message message;
    CHECK_STATUS(tarn_client_send(client, fixture.data, fixture.bytes, NULL), 1);
    CHECK_STATUS(tarn_server_take(server, &request), 1);
    CHECK_STATUS(tarn_request_stream(&request, fixture.data, fixture.bytes), 1);
    CHECK_STATUS(tarn_request_reply(&request, fixture.data, fixture.bytes), 1);
    for (int i = 0; i < 2; i++) {
        CHECK_STATUS(tarn_client_take(client, &message), 1);
        release(&message);
    }
}

static void check_requests(size_t bytes) {
    tarn_client *client;
    tarn_server *server;
    long fewest = -1;
    fixture.bytes = bytes;
    fixture.data = calloc(1, bytes);
    CHECK_STATUS(tarn_server_open(&server, TOPIC, NULL), 0);
    CHECK_STATUS(tarn_client_open(&client, TOPIC, NULL), 0);
    for (int i = 0; i < 2000; i++) /* until all memory that is used in turn has been used */
        ask_and_answer(client, server);
    for (int round = 0; round < 5; round++) {
        struct measured before = {allocations, faults_now()};
        for (int i = 0; i < BATCH; i++)
            ask_and_answer(client, server);
        CHECK_INT(allocations, ==, before.allocations);
        long faults = faults_now() - before.faults;
        fewest = fewest < 0 || faults < fewest ? faults : fewest;
    }
    CHECK_INT(fewest, ==, 0);
    CHECK_STATUS(tarn_client_close(client), 0);
    CHECK_STATUS(tarn_server_close(server), 0);
    free(fixture.data);
}

TEST(requests_neither_allocate_nor_fault_in_the_steady_state) {
    if (!COUNTS_ALLOCATIONS)
        SKIP("the sanitizer has its own malloc");
    check_requests(8);
    check_requests(1000);
    check_requests(70000);
}
