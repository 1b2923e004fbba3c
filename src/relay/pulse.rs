//! When a peer has been silent for too long, when it is to be told that this side lives.

use std::time::{Duration, Instant};

/// When each side was heard last.
#[derive(Clone, Copy, Debug)]
pub struct Pulse {
    patience: Duration,
    heard: Instant,
    spoke: Instant,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing before this time has passed.
    Nothing(Duration),
    /// To tell the peer that this side lives.
    Speak,
    /// To give the peer up.
    GiveUp,
}

impl Pulse {
    /// Both sides were heard just now.
    pub fn new(patience: Duration, now: Instant) -> Self {
        Self {
            patience,
            heard: now,
            spoke: now,
        }
    }

    /// How long a silent peer is waited for.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    pub fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    pub fn spoke(&mut self, now: Instant) {
        self.spoke = now;
    }

    pub fn due(&self, now: Instant) -> Due {
        let silent = now.saturating_duration_since(self.heard);
        let quiet = now.saturating_duration_since(self.spoke);
        // Some can be late, or be sent late, without harm.
        let interval = self.patience / 4;
        if silent >= self.patience {
            Due::GiveUp
        } else if quiet >= interval {
            Due::Speak
        } else {
            Due::Nothing((self.patience - silent).min(interval - quiet))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_spoken_to_several_times_before_it_would_give_up() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let mut pulse = Pulse::new(Duration::from_secs(10), start);
        assert_eq!(
            pulse.due(after(1000)),
            Due::Nothing(Duration::from_millis(1500))
        );
        assert_eq!(pulse.due(after(2500)), Due::Speak);
        pulse.spoke(after(2500));
        pulse.heard(after(2600));
        assert_eq!(
            pulse.due(after(2600)),
            Due::Nothing(Duration::from_millis(2400))
        );
        for ms in [5000, 7500, 10_000] {
            assert_eq!(pulse.due(after(ms)), Due::Speak);
            pulse.spoke(after(ms));
        }
        assert_eq!(
            pulse.due(after(12_400)),
            Due::Nothing(Duration::from_millis(100))
        );
        assert_eq!(pulse.due(after(12_600)), Due::GiveUp);
    }
}
