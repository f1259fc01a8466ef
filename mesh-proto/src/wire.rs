//! Protobuf wire format, read in place: field numbers and payloads as slices of the input.
//!
//! Nothing is interpreted here and nothing is copied; every malformed byte is an error, none is a panic.

use prost::encoding::WireType;

/// The bytes are not a protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The fields of one encoded message, in wire order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

/// One field as it is on the wire.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<'a> {
    pub(crate) number: u32,
    pub(crate) wire_type: WireType,
    pub(crate) payload: Payload<'a>,
    /// Key and payload, as they were read.
    pub(crate) raw: &'a [u8],
}

/// What a field holds. Fixed-width numbers are kept as their bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Payload<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    Fixed(&'a [u8]),
    /// A group, skipped as a whole: proto3 has none.
    Group,
}

impl<'a> Fields<'a> {
    pub(crate) const fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// The next field, or `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Field<'a>>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let start = self.rest;
        let (number, wire_type) = self.key()?;
        let payload = match wire_type {
            WireType::Varint => Payload::Varint(self.varint()?),
            WireType::SixtyFourBit => Payload::Fixed(self.take(8)?),
            WireType::ThirtyTwoBit => Payload::Fixed(self.take(4)?),
            WireType::LengthDelimited => Payload::Bytes(self.delimited()?),
            WireType::StartGroup => {
                self.skip_group(number)?;
                Payload::Group
            }
            WireType::EndGroup => return Err(Malformed),
        };
        let raw = &start[..start.len() - self.rest.len()];
        Ok(Some(Field { number, wire_type, payload, raw }))
    }

    fn key(&mut self) -> Result<(u32, WireType), Malformed> {
        let key = u32::try_from(self.varint()?).map_err(|_| Malformed)?;
        let wire_type = WireType::try_from(u64::from(key & 7)).map_err(|_| Malformed)?;
        let number = key >> 3;
        if number == 0 { Err(Malformed) } else { Ok((number, wire_type)) }
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        prost::encoding::decode_varint(&mut self.rest).map_err(|_| Malformed)
    }

    fn delimited(&mut self) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
        self.take(length)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Skips to behind the end of group `number`; groups nest, so the open ones are kept in a list instead of on the stack.
    fn skip_group(&mut self, number: u32) -> Result<(), Malformed> {
        let mut open = vec![number];
        while let Some(&innermost) = open.last() {
            let (number, wire_type) = self.key()?;
            match wire_type {
                WireType::Varint => drop(self.varint()?),
                WireType::SixtyFourBit => drop(self.take(8)?),
                WireType::ThirtyTwoBit => drop(self.take(4)?),
                WireType::LengthDelimited => drop(self.delimited()?),
                WireType::StartGroup if open.len() < crate::MAX_DEPTH => open.push(number),
                WireType::EndGroup if number == innermost => drop(open.pop()),
                WireType::StartGroup | WireType::EndGroup => return Err(Malformed),
            }
        }
        Ok(())
    }
}

impl Payload<'_> {
    /// Whether this is what an absent field would mean.
    pub(crate) fn is_zero(&self) -> bool {
        match self {
            Self::Varint(value) => *value == 0,
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::Fixed(bytes) => bytes.iter().all(|byte| *byte == 0),
            Self::Group => false,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing test is what unwrap is for")]

    use super::*;

    fn count(bytes: &[u8]) -> Result<usize, Malformed> {
        let mut fields = Fields::new(bytes);
        let mut count = 0;
        while fields.next()?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    #[test]
    fn every_wire_type_is_read() {
        // 1: varint 150, 2: "ab", 3: fixed32, 4: fixed64, 5: group { 1: 1 }
        let bytes = b"\x08\x96\x01\x12\x02ab\x1d\0\0\0\x01\x21\0\0\0\0\0\0\0\x01\x2b\x08\x01\x2c";
        assert_eq!(count(bytes), Ok(5));
    }

    #[test]
    fn broken_bytes_are_an_error() {
        for bytes in [
            &b"\x08"[..],                                        // no value
            b"\x12\x05ab",                                       // longer than the input
            b"\x00\x01",                                         // field number 0
            b"\x0c",                                             // end of a group that was not begun
            b"\x0b\x14",                                         // end of another group
            b"\x0b",                                             // group without an end
            b"\x0e",                                             // wire type 6
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", // endless varint
        ] {
            assert_eq!(count(bytes), Err(Malformed), "{bytes:?}");
        }
        assert_eq!(count(&[0x0b; 1000]), Err(Malformed), "groups nested too deeply");
    }
}
