//! Runs an example as several processes: its program, started again once for each role.

use std::error::Error;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use ringmain::broker::Broker;

/// What a process of an example is to do.
pub struct Part {
    /// Its name.
    pub role: String,
    /// Where the bus is.
    pub address: String,
    /// How long the example lasts.
    pub lasts: Duration,
}

/// The part of this process; in the one that was started by hand, starts a broker and a process for each role, and waits for all of them: then
/// there is nothing left to do, `None`.
///
/// The one argument that can be given by hand is how many seconds the example lasts.
pub fn part(roles: &[&str]) -> Result<Option<Part>, Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let seconds = |text: &str| Ok::<_, Box<dyn Error>>(Duration::try_from_secs_f64(text.parse()?)?);
    match arguments.as_slice() {
        [role, address, lasts] => Ok(Some(Part {
            role: role.clone(),
            address: address.clone(),
            lasts: seconds(lasts)?,
        })),
        [lasts] => play(roles, seconds(lasts)?).map(|()| None),
        [] => play(roles, Duration::from_secs(3)).map(|()| None),
        _ => Err("give the seconds that it lasts, or nothing".into()),
    }
}

fn play(roles: &[&str], lasts: Duration) -> Result<(), Box<dyn Error>> {
    let directory = env::temp_dir().join(format!("ringmain-example-{}", std::process::id()));
    fs::create_dir(&directory)?;
    let address = format!("unix:{}", directory.join("bus.sock").display());
    let outcome = play_at(&address, roles, lasts);
    fs::remove_dir_all(&directory)?;
    outcome
}

fn play_at(address: &str, roles: &[&str], lasts: Duration) -> Result<(), Box<dyn Error>> {
    let _broker = Broker::builder().listen(address.parse()?).start()?;
    let mut cast = Cast(Vec::new());
    for role in roles {
        let mut command = Command::new(env::current_exe()?);
        let lasts = lasts.as_secs_f64().to_string();
        cast.0.push(command.args([role, address, &lasts]).spawn()?);
    }
    let deadline = Instant::now() + lasts + PATIENCE;
    for (child, role) in cast.0.iter_mut().zip(roles) {
        let status = wait(child, deadline)?.ok_or_else(|| format!("the {role} does not end"))?;
        if !status.success() {
            return Err(format!("the {role} has failed: {status}").into());
        }
    }
    Ok(())
}

fn wait(child: &mut Child, deadline: Instant) -> std::io::Result<Option<ExitStatus>> {
    loop {
        let status = child.try_wait()?;
        if status.is_some() || Instant::now() > deadline {
            return Ok(status);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// The processes; none outlives this value.
struct Cast(Vec<Child>);

impl Drop for Cast {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // Nothing happens to one that has ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// For starting, and for ending, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(60);
