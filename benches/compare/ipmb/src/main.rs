//! ipmb as a contender: a bus of labels over Unix sockets that keep messages apart.
//!
//! Messages carry bytes, or name a region of shared memory. The controller of 0.8.5 cannot forward a message without a descriptor
//! on Linux (EINVAL). So where bytes go from one to one, the receiver is the controller, with nobody in between; where they go to
//! several, each message has a descriptor that nobody needs.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::IntoRawFd;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use compare_harness::Workload::{Fanout, Rtt, Throughput};
use compare_harness::{
    Channel, Contender, Ends, Inlet, Mode, Outlet, PATIENCE, Part, Size, Task, Wait, play_blocking,
    tell_ready,
};
use ipmb::{
    BytesMessage, EndpointReceiver, EndpointSender, MemoryRegistry, Message, Options, Selector,
    label,
};

fn main() -> Result<()> {
    compare_harness::main::<Ipmb>()
}

struct Ipmb;

impl Contender for Ipmb {
    fn modes() -> Vec<Mode> {
        let mode = |variant, workloads| {
            let mode = Mode::new("ipmb", Wait::Park, workloads);
            mode.variant(variant).broker()
        };
        vec![
            // The socket refuses more.
            mode(BYTES, &[Rtt, Throughput, Fanout]).max_bytes(128 * 1024),
            mode(REGIONS, &[Rtt, Throughput]),
        ]
    }

    fn play<S: Size>(task: &Task, size: S) -> Result<()> {
        let endpoint = None;
        play_blocking(task, size, Endpoints { task, endpoint })
    }
}

struct Endpoints<'a> {
    task: &'a Task,
    /// What is sent by, where something is received, too.
    endpoint: Option<EndpointSender<BytesMessage>>,
}

type Endpoint = (EndpointSender<BytesMessage>, EndpointReceiver<BytesMessage>);

impl Endpoints<'_> {
    fn is_fanout(&self) -> bool {
        self.task.subscribers > 1
    }

    /// Whether the receiver of questions and streams is the controller.
    fn is_direct(&self) -> bool {
        self.task.mode.variant == BYTES && !self.is_fanout()
    }

    fn join(&self, label: &str, is_controller: bool) -> Result<Endpoint> {
        let mut options = Options::new(self.task.name(), label!(label), "");
        options.controller_affinity = is_controller;
        ipmb::join(options, Some(LIMIT)).map_err(text)
    }
}

impl<S: Size> Ends<S> for Endpoints<'_> {
    type Outlet = Out;
    type Inlet = In;

    fn outlet(&mut self, channel: Channel) -> Result<Out> {
        let endpoint = match self.endpoint.take() {
            Some(endpoint) => endpoint,
            None => self.join("sender", false)?.0,
        };
        let mut selector = match self.is_fanout() {
            true => Selector::multicast(channel.name()),
            false => Selector::unicast(channel.name()),
        };
        // Whoever is to receive may not have been heard of.
        selector.ttl = LIMIT;
        let dummy = match &*self.task.mode.variant {
            BYTES if self.is_fanout() => Some(File::open("/dev/null")?),
            _ => None,
        };
        let regions = (self.task.mode.variant == REGIONS).then(MemoryRegistry::default);
        Ok(Out {
            endpoint,
            selector,
            dummy,
            regions,
            len: self.task.size_bytes,
        })
    }

    fn inlet(&mut self, channel: Channel) -> Result<In> {
        let is_controller = self.is_direct() && channel == Channel::There;
        let (sender, receiver) = self.join(channel.name(), is_controller)?;
        match self.task.part {
            Part::Ping | Part::Echo => self.endpoint = Some(sender),
            // Its endpoint lives as long as both are there.
            _ => std::mem::forget(sender),
        }
        Ok(In {
            receiver,
            len: self.task.size_bytes,
        })
    }

    fn serve(&mut self) -> Result<()> {
        if self.is_direct() {
            tell_ready()?;
            loop {
                thread::park();
            }
        }
        let (_sender, mut receiver) = self.join("controller", true)?;
        tell_ready()?;
        loop {
            let _ = receiver.recv(None);
        }
    }
}

struct Out {
    endpoint: EndpointSender<BytesMessage>,
    selector: Selector,
    dummy: Option<File>,
    regions: Option<MemoryRegistry>,
    len: usize,
}

impl Outlet for Out {
    fn send(&mut self, fill: impl FnOnce(&mut [u8])) -> Result<()> {
        let mut data = Vec::new();
        let mut region = None;
        match &mut self.regions {
            None => {
                data.resize(self.len, 0);
                fill(&mut data);
            }
            Some(regions) => {
                let mut memory = regions.alloc(self.len, None).context("no memory")?;
                fill(&mut memory.map(..self.len).map_err(text)?[..self.len]);
                region = Some(memory);
            }
        }
        let format = u16::from(region.is_some());
        let bytes = BytesMessage { format, data };
        let mut message = Message::new(self.selector.clone(), bytes);
        message.memory_regions.extend(region);
        if let Some(dummy) = &self.dummy {
            let descriptor = dummy.try_clone()?.into_raw_fd();
            // SAFETY: a descriptor that nobody else owns.
            let object = unsafe { ipmb::Object::from_raw(descriptor) };
            message.objects.push(object);
        }
        self.endpoint.send(message).map_err(text)
    }
}

struct In {
    receiver: EndpointReceiver<BytesMessage>,
    len: usize,
}

impl Inlet for In {
    fn receive(&mut self, mut take: impl FnMut(&[u8])) -> Result<bool> {
        match self.receiver.recv(Some(PATIENCE)) {
            Ok(mut message) => {
                match message.memory_regions.first_mut() {
                    None => take(&message.payload.data),
                    Some(region) => take(&region.map(..self.len).map_err(text)?[..self.len]),
                }
                Ok(true)
            }
            Err(ipmb::RecvError::Timeout) => Ok(false),
            Err(error) => Err(text(error)),
        }
    }
}

fn text(error: impl std::fmt::Debug) -> anyhow::Error {
    anyhow!("{error:?}")
}

const BYTES: &str = "bytes";
const REGIONS: &str = "regions";
const LIMIT: Duration = Duration::from_secs(5);
