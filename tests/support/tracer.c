/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See tracer.h. */
#include "tracer.h"

#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

#define SYSCALL_STOP (SIGTRAP | 0x80) /* PTRACE_O_TRACESYSGOOD */

/* ---- stops ---------------------------------------------------------------------------------------------------- */

static void request(const struct traced *traced, int what, void *data) {
    if (ptrace(what, traced->pid, NULL, data) != 0)
        FAIL("ptrace(%d) of %d: %s", what, (int)traced->pid, strerror(errno));
}

/* The signal for which it stopped. */
static int wait_stop(const struct traced *traced) {
    int status;
    pid_t got;
    while ((got = waitpid(traced->pid, &status, 0)) < 0 && errno == EINTR)
        ;
    if (got < 0)
        FAIL("waitpid of the traced process: %s", strerror(errno));
    if (!WIFSTOPPED(status))
        FAIL("the traced process ended by itself, %s %d", WIFEXITED(status) ? "with code" : "by signal",
             WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
    return WSTOPSIG(status);
}

static struct user_regs_struct registers_of(const struct traced *traced) {
    struct user_regs_struct registers;
    request(traced, PTRACE_GETREGS, &registers);
    return registers;
}

/* ---- calls on its behalf -------------------------------------------------------------------------------------- */

/* Where the traced process makes calls for us; it was forked, so it has this at the same address. */
__attribute__((naked)) static void call_here(void) {
    __asm__("syscall; int3");
}

static long call_for(const struct traced *traced, long number, uint64_t first, uint64_t second, uint64_t third) {
    struct user_regs_struct saved = registers_of(traced), registers = saved;
    registers.rip = (uintptr_t)call_here;
    registers.rax = (unsigned long)number;
    registers.orig_rax = UINT64_MAX; /* not in a call that could be started again */
    registers.rdi = first;
    registers.rsi = second;
    registers.rdx = third;
    request(traced, PTRACE_SETREGS, &registers);
    request(traced, PTRACE_SINGLESTEP, NULL);
    int signal = wait_stop(traced);
    if (signal != SIGTRAP)
        FAIL("a call on behalf of the traced process ended with signal %d", signal);
    long result = (long)registers_of(traced).rax;
    request(traced, PTRACE_SETREGS, &saved);
    return result;
}

static void protect(const struct traced *traced, unsigned segment, int protection) {
    long result = call_for(traced, SYS_mprotect, traced->segments[segment].base, traced->segments[segment].bytes,
                           (uint64_t)protection);
    if (result != 0)
        FAIL("mprotect in the traced process: %s", strerror((int)-result));
}

/* ---- its segments --------------------------------------------------------------------------------------------- */

static void add_segment(struct traced *traced, uint64_t base, uint64_t end) {
    if (traced->segment_count == TRACED_SEGMENTS_MAX)
        FAIL("the traced process has more than %d segments", TRACED_SEGMENTS_MAX);
    traced->segments[traced->segment_count].base = base;
    traced->segments[traced->segment_count].bytes = end - base;
    protect(traced, traced->segment_count++, PROT_READ);
}

/* Protects what it may write: all segments, or only that which begins there. */
static void add_segments(struct traced *traced, uint64_t only) {
    char path[32], line[512], access[8];
    snprintf(path, sizeof path, "/proc/%d/maps", (int)traced->pid);
    FILE *file = fopen(path, "re");
    CHECK(file);
    uint64_t base, end;
    while (fgets(line, sizeof line, file))
        if (strstr(line, "/SYSV") && sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s", &base, &end, access) == 3 &&
            access[1] == 'w' && (only == 0 || base == only))
            add_segment(traced, base, end);
    fclose(file);
}

static void remove_segment(struct traced *traced, uint64_t base) {
    for (unsigned i = 0; i < traced->segment_count; i++)
        if (traced->segments[i].base == base) {
            traced->segments[i] = traced->segments[--traced->segment_count];
            return;
        }
}

static int segment_at(const struct traced *traced, uint64_t address) {
    for (unsigned i = 0; i < traced->segment_count; i++)
        if (address - traced->segments[i].base < traced->segments[i].bytes)
            return (int)i;
    return -1;
}

/* ---- from point to point -------------------------------------------------------------------------------------- */

static void after_call(struct traced *traced, const struct user_regs_struct *registers) {
    long result = (long)registers->rax;
    if (traced->at.call == SYS_shmat && (result > 0 || result < -4095))
        add_segments(traced, (uint64_t)result);
    if (traced->at.call == SYS_shmdt && result == 0)
        remove_segment(traced, registers->rdi);
}

static void at_call(struct traced *traced) {
    struct user_regs_struct registers = registers_of(traced);
    bool is_return = traced->at.kind == POINT_CALL;
    traced->at = (struct point){is_return ? POINT_RETURN : POINT_CALL,
                                is_return ? traced->at.call : (long)registers.orig_rax, registers.rip, 0};
    if (is_return)
        after_call(traced, &registers);
}

static void at_fault(struct traced *traced) {
    siginfo_t info;
    request(traced, PTRACE_GETSIGINFO, &info);
    uint64_t target = (uintptr_t)info.si_addr;
    struct user_regs_struct registers = registers_of(traced);
    traced->at = (struct point){POINT_STORE, 0, registers.rip, target};
    if (segment_at(traced, target) < 0)
        FAIL("the traced process crashed %s, at address %#" PRIx64, tracer_describe(traced), target);
}

/* The store at which it stands is made; all of them, where one instruction repeats itself. */
static void pass_store(const struct traced *traced) {
    unsigned segment = (unsigned)segment_at(traced, traced->at.target);
    protect(traced, segment, PROT_READ | PROT_WRITE);
    do {
        request(traced, PTRACE_SINGLESTEP, NULL);
        int signal = wait_stop(traced);
        if (signal != SIGTRAP)
            FAIL("signal %d in a store of the traced process", signal);
    } while (registers_of(traced).rip == traced->at.address);
    protect(traced, segment, PROT_READ);
}

bool tracer_next(struct traced *traced) {
    if (traced->at.kind == POINT_STORE && traced->at.target)
        pass_store(traced);
    for (int signal = 0;;) {
        request(traced, PTRACE_SYSCALL, (void *)(intptr_t)signal);
        signal = wait_stop(traced);
        if (signal == SYSCALL_STOP) {
            at_call(traced);
            return true;
        }
        if (signal == SIGSEGV) {
            at_fault(traced);
            return true;
        }
        if (signal == SIGTRAP)
            return false;
    }
}

void tracer_arguments(const struct traced *traced, uint64_t ret[static 3]) {
    struct user_regs_struct registers = registers_of(traced);
    ret[0] = registers.rdi;
    ret[1] = registers.rsi;
    ret[2] = registers.rdx;
}

uint64_t tracer_peek(const struct traced *traced, uint64_t address) {
    errno = 0;
    long word = ptrace(PTRACE_PEEKDATA, traced->pid, address, NULL);
    if (errno)
        FAIL("the traced process has nothing at %#" PRIx64, address);
    return (uint64_t)word;
}

void tracer_fail_call(struct traced *traced, int error, bool is_made) {
    struct user_regs_struct registers = registers_of(traced);
    if (!is_made) {
        registers.orig_rax = UINT64_MAX; /* no call at all */
        request(traced, PTRACE_SETREGS, &registers);
    }
    request(traced, PTRACE_SYSCALL, NULL);
    if (wait_stop(traced) != SYSCALL_STOP)
        FAIL("no return from the call that was to fail");
    registers = registers_of(traced);
    registers.rax = (unsigned long)-(long)error;
    request(traced, PTRACE_SETREGS, &registers);
    traced->at.kind = POINT_RETURN;
}

static void unprotect_all(struct traced *traced) {
    while (traced->segment_count > 0)
        protect(traced, --traced->segment_count, PROT_READ | PROT_WRITE);
}

void tracer_finish(struct traced *traced) {
    if (traced->at.kind == POINT_CALL && !tracer_next(traced))
        FAIL("the operation ended within a call");
    unprotect_all(traced);
    for (int signal = 0;;) {
        request(traced, PTRACE_CONT, (void *)(intptr_t)signal);
        signal = wait_stop(traced);
        if (signal == SIGTRAP)
            return;
        if (signal == SIGSEGV) {
            traced->at = (struct point){POINT_STORE, 0, registers_of(traced).rip, 0};
            FAIL("the traced process crashed %s", tracer_describe(traced));
        }
    }
}

void tracer_let_go(struct traced *traced) {
    unprotect_all(traced);
    request(traced, PTRACE_DETACH, NULL);
}

void tracer_kill(struct traced *traced) {
    kill_child(traced->pid);
}

/* ---- beginning ------------------------------------------------------------------------------------------------ */

void tracer_mark(void) {
    __asm__ volatile("int3" ::: "memory");
}

struct beginning {
    void (*role)(void *);
    void *arg;
};

static void begin_traced(void *arg) {
    struct beginning *beginning = arg;
    CHECK(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
    raise(SIGSTOP);
    beginning->role(beginning->arg);
}

void tracer_spawn(struct traced *ret, void (*role)(void *), void *arg) {
    struct beginning beginning = {role, arg};
    *ret = (struct traced){.pid = spawn(begin_traced, &beginning)};
    int signal = wait_stop(ret);
    if (signal != SIGSTOP)
        FAIL("the traced process began with signal %d", signal);
    request(ret, PTRACE_SETOPTIONS, (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL));
}

void tracer_begin(struct traced *traced) {
    for (int signal = 0; signal != SIGTRAP; signal = wait_stop(traced))
        request(traced, PTRACE_CONT, (void *)(intptr_t)signal);
    add_segments(traced, 0);
}

static void try_to_be_traced(void *arg) {
    (void)arg;
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
        _exit(1);
}

bool tracer_works(void) {
    return wait_child(spawn(try_to_be_traced, NULL), 10) == 0;
}

/* ---- naming --------------------------------------------------------------------------------------------------- */

static const char *call_name(long number) {
    static const struct {
        long number;
        const char *name;
    } names[] = {
        {SYS_openat, "openat"},
        {SYS_close, "close"},
        {SYS_fcntl, "fcntl"},
        {SYS_shmget, "shmget"},
        {SYS_shmat, "shmat"},
        {SYS_shmctl, "shmctl"},
        {SYS_shmdt, "shmdt"},
        {SYS_futex, "futex"},
        {SYS_membarrier, "membarrier"},
        {SYS_pread64, "pread"},
        {SYS_pwrite64, "pwrite"},
        {SYS_read, "read"},
        {SYS_write, "write"},
        {SYS_newfstatat, "fstatat"},
        {SYS_fstat, "fstat"},
        {SYS_stat, "stat"},
        {SYS_mmap, "mmap"},
        {SYS_munmap, "munmap"},
        {SYS_madvise, "madvise"},
        {SYS_brk, "brk"},
        {SYS_getrandom, "getrandom"},
        {SYS_unlinkat, "unlinkat"},
        {SYS_linkat, "linkat"},
        {SYS_mkdir, "mkdir"},
        {SYS_mkdirat, "mkdirat"},
        {SYS_renameat2, "renameat2"},
        {SYS_fchmod, "fchmod"},
        {SYS_fchmodat, "fchmodat"},
        {SYS_fchown, "fchown"},
        {SYS_chmod, "chmod"},
        {SYS_mknodat, "mknodat"},
        {SYS_flock, "flock"},
        {SYS_getdents64, "getdents"},
        {SYS_epoll_ctl, "epoll_ctl"},
        {SYS_epoll_create1, "epoll_create1"},
        {SYS_timerfd_create, "timerfd_create"},
        {SYS_timerfd_settime, "timerfd_settime"},
        {SYS_clock_nanosleep, "nanosleep"},
        {SYS_getpid, "getpid"},
        {SYS_geteuid, "geteuid"},
        {SYS_prctl, "prctl"},
        {SYS_pidfd_open, "pidfd_open"},
        {SYS_poll, "poll"},
        {SYS_readlink, "readlink"},
        {SYS_kill, "kill"},
        {SYS_mprotect, "mprotect"},
        {SYS_sched_getaffinity, "sched_getaffinity"},
        {SYS_sysinfo, "sysinfo"},
        {SYS_access, "access"},
        {SYS_lseek, "lseek"},
        {SYS_clock_gettime, "clock_gettime"},
    };
    static char text[24];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].number == number)
            return names[i].name;
    snprintf(text, sizeof text, "call %ld", number);
    return text;
}

const char *tracer_describe(const struct traced *traced) {
    static char text[256];
    const struct point *at = &traced->at;
    Dl_info info;
    if (at->kind != POINT_STORE)
        snprintf(text, sizeof text, "%s %s", at->kind == POINT_CALL ? "before" : "after", call_name(at->call));
    else if (dladdr((void *)(uintptr_t)at->address, &info) && info.dli_fname)
        snprintf(text, sizeof text, "before the store at %s+%#" PRIx64, info.dli_fname,
                 at->address - (uint64_t)(uintptr_t)info.dli_fbase);
    else
        snprintf(text, sizeof text, "before the store at %#" PRIx64, at->address);
    return text;
}
