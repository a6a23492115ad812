// A stack without locks (Treiber, 1986) over nodes that are used again: a thread that comes back after others have
// taken two nodes and returned one finds the same head, and makes a node the head that is in use.
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { NODES = 3, NONE = -1 };

static atomic_int head, next[NODES], users[NODES];

static int take(void) {
    int first = atomic_load(&head);
    while (first != NONE && !atomic_compare_exchange_strong(&head, &first, atomic_load(&next[first])))
        ;
    if (first != NONE && atomic_fetch_add(&users[first], 1) != 0) {
        printf("node %d has two users\n", first);
        exit(1);
    }
    return first;
}

static void give(int node) {
    if (node == NONE)
        return;
    atomic_fetch_sub(&users[node], 1);
    int first = atomic_load(&head);
    do
        atomic_store_explicit(&next[node], first, memory_order_release);
    while (!atomic_compare_exchange_strong(&head, &first, node));
}

static void *work(void *unused) {
    for (int i = 0; i < 3; i++) {
        int one = take(), other = take();
        give(one);
        give(other);
    }
    return unused;
}

int main(void) {
    for (int i = 0; i < NODES; i++)
        next[i] = i + 1 < NODES ? i + 1 : NONE;
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, work, NULL);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    return 0;
}
