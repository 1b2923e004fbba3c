//! Keeps the cores from halting: waking a halted core of a virtual machine costs more than all else in a wake.

use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

/// A process for each core that runs when nobody else does, until this is dropped.
pub struct Awake(Vec<Child>);

impl Awake {
    pub fn keep(cores: &[usize]) -> Result<Self> {
        let mut spinners = Self(Vec::new());
        for core in cores {
            let child = Command::new("chrt")
                .args(["--idle", "0", "taskset", "--cpu-list", &core.to_string()])
                .args(["sh", "-c", "while :; do :; done"])
                .stdin(Stdio::null())
                .spawn()
                .context("chrt is needed to keep the cores awake")?;
            spinners.0.push(child);
        }
        Ok(spinners)
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
