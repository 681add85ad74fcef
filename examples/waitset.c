/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* One wait for two topics, a timer and signals: prints what comes, and every second how much; SIGINT and SIGTERM end it. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <tarn.h>
#include <unistd.h>

static int failed(void) {
    fprintf(stderr, "%s\n", tarn_error());
    return 1;
}

int main(void) {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    int stop = signalfd(-1, &signals, SFD_CLOEXEC), timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    timerfd_settime(timer, 0, &(struct itimerspec){{1, 0}, {1, 0}}, NULL);

    tarn_waitset *set;
    tarn_subscriber *hello, *news;
    if (tarn_waitset_open(&set, NULL) < 0 || tarn_subscriber_open(&hello, "hello", NULL) < 0 ||
        tarn_subscriber_open(&news, "news", NULL) < 0 || tarn_waitset_add(set, hello, "hello") < 0 ||
        tarn_waitset_add(set, news, "news") < 0 || tarn_waitset_add_fd(set, timer, POLLIN, NULL) < 0 ||
        tarn_waitset_add_fd(set, stop, POLLIN, NULL) < 0)
        return failed();

    tarn_ready ready;
    unsigned long messages = 0, seconds = 0;
    int count;
    while ((count = tarn_waitset_wait(set, &ready, 1, TARN_FOREVER)) == 1 && ready.fd != stop) {
        if (ready.fd == timer) {
            if (read(timer, &seconds, sizeof(seconds)) > 0)
                printf("%lu messages\n", messages);
        } else {
            tarn_message m; /* one at a time: what else is there is reported again */
            int taken = tarn_subscriber_take(ready.handle, &m);
            if (taken < 0)
                return failed();
            if (taken == 0)
                continue;
            printf("%s: %.*s\n", (const char *)ready.tag, (int)m.bytes, (const char *)m.data);
            tarn_message_release(&m);
            messages++;
        }
        fflush(stdout);
    }
    if (count < 0)
        return failed();
    return tarn_waitset_close(set) || tarn_subscriber_close(hello) || tarn_subscriber_close(news);
}
