/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* One loop for messages and for something else, here standard input: prints both, and ends with the input. */
#include <poll.h>
#include <stdio.h>
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
    struct pollfd fds[2] = {{tarn_subscriber_fd(sub), POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    if (fds[0].fd < 0)
        return failed();
    while (poll(fds, 2, -1) > 0) {
        tarn_message m;
        int taken = 0;
        /* until there is none: that makes the descriptor quiet */
        while (fds[0].revents && (taken = tarn_subscriber_take(sub, &m)) == 1) {
            printf("message: %.*s\n", (int)m.bytes, (const char *)m.data);
            tarn_message_release(&m);
        }
        if (taken < 0)
            return failed();
        char typed[256];
        ssize_t bytes = fds[1].revents ? read(STDIN_FILENO, typed, sizeof(typed)) : 0;
        if (fds[1].revents && bytes <= 0)
            break;
        printf("%s%.*s", bytes ? "typed: " : "", (int)bytes, typed);
        fflush(stdout);
    }
    return tarn_subscriber_close(sub) != 0;
}
