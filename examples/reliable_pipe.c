/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A pipe with many readers:   reliable_pipe receive >copy   (any number)   and   reliable_pipe send <file
 * Nothing is lost: a sender waits for the slowest receiver that lives. Receivers end when no sender is left.
 */
#include <stdio.h>
#include <string.h>
#include <tarn.h>
#include <unistd.h>

static int send_all(void) {
    tarn_publisher_options options = {sizeof(options), .full_timeout_ns = TARN_FOREVER, .linger_ns = TARN_FOREVER};
    tarn_publisher *pub;
    char piece[65536];
    size_t bytes;
    int status = tarn_publisher_open(&pub, "pipe", &options);
    while (status == 0 && tarn_publisher_subscribers(pub) == 0)
        usleep(1000);
    while (status >= 0 && (bytes = fread(piece, 1, sizeof(piece), stdin)) > 0)
        status = tarn_publisher_publish(pub, piece, bytes);
    return status < 0 ? status : tarn_publisher_close(pub); /* waits until all receivers have taken everything */
}

static int receive_all(void) {
    tarn_subscriber_options options = {sizeof(options), .reliable = 1};
    tarn_subscriber *sub;
    tarn_message m;
    int status = tarn_subscriber_open(&sub, "pipe", &options);
    for (int seen = 0, senders = 1; status == 0 && (senders || !seen);) {
        senders = tarn_subscriber_publishers(sub) > 0; /* first, since all that those gone have sent is there now */
        seen |= senders;
        while (status >= 0 && (status = tarn_subscriber_receive(sub, &m, 10000000)) == 1) {
            seen = senders = 1; /* or was there, at least: look again before ending */
            fwrite(m.data, 1, m.bytes, stdout);
            tarn_message_release(&m);
        }
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        perror("stdout");
        return 1;
    }
    return status < 0 ? status : tarn_subscriber_close(sub);
}

int main(int count, char **arguments) {
    int status = count == 2 && strcmp(arguments[1], "send") == 0 ? send_all() : receive_all();
    if (status < 0)
        fprintf(stderr, "%s\n", tarn_error());
    return status != 0;
}
