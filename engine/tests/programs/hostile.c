/* A program that does no harm, unless a word of it says so. Then it jumps to the places from which calls need no stop. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static volatile int evil;

/* As in `rrtest_preload::layout` and the recorder's `Area`. */
enum { INJECTION = 0x70001000, BATCH = INJECTION + 16, UNTRACED = 0x70002000, BATCH_SYSCALL = BATCH + 34, PATHS = BATCH + 0x70 };

static long at(uint64_t place, long number, long a, long b, long c, long d, long e, long f)
{
	static uint64_t list[64];
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
	register uint64_t r12 __asm__("r12") = (uint64_t)list, r13 __asm__("r13") = 1;
	long result;
	list[7] = list[8] = (uint64_t)&list[10];
	__asm__ volatile("call *%[place]" : "=a"(result), "+r"(r12), "+r"(r13)
		: [place] "r"(place), "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
		: "rcx", "r11", "memory", "cc");
	return result;
}

static void attack(int how, char **argv)
{
	long create = O_CREAT | O_WRONLY;
	static const uint64_t places[] = { UNTRACED, INJECTION, BATCH_SYSCALL };
	switch (how) {
	case 1: case 2: case 3:
		at(places[how - 1], SYS_open, (long)argv[1], create, 0600, 0, 0, 0);
		break;
	case 4: {
		struct sockaddr_in to = { AF_INET, htons(atoi(argv[2])), { htonl(INADDR_LOOPBACK) } };
		long fd = at(UNTRACED, SYS_socket, AF_INET, SOCK_DGRAM, 0, 0, 0, 0);
		at(UNTRACED, SYS_sendto, fd, (long)"secret", 6, 0, (long)&to, sizeof to);
		break;
	}
	case 5:
		at(UNTRACED, SYS_kill, atoi(argv[3]), SIGKILL, 0, 0, 0, 0);
		break;
	case 6:
		if (at(UNTRACED, SYS_clone, 0, 0, 0, 0, 0, 0) == 0)
			at(UNTRACED, SYS_open, (long)argv[1], create, 0600, 0, 0, 0);
		break;
	/* Code that would be run for the replayer. */
	case 7:
		*(volatile uint8_t *)INJECTION = 0x90;
		break;
	case 8:
		at(UNTRACED, SYS_mmap, INJECTION, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		break;
	case 9:
		at(UNTRACED, SYS_mprotect, 0x6ffff000, 0x3000, PROT_READ | PROT_WRITE | PROT_EXEC, 0, 0, 0);
		break;
	case 10:
		at(UNTRACED, SYS_munmap, 0x70000000, 133 << 20, 0, 0, 0, 0);
		break;
	/* A wait for ever. */
	case 11:
		at(UNTRACED, SYS_futex, (long)&evil, 0, how, 0, 0, 0);
		break;
	case 12:
		at(UNTRACED, SYS_mmap, 0, 4096, PROT_READ, MAP_PRIVATE, 0, 0);
		break;
	/* A list may open what has its path there, as it is. */
	case 13:
		at(BATCH_SYSCALL, SYS_open, PATHS + 1, O_RDONLY, 0, 0, 0, 0);
		break;
	case 14:
		at(BATCH_SYSCALL, SYS_open, PATHS, create, 0600, 0, 0, 0);
		break;
	}
}

int main(int argc, char **argv)
{
	printf("%p\n", (void *)&evil);
	fflush(stdout);
	syscall(SYS_getppid);
	attack(evil, argv);
	int fd = syscall(SYS_open, argv[1], O_CREAT | O_WRONLY, 0600);
	return fd < 0;
}
