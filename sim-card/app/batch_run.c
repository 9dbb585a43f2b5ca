#include "batch_run.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "batch_row.h"
#include "store.h"
#include "tb/cms.h"
#include "tb/output_file.h"

enum { WINDOW = 64, THREADS_MAX = 64, TELL_EVERY = 256 };

/* What a card has become, until it is its turn to be written. */
struct made {
    bool ready;
    char *rows, *operator_row; /* heap */
    size_t rows_n, operator_n;
};

/* Cards are made in any order and written in theirs: at most WINDOW are ahead of the writer. */
struct run {
    const struct batch *b;
    const struct batch_options *opt;
    struct factory_options how;
    pthread_mutex_t lock;
    pthread_cond_t made, written;
    unsigned next, done; /* the next one to make, to write */
    struct made window[WINDOW];
    int failed; /* the first error */
    struct tb_error *e;
};

static double now(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static char *keep(const struct tb_buf *b) {
    char *copy = malloc(b->n ? b->n : 1);

    if (!copy)
        abort();
    memcpy(copy, b->p, b->n);
    return copy;
}

static int read_card(const struct batch *b, const struct batch_numbers *n, struct cardfile **ret,
                     struct tb_error *e) {
    char **set = calloc(b->set_n + 2, sizeof *set), eid[48];
    struct cardfile_override with = {
        .iccid = n->iccid, .imsi = *n->imsi ? n->imsi : NULL, .set = set};
    int r;

    if (!set)
        abort();
    for (size_t k = 0; k < b->set_n; k++)
        set[k] = b->set[k];
    snprintf(eid, sizeof eid, "eid=%s", n->eid);
    if (*n->eid)
        set[b->set_n] = eid;
    r = cardfile_read(b->card, &with, ret, e);
    free(set);
    if (r < 0)
        return r;
    if (*n->msisdn) {
        free((*ret)->msisdn);
        (*ret)->msisdn = strdup(n->msisdn);
        if (!(*ret)->msisdn)
            abort();
    }
    r = batch_apply(b, *ret, e);
    if (r < 0)
        cardfile_free(*ret);
    return r;
}

static int write_store(const struct run *run, const struct batch_numbers *n, struct card_nvm *card,
                       struct tb_error *e) {
    char path[4096];

    if (!run->opt->stores)
        return 0;
    if ((size_t)snprintf(path, sizeof path, "%s.part/%s.db", run->opt->stores, n->iccid) >=
        sizeof path)
        return tb_error_set(e, TB_ERANGE, run->opt->stores, 0, "the name is too long");
    return card_store_write_new(path, card, e);
}

static int make_one(const struct run *run, unsigned i, struct made *ret, struct tb_error *e) {
    static _Thread_local uint8_t room[BATCH_ROWS_MAX];
    struct tb_buf rows = TB_BUF(room);
    struct batch_numbers n;
    struct card_nvm *card = card_nvm_mem_new(0);
    struct cardfile *f = NULL;
    json_t *record = NULL;
    int r;

    if (!card)
        abort();
    batch_numbers(run->b, i, &n);
    r = read_card(run->b, &n, &f, e);
    if (r == 0) {
        r = factory_make(f, &run->how, card, &record, e);
        if (r == 0)
            r = batch_rows(run->b, &n, f, record, run->opt->kek, &rows, e);
        if (r == 0)
            r = write_store(run, &n, card, e);
        if (r == 0) {
            ret->rows = keep(&rows);
            ret->rows_n = rows.n;
            rows.n = 0;
            batch_operator_row(&n, f, record, &rows);
            ret->operator_row = keep(&rows);
            ret->operator_n = rows.n;
        }
        cardfile_free(f);
    }
    tb_wipe(room, sizeof room);
    json_decref(record);
    card_nvm_free(card);
    return r;
}

/* The number of a card to make, or count when there is none any more. */
static unsigned take_next(struct run *run) {
    unsigned i;

    pthread_mutex_lock(&run->lock);
    while (!run->failed && run->next < run->b->count && run->next >= run->done + WINDOW)
        pthread_cond_wait(&run->written, &run->lock);
    i = run->failed ? run->b->count : run->next;
    if (i < run->b->count)
        run->next++;
    pthread_mutex_unlock(&run->lock);
    return i;
}

static void *worker(void *arg) {
    struct run *run = arg;
    unsigned i;

    while ((i = take_next(run)) < run->b->count) {
        struct made m = {.ready = true};
        struct tb_error why = {0};
        int r = make_one(run, i, &m, &why);

        pthread_mutex_lock(&run->lock);
        if (r < 0 && !run->failed) {
            run->failed = r;
            *run->e = why;
        }
        run->window[i % WINDOW] = m;
        if (r < 0)
            pthread_cond_broadcast(&run->written); /* the other workers */
        pthread_cond_signal(&run->made);           /* the writer */
        pthread_mutex_unlock(&run->lock);
    }
    return NULL;
}

static void forget(struct made *m) {
    if (m->operator_row)
        tb_wipe(m->operator_row, m->operator_n);
    free(m->operator_row);
    free(m->rows);
    *m = (struct made){.ready = false};
}

static void progress(const struct run *run, unsigned i, double begun) {
    if (run->opt->progress && (i % TELL_EVERY == 0 || i == run->b->count))
        fprintf(stderr, "\r%u of %u cards, %.0f/s ", i, run->b->count, i / (now() - begun + 1e-9));
    if (run->opt->progress && i == run->b->count)
        fputc('\n', stderr);
}

static bool write_all(const struct made *m, FILE *out, FILE *operator) {
    return fwrite(m->rows, 1, m->rows_n, out) == m->rows_n &&
           (!operator|| fwrite(m->operator_row, 1, m->operator_n, operator) == m->operator_n);
}

static int write_cards(struct run *run, FILE *out, FILE *operator) {
    double begun = now();
    struct made m;
    int r;

    for (unsigned i = 0; i < run->b->count; i++) {
        pthread_mutex_lock(&run->lock);
        while (!run->failed && !run->window[i % WINDOW].ready)
            pthread_cond_wait(&run->made, &run->lock);
        if (run->failed) {
            pthread_mutex_unlock(&run->lock);
            return run->failed;
        }
        m = run->window[i % WINDOW];
        run->window[i % WINDOW] = (struct made){.ready = false};
        run->done = i + 1;
        pthread_cond_broadcast(&run->written);
        pthread_mutex_unlock(&run->lock);
        errno = 0;
        r = write_all(&m, out, operator) ? 0 : -(errno ? errno : EIO);
        forget(&m);
        if (r < 0)
            return r;
        progress(run, i + 1, begun);
    }
    return 0;
}

static int make_cards(struct run *run, FILE *out, FILE *operator) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned n = run->opt->jobs ? run->opt->jobs : (unsigned)(cores > 0 ? cores : 1), started = 0;
    pthread_t threads[THREADS_MAX];
    int r = 0;

    if (n > THREADS_MAX)
        n = THREADS_MAX;
    json_object_seed(0); /* once, before threads do */
    while (started < n && pthread_create(&threads[started], NULL, worker, run) == 0)
        started++;
    if (started == 0)
        r = tb_error_set(run->e, -EAGAIN, NULL, 0, "no thread can be started");
    if (r == 0)
        r = write_cards(run, out, operator);
    pthread_mutex_lock(&run->lock);
    if (r < 0 && !run->failed) {
        run->failed = r;
        tb_error_set(run->e, r, run->opt->out, 0, "cannot write: %s", tb_strerror(r));
    }
    pthread_cond_broadcast(&run->written);
    pthread_mutex_unlock(&run->lock);
    for (unsigned i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < WINDOW; i++)
        forget(&run->window[i]);
    return r;
}

/* --- files --- */

static int failed(struct tb_error *e, const char *path, const char *what) {
    int r = -(errno ? errno : EIO);

    return tb_error_set(e, r, path, 0, "%s: %s", what, tb_strerror(r));
}

/* PATH.part, which a run that was killed may have left; one process at a time writes it. */
static int open_part(const char *path, FILE **ret, struct tb_error *e) {
    char part[4096];
    int fd;

    if ((size_t)snprintf(part, sizeof part, "%s.part", path) >= sizeof part)
        return tb_error_set(e, TB_ERANGE, path, 0, "the name is too long");
    fd = open(part, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return failed(e, part, "cannot write");
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        close(fd);
        return tb_error_set(e, TB_ESTATE, part, 0, "another run writes this batch just now");
    }
    if (ftruncate(fd, 0) < 0 || !(*ret = fdopen(fd, "w"))) {
        close(fd);
        return failed(e, part, "cannot write");
    }
    return 0;
}

static int to_disk(FILE *f, const char *path, struct tb_error *e) {
    return fflush(f) != 0 || fsync(fileno(f)) < 0 ? failed(e, path, "cannot write") : 0;
}

static int move(const char *path, const char *suffix, struct tb_error *e) {
    char from[4096], to[4096];

    snprintf(from, sizeof from, "%s%s.part", path, suffix);
    snprintf(to, sizeof to, "%s%s", path, suffix);
    return rename(from, to) < 0 ? failed(e, to, "cannot move the finished file to its place") : 0;
}

static int sign(const struct batch_options *opt, struct tb_error *e) {
    char part[4096], signature[4096];
    struct tb_pki_signer s = {NULL, NULL};
    int r;

    if (!opt->signer_cert)
        return 0;
    if ((size_t)snprintf(part, sizeof part, "%s.part", opt->out) >= sizeof part ||
        (size_t)snprintf(signature, sizeof signature, "%s.p7s.part", opt->out) >= sizeof signature)
        return tb_error_set(e, TB_ERANGE, opt->out, 0, "the name is too long");
    r = tb_cms_signer_load(opt->signer_cert, opt->signer_key, &s, e);
    if (r == 0)
        r = tb_cms_sign(part, s.cert, s.key, signature, e);
    X509_free(s.cert);
    EVP_PKEY_free(s.key);
    return r;
}

static int head(FILE *out) {
    uint8_t room[1024];
    struct tb_buf b = TB_BUF(room);

    for (size_t c = 0; c < TB_OUT_COLUMNS; c++)
        tb_put_csv(&b, tb_span_str(tb_out_names[c]), c + 1 == TB_OUT_COLUMNS);
    return fwrite(b.p, 1, b.n, out) == b.n ? 0 : -EIO;
}

/* The output file last: while it is not there nothing is finished. */
static int publish(const struct batch_options *opt, struct tb_error *e) {
    int r = 0;

    if (opt->stores)
        r = move(opt->stores, "", e);
    if (r == 0 && opt->operator_file)
        r = move(opt->operator_file, "", e);
    if (r == 0 && opt->signer_cert)
        r = move(opt->out, ".p7s", e);
    return r < 0 ? r : move(opt->out, "", e);
}

/* Stores that a killed run has left are written over, one by one. */
static int begin_stores(const char *dir, struct tb_error *e) {
    char part[4096];
    struct stat st;

    if (!dir)
        return 0;
    if (lstat(dir, &st) == 0)
        return tb_error_set(e, TB_ESTATE, dir, 0,
                            "is there already: the cards' folder is made new; name another");
    if ((size_t)snprintf(part, sizeof part, "%s.part", dir) >= sizeof part)
        return tb_error_set(e, TB_ERANGE, dir, 0, "the name is too long");
    return mkdir(part, 0700) < 0 && errno != EEXIST ? failed(e, part, "cannot make the folder") : 0;
}

static int sync_stores(const char *dir, struct tb_error *e) {
    char part[4096];
    int fd, r = 0;

    if (!dir)
        return 0;
    snprintf(part, sizeof part, "%s.part", dir);
    fd = open(part, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || syncfs(fd) < 0) /* one for all cards, instead of one for each */
        r = failed(e, part, "cannot write");
    if (fd >= 0)
        close(fd);
    return r;
}

static int load(struct run *run, struct tb_pki_ca *ca, struct tb_error *e) {
    const struct batch *b = run->b;
    int r = 0;

    run->how.export_secrets = true;
    if (b->issuer_cert) {
        r = tb_pki_ca_load(b->issuer_cert, b->issuer_key, ca, e);
        run->how.issuer = ca;
    }
    if (r == 0 && b->server_ca)
        r = tb_pki_cert_load(b->server_ca, &run->how.server_ca, e);
    return r;
}

static int make_files(struct run *run, struct tb_error *e) {
    const struct batch_options *opt = run->opt;
    FILE *out = NULL, *operator= NULL;
    int r = open_part(opt->out, &out, e);

    if (r == 0)
        r = begin_stores(opt->stores, e);
    if (r == 0 && opt->operator_file)
        r = open_part(opt->operator_file, &operator, e);
    if (r == 0 && (head(out) < 0 || (operator&& fputs(batch_operator_head, operator) == EOF)))
        r = failed(e, opt->out, "cannot write");
    if (r == 0)
        r = make_cards(run, out, operator);
    if (r == 0)
        r = to_disk(out, opt->out, e);
    if (r == 0 && operator)
        r = to_disk(operator, opt->operator_file, e);
    if (r == 0)
        r = sync_stores(opt->stores, e);
    if (r == 0)
        r = sign(opt, e);
    if (r == 0)
        r = publish(opt, e);
    if (out)
        fclose(out);
    if (operator)
        fclose(operator);
    return r;
}

int batch_run(const struct batch *b, const struct batch_options *opt, struct batch_report *ret,
              struct tb_error *e) {
    struct run run = {.b = b,
                      .opt = opt,
                      .lock = PTHREAD_MUTEX_INITIALIZER,
                      .made = PTHREAD_COND_INITIALIZER,
                      .written = PTHREAD_COND_INITIALIZER,
                      .e = e};
    struct tb_pki_ca ca = {NULL, NULL};
    double begun = now();
    int r = 0;

    if (!opt->force && access(opt->out, F_OK) == 0)
        return tb_error_set(e, TB_ESTATE, opt->out, 0,
                            "is there already: this batch is made; name another file, or --force");
    r = load(&run, &ca, e);
    if (r == 0)
        r = make_files(&run, e);
    X509_free(run.how.server_ca);
    tb_pki_ca_done(&ca);
    if (r == 0)
        *ret = (struct batch_report){b->count, now() - begun};
    return r;
}
