/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Keeps what is sent in the topic "news", for those who come later. */
#include <stdio.h>
#include <tarn.h>

int main(void) {
    tarn_keeper *keeper;
    int got = tarn_keeper_open(&keeper, "news", NULL);
    while (got >= 0 && (got = tarn_keeper_wait(keeper, TARN_FOREVER)) == 1)
        printf("%llu publishers were let go so far\n", (unsigned long long)tarn_keeper_let_go(keeper));
    fprintf(stderr, "%s\n", tarn_error());
    return 1;
}
