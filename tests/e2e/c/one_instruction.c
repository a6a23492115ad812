// Each of these operations is a single instruction, which another thread on another core can come in the middle of.
#include <pthread.h>
#include <stdio.h>

static struct {
    unsigned char byte;
    short word;
    long quad;
} fields;
static int count, bits;

static void *work(void *number) {
    long value = (long)number;
    count += value;
    fields.byte += value;
    fields.word ^= value;
    fields.quad -= value;
    bits |= value;
    return NULL;
}

int main(void) {
    pthread_t threads[2];
    for (long i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, work, (void *)(i + 1));
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    int wrong[] = {count != 3, fields.byte != 3, fields.word != 3, fields.quad != -3, bits != 3};
    for (int i = 0; i < 5; i++)
        if (wrong[i])
            printf("operation %d\n", i);
    return wrong[0] + wrong[1] + wrong[2] + wrong[3] + wrong[4];
}
