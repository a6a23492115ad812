// Calls that end a recording. The argument says which.
#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (!strcmp(argv[1], "ptrace")) {
		// Nobody is traced by this process.
		if (ptrace(PTRACE_CONT, getpid(), 0, 0) != -1 || errno != ESRCH) return 1;
		return ptrace(PTRACE_TRACEME, 0, 0, 0);
	}
	if (strstr(argv[1], "0x80")) {
		long result;
		// getpid(2) of another architecture.
		asm volatile("int $0x80" : "=a"(result) : "a"(20) : "memory");
		return result;
	}
	// Calls that stop, and nothing else.
	if (!strcmp(argv[1], "for ever"))
		for (;;)
			syscall(SYS_umask, 022);
	return syscall(SYS_restart_syscall);
}
