//! Zig-zag variable length integers, as records v2 hold them (Kafka `ByteUtils.readVarint`, `readVarlong`).

use super::RecordsError;

/// Longest encoding of a 64-bit number.
pub const MAX_VARLONG_LEN: usize = 10;

/// Takes a zig-zag number of up to 32 bits off the front of `bytes`.
///
/// # Errors
/// [`RecordsError::Truncated`] when the bytes end inside it, [`RecordsError::Corrupt`] when it does not fit 32 bits.
#[inline]
pub fn read_i32(bytes: &mut &[u8]) -> Result<i32, RecordsError> {
    let wide = read_unsigned(bytes, 5)?;
    let Ok(value) = u32::try_from(wide) else {
        return Err(RecordsError::Corrupt("a varint is longer than 32 bits"));
    };
    Ok(((value >> 1) as i32) ^ -((value & 1) as i32))
}

/// Takes a zig-zag number of up to 64 bits off the front of `bytes`.
///
/// # Errors
/// As [`read_i32`], for 64 bits.
#[inline]
pub fn read_i64(bytes: &mut &[u8]) -> Result<i64, RecordsError> {
    let value = read_unsigned(bytes, MAX_VARLONG_LEN)?;
    Ok(((value >> 1) as i64) ^ -((value & 1) as i64))
}

#[inline]
fn read_unsigned(bytes: &mut &[u8], max_len: usize) -> Result<u64, RecordsError> {
    // Most numbers in a record (deltas, short lengths) fit one byte.
    if let [first, rest @ ..] = *bytes
        && *first < 0x80
    {
        *bytes = rest;
        return Ok(u64::from(*first));
    }
    let mut value = 0u64;
    for (index, byte) in bytes.iter().take(max_len).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if index == MAX_VARLONG_LEN - 1 && bits > 1 {
            return Err(RecordsError::Corrupt("a varlong is longer than 64 bits"));
        }
        value |= bits << (7 * index);
        if byte & 0x80 == 0 {
            *bytes = &bytes[index + 1..];
            return Ok(value);
        }
    }
    if bytes.len() < max_len {
        return Err(RecordsError::Truncated { what: "a varint", needed: bytes.len() + 1, available: bytes.len() });
    }
    Err(RecordsError::Corrupt("a varint does not end"))
}

/// Appends `value` in zig-zag form.
#[inline]
pub fn write_i64(out: &mut Vec<u8>, value: i64) {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        out.push((rest as u8) | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Appends `value` in zig-zag form.
#[inline]
pub fn write_i32(out: &mut Vec<u8>, value: i32) {
    write_i64(out, i64::from(value));
}

/// Bytes that [`write_i64`] takes for `value`.
#[inline]
#[must_use]
pub fn len_i64(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

#[inline]
fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: i64, encoded: &[u8]) {
        let mut out = Vec::new();
        write_i64(&mut out, value);
        assert_eq!(out, encoded, "{value}");
        assert_eq!(len_i64(value), encoded.len(), "{value}");
        let mut rest = encoded;
        assert_eq!(read_i64(&mut rest), Ok(value));
        assert!(rest.is_empty());
        if let Ok(small) = i32::try_from(value) {
            assert_eq!(read_i32(&mut &encoded[..]), Ok(small));
        } else {
            assert!(read_i32(&mut &encoded[..]).is_err());
        }
    }

    #[test]
    fn numbers_take_as_many_bytes_as_they_need() {
        check(0, &[0]);
        check(-1, &[1]);
        check(1, &[2]);
        check(63, &[126]);
        check(-64, &[127]);
        check(64, &[0x80, 1]);
        check(-65, &[0x81, 1]);
        check(i64::from(i32::MAX), &[0xfe, 0xff, 0xff, 0xff, 0x0f]);
        check(i64::from(i32::MIN), &[0xff, 0xff, 0xff, 0xff, 0x0f]);
        check(i64::MAX, &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
        check(i64::MIN, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
    }

    #[test]
    fn endless_and_cut_numbers_are_refused() {
        assert!(matches!(read_i32(&mut &[0x80; 5][..]), Err(RecordsError::Corrupt(_))));
        assert!(matches!(read_i32(&mut &[0x80; 4][..]), Err(RecordsError::Truncated { .. })));
        assert!(matches!(read_i64(&mut &[0xff; 10][..]), Err(RecordsError::Corrupt(_))));
        assert!(matches!(read_i64(&mut &[0xff; 9][..]), Err(RecordsError::Truncated { .. })));
        assert!(matches!(read_i64(&mut &[][..]), Err(RecordsError::Truncated { .. })));
    }
}
