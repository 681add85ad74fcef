/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See os.h. */
#include "base/os.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#if defined(__GLIBC__)
#if __GLIBC_PREREQ(2, 32)
#include <sys/single_threaded.h>
#define KNOWS_SINGLE_THREADED 1
#endif
#endif

#include "base/atomics.h"
#include "shm/layout.h"

#define START_TIME_TOLERANCE 200 /* clock ticks: for emulators that are not exact. A pid is not used again that soon */

#define NS_WITHOUT_FUTEX NS_PER_MS /* between looks of a sleeper that cannot be woken */

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif

int64_t os_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * NS_PER_SECOND + now.tv_nsec;
}

int64_t os_now_coarse_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return now.tv_sec * NS_PER_SECOND + now.tv_nsec;
}

int64_t os_deadline_ns(int64_t timeout_ns) {
    if (timeout_ns <= 0)
        return INT64_MIN;
    return os_time_after(os_now_ns(), timeout_ns);
}

uint64_t os_random(void) {
    uint64_t value = 0;
    if (getrandom(&value, sizeof(value), GRND_NONBLOCK) != sizeof(value))
        value = (uint64_t)os_now_ns() * UINT64_C(0x9e3779b97f4a7c15) ^ (uint64_t)getpid() << 32 ^ (uintptr_t)&value;
    return value ? value : 1;
}

void os_futex_wait(_Atomic uint32_t *word, uint32_t value, int64_t timeout_ns) {
    struct timespec timeout = {timeout_ns / NS_PER_SECOND, timeout_ns % NS_PER_SECOND};
    if (syscall(SYS_futex, word, FUTEX_WAIT, value, &timeout, NULL, 0) == 0 || errno == EAGAIN || errno == EINTR ||
        errno == ETIMEDOUT)
        return;
    int64_t nap_ns = timeout_ns < NS_WITHOUT_FUTEX ? timeout_ns : NS_WITHOUT_FUTEX; /* a filter forbids it */
    nanosleep(&(struct timespec){0, nap_ns}, NULL);
}

void os_futex_wake_all(_Atomic uint32_t *word) {
    syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

int os_epoll_wait(int epoll, struct epoll_event *events, int most, int64_t timeout_ns) {
    struct {
        int64_t seconds, ns; /* the kernel's, also where the C library's is shorter */
    } timeout = {timeout_ns / NS_PER_SECOND, timeout_ns % NS_PER_SECOND};
    int count = timeout_ns > 0 ? (int)syscall(SYS_epoll_pwait2, epoll, events, most, &timeout, NULL, 0)
                               : epoll_wait(epoll, events, most, 0);
    if (count < 0 && (errno == ENOSYS || errno == EPERM)) { /* an old kernel, or a filter */
        int64_t ms = (timeout_ns - 1) / NS_PER_MS + 1;
        count = epoll_wait(epoll, events, most, ms < INT32_MAX ? (int)ms : INT32_MAX);
    }
    return count >= 0 ? count : errno == EINTR ? 0 : -errno;
}

bool os_barrier_register(void) {
    return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) == 0;
}

bool os_barrier(void) {
    return syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) == 0;
}

int os_try_futex(void) {
    uint32_t word = 0;
    return syscall(SYS_futex, &word, FUTEX_WAKE, 1, NULL, NULL, 0) == 0 ? 0 : errno;
}

int os_try_pidfd(void) {
    int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    return fd >= 0 ? close(fd) : errno;
}

int os_try_fine_timeout(void) {
    struct epoll_event event;
    int epoll = epoll_create1(EPOLL_CLOEXEC), error;
    if (epoll < 0)
        return errno;
    error = syscall(SYS_epoll_pwait2, epoll, &event, 1, &(int64_t[2]){0, 1}, NULL, 0) == 0 ? 0 : errno;
    close(epoll);
    return error;
}

unsigned os_thread_count(void) {
#ifdef KNOWS_SINGLE_THREADED
    if (__libc_single_threaded)
        return 1;
#endif
    struct stat tasks;
    if (stat("/proc/self/task", &tasks) != 0 || tasks.st_nlink < 3)
        return 0;
    return (unsigned)tasks.st_nlink - 2;
}

static int lock_command(int fd, int64_t byte, short type) {
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    while (fcntl(fd, F_OFD_SETLK, &lock) != 0)
        if (errno != EINTR)
            return errno == EACCES ? -EAGAIN : -errno;
    return 0;
}

int os_lock(int fd, int64_t byte) {
    return lock_command(fd, byte, F_WRLCK);
}

int os_unlock(int fd, int64_t byte) {
    return lock_command(fd, byte, F_UNLCK);
}

int64_t os_locked(int fd, int64_t from, int64_t bytes) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = from, .l_len = bytes};
    if (fcntl(fd, F_OFD_GETLK, &lock) != 0)
        return -(int64_t)errno - 1;
    if (lock.l_type == F_UNLCK)
        return -1;
    return lock.l_start < from ? from : lock.l_start;
}

/* Not where somebody entered a pid namespace alone (nsenter --pid): then it numbers, and shows, other processes. */
static bool proc_is_of_our_namespace(void) {
    char text[16] = {0};
    return readlink("/proc/self", text, sizeof(text) - 1) > 0 && strtol(text, NULL, 10) == getpid();
}

/*
 * Field 22 of /proc/<pid>/stat; 0: no such process is shown; UINT64_MAX: cannot be told. Its main thread's file has the
 * same; in the process' own one qemu-user makes it up, so that a forked child would say its parent's.
 */
static uint64_t start_time_of(int32_t pid) {
    char path[48], text[1024];
    if (!proc_is_of_our_namespace())
        return UINT64_MAX;
    snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", pid, pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : UINT64_MAX;
    ssize_t length = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (length <= 0)
        return length < 0 && errno == ESRCH ? 0 : UINT64_MAX;
    text[length] = 0;
    char *field = strrchr(text, ')'); /* the command may contain anything, also parentheses: fields start behind it */
    for (int i = 2; field && i < 22; i++)
        field = strchr(field + 1, ' ');
    return field ? strtoull(field + 1, NULL, 10) : UINT64_MAX;
}

uint64_t os_ipc_namespace(void) {
    struct stat ns;
    return stat("/proc/self/ns/ipc", &ns) == 0 ? (uint64_t)ns.st_ino : 0;
}

/*
 * The pid namespace in the high half, and the time namespace, to which start times are relative. Inode numbers of
 * namespaces have 32 bits.
 */
uint64_t os_namespaces(void) {
    struct stat pids, times;
    if (stat("/proc/self/ns/pid", &pids) != 0)
        return 0;
    uint64_t time_namespace = stat("/proc/self/ns/time", &times) == 0 ? (uint64_t)times.st_ino : 0;
    return (uint64_t)pids.st_ino << 32 ^ time_namespace;
}

void os_identify(struct identity *ret) {
    ret->pid = getpid();
    ret->uid = (uint32_t)geteuid();
    uint64_t start = start_time_of(ret->pid);
    ret->start_time = start == UINT64_MAX ? 0 : start;
    ret->namespaces = os_namespaces();
    ret->opened_ns = os_now_ns();
    memset(ret->command, 0, sizeof(ret->command));
    prctl(PR_GET_NAME, ret->command); /* the calling thread's, which is the program's unless somebody changed it */
}

bool os_pid_is_dead(int32_t pid) {
    int fd = (int)syscall(SYS_pidfd_open, pid, 0); /* it polls readable once its process is dead, a zombie included */
    if (fd < 0)
        return errno == ESRCH || (kill(pid, 0) != 0 && errno == ESRCH);
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    bool dead = poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & POLLIN);
    close(fd);
    return dead;
}

bool os_numbers_alike(uint64_t namespaces) {
    return namespaces != 0 && (namespaces ^ os_namespaces()) >> 32 == 0;
}

bool os_is_gone(int32_t pid, uint64_t start_time, uint64_t namespaces) {
    if (pid <= 0 || start_time == 0 || !os_numbers_alike(namespaces))
        return false;
    if (os_pid_is_dead(pid))
        return true;
    if (namespaces != os_namespaces())
        return false; /* another time namespace tells another start time */
    uint64_t start = start_time_of(pid);
    uint64_t difference = start > start_time ? start - start_time : start_time - start;
    /* 0: /proc hides the process (hidepid), which the kernel has just said is alive */
    return start != 0 && start != UINT64_MAX && difference > START_TIME_TOLERANCE;
}
