//! Regions that were attached to messages: who may be reading them.

use std::sync::Arc;

use crate::lane::{Answer, Attached, CargoSender, Onlooker, Writer};
use crate::pool::{Place, is_done};
use crate::ring::Position;

/// A subscriber that was given a region with a record.
struct Reading {
    area: Answer,
    cargo: Arc<CargoSender>,
    end: Position,
}

impl Writer {
    /// These regions went with the record that ends here.
    #[cold]
    pub(super) fn show(&self, attached: &Attached, end: Position) {
        for member in self.members() {
            // Copied.
            let Some(cargo) = &member.cargo else { continue };
            for region in attached.regions() {
                region.show_to(Box::new(Reading {
                    area: member.area.clone(),
                    cargo: cargo.clone(),
                    end,
                }));
            }
        }
    }
}

impl Onlooker for Reading {
    fn is_done(&self, number: u64) -> bool {
        let Position(end) = self.end;
        is_done(self.area.get(), &self.cargo, Place::of_region(number), end)
    }
}
