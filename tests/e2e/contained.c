// Runs a program under what `docker run` puts on one: a filter of system calls as its default profile is, for somebody
// without capabilities (https://docs.docker.com/engine/security/seccomp/), and no new privileges.
//
//     contained PROGRAM [ARGUMENT]...
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

// That profile lists what is allowed. These are what is left of those that there are, and all of higher numbers.
static const int forbidden[] = {
    SYS_acct, SYS_add_key, SYS_afs_syscall, SYS_bpf, SYS_chroot, SYS_clock_settime, SYS_create_module, SYS_delete_module,
    SYS_fanotify_init, SYS_finit_module, SYS_fsconfig, SYS_fsmount, SYS_fsopen, SYS_fspick, SYS_get_kernel_syms,
    SYS_get_mempolicy, SYS_getpmsg, SYS_init_module, SYS_ioperm, SYS_iopl, SYS_kcmp, SYS_kexec_file_load, SYS_kexec_load,
    SYS_keyctl, SYS_lookup_dcookie, SYS_mbind, SYS_migrate_pages, SYS_mount, SYS_move_mount, SYS_move_pages,
    SYS_nfsservctl, SYS_open_by_handle_at, SYS_open_tree, SYS_perf_event_open, SYS_pidfd_getfd, SYS_pivot_root,
    SYS_process_madvise, SYS_putpmsg, SYS_query_module, SYS_quotactl, SYS_reboot, SYS_request_key, SYS_security,
    SYS_set_mempolicy, SYS_setdomainname, SYS_sethostname, SYS_setns, SYS_settimeofday, SYS_swapoff, SYS_swapon,
    SYS_sysfs, SYS__sysctl, SYS_syslog, SYS_tuxcall, SYS_umount2, SYS_unshare, SYS_uselib, SYS_userfaultfd, SYS_ustat,
    SYS_vhangup, SYS_vserver, 425 /* io_uring_setup */, 426 /* io_uring_enter */, 427 /* io_uring_register */,
};
enum { LAST = 462, NEW_NAMESPACES = 0x7e020000 };

static struct sock_filter filter[256];
static unsigned short length;

static void add(unsigned short code, unsigned char yes, unsigned char no, unsigned value) {
    filter[length++] = (struct sock_filter){code, yes, no, value};
}

static void load(unsigned offset) { add(BPF_LD | BPF_W | BPF_ABS, 0, 0, offset); }
static void end_with(unsigned action) { add(BPF_RET | BPF_K, 0, 0, action); }

int main(int count, char **arguments) {
    const unsigned refused = SECCOMP_RET_ERRNO | EPERM, first = offsetof(struct seccomp_data, args);
    if (count < 2) return 2;
    load(offsetof(struct seccomp_data, arch));
    add(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, AUDIT_ARCH_X86_64);
    end_with(refused);
    load(offsetof(struct seccomp_data, nr));
    add(BPF_JMP | BPF_JGT | BPF_K, 0, 1, LAST);
    end_with(refused);
    for (size_t i = 0; i < sizeof forbidden / sizeof *forbidden; i++) {
        add(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, (unsigned)forbidden[i]);
        end_with(refused);
    }
    add(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_clone3);
    end_with(SECCOMP_RET_ERRNO | ENOSYS);
    add(BPF_JMP | BPF_JEQ | BPF_K, 0, 3, SYS_clone);
    load(first);
    add(BPF_JMP | BPF_JSET | BPF_K, 0, 1, NEW_NAMESPACES);
    end_with(refused);
    load(offsetof(struct seccomp_data, nr));
    // To ask for the personality, and to set Linux's plain ones.
    add(BPF_JMP | BPF_JEQ | BPF_K, 0, 5, SYS_personality);
    load(first);
    add(BPF_JMP | BPF_JEQ | BPF_K, 3, 0, 0xffffffff);
    add(BPF_ALU | BPF_AND | BPF_K, 0, 0, ~0x20008u);
    add(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 0);
    end_with(refused);
    end_with(SECCOMP_RET_ALLOW);
    struct sock_fprog program = {length, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
        perror("contained: a filter");
        return 125;
    }
    execvp(arguments[1], arguments + 1);
    perror(arguments[1]);
    return 127;
}
