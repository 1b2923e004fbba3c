//! Whether what was found out about the lanes of a publisher still holds.

/// Whether what was found out about the lanes still holds.
pub(super) struct Routes {
    /// Counts the changes of the lanes.
    pub(super) version: u64,
    /// The same while nothing else is to be looked at: nobody is waited for, messages are not stamped. Else the version of
    /// nothing.
    pub(super) calm: u64,
}

impl Default for Routes {
    fn default() -> Self {
        Self {
            version: 1,
            calm: u64::MAX,
        }
    }
}

impl Routes {
    pub(super) fn changed(&mut self) {
        self.version += 1;
        self.disturb();
    }

    pub(super) fn disturb(&mut self) {
        self.calm = u64::MAX;
    }

    pub(super) fn calm_down(&mut self) {
        self.calm = self.version;
    }
}
