/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* What overhead.py does, in C: nanoseconds for each, printed in its order. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tarn.h>
#include <time.h>

#define COUNT 1000000

static long long now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void check(int status) {
    if (status >= 0)
        return;
    fprintf(stderr, "%s\n", tarn_error());
    exit(1);
}

static void message(tarn_publisher *publisher, tarn_subscriber *subscriber) {
    tarn_message taken;
    check(tarn_publisher_publish(publisher, "12345678", 8));
    check(tarn_subscriber_take(subscriber, &taken));
    (void)*(const volatile char *)taken.data;
    check(tarn_message_release(&taken));
}

static void loan(tarn_publisher *publisher, tarn_subscriber *subscriber) {
    tarn_loan lent;
    tarn_message taken;
    check(tarn_publisher_loan(publisher, 8, &lent));
    memcpy(lent.data, "12345678", 8);
    check(tarn_loan_send(&lent));
    check(tarn_subscriber_take(subscriber, &taken));
    check(tarn_message_release(&taken));
}

static long long per_run(void (*run)(tarn_publisher *, tarn_subscriber *), tarn_publisher *publisher,
                         tarn_subscriber *subscriber) {
    long long start = now_ns();
    for (int i = 0; i < COUNT; i++)
        run(publisher, subscriber);
    return (now_ns() - start) / COUNT;
}

int main(void) {
    tarn_publisher *publisher;
    tarn_subscriber *subscriber;
    tarn_notifier *notifier;
    tarn_listener *listener;
    tarn_event event;
    check(tarn_publisher_open(&publisher, "overhead", NULL));
    check(tarn_subscriber_open(&subscriber, "overhead", NULL));
    check(tarn_notifier_open(&notifier, "overhead/events", NULL));
    check(tarn_listener_open(&listener, "overhead/events", NULL));
    long long messages = per_run(message, publisher, subscriber), loans = per_run(loan, publisher, subscriber);
    long long start = now_ns();
    for (int i = 0; i < COUNT; i++) {
        check(tarn_notifier_notify(notifier, 3));
        check(tarn_listener_take(listener, &event));
    }
    long long events = now_ns() - start;
    printf("%lld %lld %lld\n", messages, loans, events / COUNT);
    tarn_publisher_close(publisher);
    tarn_subscriber_close(subscriber);
    tarn_notifier_close(notifier);
    tarn_listener_close(listener);
    return 0;
}
