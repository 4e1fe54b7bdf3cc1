/* pdftotext as a child process without rights.
 *
 * PDF is the format with the longest record of exploitable readers, so it is read in a process that
 * can do nothing but compute: standard input is the file, standard output a pipe, resource limits
 * bound memory, processor time and written files, and a seccomp filter set before exec refuses
 * sockets, new processes, signals to others, writing opens and whatever changes the system. The
 * filter is made in the parent (making it allocates, which a child of a threaded process must not
 * do) and passed through a memory file. Rejected: linking poppler, which is GPL and would run
 * inside this process; an allow list of system calls, which breaks with each new libc. */
#include "text/pdf_child.h"

#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <poll.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STDERR_KEPT = 4096, MAX_FILTER = 4096 };

/* ---- the filter ---- */

/* Refused with EPERM. */
static const int refused[] = {
    SCMP_SYS(socket),
    SCMP_SYS(socketpair),
    SCMP_SYS(connect),
    SCMP_SYS(bind),
    SCMP_SYS(listen),
    SCMP_SYS(accept),
    SCMP_SYS(accept4),
    SCMP_SYS(sendto),
    SCMP_SYS(sendmsg),
    SCMP_SYS(sendmmsg),
    SCMP_SYS(fork),
    SCMP_SYS(vfork),
    SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(kill),
    SCMP_SYS(tkill),
    SCMP_SYS(pidfd_open),
    SCMP_SYS(pidfd_getfd),
    SCMP_SYS(creat),
    SCMP_SYS(unlink),
    SCMP_SYS(unlinkat),
    SCMP_SYS(rename),
    SCMP_SYS(renameat),
    SCMP_SYS(renameat2),
    SCMP_SYS(mkdir),
    SCMP_SYS(mkdirat),
    SCMP_SYS(rmdir),
    SCMP_SYS(link),
    SCMP_SYS(linkat),
    SCMP_SYS(symlink),
    SCMP_SYS(symlinkat),
    SCMP_SYS(mknod),
    SCMP_SYS(mknodat),
    SCMP_SYS(chmod),
    SCMP_SYS(fchmod),
    SCMP_SYS(fchmodat),
    SCMP_SYS(chown),
    SCMP_SYS(fchown),
    SCMP_SYS(lchown),
    SCMP_SYS(fchownat),
    SCMP_SYS(truncate),
    SCMP_SYS(ftruncate),
    SCMP_SYS(setxattr),
    SCMP_SYS(lsetxattr),
    SCMP_SYS(fsetxattr),
    SCMP_SYS(mount),
    SCMP_SYS(umount2),
    SCMP_SYS(pivot_root),
    SCMP_SYS(chroot),
    SCMP_SYS(unshare),
    SCMP_SYS(setns),
    SCMP_SYS(bpf),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(keyctl),
    SCMP_SYS(add_key),
    SCMP_SYS(request_key),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(kexec_load),
    SCMP_SYS(reboot),
    SCMP_SYS(swapon),
    SCMP_SYS(setuid),
    SCMP_SYS(setgid),
    SCMP_SYS(execveat),
    SCMP_SYS(prlimit64),
    SCMP_SYS(setrlimit),
    SCMP_SYS(ioctl),
};

/* Not there at all (ENOSYS), so that libc falls back to calls whose arguments the filter can see.
 */
static const int absent[] = {
    SCMP_SYS(clone3),
    SCMP_SYS(openat2),
    SCMP_SYS(io_uring_setup),
};

static int add_rules(scmp_filter_ctx f, const char *program)
{
    int r = 0;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        r |= seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), refused[i], 0);
    }
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++) {
        r |= seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), absent[i], 0);
    }
    for (unsigned mode = O_WRONLY; mode <= O_RDWR; mode++) {
        r |= seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(open), 1,
                              SCMP_A1(SCMP_CMP_MASKED_EQ, O_ACCMODE, mode));
        r |= seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(openat), 1,
                              SCMP_A2(SCMP_CMP_MASKED_EQ, O_ACCMODE, mode));
    }
    r |= seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                          SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
    /* the one exec that is ours: its path lies where no later one's will */
    r |= seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(execve), 1,
                          SCMP_A0(SCMP_CMP_NE, (scmp_datum_t)(uintptr_t)program, 0));
    return r;
}

/* The filter as a program for the kernel, into rules[MAX_FILTER]; 0 when it cannot be made. */
static unsigned short make_filter(const char *program, struct sock_filter *rules)
{
    unsigned short count = 0;
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_ALLOW);
    int fd = memfd_create("filter", MFD_CLOEXEC);
    if (f && fd >= 0 && add_rules(f, program) == 0 && seccomp_export_bpf(f, fd) == 0) {
        ssize_t n = pread(fd, rules, MAX_FILTER * sizeof *rules, 0);
        bool whole = n > 0 && (size_t)n < MAX_FILTER * sizeof *rules;
        count = whole ? (unsigned short)((size_t)n / sizeof *rules) : 0;
    }
    if (fd >= 0) {
        close(fd);
    }
    if (f) {
        seccomp_release(f);
    }
    return count;
}

/* ---- the child ---- */

static bool limit(__rlimit_resource_t what, rlim_t value)
{
    struct rlimit r = {value, value};
    return setrlimit(what, &r) == 0;
}

struct child {
    const char *program;
    char *const *argv;
    int in, out, err;
    const struct pdf_limits *limits;
    const struct sock_filter *rules;
    unsigned short n_rules;
};

/* Between fork and exec: system calls only. */
static _Noreturn void become_child(const struct child *c)
{
    static char *const environment[] = {"LC_ALL=C.UTF-8", "PATH=/usr/bin:/bin", NULL};
    struct sock_fprog filter = {c->n_rules, (struct sock_filter *)(uintptr_t)c->rules};
    bool ok = dup2(c->in, 0) == 0 && dup2(c->out, 1) == 1 && dup2(c->err, 2) == 2 &&
              close_range(3, ~0u, 0) == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 &&
              chdir("/") == 0 && limit(RLIMIT_AS, c->limits->memory_bytes) &&
              limit(RLIMIT_CPU, (rlim_t)c->limits->cpu_s) && limit(RLIMIT_FSIZE, 0) &&
              limit(RLIMIT_CORE, 0) && limit(RLIMIT_NOFILE, 64) &&
              prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
              prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
    if (ok) {
        execve(c->program, c->argv, environment);
    }
    _exit(127);
}

/* ---- the parent ---- */

/* Full path of pdftotext by $PATH, into out[size]. */
static bool find_program(char *out, size_t size)
{
    const char *path = getenv("PATH");
    for (const char *p = path ? path : "/usr/bin:/bin"; *p;) {
        size_t n = strcspn(p, ":");
        if (n > 0 && n + sizeof "/pdftotext" <= size) {
            memcpy(out, p, n);
            memcpy(out + n, "/pdftotext", sizeof "/pdftotext");
            if (access(out, X_OK) == 0) {
                return true;
            }
        }
        p += n + (p[n] == ':');
    }
    return false;
}

/* Reads what is there; false at the end of the stream. Beyond `max` bytes are dropped. */
static bool read_some(int fd, struct buf *b, size_t max)
{
    if (!buf_reserve(b, 1 << 16)) {
        return false;
    }
    ssize_t n = read(fd, b->data + b->len, 1 << 16);
    if (n < 0) {
        return errno == EINTR || errno == EAGAIN;
    }
    b->len += (size_t)n;
    if (b->len > max) {
        b->len = max + 1;
    }
    b->data[b->len] = 0;
    return n > 0;
}

/* Collects both streams until they end; ERR_LIMIT when time or size runs out. */
static enum status collect(int out_fd, int err_fd, const struct pdf_limits *l, struct buf *out,
                           struct buf *words)
{
    struct pollfd fds[2] = {{out_fd, POLLIN, 0}, {err_fd, POLLIN, 0}};
    double deadline = clock_ms() + l->wall_ms;
    while (fds[0].fd >= 0 || fds[1].fd >= 0) {
        int left = (int)(deadline - clock_ms());
        if (left <= 0 || out->len > l->output_bytes) {
            return ERR_LIMIT;
        }
        if (poll(fds, 2, left) < 0 && errno != EINTR) {
            return ERR_IO;
        }
        if (fds[0].revents && !read_some(out_fd, out, l->output_bytes)) {
            fds[0].fd = -1;
        }
        if (fds[1].revents && !read_some(err_fd, words, STDERR_KEPT)) {
            fds[1].fd = -1;
        }
        fds[0].revents = fds[1].revents = 0;
    }
    return out->failed ? ERR_MEMORY : OK;
}

/* What its end means. */
static enum status judge(int how, const struct buf *words, const char *name,
                         const struct pdf_limits *l, struct err *e)
{
    const char *said = words->len ? words->data : "";
    if (WIFSIGNALED(how)) {
        int sig = WTERMSIG(how);
        if (sig == SIGXCPU || sig == SIGKILL) {
            return err_set(e, ERR_LIMIT, name, "pdftotext used more than %d s of processor time",
                           l->cpu_s);
        }
        return err_set(e, ERR_FORMAT, name, "pdftotext crashed on it (signal %d): damaged", sig);
    }
    int code = WEXITSTATUS(how);
    if (code == 0) {
        return OK;
    }
    if (code == 127) {
        return err_set(e, ERR_IO, name, "pdftotext could not be started in its sandbox");
    }
    if (strstr(said, "ncorrect password")) {
        return err_set(e, ERR_UNSUPPORTED, name, "encrypted: it needs a password");
    }
    if (code == 3) {
        return err_set(e, ERR_UNSUPPORTED, name, "its owner does not allow copying text");
    }
    if (strstr(said, "ut of memory") || strstr(said, "bad_alloc")) {
        return err_set(e, ERR_LIMIT, name, "pdftotext needs more than %zu MiB of memory",
                       l->memory_bytes >> 20);
    }
    return err_set(e, ERR_FORMAT, name, "not a readable PDF (%.*s)", (int)strcspn(said, "\n"),
                   said);
}

static void close_pipe(int p[2])
{
    for (int i = 0; i < 2; i++) {
        if (p[i] >= 0) {
            close(p[i]);
        }
    }
}

enum status pdf_child_run(int fd, const char *name, bool layout, const struct pdf_limits *limits,
                          struct buf *out, struct err *e)
{
    struct pdf_limits l = limits ? *limits : (struct pdf_limits){0};
    l.memory_bytes = l.memory_bytes ? l.memory_bytes : (size_t)2 << 30;
    l.output_bytes = l.output_bytes ? l.output_bytes : (size_t)256 << 20;
    l.cpu_s = l.cpu_s ? l.cpu_s : 60;
    l.wall_ms = l.wall_ms ? l.wall_ms : 90000;
    char program[4096];
    char *const with[] = {"pdftotext", "-enc", "UTF-8", "-htmlmeta", "-layout", "-", "-", NULL};
    char *const without[] = {"pdftotext", "-enc", "UTF-8", "-htmlmeta", "-", "-", NULL};
    int pout[2] = {-1, -1}, perr[2] = {-1, -1}, how = 0;
    struct buf words = {0};
    enum status s = OK;
    struct sock_filter *rules = calloc(MAX_FILTER, sizeof *rules);
    struct child c = {program, layout ? with : without, fd, -1, -1, &l, rules, 0};
    if (!rules) {
        return err_set(e, ERR_MEMORY, name, "not enough memory to read a PDF");
    }
    if (!find_program(program, sizeof program)) {
        s = err_set(e, ERR_NOT_FOUND, "pdftotext",
                    "reading PDF needs this program: install the package poppler-utils");
        goto out;
    }
    c.n_rules = make_filter(program, rules);
    if (!c.n_rules || lseek(fd, 0, SEEK_SET) != 0 || pipe2(pout, O_CLOEXEC) != 0 ||
        pipe2(perr, O_CLOEXEC) != 0) {
        s = err_errno(e, errno, name, "cannot prepare the sandbox of pdftotext");
        goto out;
    }
    c.out = pout[1];
    c.err = perr[1];
    pid_t pid = fork();
    if (pid == 0) {
        become_child(&c);
    }
    if (pid < 0) {
        s = err_errno(e, errno, name, "cannot start pdftotext");
        goto out;
    }
    close(pout[1]);
    close(perr[1]);
    pout[1] = perr[1] = -1;
    s = collect(pout[0], perr[0], &l, out, &words);
    if (s) {
        kill(pid, SIGKILL);
    }
    while (waitpid(pid, &how, 0) < 0 && errno == EINTR) {
    }
    if (s == ERR_LIMIT) {
        err_set(e, s, name, "its text takes more than %d s or %zu MiB", l.wall_ms / 1000,
                l.output_bytes >> 20);
    } else if (s) {
        err_set(e, s, name, "cannot read from pdftotext");
    } else {
        s = judge(how, &words, name, &l, e);
    }
out:
    close_pipe(pout);
    close_pipe(perr);
    buf_fini(&words);
    free(rules);
    return s;
}
