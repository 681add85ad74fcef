/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Publishers and subscribers. */
#include "binding.h"

/*
 * ---- publishers -----------------------------------------------------------------------------------------------------
 */

static int publisher_open(void **ret, const char *topic, const void *options) {
    return tarn_publisher_open((tarn_publisher **)ret, topic, options);
}
static int publisher_close(void *tarn) {
    return tarn_publisher_close(tarn);
}
static int publisher_flush(void *tarn, int64_t timeout_ns) {
    return tarn_publisher_flush(tarn, timeout_ns);
}
static int publisher_subscribers(void *tarn) {
    return tarn_publisher_subscribers(tarn);
}
static int publish_data(void *tarn, const void *data, size_t bytes) {
    return tarn_publisher_publish(tarn, data, bytes);
}

static const struct option publisher_options[] = {
    OPTION(OPTION_TEXT, tarn_publisher_options, directory),
    OPTION(OPTION_TEXT, tarn_publisher_options, domain),
    OPTION(OPTION_TYPE, tarn_publisher_options, type),
    OPTION(OPTION_U64, tarn_publisher_options, depth),
    OPTION(OPTION_U64, tarn_publisher_options, memory_limit_bytes),
    OPTION(OPTION_U32, tarn_publisher_options, when_full),
    OPTION(OPTION_U32, tarn_publisher_options, wake),
    OPTION_SECONDS(tarn_publisher_options, full_timeout),
    OPTION_SECONDS(tarn_publisher_options, linger),
    OPTION(OPTION_U32, tarn_publisher_options, alignment),
    OPTION(OPTION_FLAG, tarn_publisher_options, timestamps),
    OPTION(OPTION_FLAG, tarn_publisher_options, refuse_reliable),
    OPTION(OPTION_FLAG, tarn_publisher_options, realtime),
    OPTION(OPTION_U64, tarn_publisher_options, rotation_bytes),
    {NULL, 0, 0},
};

static const struct kind publisher_kind = {
    .name = "publisher",
    .options = publisher_options,
    .options_bytes = sizeof(tarn_publisher_options),
    .open = publisher_open,
    .close = publisher_close,
    .linger = publisher_flush,
    .linger_ns = 1000000000, /* tarn.h: unless given */
};

static int publisher_init(PyObject *self, PyObject *arguments, PyObject *options) {
    return handle_open((Handle *)self, &publisher_kind, arguments, options);
}

static PyObject *publisher_publish(PyObject *self, PyObject *object) {
    Handle *handle = (Handle *)self;
    Buffer data;
    if (!handle_enter(handle) || data_get(object, handle->type, &data) < 0)
        return NULL;
    int sent = handle_enter(handle) ? send_data(handle, &data, publish_data, handle->tarn) : 0;
    PyBuffer_Release(&data);
    if (sent < 0 || PyErr_Occurred())
        return raise_sent(sent);
    return PyBool_FromLong(sent);
}

static PyObject *publisher_loan(PyObject *self, PyObject *number) {
    Handle *handle = (Handle *)self;
    tarn_loan loan;
    Py_ssize_t bytes;
    if (loan_bytes(number, &bytes) < 0 || !handle_enter(handle))
        return NULL;
    struct patience patience = {0};
    int lent;
    do {
        PyThreadState *state = handle->may_wait ? handle_unlock(handle) : NULL;
        lent = tarn_publisher_loan(handle->tarn, (size_t)bytes, &loan);
        if (state)
            handle_lock(handle, state);
    } while (handle_goes_on(handle, lent, &patience));
    if (lent < 0)
        return raise_sent(lent);
    if (lent == 0) {
        handle->has_sent = true; /* subscribers are to be told what they lost */
        Py_RETURN_NONE;
    }
    return payload_new(&loan_payload, classes.loan, handle, handle->type, &loan);
}

static PyObject *flush(PyObject *self, PyObject *arguments, PyObject *names) {
    return handle_until(self, arguments, names, publisher_flush);
}

static PyObject *subscribers(PyObject *self, PyObject *unused) {
    (void)unused;
    return handle_count(self, publisher_subscribers);
}

static PyObject *publisher_identity(PyObject *self, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLongLong(tarn_publisher_identity(((Handle *)self)->tarn));
}

static PyMethodDef publisher_methods[] = {
    {"publish", publisher_publish, METH_O,
     "publish(data)\n--\n\nCopies data into a message and sends it. False: dropped, as when_full allows."},
    {"loan", publisher_loan, METH_O, "loan(bytes)\n--\n\nA place to write a message to. None: as publish's False."},
    METHOD_WITH_NAMES("flush", flush,
                      "flush(timeout=None)\n--\n\nWhether all have what was sent, within timeout seconds."),
    {"subscribers", subscribers, METH_NOARGS, "subscribers()\n--\n\nHow many live ones the topic has."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef publisher_getters[] = {
    {"identity", publisher_identity, NULL, "As its messages carry it; 0 when closed.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot publisher_slots[] = {
    {Py_tp_doc, "Sends messages to all who listen."},
    {Py_tp_init, publisher_init},
    {Py_tp_methods, publisher_methods},
    {Py_tp_getset, publisher_getters},
    {0, NULL},
};

/*
 * ---- subscribers ----------------------------------------------------------------------------------------------------
 */

static int subscriber_open(void **ret, const char *topic, const void *options) {
    return tarn_subscriber_open((tarn_subscriber **)ret, topic, options);
}
static int subscriber_close(void *tarn) {
    return tarn_subscriber_close(tarn);
}
static int subscriber_wait(void *tarn, int64_t timeout_ns) {
    return tarn_subscriber_wait(tarn, timeout_ns);
}
static int subscriber_interrupt(void *tarn) {
    return tarn_subscriber_interrupt(tarn);
}
static int subscriber_fd(void *tarn) {
    return tarn_subscriber_fd(tarn);
}
static int subscriber_publishers(void *tarn) {
    return tarn_subscriber_publishers(tarn);
}

static int subscriber_take(Handle *handle, PyObject **ret) {
    tarn_message message;
    int taken = tarn_subscriber_take(handle->tarn, &message);
    if (taken < 0)
        return fail_status(taken);
    if (taken == 0)
        return 0;
    *ret = message_new(handle, handle->type, &message);
    return *ret ? 1 : -1;
}

static const struct option subscriber_options[] = {
    OPTION(OPTION_TEXT, tarn_subscriber_options, directory),
    OPTION(OPTION_TEXT, tarn_subscriber_options, domain),
    OPTION(OPTION_TYPE, tarn_subscriber_options, type),
    OPTION(OPTION_U64, tarn_subscriber_options, history),
    OPTION(OPTION_FLAG, tarn_subscriber_options, reliable),
    OPTION(OPTION_U32, tarn_subscriber_options, max_held),
    OPTION(OPTION_U32, tarn_subscriber_options, wait_strategy),
    OPTION(OPTION_FLAG, tarn_subscriber_options, realtime),
    OPTION_SECONDS(tarn_subscriber_options, spin),
    {NULL, 0, 0},
};

static const struct kind subscriber_kind = {
    .name = "subscriber",
    .options = subscriber_options,
    .options_bytes = sizeof(tarn_subscriber_options),
    .open = subscriber_open,
    .close = subscriber_close,
    .wait = subscriber_wait,
    .interrupt = subscriber_interrupt,
    .fd = subscriber_fd,
    .take = subscriber_take,
};

static int subscriber_init(PyObject *self, PyObject *arguments, PyObject *options) {
    return handle_open((Handle *)self, &subscriber_kind, arguments, options);
}

static PyObject *publishers(PyObject *self, PyObject *unused) {
    (void)unused;
    return handle_count(self, subscriber_publishers);
}

static PyObject *subscriber_lost(PyObject *self, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLongLong(tarn_subscriber_lost(((Handle *)self)->tarn));
}

static PyMethodDef subscriber_methods[] = {
    HANDLE_WAITING_METHODS,
    {"publishers", publishers, METH_NOARGS, "publishers()\n--\n\nHow many live ones the topic has."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef subscriber_getters[] = {
    {"lost", subscriber_lost, NULL, "Messages lost so far, of all publishers.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot subscriber_slots[] = {
    {Py_tp_doc, "Gets what is sent on a topic from now on."},
    {Py_tp_init, subscriber_init},
    {Py_tp_methods, subscriber_methods},
    {Py_tp_getset, subscriber_getters},
    {0, NULL},
};

int messages_add_types(PyObject *module) {
    const unsigned flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE;
    PyType_Spec publisher = {"tarn_ipc._tarn.Publisher", sizeof(Handle), 0, flags, publisher_slots};
    PyType_Spec subscriber = {"tarn_ipc._tarn.Subscriber", sizeof(Handle), 0, flags, subscriber_slots};
    int status = add_type(module, &publisher, handle_base, NULL);
    return status ? status : add_type(module, &subscriber, handle_base, NULL);
}
