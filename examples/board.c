/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* The latest value of a key: "board set 1.5" sets it and stays; "board" prints it, and each change. */
#include <stdio.h>
#include <string.h>
#include <tarn.h>
#include <unistd.h>

static int failed(void) {
    fprintf(stderr, "%s\n", tarn_error());
    return 1;
}

static int set(const char *text) {
    tarn_writer *writer;
    int key = tarn_writer_open(&writer, "robot", NULL);
    if (key < 0 || (key = tarn_writer_key(writer, "speed")) < 0 || tarn_writer_set(writer, key, text, strlen(text)) < 0)
        return failed();
    pause(); /* the value stays while this runs, or a reader has it */
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 3)
        return set(argv[2]);
    tarn_reader *reader;
    int key = tarn_reader_open(&reader, "robot", NULL);
    if (key < 0 || (key = tarn_reader_key(reader, "speed")) < 0)
        return failed();
    for (tarn_value value = {0}; tarn_reader_wait_key(reader, key, value.version, TARN_FOREVER) == 1;) {
        char text[64];
        if (tarn_reader_get(reader, key, text, sizeof(text), &value) < 0)
            return failed();
        printf("speed %.*s\n", (int)value.bytes, text);
        fflush(stdout);
    }
    return failed();
}
