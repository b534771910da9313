use super::*;

/// Compressible, but not one run of the same byte.
fn text(len: usize) -> Vec<u8> {
    (0..len).map(|i| b"hello hadoop hello storm "[(i * 7 + i / 97) % 25]).collect()
}

#[test]
fn every_codec_gives_back_what_it_took() {
    for codec in Codec::ALL {
        for magic in [0, 1, 2] {
            for len in [0, 1, 15, 100, 32 * 1024, 65 * 1024, 300_000] {
                let src = text(len);
                let mut packed = b"before".to_vec();
                compress(codec, magic, None, &src, &mut packed).unwrap();
                assert_eq!(&packed[..6], b"before", "{codec} must append");
                assert_eq!(decompress(codec, magic, &packed[6..], len), Ok(src), "{codec} magic {magic} len {len}");
            }
        }
    }
}

#[test]
fn one_byte_over_the_limit_is_too_large() {
    for codec in Codec::ALL {
        let src = text(70_000);
        let mut packed = Vec::new();
        compress(codec, 2, None, &src, &mut packed).unwrap();
        let limit = src.len() - 1;
        assert_eq!(decompress(codec, 2, &packed, limit), Err(RecordsError::TooLarge { codec, limit }));
    }
}

#[test]
fn bombs_stop_at_the_limit() {
    let src = vec![0u8; 64 * 1024 * 1024];
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let mut packed = Vec::new();
        compress(codec, 2, None, &src, &mut packed).unwrap();
        let limit = 1024 * 1024;
        assert_eq!(decompress(codec, 2, &packed, limit), Err(RecordsError::TooLarge { codec, limit }));
    }
}

#[test]
fn snappy_without_framing_is_read() {
    let src = text(5_000);
    let raw = snap::raw::Encoder::new().compress_vec(&src).unwrap();
    assert_eq!(decompress(Codec::Snappy, 2, &raw, 5_000), Ok(src));
}

#[test]
fn snappy_streams_laid_end_to_end_are_read() {
    let mut packed = Vec::new();
    compress(Codec::Snappy, 1, None, b"hello ", &mut packed).unwrap();
    compress(Codec::Snappy, 1, None, b"storm", &mut packed).unwrap();
    assert_eq!(decompress(Codec::Snappy, 1, &packed, 100), Ok(b"hello storm".to_vec()));
}

#[test]
fn snappy_blocks_may_not_claim_what_they_cannot_hold() {
    // A raw block of 6 bytes whose length prefix says 200 MB.
    let lie = [0x80, 0x84, 0xaf, 0x5f, 0x00, b'x'];
    let result = decompress(Codec::Snappy, 2, &lie, MAX);
    assert!(matches!(result, Err(RecordsError::Decompress { .. })), "{result:?}");
    // The framing's block length says 2 GiB - 1.
    let mut framed = XERIAL_MAGIC.to_vec();
    framed.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff, 1, 2, 3]);
    let result = decompress(Codec::Snappy, 2, &framed, MAX);
    assert!(matches!(result, Err(RecordsError::Decompress { .. })), "{result:?}");
}

const MAX: usize = 1024 * 1024 * 1024;

#[test]
fn lz4_of_messages_v0_has_the_wrong_header_checksum() {
    let mut v0 = Vec::new();
    compress(Codec::Lz4, 0, None, b"hello", &mut v0).unwrap();
    let mut v1 = Vec::new();
    compress(Codec::Lz4, 1, None, b"hello", &mut v1).unwrap();
    // Version 1, independent blocks; 64 KiB blocks. 0x82 is the right checksum of 60 40 alone.
    assert_eq!(v1[..7], [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82]);
    assert_ne!(v0[6], v1[6]);
    assert_eq!((&v0[..6], &v0[7..]), (&v1[..6], &v1[7..]));
    // Readers of v0 take either, readers of later formats only the right one.
    assert_eq!(decompress(Codec::Lz4, 0, &v1, 5), Ok(b"hello".to_vec()));
    assert!(decompress(Codec::Lz4, 1, &v0, 5).is_err());
}

#[test]
fn lz4_frames_with_checksums_and_sizes_are_read() {
    use std::io::Write as _;
    let src = text(200_000);
    for block_size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB] {
        let info = FrameInfo::new()
            .block_size(block_size)
            .block_mode(BlockMode::Independent)
            .block_checksums(true)
            .content_checksum(true)
            .content_size(Some(src.len() as u64));
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(&src).unwrap();
        let mut packed = encoder.finish().unwrap();
        assert_eq!(decompress(Codec::Lz4, 2, &packed, src.len()).as_ref(), Ok(&src));
        packed[30] ^= 1;
        assert!(decompress(Codec::Lz4, 2, &packed, src.len()).is_err());
    }
    let noise: Vec<u8> = (0..100_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut packed = Vec::new();
    compress(Codec::Lz4, 2, None, &noise, &mut packed).unwrap();
    assert_eq!(decompress(Codec::Lz4, 2, &packed, noise.len()), Ok(noise));
}

#[test]
fn xxhash32_gives_the_published_values() {
    assert_eq!(xxhash32(b""), 0x02cc_5d05);
    assert_eq!(xxhash32(b"abc"), 0x32d1_53ff);
    assert_eq!(xxhash32(b"Nobody inspects the spammish repetition"), 0xe229_3b2f);
}

#[test]
fn cut_data_is_an_error_everywhere() {
    let src = text(40_000);
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let mut packed = Vec::new();
        compress(codec, 2, None, &src, &mut packed).unwrap();
        for cut in [1, 5, 9, packed.len() / 2, packed.len() - 1] {
            let result = decompress(codec, 2, &packed[..cut], MAX);
            assert!(result.is_err(), "{codec} cut at {cut}");
        }
    }
}

#[test]
fn levels_out_of_range_are_brought_into_it() {
    for level in [i32::MIN, -1, 0, 9, 100, i32::MAX] {
        let mut packed = Vec::new();
        compress(Codec::Gzip, 2, Some(level), b"hello", &mut packed).unwrap();
        assert_eq!(decompress(Codec::Gzip, 2, &packed, 5), Ok(b"hello".to_vec()));
    }
    let mut packed = Vec::new();
    compress(Codec::Zstd, 2, Some(i32::MIN), b"hello", &mut packed).unwrap();
    assert_eq!(decompress(Codec::Zstd, 2, &packed, 5), Ok(b"hello".to_vec()));
}

#[test]
fn names_are_those_of_compression_type() {
    for codec in Codec::ALL {
        assert_eq!(Codec::from_name(codec.name()), Some(codec));
        assert_eq!(Codec::from_attributes(0x78 | i16::from(codec.id())), Ok(codec));
    }
    assert_eq!(Codec::from_name("uncompressed"), Some(Codec::None));
    assert_eq!(Codec::from_name("brotli"), None);
    assert_eq!(Codec::from_attributes(5), Err(RecordsError::UnknownCodec(5)));
}
