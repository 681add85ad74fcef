/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Clients and servers. call() waits in slices, so it cannot be the library's: responses to other requests that come
 * meanwhile are set aside for take() and receive(), which look there first, as are the deaths of their servers.
 */
#include "binding.h"

/*
 * ---- clients --------------------------------------------------------------------------------------------------------
 */

static int client_open(void **ret, const char *topic, const void *options) {
    return tarn_client_open((tarn_client **)ret, topic, options);
}
static int client_close(void *tarn) {
    return tarn_client_close(tarn);
}
static int client_wait(void *tarn, int64_t timeout_ns) {
    return tarn_client_wait(tarn, timeout_ns);
}
static int client_interrupt(void *tarn) {
    return tarn_client_interrupt(tarn);
}
static int client_fd(void *tarn) {
    return tarn_client_fd(tarn);
}
static int client_pending(void *tarn) {
    return tarn_client_pending(tarn);
}
static int client_servers(void *tarn) {
    return tarn_client_servers(tarn);
}

/* The exception that a server has died, with the number of the request. */
static PyObject *death_of(uint64_t request) {
    PyObject *error = status_exception(TARN_ERROR_PEER_DIED);
    PyObject *number = error ? PyLong_FromUnsignedLongLong(request) : NULL;
    if (!number || PyObject_SetAttrString(error, "request", number) < 0)
        Py_CLEAR(error);
    Py_XDECREF(number);
    return error;
}

/* The next response, or death, of any request. 1: ret is a message or an exception; 0; -1: raised. */
static int client_next(Handle *handle, PyObject **ret, uint64_t *ret_request) {
    tarn_message message;
    int taken = tarn_client_take(handle->tarn, &message);
    if (taken == 0)
        return 0;
    if (taken < 0 && taken != TARN_ERROR_PEER_DIED)
        return fail_status(taken);
    *ret_request = message.request;
    *ret = taken == 1 ? message_new(handle, handle->other_type, &message) : death_of(message.request);
    return *ret ? 1 : -1;
}

/* Raises an exception, hands on a message. Takes over what it is given. */
static int hand_out(PyObject *what, PyObject **ret) {
    if (!PyExceptionInstance_Check(what)) {
        *ret = what;
        return 1;
    }
    PyErr_SetObject((PyObject *)Py_TYPE(what), what);
    Py_DECREF(what);
    return -1;
}

static int client_take(Handle *handle, PyObject **ret) {
    PyObject *next;
    uint64_t request;
    if (handle_has_set_aside(handle)) {
        next = PyList_GetItem(handle->set_aside, 0);
        Py_INCREF(next);
        if (PyList_SetSlice(handle->set_aside, 0, 1, NULL) < 0) {
            Py_DECREF(next);
            return -1;
        }
        return hand_out(next, ret);
    }
    int result = client_next(handle, &next, &request);
    return result == 1 ? hand_out(next, ret) : result;
}

static int set_aside(Handle *handle, PyObject *what) {
    if (!handle->set_aside)
        handle->set_aside = PyList_New(0);
    int status = handle->set_aside ? PyList_Append(handle->set_aside, what) : -1;
    Py_DECREF(what);
    return status;
}

/* The first response to that request. */
static int client_await(Handle *handle, uint64_t request, int64_t deadline, PyObject **ret) {
    for (;;) {
        uint64_t of;
        PyObject *next;
        int result = client_next(handle, &next, &of);
        if (result < 0)
            return -1;
        if (result == 1 && of == request)
            return hand_out(next, ret);
        if (result == 1 ? set_aside(handle, next) < 0 : (result = handle_wait(handle, deadline)) < 0)
            return -1;
        if (result == 0)
            return 0;
    }
}

static const struct option client_options[] = {
    OPTION(OPTION_TEXT, tarn_client_options, directory),
    OPTION(OPTION_TEXT, tarn_client_options, domain),
    OPTION(OPTION_TYPE, tarn_client_options, request_type),
    OPTION(OPTION_TYPE, tarn_client_options, response_type),
    OPTION(OPTION_U64, tarn_client_options, memory_limit_bytes),
    OPTION(OPTION_U32, tarn_client_options, max_pending),
    OPTION(OPTION_U32, tarn_client_options, max_held),
    OPTION(OPTION_U32, tarn_client_options, when_full),
    OPTION(OPTION_U32, tarn_client_options, wait_strategy),
    OPTION_SECONDS(tarn_client_options, full_timeout),
    OPTION_SECONDS(tarn_client_options, spin),
    OPTION_SECONDS(tarn_client_options, server_timeout),
    {NULL, 0, 0},
};

static const struct kind client_kind = {
    .name = "client",
    .options = client_options,
    .options_bytes = sizeof(tarn_client_options),
    .open = client_open,
    .close = client_close,
    .wait = client_wait,
    .interrupt = client_interrupt,
    .fd = client_fd,
    .take = client_take,
    .idle = client_pending,
};

static int client_init(PyObject *self, PyObject *arguments, PyObject *options) {
    return handle_open((Handle *)self, &client_kind, arguments, options);
}

/* The request's number, or 0: raised. */
static uint64_t send_request(Handle *handle, PyObject *object) {
    Buffer data;
    uint64_t request = 0;
    if (!handle_enter(handle) || data_get(object, handle->type, &data) < 0)
        return 0;
    struct patience patience = {.tried_ns = now_ns()};
    int sent = handle_enter(handle) ? 0 : -1;
    if (sent == 0)
        do {
            PyThreadState *state = handle_unlock(handle);
            sent = tarn_client_send(handle->tarn, data.buf, (size_t)data.len, &request);
            handle_lock(handle, state);
        } while (handle_goes_on(handle, sent, &patience));
    PyBuffer_Release(&data);
    if (sent == 1)
        return request;
    raise_sent(sent);
    return 0;
}

static PyObject *client_send(PyObject *self, PyObject *data) {
    uint64_t request = send_request((Handle *)self, data);
    return request ? PyLong_FromUnsignedLongLong(request) : NULL;
}

/* Gives it up, whatever is raised just now. */
static void abandon(Handle *handle, uint64_t request) {
    if (handle->tarn && !handle->busy)
        tarn_client_abandon(handle->tarn, request);
}

static PyObject *client_call(PyObject *self, PyObject *arguments, PyObject *names) {
    static char *known[] = {"data", "timeout", NULL};
    Handle *handle = (Handle *)self;
    PyObject *data, *seconds = NULL, *answer = NULL;
    int64_t timeout_ns;
    if (!PyArg_ParseTupleAndKeywords(arguments, names, "O|O", known, &data, &seconds) ||
        timeout_parse(seconds, &timeout_ns) < 0)
        return NULL;
    int64_t deadline = deadline_ns(timeout_ns);
    uint64_t request = send_request(handle, data);
    if (!request)
        return NULL;
    int result = client_await(handle, request, deadline, &answer);
    bool is_last = result == 1 && (((Payload *)answer)->message.flags & TARN_MESSAGE_LAST);
    if (!is_last)
        abandon(handle, request);
    if (result == 1)
        return answer;
    if (result == 0)
        PyErr_SetString(PyExc_TimeoutError, "no server has answered in time; the request is abandoned");
    return NULL;
}

static PyObject *client_loan(PyObject *self, PyObject *number) {
    Handle *handle = (Handle *)self;
    uint64_t request;
    tarn_loan loan;
    Py_ssize_t bytes;
    if (loan_bytes(number, &bytes) < 0 || !handle_enter(handle))
        return NULL;
    struct patience patience = {.tried_ns = now_ns()};
    int lent;
    do {
        PyThreadState *state = handle_unlock(handle);
        lent = tarn_client_loan(handle->tarn, (size_t)bytes, &loan, &request);
        handle_lock(handle, state);
    } while (handle_goes_on(handle, lent, &patience));
    if (lent < 0)
        return raise_sent(lent);
    PyObject *made = payload_new(&loan_payload, classes.loan, handle, handle->type, &loan);
    if (made)
        ((Payload *)made)->request = request;
    return made;
}

static PyObject *client_abandon(PyObject *self, PyObject *number) {
    Handle *handle = (Handle *)self;
    unsigned long long request = PyLong_AsUnsignedLongLong(number);
    if (PyErr_Occurred() || !handle_enter(handle))
        return NULL;
    int result = tarn_client_abandon(handle->tarn, request);
    return result < 0 ? raise_status(result) : PyBool_FromLong(result);
}

static PyObject *pending(PyObject *self, PyObject *unused) {
    (void)unused;
    return handle_count(self, client_pending);
}

static PyObject *servers(PyObject *self, PyObject *unused) {
    (void)unused;
    return handle_count(self, client_servers);
}

static PyMethodDef client_methods[] = {
    HANDLE_WAITING_METHODS,
    METHOD_WITH_NAMES("call", client_call,
                      "call(data, timeout=None)\n--\n\nSends a request and returns its first response; the "
                      "rest, if it was not the last, is given up."),
    {"send", client_send, METH_O, "send(data)\n--\n\nSends a request; returns its number, which its responses carry."},
    {"loan", client_loan, METH_O, "loan(bytes)\n--\n\nA place to write a request to."},
    {"abandon", client_abandon, METH_O, "abandon(request)\n--\n\nGives a request up. False: no such one is pending."},
    {"pending", pending, METH_NOARGS, "pending()\n--\n\nRequests not answered to their end."},
    {"servers", servers, METH_NOARGS, "servers()\n--\n\nHow many live ones the topic has."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot client_slots[] = {
    {Py_tp_doc, "Sends requests, each to one of the topic's servers."},
    {Py_tp_init, client_init},
    {Py_tp_methods, client_methods},
    {0, NULL},
};

/*
 * ---- servers --------------------------------------------------------------------------------------------------------
 */

static int server_open(void **ret, const char *topic, const void *options) {
    return tarn_server_open((tarn_server **)ret, topic, options);
}
static int server_close(void *tarn) {
    return tarn_server_close(tarn);
}
static int server_wait(void *tarn, int64_t timeout_ns) {
    return tarn_server_wait(tarn, timeout_ns);
}
static int server_interrupt(void *tarn) {
    return tarn_server_interrupt(tarn);
}
static int server_fd(void *tarn) {
    return tarn_server_fd(tarn);
}
static int server_clients(void *tarn) {
    return tarn_server_clients(tarn);
}

static int server_take(Handle *handle, PyObject **ret) {
    tarn_request request;
    int taken = tarn_server_take(handle->tarn, &request);
    if (taken < 0)
        return fail_status(taken);
    if (taken == 0)
        return 0;
    *ret = payload_new(&request_payload, classes.request, handle, handle->type, &request);
    return *ret ? 1 : -1;
}

static const struct option server_options[] = {
    OPTION(OPTION_TEXT, tarn_server_options, directory),
    OPTION(OPTION_TEXT, tarn_server_options, domain),
    OPTION(OPTION_TYPE, tarn_server_options, request_type),
    OPTION(OPTION_TYPE, tarn_server_options, response_type),
    OPTION(OPTION_U64, tarn_server_options, memory_limit_bytes),
    OPTION(OPTION_U32, tarn_server_options, max_taken),
    OPTION(OPTION_U32, tarn_server_options, when_full),
    OPTION(OPTION_U32, tarn_server_options, wait_strategy),
    OPTION_SECONDS(tarn_server_options, full_timeout),
    OPTION_SECONDS(tarn_server_options, spin),
    OPTION_SECONDS(tarn_server_options, linger),
    {NULL, 0, 0},
};

static const struct kind server_kind = {
    .name = "server",
    .options = server_options,
    .options_bytes = sizeof(tarn_server_options),
    .open = server_open,
    .close = server_close,
    .wait = server_wait,
    .interrupt = server_interrupt,
    .fd = server_fd,
    .take = server_take,
};

static int server_init(PyObject *self, PyObject *arguments, PyObject *options) {
    return handle_open((Handle *)self, &server_kind, arguments, options);
}

static PyObject *clients(PyObject *self, PyObject *unused) {
    (void)unused;
    return handle_count(self, server_clients);
}

static PyMethodDef server_methods[] = {
    HANDLE_WAITING_METHODS,
    {"clients", clients, METH_NOARGS, "clients()\n--\n\nHow many live ones the topic has."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot server_slots[] = {
    {Py_tp_doc, "Answers requests."},
    {Py_tp_init, server_init},
    {Py_tp_methods, server_methods},
    {0, NULL},
};

int service_add_types(PyObject *module) {
    const unsigned flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE;
    PyType_Spec client = {"tarn_ipc._tarn.Client", sizeof(Handle), 0, flags, client_slots};
    PyType_Spec server = {"tarn_ipc._tarn.Server", sizeof(Handle), 0, flags, server_slots};
    int status = add_type(module, &client, handle_base, NULL);
    return status ? status : add_type(module, &server, handle_base, NULL);
}
