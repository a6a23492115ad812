// Calls that the recorder makes without a stop, next to what makes it stop: their outcome is the kernel's all the same.
#include "show.h"
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

// So often that the call sites lead into the buffer.
#define OFTEN for (int i = 0; i < 5; i++)

static char *nowhere = (char *)8;

static void files(void)
{
	char b[8];
	struct stat st;
	int fd = open("kept", O_RDWR | O_CREAT | O_TRUNC, 0600);
	MUST(fd >= 0);
	OFTEN MUST(write(fd, "0123456", 8) == 8);
	OFTEN MUST(write(fd, nowhere, 8) == -1 && errno == EFAULT);
	OFTEN MUST(lseek(fd, 2 * i, SEEK_SET) == 2 * i && read(fd, b, 4) == 4 && b[0] == '0' + 2 * i % 8);
	OFTEN MUST(read(fd, nowhere, 4) == -1 && errno == EFAULT);
	OFTEN MUST(pwrite(fd, "x", 1, i) == 1 && pread(fd, b, 1, i) == 1 && *b == 'x');
	OFTEN MUST(fstat(fd, &st) == 0 && st.st_size == 40);
	// Once it is mapped, what is written to it shows there.
	char *at = mmap(0, 4096, PROT_READ, MAP_SHARED, fd, 0);
	MUST(at != MAP_FAILED);
	OFTEN {
		char c = 'a' + i;
		MUST(pwrite(fd, &c, 1, 0) == 1 && *(volatile char *)at == c);
	}
	MUST(!munmap(at, 4096));
	// The number of a file becomes that of a pipe.
	int p[2];
	MUST(!pipe(p) && dup2(p[0], fd) == fd);
	MUST(write(p[1], "pipe", 4) == 4 && read(fd, b, 8) == 4);
	OFTEN MUST(write(fd, "no", 2) == -1 && errno == EBADF);
	OFTEN {
		int again = open("kept", O_RDONLY | O_CLOEXEC);
		MUST(again >= 0 && read(again, b, 8) == 8 && *b == 'e' && !close(again));
		MUST(read(again, b, 1) == -1 && errno == EBADF);
		MUST(close(again) == -1 && errno == EBADF);
	}
	OFTEN MUST(open("nothing", O_RDONLY) == -1 && errno == ENOENT);
	OFTEN MUST(open(nowhere, O_RDONLY) == -1 && errno == EFAULT);
	MUST(!close(p[0]) && !close(p[1]) && !close(fd));
}

static void output(void)
{
	OFTEN {
		MUST(write(1, "out\n", 4) == 4 && write(2, "err\n", 4) == 4);
		MUST(write(1, nowhere, 4) == -1 && errno == EFAULT);
	}
	int saved = dup(1), file = open("out", O_WRONLY | O_CREAT | O_TRUNC, 0600);
	MUST(dup2(file, 1) == 1);
	OFTEN MUST(write(1, "file", 4) == 4);
	MUST(lseek(1, 0, SEEK_CUR) == 20);
	MUST(dup2(saved, 1) == 1 && !close(saved) && !close(file));
	OFTEN MUST(write(1, "again\n", 6) == 6);
}

static void memory(void)
{
	OFTEN {
		char *at = mmap(0, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		MUST(at != MAP_FAILED);
		memset(at, 7, 3 * 4096);
		MUST(!madvise(at, 4096, MADV_DONTNEED) && at[0] == 0 && at[4096] == 7);
		MUST(!mprotect(at, 4096, PROT_NONE) && !munmap(at + 4096, 2 * 4096));
		MUST(mprotect(at, 2 * 4096, PROT_READ) == -1 && errno == ENOMEM);
		MUST(!munmap(at, 4096));
	}
}

static volatile int usr1, alarms;
static void count(int number) { number == SIGUSR1 ? usr1++ : alarms++; }

static void signals_come(void)
{
	sigset_t set, old;
	signal(SIGUSR1, count);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	OFTEN {
		MUST(!sigprocmask(SIG_BLOCK, &set, &old));
		MUST(!kill(getpid(), SIGUSR1) && usr1 == i);
		// It comes before the call returns.
		MUST(!sigprocmask(SIG_SETMASK, &old, 0) && usr1 == i + 1);
	}
	// In the midst of calls that do not stop.
	signal(SIGALRM, count);
	struct itimerval often = { { 0, 3000 }, { 0, 3000 } }, never = { { 0, 0 }, { 0, 0 } };
	setitimer(ITIMER_REAL, &often, 0);
	struct timespec now, since;
	clock_gettime(CLOCK_MONOTONIC, &since);
	long last = since.tv_nsec + since.tv_sec * 1000000000;
	while (alarms < 3) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		long at = now.tv_nsec + now.tv_sec * 1000000000;
		MUST(at >= last);
		last = at;
	}
	setitimer(ITIMER_REAL, &never, 0);
}

static int word;

static void *waiter(void *arg)
{
	while (__atomic_load_n(&word, __ATOMIC_SEQ_CST) == 0)
		syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, 0, 0, 0);
	return arg;
}

static void futexes(void)
{
	pthread_t t[3];
	OFTEN MUST(syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 9, 0, 0, 0) == 0);
	OFTEN MUST(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 1, 0, 0, 0) == -1 && errno == EAGAIN);
	OFTEN MUST(syscall(SYS_futex, nowhere, FUTEX_WAIT_PRIVATE, 1, 0, 0, 0) == -1 && errno == EFAULT);
	for (int i = 0; i < 3; i++)
		MUST(!pthread_create(t + i, 0, waiter, 0));
	usleep(1000);
	__atomic_store_n(&word, 1, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 3, 0, 0, 0);
	for (int i = 0; i < 3; i++)
		MUST(!pthread_join(t[i], 0));
}

// What the recorder keeps for each task.
static void of_the_task_alone(void)
{
	unsigned long all = 3, one = 1, cores;
	OFTEN {
		MUST(syscall(SYS_sched_getaffinity, i % 2 ? gettid() : 0, 8, &cores) == 8 && cores == all);
		MUST(syscall(SYS_sched_getaffinity, 0, 8, nowhere) == -1 && errno == EFAULT);
		MUST(syscall(SYS_sched_getaffinity, 0, 4, &cores) == -1 && errno == EINVAL);
		MUST(!syscall(SYS_sched_setaffinity, 0, 8, &one));
		MUST(syscall(SYS_sched_getaffinity, 0, 16, &cores) == 8 && cores == one);
		MUST(!syscall(SYS_sched_setaffinity, 0, 8, &all));
	}
	struct { void *first; long offset; void *pending; } head = { &head, 0, 0 };
	void *before, *now;
	size_t size;
	MUST(!syscall(SYS_get_robust_list, 0, &before, &size) && size == sizeof head);
	OFTEN {
		MUST(!syscall(SYS_set_robust_list, i % 2 ? &head : before, sizeof head));
		MUST(!syscall(SYS_get_robust_list, 0, &now, &size) && now == (i % 2 ? (void *)&head : before));
		MUST(syscall(SYS_set_robust_list, &head, 1) == -1 && errno == EINVAL);
	}
}

// What one process closes stays open for the other.
static void processes(void)
{
	int status, fd = open("kept", O_RDONLY);
	char c;
	OFTEN MUST(pread(fd, &c, 1, 0) == 1);
	OFTEN {
		pid_t child = fork();
		if (!child) {
			MUST(pread(fd, &c, 1, 0) == 1 && !close(fd) && pread(fd, &c, 1, 0) == -1);
			_exit(getpid() == gettid() ? 3 : 4);
		}
		MUST(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 3);
		MUST(pread(fd, &c, 1, 0) == 1);
	}
}

int main(void)
{
	files();
	output();
	memory();
	signals_come();
	futexes();
	of_the_task_alone();
	processes();
	return 0;
}
