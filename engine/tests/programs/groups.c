// Signals to process groups, and to everybody: they reach the recorded processes, each with its sender, and nobody else.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t got, from;

static void note(int number, siginfo_t *info, void *context)
{
	got++;
	from = info->si_pid;
}

int main(int count, char **args)
{
	struct sigaction action = {.sa_sigaction = note, .sa_flags = SA_SIGINFO};
	sigaction(SIGUSR1, &action, 0);
	int ready[2], status;
	char byte;
	pipe(ready);
	for (int i = 0; i < 2; i++) {
		if (fork() == 0) {
			sigset_t set, old;
			sigemptyset(&set);
			sigaddset(&set, SIGUSR1);
			sigprocmask(SIG_BLOCK, &set, &old);
			write(ready[1], "r", 1);
			while (!got)
				sigsuspend(&old);
			dprintf(1, "from its parent: %d\n", from == getppid());
			_exit(got);
		}
		read(ready[0], &byte, 1);
	}
	printf("to the group: %d\n", kill(0, SIGUSR1));
	printf("own: %d %d\n", got, from == getpid());
	fflush(stdout);
	while (wait(&status) > 0)
		printf("%x\n", status);
	fflush(stdout);
	// To everybody but oneself.
	if (fork() == 0)
		for (;;)
			pause();
	printf("to all: %d\n", kill(-1, SIGKILL));
	wait(&status);
	printf("%x\n", status);
	printf("to nobody: %d %d\n", kill(-1, SIGUSR1), errno);
	fflush(stdout);
	kill(count > 1 ? -getpgrp() : 0, SIGABRT);
	return 0;
}
