/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Prints the key "speed" of the blackboard "robot", and each change of it, whoever sets it. */
#include <stdio.h>
#include <tarn.h>

int main(void) {
    tarn_reader *reader;
    tarn_value value = {0};
    char text[64];
    int key = tarn_reader_open(&reader, "robot", NULL);
    if (key == 0)
        key = tarn_reader_key(reader, "speed");
    while (key >= 0 && tarn_reader_wait_key(reader, key, value.version, TARN_FOREVER) == 1 &&
           tarn_reader_get(reader, key, text, sizeof(text), &value) == 1) {
        printf("speed %.*s\n", (int)value.bytes, text);
        fflush(stdout);
    }
    return fprintf(stderr, "%s\n", tarn_error()) > 0;
}
