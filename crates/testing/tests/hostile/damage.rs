//! The generator: numbers from a seed, damage to bytes, and a campaign that runs a parser on them and measures what it allocates.

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use runtime::Clock;

/// Inputs of a test where the environment does not say.
const INPUTS: usize = 20_000;
const SEED: u64 = 2026;
/// Longest time for one input: far above what a slow machine needs, far below a hang.
const TIME_MAX: Duration = Duration::from_secs(10);

/// SplitMix64: the same numbers in every run.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `sides`, which is not 0.
    pub fn roll(&mut self, sides: usize) -> usize {
        (self.number() % sides as u64) as usize
    }

    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.roll(items.len())]
    }
}

/// One to four changes: flipped bits, lengths that promise too much, cuts, insertions, repeats.
pub fn damage(input: &[u8], dice: &mut Dice) -> Vec<u8> {
    const LENGTHS: [&[u8]; 8] = [
        &[0x7f, 0xff, 0xff, 0xff],
        &[0x80, 0x00, 0x00, 0x00],
        &[0xff, 0xff, 0xff, 0xff],
        &[0x00, 0x10, 0x00, 0x00],
        &[0x00, 0x00, 0x00, 0x00],
        &[0x7f, 0xff],
        // The largest number of five and of ten bytes in Kafka's variable length.
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    ];
    let mut bytes = input.to_vec();
    for _ in 0..=dice.roll(4) {
        if bytes.is_empty() {
            bytes.push(dice.number() as u8);
        }
        let at = dice.roll(bytes.len());
        match dice.roll(8) {
            0 => bytes[at] ^= 1 << dice.roll(8),
            1 => bytes[at] = dice.number() as u8,
            2 => bytes[at] = *dice.pick(&[0x00, 0x7f, 0x80, 0xff]),
            3 | 4 => {
                let length = *dice.pick(&LENGTHS);
                let end = bytes.len().min(at + length.len());
                bytes.splice(at..end, length.iter().copied());
            }
            5 => bytes.truncate(at),
            6 => bytes.insert(at, dice.number() as u8),
            _ => {
                let end = at + dice.roll(bytes.len() - at);
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
        }
    }
    bytes
}

/// How many inputs a test runs, and from which seed.
pub struct Campaign {
    pub inputs: usize,
    pub seed: u64,
}

impl Campaign {
    pub fn from_environment() -> Campaign {
        let number = |name| {
            env::var(name)
                .ok()
                .map(|text| text.parse::<u64>().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
        };
        Campaign {
            inputs: number("TIDEMILL_HOSTILE_INPUTS").map_or(INPUTS, |inputs| inputs as usize),
            seed: number("TIDEMILL_HOSTILE_SEED").unwrap_or(SEED),
        }
    }

    /// A campaign with fewer inputs, for what takes long: one in every `share`.
    pub fn shared(mut self, share: usize) -> Campaign {
        self.inputs = (self.inputs / share).max(1);
        self
    }

    /// The generator of one input.
    pub fn dice(&self, number: usize) -> Dice {
        Dice::new(self.seed.wrapping_mul(0x1_0000_0001).wrapping_add(number as u64))
    }

    /// Gives `read` damaged bytes of `make` again and again; it may take `memory(bytes)` bytes of memory for them. Returns on how many it answered true.
    pub fn run(
        &self,
        make: impl Fn(usize, &mut Dice) -> Vec<u8>,
        memory: impl Fn(usize) -> usize,
        read: impl Fn(usize, &[u8]) -> bool,
    ) -> usize {
        let mut good = 0;
        for number in 0..self.inputs {
            let bytes = make(number, &mut self.dice(number));
            let clock = Clock::real();
            let started = clock.now();
            let mut answer = Ok(false);
            let used = allocation_counter::measure(|| {
                answer = catch_unwind(AssertUnwindSafe(|| read(number, &bytes)));
            });
            let context = || format!("input {number} of seed {} ({} bytes): {}", self.seed, bytes.len(), hex(&bytes));
            match answer {
                Ok(answer) => good += usize::from(answer),
                Err(_) => panic!("a panic on {}", context()),
            }
            assert!((clock.now() - started) < TIME_MAX, "{:?} for {}", (clock.now() - started), context());
            let allowed = memory(bytes.len());
            assert!(
                used.bytes_max <= allowed as u64,
                "{} bytes of memory, {allowed} allowed, for {}",
                used.bytes_max,
                context()
            );
        }
        good
    }
}

/// The beginning of an input, as a failure shows it.
fn hex(bytes: &[u8]) -> String {
    const SHOWN: usize = 600;
    bytes.iter().take(SHOWN).map(|byte| format!("{byte:02x}")).collect()
}
