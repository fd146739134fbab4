//! `kind u8 ‖ length u16 ‖ payload`, the outer shape of frames, signaling messages and stored values (docs/protocol.md §1).

use super::WireError;

/// Bytes before the payload.
pub const HEADER_BYTES: usize = 3;
/// The bit of a kind that a receiver may skip.
pub const OPTIONAL: u8 = 0x80;

/// One kind and its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tlv<'a> {
    /// What the payload is; bit 7 marks it optional.
    pub kind: u8,
    /// At most 65,535 bytes.
    pub payload: &'a [u8],
}

impl Tlv<'_> {
    /// Whether a receiver that does not know this kind skips it instead of refusing it.
    pub const fn is_optional(&self) -> bool {
        self.kind & OPTIONAL != 0
    }
}

/// Writes one TLV and gives its length.
///
/// # Errors
/// [`WireError::TooLong`]: the payload is over 65,535 bytes. [`WireError::NoSpace`]: `out` is too short.
pub fn write(kind: u8, payload: &[u8], out: &mut [u8]) -> Result<usize, WireError> {
    let end = HEADER_BYTES + payload.len();
    let out = out.get_mut(..end).ok_or(WireError::NoSpace)?;
    out[HEADER_BYTES..].copy_from_slice(payload);
    write_header(kind, payload.len(), out)?;
    Ok(end)
}

/// Reads the first TLV and gives it and the bytes after it.
///
/// # Errors
/// [`WireError::Truncated`]: the bytes end before the payload does.
pub fn read(bytes: &[u8]) -> Result<(Tlv<'_>, &[u8]), WireError> {
    let (&[kind, high, low], rest) = bytes.split_first_chunk().ok_or(WireError::Truncated)?;
    let (payload, rest) =
        rest.split_at_checked(usize::from(u16::from_be_bytes([high, low]))).ok_or(WireError::Truncated)?;
    Ok((Tlv { kind, payload }, rest))
}

/// Writes the header before a payload that already stands behind it.
pub(super) fn write_header(kind: u8, payload_bytes: usize, out: &mut [u8]) -> Result<(), WireError> {
    let length = u16::try_from(payload_bytes).map_err(|_| WireError::TooLong)?;
    let [high, low] = length.to_be_bytes();
    *out.first_chunk_mut().ok_or(WireError::NoSpace)? = [kind, high, low];
    Ok(())
}
