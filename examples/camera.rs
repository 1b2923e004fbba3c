//! A camera: frames of 10 MB from one process to three others, each of which wants the latest one.
//!
//! `cargo run --release --example camera --features broker [-- SECONDS]`. No frame is copied: the camera writes it where all three read it. Each
//! frame takes the place of the one before, and what somebody holds stays where it is until it is released. Whoever is slower than the camera passes over
//! frames: it never holds up the camera, nor the other two, and knows how many it has skipped.

mod support;

use std::error::Error;
use std::thread;
use std::time::{Duration, Instant};

use ringmain::message::WithTail;
use ringmain::{Client, Delivery, Held, Overflow, Publisher, ResolvedTopic, Subscriber, rkyv};
use support::Part;

#[derive(rkyv::Archive, rkyv::Serialize, ringmain::Message)]
#[rkyv(crate = ringmain::rkyv)]
#[message(name = "camera.frame")]
struct Frame {
    number: u64,
    width: u32,
    height: u32,
    /// No other one comes.
    last: bool,
}

/// A frame with its pixels, one byte each, from a page boundary on.
type Image = WithTail<Frame, u8, 4096>;

/// Plays the part of this process.
pub fn main() -> Result<(), Box<dyn Error>> {
    let Some(part) = support::part(&["display", "recorder", "detector", "camera"])? else {
        return Ok(());
    };
    let client = Client::builder().name(&part.role).connect(&part.address)?;
    match part.role.as_str() {
        "camera" => camera(&client, &part),
        // One line of each frame; all of it; all of it, and then a long thought.
        "display" => reader(&client, &part, |pixels| check(&pixels[..WIDTH])),
        "recorder" => reader(&client, &part, check),
        _ => reader(&client, &part, |pixels| {
            thread::sleep(Duration::from_millis(50));
            check(pixels)
        }),
    }
}

fn camera(client: &Client, part: &Part) -> Result<(), Box<dyn Error>> {
    let builder = client.publisher::<Image>(TOPIC);
    let mut publisher = builder
        .max_message_bytes(Image::TAIL_OFFSET + PIXELS)
        .pool_bytes(POOL_BYTES)
        .open()?;
    let topic = publisher.resolve(TOPIC)?;
    let mut frame = Frame {
        number: 0,
        width: WIDTH as u32,
        height: HEIGHT as u32,
        last: false,
    };
    // The first frames wait for those who want to see them.
    while shoot(&mut publisher, &topic, &frame)?.lanes < READERS {
        thread::sleep(Duration::from_millis(10));
    }
    let started = Instant::now();
    while started.elapsed() < part.lasts {
        frame.number += 1;
        shoot(&mut publisher, &topic, &frame)?;
    }
    let lasted = started.elapsed();
    // Nothing takes the place of this one.
    frame.last = true;
    shoot(&mut publisher, &topic, &frame)?;
    let rate = frame.number as f64 / lasted.as_secs_f64();
    println!(
        "camera: {} frames of {} MB, {rate:.0} per second",
        frame.number,
        PIXELS / 1_000_000
    );
    Ok(())
}

/// Writes a frame where it will be read.
fn shoot(
    publisher: &mut Publisher<Image>,
    topic: &ResolvedTopic,
    frame: &Frame,
) -> Result<Delivery, Box<dyn Error>> {
    let mut pixels = publisher.loan_with_tail(topic, frame, PIXELS)?;
    pixels.fill(frame.number as u8);
    Ok(pixels.publish()?)
}

/// Gives the latest frame to `look`, again and again, which says whether all of its pixels are alike, and gives the first.
fn reader(
    client: &Client,
    part: &Part,
    look: impl Fn(&[u8]) -> Option<u8>,
) -> Result<(), Box<dyn Error>> {
    let builder = client.subscriber::<Image>(TOPIC);
    let mut subscriber = builder.overflow(Overflow::Conflate).open()?;
    let (mut seen, mut skipped) = (0_u64, 0);
    let mut started = None;
    loop {
        let latest = latest(&mut subscriber, &mut skipped)?;
        let started: Instant = *started.get_or_insert_with(Instant::now);
        seen += 1;
        let frame = latest.header();
        if look(latest.tail()) != Some(frame.number.to_native() as u8) {
            return Err(format!("frame {} is not what the camera has seen", frame.number).into());
        }
        if frame.last {
            let rate = seen as f64 / started.elapsed().as_secs_f64();
            println!(
                "{}: {seen} frames, {rate:.0} per second, {skipped} skipped",
                part.role
            );
            return Ok(());
        }
    }
}

/// The newest frame, where the camera has written it; waits if there is none. Those in whose place it came count as skipped.
fn latest(
    subscriber: &mut Subscriber<Image>,
    skipped: &mut u64,
) -> Result<Held<Image>, Box<dyn Error>> {
    let sample = subscriber.recv_timeout(PATIENCE)?.ok_or("no frame comes")?;
    *skipped += sample.skipped();
    let latest = sample.hold()?;
    // Only whoever holds a quarter of the memory gets copies.
    match latest.is_copy() {
        true => Err("a frame was copied".into()),
        false => Ok(latest),
    }
}

fn check(pixels: &[u8]) -> Option<u8> {
    let first = *pixels.first()?;
    pixels.iter().all(|pixel| *pixel == first).then_some(first)
}

const TOPIC: &str = "camera/front";
const WIDTH: usize = 4000;
const HEIGHT: usize = 2500;
const PIXELS: usize = WIDTH * HEIGHT;
const READERS: u32 = 3;
/// Memory for frames: some 25 of them.
const POOL_BYTES: u64 = 256 << 20;
/// Of a reader for the next frame.
const PATIENCE: Duration = Duration::from_secs(30);
