/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* A subscriber in a libuv loop; SIGTERM ends it. Needs libuv1-dev: cc libuv.c -ltarn -luv */
#include <stdio.h>
#include <tarn.h>
#include <uv.h>

static void on_readable(uv_poll_t *handle, int status, int events) {
    tarn_subscriber *sub = handle->data;
    tarn_message m;
    int taken = -1;
    (void)events;
    while (status == 0 && (taken = tarn_subscriber_take(sub, &m)) == 1) { /* until there is none */
        printf("message: %.*s\n", (int)m.bytes, (const char *)m.data);
        tarn_message_release(&m);
    }
    fflush(stdout);
    if (taken < 0)
        fprintf(stderr, "%s\n", status ? uv_strerror(status) : tarn_error());
}

static void on_signal(uv_signal_t *handle, int number) {
    (void)number;
    uv_stop(handle->loop);
}

int main(void) {
    tarn_subscriber *sub;
    int fd = -1;
    if (tarn_subscriber_open(&sub, "hello", NULL) < 0 || (fd = tarn_subscriber_fd(sub)) < 0)
        return fprintf(stderr, "%s\n", tarn_error()) > 0;
    uv_loop_t *loop = uv_default_loop();
    uv_poll_t messages = {.data = sub};
    uv_signal_t signals;
    uv_poll_init(loop, &messages, fd);
    uv_poll_start(&messages, UV_READABLE, on_readable);
    uv_signal_init(loop, &signals);
    uv_signal_start(&signals, on_signal, SIGTERM);
    uv_run(loop, UV_RUN_DEFAULT);

    uv_close((uv_handle_t *)&messages, NULL); /* before the subscriber, whose descriptor it watches */
    uv_close((uv_handle_t *)&signals, NULL);
    uv_run(loop, UV_RUN_DEFAULT);
    uv_loop_close(loop);
    return tarn_subscriber_close(sub) != 0;
}
