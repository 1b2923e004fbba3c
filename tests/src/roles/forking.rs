//! A party that forks while it has handles.
//!
//! The one invariant: the child does nothing but use the handles under test, then leaves by `_exit`.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_lite::future::{block_on, poll_once};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use ringmain::{
    Client, ListTopics, PublishError, Publisher, RecvError, RequestError, Subscriber, wait_any,
};
use ringmain::{ResolvedTopic, Waitable};

use crate::Tick;
use crate::peer::Script;

struct Handles {
    client: Client,
    subscriber: Subscriber<Tick>,
    publisher: Publisher<Tick>,
    topic: ResolvedTopic,
}

/// Listens to `listen`, speaks on `speak`. `use` forks a child that tries everything, `sleep` one that waits while its
/// parent is about to sleep, `samples` some that drop samples of their parent, `poll` one while a closure has a message, `drop` one that drops all handles: each
/// says `child N`, N being 0 if everything was as it should be. `publish` says `lanes N`, `receive N` receives N ticks,
/// numbered on, and says `received`.
pub(super) fn forking(address: &str, listen: &str, speak: &str, script: &mut Script) {
    let client = Client::builder().name("forking").connect(address).unwrap();
    let mut subscriber = client.subscriber::<Tick>(listen).open().unwrap();
    // Puts its bell into the reactor, which a child must leave as it is.
    assert!(block_on(poll_once(subscriber.recv_async())).is_none());
    let mut publisher = client.publisher::<Tick>(speak).open().unwrap();
    let topic = publisher.resolve(speak).unwrap();
    let mut handles = Some(Handles {
        client,
        subscriber,
        publisher,
        topic,
    });
    let mut next = 0;
    script.say("open");
    while let Some(line) = script.hear() {
        let answer = match line.split_once(' ') {
            None if line == "drop" => {
                let status = in_child(|| drop(handles.take()));
                format!("child {status}")
            }
            Some(("receive", count)) => {
                let subscriber = &mut handles.as_mut().unwrap().subscriber;
                for _ in 0..count.parse().unwrap() {
                    let sample = match next % 2 {
                        0 => subscriber.recv(),
                        _ => block_on(subscriber.recv_async()),
                    };
                    assert_eq!(sample.unwrap().checked(), next);
                    next += 1;
                }
                "received".to_owned()
            }
            _ => handles.as_mut().unwrap().obey(&line, &mut next, script),
        };
        script.say(answer);
    }
}

impl Handles {
    fn obey(&mut self, line: &str, next: &mut u64, script: &mut Script) -> String {
        let status = match line {
            "publish" => {
                let delivery = self.publisher.publish_to(&self.topic, &Tick::new(7));
                return format!("lanes {}", delivery.unwrap().lanes);
            }
            "use" => in_child(|| {
                use_everything(
                    &self.client,
                    &mut self.subscriber,
                    &mut self.publisher,
                    &self.topic,
                );
            }),
            "sleep" => self.sleep(script),
            "samples" => self.samples(next),
            "poll" => self.poll(next),
            _ => panic!("no child for {line}"),
        };
        format!("child {status}")
    }

    /// So many that the end of one must be told to the publisher, which a child must not do.
    fn samples(&mut self, next: &mut u64) -> i32 {
        for _ in 0..2000 {
            let mut sample = Some(self.subscriber.recv().unwrap());
            let before = cursor_page();
            let status = in_child(|| drop(sample.take()));
            if status != 0 {
                return status;
            }
            assert!(cursor_page() == before, "the child has moved the cursor");
            assert_eq!(sample.unwrap().checked(), *next);
            *next += 1;
        }
        0
    }

    /// A child that is forked while a closure has a message gets no other one, and gives none back. Twenty ticks are taken.
    fn poll(&mut self, next: &mut u64) -> i32 {
        let (mut status, mut of_child) = (None, None);
        let before = cursor_page();
        let given = self.subscriber.poll(20, |sample| {
            assert_eq!(sample.checked(), *next);
            *next += 1;
            if let Some(taken) = &mut of_child {
                *taken += 1;
            } else if status.is_none() {
                // SAFETY: as in `in_child`.
                match unsafe { fork() }.unwrap() {
                    ForkResult::Parent { child } => status = Some(exit_status(child)),
                    ForkResult::Child => of_child = Some(0),
                }
            }
        });
        if let Some(taken) = of_child {
            let failed = taken > 0 || !matches!(given, Ok(1)) || cursor_page() != before;
            // SAFETY: as in `in_child`.
            unsafe { libc::_exit(i32::from(failed)) }
        }
        assert_eq!(given.unwrap(), 20);
        status.unwrap()
    }

    /// A wake that arrives while a child waits on its copy must still be there.
    fn sleep(&mut self, script: &mut Script) -> i32 {
        let subscriber = &mut self.subscriber;
        assert!(subscriber.announce());
        script.say("about to sleep");
        script.hear();
        let status = in_child(|| {
            let ready = wait_any(&mut [subscriber], None).unwrap();
            assert_eq!(ready, [0], "the next receive tells that this is a child");
        });
        let subscriber = &mut self.subscriber;
        let mut polled = [PollFd::new(subscriber.as_fd(), PollFlags::POLLIN)];
        let woken = poll(&mut polled, PollTimeout::from(5000_u16)).unwrap();
        subscriber.retire();
        assert_eq!(woken, 1, "the child has taken the parent's wake");
        status
    }
}

/// The bytes of the only cursor page of this process: its smallest segment that it can write.
fn cursor_page() -> Vec<u8> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let own = maps
        .lines()
        .filter(|line| line.contains(" rw-s ") && line.contains("/memfd:ringmain ("));
    let ranges = own.map(|line| {
        let (start, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        u64::from_str_radix(start, 16).unwrap()..u64::from_str_radix(end, 16).unwrap()
    });
    let smallest = ranges.min_by_key(|range| range.end - range.start).unwrap();
    let mut bytes = vec![0; (smallest.end - smallest.start) as usize];
    let memory = File::open("/proc/self/mem").unwrap();
    memory.read_exact_at(&mut bytes, smallest.start).unwrap();
    bytes
}

fn use_everything(
    client: &Client,
    subscriber: &mut Subscriber<Tick>,
    publisher: &mut Publisher<Tick>,
    topic: &ResolvedTopic,
) {
    let request = |result: Result<(), RequestError>| {
        assert!(matches!(result, Err(RequestError::Forked)), "{result:?}");
    };
    let publish = |result: Result<(), PublishError>| {
        assert!(matches!(result, Err(PublishError::Forked)), "{result:?}");
    };
    let receive = |result: Result<(), RecvError>| {
        assert!(matches!(result, Err(RecvError::Forked)), "{result:?}");
    };
    request(client.ping().map(drop));
    request(client.clients().map(drop));
    request(client.list("**", ListTopics::Live).map(drop));
    request(client.publisher::<Tick>("t").open().map(drop));
    request(client.subscriber::<Tick>("t").open().map(drop));
    request(subscriber.add_pattern("t"));
    request(subscriber.remove_pattern("t"));
    publish(publisher.publish("out", &Tick::new(0)).map(drop));
    publish(publisher.publish_to(topic, &Tick::new(0)).map(drop));
    publish(publisher.try_publish_to(topic, &Tick::new(0)).map(drop));
    publish(publisher.resolve("out").map(drop));
    receive(subscriber.recv().map(drop));
    receive(subscriber.try_recv().map(drop));
    receive(subscriber.recv_timeout(std::time::Duration::ZERO).map(drop));
    receive(subscriber.poll(1, |_| ()).map(drop));
    publish(block_on(publisher.publish_to_async(topic, &Tick::new(0))).map(drop));
    receive(block_on(subscriber.recv_async()).map(drop));
}

/// Runs `work` in a child; gives its exit status, 0 if `work` did not panic.
fn in_child(work: impl FnOnce()) -> i32 {
    // SAFETY: the client's own thread holds no lock that the child needs: it sleeps, for nobody talks to it now.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => exit_status(child),
        ForkResult::Child => {
            let failed = catch_unwind(AssertUnwindSafe(work)).is_err();
            // SAFETY: ends the child, whatever state it is in.
            unsafe { libc::_exit(i32::from(failed)) }
        }
    }
}

fn exit_status(child: Pid) -> i32 {
    match waitpid(child, None).unwrap() {
        WaitStatus::Exited(_, status) => status,
        other => panic!("{other:?}"),
    }
}
