/* What a debugger looks at: a function that is called again and again, a word that is written by the program and by the kernel,
 * call sites that come to lead into the buffer, threads that wait for each other, ticks. Says where everything is. */
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int ticks;

/* As `rrtest_preload::runtime` counts: the offsets are those of its layout. */
static inline void tick(void)
{
	if (!ticks)
		return;
	__asm__ volatile("decq " COUNTDOWN "\n jz 2f\n 3:\n .subsection 1\n 2:\n movq %0, " TOUCHED "\n movq $2, " KIND
			 "\n movq %%rax, " KEPT "\n leaq 4f(%%rip), %%rax\n jmpq *" TICK "\n 4:\n syscall\n jmp 3b\n .previous"
			 :: "r"(&ticks) : "rax", "rcx", "r11", "memory", "cc");
}

static volatile uint64_t word;
static volatile unsigned sum;

__attribute__((noinline)) void work(unsigned n)
{
	word = n;
	tick();
	sum += n;
	/* Flags are pushed and popped, and told. */
	unsigned long flags;
	__asm__ volatile("pushfq\n popq %0" : "=r"(flags) :: "cc");
	if (flags & 0x100)
		word = ~0;
	tick();
}

__attribute__((noinline)) long call(long number, long a, long b, long c)
{
	return syscall(number, a, b, c);
}

static atomic_int turn;

static void wait_for(int mine)
{
	for (int seen; (seen = atomic_load(&turn)) % 3 != mine;) {
		tick();
		syscall(SYS_futex, &turn, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, seen, NULL, NULL, 0);
	}
}

static void *play(void *me)
{
	for (int i = 0; i < 40; i++) {
		wait_for((long)me);
		work(i);
		atomic_fetch_add(&turn, 1);
		tick();
		syscall(SYS_futex, &turn, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 100, NULL, NULL, 0);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	long answer;
	__asm__ volatile("syscall" : "=a"(answer) : "a"(HELLO) : "rcx", "r11", "memory");
	ticks = answer == 1;
	printf("%p %p %p\n", (void *)work, (void *)&word, (void *)call);
	fflush(stdout);
	for (unsigned n = 0; n < 10; n++)
		work(n);
	int ends[2];
	if (pipe(ends))
		return 1;
	for (uint64_t n = 100; n < 103; n++)
		if (write(ends[1], &n, 8) != 8 || read(ends[0], (void *)&word, 8) != 8)
			return 2;
	for (int i = 0; i < 30; i++) {
		struct timespec now;
		if (call(SYS_clock_gettime, CLOCK_MONOTONIC, (long)&now, 0) || call(SYS_getppid, 0, 0, 0) < 0)
			return 3;
		tick();
	}
	/* With an argument: many calls, then none for long. */
	for (unsigned n = 0; argc > 1 && n < 1500; n++)
		work(n);
	for (unsigned n = 0; argc > 1 && n < 5000; n++)
		tick();
	pthread_t threads[2];
	for (long i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, play, (void *)(i + 1));
	play(0);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	pid_t child = fork();
	if (child == 0) {
		work(7);
		call(SYS_write, 1, (long)"child\n", 6);
		_exit(5);
	}
	int status;
	waitpid(child, &status, 0);
	printf("%u %d\n", sum, WEXITSTATUS(status));
	return 0;
}
