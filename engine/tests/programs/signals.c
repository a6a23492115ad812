// Signals: each way to get one, to wait for one and to be interrupted by one. The argument says which.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            printf("line %d: %s, errno %d\n", __LINE__, #condition, errno); \
            fflush(stdout); \
            _exit(1); \
        } \
    } while (0)

static volatile sig_atomic_t handled;
static volatile int done;
static int ends[2];
static pthread_t target;

static void count(int signal) { handled++; }

static void on(int signal, void (*handler)(int), int flags) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    CHECK(sigaction(signal, &action, 0) == 0);
}

static void on_info(int signal, void (*handler)(int, siginfo_t *, void *), int flags) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = flags | SA_SIGINFO};
    CHECK(sigaction(signal, &action, 0) == 0);
}

static sigset_t set_of(int signal) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signal);
    return set;
}

static sigset_t block(int signal) {
    sigset_t set = set_of(signal), old;
    CHECK(pthread_sigmask(SIG_BLOCK, &set, &old) == 0);
    return old;
}

// Signals the main thread until it is done: one signal could come too early.
static void *pester(void *unused) {
    while (!done) {
        pthread_kill(target, SIGUSR1);
        usleep(2000);
    }
    return 0;
}

static pthread_t start(void *(*function)(void *)) {
    pthread_t thread;
    target = pthread_self();
    CHECK(pthread_create(&thread, 0, function, 0) == 0);
    return thread;
}

static void finish(pthread_t thread) {
    done = 1;
    CHECK(pthread_join(thread, 0) == 0);
}

#define PESTERED(call) \
    do { \
        on(SIGUSR1, count, 0); \
        done = 0; \
        pthread_t thread = start(pester); \
        long result = (call); \
        int error = errno; \
        finish(thread); \
        errno = error; \
        CHECK(result == -1 && error == EINTR && handled > 0); \
    } while (0)

static void waits(void) {
    char byte;
    CHECK(pipe(ends) == 0);
    struct pollfd fd = {ends[0], POLLIN};
    PESTERED(read(ends[0], &byte, 1));
    PESTERED(poll(&fd, 1, -1));
    PESTERED(poll(&fd, 1, 100000));
    int epoll = epoll_create1(0);
    struct epoll_event event = {EPOLLIN};
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event) == 0);
    PESTERED(epoll_wait(epoll, &event, 1, -1));
    fd_set set;
    FD_ZERO(&set);
    FD_SET(ends[0], &set);
    PESTERED(select(ends[0] + 1, &set, 0, 0, 0));
    PESTERED(pause());
    sem_t semaphore;
    sem_init(&semaphore, 0, 0);
    PESTERED(sem_wait(&semaphore));
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    time.tv_sec += 100;
    PESTERED(sem_timedwait(&semaphore, &time));
    struct timespec request = {100, 0}, rest = {0, 0};
    PESTERED(nanosleep(&request, &rest));
    CHECK(rest.tv_sec > 50 && rest.tv_sec <= 100);
    rest = (struct timespec){7, 7};
    PESTERED((errno = clock_nanosleep(CLOCK_MONOTONIC, 0, &request, &rest), errno ? -1 : 0));
    CHECK(rest.tv_sec > 50 && rest.tv_sec <= 100);
    printf("%ld\n", rest.tv_nsec);
}

static void *feed(void *unused) {
    for (int i = 0; i < 5; i++) {
        pthread_kill(target, SIGUSR1);
        usleep(1000);
    }
    CHECK(write(ends[1], "x", 1) == 1);
    return 0;
}

static void restarts(void) {
    char byte = 0;
    CHECK(pipe(ends) == 0);
    on(SIGUSR1, count, SA_RESTART);
    pthread_t thread = start(feed);
    CHECK(read(ends[0], &byte, 1) == 1 && byte == 'x');
    CHECK(pthread_join(thread, 0) == 0);
    // The last ones may have come at once.
    CHECK(handled >= 1 && handled <= 5);
    printf("%d\n", handled);
    // The same where nobody else lives.
    struct itimerval timer = {{0, 2000}, {0, 2000}};
    handled = 0;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        usleep(20000);
        CHECK(write(ends[1], "y", 1) == 1);
        _exit(0);
    }
    on(SIGALRM, count, SA_RESTART);
    CHECK(setitimer(ITIMER_REAL, &timer, 0) == 0);
    CHECK(read(ends[0], &byte, 1) == 1 && byte == 'y');
    timer = (struct itimerval){};
    CHECK(setitimer(ITIMER_REAL, &timer, 0) == 0);
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    printf("%d\n", handled);
}

static void *once(void *unused) {
    CHECK(pthread_kill(target, SIGUSR1) == 0);
    return 0;
}

// A blocked signal reaches the call that waits for it, however early it comes.
static void masks(void) {
    sigset_t old = block(SIGUSR1), now;
    on(SIGUSR1, count, 0);
    CHECK(pipe(ends) == 0);
    struct pollfd fd = {ends[0], POLLIN};
    int epoll = epoll_create1(0);
    struct epoll_event event = {EPOLLIN};
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event) == 0);
    fd_set set;
    for (int i = 0; i < 5; i++) {
        FD_ZERO(&set);
        FD_SET(ends[0], &set);
        pthread_t thread = start(once);
        int result = i == 0   ? ppoll(&fd, 1, 0, &old)
                     : i == 1 ? epoll_pwait(epoll, &event, 1, -1, &old)
                     : i == 2 ? pselect(ends[0] + 1, &set, 0, 0, 0, &old)
                     : i == 3 ? sigsuspend(&old)
                              : ppoll(&fd, 1, &(struct timespec){100}, &old);
        CHECK(result == -1 && errno == EINTR && handled == i + 1);
        CHECK(pthread_sigmask(SIG_BLOCK, 0, &now) == 0 && sigismember(&now, SIGUSR1));
        finish(thread);
    }
}

static volatile int values[20], number;

static void note(int signal, siginfo_t *info, void *context) {
    CHECK(info->si_signo == signal && info->si_code == SI_QUEUE && info->si_pid == getpid());
    values[number++] = info->si_value.sival_int;
}

static void *send(void *unused) {
    for (int i = 0; i < 5; i++) {
        CHECK(sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = i}) == 0);
        CHECK(sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 10 + i}) == 0);
    }
    return 0;
}

static void queues(void) {
    sigset_t set = set_of(SIGRTMIN);
    sigaddset(&set, SIGRTMIN + 1);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, 0) == 0);
    on_info(SIGRTMIN, note, 0);
    on_info(SIGRTMIN + 1, note, 0);
    send(0);
    // All at once, each in the handler of the one before.
    CHECK(pthread_sigmask(SIG_UNBLOCK, &set, 0) == 0);
    CHECK(number == 10);
    for (int i = 0; i < 10; i++) printf("%d ", values[i]);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, 0) == 0);
    pthread_t thread = start(send);
    for (int i = 0; i < 10; i++) {
        siginfo_t info;
        int got = i % 2 ? sigwaitinfo(&set, &info) : sigtimedwait(&set, &info, &(struct timespec){100});
        CHECK(got == info.si_signo && info.si_code == SI_QUEUE);
        printf("%d:%d ", got, info.si_value.sival_int);
    }
    finish(thread);
    errno = 0;
    CHECK(sigtimedwait(&set, 0, &(struct timespec){0, 1000}) == -1 && errno == EAGAIN);
    int fd = signalfd(-1, &set, 0);
    thread = start(send);
    for (int i = 0; i < 10; i++) {
        struct signalfd_siginfo info;
        CHECK(read(fd, &info, sizeof info) == sizeof info);
        printf("%d:%d ", info.ssi_signo, info.ssi_int);
    }
    finish(thread);
    puts("");
}

static void *idle(void *unused) {
    block(SIGALRM);
    pause();
    return 0;
}

static void alarms(void) {
    char byte;
    on(SIGALRM, count, 0);
    CHECK(pipe(ends) == 0);
    struct itimerval often = {{0, 3000}, {0, 3000}}, never = {};
    sem_t semaphore;
    sem_init(&semaphore, 0, 0);
    for (int others = 0; others < 2; others++) {
        handled = 0;
        if (others) start(idle);
        setitimer(ITIMER_REAL, &often, 0);
        CHECK(read(ends[0], &byte, 1) == -1 && errno == EINTR && handled > 0);
        CHECK(sem_wait(&semaphore) == -1 && errno == EINTR);
        CHECK(nanosleep(&(struct timespec){100}, 0) == -1 && errno == EINTR);
        int before = handled;
        while (handled == before) close(-1);
        sigset_t old = block(SIGALRM);
        while (handled < 30) sigsuspend(&old);
        setitimer(ITIMER_REAL, &never, 0);
        pthread_sigmask(SIG_SETMASK, &old, 0);
        // The last one, where nothing else could wake it, nor could this wait for long.
        struct itimerval last = {{0, 0}, {0, 50000}};
        setitimer(ITIMER_REAL, &last, 0);
        before = handled;
        while (handled == before) usleep(1000);
    }
    alarm(1);
    CHECK(alarm(0) == 1);
}

static pid_t timed;

static void expired(int signal, siginfo_t *info, void *context) {
    CHECK(info->si_code == SI_TIMER && info->si_value.sival_int == 4711 && gettid() == timed);
    handled++;
}

static void timers(void) {
    on_info(SIGRTMIN + 2, expired, SA_RESTART);
    start(idle);
    timed = gettid();
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN + 2};
    event._sigev_un._tid = timed;
    event.sigev_value.sival_int = 4711;
    timer_t timer;
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    struct itimerspec times = {{0, 1000000}, {0, 1000000}};
    CHECK(timer_settime(timer, 0, &times, 0) == 0);
    while (handled < 5) close(-1);
    while (handled < 10) usleep(300);
    while (handled < 15) pause();
    CHECK(timer_delete(timer) == 0);
}

static volatile int depth;

static void nest(int signal) {
    sigset_t now;
    pthread_sigmask(SIG_BLOCK, 0, &now);
    printf("%d at %d, blocked: %d %d\n", signal, depth, sigismember(&now, SIGUSR1), sigismember(&now, SIGUSR2));
    depth++;
    if (signal == SIGUSR1) raise(SIGUSR2);
    else if (depth < 6) raise(SIGUSR2);
    depth--;
}

static void nests(void) {
    struct sigaction action = {.sa_handler = nest, .sa_mask = set_of(SIGUSR1)};
    sigaction(SIGUSR1, &action, 0);
    action.sa_flags = SA_NODEFER;
    sigaction(SIGUSR2, &action, 0);
    CHECK(raise(SIGUSR1) == 0);
    CHECK(kill(getpid(), SIGUSR1) == 0);
    CHECK(depth == 0);
    // Its own mask, changed from within.
    sigset_t now;
    pthread_sigmask(SIG_BLOCK, 0, &now);
    CHECK(!sigismember(&now, SIGUSR1));
}

static void unmask(int signal, siginfo_t *info, void *context) {
    sigaddset(&((ucontext_t *)context)->uc_sigmask, SIGUSR2);
}

static void reset(void) {
    on_info(SIGUSR1, unmask, 0);
    raise(SIGUSR1);
    sigset_t now;
    pthread_sigmask(SIG_BLOCK, 0, &now);
    CHECK(sigismember(&now, SIGUSR2));
    on(SIGTERM, count, SA_RESETHAND);
    raise(SIGTERM);
    CHECK(handled == 1);
    raise(SIGTERM);
}

static sigjmp_buf back;
static char *page;

static void repair(int signal, siginfo_t *info, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    handled++;
    if (signal == SIGSEGV && info->si_addr == page) mprotect(page, 4096, PROT_READ | PROT_WRITE);
    else if (signal == SIGFPE) registers[REG_RCX] = 5;
    else if (signal == SIGILL) registers[REG_RIP] += 2;
    else if (signal != SIGTRAP) siglongjmp(back, 1);
}

static int overflow(volatile int n) {
    volatile char room[1000];
    room[n % 1000] = n;
    return n == -1 ? 0 : overflow(n + 1) + room[n % 7];
}

static void faults(void) {
    stack_t stack = {.ss_sp = malloc(65536), .ss_size = 65536};
    CHECK(sigaltstack(&stack, 0) == 0);
    for (int i = 0; i < 2; i++) {
        int flags = i ? SA_ONSTACK : 0;
        handled = 0;
        on_info(SIGSEGV, repair, flags | SA_ONSTACK);
        on_info(SIGFPE, repair, flags);
        on_info(SIGILL, repair, flags);
        on_info(SIGTRAP, repair, flags);
        page = mmap(0, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        page[0] = 7;
        CHECK(page[0] == 7 && handled == 1);
        if (sigsetjmp(back, 1) == 0) *(volatile int *)8 = 1;
        CHECK(handled == 2);
        double kept = 1.5 * handled;
        long quotient = 100, zero = 0;
        asm volatile("cqo; idiv %%rcx" : "+a"(quotient) : "c"(zero) : "rdx", "cc");
        CHECK(quotient == 20 && handled == 3);
        asm volatile("ud2");
        asm volatile("int3");
        CHECK(handled == 5 && kept == 3.0);
        if (sigsetjmp(back, 1) == 0) overflow(0);
        CHECK(handled == 6);
        raise(SIGTRAP);
        CHECK(handled == 7);
    }
    printf("%d\n", handled);
}

static void pipes(void) {
    CHECK(pipe(ends) == 0);
    close(ends[0]);
    on(SIGPIPE, count, 0);
    CHECK(write(ends[1], "x", 1) == -1 && errno == EPIPE && handled == 1);
    signal(SIGPIPE, SIG_IGN);
    CHECK(write(ends[1], "x", 1) == -1 && errno == EPIPE && handled == 1);
    signal(SIGPIPE, SIG_DFL);
    write(ends[1], "x", 1);
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;

static void *reads(void *unused) {
    char byte;
    read(ends[0], &byte, 1);
    return 0;
}

static void unlock(void *unused) {
    handled++;
    pthread_mutex_unlock(&mutex);
}

static void *waits_for_condition(void *unused) {
    pthread_mutex_lock(&mutex);
    pthread_cleanup_push(unlock, 0);
    while (1) pthread_cond_wait(&condition, &mutex);
    pthread_cleanup_pop(1);
}

static void *sleeps(void *unused) {
    while (1) sleep(100);
}

static void *closes(void *unused) {
    while (!done) close(-1);
    return 0;
}

static void cancels(void) {
    CHECK(pipe(ends) == 0);
    void *(*functions[])(void *) = {reads, waits_for_condition, sleeps};
    for (int i = 0; i < 6; i++) {
        pthread_t thread = start(functions[i / 2]);
        if (i % 2) usleep(1000);
        CHECK(pthread_cancel(thread) == 0);
        void *result;
        CHECK(pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED);
    }
    // All threads change it together.
    pthread_t threads[] = {start(reads), start(waits_for_condition), start(sleeps), start(closes)};
    CHECK(setuid(getuid()) == 0 && setgid(getgid()) == 0);
    usleep(1000);
    CHECK(setuid(getuid()) == 0);
    finish(threads[3]);
    for (int i = 0; i < 3; i++) {
        CHECK(pthread_cancel(threads[i]) == 0);
        CHECK(pthread_join(threads[i], 0) == 0);
    }
    puts("cancelled");
}

static void *last(void *main) {
    pthread_join(target, 0);
    on(SIGALRM, count, 0);
    struct itimerval timer = {{0, 0}, {0, 2000}};
    setitimer(ITIMER_REAL, &timer, 0);
    while (!handled) pause();
    puts("last");
    exit(0);
}

static void leaves(void) {
    start(last);
    pthread_exit(0);
}

// Signals to the process find a thread that does not block them, whatever that does.
static void *receives(void *unused) {
    sigset_t set = set_of(SIGUSR1);
    pthread_sigmask(SIG_UNBLOCK, &set, 0);
    pthread_mutex_lock(&mutex);
    while (handled < 10) {
        struct timespec time;
        clock_gettime(CLOCK_REALTIME, &time);
        time.tv_sec += 100;
        pthread_cond_timedwait(&condition, &mutex, &time);
        close(-1);
    }
    pthread_mutex_unlock(&mutex);
    return 0;
}

static void processes(void) {
    block(SIGUSR1);
    on(SIGUSR1, count, SA_RESTART);
    pthread_t thread = start(receives);
    for (int i = 0; i < 10; i++) {
        int before = handled;
        CHECK(kill(getpid(), SIGUSR1) == 0);
        while (handled == before) usleep(500);
    }
    pthread_mutex_lock(&mutex);
    pthread_cond_signal(&condition);
    pthread_mutex_unlock(&mutex);
    CHECK(pthread_join(thread, 0) == 0);
}

static void ended(int signal, siginfo_t *info, void *context) {
    CHECK(info->si_code == CLD_EXITED || info->si_code == CLD_KILLED);
    int status;
    while (waitpid(-1, &status, WNOHANG) > 0) handled++;
}

static void children(void) {
    sigset_t old = block(SIGCHLD);
    on_info(SIGCHLD, ended, SA_RESTART);
    for (int i = 0; i < 4; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            if (i % 2) raise(SIGKILL);
            _exit(i);
        }
    }
    while (handled < 4) sigsuspend(&old);
    // In a sleep that the scheduler makes.
    pthread_sigmask(SIG_SETMASK, &old, 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        usleep(2000);
        _exit(0);
    }
    while (handled < 5) nanosleep(&(struct timespec){100}, 0);
    // Between processes.
    on(SIGUSR1, count, 0);
    CHECK(pipe(ends) == 0);
    handled = 0;
    signal(SIGCHLD, SIG_DFL);
    old = block(SIGUSR1);
    child = fork();
    CHECK(child >= 0);
    pid_t other = child ? child : getppid();
    for (int i = 0; i < 5; i++) {
        while (handled < i + (child > 0)) sigsuspend(&old);
        CHECK(kill(other, SIGUSR1) == 0);
    }
    if (child == 0) _exit(0);
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void stops(int threads) {
    // The child may be stopped and continued before it has done anything.
    on(SIGCONT, count, 0);
    for (int i = 0; i < 2; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            CHECK(pipe(ends) == 0);
            if (threads) {
                start(reads);
                start(waits_for_condition);
                start(closes);
            }
            if (i == 0) raise(SIGSTOP);
            while (!handled) usleep(100);
            CHECK(handled == 1);
            _exit(3);
        }
        int status;
        if (i == 1) usleep(2000);
        if (i == 1) CHECK(kill(child, SIGTSTP) == 0);
        CHECK(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
        CHECK(WSTOPSIG(status) == (i == 0 ? SIGSTOP : SIGTSTP));
        CHECK(kill(child, SIGCONT) == 0);
        CHECK(waitpid(child, &status, WCONTINUED) == child);
        if (WIFCONTINUED(status)) CHECK(waitpid(child, &status, 0) == child);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    }
}

// A process ends as soon as it is continued, before its other threads have heard of that.
static void ends_when_continued(void) {
    for (int i = 0; i < 10; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            for (int thread = 0; thread < 5; thread++) start(closes);
            raise(SIGSTOP);
            _exit(3);
        }
        int status;
        CHECK(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
        CHECK(kill(child, SIGCONT) == 0);
        CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 3);
    }
}

static void tight(int signal) { _exit(handled == 1 ? 0 : 1); }

// A frame that does not fit: SIGSEGV comes instead, on the other stack.
static void no_room(void) {
    stack_t stack = {.ss_sp = malloc(65536), .ss_size = 65536};
    CHECK(sigaltstack(&stack, 0) == 0);
    on(SIGSEGV, tight, SA_ONSTACK);
    on(SIGUSR1, count, 0);
    raise(SIGUSR1);
    long pid = getpid(), number = SYS_kill;
    asm volatile("mov $64, %%rsp; syscall; hlt" ::"a"(number), "D"(pid), "S"((long)SIGUSR1) : "rcx", "r11", "memory");
}

// The same of what instructions raise, in processes that it kills and in one that goes on.
static void no_room_for_faults(void) {
    for (int i = 0; i < 4; i++) {
        pid_t child = fork();
        if (child == 0) {
            stack_t stack = {.ss_sp = malloc(65536), .ss_size = 65536};
            handled = 1;
            if (i > 1) {
                CHECK(sigaltstack(&stack, 0) == 0);
                on(SIGSEGV, tight, SA_ONSTACK);
            } else {
                on(SIGSEGV, count, 0);
            }
            on(SIGILL, count, 0);
            if (i % 2) asm volatile("mov $64, %%rsp; ud2" ::: "memory");
            else asm volatile("mov $64, %%rsp; mov %%rax, 8" ::: "memory");
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child);
        if (i > 1) CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        else CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    }
}

// What a handler does to the vector registers is not seen behind it.
static void calculate(int signal) {
    volatile double x = 3;
    for (int i = 0; i < 10; i++) x = x * 1.25 + i;
    handled++;
}

static void vectors(void) {
    on(SIGALRM, calculate, SA_RESTART);
    struct itimerval timer = {{0, 500}, {0, 500}};
    setitimer(ITIMER_REAL, &timer, 0);
    double sum = 0;
    while (handled < 20) {
        double x = 1;
        for (int i = 1; i < 10; i++) {
            x = x / 3 + i;
            close(-1);
        }
        CHECK(sum == 0 || sum == x);
        sum = x;
    }
    printf("%f\n", sum);
}

int main(int argc, char **argv) {
    const char *what = argv[1];
    if (!strcmp(what, "waits")) waits();
    if (!strcmp(what, "restarts")) restarts();
    if (!strcmp(what, "masks")) masks();
    if (!strcmp(what, "queues")) queues();
    if (!strcmp(what, "alarms")) alarms();
    if (!strcmp(what, "timers")) timers();
    if (!strcmp(what, "nests")) nests();
    if (!strcmp(what, "reset")) reset();
    if (!strcmp(what, "faults")) faults();
    if (!strcmp(what, "pipes")) pipes();
    if (!strcmp(what, "cancels")) cancels();
    if (!strcmp(what, "leaves")) leaves();
    if (!strcmp(what, "processes")) processes();
    if (!strcmp(what, "children")) children();
    if (!strcmp(what, "stops")) stops(0);
    if (!strcmp(what, "stops-threads")) stops(1);
    if (!strcmp(what, "ends-when-continued")) ends_when_continued();
    if (!strcmp(what, "no-room")) no_room();
    if (!strcmp(what, "no-room-for-faults")) no_room_for_faults();
    if (!strcmp(what, "vectors")) vectors();
    return 0;
}
