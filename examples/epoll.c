/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* A subscriber in an epoll loop of one's own, beside standard input; takes one message each time. Ends with the input. */
#include <stdio.h>
#include <sys/epoll.h>
#include <tarn.h>
#include <unistd.h>

static int failed(void) {
    fprintf(stderr, "%s\n", tarn_error());
    return 1;
}

int main(void) {
    tarn_subscriber *sub;
    if (tarn_subscriber_open(&sub, "hello", NULL) < 0)
        return failed();
    int fd = tarn_subscriber_fd(sub), epoll = epoll_create1(EPOLL_CLOEXEC);
    if (fd < 0)
        return failed();
    struct epoll_event messages = {.events = EPOLLIN, .data.fd = fd},
                       input = {.events = EPOLLIN, .data.fd = STDIN_FILENO};
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd,
              &messages); /* level-triggered: it stays readable as long as there is something */
    epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &input);

    struct epoll_event event;
    while (epoll_wait(epoll, &event, 1, -1) == 1) {
        char typed[256];
        tarn_message m;
        if (event.data.fd == STDIN_FILENO && read(STDIN_FILENO, typed, sizeof(typed)) <= 0)
            break;
        if (event.data.fd == STDIN_FILENO)
            continue;
        int taken = tarn_subscriber_take(sub, &m); /* 0: it had to look at its peers, no more */
        if (taken < 0)
            return failed();
        if (taken) {
            printf("message: %.*s\n", (int)m.bytes, (const char *)m.data);
            fflush(stdout);
            tarn_message_release(&m);
        }
    }
    close(epoll);
    return tarn_subscriber_close(sub) != 0;
}
