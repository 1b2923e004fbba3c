//! Brokers that are embedded in this process, by name.
//!
//! To connect to one makes a socket pair and gives the broker one end, so both go on as over a path.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use thiserror::Error;

use crate::segment::fork::ProcessMark;

/// Keeps a name in this process' list of brokers; dropping it takes the name off.
#[derive(Debug)]
pub struct MemoryListener {
    name: String,
    mark: ProcessMark,
}

/// Why a name cannot be taken.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NameTaken {
    /// Another broker of this process has it.
    #[error("memory:{name} is in use by another broker of this process")]
    InUse {
        /// The name.
        name: String,
    },
    /// The system has no memory left.
    #[error("memory:{name} cannot be listened on")]
    System {
        /// The name.
        name: String,
        /// What the system said.
        source: io::Error,
    },
}

impl MemoryListener {
    /// Lists `name`; `accept` gets the broker's end of each connection, on the thread that connects.
    ///
    /// # Errors
    /// The name is in use.
    pub fn new(
        name: &str,
        accept: impl Fn(UnixStream) + Send + 'static,
    ) -> Result<Self, NameTaken> {
        let mark = ProcessMark::here().map_err(|source| NameTaken::System {
            name: name.to_owned(),
            source,
        })?;
        match brokers().entry(name.to_owned()) {
            // What a parent process listed has no thread behind it in this one.
            Entry::Occupied(taken) if !taken.get().mark.is_forked() => Err(NameTaken::InUse {
                name: name.to_owned(),
            }),
            entry => {
                entry.insert_entry(Listed {
                    mark,
                    accept: Box::new(accept),
                });
                Ok(Self {
                    name: name.to_owned(),
                    mark,
                })
            }
        }
    }
}

impl Drop for MemoryListener {
    fn drop(&mut self) {
        if !self.mark.is_forked() {
            brokers().remove(&self.name);
        }
    }
}

/// Connects to the broker `name`; `None` if there is none.
pub(super) fn connect(name: &str) -> io::Result<Option<UnixStream>> {
    let brokers = brokers();
    let Some(broker) = brokers.get(name).filter(|broker| !broker.mark.is_forked()) else {
        return Ok(None);
    };
    let (ours, theirs) = UnixStream::pair()?;
    (broker.accept)(theirs);
    Ok(Some(ours))
}

struct Listed {
    mark: ProcessMark,
    accept: Box<dyn Fn(UnixStream) + Send>,
}

impl fmt::Debug for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listed").finish_non_exhaustive()
    }
}

fn brokers() -> MutexGuard<'static, HashMap<String, Listed>> {
    static BROKERS: LazyLock<Mutex<HashMap<String, Listed>>> = LazyLock::new(Mutex::default);
    // A panic of an `accept` leaves the list as it was.
    BROKERS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn connecting_gives_the_broker_the_other_end() {
        let (sender, accepted) = mpsc::channel();
        let _listener =
            MemoryListener::new("memory-test-1", move |stream| sender.send(stream).unwrap())
                .unwrap();
        let mut client = connect("memory-test-1").unwrap().unwrap();
        client.write_all(b"x").unwrap();
        let mut byte = [0];
        accepted.recv().unwrap().read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
    }

    #[test]
    fn a_name_is_taken_once_at_a_time() {
        let listener = MemoryListener::new("memory-test-2", drop).unwrap();
        assert!(matches!(
            MemoryListener::new("memory-test-2", drop),
            Err(NameTaken::InUse { .. })
        ));
        drop(listener);
        assert!(connect("memory-test-2").unwrap().is_none());
        MemoryListener::new("memory-test-2", drop).unwrap();
    }
}
