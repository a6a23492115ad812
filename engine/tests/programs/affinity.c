/* What a task is told of its cores follows what it asked for, and goes to its threads and children. Told of 2 cores. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned long cores(pid_t task) {
    unsigned long set = 0;
    return syscall(SYS_sched_getaffinity, task, sizeof set, &set) == sizeof set ? set : 0;
}
static int choose(pid_t task, unsigned long set) {
    return syscall(SYS_sched_setaffinity, task, sizeof set, &set) ? errno : 0;
}
static void *thread(void *unused) { return (void *)cores(0); }
#define CHECK(what) if (!(what)) { puts(#what); exit(1); }

int main(void) {
    CHECK(cores(0) == 3);
    CHECK(choose(0, 0) == EINVAL);
    CHECK(choose(0, 1ul << 40) == EINVAL);
    CHECK(cores(0) == 3);
    CHECK(choose(getpid(), 2 | 1ul << 40) == 0);
    CHECK(cores(0) == 2 && cores(getpid()) == 2);
    CHECK(sched_getcpu() == 1);
    CHECK(syscall(SYS_sched_setaffinity, 0, 8, 8L) == -1 && errno == EFAULT);

    pthread_t other;
    void *set;
    pthread_create(&other, 0, thread, 0);
    pthread_join(other, &set);
    CHECK((long)set == 2);
    int status;
    pid_t child = fork();
    if (!child)
        _exit(cores(0) == 2 && choose(getppid(), 1) == 0 ? 0 : 1);
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(cores(0) == 1);
    CHECK(cores(child) == 0 && choose(child, 1) == ESRCH);
    return 0;
}
