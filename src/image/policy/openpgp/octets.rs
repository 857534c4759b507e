//! Cursor over bytes that others wrote: no read goes beyond the end.

/// Bytes not read yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Octets<'a>(pub(super) &'a [u8]);

impl<'a> Octets<'a> {
    /// Takes `count` bytes. `None`: fewer are left.
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// Takes one byte.
    pub(super) fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    /// Takes a number of two bytes, the highest first.
    pub(super) fn short(&mut self) -> Option<u16> {
        let bytes = self.take(2)?;
        Some(u16::from_be_bytes(bytes.try_into().ok()?))
    }

    /// Takes a number of four bytes, the highest first.
    pub(super) fn long(&mut self) -> Option<u32> {
        let bytes = self.take(4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    }

    /// Takes an integer of any size (RFC 9580, 3.2), without leading zeros.
    pub(super) fn integer(&mut self) -> Option<&'a [u8]> {
        let bits = usize::from(self.short()?);
        let bytes = self.take(bits.div_ceil(8))?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        bytes.get(zeros..)
    }

    /// True if all bytes were read.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
