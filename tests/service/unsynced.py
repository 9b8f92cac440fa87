# SPDX-License-Identifier: Apache-2.0
"""A kernel that refuses to sync: whoever acknowledges then had not waited for the disk."""

import ctypes
import errno
import platform

SYSTEM_CALLS = {"x86_64": (317, 74, 75), "aarch64": (277, 82, 83)}  # seccomp, fsync, fdatasync
PR_SET_NO_NEW_PRIVS, SET_MODE_FILTER, FILTER_FLAG_TSYNC = 38, 1, 1
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, FAIL_WITH = 0x7FFF0000, 0x00050000
CAN_REFUSE = platform.machine() in SYSTEM_CALLS


class Instruction(ctypes.Structure):
    """One instruction of a BPF program."""

    _fields_ = (
        ("code", ctypes.c_ushort),
        ("if_true", ctypes.c_ubyte),
        ("if_false", ctypes.c_ubyte),
        ("value", ctypes.c_uint32),
    )


class Program(ctypes.Structure):
    """A BPF program."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.POINTER(Instruction)))


def refuse_to_sync() -> None:
    """Make fsync and fdatasync fail with EIO in every thread of this process, for good."""
    seccomp, fsync, fdatasync = SYSTEM_CALLS[platform.machine()]
    instructions = (Instruction * 5)(
        Instruction(LOAD, 0, 0, 0),
        Instruction(JUMP_IF_EQUAL, 1, 0, fsync),
        Instruction(JUMP_IF_EQUAL, 0, 1, fdatasync),
        Instruction(RETURN, 0, 0, FAIL_WITH | errno.EIO),
        Instruction(RETURN, 0, 0, ALLOW),
    )
    libc = ctypes.CDLL(None, use_errno=True)
    program = ctypes.byref(Program(len(instructions), instructions))
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.syscall(
        seccomp, SET_MODE_FILTER, FILTER_FLAG_TSYNC, program
    ):
        raise OSError(ctypes.get_errno(), "seccomp")
