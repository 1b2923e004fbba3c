//! Eventfds that two processes share.

use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use anyhow::{Context, Result};
use rustix::event::{EventfdFlags, eventfd};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// Makes two, and gives them to the other side.
pub fn make_and_give(stream: &UnixStream) -> Result<[File; 2]> {
    let bells = [make()?, make()?];
    let descriptors = bells.each_ref().map(AsFd::as_fd);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    let flags = SendFlags::empty();
    sendmsg(stream, &[IoSlice::new(b"!")], &mut control, flags)?;
    Ok(bells)
}

/// Takes what the other side gives.
pub fn take(stream: &UnixStream) -> Result<[File; 2]> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let bytes = &mut [IoSliceMut::new(&mut byte)];
    recvmsg(stream, bytes, &mut control, RecvFlags::empty())?;
    let mut bells = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors.map(File::from)),
            _ => None,
        })
        .flatten();
    let mut next = || bells.next().context("two descriptors were to come");
    Ok([next()?, next()?])
}

fn make() -> Result<File> {
    Ok(eventfd(0, EventfdFlags::CLOEXEC)?.into())
}
