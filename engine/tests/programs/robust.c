// Mutexes that survive their holders: a thread's, an exiting process's, a killed one's.
#include "memory.h"
#include <linux/futex.h>

static pthread_mutex_t *mutex(int protocol, int pshared) {
    pthread_mutex_t *new = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_t how;
    pthread_mutexattr_init(&how);
    pthread_mutexattr_setrobust(&how, PTHREAD_MUTEX_ROBUST);
    if (pshared) pthread_mutexattr_setpshared(&how, PTHREAD_PROCESS_SHARED);
    if (protocol) pthread_mutexattr_setprotocol(&how, PTHREAD_PRIO_INHERIT);
    CHECK(pthread_mutex_init(new, &how) == 0);
    return new;
}

static pthread_mutex_t *held;
static void *hold_and_end(void *unused) {
    pthread_mutex_lock(held);
    sched_yield();
    return 0;
}
static void *wait_for_it(void *name) {
    int result = pthread_mutex_lock(held);
    if (result == EOWNERDEAD) pthread_mutex_consistent(held);
    char line[40];
    write(1, line, snprintf(line, sizeof line, "%s %d\n", (char *)name, result == EOWNERDEAD || result == 0));
    pthread_mutex_unlock(held);
    return 0;
}

static void processes(const char *name, int protocol, int how) {
    pthread_mutex_t *m = mutex(protocol, 1);
    int told[2];
    CHECK(pipe(told) == 0);
    pid_t child = fork();
    if (child == 0) {
        pthread_mutex_lock(m);
        write(told[1], "x", 1);
        if (how == 0) _exit(0);
        if (how == 1) *(volatile int *)8 = 0;
        for (;;) sleep(1000);
    }
    char byte;
    CHECK(read(told[0], &byte, 1) == 1);
    if (how == 2) kill(child, SIGKILL);
    int result = pthread_mutex_lock(m);
    printf("%s %d\n", name, result);
    CHECK(result == EOWNERDEAD);
    pthread_mutex_consistent(m);
    CHECK(pthread_mutex_unlock(m) == 0);
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    printf("%x %d %d\n", status, pthread_mutex_trylock(m), pthread_mutex_unlock(m));
}

int main(void) {
    setvbuf(stdout, 0, _IOLBF, 0);
    void *head;
    size_t len;
    CHECK(syscall(SYS_get_robust_list, 0, &head, &len) == 0 && len == 24);
    for (int protocol = 0; protocol < 2; protocol++) {
        held = mutex(protocol, 0);
        pthread_t a, b, c;
        pthread_create(&a, 0, hold_and_end, 0);
        pthread_create(&b, 0, wait_for_it, "one");
        pthread_create(&c, 0, wait_for_it, "two");
        pthread_join(a, 0), pthread_join(b, 0), pthread_join(c, 0);
        processes("exited", protocol, 0);
        processes("crashed", protocol, 1);
        processes("killed", protocol, 2);
    }
    return 0;
}
