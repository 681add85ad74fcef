/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * SIGINT and SIGTERM end a verb cleanly: the handler notes the signal and ends the subscriber's wait; a blocked read
 * or write ends with EINTR, as no handler restarts calls. A signal that comes between the look at stop_status() and
 * the blocking call would go unnoticed: so the handler has itself called again every second. A second signal kills.
 */
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "tarn.h"

static volatile sig_atomic_t stop_signal;
static tarn_subscriber *_Atomic waiting;
static void *_Atomic other;
static int (*_Atomic interrupt_other)(void *handle);

static void on_signal(int number) {
    if (number != SIGALRM)
        stop_signal = number;
    tarn_subscriber *subscriber = atomic_load(&waiting);
    if (subscriber)
        tarn_subscriber_interrupt(subscriber);
    void *handle = atomic_load(&other);
    if (handle)
        atomic_load (&interrupt_other)(handle);
    alarm(1);
}

void stop_on_signals(tarn_subscriber *subscriber) {
    atomic_store(&waiting, subscriber);
    struct sigaction action;
    memset(&action, 0, sizeof(action));
    sigemptyset(&action.sa_mask);
    action.sa_handler = on_signal;
    sigaction(SIGALRM, &action, NULL);
    action.sa_flags = SA_RESETHAND;
    sigaction(SIGTERM, &action, NULL);
    struct sigaction inherited;
    if (sigaction(SIGINT, NULL, &inherited) == 0 && inherited.sa_handler != SIG_IGN) /* as for background jobs */
        sigaction(SIGINT, &action, NULL);
}

void stop_forget_subscriber(void) {
    atomic_store(&waiting, NULL);
}

void stop_interrupts(int (*interrupt)(void *handle), void *handle) {
    if (interrupt)
        atomic_store(&interrupt_other, interrupt);
    atomic_store(&other, handle);
}

int stop_status(void) {
    return stop_signal ? EXIT_SIGNAL + stop_signal : EXIT_OK;
}

int64_t clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * NS_PER_S + now.tv_nsec;
}

int64_t clock_deadline_ns(int64_t timeout_ns) {
    int64_t now = clock_ns();
    return timeout_ns > INT64_MAX - now ? INT64_MAX : now + timeout_ns;
}

void clock_sleep_until(int64_t deadline_ns) {
    struct timespec deadline = {deadline_ns / NS_PER_S, deadline_ns % NS_PER_S};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &deadline, NULL);
}
