/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Answers each request with its bytes in upper case, written where the client will read them. */
#include <ctype.h>
#include <stdio.h>
#include <tarn.h>

static int answer(tarn_request *request) {
    tarn_loan loan;
    int result = tarn_request_loan(request, request->bytes, 1, &loan);
    if (result != 1)
        return result;
    for (size_t i = 0; i < request->bytes; i++)
        ((char *)loan.data)[i] = (char)toupper(((const unsigned char *)request->data)[i]);
    return tarn_loan_send(&loan);
}

int main(void) {
    tarn_server *server;
    tarn_request request;
    int result = tarn_server_open(&server, "upper", NULL);
    while (result >= 0 && (result = tarn_server_receive(server, &request, TARN_FOREVER)) == 1)
        if (answer(&request) < 0) { /* its client has died, for one; others have not */
            fprintf(stderr, "%s\n", tarn_error());
            tarn_request_end(&request); /* nothing, where it is over by that */
        }
    fprintf(stderr, "%s\n", tarn_error());
    return 1;
}
