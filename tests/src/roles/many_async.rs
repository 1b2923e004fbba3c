//! Many subscribers that wait in one thread.

use std::time::Duration;

use futures_lite::future::poll_once;
use ringmain::{Client, Subscriber};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::Tick;
use crate::peer::Script;
use crate::usage;

/// Opens `count` subscribers, waits with all of them in futures and says `waiting`. For the next line it says how often
/// threads of its process fall asleep in half a second without messages; for the one after, how many threads the waiting
/// has added. For the last one it receives `messages` ticks with each and says `received`.
pub(super) fn many_async(
    address: &str,
    pattern: &str,
    count: usize,
    messages: u64,
    script: &mut Script,
) {
    let client = Client::connect(address).unwrap();
    let subscribers: Vec<_> = (0..count)
        .map(|_| client.subscriber::<Tick>(pattern).open().unwrap())
        .collect();
    let threads = usage::threads(nix::unistd::getpid());
    let executor = tokio::runtime::Builder::new_current_thread().build();
    executor.unwrap().block_on(async {
        let (sender, mut waiting) = unbounded_channel();
        let tasks: Vec<_> = subscribers
            .into_iter()
            .map(|subscriber| tokio::spawn(receive(subscriber, messages, sender.clone())))
            .collect();
        for _ in 0..count {
            waiting.recv().await.unwrap();
        }
        script.say("waiting");
        script.hear();
        let sleeps = usage::sleeps();
        // Synchronises nothing: it is the time in which a timer would show. A longer or shorter one tells the same of code
        // without any; nothing can be waited for, since that nothing happens is what is looked at.
        std::thread::sleep(Duration::from_millis(500));
        script.say(usage::sleeps() - sleeps);
        script.hear();
        script.say(usage::threads(nix::unistd::getpid()) - threads);
        script.hear();
        for task in tasks {
            task.await.unwrap();
        }
        script.say("received");
    });
}

async fn receive(mut subscriber: Subscriber<Tick>, messages: u64, waiting: UnboundedSender<()>) {
    {
        let mut first = Box::pin(subscriber.recv_async());
        assert!(poll_once(&mut first).await.is_none(), "nothing was sent");
        waiting.send(()).unwrap();
        assert_eq!(first.await.unwrap().checked(), 0);
    }
    for number in 1..messages {
        assert_eq!(subscriber.recv_async().await.unwrap().checked(), number);
    }
}
