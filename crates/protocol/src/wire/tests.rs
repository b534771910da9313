use bytes::Bytes;

use super::*;

fn written(write: impl FnOnce(&mut Writer)) -> Bytes {
    let mut writer = Writer::new();
    write(&mut writer);
    writer.into_bytes().unwrap()
}

fn read<T>(bytes: &[u8], read: impl FnOnce(&mut Reader) -> Result<T, WireError>) -> Result<T, WireError> {
    read(&mut Reader::new(Bytes::copy_from_slice(bytes)))
}

#[test]
fn variable_length_integers() {
    fn check(value: i64, bytes: &[u8]) {
        assert_eq!(written(|writer| writer.varlong(value)), bytes, "{value}");
        assert_eq!(read(bytes, Reader::varlong), Ok(value));
        if let Ok(value) = i32::try_from(value) {
            assert_eq!(written(|writer| writer.varint(value)), bytes, "{value}");
            assert_eq!(read(bytes, Reader::varint), Ok(value));
        }
    }
    check(0, &[0]);
    check(-1, &[1]);
    check(1, &[2]);
    check(63, &[0x7e]);
    check(-64, &[0x7f]);
    check(64, &[0x80, 0x01]);
    check(i64::from(i32::MAX), &[0xfe, 0xff, 0xff, 0xff, 0x0f]);
    check(i64::from(i32::MIN), &[0xff, 0xff, 0xff, 0xff, 0x0f]);
    check(i64::MAX, &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
    check(i64::MIN, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
}

#[test]
fn variable_length_integers_that_do_not_fit() {
    assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0x0f], Reader::unsigned_varint), Ok(u32::MAX));
    assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0x1f], Reader::unsigned_varint), Err(WireError::VarintTooLong));
    assert_eq!(read(&[0x80; 6], Reader::unsigned_varint), Err(WireError::VarintTooLong));
    assert_eq!(read(&[0x80; 11], Reader::varlong), Err(WireError::VarintTooLong));
    let past_64_bits = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
    assert_eq!(read(&past_64_bits, Reader::varlong), Err(WireError::VarintTooLong));
    assert_eq!(read(&[0x80], Reader::varint), Err(WireError::Truncated { needed: 1, left: 0 }));
}

#[test]
fn strings_and_bytes_in_both_forms() {
    fn check(value: Option<&str>, flexible: bool, bytes: &[u8]) {
        let text = value.map(Str::from);
        assert_eq!(written(|writer| writer.nullable_string(value, flexible).unwrap()), bytes);
        assert_eq!(read(bytes, |reader| reader.nullable_string(flexible)), Ok(text));
    }
    check(Some("ab"), false, b"\0\x02ab");
    check(Some("ab"), true, b"\x03ab");
    check(Some(""), false, &[0, 0]);
    check(Some(""), true, &[1]);
    check(None, false, &[0xff, 0xff]);
    check(None, true, &[0]);

    let null = |what| Err(WireError::InvalidLength { what, length: -1 });
    assert_eq!(read(&[0xff, 0xff], |reader| reader.string(false)), null("string"));
    assert_eq!(read(&[0], |reader| reader.bytes(true)), null("bytes").map(|_: Str| Bytes::new()));
    assert_eq!(read(&[3, 0xc3, 0x28], |reader| reader.string(true)), Err(WireError::NotUtf8));
}

#[test]
fn lengths_that_nobody_may_send() {
    let negative = |what, length| WireError::InvalidLength { what, length };
    let minus_two = [0xff, 0xff, 0xff, 0xfe];
    assert_eq!(read(&minus_two[2..], |reader| reader.string(false)), Err(negative("string", -2)));
    assert_eq!(read(&minus_two, |reader| reader.bytes(false)), Err(negative("bytes", -2)));
    assert_eq!(read(&minus_two, |reader| reader.array_length(false)), Err(negative("array", -2)));

    let promise = [0x7f, 0xff, 0xff, 0xff, 1, 2];
    let truncated = WireError::Truncated { needed: 0x7fff_ffff, left: 2 };
    assert_eq!(read(&promise, |reader| reader.bytes(false)), Err(truncated.clone()));
    assert_eq!(read(&promise, |reader| Vec::<i8>::read(reader, 0, false)), Err(truncated));
}

#[test]
fn arrays_and_tagged_fields_have_limits() {
    let mut many = written(|writer| writer.array_length(Some(ARRAY_ELEMENTS_MAX + 1), false).unwrap()).to_vec();
    many.resize(4 + ARRAY_ELEMENTS_MAX + 1, 0);
    let expected =
        WireError::OverLimit { what: "array length", count: ARRAY_ELEMENTS_MAX + 1, limit: ARRAY_ELEMENTS_MAX };
    assert_eq!(read(&many, |reader| reader.array_length(false)), Err(expected));

    let million = written(|writer| writer.array_length(Some(ARRAY_ELEMENTS_MAX), false).unwrap());
    let mut frame = million.repeat(5);
    frame.resize(frame.len() + ARRAY_ELEMENTS_MAX, 0);
    let mut nested = Reader::new(frame.into());
    for _ in 0..4 {
        assert_eq!(nested.array_length(false), Ok(Some(ARRAY_ELEMENTS_MAX)));
    }
    let expected = WireError::OverLimit {
        what: "number of array elements in the frame",
        count: 5 * ARRAY_ELEMENTS_MAX,
        limit: FRAME_ELEMENTS_MAX,
    };
    assert_eq!(nested.array_length(false), Err(expected));

    let tags = written(|writer| writer.unsigned_varint(TAGGED_FIELDS_MAX as u32 + 1));
    let expected = WireError::OverLimit {
        what: "number of tagged fields",
        count: TAGGED_FIELDS_MAX + 1,
        limit: TAGGED_FIELDS_MAX,
    };
    assert_eq!(read(&tags, |reader| reader.tagged_fields(|_, _| Ok(false))), Err(expected));

    let long = "x".repeat(STRING_BYTES_MAX + 1);
    let expected = WireError::OverLimit { what: "string length", count: STRING_BYTES_MAX + 1, limit: STRING_BYTES_MAX };
    assert_eq!(Writer::new().nullable_string(Some(&long), true), Err(expected));
}

#[test]
fn unknown_tagged_fields_are_skipped_and_known_ones_must_fit() {
    let mut tagged = TaggedFields::default();
    tagged.push(0, |writer| 7i32.write(writer, 0, true)).unwrap();
    tagged.push(9, |writer| Str::from_static("from the future").write(writer, 0, true)).unwrap();
    let bytes = written(|writer| {
        writer.tagged_fields(tagged).unwrap();
        writer.i8(5);
    });

    let mut reader = Reader::new(bytes.clone());
    let mut seven = 0;
    reader
        .tagged_fields(|tag, value| {
            if tag == 0 {
                seven = value.i32()?;
            }
            Ok(tag == 0)
        })
        .unwrap();
    assert_eq!((seven, reader.i8()), (7, Ok(5)));

    let half = Reader::new(bytes).tagged_fields(|_, value| value.i16().map(|_| true));
    assert_eq!(half, Err(WireError::TaggedFieldSize { tag: 0, size: 4 }));
}

#[test]
fn large_payloads_are_shared_and_gaps_are_left() {
    let large = Bytes::from(vec![1; SHARED_BYTES_MIN]);
    let small = Bytes::from(vec![2; SHARED_BYTES_MIN - 1]);
    let mut writer = Writer::new();
    writer.i32(0);
    writer.nullable_bytes(Some(&large), false).unwrap();
    writer.external_bytes(1000, true).unwrap();
    writer.external_bytes(0, true).unwrap();
    writer.nullable_bytes(Some(&small), false).unwrap();
    let size = writer.len();
    writer.patch_i32(0, size as i32);

    let pieces = writer.into_pieces();
    let lengths: Vec<_> = pieces
        .iter()
        .map(|piece| match piece {
            Piece::Bytes(bytes) => (None, bytes.len()),
            Piece::External { index, length } => (Some(*index), *length),
        })
        .collect();
    assert_eq!(
        lengths,
        [(None, 8), (None, large.len()), (None, 2), (Some(0), 1000), (None, 1), (Some(1), 0), (None, 4 + small.len())]
    );
    assert_eq!(lengths.iter().map(|(_, length)| length).sum::<usize>(), size);
    let Piece::Bytes(shared) = &pieces[1] else { panic!("the large payload is bytes") };
    assert_eq!(shared.as_ptr(), large.as_ptr());

    let mut gap = Writer::new();
    gap.external(1);
    assert_eq!(gap.into_bytes(), Err(WireError::ExternalPayload));
}

#[test]
fn a_string_hashes_and_compares_as_str() {
    let names = std::collections::HashMap::from([(Str::from("wordsendertest"), 1)]);
    assert_eq!(names.get("wordsendertest"), Some(&1));
    assert_eq!(Str::from_static("a"), "a");
    assert_eq!(format!("{} {:?}", Str::from("a"), Str::from("b")), "a \"b\"");
}
