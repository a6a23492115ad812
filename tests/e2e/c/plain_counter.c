// Two threads count without a lock.
#include <pthread.h>
#include <stdio.h>

static volatile int counter;

static void *work(void *unused) {
    for (int i = 0; i < 10; i++) {
        int value = counter;
        counter = value + 1;
    }
    return unused;
}

int main(void) {
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, work, NULL);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    printf("counter %d\n", counter);
    return counter != 20;
}
