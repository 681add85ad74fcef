/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See process.h. */
#include "base/process.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/atomics.h"
#include "base/os.h"
#include "base/status.h"
#include "shm/layout.h"

static pthread_mutex_t lists = PTHREAD_MUTEX_INITIALIZER;
static const volatile uint32_t no_mark;
const volatile uint32_t *process_mark = &no_mark;
void (*process_forget_parent)(void);

static uint32_t *mark_page;
static uint32_t epoch;
_Thread_local char process_thread;
_Atomic int process_registered;
static struct identity self;
static _Atomic bool fork_is_handled;
static _Thread_local bool forks STATIC_TLS; /* this thread is in fork(), and has the lock */

void process_lock(void) {
    pthread_mutex_lock(&lists);
}

void process_unlock(void) {
    pthread_mutex_unlock(&lists);
}

static void before_fork(void) {
    if (forks)
        return; /* threads may have registered these at one time: then they are called more than once */
    process_lock();
    forks = true;
}

static void after_fork_in_parent(void) {
    if (!forks)
        return;
    forks = false;
    process_unlock();
}

/* Only close() is called here, which is safe between fork and exec. */
static void after_fork_in_child(void) {
    if (!forks)
        return;
    if (process_forget_parent)
        process_forget_parent();
    forks = false;
    process_unlock();
}

/* Before the lock is ever taken, or a child could inherit it locked. */
static int handle_fork(void) {
    if (likely(load_acquire(&fork_is_handled)))
        return 0;
    if (pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child) != 0)
        return fail(TARN_ERROR_NO_MEMORY, "no memory for the fork handlers");
    store_release(&fork_is_handled, true);
    return 0;
}

static int make_mark(void) {
    long page = sysconf(_SC_PAGESIZE);
    uint32_t *made = mmap(NULL, (size_t)page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (made == MAP_FAILED)
        return fail_system(status_of_errno(errno), errno, "cannot allocate a page for the process' mark");
    if (madvise(made, (size_t)page, MADV_WIPEONFORK) != 0) {
        int error = errno;
        munmap(made, (size_t)page);
        return fail_system(TARN_ERROR_SYSTEM, error,
                           "the kernel cannot wipe pages on fork, for which Linux 4.14 or newer is needed");
    }
    mark_page = made;
    process_mark = made;
    return 0;
}

static int enter_locked(void) {
    if (!mark_page) {
        int status = make_mark();
        if (status)
            return status;
    }
    if (*mark_page == 0) { /* the first time in this process */
        if (epoch && process_forget_parent)
            process_forget_parent(); /* a child of a raw clone(), where the fork handlers did not run */
        os_identify(&self);
        store_relaxed(&process_registered, 0);
        *mark_page = ++epoch;
    }
    if (load_relaxed(&process_registered) == 0 && os_thread_count() == 1)
        store_relaxed(&process_registered, os_barrier_register() ? 1 : -1);
    return 0;
}

int process_enter(void) {
    int status = handle_fork();
    if (status)
        return status;
    process_lock();
    status = enter_locked();
    process_unlock();
    return status;
}

bool process_register(void) {
    if (load_relaxed(&process_registered) == 0)
        store_relaxed(&process_registered, os_barrier_register() ? 1 : -1);
    return process_is_registered();
}

void process_identify(struct identity *ret) {
    *ret = self;
    ret->opened_ns = os_now_ns();
    ret->number = os_random();
}

struct pid_text process_pid_text(int32_t pid, uint64_t namespaces) {
    struct pid_text ret;
    snprintf(ret.text, sizeof(ret.text), "pid %" PRId32 "%s", pid,
             os_numbers_alike(namespaces) ? "" : " of another pid namespace");
    return ret;
}

int tarn_process_register(void) {
    int status = process_enter();
    return status ? status : process_register();
}
