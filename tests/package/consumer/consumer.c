/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* A user of the installed library: sends itself one message. Prints it, or the error. */
#include <stdio.h>
#include <tarn.h>

static int failed(const char *what) {
    fprintf(stderr, "%s: %s\n", what, tarn_error());
    return 1;
}

int main(void) {
    tarn_publisher *publisher;
    tarn_subscriber *subscriber;
    tarn_message message;
    if (tarn_publisher_open(&publisher, "package/test", NULL) < 0)
        return failed("publisher");
    if (tarn_subscriber_open(&subscriber, "package/test", NULL) < 0)
        return failed("subscriber");
    if (tarn_publisher_publish(publisher, "hello", 5) != 1)
        return failed("publish");
    if (tarn_subscriber_receive(subscriber, &message, 1000000000) != 1)
        return failed("receive");
    printf("%.*s from tarn %s\n", (int)message.bytes, (const char *)message.data, tarn_version());
    tarn_message_release(&message);
    tarn_publisher_close(publisher);
    tarn_subscriber_close(subscriber);
    return 0;
}
