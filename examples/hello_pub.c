/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Sends one message to whoever subscribes now. Closing waits, a second at most, until all of them have it at hand. */
#include <stdio.h>
#include <tarn.h>

int main(void) {
    tarn_publisher *pub;
    if (tarn_publisher_open(&pub, "hello", NULL) < 0 || tarn_publisher_publish(pub, "Hello, world", 12) < 0) {
        fprintf(stderr, "%s\n", tarn_error());
        return 1;
    }
    return tarn_publisher_close(pub) != 0;
}
