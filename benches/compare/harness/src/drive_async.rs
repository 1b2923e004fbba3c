//! The loops that are measured, for ends of a runtime.

use std::time::Duration;

use anyhow::Result;

use crate::ends::{AsyncInlet, AsyncOutlet};
use crate::message::Size;
use crate::rtt::{Echo, Pinger};
use crate::stream::{Burst, Receiver, Sender};
use crate::task::{Part, Task, Told};

/// Plays the part of the two that is the task's; `ready` is called where an echo is there.
pub async fn ping_or_echo(
    task: &Task,
    size: impl Size,
    outlet: &mut impl AsyncOutlet,
    inlet: &mut impl AsyncInlet,
    ready: impl FnOnce() -> Result<()>,
) -> Result<Option<Told>> {
    if task.part != Part::Echo {
        return ping(task, size, outlet, inlet).await.map(Some);
    }
    ready()?;
    echo(size, outlet, inlet).await?;
    Ok(None)
}

pub async fn ping(
    task: &Task,
    size: impl Size,
    outlet: &mut impl AsyncOutlet,
    inlet: &mut impl AsyncInlet,
) -> Result<Told> {
    let mut message = vec![0; size.bytes()];
    let mut pinger = Pinger::new(size, task)?;
    while pinger.begin() {
        pinger.fill(&mut message);
        outlet.send(&message).await?;
        while !inlet.receive(|bytes| pinger.take(bytes)).await? {}
    }
    pinger.fill(&mut message);
    outlet.send(&message).await?;
    outlet.flush().await?;
    Ok(pinger.told())
}

pub async fn echo(
    size: impl Size,
    outlet: &mut impl AsyncOutlet,
    inlet: &mut impl AsyncInlet,
) -> Result<()> {
    let mut message = vec![0; size.bytes()];
    let mut echo = Echo::new(size);
    loop {
        while !inlet.receive(|bytes| echo.take(bytes)).await? {}
        if echo.is_over()? {
            return Ok(());
        }
        echo.fill(&mut message);
        outlet.send(&message).await?;
    }
}

/// `sleep` is the runtime's.
pub async fn publish(
    task: &Task,
    size: impl Size,
    outlet: &mut impl AsyncOutlet,
    sleep: impl AsyncFn(Duration),
) -> Result<Told> {
    let mut message = vec![0; size.bytes()];
    let mut sender = Sender::new(size, task);
    loop {
        match sender.burst() {
            Burst::Messages(count) => {
                for _ in 0..count {
                    sender.fill(&mut message);
                    outlet.send(&message).await?;
                }
            }
            Burst::Rest(time) => {
                outlet.flush().await?;
                sleep(time).await;
            }
            Burst::Over => {
                outlet.flush().await?;
                return Ok(sender.told());
            }
        }
    }
}

pub async fn subscribe(size: impl Size, inlet: &mut impl AsyncInlet) -> Result<Told> {
    let mut receiver = Receiver::new(size);
    while !receiver.is_over() {
        if !inlet.receive(|bytes| receiver.take(bytes)).await? {
            receiver.idle();
        }
    }
    Ok(receiver.told())
}
