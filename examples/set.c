/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Sets the key "speed" of the blackboard "robot" to its argument, and stays: a value lives as long as somebody has it. */
#include <stdio.h>
#include <string.h>
#include <tarn.h>
#include <unistd.h>

int main(int argc, char **argv) {
    tarn_writer *writer;
    const char *text = argc > 1 ? argv[1] : "0";
    int key = tarn_writer_open(&writer, "robot", NULL);
    if (key == 0)
        key = tarn_writer_key(writer, "speed");
    if (key < 0 || tarn_writer_set(writer, key, text, strlen(text)) < 0) {
        fprintf(stderr, "%s\n", tarn_error());
        return 1;
    }
    pause();
    return 0;
}
