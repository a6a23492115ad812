/* Threads that hand the core over to each other again and again, and what may come in between: a wait with a time limit, a
 * signal for one that waits or runs, a thread that ends, a new one, a process that is forked, one that spins, one that never comes
 * back. The argument says what. */
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { RUNNERS = 4, ROUNDS = 400 };

static atomic_uint words[RUNNERS + 1];
static atomic_uint done;
static atomic_int interrupted;
static _Thread_local int got;
static pthread_t threads[RUNNERS];
static const char *what;

static long futex(atomic_uint *word, int operation, unsigned value, const struct timespec *limit) {
	return syscall(SYS_futex, word, operation | FUTEX_PRIVATE_FLAG, value, limit, 0, FUTEX_BITSET_MATCH_ANY);
}

static int is(const char *this) { return strcmp(what, this) == 0; }

static void on_signal(int number) { got++; }

static void *nothing(void *argument) { return argument; }

static void wait_for(unsigned me, unsigned round) {
	const struct timespec limit = { .tv_sec = 60 };
	while (atomic_load(&words[me]) < round) {
		unsigned seen = atomic_load(&words[me]);
		if (seen >= round)
			break;
		if (is("limits") && round % 7 == me)
			futex(&words[me], FUTEX_WAIT, seen, &limit);
		else if (futex(&words[me], round % 2 ? FUTEX_WAIT : FUTEX_WAIT_BITSET, seen, NULL) && errno == EINTR)
			atomic_fetch_add(&interrupted, 1);
	}
}

static void pass_on(unsigned me, unsigned round) {
	unsigned next = (me + 1) % RUNNERS;
	atomic_store(&words[next], round + (next == 0));
	futex(&words[next], FUTEX_WAKE, 1, NULL);
}

static volatile unsigned long steps;
static atomic_uint awakenings;

static void *run(void *argument) {
	unsigned me = (unsigned)(long)argument;
	for (unsigned round = 1; round <= ROUNDS; round++) {
		wait_for(me, round);
		if (is("signals") && round % 10 == me) {
			pthread_kill(threads[(me + 2) % RUNNERS], SIGUSR1);
			if (round % 20 == me)
				kill(getpid(), SIGUSR2);
		}
		if (is("threads") && round % 20 == me) {
			pthread_t thread;
			void *answer;
			pthread_create(&thread, NULL, nothing, argument);
			pthread_join(thread, &answer);
			if (answer != argument)
				abort();
		}
		if (is("forks") && round % 100 == me) {
			int status;
			pid_t child = fork();
			if (child == 0)
				_exit(7);
			if (waitpid(child, &status, 0) != child || WEXITSTATUS(status) != 7)
				abort();
		}
		if (is("spins") && round == 200 && me == 2)
			/* Until the sleeper has had the core, which nobody hands to it. */
			for (unsigned seen = atomic_load(&awakenings); atomic_load(&awakenings) == seen;)
				steps++;
		if (is("ends") && round == ROUNDS / 2 && me == 2)
			exit(3);
		if (is("crashes") && round == ROUNDS / 2 && me == 1)
			raise(SIGSEGV);
		if (is("deadlocks") && round == ROUNDS / 2 && me == 3)
			wait_for(RUNNERS, 1);
		pass_on(me, round);
	}
	atomic_fetch_add(&done, 1);
	futex(&done, FUTEX_WAKE, 1, NULL);
	return NULL;
}

/* Wakes now and then, while the others run. */
static void *sleeper(void *argument) {
	const struct timespec moment = { .tv_nsec = 2000000 };
	while (atomic_load(&done) < RUNNERS) {
		nanosleep(&moment, NULL);
		atomic_fetch_add(&awakenings, 1);
	}
	return NULL;
}

int main(int count, char **arguments) {
	what = count > 1 ? arguments[1] : "plain";
	pthread_t thread;
	struct sigaction action = { .sa_handler = on_signal };
	sigaction(SIGUSR1, &action, NULL);
	action.sa_flags = SA_RESTART;
	sigaction(SIGUSR2, &action, NULL);
	if (is("alarms")) {
		/* For whoever runs, most of the time. */
		const struct itimerval often = { { .tv_usec = 500 }, { .tv_usec = 500 } };
		signal(SIGALRM, on_signal);
		setitimer(ITIMER_REAL, &often, NULL);
	}
	for (long me = 0; me < RUNNERS; me++)
		pthread_create(&threads[me], NULL, run, (void *)me);
	if (is("sleeps") || is("spins"))
		pthread_create(&thread, NULL, sleeper, NULL);
	atomic_store(&words[0], 1);
	futex(&words[0], FUTEX_WAKE, 1, NULL);
	/* Not by joining: the kernel wakes who joins. */
	for (unsigned seen; (seen = atomic_load(&done)) < RUNNERS;)
		futex(&done, FUTEX_WAIT, seen, NULL);
	for (int me = 0; me < RUNNERS; me++)
		pthread_join(threads[me], NULL);
	printf("%u rounds\n", atomic_load(&words[RUNNERS - 1]));
	return is("signals") && atomic_load(&interrupted) == 0;
}
