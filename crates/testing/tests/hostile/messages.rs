//! Bodies of Kafka's requests and responses, every API in every version, as broker and client read them.

use bytes::Bytes;
use protocol::frame;
use protocol::messages::sample::{Exchange, exchanges};

use crate::damage::{Campaign, damage};

/// Samples of each API and version that the damage starts from.
const SAMPLES: u64 = 3;
/// An element that takes one byte on the wire is a structure of some hundred in memory.
const MEMORY_PER_BYTE: usize = 512;
const MEMORY: usize = 16 * 1024;

fn samples(seed: u64) -> Vec<Exchange> {
    (0..SAMPLES).flat_map(|round| exchanges(seed + round)).collect()
}

/// Whether bytes are read as a message of a version.
type Reads = fn(Bytes, i16) -> bool;

fn check(body: fn(&Exchange) -> &Bytes, reads: fn(&Exchange) -> Reads) {
    let campaign = Campaign::from_environment();
    let samples = samples(campaign.seed);
    let good = campaign.run(
        |number, dice| damage(body(&samples[number % samples.len()]), dice),
        |length| MEMORY + length * MEMORY_PER_BYTE,
        |number, bytes| {
            let sample = &samples[number % samples.len()];
            reads(sample)(Bytes::copy_from_slice(bytes), sample.version)
        },
    );
    // Damage so coarse that nothing is read any more would test the first field only.
    assert!(good > campaign.inputs / 20, "{good} of {} were read", campaign.inputs);
}

#[test]
fn requests() {
    check(|sample| &sample.request, |sample| sample.reads_request);
}

#[test]
fn responses() {
    check(|sample| &sample.response, |sample| sample.reads_response);
}

#[test]
fn the_samples_are_whole() {
    for sample in samples(1) {
        assert!((sample.reads_request)(sample.request, sample.version), "{} v{}", sample.api, sample.version);
        assert!((sample.reads_response)(sample.response, sample.version), "{} v{}", sample.api, sample.version);
    }
}

#[test]
fn request_headers() {
    let campaign = Campaign::from_environment();
    let samples = samples(campaign.seed);
    campaign.run(
        |number, dice| {
            let sample = &samples[number % samples.len()];
            let mut head = Vec::from((sample.api as i16).to_be_bytes());
            head.extend(sample.version.to_be_bytes());
            head.extend([0, 0, 0, 7, 0, 4]);
            head.extend(b"peer");
            if sample.api.is_flexible(sample.version) {
                head.push(0);
            }
            head.extend(&sample.request[..sample.request.len().min(8)]);
            damage(&head, dice)
        },
        |length| MEMORY + length * MEMORY_PER_BYTE,
        |_, bytes| frame::decode_request_header(Bytes::copy_from_slice(bytes)).is_ok(),
    );
}
