/* Two threads that hand the core over to each other; if a word says so, one has the other go on although it is not its turn, with
 * registers of its choice: 1 for a call, 2 for a fault without end. */
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ROUNDS = 60, SLOT = 256, SLOTS_MOST = 2048, UNTRACED = 0x70002000, RCX = 1, RSP = 4 };

static volatile int evil;
static const char *path;
static atomic_int turn;
static uint64_t stack[4096];

static void out_of_turn(void)
{
	syscall(SYS_open, path, O_CREAT | O_WRONLY, 0600);
	for (;;)
		;
}

static long wake(uint64_t slot)
{
	long result;
	__asm__ volatile("call *%1" : "=a"(result) : "r"((uint64_t)UNTRACED), "a"(SYS_futex), "D"(slot), "S"(1), "d"(1)
			 : "rcx", "r11", "memory");
	return result;
}

static void attack(void)
{
	int how = evil;
	evil = 0;
	for (uint64_t slot = SLOTS; slot < SLOTS + SLOTS_MOST * SLOT; slot += SLOT) {
		volatile uint32_t *words = (void *)slot;
		volatile uint64_t *registers = (void *)(slot + REGISTERS);
		if (!words[1])
			continue;
		registers[RCX] = how == 2 ? 16 : (uint64_t)out_of_turn;
		registers[RSP] = (uint64_t)&stack[4000];
		words[0] = 1;
		wake(slot);
	}
	/* As long as it may take the other to get there. */
	for (volatile long n = 0; n < 300000000 || how == 2; n++)
		;
}

static void *play(void *argument)
{
	int me = (long)argument;
	for (int i = 0; i < ROUNDS; i++) {
		int now;
		while ((now = atomic_load(&turn)) % 2 != me)
			syscall(SYS_futex, &turn, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, now, NULL, NULL, 0);
		if (evil && me == 0)
			attack();
		atomic_fetch_add(&turn, 1);
		syscall(SYS_futex, &turn, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t other;
	path = argv[1];
	printf("%p\n", (void *)&evil);
	fflush(stdout);
	pthread_create(&other, NULL, play, (void *)1);
	play((void *)0);
	pthread_join(other, NULL);
	return 0;
}
