/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* The module, and how the library's statuses become exceptions. */
#include "binding.h"

struct classes classes;

/* ---- errors ----------------------------------------------------------------------------------------------------- */

static PyObject *exception_of(PyObject *class, int status, const char *sentence) {
    PyObject *error = PyObject_CallFunction(class, "s", sentence);
    PyObject *number = error ? PyLong_FromLong(status) : NULL;
    if (number && PyObject_SetAttrString(error, "status", number) < 0)
        Py_CLEAR(error);
    Py_XDECREF(number);
    return error;
}

PyObject *status_exception(int status) {
    PyObject *number = PyLong_FromLong(status);
    if (!number)
        return NULL;
    PyObject *class = classes.errors ? PyDict_GetItemWithError(classes.errors, number) : NULL;
    Py_DECREF(number);
    if (!class)
        class = classes.error ? classes.error : PyExc_RuntimeError;
    return exception_of(class, status, tarn_error());
}

static void raise(PyObject *error) {
    if (error)
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_XDECREF(error);
}

PyObject *raise_status(int status) {
    raise(status_exception(status));
    return NULL;
}

PyObject *raise_sent(int status) {
    return PyErr_Occurred() ? NULL : raise_status(status);
}

int fail_status(int status) {
    raise_status(status);
    return -1;
}

int fail_thread(const char *what) {
    PyErr_Format(classes.thread_error ? classes.thread_error : PyExc_RuntimeError,
                 "the %s is in use by another thread: a handle belongs to one thread at a time", what);
    return -1;
}

/*
 * ---- the module ---------------------------------------------------------------------------------------------------
 */

int add_type(PyObject *module, PyType_Spec *spec, PyObject *base, PyObject **ret) {
    PyObject *bases = base ? PyTuple_Pack(1, base) : NULL;
    if (base && !bases)
        return -1;
    PyObject *type = PyType_FromSpecWithBases(spec, bases);
    Py_XDECREF(bases);
    if (!type)
        return -1;
    if (ret) {
        *ret = type;
        Py_INCREF(type);
    }
    int status = PyModule_AddObject(module, strrchr(spec->name, '.') + 1, type);
    if (status < 0)
        Py_DECREF(type);
    return status;
}

/* The classes are one interpreter's, and so is the GIL that handles count on. */
static int refuse_others(void) {
    static int64_t ours = -1;
    int64_t id = PyInterpreterState_GetID(PyInterpreterState_Get());
    if (ours < 0)
        ours = id;
    if (id == ours)
        return 0;
    PyErr_SetString(PyExc_ImportError,
                    "another interpreter of this process uses tarn_ipc, which one at a time may: use a "
                    "process instead of a subinterpreter");
    return -1;
}

/* use(errors=..., message=..., ...) */
static PyObject *use(PyObject *self, PyObject *arguments, PyObject *names) {
    static char *known[] = {"errors", "error", "thread_error", "message",      "request",          "job", "loan",
                            "event",  "match", "ready",        "known_dtypes", "array_of_payload", NULL};
    struct classes given = {0};
    (void)self;
    if (!PyArg_ParseTupleAndKeywords(arguments, names, "$OOOOOOOOOOOO", known, &given.errors, &given.error,
                                     &given.thread_error, &given.message, &given.request, &given.job, &given.loan,
                                     &given.event, &given.match, &given.ready, &given.known_dtypes,
                                     &given.array_of_payload) ||
        refuse_others() < 0)
        return NULL;
    if (!PyDict_Check(given.errors) || !PyDict_Check(given.known_dtypes)) {
        PyErr_SetString(PyExc_TypeError, "errors and known_dtypes are dicts");
        return NULL;
    }
    PyObject **from = (PyObject **)&given, **to = (PyObject **)&classes;
    for (size_t i = 0; i < sizeof(classes) / sizeof(*to); i++) {
        PyObject *old = to[i];
        Py_INCREF(from[i]);
        to[i] = from[i];
        Py_XDECREF(old);
    }
    Py_RETURN_NONE;
}

static PyObject *close_all(PyObject *self, PyObject *unused) {
    (void)self, (void)unused;
    handle_close_all();
    Py_RETURN_NONE;
}

static PyObject *process_register(PyObject *self, PyObject *unused) {
    (void)self, (void)unused;
    PyThreadState *state = PyEval_SaveThread();
    int registered = tarn_process_register();
    PyEval_RestoreThread(state);
    return registered < 0 ? raise_status(registered) : PyBool_FromLong(registered);
}

static PyObject *role_text(PyObject *self, PyObject *role) {
    unsigned long number = PyLong_AsUnsignedLong(role);
    (void)self;
    return PyErr_Occurred() ? NULL : PyUnicode_FromString(tarn_role_text((uint32_t)number));
}

static PyMethodDef functions[] = {
    METHOD_WITH_NAMES("use", use, "use(**what)\n--\n\nThe classes to make objects of, and what to ask Python for."),
    {"close_all", close_all, METH_NOARGS, "close_all()\n--\n\nCloses what is open and not in use."},
    {"process_register", process_register, METH_NOARGS, "process_register()\n--\n\nSee tarn_process_register."},
    {"role_text", role_text, METH_O, "role_text(role)\n--\n\nA word for a role."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "tarn_ipc._tarn", "The C half of tarn_ipc.", -1, functions, NULL, NULL, NULL, NULL,
};

static int (*const parts[])(PyObject *module) = {
    fork_prepare,     handle_add_type, payload_add_types, array_add_types,   messages_add_types, service_add_types,
    events_add_types, board_add_types, queue_add_types,   monitor_add_types, keeper_add_types,   waitset_add_types,
};

PyMODINIT_FUNC PyInit__tarn(void) {
    PyObject *module = PyModule_Create(&definition);
    int status = module ? PyModule_AddStringConstant(module, "version", tarn_version()) : -1;
    for (size_t i = 0; status == 0 && i < sizeof(parts) / sizeof(*parts); i++)
        status = parts[i](module);
    if (status < 0)
        Py_CLEAR(module);
    return module;
}
