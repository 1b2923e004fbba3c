//! ZeroMQ over `ipc://` as a contender: PAIR from one to one, XPUB and SUB from one to several; nothing is dropped.
#![allow(unsafe_code)]

use anyhow::{Result, ensure};
use compare_harness::Workload::{Fanout, Frames, Rtt, Throughput};
use compare_harness::{
    Channel, Contender, Ends, Inlet, Mode, Outlet, PATIENCE, Size, Task, Wait, play_blocking,
};
use zmq::{Context, Error, Message, Socket, SocketType};

fn main() -> Result<()> {
    compare_harness::main::<ZeroMq>()
}

struct ZeroMq;

impl Contender for ZeroMq {
    fn modes() -> Vec<Mode> {
        vec![
            Mode::new("zmq", Wait::Park, &[Rtt]).pinned(),
            Mode::new("zmq", Wait::Park, &[Rtt, Throughput, Fanout, Frames]),
        ]
    }

    fn play<S: Size>(task: &Task, size: S) -> Result<()> {
        let context = Context::new();
        play_blocking(task, size, Sockets { context, task })
    }
}

struct Sockets<'a> {
    context: Context,
    task: &'a Task,
}

impl Sockets<'_> {
    fn socket(&self, kind: SocketType) -> Result<Socket> {
        let socket = self.context.socket(kind)?;
        let queued = (QUEUED_BYTES / self.task.size_bytes).clamp(4, MOST_QUEUED);
        socket.set_sndhwm(queued as i32)?;
        socket.set_rcvhwm(queued as i32)?;
        socket.set_rcvtimeo(PATIENCE.as_millis() as i32)?;
        Ok(socket)
    }

    fn address(&self, channel: Channel) -> String {
        format!("ipc://{}", self.task.folder.join(channel.name()).display())
    }

    fn is_fanout(&self) -> bool {
        self.task.subscribers > 1
    }
}

impl<S: Size> Ends<S> for Sockets<'_> {
    type Outlet = Out;
    type Inlet = In;

    fn outlet(&mut self, channel: Channel) -> Result<Out> {
        let socket = if self.is_fanout() {
            let mut socket = self.socket(SocketType::XPUB)?;
            wait_for_room(&mut socket)?;
            // Tells of each subscription, also of those that are the same.
            socket.set_xpub_verbose(true)?;
            socket.bind(&self.address(channel))?;
            for _ in 0..self.task.subscribers {
                while socket.recv_bytes(0) == Err(Error::EAGAIN) {}
            }
            socket
        } else {
            let socket = self.socket(SocketType::PAIR)?;
            socket.connect(&self.address(channel))?;
            socket
        };
        Ok(Out {
            socket,
            message: vec![0; self.task.size_bytes],
        })
    }

    fn inlet(&mut self, channel: Channel) -> Result<In> {
        let socket = if self.is_fanout() {
            let socket = self.socket(SocketType::SUB)?;
            socket.set_subscribe(b"")?;
            // Whoever binds may come later.
            socket.connect(&self.address(channel))?;
            socket
        } else {
            let socket = self.socket(SocketType::PAIR)?;
            socket.bind(&self.address(channel))?;
            socket
        };
        Ok(In {
            socket,
            message: Message::new(),
        })
    }
}

/// Has a publisher wait where it would drop, which the crate has no method for.
fn wait_for_room(socket: &mut Socket) -> Result<()> {
    let on: i32 = 1;
    // SAFETY: the socket is open; the option takes an `int` of the length that is given.
    let result = unsafe {
        zmq_sys::zmq_setsockopt(
            socket.as_mut_ptr(),
            zmq_sys::ZMQ_XPUB_NODROP as i32,
            (&raw const on).cast(),
            size_of::<i32>(),
        )
    };
    ensure!(result == 0, "ZMQ_XPUB_NODROP is refused");
    Ok(())
}

struct Out {
    socket: Socket,
    message: Vec<u8>,
}

impl Outlet for Out {
    #[inline(always)]
    fn send(&mut self, fill: impl FnOnce(&mut [u8])) -> Result<()> {
        if self.message.len() <= MOST_COPIED {
            fill(&mut self.message);
            self.socket.send(&self.message[..], 0)?;
        } else {
            // Written where the library sends it from.
            let mut message = Message::with_size(self.message.len());
            fill(&mut message);
            self.socket.send(message, 0)?;
        }
        Ok(())
    }
}

struct In {
    socket: Socket,
    message: Message,
}

impl Inlet for In {
    #[inline(always)]
    fn receive(&mut self, mut take: impl FnMut(&[u8])) -> Result<bool> {
        match self.socket.recv(&mut self.message, 0) {
            Ok(()) => {
                take(&self.message);
                Ok(true)
            }
            Err(Error::EAGAIN) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// Messages on either side, which is the default; less of large ones, for the sake of memory.
const MOST_QUEUED: usize = 1000;
const QUEUED_BYTES: usize = 256 * 1024 * 1024;
/// Beyond that an allocation costs less than a copy.
const MOST_COPIED: usize = 4096;
