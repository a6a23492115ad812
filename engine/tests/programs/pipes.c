#include "show.h"
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>

int main(int argc, char **argv)
{
	int p[2], q[2], status[2] = { 7, 7 };
	char buf[64], one[8], two[8];
	long offset[2] = { 2, 0x5a };
	int f = open("in", O_CREAT | O_RDWR | O_TRUNC, 0600), g = open("out", O_CREAT | O_RDWR | O_TRUNC, 0600);
	MUST(f >= 0 && g >= 0 && write(f, "0123456789", 10) == 10 && !pipe(p) && !pipe(q));

	if (argc > 1) {
		// To standard output it is read and written.
		MUST(sendfile(1, f, offset, 4) == -1 && errno == EINVAL);
		MUST(copy_file_range(f, offset, 1, 0, 4, 0) == -1 && errno == EINVAL);
		MUST(write(p[1], "x", 1) == 1 && splice(p[0], 0, 1, 0, 1, 0) == -1 && errno == EINVAL);
		return 0;
	}
	SHOW(splice(f, offset, p[1], 0, 5, 0), offset);
	MUST(offset[0] == 7);
	SHOW(tee(p[0], q[1], 5, 0), offset);
	SHOW(read(q[0], buf, 5), offset);
	offset[0] = 1;
	SHOW(splice(p[0], 0, g, offset, 3, 0), offset);
	struct iovec iov[2] = { { one, 1 }, { two, 8 } };
	FRESH(one);
	FRESH(two);
	SHOW(vmsplice(p[0], iov, 2, 0), one);
	SHOW(0, two);
	MUST(one[0] == '5' && two[0] == '6');
	iov[1] = (struct iovec){ "vm", 2 };
	SHOW(vmsplice(p[1], iov, 2, 0), offset);
	FRESH(buf);
	SHOW(read(p[0], buf, sizeof buf), buf);
	offset[0] = 3;
	SHOW(sendfile(p[1], f, offset, 4), offset);
	FRESH(buf);
	SHOW(read(p[0], buf, sizeof buf), buf);
	offset[0] = 1, offset[1] = 6;
	SHOW(copy_file_range(f, offset, g, offset + 1, 4, 0), offset);
	FRESH(buf);
	SHOW(pread(g, buf, sizeof buf, 0), buf);

	// A process and its descriptors.
	iov[0] = (struct iovec){ one, 3 };
	iov[1] = (struct iovec){ two, 8 };
	struct iovec from = { "remote memory", 13 };
	FRESH(two);
	SHOW(process_vm_readv(getpid(), iov, 2, &from, 1, 0), two);
	MUST(!memcmp(two, "ote memo", 8));
	int pid = syscall(SYS_pidfd_open, getpid(), 0);
	MUST(pid >= 0);
	PLAIN(syscall(SYS_pidfd_send_signal, pid, 0, 0, 0));
	PLAIN(syscall(SYS_pidfd_getfd, pid, p[0], 0));
	PLAIN(syscall(SYS_kcmp, getpid(), getpid(), 0, p[0], p[0]));
	PLAIN(syscall(SYS_process_madvise, pid, &from, 1, 20, 0));
	SHOW(syscall(SYS_wait4, -1, status, 0, 0), status);
	SHOW(waitid(P_ALL, 0, (void *)buf, WEXITED), buf);
	return 0;
}
