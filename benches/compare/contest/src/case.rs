//! What is measured: workload, length of messages, number of subscribers.

use clap::ValueEnum;
use compare_harness::{Touch, Workload};

/// One question, which all contenders are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Case {
    pub workload: Workload,
    pub fanout: usize,
    pub size_bytes: usize,
    pub touch: Touch,
}

/// A workload, as the command line names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Only {
    Rtt,
    Throughput,
    Fanout,
    Frames,
}

impl Only {
    pub fn workload(self) -> Workload {
        match self {
            Self::Rtt => Workload::Rtt,
            Self::Throughput => Workload::Throughput,
            Self::Fanout => Workload::Fanout,
            Self::Frames => Workload::Frames,
        }
    }
}

impl Case {
    /// All there are, small ones first.
    pub fn all() -> Vec<Self> {
        let one_to_one = |workload, sizes: &[usize]| {
            let full = sizes.iter().map(move |size| (*size, Touch::Full));
            let cases = full.chain([(MEBIBYTE, Touch::Line)]);
            let cases = cases.map(move |(size_bytes, touch)| Self {
                workload,
                fanout: 1,
                size_bytes,
                touch,
            });
            cases.collect::<Vec<_>>()
        };
        let several = |workload, fanout, size_bytes, touch| Self {
            workload,
            fanout,
            size_bytes,
            touch,
        };
        let mut cases = one_to_one(Workload::Rtt, &[64, 1024, 16 * 1024, MEBIBYTE]);
        let sizes = [16, 64, 1024, 16 * 1024, MEBIBYTE];
        cases.extend(one_to_one(Workload::Throughput, &sizes));
        for (fanout, size) in [(4, 64), (4, 1024), (16, 64), (16, 1024)] {
            cases.push(several(Workload::Fanout, fanout, size, Touch::Full));
        }
        for touch in [Touch::Full, Touch::Line] {
            cases.push(several(Workload::Frames, 3, FRAME_BYTES, touch));
        }
        cases
    }

    /// Those of a quick run: the smallest and the largest messages.
    pub fn is_quick(&self) -> bool {
        [64, MEBIBYTE].contains(&self.size_bytes)
    }

    pub fn is_rtt(&self) -> bool {
        self.workload == Workload::Rtt
    }

    /// For people.
    pub fn name(&self) -> String {
        let size = match self.size_bytes {
            FRAME_BYTES => "10 MB".to_owned(),
            bytes if bytes.is_multiple_of(MEBIBYTE) => format!("{} MiB", bytes / MEBIBYTE),
            bytes if bytes.is_multiple_of(1024) => format!("{} KiB", bytes / 1024),
            bytes => format!("{bytes} B"),
        };
        let touch = match self.touch {
            Touch::Full => "",
            Touch::Line => ", one line",
        };
        match self.fanout {
            1 => format!("{size}{touch}"),
            fanout => format!("{size} x {fanout}{touch}"),
        }
    }
}

const MEBIBYTE: usize = 1024 * 1024;
const FRAME_BYTES: usize = 10_000_000;
