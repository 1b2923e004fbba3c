//! Values of a table are whole, the newest can always be read, none is missed.

use loom::thread;

use super::explore;
use crate::{
    storage::LoomWords,
    table::{Buf, Read, Shape, TableReader, TableWriter, Value},
};

type Writer = TableWriter<LoomWords>;
type Reader = TableReader<LoomWords>;

/// Explores a reader that polls while three values are stored: so a cell is written while it may be read.
pub fn run_whole() {
    explore(2, || {
        let (mut writer, mut reader) = ends(1, 2, 8);
        let writing = thread::spawn(move || {
            for _ in 0..3 {
                store(&mut writer, 1, 2);
            }
        });
        let mut account = Account::default();
        account.poll(&mut reader);
        writing.join().unwrap();
        account.drain(&mut reader);
        assert_eq!(account.sums, [3, 0, 0]);
    });
}

/// Explores a reader beside a write that may stop anywhere, as that of a writer that dies.
pub fn run_newest() {
    explore(4, || {
        let (mut writer, reader) = ends(1, 2, 8);
        store(&mut writer, 1, 2);
        let writing = thread::spawn(move || store(&mut writer, 1, 2));
        let sequence = read(&reader, 0).expect("there is one, always");
        assert!(sequence == 1 || sequence == 2);
        writing.join().unwrap();
        assert_eq!(read(&reader, 0), Some(2));
    });
}

/// Explores a reader of the older of two values, while the one before that is overwritten.
pub fn run_history() {
    explore(3, || {
        let (mut writer, reader) = ends(1, 3, 10);
        for _ in 0..3 {
            store(&mut writer, 1, 1);
        }
        let writing = thread::spawn(move || store(&mut writer, 1, 1));
        let sequence = read(&reader, 1).expect("there is one, always");
        assert!(sequence == 2 || sequence == 3);
        writing.join().unwrap();
        assert_eq!(read(&reader, 1), Some(3));
    });
}

/// Explores a reader of a slot whose value gives way, and whose memory goes to another one.
pub fn run_moved() {
    explore(3, || {
        // Four places, which two topics use up.
        let (mut writer, mut reader) = ends(3, 2, 4);
        for key in [1, 1, 2, 2] {
            store(&mut writer, key, 2);
        }
        let writing = thread::spawn(move || {
            for _ in 0..2 {
                store(&mut writer, 3, 2);
            }
        });
        // None, or one that is whole; or the writer was in a hurry.
        if let Read::Value(value) = look(&reader, 0) {
            assert_eq!(value.sequence, 2);
        }
        writing.join().unwrap();
        assert_eq!(read(&reader, 0), None);
        let mut account = Account::default();
        account.drain(&mut reader);
        assert_eq!(account.sums, [2, 2, 2]);
    });
}

/// Explores a reader that has to find all by itself: the last write must not hide behind one that it has seen.
pub fn run_news() {
    explore(3, || {
        let (mut writer, mut reader) = ends(2, 2, 16);
        let writing = thread::spawn(move || {
            store(&mut writer, 1, 1);
            store(&mut writer, 2, 1);
        });
        let mut account = Account::default();
        account.drain(&mut reader);
        writing.join().unwrap();
        account.drain(&mut reader);
        assert_eq!(account.sums, [1, 1, 0]);
        assert!(!reader.has_something());
    });
}

/// Explores a reader that acknowledges what it takes as seen.
pub fn run_seen() {
    explore(3, || {
        let (mut writer, mut reader) = ends(2, 2, 16);
        let writing = thread::spawn(move || {
            store(&mut writer, 1, 1);
            store(&mut writer, 2, 1);
        });
        let mut account = Account::default();
        account.drain(&mut reader);
        // The first write went to the first slot.
        let [first, second, _] = account.sums;
        assert!(reader.seen() < 2 || first == 1);
        assert!(reader.seen() < 3 || second == 1);
        let below = reader.sequence();
        account.drain(&mut reader);
        let [first, second, _] = account.sums;
        assert!(below < 2 || first == 1);
        assert!(below < 3 || second == 1);
        writing.join().unwrap();
    });
}

/// Both ends of an empty table with so many units of arena.
fn ends(slots: u32, cells: u32, units: usize) -> (Writer, Reader) {
    let slot_words = (4 + 4 * cells as usize).next_multiple_of(8);
    let words = LoomWords::new(16 + slots as usize * slot_words + 2 * units);
    let writer = TableWriter::new(words.clone(), Shape { slots, cells }).expect("it fits");
    (writer, TableReader::open(words).expect("it is a table"))
}

/// Stores one message: so many words, each of which tells the sequence.
fn store(writer: &mut Writer, key: u64, words: usize) {
    let bytes = writer.sequence().to_le_bytes().repeat(words);
    writer.store(key, 1, &[&bytes]).expect("it is short");
}

/// The sequence of a value of the first slot.
fn read(reader: &Reader, back: u32) -> Option<u64> {
    match look(reader, back) {
        Read::Value(value) => Some(value.sequence),
        Read::None => None,
        Read::Busy => panic!("one write must not keep a reader away"),
    }
}

/// What there is of the first slot; a value is whole.
fn look(reader: &Reader, back: u32) -> Read {
    let mut out = Buf::new();
    let found = reader.read(0, back, &mut out).expect("the format is kept");
    if let Read::Value(value) = found {
        expect_whole(&value, &out);
    }
    found
}

fn expect_whole(value: &Value, out: &Buf) {
    let expected = value.sequence.to_le_bytes().repeat(value.len / 8);
    assert_eq!(out.as_slice(), expected, "{value:?} is whole");
}

/// Messages given and skipped, for each slot.
#[derive(Debug, Default)]
struct Account {
    sums: [u64; 3],
}

impl Account {
    /// Takes what is new, if anything is.
    fn poll(&mut self, reader: &mut Reader) -> bool {
        let mut out = Buf::new();
        let Some(value) = reader.poll(&mut out).expect("the format is kept") else {
            return false;
        };
        if !value.vacated {
            expect_whole(&value, &out);
        }
        let sum = &mut self.sums[value.slot as usize];
        assert_eq!(*sum + value.skipped, value.number, "the account");
        *sum = value.number + u64::from(value.count);
        true
    }

    /// Takes all that is new.
    fn drain(&mut self, reader: &mut Reader) {
        while self.poll(reader) {}
    }
}
