/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Notifiers and listeners. */
#include "binding.h"

/*
 * ---- notifiers ------------------------------------------------------------------------------------------------------
 */

static int notifier_open(void **ret, const char *topic, const void *options) {
    return tarn_notifier_open((tarn_notifier **)ret, topic, options);
}
static int notifier_close(void *tarn) {
    return tarn_notifier_close(tarn);
}
static int notifier_listeners(void *tarn) {
    return tarn_notifier_listeners(tarn);
}

static const struct option notifier_options[] = {
    OPTION(OPTION_TEXT, tarn_notifier_options, directory),
    OPTION(OPTION_TEXT, tarn_notifier_options, domain),
    OPTION(OPTION_AFTER, tarn_notifier_options, death_event),
    {NULL, 0, 0},
};

static const struct kind notifier_kind = {
    .name = "notifier",
    .options = notifier_options,
    .options_bytes = sizeof(tarn_notifier_options),
    .open = notifier_open,
    .close = notifier_close,
};

static int notifier_init(PyObject *self, PyObject *arguments, PyObject *options) {
    return handle_open((Handle *)self, &notifier_kind, arguments, options);
}

static PyObject *notify(PyObject *self, PyObject *arguments, PyObject *names) {
    static char *known[] = {"event", "count", NULL};
    Handle *handle = (Handle *)self;
    PyObject *event, *count = NULL;
    if (!PyArg_ParseTupleAndKeywords(arguments, names, "O|O", known, &event, &count))
        return NULL;
    unsigned long id = PyLong_AsUnsignedLong(event);
    unsigned long long often = count && !PyErr_Occurred() ? PyLong_AsUnsignedLongLong(count) : 1;
    if (PyErr_Occurred() || !handle_enter(handle))
        return NULL;
    int raised = tarn_notifier_notify_many(handle->tarn, id > UINT32_MAX ? UINT32_MAX : (uint32_t)id, often);
    if (raised < 0)
        return raise_status(raised);
    Py_RETURN_NONE;
}

static PyObject *listeners(PyObject *self, PyObject *unused) {
    (void)unused;
    return handle_count(self, notifier_listeners);
}

static PyMethodDef notifier_methods[] = {
    METHOD_WITH_NAMES("notify", notify, "notify(event, count=1)\n--\n\nRaises an event, count times."),
    {"listeners", listeners, METH_NOARGS, "listeners()\n--\n\nHow many live ones the topic has."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot notifier_slots[] = {
    {Py_tp_doc, "Raises events: numbers from 0 to 65535."},
    {Py_tp_init, notifier_init},
    {Py_tp_methods, notifier_methods},
    {0, NULL},
};

/*
 * ---- listeners ------------------------------------------------------------------------------------------------------
 */

static int listener_open(void **ret, const char *topic, const void *options) {
    return tarn_listener_open((tarn_listener **)ret, topic, options);
}
static int listener_close(void *tarn) {
    return tarn_listener_close(tarn);
}
static int listener_wait(void *tarn, int64_t timeout_ns) {
    return tarn_listener_wait(tarn, timeout_ns);
}
static int listener_interrupt(void *tarn) {
    return tarn_listener_interrupt(tarn);
}
static int listener_fd(void *tarn) {
    return tarn_listener_fd(tarn);
}

static int listener_take(Handle *handle, PyObject **ret) {
    tarn_event event;
    int taken = tarn_listener_take(handle->tarn, &event);
    if (taken <= 0)
        return taken < 0 ? fail_status(taken) : 0;
    *ret = PyObject_CallFunction(classes.event, "IKK", event.id, (unsigned long long)event.count,
                                 (unsigned long long)event.total);
    return *ret ? 1 : -1;
}

static const struct option listener_options[] = {
    OPTION(OPTION_TEXT, tarn_listener_options, directory),
    OPTION(OPTION_TEXT, tarn_listener_options, domain),
    OPTION(OPTION_IDS, tarn_listener_options, ids),
    OPTION(OPTION_FLAG, tarn_listener_options, history),
    OPTION(OPTION_U32, tarn_listener_options, wait_strategy),
    OPTION_SECONDS(tarn_listener_options, spin),
    {NULL, 0, 0},
};

static const struct kind listener_kind = {
    .name = "listener",
    .options = listener_options,
    .options_bytes = sizeof(tarn_listener_options),
    .open = listener_open,
    .close = listener_close,
    .wait = listener_wait,
    .interrupt = listener_interrupt,
    .fd = listener_fd,
    .take = listener_take,
};

static int listener_init(PyObject *self, PyObject *arguments, PyObject *options) {
    return handle_open((Handle *)self, &listener_kind, arguments, options);
}

static PyMethodDef listener_methods[] = {
    HANDLE_WAITING_METHODS,
    {NULL, NULL, 0, NULL},
};

static PyType_Slot listener_slots[] = {
    {Py_tp_doc, "Is told which events were raised, and how often."},
    {Py_tp_init, listener_init},
    {Py_tp_methods, listener_methods},
    {0, NULL},
};

int events_add_types(PyObject *module) {
    const unsigned flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE;
    PyType_Spec notifier = {"tarn_ipc._tarn.Notifier", sizeof(Handle), 0, flags, notifier_slots};
    PyType_Spec listener = {"tarn_ipc._tarn.Listener", sizeof(Handle), 0, flags, listener_slots};
    int status = add_type(module, &notifier, handle_base, NULL);
    return status ? status : add_type(module, &listener, handle_base, NULL);
}
