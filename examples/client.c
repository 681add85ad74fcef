/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Has its argument answered; by another server, if the one that was asked dies. */
#include <stdio.h>
#include <string.h>
#include <tarn.h>

int main(int argc, char **argv) {
    tarn_client *client;
    tarn_message answer;
    const char *text = argc > 1 ? argv[1] : "hello";
    int result = tarn_client_open(&client, "upper", NULL);
    if (result == 0)
        do
            result = tarn_client_call(client, text, strlen(text), &answer, TARN_FOREVER);
        while (result == TARN_ERROR_PEER_DIED);
    if (result != 1) {
        fprintf(stderr, "%s\n", tarn_error());
        return 1;
    }
    printf("%.*s\n", (int)answer.bytes, (const char *)answer.data);
    tarn_message_release(&answer);
    return tarn_client_close(client) != 0;
}
