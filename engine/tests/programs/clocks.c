// An hour passes by every kind of sleep, on every clock: all of them must say so, and agree with each other.
#include "show.h"
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <linux/futex.h>
#include <netinet/in.h>

#define HOUR 3600L
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const clockid_t clocks[] = { CLOCK_REALTIME,	    CLOCK_MONOTONIC,	    CLOCK_MONOTONIC_RAW,
				    CLOCK_REALTIME_COARSE,  CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME,
				    CLOCK_TAI };

static double now(clockid_t clock)
{
	struct timespec t;
	MUST(clock_gettime(clock, &t) == 0 && t.tv_nsec >= 0 && t.tv_nsec < 1000000000);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static double of_day(void)
{
	struct timeval t;
	MUST(gettimeofday(&t, 0) == 0);
	return t.tv_sec + t.tv_usec / 1e6;
}

// An hour from now.
static struct timespec later(clockid_t clock)
{
	struct timespec t;
	MUST(clock_gettime(clock, &t) == 0);
	t.tv_sec += HOUR;
	return t;
}

static const struct timespec hour = { HOUR, 0 };
static const struct itimerspec timer_hour = { .it_value = { HOUR, 0 } };
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static volatile int rung;

static void ring(int signal)
{
	rung++;
}

static void by_nanosleep(void)
{
	MUST(nanosleep(&hour, 0) == 0);
}

static void by_clock_nanosleep(void)
{
	MUST(clock_nanosleep(CLOCK_BOOTTIME, 0, &hour, 0) == 0);
}

static void until_monotonic(void)
{
	struct timespec at = later(CLOCK_MONOTONIC);
	MUST(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, 0) == 0);
}

static void until_realtime(void)
{
	struct timespec at = later(CLOCK_REALTIME);
	MUST(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &at, 0) == 0);
}

static void by_futex(void)
{
	int word = 0;
	MUST(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &hour, 0, 0) == -1 && errno == ETIMEDOUT);
}

static void until_futex(void)
{
	int word = 0;
	struct timespec at = later(CLOCK_REALTIME);
	int how = FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME;
	MUST(syscall(SYS_futex, &word, how, 0, &at, 0, -1) == -1 && errno == ETIMEDOUT);
}

static void by_condition(void)
{
	pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
	struct timespec at = later(CLOCK_REALTIME);
	pthread_mutex_lock(&mutex);
	int result;
	while ((result = pthread_cond_timedwait(&changed, &mutex, &at)) == 0)
		;
	pthread_mutex_unlock(&mutex);
	MUST(result == ETIMEDOUT);
}

static void by_semaphore(void)
{
	sem_t semaphore;
	struct timespec at = later(CLOCK_REALTIME);
	sem_init(&semaphore, 0, 0);
	MUST(sem_timedwait(&semaphore, &at) == -1 && errno == ETIMEDOUT);
}

static void by_poll(void)
{
	int pipes[2];
	MUST(pipe(pipes) == 0);
	struct pollfd one = { pipes[0], POLLIN, 0 };
	MUST(poll(&one, 1, HOUR * 1000) == 0);
	close(pipes[0]), close(pipes[1]);
}

static void by_ppoll(void)
{
	MUST(ppoll(0, 0, &hour, 0) == 0);
}

static void by_select(void)
{
	struct timeval limit = { HOUR, 0 };
	MUST(select(0, 0, 0, 0, &limit) == 0);
}

static void by_pselect(void)
{
	int fd = eventfd(0, 0);
	fd_set set;
	FD_ZERO(&set);
	FD_SET(fd, &set);
	MUST(pselect(fd + 1, &set, 0, 0, &hour, 0) == 0);
	close(fd);
}

static void by_epoll(void)
{
	int epoll = epoll_create1(0), fd = eventfd(0, 0);
	struct epoll_event event = { .events = EPOLLIN };
	MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
	MUST(UNINTERRUPTED(epoll_wait(epoll, &event, 1, HOUR * 1000)) == 0);
	close(epoll), close(fd);
}

static void by_epoll_of_timer(void)
{
	int epoll = epoll_create1(0), fd = timerfd_create(CLOCK_MONOTONIC, 0);
	struct epoll_event event = { .events = EPOLLIN };
	MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
	MUST(timerfd_settime(fd, 0, &timer_hour, 0) == 0);
	MUST(UNINTERRUPTED(epoll_wait(epoll, &event, 1, -1)) == 1);
	close(epoll), close(fd);
}

static void by_timerfd(void)
{
	unsigned long times;
	int fd = timerfd_create(CLOCK_BOOTTIME, 0), other = dup(fd);
	MUST(timerfd_settime(fd, 0, &timer_hour, 0) == 0);
	// What is left agrees with the clocks as well.
	usleep(1800 * 1000000L);
	struct itimerspec left;
	MUST(timerfd_gettime(other, &left) == 0 && left.it_value.tv_sec >= 1790 && left.it_value.tv_sec <= 1800);
	MUST(read(fd, &times, sizeof times) == sizeof times && times == 1);
	close(fd), close(other);
}

static void until_timerfd(void)
{
	unsigned long times;
	int fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK);
	struct itimerspec at = { .it_value = later(CLOCK_REALTIME) };
	MUST(timerfd_settime(fd, TFD_TIMER_ABSTIME, &at, 0) == 0);
	struct pollfd one = { fd, POLLIN, 0 };
	MUST(poll(&one, 1, -1) == 1);
	MUST(read(fd, &times, sizeof times) == sizeof times && times == 1);
	close(fd);
}

static void by_many_timerfds(void)
{
	unsigned long times;
	int fd = timerfd_create(CLOCK_MONOTONIC, 0), sum = 0;
	struct itimerspec each = { { HOUR / 4, 0 }, { HOUR / 4, 0 } };
	MUST(timerfd_settime(fd, 0, &each, 0) == 0);
	while (sum < 4) {
		MUST(read(fd, &times, sizeof times) == sizeof times);
		sum += times;
	}
	close(fd);
}

static void by_alarm(void)
{
	rung = 0;
	alarm(HOUR / 2);
	MUST(alarm(HOUR) >= HOUR / 2 - 10);
	pause();
	MUST(rung == 1 && alarm(0) == 0);
}

static void by_setitimer(void)
{
	struct itimerval each = { { HOUR / 4, 0 }, { HOUR / 4, 0 } }, left;
	rung = 0;
	MUST(setitimer(ITIMER_REAL, &each, 0) == 0);
	MUST(getitimer(ITIMER_REAL, &left) == 0 && left.it_value.tv_sec >= HOUR / 4 - 10);
	while (rung < 4) {
		// Interrupted each time.
		MUST(nanosleep(&hour, 0) == -1 && errno == EINTR);
	}
	each = (struct itimerval){ 0 };
	MUST(setitimer(ITIMER_REAL, &each, &left) == 0 && left.it_interval.tv_sec == HOUR / 4);
}

static void by_timer(void)
{
	sigset_t set;
	siginfo_t info;
	timer_t timer;
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN, .sigev_value.sival_int = 42 };
	struct itimerspec at = { .it_value = later(CLOCK_REALTIME) }, left;
	sigemptyset(&set), sigaddset(&set, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &set, 0);
	MUST(timer_create(CLOCK_REALTIME, &event, &timer) == 0);
	MUST(timer_settime(timer, TIMER_ABSTIME, &at, 0) == 0);
	MUST(timer_gettime(timer, &left) == 0 && left.it_value.tv_sec >= HOUR - 10);
	MUST(sigwaitinfo(&set, &info) == SIGRTMIN && info.si_code == SI_TIMER && info.si_value.sival_int == 42);
	MUST(timer_delete(timer) == 0);
}

static void by_socket(void)
{
	int pair[2];
	char byte;
	struct timeval limit = { HOUR, 0 };
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	MUST(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
	MUST(recv(pair[0], &byte, 1, 0) == -1 && errno == EAGAIN);
	close(pair[0]), close(pair[1]);
}

static void by_tcp(void)
{
	int listener = socket(AF_INET, SOCK_STREAM, 0), near = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof at;
	MUST(bind(listener, (void *)&at, len) == 0 && listen(listener, 1) == 0);
	MUST(getsockname(listener, (void *)&at, &len) == 0);
	MUST(connect(near, (void *)&at, len) == 0);
	int far = accept(listener, 0, 0);
	MUST(write(far, "hello", 5) == 5);
	char bytes[5];
	MUST(recv(near, bytes, 5, MSG_WAITALL) == 5);
	struct pollfd both[] = { { near, POLLIN }, { listener, POLLIN } };
	MUST(poll(both, 2, HOUR * 1000) == 0);
	close(listener), close(near), close(far);
}

static void by_child(void)
{
	int status, child = fork();
	if (child == 0) {
		nanosleep(&hour, 0);
		_exit(7);
	}
	MUST(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 7);
}

static void *sleeper(void *unused)
{
	by_nanosleep();
	return 0;
}

static void by_thread(void)
{
	pthread_t thread;
	pthread_create(&thread, 0, sleeper, 0);
	pthread_join(thread, 0);
}

#define SLEEP(way) { #way, way }
static const struct {
	const char *name;
	void (*sleep)(void);
} sleeps[] = {
	SLEEP(by_nanosleep),	 SLEEP(by_clock_nanosleep), SLEEP(until_monotonic), SLEEP(until_realtime),
	SLEEP(by_futex),	 SLEEP(until_futex),	    SLEEP(by_condition),    SLEEP(by_semaphore),
	SLEEP(by_poll),		 SLEEP(by_ppoll),	    SLEEP(by_select),	    SLEEP(by_pselect),
	SLEEP(by_epoll),	 SLEEP(by_epoll_of_timer),  SLEEP(by_timerfd),	    SLEEP(until_timerfd),
	SLEEP(by_many_timerfds), SLEEP(by_alarm),	    SLEEP(by_setitimer),    SLEEP(by_timer),
	SLEEP(by_socket),	 SLEEP(by_tcp),		    SLEEP(by_child),	    SLEEP(by_thread),
};

// Somebody else may write to it.
static void wait_for_others(void)
{
	MUST(mkfifo("fifo", 0600) == 0 || errno == EEXIST);
	struct pollfd one = { open("fifo", O_RDWR), POLLIN };
	MUST(poll(&one, 1, 20) == 0);
}

// There is no server yet, and it may be somebody else's that comes.
static void look_for_a_server(void)
{
	const struct timespec moment = { 0, 20000000 };
	int listener = socket(AF_INET, SOCK_STREAM, 0), near = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof at;
	MUST(bind(listener, (void *)&at, len) == 0 && getsockname(listener, (void *)&at, &len) == 0);
	MUST(connect(near, (void *)&at, len) == -1 && errno == ECONNREFUSED);
	MUST(nanosleep(&moment, 0) == 0);
	MUST(listen(listener, 1) == 0 && connect(near, (void *)&at, len) == 0);
	MUST(nanosleep(&hour, 0) == 0);
	MUST(nanosleep(&hour, 0) == 0);
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "server") == 0) {
		look_for_a_server();
		return 0;
	}
	if (argc > 1) {
		wait_for_others();
		return 0;
	}
	// Much less than an hour, much more than any machine needs.
	const double slack = 100;
	struct sigaction action = { .sa_handler = ring };
	sigaction(SIGALRM, &action, 0);
	setlinebuf(stdout);
	for (size_t i = 0; i < COUNT(sleeps); i++) {
		double before[COUNT(clocks)], day = of_day(), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
		time_t seconds = time(0);
		for (size_t c = 0; c < COUNT(clocks); c++)
			before[c] = now(clocks[c]);
		sleeps[i].sleep();
		for (size_t c = 0; c < COUNT(clocks); c++) {
			double passed = now(clocks[c]) - before[c];
			// The coarse ones may lag behind.
			if (passed < HOUR - 0.1 || passed > HOUR + slack) {
				printf("%s: %f s of clock %d\n", sleeps[i].name, passed, clocks[c]);
				return 1;
			}
		}
		MUST(of_day() - day >= HOUR - 0.1 && of_day() - day < HOUR + slack);
		MUST(time(0) - seconds >= HOUR - 1 && time(0) - seconds < HOUR + slack);
		MUST(now(CLOCK_PROCESS_CPUTIME_ID) - cpu < slack);
		MUST(now(CLOCK_REALTIME) - of_day() < 1 && of_day() - now(CLOCK_REALTIME) < 1);
		printf("%s\n", sleeps[i].name);
	}
	return 0;
}
