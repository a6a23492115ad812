#include "show.h"
#include <asm/prctl.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

int main(void)
{
	char buf[512];
	long words[8];
	int ints[4];
	// prctl, arch_prctl
	FRESH(ints);
	SHOW(prctl(PR_GET_PDEATHSIG, ints), ints);
	SHOW(prctl(PR_GET_CHILD_SUBREAPER, ints), ints);
	MUST(prctl(PR_GET_DUMPABLE) == 1);
	MUST(prctl(PR_SET_DUMPABLE, 2) == -1 && errno == EINVAL);
	MUST(prctl(PR_SET_DUMPABLE, 0) == 0 && prctl(PR_GET_DUMPABLE) == 0);
	MUST(prctl(PR_GET_SECCOMP) == 0);
	MUST(prctl(PR_SET_SECCOMP, 1) == -1 && errno == EINVAL);
	MUST(prctl(PR_SET_MM, 1, 0, 0, 0) == -1 && errno == EPERM);
	FRESH(buf);
	SHOW(prctl(PR_GET_NAME, buf), buf);
	FRESH(words);
	SHOW(prctl(40, words), words);
	FRESH(buf);
	SHOW(prctl(0x41555856, buf, sizeof buf, 0, 0), buf);
	SHOW(prctl(0x41555856, buf, 24, 0, 0), buf);
	PLAIN(prctl(PR_CAPBSET_READ, 1));
	PLAIN(prctl(PR_SET_TIMERSLACK, 1000));
	PLAIN(prctl(PR_GET_TIMERSLACK));
	PLAIN(prctl(12345));
	SHOW(syscall(SYS_arch_prctl, ARCH_GET_FS, words), words);
	SHOW(syscall(SYS_arch_prctl, 0x1021, words), words);
	SHOW(syscall(SYS_arch_prctl, 0x4001, words), words);
	PLAIN(syscall(SYS_arch_prctl, 0x5001, 1));

	// fcntl
	int fd = open("file", O_CREAT | O_RDWR, 0600), p[2];
	MUST(fd >= 0 && !pipe(p));
	FRESH(words);
	PLAIN(fcntl(fd, F_SETFL, O_APPEND));
	PLAIN(fcntl(fd, F_GETFL));
	struct f_owner_ex { int type, pid; } owner = { 1, getpid() };
	PLAIN(fcntl(p[0], F_SETOWN_EX, &owner));
	SHOW(fcntl(p[0], F_GETOWN_EX, words), words);
	SHOW(fcntl(p[0], 17, words), words);
	PLAIN(fcntl(p[0], F_SETSIG, 10));
	PLAIN(fcntl(p[0], F_GETSIG));
	PLAIN(fcntl(p[0], F_GETPIPE_SZ));
	*words = 2;
	PLAIN(fcntl(fd, F_SET_RW_HINT, words));
	FRESH(words);
	SHOW(fcntl(fd, F_GET_RW_HINT, words), words);
	struct flock l[2];
	memset(l, 0x5a, sizeof l);
	l[0] = (struct flock){ .l_type = F_WRLCK };
	SHOW(fcntl(fd, F_OFD_GETLK, l), l);
	PLAIN(fcntl(fd, 1027, fd));
	PLAIN(fcntl(fd, 999));
	int mem = memfd_create("m", MFD_ALLOW_SEALING);
	PLAIN(fcntl(mem, F_ADD_SEALS, F_SEAL_GROW));
	PLAIN(fcntl(mem, F_GET_SEALS));

	// capget: three versions, and one that there is not.
	static const unsigned versions[] = { 0x19980330, 0x20071026, 0x20080522, 1 };
	for (int i = 0; i < 4; i++) {
		unsigned header[2] = { versions[i], 0 }, data[8];
		FRESH(data);
		SHOW(syscall(SYS_capget, header, data), data);
		SHOW(syscall(SYS_capget, header, 0), header);
	}

	// Scheduling.
	FRESH(buf);
	SHOW(syscall(SYS_sched_getattr, 0, buf, 48, 0), buf);
	SHOW(syscall(SYS_sched_getattr, 0, buf, 256, 0), buf);
	*(unsigned *)buf = 48, *(unsigned *)(buf + 4) = 1;
	MUST(syscall(SYS_sched_setattr, 0, buf, 0) == -1 && errno == EPERM);
	memset(buf, 0, 48);
	*(unsigned *)buf = 5;
	SHOW(syscall(SYS_sched_setattr, 0, buf, 0), buf);
	struct sched_param sp = { 0 };
	PLAIN(sched_setscheduler(0, SCHED_BATCH, &sp));
	PLAIN(sched_getscheduler(0));
	sp.sched_priority = 1;
	MUST(sched_setscheduler(0, SCHED_FIFO, &sp) == -1 && errno == EPERM);
	PLAIN(syscall(SYS_ioprio_get, 1, 0));
	PLAIN(syscall(SYS_personality, 0xffffffff));
	FRESH(words);
	SHOW(syscall(SYS_get_robust_list, 0, words, words + 1), words);
	FRESH(words);
	SHOW(syscall(SYS_get_mempolicy, words, words + 1, 128, 0, 0), words);
	char *page = mmap(0, 4096, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	*page = 1;
	FRESH(ints);
	SHOW(syscall(SYS_move_pages, 0, 1, &page, 0, ints, 0), ints);
	PLAIN(syscall(SYS_unshare, CLONE_FS));
	MUST(unshare(CLONE_NEWNET) == -1 && errno == EPERM);
	FRESH(words);
	*(unsigned *)(words + 7) = 56;
	SHOW(syscall(461, words, words + 7, 0), words);
	FRESH(buf);
	SHOW(syscall(SYS_modify_ldt, 0, buf, 16), buf);

	// Socket options.
	int s = socket(AF_INET, SOCK_STREAM, 0);
	socklen_t len = sizeof buf;
	FRESH(buf);
	SHOW(getsockopt(s, IPPROTO_TCP, TCP_INFO, buf, &len), buf);
	printf("%u\n", len);
	len = 2;
	SHOW(getsockopt(s, SOL_SOCKET, SO_SNDBUF, buf, &len), buf);
	len = sizeof buf;
	SHOW(getsockopt(s, IPPROTO_TCP, TCP_CONGESTION, buf, &len), buf);
	MUST(!socketpair(AF_UNIX, SOCK_STREAM, 0, p));
	len = sizeof buf;
	SHOW(getsockopt(p[0], SOL_SOCKET, SO_PEERCRED, buf, &len), buf);
	len = 0;
	SHOW(getsockopt(p[0], SOL_SOCKET, 59, buf, &len), len);
	len = sizeof buf;
	SHOW(getsockopt(p[0], SOL_SOCKET, 59, buf, &len), buf);
	len = sizeof buf;
	MUST(getsockopt(s, SOL_SOCKET, 26, buf, &len) == -1 && errno == ENOPROTOOPT);

	// What there is not, or not here.
	MUST(syscall(400) == -1 && errno == ENOSYS);
	MUST(syscall(5000) == -1 && errno == ENOSYS);
	MUST(syscall(SYS_io_setup, 1, words) == -1 && errno == ENOSYS);
	MUST(syscall(SYS_keyctl, 0, 0, 0) == -1 && errno == EPERM);
	MUST(syscall(SYS_pkey_alloc, 0, 0) == -1 && errno == ENOSPC);
	return 0;
}
