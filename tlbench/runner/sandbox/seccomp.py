"""System calls that a method's process is refused, by a filter that the kernel runs before each of them.

A refused call fails with EPERM, as if the user were not allowed it, so that a library that can do without goes on. A
program of another architecture, or of x86-64's 32-bit twin whose calls have other numbers, is killed. Calls that were
added to Linux after this was written do not exist here. Sources: seccomp(2), linux/filter.h, linux/seccomp.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from collections.abc import Sequence
from struct import pack

ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}  # its audit number; its column below
NEWEST = 450  # of the calls that this file knows
REFUSED: dict[str, tuple[int | None, int | None]] = {  # on x86-64, on aarch64
    # other machines
    "connect": (42, 203), "bpf": (321, 280),
    # other processes, and new ones
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "process_madvise": (440, 440), "process_mrelease": (448, 448), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424), "perf_event_open": (298, 241), "fork": (57, None), "vfork": (58, None),
    "execve": (59, 221), "execveat": (322, 281), "setsid": (112, 157), "setpgid": (109, 154),
    "setpriority": (141, 140), "ioprio_set": (251, 30), "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118), "sched_setattr": (314, 274),
    # files by other ways than opening them
    "truncate": (76, 45), "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "chown": (92, None),
    "lchown": (94, None), "fchown": (93, 55), "fchownat": (260, 54), "setxattr": (188, 5), "lsetxattr": (189, 6),
    "fsetxattr": (190, 7), "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
    "utime": (132, None), "utimes": (235, None), "futimesat": (261, None),
    "utimensat": (280, 88), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262), "inotify_add_watch": (254, 27), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "close_range": (436, 436),  # it can give a thread files of its own, which no watchdog sees
    # memory that is nobody's once the process is gone, and other programs'
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "msgget": (68, 186), "msgsnd": (69, 189),
    "msgrcv": (70, 188), "msgctl": (71, 187), "semget": (64, 190), "semop": (65, 193), "semctl": (66, 191),
    "semtimedop": (220, 192), "mq_open": (240, 180), "mq_unlink": (241, 181),
    # the system
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "move_mount": (429, 429),
    "open_tree": (428, 428), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "mount_setattr": (442, 442), "setns": (308, 268), "unshare": (272, 97), "keyctl": (250, 219), "add_key": (248, 217),
    "request_key": (249, 218), "userfaultfd": (323, 282), "kexec_load": (246, 104), "kexec_file_load": (320, 294),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106), "quotactl": (179, 60),
    "quotactl_fd": (443, 443), "swapon": (167, 224), "swapoff": (168, 225), "reboot": (169, 142), "acct": (163, 89),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "clock_adjtime": (305, 266), "adjtimex": (159, 171),
    "sethostname": (170, 161), "setdomainname": (171, 162), "personality": (135, 92), "syslog": (103, 116),
    "iopl": (172, None), "ioperm": (173, None), "modify_ldt": (154, None), "vhangup": (153, 58),
}  # fmt: skip
WITHOUT_GPU = {"memfd_create": (319, 279)}  # memory that no watchdog sees
NO_SUCH_CALL = {"clone3": (435, 435)}  # its flags are out of a filter's sight; libraries fall back to clone
OWN = {"kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138),
       "rt_tgsigqueueinfo": (297, 240)}  # fmt: skip
OWN_OR_0 = {"prlimit64": (302, 261), "sched_setaffinity": (203, 122)}  # 0: the calling thread
CLONE, SOCKET, SOCKETPAIR, PRCTL = (56, 220), (41, 198), (53, 199), (157, 167)
MMAP, FCNTL, IOCTL = (9, 222), (72, 25), (16, 29)
CLONE_FILES, CLONE_THREAD, AF_UNIX = 0x400, 0x10000, 1
SHARED_MEMORY = 0x21  # MAP_SHARED and MAP_ANONYMOUS: let go of, it is still held, and no longer counted
ON_INODES = (8, 10, 15, 1024, 1036)  # F_SETOWN, F_SETSIG, F_SETOWN_EX: signals; F_SETLEASE, F_SET_RW_HINT: marks
OF_FILE_SYSTEMS = (0x6600, 0x7600, 0x5800, 0x9400)  # ioctls' types: an owner changes by them what he may only read
STREAMS = (1, 5)  # SOCK_STREAM, SOCK_SEQPACKET: what is sent goes nowhere before a connect
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_PTRACER = 1, 4, 0x59616D61

LOAD, AND, EQUAL, MORE, AT_LEAST, SET, RETURN = 0x20, 0x54, 0x15, 0x25, 0x35, 0x45, 0x06  # BPF's instructions
ALLOW, KILL = 0x7FFF0000, 0x80000000
REFUSE, MISSING = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
NUMBER, ARCHITECTURE, FIRST, SECOND, FOURTH = (
    0,
    4,
    16,
    24,
    40,
)  # places in struct seccomp_data; arguments: their lower halves
Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, operand


def known() -> bool:
    """Whether this machine's system calls are in the tables."""
    return platform.machine() in ARCHITECTURES


def program(machine: str, pid: int, gpu: bool) -> list[Instruction]:
    """The filter for a process of its own number; a GPU's driver is left a few calls more."""
    audit, column = ARCHITECTURES[machine]
    code = [(LOAD, 0, 0, ARCHITECTURE), (EQUAL, 1, 0, audit), (RETURN, 0, 0, KILL), (LOAD, 0, 0, NUMBER)]
    if machine == "x86_64":
        code += [(AT_LEAST, 0, 1, 0x40000000), (RETURN, 0, 0, KILL)]
    code += [(MORE, 0, 1, NEWEST), (RETURN, 0, 0, MISSING)]
    for numbers, answer in _plain(gpu):
        if (number := numbers[column]) is not None:
            code += [(EQUAL, 0, 1, number), (RETURN, 0, 0, answer)]
    for number, body in _bodies(pid, gpu, column):
        code += [(EQUAL, 0, len(body), number), *body]
    return [*code, (RETURN, 0, 0, ALLOW)]


def _plain(gpu: bool) -> list[tuple[tuple[int | None, int | None], int]]:
    """Calls that are answered alike whatever their arguments."""
    refused = [*REFUSED.values(), *(() if gpu else (*WITHOUT_GPU.values(), SOCKET))]
    return [(n, REFUSE) for n in refused] + [(n, MISSING) for n in NO_SUCH_CALL.values()]


def _bodies(pid: int, gpu: bool, column: int) -> list[tuple[int, list[Instruction]]]:
    """Calls whose answer depends on an argument, and what decides; each body returns."""
    thread = [(LOAD, 0, 0, FIRST), (SET, 0, 1, CLONE_THREAD), (SET, 1, 0, CLONE_FILES), (RETURN, 0, 0, REFUSE), _YES]
    made = [(CLONE[column], thread), (FCNTL[column], _none_of(SECOND, ON_INODES))]
    made.append((IOCTL[column], [(LOAD, 0, 0, SECOND), (AND, 0, 0, 0xFF00), *_none_of(None, OF_FILE_SYSTEMS)]))
    made.append((SOCKETPAIR[column], _one_of(FIRST, [AF_UNIX])))
    made += [(numbers[column], _one_of(FIRST, [pid])) for numbers in OWN.values()]
    made += [(numbers[column], _one_of(FIRST, [pid, 0])) for numbers in OWN_OR_0.values()]
    made.append((PRCTL[column], _none_of(FIRST, [PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_PTRACER])))
    if gpu:
        kind = [(LOAD, 0, 0, FIRST), (EQUAL, 1, 0, AF_UNIX), (RETURN, 0, 0, REFUSE)]
        made.append((SOCKET[column], [*kind, (LOAD, 0, 0, SECOND), (AND, 0, 0, 0xF), *_one_of(None, STREAMS)]))
    else:
        kind = [(LOAD, 0, 0, FOURTH), (AND, 0, 0, SHARED_MEMORY)]
        made.append((MMAP[column], [*kind, *_none_of(None, (SHARED_MEMORY,))]))
    return made


_YES: Instruction = (RETURN, 0, 0, ALLOW)


def _one_of(place: int | None, values: Sequence[int]) -> list[Instruction]:
    """Allow an argument (None: what is loaded) that is one of the values."""
    return [*_tests(place, values), (RETURN, 0, 0, REFUSE), _YES]


def _none_of(place: int | None, values: Sequence[int]) -> list[Instruction]:
    return [*_tests(place, values), _YES, (RETURN, 0, 0, REFUSE)]


def _tests(place: int | None, values: Sequence[int]) -> list[Instruction]:
    """Go on if an argument is none of the values, else past the next instruction."""
    tests = [(EQUAL, len(values) - i, 0, value) for i, value in enumerate(values)]
    return [*([(LOAD, 0, 0, place)] if place is not None else []), *tests]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def apply(gpu: bool) -> None:
    """Bind the calling process for good. No new privileges must have been given up before.

    Raises:
        OSError: the kernel does not take the filter.
    """
    code = program(platform.machine(), os.getpid(), gpu)
    held = b"".join(pack("HBBI", *instruction) for instruction in code)
    libc = ctypes.CDLL(None, use_errno=True)
    made = _Program(len(code), held)
    if libc.prctl(22, 2, ctypes.byref(made), 0, 0):  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
        raise OSError(ctypes.get_errno(), f"seccomp: {os.strerror(ctypes.get_errno())}")
