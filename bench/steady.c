/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Shows that in the steady state a message costs no system call and no page fault, by counting: a publisher and a
 * subscriber process exchange messages until warm, then go on between two marks (calls of system call numbers that do
 * not exist). Their parent traces both, as strace does, and counts every system call between the marks; page faults are
 * the difference of getrusage at the same places. A first run makes ten system calls on purpose, to show that the
 * counter counts.
 *
 * The publisher keeps a few messages ahead of the subscriber at most (they tell each other in a shared line), so it is
 * never full: waiting for space may enter the kernel, and is not the steady state. The subscriber receives, spinning.
 * While it finds nothing it looks at its peers ten times a second, which takes a few system calls: where another
 * program keeps the publisher from running for so long, they are counted too. So the marks allow one call per 1000
 * messages.
 */
#define _GNU_SOURCE
#include "common.h"

#include "tarn.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZES_MAX 32
#define MARK_PER_MESSAGE 0.001
#define MARK_BEGIN 100001
#define MARK_END 100002
#define CONTROL_CALLS 10
#define NUMBERS 1024
#define PATIENCE_NS (20LL * 1000 * 1000 * 1000)
#define AHEAD_BYTES (1u << 20)
#define AHEAD_MESSAGES_MAX 64
#define AHEAD_MESSAGES_MIN 4

enum role { PUBLISHER, SUBSCRIBER, ROLES };
static const char *const role_names[ROLES] = {"publisher", "subscriber"};

/* Written by the two processes, each its own part, read by the parent after their end. */
struct shared {
    _Alignas(128) _Atomic uint64_t taken;
    _Alignas(128) _Atomic uint32_t subscriber_is_there;
    struct rusage before[ROLES], after[ROLES];
};

struct plan {
    size_t bytes;
    uint64_t warm_up, messages;
    bool control;
};

/* ---- the two processes ---------------------------------------------------------------------------------------- */

static void mark(struct shared *shared, enum role role, uint64_t number, const struct plan *plan) {
    if (number == plan->warm_up) {
        getrusage(RUSAGE_SELF, &shared->before[role]);
        syscall(MARK_BEGIN);
    } else if (number == plan->warm_up + plan->messages) {
        syscall(MARK_END);
        getrusage(RUSAGE_SELF, &shared->after[role]);
    }
}

static void publish_all(struct shared *shared, const struct plan *plan) {
    tarn_publisher *publisher;
    bench_expect(tarn_publisher_open(&publisher, "bench/steady", NULL), 0, "cannot open the publisher");
    while (atomic_load_explicit(&shared->subscriber_is_there, memory_order_acquire) == 0) {
        usleep(100);
    }
    uint64_t ahead = AHEAD_BYTES / (plan->bytes + 1);
    ahead = ahead > AHEAD_MESSAGES_MAX ? AHEAD_MESSAGES_MAX : ahead < AHEAD_MESSAGES_MIN ? AHEAD_MESSAGES_MIN : ahead;
    for (uint64_t number = 0; number <= plan->warm_up + plan->messages; number++) {
        mark(shared, PUBLISHER, number, plan);
        while (number >= atomic_load_explicit(&shared->taken, memory_order_acquire) + ahead) {
            bench_relax();
        }
        if (plan->control && number >= plan->warm_up && number < plan->warm_up + CONTROL_CALLS) {
            syscall(SYS_getppid);
        }
        tarn_loan loan;
        bench_expect(tarn_publisher_loan(publisher, plan->bytes, &loan), 1, "cannot get a loan");
        bench_payload_write(loan.data, plan->bytes, BENCH_TOUCH_LINE, number);
        bench_expect(tarn_loan_send(&loan), 1, "cannot send");
    }
    tarn_publisher_close(publisher);
}

static void receive_all(struct shared *shared, const struct plan *plan) {
    tarn_subscriber *subscriber;
    tarn_subscriber_options how = {.struct_bytes = sizeof(how), .reliable = 1, .wait_strategy = TARN_WAIT_SPIN};
    bench_expect(tarn_subscriber_open(&subscriber, "bench/steady", &how), 0, "cannot open the subscriber");
    atomic_store_explicit(&shared->subscriber_is_there, 1, memory_order_release);
    for (uint64_t number = 0; number <= plan->warm_up + plan->messages; number++) {
        mark(shared, SUBSCRIBER, number, plan);
        tarn_message message;
        bench_expect(tarn_subscriber_receive(subscriber, &message, PATIENCE_NS), 1, "no message within 20 s");
        if (message.sequence != number + 1 || message.bytes != plan->bytes ||
            !bench_payload_check(message.data, message.bytes, BENCH_TOUCH_LINE, number)) {
            bench_fail("message %" PRIu64 " is not what was sent", number);
        }
        bench_expect(tarn_message_release(&message), 0, "cannot release");
        atomic_store_explicit(&shared->taken, number + 1, memory_order_release);
    }
    tarn_subscriber_close(subscriber);
}

static pid_t start(enum role role, struct shared *shared, const struct plan *plan, int cpu) {
    fflush(stdout);
    pid_t parent = getpid(), pid = fork();
    if (pid < 0) {
        bench_fail("cannot fork: %s", strerror(errno));
    }
    if (pid > 0) {
        return pid;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) {
        bench_fail("this process may not be traced (%s), so system calls cannot be counted", strerror(errno));
    }
    raise(SIGSTOP);
    bench_pin(cpu);
    (role == PUBLISHER ? publish_all : receive_all)(shared, plan);
    _exit(0);
}

/* ---- the one who counts --------------------------------------------------------------------------------------- */

struct tracee {
    pid_t pid;
    bool between_marks, marks_seen, ended;
    uint64_t calls, by_number[NUMBERS];
};

/* At each system call's entry. */
static void count_call(struct tracee *tracee, uint64_t number) {
    if (number == MARK_BEGIN) {
        tracee->between_marks = true;
    } else if (number == MARK_END) {
        tracee->between_marks = false;
        tracee->marks_seen = true;
    } else if (tracee->between_marks) {
        tracee->calls++;
        tracee->by_number[number < NUMBERS ? number : NUMBERS - 1]++;
    }
}

static void handle_stop(struct tracee *tracee, int status) {
    int deliver = 0;
    if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
        struct __ptrace_syscall_info info;
        long bytes = ptrace(PTRACE_GET_SYSCALL_INFO, tracee->pid, (void *)sizeof(info), &info);
        if (bytes > 0 && info.op == PTRACE_SYSCALL_INFO_ENTRY) {
            count_call(tracee, info.entry.nr);
        }
    } else if (WSTOPSIG(status) == SIGSTOP && tracee->calls == 0 && !tracee->between_marks) {
        ptrace(PTRACE_SETOPTIONS, tracee->pid, NULL, (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL));
    } else {
        deliver = WSTOPSIG(status);
    }
    ptrace(PTRACE_SYSCALL, tracee->pid, NULL, (void *)(intptr_t)deliver);
}

static void count_until_both_end(struct tracee tracees[ROLES]) {
    for (int ended = 0; ended < ROLES;) {
        int status;
        pid_t pid = waitpid(-1, &status, __WALL);
        if (pid < 0) {
            bench_fail("cannot wait: %s", strerror(errno));
        }
        struct tracee *tracee = pid == tracees[PUBLISHER].pid ? &tracees[PUBLISHER] : &tracees[SUBSCRIBER];
        if (pid != tracee->pid) {
            continue;
        }
        if (WIFSTOPPED(status)) {
            handle_stop(tracee, status);
            continue;
        }
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || !tracee->marks_seen) {
            bench_fail("the %s ended too early", role_names[tracee - tracees]);
        }
        ended++;
    }
}

static const char *call_name(size_t number) {
    static const struct {
        size_t number;
        const char *name;
    } names[] = {
        {SYS_futex, "futex"},
        {SYS_membarrier, "membarrier"},
        {SYS_sched_yield, "sched_yield"},
        {SYS_shmat, "shmat"},
        {SYS_clock_gettime, "clock_gettime"},
        {SYS_fcntl, "fcntl"},
        {SYS_getppid, "getppid"},
        {SYS_madvise, "madvise"},
        {SYS_getpid, "getpid"},
        {SYS_newfstatat, "newfstatat"},
    };
    for (size_t i = 0; i < BENCH_COUNT(names); i++) {
        if (names[i].number == number) {
            return names[i].name;
        }
    }
    return "number";
}

struct counts {
    double calls, faults; /* per message, both processes together */
};

static struct counts run(const struct plan *plan, struct bench_cpus cpus) {
    struct shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        bench_fail("no memory");
    }
    struct tracee tracees[ROLES] = {{.pid = start(PUBLISHER, shared, plan, cpus.here)},
                                    {.pid = start(SUBSCRIBER, shared, plan, cpus.there)}};
    count_until_both_end(tracees);
    struct counts counts = {0, 0};
    char name[32];
    for (int role = 0; role < ROLES; role++) {
        const struct rusage *before = &shared->before[role], *after = &shared->after[role];
        long faults = after->ru_minflt + after->ru_majflt - before->ru_minflt - before->ru_majflt;
        printf("%8s %-11s %10" PRIu64 " %13" PRIu64 " %12ld", bench_format_bytes(name, sizeof(name), plan->bytes),
               role_names[role], plan->messages, tracees[role].calls, faults);
        for (size_t number = 0; number < NUMBERS; number++) {
            if (tracees[role].by_number[number] > 0) {
                printf("  %s %zu: %" PRIu64, call_name(number), number, tracees[role].by_number[number]);
            }
        }
        printf("%s\n", plan->control ? "  (made on purpose)" : "");
        counts.calls += (double)tracees[role].calls / (double)plan->messages;
        counts.faults += (double)faults / (double)plan->messages;
    }
    fflush(stdout);
    munmap(shared, sizeof(*shared));
    return counts;
}

int main(int argc, char **argv) {
    const char *sizes = "8,64,4K,64K,1M", *messages = "200000", *cpus_text = NULL, *json = NULL, *marks = NULL;
    const struct bench_option options[] = {
        {"--sizes", "LIST", "message sizes (8,64,4K,64K,1M)", &sizes},
        {"--messages", "COUNT", "messages counted (200000; a tenth from 64K up)", &messages},
        {"--cpus", "A,B", "the two CPUs to run on", &cpus_text},
        {"--json", "FILE", "write the results to FILE", &json},
        {"--marks", "FILE", "append the marks to FILE", &marks},
    };
    bench_options_parse(argc, argv, "system calls and page faults per message", options, BENCH_COUNT(options));
    uint64_t size_list[SIZES_MAX];
    size_t size_count = bench_parse_list(sizes, size_list, SIZES_MAX);
    uint64_t count = (uint64_t)bench_parse_number(messages);
    struct bench_cpus cpus = bench_cpus_choose(cpus_text);
    bench_place_open();
    struct bench_report *report = bench_report_open("steady", json, marks);
    printf("Counted between two marks, after warming up.\n\n%8s %-11s %10s %13s %12s\n", "bytes", "process", "messages",
           "system calls", "page faults");
    struct plan control = {.bytes = 8, .warm_up = count, .messages = 1000, .control = true};
    if (run(&control, cpus).calls < (double)CONTROL_CALLS / 1000) {
        bench_fail("the counter does not count");
    }
    double calls = 0, faults = 0;
    for (size_t i = 0; i < size_count; i++) {
        uint64_t part = size_list[i] >= 64 << 10 ? count / 10 : count;
        struct plan plan = {.bytes = (size_t)size_list[i], .warm_up = part, .messages = part};
        struct counts counts = run(&plan, cpus);
        calls = counts.calls > calls ? counts.calls : calls;
        faults = counts.faults > faults ? counts.faults : faults;
        bench_report_row(report, "steady", "bytes", (double)plan.bytes, "calls_per_message", counts.calls,
                         "faults_per_message", counts.faults, NULL);
    }
    bench_report_mark(report, "system calls, steady state", calls, true, MARK_PER_MESSAGE, "per message");
    bench_report_mark(report, "page faults, steady state", faults, true, MARK_PER_MESSAGE, "per message");
    bench_report_close(report);
    return 0;
}
