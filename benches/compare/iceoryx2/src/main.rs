//! iceoryx2 as a contender: publish and subscribe of byte slices, lent and written in place; nothing overflows.
#![allow(unsafe_code)]

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use compare_harness::Workload::{Fanout, Frames, Rtt, Throughput};
use compare_harness::{
    Channel, Contender, Ends, Inlet, Mode, Outlet, PATIENCE, Polling, Size, Task, Wait,
    play_blocking,
};
use iceoryx2::port::listener::Listener;
use iceoryx2::port::notifier::Notifier;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::*;
use iceoryx2::service::port_factory::{event, publish_subscribe};

fn main() -> Result<()> {
    compare_harness::main::<Iceoryx2>()
}

struct Iceoryx2;

impl Contender for Iceoryx2 {
    fn modes() -> Vec<Mode> {
        let mode = |wait, workloads| Mode::new("iceoryx2", wait, workloads);
        vec![
            mode(Wait::Spin, &[Rtt, Throughput]).pinned(),
            mode(Wait::Yield, &[Fanout, Frames]),
            mode(Wait::Park, &[Rtt]).variant("events").pinned(),
            mode(Wait::Park, &[Throughput, Fanout, Frames]).variant("events"),
        ]
    }

    fn play<S: Size>(task: &Task, size: S) -> Result<()> {
        set_log_level(LogLevel::Fatal);
        let node = NodeBuilder::new().create::<ipc::Service>()?;
        play_blocking(task, size, Ports { node, task, size })
    }
}

struct Ports<'a, S> {
    node: Node<ipc::Service>,
    task: &'a Task,
    size: S,
}

type Samples = publish_subscribe::PortFactory<ipc::Service, [u8], ()>;
type Events = event::PortFactory<ipc::Service>;

impl<S: Size> Ports<'_, S> {
    fn samples(&self, channel: Channel) -> Result<Samples> {
        let name = format!("{}/{}", self.task.name(), channel.name());
        // About as many bytes as the others have in their rings.
        let depth = (QUEUE_BYTES / self.size.bytes()).clamp(4, 256);
        self.node
            .service_builder(&name.as_str().try_into()?)
            .publish_subscribe::<[u8]>()
            .payload_alignment(Alignment::new(8).context("a power of two")?)
            .enable_safe_overflow(false)
            .history_size(0)
            .subscriber_max_buffer_size(depth)
            .subscriber_max_borrowed_samples(1)
            .max_publishers(1)
            .max_subscribers(self.task.subscribers)
            .max_nodes(self.task.subscribers + 1)
            .open_or_create()
            .map_err(|error| anyhow!("{error:?}"))
    }

    /// What wakes receivers, if they sleep.
    fn events(&self, channel: Channel) -> Result<Option<Events>> {
        if self.task.mode.wait != Wait::Park {
            return Ok(None);
        }
        let name = format!("{}/{}/event", self.task.name(), channel.name());
        let service = self
            .node
            .service_builder(&name.as_str().try_into()?)
            .event()
            .max_notifiers(1)
            .max_listeners(self.task.subscribers)
            .max_nodes(self.task.subscribers + 1)
            .disable_notifier_created_event()
            .disable_notifier_dropped_event()
            .open_or_create();
        service.map(Some).map_err(|error| anyhow!("{error:?}"))
    }
}

impl<S: Size> Ends<S> for Ports<'_, S> {
    type Outlet = Out;
    type Inlet = In;

    fn outlet(&mut self, channel: Channel) -> Result<Out> {
        let samples = self.samples(channel)?;
        let notifier = match self.events(channel)? {
            Some(events) => Some(events.notifier_builder().create()?),
            None => None,
        };
        let publisher = samples
            .publisher_builder()
            .initial_max_slice_len(self.size.bytes())
            .max_loaned_samples(1)
            .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
            .create()?;
        while samples.dynamic_config().number_of_subscribers() < self.task.subscribers {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(Out {
            publisher,
            notifier,
            len: self.size.bytes(),
            _samples: samples,
        })
    }

    fn inlet(&mut self, channel: Channel) -> Result<In> {
        let samples = self.samples(channel)?;
        let listener = match self.events(channel)? {
            Some(events) => Some(events.listener_builder().create()?),
            None => None,
        };
        Ok(In {
            subscriber: samples.subscriber_builder().create()?,
            listener,
            wait: self.task.mode.wait,
            _samples: samples,
        })
    }
}

struct Out {
    publisher: Publisher<ipc::Service, [u8], ()>,
    notifier: Option<Notifier<ipc::Service>>,
    len: usize,
    _samples: Samples,
}

impl Outlet for Out {
    #[inline(always)]
    fn send(&mut self, fill: impl FnOnce(&mut [u8])) -> Result<()> {
        let mut sample = self.publisher.loan_slice_uninit(self.len)?;
        // SAFETY: bytes of a shared segment, which is zeros when it is made: each was written before, by the kernel or by us.
        fill(unsafe { sample.payload_mut().assume_init_mut() });
        // SAFETY: as above.
        let sample = unsafe { sample.assume_init() };
        sample.send()?;
        if let Some(notifier) = &self.notifier {
            notifier.notify()?;
        }
        Ok(())
    }
}

struct In {
    subscriber: Subscriber<ipc::Service, [u8], ()>,
    listener: Option<Listener<ipc::Service>>,
    wait: Wait,
    _samples: Samples,
}

impl Inlet for In {
    #[inline(always)]
    fn receive(&mut self, mut take: impl FnMut(&[u8])) -> Result<bool> {
        let Some(listener) = &self.listener else {
            let mut polling = Polling::new(self.wait);
            loop {
                if let Some(sample) = self.subscriber.receive()? {
                    take(sample.payload());
                    return Ok(true);
                }
                if !polling.pause() {
                    return Ok(false);
                }
            }
        };
        loop {
            let mut has_come = false;
            while let Some(sample) = self.subscriber.receive()? {
                take(sample.payload());
                has_come = true;
            }
            if has_come {
                return Ok(true);
            }
            let mut is_woken = false;
            listener.timed_wait(|_| is_woken = true, PATIENCE)?;
            if !is_woken {
                return Ok(false);
            }
        }
    }
}

const QUEUE_BYTES: usize = 256 * 1024;
