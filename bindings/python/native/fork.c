/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * What becomes of views in a forked child. The library's memory is not mapped there, so an array that the parent had
 * would point nowhere, or, later, at something else. So in a child the places that views may point into are taken by
 * pages without any access, and a handler of SIGSEGV knows them: who touches one reads zeros, and gets a ForkedError as
 * soon as the interpreter looks for pending calls, which is after the call, or at the next jump back. What others had
 * set for SIGSEGV (faulthandler) gets all other faults. A process that does not fork with views has no such handler,
 * and pays a lock per view.
 *
 * Objects (messages, handles) say so themselves, and exactly; this is for the pointers that numpy and others got from
 * them.
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "binding.h"

uint32_t fork_epoch = 1;

struct range {
    uintptr_t start, end;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Payload *listed;
static uintptr_t page_bytes;

/* Of a child: what its parents had. Never changed but by fork. */
static struct range *gone;
static size_t gone_count;
static struct sigaction others_action;
static bool has_handler;
static volatile sig_atomic_t is_pending;

/*
 * ---- the list -------------------------------------------------------------------------------------------------------
 */

void fork_list(Payload *payload) {
    if (payload->is_listed)
        return;
    pthread_mutex_lock(&lock);
    payload->is_listed = true;
    payload->next = listed;
    payload->previous = NULL;
    if (listed)
        listed->previous = payload;
    listed = payload;
    pthread_mutex_unlock(&lock);
}

void fork_unlist(Payload *payload) {
    if (!payload->is_listed)
        return;
    pthread_mutex_lock(&lock);
    payload->is_listed = false;
    if (payload->previous)
        payload->previous->next = payload->next;
    else
        listed = payload->next;
    if (payload->next)
        payload->next->previous = payload->previous;
    pthread_mutex_unlock(&lock);
}

/*
 * ---- a touch --------------------------------------------------------------------------------------------------------
 */

static void forbid(const struct range *range) {
    mmap((void *)range->start, range->end - range->start, PROT_NONE,
         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

/* Called by the interpreter: takes back what the handler allowed, and says why. */
static int say(void *unused) {
    (void)unused;
    for (size_t i = 0; i < gone_count; i++)
        forbid(&gone[i]);
    is_pending = 0;
    PyObject *number = PyLong_FromLong(TARN_ERROR_FORKED);
    PyObject *class = number && classes.errors ? PyDict_GetItemWithError(classes.errors, number) : NULL;
    Py_XDECREF(number);
    PyErr_SetString(
        class ? class : PyExc_RuntimeError,
        "an array or memoryview was touched that the parent process had made of a message or loan before it "
        "forked: that memory is not mapped in the child. Open a handle of its own in the child, or copy first");
    return -1;
}

static bool is_gone(uintptr_t address) {
    for (size_t i = 0; i < gone_count; i++)
        if (address >= gone[i].start && address < gone[i].end)
            return true;
    return false;
}

static void on_fault(int number, siginfo_t *info, void *context) {
    uintptr_t address = (uintptr_t)info->si_addr;
    (void)context;
    if (info->si_code <= 0 || !is_gone(address)) {
        sigaction(number, &others_action, NULL); /* a fault is repeated on return; what was sent is not */
        if (info->si_code <= 0)
            raise(number);
        return;
    }
    void *page = (void *)(address & ~(page_bytes - 1));
    if (mprotect(page, page_bytes, PROT_READ | PROT_WRITE) < 0)
        sigaction(number, &others_action, NULL);
    else if (!is_pending) {
        is_pending = 1;
        if (Py_AddPendingCall(say, NULL) < 0)
            is_pending = 0;
    }
}

/*
 * ---- fork -----------------------------------------------------------------------------------------------------------
 */

static void before(void) {
    pthread_mutex_lock(&lock);
}

static void after_in_parent(void) {
    pthread_mutex_unlock(&lock);
}

static void remember(const Payload *payload) {
    uintptr_t start = (uintptr_t)payload->place.data;
    gone[gone_count].start = start & ~(page_bytes - 1);
    gone[gone_count].end = (start + payload->place.bytes + page_bytes - 1) & ~(page_bytes - 1);
    forbid(&gone[gone_count++]);
}

static void catch_faults(void) {
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    if (!has_handler)
        has_handler = sigaction(SIGSEGV, &action, &others_action) == 0;
}

static void after_in_child(void) {
    size_t count = gone_count;
    is_pending = 0;
    for (Payload *payload = listed; payload; payload = payload->next)
        if (payload->epoch == fork_epoch && payload->views && payload->place.bytes)
            count++;
    fork_epoch++;
    struct range *grown = count > gone_count ? realloc(gone, count * sizeof(*grown)) : NULL;
    if (grown) {
        gone = grown;
        for (Payload *payload = listed; payload; payload = payload->next)
            if (payload->epoch + 1 == fork_epoch && payload->views && payload->place.bytes)
                remember(payload);
        catch_faults();
    }
    pthread_mutex_unlock(&lock);
}

int fork_prepare(PyObject *module) {
    (void)module;
    static bool is_prepared;
    page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
    if (is_prepared || pthread_atfork(before, after_in_parent, after_in_child) == 0) {
        is_prepared = true;
        return 0;
    }
    PyErr_NoMemory();
    return -1;
}
