/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Prints which events were raised, and how often since the last time. Event 100 is that a notifier has died. */
#include <stdio.h>
#include <tarn.h>

int main(void) {
    tarn_listener *listener;
    tarn_event event;
    if (tarn_listener_open(&listener, "doors", NULL) == 0)
        while (tarn_listener_receive(listener, &event, TARN_FOREVER) == 1) {
            if (event.id == 100)
                printf("somebody died\n");
            else
                printf("door %u: %llu\n", event.id, (unsigned long long)event.count);
            fflush(stdout);
        }
    return fprintf(stderr, "%s\n", tarn_error()) > 0;
}
