// Mutexes whose holders inherit priorities: the kernel hands them over.
#include "memory.h"
#include <linux/futex.h>
#include <time.h>

static pthread_mutex_t mutex;
static int order, count;

static void *work(void *arg) {
    int me = (int)(long)arg;
    for (int i = 0; i < 10; i++) {
        if (i % 4 == 3) {
            struct timespec soon;
            clock_gettime(CLOCK_REALTIME, &soon);
            soon.tv_nsec += 200000;
            if (soon.tv_nsec >= 1000000000) soon.tv_sec++, soon.tv_nsec -= 1000000000;
            if (pthread_mutex_timedlock(&mutex, &soon) != 0) continue;
        } else if (i % 4 == 2) {
            if (pthread_mutex_trylock(&mutex) != 0) continue;
        } else {
            pthread_mutex_lock(&mutex);
        }
        int seen = count;
        if (i % 3 == me % 3) sched_yield();
        order = order * 31 + me;
        count = seen + 1;
        char line[40];
        write(1, line, snprintf(line, sizeof line, "%d %d %08x\n", me, count, *(unsigned *)&mutex & FUTEX_WAITERS));
        pthread_mutex_unlock(&mutex);
    }
    return 0;
}

int main(void) {
    pthread_mutexattr_t how;
    pthread_mutexattr_init(&how);
    pthread_mutexattr_setprotocol(&how, PTHREAD_PRIO_INHERIT);
    pthread_mutexattr_settype(&how, PTHREAD_MUTEX_ERRORCHECK);
    CHECK(pthread_mutex_init(&mutex, &how) == 0);
    pthread_t threads[4];
    for (long i = 0; i < 4; i++) pthread_create(&threads[i], 0, work, (void *)i);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], 0);
    pthread_mutex_lock(&mutex);
    printf("%d %x %d\n", count, order, pthread_mutex_lock(&mutex) == EDEADLK);
    return 0;
}
