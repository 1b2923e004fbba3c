//! Sends and receives bytes together with descriptors.
#![allow(unsafe_code)]
//! The one invariant: every descriptor that the kernel installs in a `recvmsg` becomes an `OwnedFd` exactly once, before
//! anything else can fail. (nix gives raw descriptors, and none at all when some were cut off: those would leak.)

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

/// What one `recvmsg` brought.
pub struct Arrived {
    /// Bytes in the buffer; 0 at the end of the stream.
    pub bytes: usize,
    /// Descriptors, in order.
    pub descriptors: Vec<OwnedFd>,
    /// Whether the kernel dropped descriptors: the sender sent too many, or this process' table is full.
    pub cut: bool,
}

/// Sends the start of `bytes`, the descriptors with its first byte. Does not block; gives the number of bytes sent.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[RawFd]) -> Result<usize, Errno> {
    let rights = [ControlMessage::ScmRights(descriptors)];
    let control = if descriptors.is_empty() {
        &[][..]
    } else {
        &rights
    };
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    sendmsg::<()>(
        socket.as_raw_fd(),
        &[IoSlice::new(bytes)],
        control,
        flags,
        None,
    )
}

/// Receives into `buffer`, and as many descriptors as `N` words have room for: see [`words_for`]. The kernel drops the rest
/// itself. Does not block. The descriptors are closed on exec.
pub fn receive<const N: usize>(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> Result<Arrived, Errno> {
    const {
        assert!(align_of::<libc::cmsghdr>() <= align_of::<Control<N>>());
    }
    let mut control = Control::<N>(MaybeUninit::uninit());
    let mut bytes = IoSliceMut::new(buffer);
    // SAFETY: all fields of the C struct may be zero.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = (&raw mut bytes).cast();
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = size_of::<Control<N>>() as _;
    // SAFETY: the message names one `IoSliceMut`, which is an iovec by its documentation, and a control buffer; both live
    // until the end of this function, with the lengths stated.
    let received = unsafe {
        libc::recvmsg(
            socket.as_raw_fd(),
            &raw mut message,
            libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC,
        )
    };
    let bytes = usize::try_from(received).map_err(|_| Errno::last())?;
    let descriptors = own_descriptors(&message);
    Ok(Arrived {
        bytes,
        descriptors,
        cut: message.msg_flags & libc::MSG_CTRUNC != 0,
    })
}

/// Takes over what the kernel installed for `message`, which a successful `recvmsg` has just filled.
fn own_descriptors(message: &libc::msghdr) -> Vec<OwnedFd> {
    let mut owned = Vec::new();
    // SAFETY: the kernel has set `msg_controllen` to what it wrote into the control buffer.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !header.is_null() {
        // SAFETY: not null, so it points to a whole header within the control buffer, which is aligned for it.
        let libc::cmsghdr {
            cmsg_len,
            cmsg_level,
            cmsg_type,
            ..
        } = unsafe { *header };
        if (cmsg_level, cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            // SAFETY: computes a length, touches nothing.
            let header_bytes = unsafe { libc::CMSG_LEN(0) } as usize;
            // SAFETY: `header` as above; the data follow it.
            let data = unsafe { libc::CMSG_DATA(header) }.cast::<RawFd>();
            #[allow(clippy::unnecessary_cast, reason = "u32 with musl")]
            let len = cmsg_len as usize;
            for index in 0..len.saturating_sub(header_bytes) / size_of::<RawFd>() {
                // SAFETY: within the data, by the length that the kernel states.
                let at = unsafe { data.add(index) };
                // SAFETY: the kernel has written a descriptor there.
                let raw = unsafe { at.read_unaligned() };
                // SAFETY: it has been installed for this call, each header is visited once, and nobody else knows it.
                owned.push(unsafe { OwnedFd::from_raw_fd(raw) });
            }
        }
        // SAFETY: `header` is one of `message`'s.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
    owned
}

/// Words of a control buffer that has room for so many descriptors.
pub const fn words_for(descriptors: usize) -> usize {
    // SAFETY: computes a length, touches nothing.
    let bytes = unsafe { libc::CMSG_SPACE((descriptors * size_of::<RawFd>()) as u32) as usize };
    bytes / size_of::<u64>()
}

#[repr(C, align(8))]
struct Control<const N: usize>(MaybeUninit<[u64; N]>);
