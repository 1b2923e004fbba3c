//! The loops that are measured, for ends that block.

use anyhow::Result;

use crate::ends::{Inlet, Outlet};
use crate::message::Size;
use crate::rtt::{Echo, Pinger};
use crate::stream::{Burst, Receiver, Sender};
use crate::task::{Part, Task, Told};

/// Plays the part of the two that is the task's.
pub fn ping_or_echo(
    task: &Task,
    size: impl Size,
    outlet: &mut impl Outlet,
    inlet: &mut impl Inlet,
) -> Result<Option<Told>> {
    match task.part {
        Part::Echo => echo(size, outlet, inlet).map(|()| None),
        _ => ping(task, size, outlet, inlet).map(Some),
    }
}

pub fn ping(
    task: &Task,
    size: impl Size,
    outlet: &mut impl Outlet,
    inlet: &mut impl Inlet,
) -> Result<Told> {
    let mut pinger = Pinger::new(size, task)?;
    while pinger.begin() {
        outlet.send(|bytes| pinger.fill(bytes))?;
        outlet.flush()?;
        while !inlet.receive(|bytes| pinger.take(bytes))? {}
    }
    outlet.send(|bytes| pinger.fill(bytes))?;
    outlet.flush()?;
    Ok(pinger.told())
}

pub fn echo(size: impl Size, outlet: &mut impl Outlet, inlet: &mut impl Inlet) -> Result<()> {
    let mut echo = Echo::new(size);
    loop {
        while !inlet.receive(|bytes| echo.take(bytes))? {}
        if echo.is_over()? {
            return Ok(());
        }
        outlet.send(|bytes| echo.fill(bytes))?;
        outlet.flush()?;
    }
}

pub fn publish(task: &Task, size: impl Size, outlet: &mut impl Outlet) -> Result<Told> {
    let mut sender = Sender::new(size, task);
    loop {
        match sender.burst() {
            Burst::Messages(count) => {
                for _ in 0..count {
                    outlet.send(|bytes| sender.fill(bytes))?;
                }
            }
            Burst::Rest(time) => {
                outlet.flush()?;
                std::thread::sleep(time);
            }
            Burst::Over => {
                outlet.flush()?;
                return Ok(sender.told());
            }
        }
    }
}

pub fn subscribe(size: impl Size, inlet: &mut impl Inlet) -> Result<Told> {
    let mut receiver = Receiver::new(size);
    while !receiver.is_over() {
        if !inlet.receive(|bytes| receiver.take(bytes))? {
            receiver.idle();
        }
    }
    Ok(receiver.told())
}
