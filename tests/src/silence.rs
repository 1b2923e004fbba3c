//! Lets the kernel kill a process whose thread makes a system call that it said it would not make.
//!
//! The one invariant: the filter program that the kernel is given lives while it is copied, in this call.
#![allow(unsafe_code)]

use libc::{c_long, sock_filter, sock_fprog};

/// From now on this thread may only read, write and exit: any other system call kills the process, for good.
pub fn only_read_and_write() {
    let allowed = [libc::SYS_read, libc::SYS_write, libc::SYS_exit_group];
    let mut program = vec![statement(LOAD_NUMBER, 0)];
    program.extend(allowed.iter().enumerate().map(|(index, call)| {
        let to_allow = (allowed.len() - index) as u8;
        jump_if_equal(*call, to_allow)
    }));
    program.push(statement(RETURN, libc::SECCOMP_RET_KILL_PROCESS));
    program.push(statement(RETURN, libc::SECCOMP_RET_ALLOW));
    let program = sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: takes numbers only.
    let granted = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(granted, 0);
    // SAFETY: `program` and the filter that it points to live until the call returns.
    let installed =
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) };
    assert_eq!(installed, 0);
}

fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    }
}

fn jump_if_equal(call: c_long, to_allow: u8) -> sock_filter {
    sock_filter {
        code: JUMP_IF_EQUAL as u16,
        jt: to_allow,
        jf: 0,
        k: call as u32,
    }
}

/// The call's number is the first word of what a filter sees.
const LOAD_NUMBER: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const JUMP_IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
