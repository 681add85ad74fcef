/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Prints what is sent from now on, until it is killed. Nothing has to be cleaned up then. */
#include <stdio.h>
#include <tarn.h>

int main(void) {
    tarn_subscriber *sub;
    tarn_message m;
    if (tarn_subscriber_open(&sub, "hello", NULL) == 0)
        for (; tarn_subscriber_receive(sub, &m, TARN_FOREVER) == 1; tarn_message_release(&m))
            dprintf(1, "%.*s\n", (int)m.bytes, (const char *)m.data);
    return fprintf(stderr, "%s\n", tarn_error()) > 0;
}
