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

enum call { PUBLISH, TAKE, RELEASE, LOAN, SEND, DROP, WAIT, RECEIVE, INTERRUPT, SET, GET, TAKE_VALUE, CALLS };
static const char *const names[CALLS] = {"publish", "take",    "release",   "loan", "send", "drop",
                                         "wait(0)", "receive", "interrupt", "set",  "get",  "take a value"};

struct measured {
    long allocations, faults;
};

static struct fixture {
    tarn_publisher *publisher;
    tarn_subscriber *subscriber;
    tarn_message messages[BATCH];
    tarn_loan loans[BATCH];
    tarn_writer *writer;
    tarn_reader *reader;
    size_t bytes;
    char *data, *copy;
} fixture;

static int call_once(enum call call, int i) {
    switch (call) {
    case PUBLISH:
        return tarn_publisher_publish(fixture.publisher, fixture.data, fixture.bytes);
    case TAKE:
        return tarn_subscriber_take(fixture.subscriber, &fixture.messages[i]);
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
static const enum call steps[] = {PUBLISH, TAKE, RELEASE,   LOAN, SEND, WAIT,       RECEIVE, RELEASE,
                                  LOAN,    DROP, INTERRUPT, SET,  GET,  TAKE_VALUE, RELEASE, SET};
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

static void one_round(struct measured ret[STEP_COUNT]) {
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
}

static void close_fixture(void) {
    CHECK_STATUS(tarn_subscriber_close(fixture.subscriber), 0);
    CHECK_STATUS(tarn_publisher_close(fixture.publisher), 0);
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
    for (int i = 0; i < 60; i++)
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
