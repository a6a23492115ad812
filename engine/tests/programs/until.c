// The time limit of recvmmsg(2): it begins with the call, ends no wait, and the call says what is left of it.
#include "show.h"
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int messages[2], over[2];
char parts[3][8];
struct mmsghdr header[3];

static void one(const char *text)
{
	MUST(send(messages[0], text, 3, 0) == 3);
}

// Until the other end has taken what was sent.
static void taken(void)
{
	int left;
	do {
		usleep(100);
		MUST(!ioctl(messages[0], TIOCOUTQ, &left));
	} while (left);
}

static void *sender(void *unused)
{
	char c;
	for (int i = 0; i < 2; i++) {
		usleep(300);
		one("one");
		taken();
		usleep(2000);
		one("two");
		taken();
	}
	one("six");
	// The rest of the program is not alone either.
	MUST(read(over[0], &c, 1) == 1);
	return 0;
}

static int receive(int count, int flags, struct timespec *limit)
{
	struct iovec iov[3];
	for (int i = 0; i < 3; i++) {
		iov[i] = (struct iovec){ parts[i], 8 };
		header[i].msg_hdr = (struct msghdr){ .msg_iov = &iov[i], .msg_iovlen = 1 };
	}
	return recvmmsg(messages[1], header, count, flags, limit);
}

static long microseconds(const struct timespec *time)
{
	return time->tv_sec * 1000000 + time->tv_nsec / 1000;
}

int main(void)
{
	struct timespec limit = { 100, 0 }, before, after;
	pthread_t thread;
	MUST(!socketpair(AF_UNIX, SOCK_DGRAM, 0, messages) && !pipe(over));
	MUST(!pthread_create(&thread, 0, sender, 0));

	MUST(!clock_gettime(CLOCK_MONOTONIC, &before));
	MUST(receive(2, 0, &limit) == 2 && !memcmp(parts[0], "one", 3) && !memcmp(parts[1], "two", 3));
	MUST(!clock_gettime(CLOCK_MONOTONIC, &after));
	// Two milliseconds have passed while it waited for the second, and no more than the clock says.
	MUST(microseconds(&limit) <= 100000000 - 2000);
	MUST(microseconds(&limit) >= 100000000 - 1 - (microseconds(&after) - microseconds(&before)));
	SHOW(0, limit);
	// Those that there are, after a wait for the first.
	limit = (struct timespec){ 100, 0 };
	MUST(receive(2, MSG_WAITFORONE, &limit) == 1 && microseconds(&limit) < 100000000);
	// It is over before anything comes.
	limit = (struct timespec){ 0, 1000 };
	MUST(receive(3, 0, &limit) == 1 && !memcmp(parts[0], "two", 3) && !microseconds(&limit));
	limit = (struct timespec){ 0, 0 };
	MUST(receive(3, 0, &limit) == 1 && !memcmp(parts[0], "six", 3) && !limit.tv_sec && !limit.tv_nsec);
	// What is no time is said at once, although there is nothing to take.
	limit = (struct timespec){ 0, 1000000000 };
	MUST(receive(3, 0, &limit) == -1 && errno == EINVAL && limit.tv_nsec == 1000000000);
	MUST(receive(3, 0, (void *)8) == -1 && errno == EFAULT);
	// Nor is the limit touched if nothing comes.
	limit = (struct timespec){ 0, 1000 };
	MUST(receive(3, MSG_DONTWAIT, &limit) == -1 && errno == EAGAIN && limit.tv_nsec == 1000);
	struct timeval wait = { 0, 1000 };
	MUST(!setsockopt(messages[1], SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait));
	MUST(receive(3, 0, &limit) == -1 && errno == EAGAIN && limit.tv_nsec == 1000);
	// What came before that is kept, and the time as well.
	one("end");
	limit = (struct timespec){ 100, 0 };
	MUST(receive(3, 0, &limit) == 1 && !memcmp(parts[0], "end", 3));
	SHOW(microseconds(&limit) < 100000000 - 1000, limit);
	MUST(write(over[1], "", 1) == 1 && !pthread_join(thread, 0));
	return 0;
}
