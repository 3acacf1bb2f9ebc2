package host

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// confinedSelf is this program's own name in the root of a confinement. Started
// by that name, it gives up system calls and becomes the program that it is
// given: seccomp has no command of its own in Debian 12.
const confinedSelf = "/hvinstall-confined"

// An init, because what is started again is any program that has this package,
// a test's as well, and must do nothing else.
func init() {
	if len(os.Args) == 0 || os.Args[0] != confinedSelf {
		return
	}
	if len(os.Args) == 1 { // asked whether it can be started at all
		os.Exit(0)
	}
	fmt.Fprintln(os.Stderr, "confining "+os.Args[1]+":", becomeFiltered(os.Args[1:]))
	os.Exit(126)
}

func becomeFiltered(argv []string) error {
	// The filter is the thread's, and execve keeps this thread alone.
	runtime.LockOSThread()
	program := seccompProgram(callsOfReaders)
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	list := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&list))); errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	err := syscall.Exec(argv[0], argv, os.Environ())
	return errors.Join(fmt.Errorf("starting %s", argv[0]), err)
}

// callsOfReaders are the system calls that a program has which reads one file
// and writes another, with threads and processes of its own. What is not here
// fails with EPERM: sockets, mounts, name spaces, tracing, keys, BPF, io_uring,
// userfaultfd, modules, time, other processes' memory and new devices.
var callsOfReaders = []uint32{
	unix.SYS_READ, unix.SYS_WRITE, unix.SYS_OPEN, unix.SYS_CLOSE, unix.SYS_STAT, unix.SYS_FSTAT, unix.SYS_LSTAT, unix.SYS_POLL, unix.SYS_LSEEK,
	unix.SYS_MMAP, unix.SYS_MPROTECT, unix.SYS_MUNMAP, unix.SYS_BRK, unix.SYS_MREMAP, unix.SYS_MSYNC, unix.SYS_MINCORE, unix.SYS_MADVISE,
	unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_RT_SIGPENDING, unix.SYS_RT_SIGTIMEDWAIT,
	unix.SYS_RT_SIGQUEUEINFO, unix.SYS_RT_SIGSUSPEND, unix.SYS_SIGALTSTACK, unix.SYS_RT_TGSIGQUEUEINFO,
	unix.SYS_IOCTL, unix.SYS_PREAD64, unix.SYS_PWRITE64, unix.SYS_READV, unix.SYS_WRITEV, unix.SYS_PREADV, unix.SYS_PWRITEV, unix.SYS_PREADV2, unix.SYS_PWRITEV2,
	unix.SYS_ACCESS, unix.SYS_FACCESSAT, unix.SYS_FACCESSAT2, unix.SYS_PIPE, unix.SYS_PIPE2, unix.SYS_SELECT, unix.SYS_PSELECT6, unix.SYS_PPOLL,
	unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY, unix.SYS_SCHED_SETAFFINITY, unix.SYS_SCHED_GETPARAM, unix.SYS_SCHED_GETSCHEDULER, unix.SYS_GETPRIORITY,
	unix.SYS_DUP, unix.SYS_DUP2, unix.SYS_DUP3, unix.SYS_PAUSE, unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_CLOCK_GETTIME, unix.SYS_CLOCK_GETRES,
	unix.SYS_GETTIMEOFDAY, unix.SYS_TIME, unix.SYS_TIMES, unix.SYS_GETITIMER, unix.SYS_SETITIMER, unix.SYS_ALARM,
	unix.SYS_TIMER_CREATE, unix.SYS_TIMER_SETTIME, unix.SYS_TIMER_GETTIME, unix.SYS_TIMER_GETOVERRUN, unix.SYS_TIMER_DELETE,
	unix.SYS_TIMERFD_CREATE, unix.SYS_TIMERFD_SETTIME, unix.SYS_TIMERFD_GETTIME, unix.SYS_SIGNALFD, unix.SYS_SIGNALFD4, unix.SYS_EVENTFD, unix.SYS_EVENTFD2,
	unix.SYS_EPOLL_CREATE, unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_WAIT, unix.SYS_EPOLL_PWAIT, unix.SYS_EPOLL_PWAIT2,
	unix.SYS_GETPID, unix.SYS_GETPPID, unix.SYS_GETTID, unix.SYS_GETPGRP, unix.SYS_GETPGID, unix.SYS_GETSID, unix.SYS_SETSID, unix.SYS_SETPGID,
	unix.SYS_GETUID, unix.SYS_GETGID, unix.SYS_GETEUID, unix.SYS_GETEGID, unix.SYS_GETRESUID, unix.SYS_GETRESGID, unix.SYS_GETGROUPS, unix.SYS_CAPGET,
	unix.SYS_FORK, unix.SYS_VFORK, unix.SYS_EXECVE, unix.SYS_EXIT, unix.SYS_EXIT_GROUP, unix.SYS_WAIT4, unix.SYS_WAITID, unix.SYS_KILL, unix.SYS_TKILL, unix.SYS_TGKILL,
	unix.SYS_UNAME, unix.SYS_FCNTL, unix.SYS_FLOCK, unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_SYNC_FILE_RANGE, unix.SYS_TRUNCATE, unix.SYS_FTRUNCATE, unix.SYS_FALLOCATE,
	unix.SYS_FADVISE64, unix.SYS_READAHEAD, unix.SYS_COPY_FILE_RANGE, unix.SYS_SENDFILE, unix.SYS_SPLICE, unix.SYS_TEE,
	unix.SYS_GETDENTS, unix.SYS_GETDENTS64, unix.SYS_GETCWD, unix.SYS_CHDIR, unix.SYS_FCHDIR, unix.SYS_READLINK, unix.SYS_READLINKAT,
	unix.SYS_OPENAT, unix.SYS_OPENAT2, unix.SYS_NEWFSTATAT, unix.SYS_STATX, unix.SYS_STATFS, unix.SYS_FSTATFS, unix.SYS_CLOSE_RANGE, unix.SYS_UMASK,
	unix.SYS_GETRLIMIT, unix.SYS_PRLIMIT64, unix.SYS_GETRUSAGE, unix.SYS_SYSINFO, unix.SYS_PRCTL, unix.SYS_ARCH_PRCTL,
	unix.SYS_FUTEX, unix.SYS_SET_TID_ADDRESS, unix.SYS_SET_ROBUST_LIST, unix.SYS_GET_ROBUST_LIST, unix.SYS_RSEQ, unix.SYS_MEMBARRIER, unix.SYS_RESTART_SYSCALL,
	unix.SYS_GETRANDOM, unix.SYS_GETCPU, unix.SYS_IO_SETUP, unix.SYS_IO_DESTROY, unix.SYS_IO_GETEVENTS, unix.SYS_IO_SUBMIT, unix.SYS_IO_CANCEL, unix.SYS_MEMFD_CREATE,
}

// Offsets in struct seccomp_data (linux/seccomp.h); the lower half of the first
// argument on a little-endian machine.
const (
	seccompCall, seccompArch, seccompArgument = 0, 4, 16
	x32Bit                                    = 0x40000000
)

// seccompProgram lets the calls through, makes clone3 one that the kernel does
// not have (its flags are in memory, where no filter looks; libc takes clone
// then), and clone one without name spaces.
func seccompProgram(calls []uint32) []unix.SockFilter {
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	when := func(test uint16, k uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | test | unix.BPF_K, Jt: yes, Jf: no, K: k}
	}
	answer := func(k uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k} }
	refuse := answer(unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM))
	const nameSpaces = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP
	program := []unix.SockFilter{
		load(seccompArch),
		when(unix.BPF_JEQ, unix.AUDIT_ARCH_X86_64, 1, 0),
		answer(unix.SECCOMP_RET_KILL_PROCESS),
		load(seccompCall),
		when(unix.BPF_JGE, x32Bit, 0, 1),
		answer(unix.SECCOMP_RET_KILL_PROCESS),
		when(unix.BPF_JEQ, unix.SYS_CLONE3, 0, 1),
		answer(unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)),
		when(unix.BPF_JEQ, unix.SYS_CLONE, 0, 4),
		load(seccompArgument),
		when(unix.BPF_JSET, nameSpaces, 0, 1),
		refuse,
		answer(unix.SECCOMP_RET_ALLOW),
	}
	for _, call := range calls {
		program = append(program, when(unix.BPF_JEQ, call, 0, 1), answer(unix.SECCOMP_RET_ALLOW))
	}
	return append(program, refuse)
}
