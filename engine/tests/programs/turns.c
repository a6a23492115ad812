/* Threads that take turns, as locks and channels have them do: each wakes the next and waits for its own turn. All wait at
 * the one call site of syscall(3), with a lost wake now and then, wakes of several, and waits with a time limit. */
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 3, TURNS = 300 };

static atomic_uint turn, words[THREADS], gate, there;

static long futex(atomic_uint *word, int operation, unsigned value, const struct timespec *limit, unsigned bits) {
	return syscall(SYS_futex, word, operation | FUTEX_PRIVATE_FLAG, value, limit, 0, bits);
}

static void wait_for(unsigned mine, unsigned me) {
	const struct timespec limit = { .tv_sec = 60 };
	while (atomic_load(&turn) != mine) {
		unsigned seen = atomic_load(&words[me]);
		if (atomic_load(&turn) == mine)
			break;
		if (mine % 4 == 3)
			futex(&words[me], FUTEX_WAIT, seen, &limit, 0);
		else if (mine % 4 == 2)
			futex(&words[me], FUTEX_WAIT_BITSET, seen, NULL, 1 << me);
		else
			futex(&words[me], FUTEX_WAIT, seen, NULL, 0);
	}
}

static void *play(void *argument) {
	unsigned me = (unsigned)(long)argument;
	atomic_fetch_add(&there, 1);
	while (!atomic_load(&gate))
		futex(&gate, FUTEX_WAIT, 0, NULL, 0);
	for (unsigned mine = me; mine < TURNS * THREADS; mine += THREADS) {
		wait_for(mine, me);
		unsigned next = (me + 1) % THREADS;
		atomic_fetch_add(&words[next], 1);
		atomic_store(&turn, mine + 1);
		futex(&words[next], FUTEX_WAKE, mine % 5 ? 1 : 9, NULL, 0);
	}
	return NULL;
}

int main(void) {
	pthread_t threads[THREADS];
	for (long me = 0; me < THREADS; me++)
		pthread_create(&threads[me], NULL, play, (void *)me);
	while (atomic_load(&there) < THREADS)
		sched_yield();
	atomic_store(&gate, 1);
	long woken = futex(&gate, FUTEX_WAKE, 2, NULL, 0) + futex(&gate, FUTEX_WAKE, 9, NULL, 0);
	for (int me = 0; me < THREADS; me++)
		pthread_join(threads[me], NULL);
	printf("%d turns\n", (int)atomic_load(&turn));
	return woken > THREADS || atomic_load(&turn) != TURNS * THREADS;
}
