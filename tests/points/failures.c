/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Every system call and every allocation of every operation fails once, with each error that it can give. The operation
 * may fail with an error of its own, and is then done again; or do without. Nothing is lost or left. See scene.h.
 */
#include <stdlib.h>
#include <sys/shm.h>

#include "scene.h"

/*
 * ---- system calls -------------------------------------------------------------------------------------------------
 */

struct failing_call {
    long number;
    bool is_made; /* the call has its effect all the same */
    int errors[8];
};

static const struct failing_call failing_calls[] = {
    {SYS_openat, false, {EMFILE, ENFILE, ENOMEM, EACCES, EINTR, ENOSPC}},
    {SYS_close, true, {EINTR, EIO}},
    {SYS_fcntl, false, {ENOLCK, EINTR, EAGAIN}},
    {SYS_shmget, false, {ENOSPC, ENOMEM, EEXIST, EACCES}},
    {SYS_shmat, false, {ENOMEM, EACCES, EINVAL, EIDRM}},
    {SYS_shmctl, false, {EPERM, EINVAL, EIDRM}},
    {SYS_futex, false, {EINTR, EAGAIN, ENOSYS}},
    {SYS_membarrier, false, {ENOSYS, EPERM, EINVAL}},
    {SYS_pread64, false, {EIO, EINTR}},
    {SYS_pwrite64, false, {ENOSPC, EDQUOT, EIO, EINTR}},
    {SYS_read, false, {EINTR, EIO}},
    {SYS_write, false, {EAGAIN, EINTR}},
    {SYS_newfstatat, false, {ENOMEM, EACCES}},
    {SYS_fstat, false, {ENOMEM}},
    {SYS_mmap, false, {ENOMEM}},
    {SYS_madvise, false, {EINVAL, ENOMEM, EACCES}},
    {SYS_getrandom, false, {EAGAIN, ENOSYS}},
    {SYS_unlinkat, false, {EACCES, EROFS, ENOENT}},
    {SYS_linkat, false, {EPERM, ENOSPC, EEXIST, ENOENT}},
    {SYS_mkdir, false, {ENOSPC, EACCES}},
    {SYS_mkdirat, false, {ENOSPC, EACCES}},
    {SYS_renameat2, false, {EINVAL, ENOSYS, ENOSPC}},
    {SYS_fchmod, false, {EPERM}},
    {SYS_fchmodat, false, {EPERM}},
    {SYS_fchown, false, {EPERM}},
    {SYS_mknodat, false, {ENOSPC, EACCES, EPERM}},
    {SYS_flock, false, {EWOULDBLOCK, ENOLCK, EINTR}},
    {SYS_readlink, false, {ENOENT, EACCES, ENOMEM}},
    {SYS_sysinfo, false, {EPERM, ENOSYS}},
    {SYS_prlimit64, false, {EPERM, ENOSYS}},
    {SYS_timerfd_settime, false, {EPERM, ENOSYS}},
    {SYS_getdents64, false, {ENOMEM}},
    {SYS_epoll_create1, false, {EMFILE, ENOMEM}},
    {SYS_epoll_ctl, false, {ENOSPC, ENOMEM}},
    {SYS_epoll_wait, false, {EINTR}},
    {SYS_epoll_pwait2, false, {EINTR, ENOSYS, EPERM}},
    {SYS_eventfd2, false, {EMFILE, ENFILE, ENODEV, ENOMEM}},
    {SYS_timerfd_create, false, {EMFILE, ENODEV}},
    {SYS_clock_nanosleep, false, {EINTR}},
    {SYS_prctl, false, {EINVAL}},
    {SYS_pidfd_open, false, {EMFILE, ENOSYS, EPERM}},
    {SYS_poll, false, {EINTR, ENOMEM}},
    {SYS_kill, false, {EPERM}},
};

/*
 * What is taken not to fail: it cannot, or what it gives back is one's own. malloc's memory fails with malloc, below.
 */
static bool never_fails(long number) {
    static const long numbers[] = {SYS_getpid, SYS_geteuid, SYS_clock_gettime, SYS_brk, SYS_munmap, SYS_shmdt};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (numbers[i] == number)
            return true;
    return false;
}

static const struct failing_call *failing_call_at(const struct traced *traced) {
    const struct point *at = &traced->at;
    for (size_t i = 0; at->kind == POINT_CALL && i < sizeof failing_calls / sizeof failing_calls[0]; i++)
        if (failing_calls[i].number == at->call)
            return &failing_calls[i];
    if (at->kind == POINT_CALL && !never_fails(at->call))
        FAIL("no error is known with which the call %s may fail", tracer_describe(traced));
    return NULL;
}

/* A segment of one's own can only be gone already when it is to be removed. */
static bool is_removing(const struct traced *traced) {
    uint64_t arguments[3];
    tracer_arguments(traced, arguments);
    return traced->at.call == SYS_shmctl && arguments[1] == IPC_RMID;
}

/* To unlock a byte cannot fail: the kernel needs memory for it only where it splits a range, some 100 bytes. */
static bool is_unlocking(const struct traced *traced) {
    uint64_t arguments[3];
    tracer_arguments(traced, arguments);
    return traced->at.call == SYS_fcntl && arguments[1] == F_OFD_SETLK &&
           (short)tracer_peek(traced, arguments[2]) == F_UNLCK;
}

/* Of a segment that others have attached. Who repairs their dead then believes that nothing of these can be needed. */
static bool says_gone(const struct traced *traced, int error) {
    return (traced->at.call == SYS_shmat || traced->at.call == SYS_shmctl) && (error == EINVAL || error == EIDRM);
}

static bool can_fail(const struct traced *traced) {
    return failing_call_at(traced) && !is_unlocking(traced);
}

static void end_after_failure(struct scene *scene) {
    CHECK(check_survivors(scene, true));
    let_actor_end(scene);
    end_scene(scene);
}

static unsigned failures;

/* With one of the errors that it can give; how many there are. 0: another point came in this one's place. */
static unsigned fail_with(const struct operation *operation, unsigned point, unsigned choice) {
    struct scene scene = {.operation = operation};
    bool is_on_its_way = go_to_point(&scene, point);
    const struct failing_call *call = is_on_its_way && can_fail(&scene.traced) ? failing_call_at(&scene.traced) : NULL;
    unsigned count = 0;
    while (call && call->errors[count])
        count++;
    if (count == 0) {
        if (is_on_its_way)
            tracer_finish(&scene.traced);
        end_after_failure(&scene);
        return 0;
    }
    int error = call->errors[choice % count];
    set_context("point %u, %s, which fails with %s", point, tracer_describe(&scene.traced), strerror(error));
    allow_failure();
    scene.was_gone = says_gone(&scene.traced, error);
    tracer_fail_call(&scene.traced, error, call->is_made || is_removing(&scene.traced));
    tracer_finish(&scene.traced);
    failures += scene_result() < 0;
    end_after_failure(&scene);
    return count;
}

/* In a sample, with one of the errors. */
static void fail_at(const struct operation *operation, unsigned point) {
    struct random random = random_start(point);
    if (!visits_all())
        fail_with(operation, point, (unsigned)random_between(&random, 0, 1000));
    else
        for (unsigned choice = 1, count = fail_with(operation, point, 0); choice < count; choice++)
            fail_with(operation, point, choice);
}

/*
 * ---- allocations --------------------------------------------------------------------------------------------------
 */

#ifdef __GLIBC__
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *old, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);

static unsigned allocations, failing_allocation;

static bool allocation_fails(void) {
    return scene_is_operating && ++allocations == failing_allocation;
}

void *malloc(size_t bytes) {
    return allocation_fails() ? NULL : __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes) {
    return allocation_fails() ? NULL : __libc_calloc(count, bytes);
}

void *realloc(void *old, size_t bytes) {
    return allocation_fails() ? NULL : __libc_realloc(old, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes) {
    return allocation_fails() ? NULL : __libc_memalign(alignment, bytes);
}

static void fail_allocations(const struct operation *operation) {
    for (failing_allocation = 1;; failing_allocation++) {
        struct scene scene;
        set_context("allocation %u fails", failing_allocation);
        begin_scene(&scene, operation);
        allow_failure();
        tracer_finish(&scene.traced);
        unsigned reached = (unsigned)tracer_peek(&scene.traced, (uintptr_t)&allocations);
        failures += scene_result() < 0;
        end_after_failure(&scene);
        if (reached < failing_allocation)
            break;
    }
    printf("  %28s %u allocations, each failed\n", "", failing_allocation - 1);
    failing_allocation = 0;
}
#else
static void fail_allocations(const struct operation *operation) {
    (void)operation;
}
#endif

static void fail_everywhere(const struct operation *operation) {
    failures = 0;
    visit_points(operation, can_fail, 5, fail_at);
    fail_allocations(operation);
    printf("  %28s %u times the operation failed, and was done again\n", "", failures);
}

__attribute__((constructor)) static void add_tests(void) {
    add_scenes(fail_everywhere, 1800);
}
