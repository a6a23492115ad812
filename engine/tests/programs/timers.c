#include "show.h"
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <time.h>

int main(void)
{
	sigset_t set, pending;
	siginfo_t info;
	struct itimerval it = { { 0, 0 }, { 100, 0 } }, old[2];
	struct itimerspec its = { { 0, 0 }, { 200, 5 } }, was[2];
	struct timespec ts[2], limit = { 0, 1000 };
	struct timex tx[2];
	struct signalfd_siginfo ssi[2];
	int id[2];
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &set, 0);

	FRESH(old);
	SHOW(setitimer(ITIMER_REAL, &it, old), old);
	SHOW(getitimer(ITIMER_REAL, old), old);
	MUST(old[0].it_value.tv_sec >= 90);
	PLAIN(alarm(1000));
	PLAIN(alarm(0));
	struct sigevent sev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN, .sigev_value.sival_int = 42 };
	FRESH(id);
	SHOW(syscall(SYS_timer_create, CLOCK_MONOTONIC, &sev, id), id);
	FRESH(was);
	SHOW(syscall(SYS_timer_settime, id[0], 0, &its, was), was);
	SHOW(syscall(SYS_timer_gettime, id[0], was), was);
	MUST(was[0].it_value.tv_sec >= 190);
	its.it_value = (struct timespec){ 0, 1 };
	SHOW(syscall(SYS_timer_settime, id[0], 0, &its, was), was);
	FRESH(info);
	SHOW(syscall(SYS_rt_sigtimedwait, &set, &info, 0, 8), info);
	MUST(info.si_signo == SIGRTMIN && info.si_value.sival_int == 42);
	PLAIN(syscall(SYS_timer_getoverrun, id[0]));
	PLAIN(syscall(SYS_timer_delete, id[0]));
	PLAIN(syscall(SYS_timer_delete, id[0]));
	SHOW(syscall(SYS_rt_sigtimedwait, &set, &info, &limit, 8), info);

	memset(&info, 0, sizeof info);
	info.si_code = SI_QUEUE;
	info.si_value.sival_int = 7;
	PLAIN(syscall(SYS_rt_sigqueueinfo, getpid(), SIGUSR1, &info));
	FRESH(pending);
	SHOW(syscall(SYS_rt_sigpending, &pending, 8), pending);
	MUST(sigismember(&pending, SIGUSR1));
	int fd = syscall(SYS_signalfd4, -1, &set, 8, 0);
	FRESH(ssi);
	SHOW(read(fd, ssi, sizeof ssi), ssi);
	MUST(ssi[0].ssi_signo == SIGUSR1 && ssi[0].ssi_int == 7);
	PLAIN(syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), SIGUSR1, &info));
	FRESH(info);
	SHOW(syscall(SYS_rt_sigtimedwait, &set, &info, 0, 8), info);

	memset(tx, 0x5a, sizeof tx);
	tx->modes = 0;
	SHOW(adjtimex(tx), tx);
	SHOW(clock_adjtime(CLOCK_REALTIME, tx), tx);
	tx->modes = ADJ_OFFSET, tx->offset = 0;
	MUST(adjtimex(tx) == -1 && errno == EPERM);
	FRESH(ts);
	SHOW(sched_rr_get_interval(0, ts), ts);
	return 0;
}
