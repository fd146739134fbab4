//! WebSocket frames on the server's side (RFC 6455 §5).
//!
//! Between frames a connection holds no buffer: what has come is cut into frames at once, and only the rest of
//! one that has not come whole is kept. Each frame is handed out by itself, so that each can be counted: a message
//! of many small fragments costs its sender as much as many messages.

use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// The two bytes of every header, the longest length and the mask.
const HEADER_BYTES_MAX: usize = 2 + 8 + 4;

/// The payload of a control frame (§5.5).
const CONTROL_BYTES_MAX: usize = 125;

/// What kind of frame a server sends; the first byte of its header, with the bit for "final".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Binary = 0x82,
    Close = 0x88,
    Ping = 0x89,
    Pong = 0x8a,
}

/// Appends a frame. A server's are not masked (§5.1).
pub(crate) fn append(to: &mut Vec<u8>, kind: Kind, payload: &[u8]) {
    to.reserve(HEADER_BYTES_MAX + payload.len());
    to.push(kind as u8);
    match u8::try_from(payload.len()) {
        Ok(length) if length < 126 => to.push(length),
        _ => match u16::try_from(payload.len()) {
            Ok(length) => {
                to.push(126);
                to.extend_from_slice(&length.to_be_bytes());
            }
            Err(_) => {
                to.push(127);
                to.extend_from_slice(&(payload.len() as u64).to_be_bytes());
            }
        },
    }
    to.extend_from_slice(payload);
}

/// What a device has sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    /// A whole binary message.
    Message(&'a [u8]),
    /// A fragment of one, which is kept here.
    Part,
    Ping(&'a [u8]),
    Pong,
    Close,
}

/// Why a connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Not as RFC 6455 has it.
    Protocol,
    /// A frame or a message is too long.
    Size,
    /// A text message: this protocol has none.
    Text,
}

impl From<Fault> for CloseCode {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Protocol => Self::Protocol,
            Fault::Size => Self::Size,
            Fault::Text => Self::Policy,
        }
    }
}

/// Cuts what comes into frames.
#[derive(Debug)]
pub(crate) struct Reader {
    message_bytes_max: usize,
    /// What has come; up to `used` it has been handed out.
    come: Vec<u8>,
    used: usize,
    /// The fragments of a message so far.
    fragments: Option<Vec<u8>>,
}

/// A frame's header.
struct Header {
    is_final: bool,
    opcode: u8,
    mask: [u8; 4],
    header_bytes: usize,
    payload_bytes: usize,
}

impl Reader {
    pub(crate) const fn new(message_bytes_max: usize) -> Self {
        Self { message_bytes_max, come: Vec::new(), used: 0, fragments: None }
    }

    /// Takes what has come.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.come.extend_from_slice(bytes);
    }

    /// The next frame, if it has come whole.
    pub(crate) fn next(&mut self) -> Result<Option<Frame<'_>>, Fault> {
        let Some(header) = self.header()? else {
            self.keep_rest();
            return Ok(None);
        };
        let start = self.used + header.header_bytes;
        let end = start + header.payload_bytes;
        if self.come.len() < end {
            self.keep_rest();
            return Ok(None);
        }
        self.used = end;
        unmask(&mut self.come[start..end], header.mask);
        match (header.opcode, header.is_final) {
            (0x0, _) => {
                let mut fragments = self.fragments.take().ok_or(Fault::Protocol)?;
                fragments.extend_from_slice(&self.come[start..end]);
                if !header.is_final {
                    self.fragments = Some(fragments);
                    return Ok(Some(Frame::Part));
                }
                // In the place of the frame that ends it.
                self.come.splice(start..end, fragments.iter().copied());
                self.used = start + fragments.len();
                Ok(Some(Frame::Message(&self.come[start..self.used])))
            }
            (0x2, true) => Ok(Some(Frame::Message(&self.come[start..end]))),
            (0x2, false) => {
                self.fragments = Some(self.come[start..end].to_vec());
                Ok(Some(Frame::Part))
            }
            (0x8, _) => Ok(Some(Frame::Close)),
            (0x9, _) => Ok(Some(Frame::Ping(&self.come[start..end]))),
            (0xa, _) => Ok(Some(Frame::Pong)),
            _ => Err(Fault::Protocol),
        }
    }

    /// The header at `used`, checked, if it has come whole.
    fn header(&self) -> Result<Option<Header>, Fault> {
        let bytes = self.come.get(self.used..).unwrap_or_default();
        let Some((&[first, second], rest)) = bytes.split_first_chunk::<2>() else {
            return Ok(None);
        };
        let (is_final, opcode, is_masked) = (first & 0x80 != 0, first & 0x0f, second & 0x80 != 0);
        // Reserved bits belong to extensions, and none was agreed on; a client masks (§5.1, §5.2).
        if first & 0x70 != 0 || !is_masked {
            return Err(Fault::Protocol);
        }
        let (length, length_bytes) = match second & 0x7f {
            126 => match rest.first_chunk::<2>() {
                Some(length) => (u64::from(u16::from_be_bytes(*length)), 2),
                None => return Ok(None),
            },
            127 => match rest.first_chunk::<8>() {
                Some(length) => (u64::from_be_bytes(*length), 8),
                None => return Ok(None),
            },
            short => (u64::from(short), 0),
        };
        let payload_bytes = usize::try_from(length).map_err(|_| Fault::Size)?;
        self.check(opcode, is_final, payload_bytes)?;
        let Some(mask) = rest[length_bytes..].first_chunk::<4>() else {
            return Ok(None);
        };
        Ok(Some(Header { is_final, opcode, mask: *mask, header_bytes: 2 + length_bytes + 4, payload_bytes }))
    }

    /// Refuses a frame by its header, before anything of it is kept.
    fn check(&self, opcode: u8, is_final: bool, payload_bytes: usize) -> Result<(), Fault> {
        let begun = self.fragments.as_ref().map(Vec::len);
        match (opcode, begun) {
            (0x0, Some(begun)) if begun + payload_bytes > self.message_bytes_max => Err(Fault::Size),
            (0x0, Some(_)) => Ok(()),
            (0x1, None) => Err(Fault::Text),
            (0x2, None) if payload_bytes > self.message_bytes_max => Err(Fault::Size),
            (0x2, None) => Ok(()),
            (0x8..=0xa, _) if is_final && payload_bytes <= CONTROL_BYTES_MAX => Ok(()),
            _ => Err(Fault::Protocol),
        }
    }

    /// Forgets what has been handed out; with nothing left, the memory too.
    fn keep_rest(&mut self) {
        if self.used == self.come.len() {
            self.come = Vec::new();
        } else {
            self.come.drain(..self.used);
        }
        self.used = 0;
    }
}

/// Takes the mask off (§5.3).
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let key = u32::from_ne_bytes(mask);
    let mut words = payload.chunks_exact_mut(4);
    for word in &mut words {
        if let Some(word) = word.first_chunk_mut::<4>() {
            *word = (u32::from_ne_bytes(*word) ^ key).to_ne_bytes();
        }
    }
    for (byte, key) in words.into_remainder().iter_mut().zip(mask) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 65_536;

    /// A client's frame: first byte, payload, masked.
    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [0x11, 0x22, 0x33, 0x44];
        let mut frame = vec![first];
        match payload.len() {
            short @ 0..126 => frame.push(0x80 | u8::try_from(short).unwrap()),
            middle @ 126..65_536 => {
                frame.push(0x80 | 126);
                frame.extend(u16::try_from(middle).unwrap().to_be_bytes());
            }
            long => {
                frame.push(0x80 | 127);
                frame.extend((long as u64).to_be_bytes());
            }
        }
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
        frame
    }

    /// Everything that comes out of these bytes, given in pieces of this size.
    fn cut(bytes: &[u8], piece: usize) -> (Vec<String>, Option<Fault>) {
        let mut reader = Reader::new(MAX);
        let mut frames = Vec::new();
        for piece in bytes.chunks(piece) {
            reader.push(piece);
            loop {
                match reader.next() {
                    Ok(Some(Frame::Message(payload))) => {
                        frames.push(format!("{} bytes {:?}", payload.len(), payload.first()))
                    }
                    Ok(Some(frame)) => frames.push(format!("{frame:?}")),
                    Ok(None) => break,
                    Err(fault) => return (frames, Some(fault)),
                }
            }
        }
        assert_eq!(reader.come.capacity(), 0, "nothing is kept between frames");
        (frames, None)
    }

    #[test]
    fn frames_come_out_the_same_however_their_bytes_are_split() {
        let bytes = [
            masked(0x82, b"one"),
            masked(0x89, b"hi"),
            masked(0x02, &[7; 200]),
            masked(0x8a, b""),
            masked(0x00, b""),
            masked(0x80, &[8; 300]),
            masked(0x82, &[9; 65_536]),
            masked(0x88, &[3, 232]),
        ]
        .concat();
        let expected = [
            "3 bytes Some(111)",
            "Ping([104, 105])",
            "Part",
            "Pong",
            "Part",
            "500 bytes Some(7)",
            "65536 bytes Some(9)",
            "Close",
        ];
        for piece in [1, 2, 3, 7, 64, 1_000, 16_384, bytes.len()] {
            let (frames, fault) = cut(&bytes, piece);
            assert_eq!((frames.as_slice(), fault), (expected.map(str::to_owned).as_slice(), None), "{piece}");
        }
    }

    #[test]
    fn what_breaks_the_rules_is_refused_by_its_first_bytes() {
        for (bytes, fault) in [
            (vec![0x82, 0x03, 1, 2, 3], Fault::Protocol), // not masked
            (masked(0xc2, b"x"), Fault::Protocol),        // a reserved bit
            (masked(0x83, b"x"), Fault::Protocol),        // a reserved opcode
            (masked(0x80, b"x"), Fault::Protocol),        // a continuation of nothing
            (masked(0x09, b"x"), Fault::Protocol),        // a control frame in fragments
            (masked(0x89, &[0; 126]), Fault::Protocol),   // a control frame that is too long
            (masked(0x81, b"text"), Fault::Text),
            (vec![0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 1], Fault::Size),
            (vec![0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], Fault::Size),
            ([masked(0x02, b"x"), masked(0x82, b"y")].concat(), Fault::Protocol), // a message inside another
            ([masked(0x02, &[0; 40_000]), masked(0x00, &[0; 30_000])].concat(), Fault::Size),
        ] {
            assert_eq!(cut(&bytes, bytes.len()).1, Some(fault), "{:?}", &bytes[..bytes.len().min(20)]);
            assert_eq!(cut(&bytes, 1).1, Some(fault), "{:?}", &bytes[..bytes.len().min(20)]);
        }
    }

    #[test]
    fn a_length_that_is_only_announced_reserves_no_memory() {
        let mut reader = Reader::new(MAX);
        reader.push(&masked(0x82, &[0; 60_000])[..20]);
        assert_eq!(reader.next(), Ok(None));
        assert!(reader.come.capacity() < 100);
    }

    #[test]
    fn what_the_server_writes_has_the_shortest_length() {
        for (bytes, header) in [
            (0, vec![0x82, 0]),
            (125, vec![0x82, 125]),
            (126, vec![0x82, 126, 0, 126]),
            (65_535, vec![0x82, 126, 255, 255]),
            (65_536, vec![0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut frame = Vec::new();
            append(&mut frame, Kind::Binary, &vec![5; bytes]);
            assert_eq!(frame.len(), header.len() + bytes);
            assert!(frame.starts_with(&header), "{bytes}");
        }
    }
}
