//! A party on another host that speaks packet by packet, so that it can say what no relay would.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use ringmain::wire::{
    Frame, HEADER_BYTES, Limits, PREAMBLE_BYTES, SegmentSource, ToBroker, ToClient, Versions,
    Welcome,
};
use rkyv::util::AlignedVec;

/// A hand-written client, or broker, of a bus over TCP.
pub struct RawRemote {
    stream: TcpStream,
}

/// A packet's kind, its two numbers, its body.
pub type RawPacket = (u32, u64, u64, Vec<u8>);

impl RawRemote {
    /// Connects and says nothing.
    pub fn connect(address: &str) -> Self {
        Self::over(TcpStream::connect(address.trim_start_matches("tcp://")).unwrap())
    }

    fn over(stream: TcpStream) -> Self {
        // Nothing that is awaited here takes that long; a test must not hang.
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        Self { stream }
    }

    /// Connects and is welcomed.
    pub fn join(address: &str) -> Self {
        let mut raw = Self::connect(address);
        raw.send_bytes(&Versions::OURS.encode());
        raw.send_frame(&ToBroker::Hello { name: "raw".into() });
        raw.expect_preamble();
        assert!(matches!(raw.frame(), Some(ToClient::Welcome(_))));
        raw
    }

    /// Waits for a client and welcomes it, as its broker.
    pub fn welcome(listener: &TcpListener) -> Self {
        let mut raw = Self::over(listener.accept().unwrap().0);
        raw.expect_preamble();
        raw.send_bytes(&Versions::OURS.encode());
        assert!(matches!(raw.frame(), Some(ToBroker::Hello { .. })));
        let welcome = Welcome {
            client: 1,
            incarnation: 1,
            epoch_index: 0,
            epochs: SegmentSource::Descriptor,
            limits: Limits::default(),
        };
        raw.send_frame(&ToClient::Welcome(welcome));
        raw
    }

    /// Waits for the first that the other side says.
    pub fn expect_preamble(&mut self) {
        let mut preamble = [0; PREAMBLE_BYTES];
        self.stream.read_exact(&mut preamble).unwrap();
        assert_eq!(preamble, Versions::OURS.encode());
    }

    /// The same connection once more, for another thread.
    pub fn try_clone(&self) -> std::io::Result<Self> {
        let stream = self.stream.try_clone()?;
        Ok(Self { stream })
    }

    /// Sends bytes as they are; the other side may have closed.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Sends a packet.
    pub fn send(&mut self, (kind, first, second, body): RawPacket) {
        self.send_bytes(&packet(kind, first, second, &body));
    }

    /// Sends a frame of the control path.
    pub fn send_frame(&mut self, frame: &impl Frame) {
        self.send((1, 0, 0, frame.archive().unwrap().to_vec()));
    }

    /// Sends a frame that offers a lane of so many bytes, behind a history, if there is one, with its bytes and how many
    /// values of each topic it keeps.
    pub fn send_offer(&mut self, frame: &impl Frame, bytes: u64, history: Option<(u64, u64)>) {
        let (history_bytes, kept) = history.unwrap_or((0, 0));
        let mut body = [history_bytes, kept].map(u64::to_le_bytes).concat();
        body.extend_from_slice(&frame.archive().unwrap());
        self.send((9, bytes, 0, body));
    }

    /// Sends bytes as often as the other side takes them, as long as it takes some within this time; how often it was.
    pub fn send_while_taken(&mut self, bytes: &[u8], patience: Duration, most: usize) -> usize {
        self.stream.set_write_timeout(Some(patience)).unwrap();
        (0..most)
            .take_while(|_| self.stream.write_all(bytes).is_ok())
            .count()
    }

    /// The next packet; `None` when the other side has closed.
    pub fn receive(&mut self) -> Option<RawPacket> {
        let mut header = [0; 32];
        self.stream.read_exact(&mut header).ok()?;
        let number = |at: usize, len: usize| {
            let mut bytes = [0; 8];
            bytes[..len].copy_from_slice(&header[at..at + len]);
            u64::from_le_bytes(bytes)
        };
        let mut body = vec![0; number(0, 4) as usize];
        self.stream.read_exact(&mut body).ok()?;
        Some((number(4, 4) as u32, number(8, 8), number(16, 8), body))
    }

    /// The next frame; `None` when the other side has closed.
    pub fn frame<F: Frame>(&mut self) -> Option<F> {
        loop {
            let (kind, _, _, body) = self.receive()?;
            // An offer has two numbers before its archive.
            let start = match kind {
                1 => 0,
                9 => 16,
                _ => continue,
            };
            let mut aligned = AlignedVec::new();
            aligned.extend_from_slice(&body[start..]);
            return Some(F::from_archive(&aligned).unwrap());
        }
    }

    /// Whether the other side closes, whatever it says before.
    pub fn is_dropped(&mut self) -> bool {
        while self.receive().is_some() {}
        true
    }
}

/// The bytes of a packet.
pub fn packet(kind: u32, first: u64, second: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend((body.len() as u32).to_le_bytes());
    bytes.extend(kind.to_le_bytes());
    bytes.extend(first.to_le_bytes());
    bytes.extend(second.to_le_bytes());
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&bytes), body);
    bytes.extend(checksum.to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend_from_slice(body);
    assert_eq!(bytes.len(), 32 + body.len());
    const { assert!(HEADER_BYTES == 8, "frames travel without that header") };
    bytes
}
