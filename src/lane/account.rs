//! How far a reader has come, told so that another can read on after it.
//!
//! Readers of queue groups tell it after each message. Two places for it lie beside the cursor, in the same area; one is
//! written only while the cursor names the other's position. So whenever the reader is killed, one of them belongs to the
//! cursor.

use crate::ring::{CELL_BYTES, Cursor, DropCounts, MOST_POSITION, Position};
use crate::sync::{AtomicU64, Ordering, load_acquire};

use super::{CursorArea, PeerPage};

/// How far a reader has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// All before it is read.
    pub position: Position,
    /// Sequence number of the next message.
    pub sequence: u64,
    /// The losses that were told.
    pub told: DropCounts,
}

/// Why it is not known how far a reader has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// There is no such area in its page.
    #[error("its cursor page has no area {0}")]
    Area(u32),
    /// No record begins there, or none that a ring could ever come to.
    #[error("it says to have read up to {0}, where no record begins")]
    Position(u64),
}

/// The words of an account.
type Words = [u64; WORDS];

impl Account {
    fn to_words(self) -> Words {
        let mut words = [0; WORDS];
        words[0] = self.position.0;
        words[1] = self.sequence;
        for (word, bytes) in words[2..]
            .iter_mut()
            .zip(self.told.to_bytes().chunks_exact(8))
        {
            *word = bytes.try_into().map_or(0, u64::from_le_bytes);
        }
        words
    }

    fn from_words(words: Words) -> Self {
        let mut told = [0; DropCounts::BYTES];
        for (bytes, word) in told.chunks_exact_mut(8).zip(&words[2..]) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Self {
            position: Position(words[0]),
            sequence: words[1],
            told: DropCounts::from_bytes(told),
        }
    }
}

impl CursorArea {
    /// Tells what is to belong to the cursor that is published next.
    pub fn tell(&self, account: Account) {
        let words = account.to_words();
        // Relaxed: this side alone writes here; `Consumer::publish` orders what is stored before the cursor.
        let cursor = self.word().load(Ordering::Relaxed);
        let places = [0, 1].map(|place| self.account(place));
        let holds =
            |place: &[&AtomicU64; WORDS]| place.each_ref().map(|word| word.load(Ordering::Relaxed));
        if places.iter().any(|place| holds(place) == words) {
            return;
        }
        let current = places.iter().position(|place| holds(place)[0] == cursor);
        let free = if current == Some(0) {
            places[1]
        } else {
            places[0]
        };
        for (word, value) in free.into_iter().zip(words) {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// Begins where another reader has come to.
    pub fn begin(&self, account: Account) {
        self.tell(account);
        // Relaxed: whoever looks learns of the area by a message, which orders this.
        self.word().store(account.position.0, Ordering::Relaxed);
    }
}

impl PeerPage {
    /// How far the reader with an area of this page has come, which is gone. One that has told no more than its cursor counts
    /// as if it had been told of no loss and had numbered no message.
    ///
    /// # Errors
    /// [`AccountError`]
    pub fn account(&self, area: u32) -> Result<Account, AccountError> {
        let (cursor, accounts) = self.come_to(area).ok_or(AccountError::Area(area))?;
        // Partner: the release in `Consumer::publish`; what was told before is visible.
        let position = load_acquire(cursor);
        if !position.is_multiple_of(CELL_BYTES as u64) || position > MOST_POSITION {
            return Err(AccountError::Position(position));
        }
        let accounts = accounts.map(|words| words.map(|word| word.load(Ordering::Relaxed)));
        let belonging = accounts.into_iter().filter(|words| words[0] == position);
        // Where both belong to the cursor, losses were told between them, which count as numbers, too.
        let latest = belonging.max_by_key(|words| words[1]);
        let told_less = Account {
            position: Position(position),
            ..Account::default()
        };
        Ok(latest.map_or(told_less, Account::from_words))
    }
}

/// Words of an account: position, sequence number, losses by cause.
pub(super) const WORDS: usize = 2 + DropCounts::BYTES / 8;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::lane::CursorPage;
    use crate::ring::DropCause;
    use crate::segment::SegmentOptions;

    struct Seen(PeerPage, u32);

    impl Seen {
        fn account(&self) -> Result<Account, AccountError> {
            self.0.account(self.1)
        }
    }

    fn area() -> (CursorArea, Seen) {
        let page = Arc::new(CursorPage::create(&SegmentOptions::default()).unwrap());
        let area = page.area().unwrap();
        let peer = PeerPage::open(page.handle().unwrap()).unwrap();
        let seen = Seen(peer, area.index());
        (area, seen)
    }

    fn account(position: u64, sequence: u64) -> Account {
        let mut told = [0; DropCounts::BYTES];
        told[..8].copy_from_slice(&(sequence / 2).to_le_bytes());
        Account {
            position: Position(position),
            sequence,
            told: DropCounts::from_bytes(told),
        }
    }

    fn publish(area: &CursorArea, position: u64) {
        area.word().store(position, Ordering::Release);
    }

    #[test]
    fn whenever_a_reader_is_killed_its_account_belongs_to_its_cursor() {
        let (area, cursor) = area();
        assert_eq!(cursor.account(), Ok(Account::default()));
        let mut before = Account::default();
        for step in 1..100 {
            let next = account(step * 32, step * 3);
            area.tell(next);
            // Killed here, it has not come further.
            assert_eq!(cursor.account(), Ok(before));
            publish(&area, next.position.0);
            assert_eq!(cursor.account(), Ok(next));
            before = next;
        }
        assert_eq!(before.told.count(DropCause::Full), 99 * 3 / 2);
    }

    #[test]
    fn losses_that_are_told_where_the_cursor_stands_count() {
        let (area, cursor) = area();
        area.tell(account(32, 1));
        publish(&area, 32);
        for lost in 2..10 {
            area.tell(account(32, lost));
            area.tell(account(32, lost));
            assert_eq!(cursor.account(), Ok(account(32, lost)));
        }
        area.tell(account(64, 11));
        publish(&area, 64);
        assert_eq!(cursor.account(), Ok(account(64, 11)));
    }

    #[test]
    fn a_reader_that_tells_its_cursor_only_has_numbered_nothing() {
        let (area, cursor) = area();
        publish(&area, 48);
        let expected = Account {
            position: Position(48),
            ..Account::default()
        };
        assert_eq!(cursor.account(), Ok(expected));
        publish(&area, 50);
        assert_eq!(cursor.account(), Err(AccountError::Position(50)));
        // What is read behind it would overflow.
        let most = MOST_POSITION + 16;
        publish(&area, most);
        assert_eq!(cursor.account(), Err(AccountError::Position(most)));
        for none in [0, 64, u32::MAX] {
            assert_eq!(cursor.0.account(none), Err(AccountError::Area(none)));
        }
    }

    #[test]
    fn an_area_begins_where_another_reader_has_come_to() {
        let (area, cursor) = area();
        area.begin(account(4096, 77));
        assert_eq!(cursor.account(), Ok(account(4096, 77)));
    }
}
