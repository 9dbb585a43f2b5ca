#include "blocking.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "iotsafe/iotsafe.h"
#include "task.h"
#include "tb/span.h"

enum { COMMAND_MAX = 300, ANSWER_MAX = 300, STACK = 256 * 1024 };
enum kind { TRANSMIT, LOCK, UNLOCK, RESET };

struct job {
    struct job *next;
    enum kind kind;
    struct dev_task *task; /* NULL: nobody waits (any more) */
    bool done;
    int result;
    unsigned flags; /* of the transport, after the job */
    size_t n;
    uint8_t command[COMMAND_MAX], answer[ANSWER_MAX];
    char why[160];
};

/* What the thread has. It outlives the transport when a command is still under way then. */
struct worker {
    pthread_mutex_t mutex;
    pthread_cond_t more;
    struct job *first, *done;
    uv_async_t *async; /* of the transport; NULL when that is gone */
    bool quit;
    struct iotsafe_transport *inner; /* the thread's alone */
    char spec[300];
};

struct blocking {
    struct iotsafe_transport t;
    uv_loop_t *loop;
    struct worker *worker; /* NULL: no command yet */
    uv_async_t async;
    unsigned waiting; /* for answers: the loop has to live so long */
    char spec[300], why[160];
};

/* ---- the thread ---- */

static int open_inner(struct worker *w, struct job *job) {
    return w->inner ? 0 : iotsafe_transport_open(w->spec, &w->inner, job->why, sizeof job->why);
}

static void work(struct worker *w, struct job *job) {
    const struct iotsafe_transport_ops *ops;
    int r = job->kind == UNLOCK ? 0 : open_inner(w, job);

    if (r == 0 && w->inner) {
        ops = w->inner->ops;
        switch (job->kind) {
        case TRANSMIT:
            r = ops->transmit(w->inner, job->command, job->n, job->answer, sizeof job->answer);
            break;
        case LOCK:
            r = ops->lock ? ops->lock(w->inner) : 0;
            break;
        case UNLOCK:
            if (ops->unlock)
                ops->unlock(w->inner);
            break;
        case RESET:
            r = ops->reset ? ops->reset(w->inner) : IOTSAFE_E_UNSUPPORTED;
            break;
        }
        job->flags = w->inner->flags;
    }
    job->result = r;
}

static void job_free(struct job *job) {
    tb_wipe(job, sizeof *job); /* secrets among the answers */
    free(job);
}

static void free_jobs(struct job *job) {
    while (job) {
        struct job *next = job->next;

        job_free(job);
        job = next;
    }
}

static void *thread(void *arg) {
    struct worker *w = arg;

    pthread_mutex_lock(&w->mutex);
    while (!w->quit || w->first) {
        struct job *job = w->first;

        if (!job) {
            pthread_cond_wait(&w->more, &w->mutex);
            continue;
        }
        pthread_mutex_unlock(&w->mutex);
        work(w, job);
        pthread_mutex_lock(&w->mutex);
        w->first = job->next;
        job->next = w->done;
        w->done = job;
        if (w->async)
            uv_async_send(w->async);
    }
    pthread_mutex_unlock(&w->mutex);
    iotsafe_transport_close(w->inner);
    free_jobs(w->done);
    pthread_cond_destroy(&w->more);
    pthread_mutex_destroy(&w->mutex);
    free(w);
    return NULL;
}

/* ---- the loop's side ---- */

static void on_done(uv_async_t *async) {
    struct blocking *b = async->data;
    struct job *job, *next;

    pthread_mutex_lock(&b->worker->mutex);
    job = b->worker->done;
    b->worker->done = NULL;
    pthread_mutex_unlock(&b->worker->mutex);
    for (; job; job = next) {
        next = job->next;
        job->done = true;
        if (job->task)
            dev_task_wake(job->task);
        else
            job_free(job);
    }
}

static int start(struct blocking *b) {
    struct worker *w = calloc(1, sizeof *w);
    pthread_attr_t attr;
    pthread_t id;
    int r;

    if (!w)
        abort();
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->more, NULL);
    snprintf(w->spec, sizeof w->spec, "%s", b->spec);
    w->async = &b->async;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    r = pthread_create(&id, &attr, thread, w);
    pthread_attr_destroy(&attr);
    if (r != 0) {
        free(w);
        return IOTSAFE_E_LINK;
    }
    uv_async_init(b->loop, &b->async, on_done);
    uv_unref((uv_handle_t *)&b->async);
    b->async.data = b;
    b->worker = w;
    return 0;
}

static void give(struct worker *w, struct job *job) {
    struct job **at;

    pthread_mutex_lock(&w->mutex);
    for (at = &w->first; *at; at = &(*at)->next)
        ;
    *at = job;
    pthread_cond_signal(&w->more);
    pthread_mutex_unlock(&w->mutex);
}

static struct job *job_new(enum kind kind, struct dev_task *task) {
    struct job *job = calloc(1, sizeof *job);

    if (!job)
        abort();
    job->kind = kind;
    job->task = task;
    return job;
}

/* 0 and the job done (the caller frees it), or IOTSAFE_E_TIMEOUT: it is left to itself. */
static int wait_for(struct blocking *b, struct job *job) {
    int r = 0;

    if (b->waiting++ == 0)
        uv_ref((uv_handle_t *)&b->async);
    give(b->worker, job);
    while (!job->done && r == 0)
        r = dev_task_wait(job->task, 0);
    if (--b->waiting == 0)
        uv_unref((uv_handle_t *)&b->async);
    if (!job->done) {
        job->task = NULL;
        return IOTSAFE_E_TIMEOUT;
    }
    return 0;
}

static int perform(struct blocking *b, enum kind kind, const uint8_t *cmd, size_t n, uint8_t *rsp,
                   size_t cap) {
    struct dev_task *task = dev_task_current();
    struct job *job;
    int r;

    if (!task)
        return IOTSAFE_E_LINK;
    if (n > COMMAND_MAX)
        return IOTSAFE_E_ARGUMENT;
    r = b->worker ? 0 : start(b);
    if (r < 0)
        return r;
    job = job_new(kind, task);
    memcpy(job->command, cmd, n);
    job->n = n;
    r = wait_for(b, job);
    if (r < 0)
        return r;
    r = job->result;
    b->t.flags = job->flags;
    snprintf(b->why, sizeof b->why, "%s", job->why);
    if (kind == TRANSMIT && r > 0) {
        if ((size_t)r > cap)
            r = IOTSAFE_E_TOO_SMALL;
        else
            memcpy(rsp, job->answer, (size_t)r);
    }
    job_free(job);
    return r;
}

/* ---- the transport ---- */

static int transmit(struct iotsafe_transport *t, const uint8_t *cmd, size_t cmd_len, uint8_t *rsp,
                    size_t rsp_cap) {
    return perform((struct blocking *)t, TRANSMIT, cmd, cmd_len, rsp, rsp_cap);
}

static int lock(struct iotsafe_transport *t) {
    struct blocking *b = (struct blocking *)t;
    int r = perform(b, LOCK, (const uint8_t *)"", 0, NULL, 0);

    if (r == IOTSAFE_E_TIMEOUT && b->worker) /* it will be had when nobody wants it any more */
        give(b->worker, job_new(UNLOCK, NULL));
    return r;
}

static void unlock(struct iotsafe_transport *t) {
    struct blocking *b = (struct blocking *)t;

    if (b->worker)
        give(b->worker, job_new(UNLOCK, NULL));
}

static int reset(struct iotsafe_transport *t) {
    return perform((struct blocking *)t, RESET, (const uint8_t *)"", 0, NULL, 0);
}

static void on_closed(uv_handle_t *h) {
    free(h->data);
}

static void close_blocking(struct iotsafe_transport *t) {
    struct blocking *b = (struct blocking *)t;
    struct worker *w = b->worker;

    if (!w) {
        free(b);
        return;
    }
    pthread_mutex_lock(&w->mutex);
    w->async = NULL;
    w->quit = true;
    pthread_cond_signal(&w->more);
    pthread_mutex_unlock(&w->mutex);
    uv_ref((uv_handle_t *)&b->async);
    uv_close((uv_handle_t *)&b->async, on_closed);
}

static const struct iotsafe_transport_ops ops = {
    .transmit = transmit, .lock = lock, .unlock = unlock, .reset = reset, .close = close_blocking};

struct iotsafe_transport *dev_blocking_new(uv_loop_t *loop, const char *spec) {
    struct blocking *b = calloc(1, sizeof *b);

    if (!b)
        abort();
    b->t.ops = &ops;
    b->loop = loop;
    snprintf(b->spec, sizeof b->spec, "%s", spec);
    return &b->t;
}

bool dev_is_blocking(const struct iotsafe_transport *t) {
    return t->ops == &ops;
}

const char *dev_blocking_why(const struct iotsafe_transport *t) {
    return ((const struct blocking *)t)->why;
}
