//! Ping-pong between processes that sleep: over a bare socket, or with mailboxes and bare eventfds.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use anyhow::Result;
use compare_harness::{Channel, Inlet, Outlet, Part, Size, Task, Wait, drive, finish, tell_ready};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::bells;
use crate::mailbox::Mailbox;

/// Plays ping or echo over a connection itself.
pub fn over_a_socket<S: Size>(task: &Task, size: S) -> Result<()> {
    let stream = meet(task)?;
    let mut outlet = SocketOutlet {
        stream: stream.try_clone()?,
        message: vec![0; size.bytes()],
    };
    let mut inlet = SocketInlet {
        sleep: Sleep::new(task.mode.wait, &stream)?,
        stream,
        message: vec![0; size.bytes()],
    };
    finish(drive::ping_or_echo(task, size, &mut outlet, &mut inlet)?)
}

/// Plays ping or echo with mailboxes, each with an eventfd that says that something has come.
pub fn by_eventfd<S: Size>(task: &Task, size: S) -> Result<()> {
    let stream = meet(task)?;
    let is_echo = task.part == Part::Echo;
    let [there, back] = match is_echo {
        true => bells::make_and_give(&stream)?,
        false => bells::take(&stream)?,
    };
    let mailbox = |channel| Mailbox::map(&task.folder, size, channel);
    let (there, back) = (
        (there, mailbox(Channel::There)?),
        (back, mailbox(Channel::Back)?),
    );
    let ((own_bell, own), (other_bell, other)) = match is_echo {
        true => (there, back),
        false => (back, there),
    };
    let mut outlet = BellOutlet {
        bell: other_bell,
        mailbox: other,
    };
    let mut inlet = BellInlet {
        sleep: Sleep::new(task.mode.wait, &own_bell)?,
        bell: own_bell,
        mailbox: own,
    };
    finish(drive::ping_or_echo(task, size, &mut outlet, &mut inlet)?)
}

/// The connection of the two; the echo is ready once it listens.
fn meet(task: &Task) -> Result<UnixStream> {
    let path: &Path = &task.folder.join("socket");
    if task.part != Part::Echo {
        return Ok(UnixStream::connect(path)?);
    }
    let listener = UnixListener::bind(path)?;
    tell_ready()?;
    let (stream, _) = listener.accept()?;
    Ok(stream)
}

/// How a reader sleeps.
enum Sleep {
    /// In the read.
    InRead,
    /// In epoll, as runtimes do; then it reads.
    InEpoll(Epoll),
}

impl Sleep {
    fn new(wait: Wait, readable: impl AsFd) -> Result<Self> {
        if wait != Wait::Async {
            return Ok(Self::InRead);
        }
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(readable, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        Ok(Self::InEpoll(epoll))
    }

    fn sleep(&self) -> Result<()> {
        if let Self::InEpoll(epoll) = self {
            let mut events = [EpollEvent::empty()];
            while epoll.wait(&mut events, EpollTimeout::NONE)? == 0 {}
        }
        Ok(())
    }
}

struct SocketOutlet {
    stream: UnixStream,
    message: Vec<u8>,
}

impl Outlet for SocketOutlet {
    fn send(&mut self, fill: impl FnOnce(&mut [u8])) -> Result<()> {
        fill(&mut self.message);
        self.stream.write_all(&self.message)?;
        Ok(())
    }
}

struct SocketInlet {
    sleep: Sleep,
    stream: UnixStream,
    message: Vec<u8>,
}

impl Inlet for SocketInlet {
    fn receive(&mut self, mut take: impl FnMut(&[u8])) -> Result<bool> {
        self.sleep.sleep()?;
        self.stream.read_exact(&mut self.message)?;
        take(&self.message);
        Ok(true)
    }
}

struct BellOutlet<S> {
    bell: File,
    mailbox: Mailbox<S>,
}

impl<S: Size> Outlet for BellOutlet<S> {
    fn send(&mut self, fill: impl FnOnce(&mut [u8])) -> Result<()> {
        self.mailbox.send(fill)?;
        self.bell.write_all(&1_u64.to_ne_bytes())?;
        Ok(())
    }
}

struct BellInlet<S> {
    sleep: Sleep,
    bell: File,
    mailbox: Mailbox<S>,
}

impl<S: Size> Inlet for BellInlet<S> {
    fn receive(&mut self, take: impl FnMut(&[u8])) -> Result<bool> {
        self.sleep.sleep()?;
        self.bell.read_exact(&mut [0; 8])?;
        // It was filled before the bell was rung.
        self.mailbox.receive(take)
    }
}
