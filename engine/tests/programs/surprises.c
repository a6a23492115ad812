// Programs that are right whatever happens that may, and say how often it has happened.
#include "show.h"
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

static long times;

#define ROUNDS 20
static int words[ROUNDS], round;

static void *waker(void *unused)
{
	for (int i = 0; i < ROUNDS; i++) {
		while (__atomic_load_n(&round, __ATOMIC_SEQ_CST) != i)
			sched_yield();
		__atomic_store_n(&words[i], 1, __ATOMIC_SEQ_CST);
		syscall(SYS_futex, &words[i], FUTEX_WAKE_PRIVATE, 1, 0, 0, 0);
	}
	return 0;
}

static void spurious(void)
{
	pthread_t thread;
	pthread_create(&thread, 0, waker, 0);
	for (int i = 0; i < ROUNDS; i++) {
		__atomic_store_n(&round, i, __ATOMIC_SEQ_CST);
		while (__atomic_load_n(&words[i], __ATOMIC_SEQ_CST) == 0) {
			long result = syscall(SYS_futex, &words[i], FUTEX_WAIT_PRIVATE, 0, 0, 0, 0);
			MUST(result == 0 || errno == EAGAIN);
			times += result == 0 && __atomic_load_n(&words[i], __ATOMIC_SEQ_CST) == 0;
		}
	}
	pthread_join(thread, 0);
}

// Whether what has been written is read in less than one piece.
static int is_short(int from, int to, int size)
{
	char bytes[3 * PIPE_BUF], copy[3 * PIPE_BUF];
	for (int i = 0; i < size; i++)
		bytes[i] = rand();
	// Not at once, if it must not wait.
	int written = 0;
	while (written < size) {
		int part = write(to, bytes + written, size - written);
		MUST(part > 0);
		times += part < size - written;
		written += part;
	}
	int got = 0, parts = 0;
	while (got < size) {
		int part = read(from, copy + got, sizeof copy - got);
		MUST(part > 0);
		got += part, parts++;
	}
	MUST(memcmp(bytes, copy, size) == 0);
	return parts > 1;
}

static void *nothing(void *unused)
{
	pause();
	return 0;
}

static void shorts(void)
{
	int stream[2], packets[2], tube[2], watched[2];
	pthread_t thread;
	pthread_create(&thread, 0, nothing, 0);
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, stream) == 0);
	MUST(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, packets) == 0);
	MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, watched) == 0);
	MUST(pipe(tube) == 0);
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };
	MUST(epoll_ctl(epoll_create1(0), EPOLL_CTL_ADD, watched[0], &event) == 0);
	MUST(epoll_ctl(epoll_create1(0), EPOLL_CTL_ADD, watched[1], &event) == 0);
	for (int i = 0; i < 20; i++) {
		times += is_short(stream[0], stream[1], 100);
		times += is_short(tube[0], tube[1], 3 * PIPE_BUF);
		MUST(!is_short(tube[0], tube[1], PIPE_BUF));
		MUST(!is_short(packets[0], packets[1], 100));
		MUST(!is_short(watched[0], watched[1], 100));
	}
	fcntl(stream[1], F_SETFL, O_NONBLOCK);
	for (int i = 0; i < 20; i++)
		is_short(stream[0], stream[1], 100);
}

static void interrupt(void)
{
	struct epoll_event event;
	int epoll = epoll_create1(0);
	pthread_t thread;
	pthread_create(&thread, 0, nothing, 0);
	for (int i = 0; i < 20; i++) {
		int result = epoll_wait(epoll, &event, 1, 1);
		MUST(result == 0 || result == -1 && errno == EINTR);
		times += result != 0;
	}
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static int done, over;

static void *sleeper(void *unused)
{
	double before = now();
	usleep(90000);
	MUST(now() - before >= 0.09);
	over = !__atomic_load_n(&done, __ATOMIC_SEQ_CST);
	return 0;
}

// How often a sleep was over before a little work.
static void early(void)
{
	for (int i = 0; i < 5; i++) {
		pthread_t thread;
		done = 0;
		pthread_create(&thread, 0, sleeper, 0);
		for (int j = 0; j < 50; j++)
			sched_yield();
		__atomic_store_n(&done, 1, __ATOMIC_SEQ_CST);
		pthread_join(thread, 0);
		times += over;
	}
}

static void late(void)
{
	for (int i = 0; i < 10; i++) {
		double before = now();
		usleep(100);
		double passed = now() - before;
		MUST(passed >= 0.0001);
		times += passed > 0.01;
	}
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} kinds[] = { { "spurious", spurious }, { "short", shorts }, { "interrupt", interrupt }, { "early", early }, { "late", late } };
	for (int i = 0; i < 5; i++)
		if (!strcmp(argv[1], kinds[i].name))
			kinds[i].run();
	printf("%ld\n", times);
	return 0;
}
