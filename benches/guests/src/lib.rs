//! Programs that compute, for what instrumentation costs: the same code in a guest and native.
//!
//! Each does one round of work that takes about a millisecond natively, on data that it makes
//! itself, and returns a number that depends on all of it.

use std::fmt::Write as _;

use sha3::{Digest, Sha3_256};

/// A program by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// SHA3-256 of 256 KiB: arithmetic on registers, long straight code.
    Hash,
    /// Every date and address in 32 KiB of log lines: table-driven loops, many short calls.
    Regex,
    /// 64 KiB of JSON parsed and written again: branches, allocation, copying.
    Json,
    /// A Gaussian blur of 256 x 256 pixels: tight loops over memory.
    Image,
    /// 20,000 numbers sorted: unpredictable branches.
    Sort,
}

impl Program {
    /// All of them.
    pub const ALL: [Program; 5] =
        [Program::Hash, Program::Regex, Program::Json, Program::Image, Program::Sort];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Program::Hash => "hash",
            Program::Regex => "regex",
            Program::Json => "json",
            Program::Image => "image",
            Program::Sort => "sort",
        }
    }

    /// The program of that name.
    pub fn named(name: &str) -> Option<Program> {
        Program::ALL.into_iter().find(|program| program.name() == name)
    }

    /// Makes its data, then does so many rounds.
    pub fn run(self, rounds: u32) -> u64 {
        match self {
            Program::Hash => hash(rounds),
            Program::Regex => regex(rounds),
            Program::Json => json(rounds),
            Program::Image => image(rounds),
            Program::Sort => sort(rounds),
        }
    }
}

/// Numbers that look random and are always the same: Marsaglia's xorshift.
struct Numbers(u64);

impl Iterator for Numbers {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Some(self.0)
    }
}

fn numbers() -> Numbers {
    Numbers(0x9e37_79b9_7f4a_7c15)
}

fn hash(rounds: u32) -> u64 {
    let mut data: Vec<u8> =
        numbers().take(32 * 1024).flat_map(|number| number.to_le_bytes()).collect();
    for _ in 0..rounds {
        let digest = Sha3_256::digest(&data);
        data[..32].copy_from_slice(&digest);
    }
    fold(&data[..32])
}

fn regex(rounds: u32) -> u64 {
    let mut text = String::new();
    for number in numbers().take(400) {
        let (day, host) = (number % 28 + 1, number >> 32);
        let _ = writeln!(
            text,
            "2026-11-{day:02}T{:02}:00:00Z info request path=/items/{number} from=user{}@host{}.example status=200",
            number % 24,
            host % 97,
            host % 31,
        );
    }
    // Literals, so that they are right or wrong for ever.
    let pattern = r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})T(?P<hour>[0-9]{2})|(?P<name>[a-z0-9]+)@(?P<host>[a-z0-9.]+)";
    let Ok(pattern) = regex::Regex::new(pattern) else { return 0 };
    let mut sum = 0_u64;
    for round in 0..rounds {
        for found in pattern.captures_iter(&text) {
            for group in found.iter().flatten() {
                sum = sum.rotate_left(5) ^ (group.start() as u64 + u64::from(round));
            }
        }
    }
    sum
}

fn json(rounds: u32) -> u64 {
    let items: Vec<serde_json::Value> = numbers()
        .take(500)
        .map(|number| {
            serde_json::json!({
                "id": number,
                "name": format!("item {}", number % 1000),
                "price": (number % 100_000) as f64 / 100.0,
                "tags": ["a", "b\n", "\u{e9}t\u{e9}"],
                "stock": { "count": number % 50, "reserved": null, "open": number % 2 == 0 },
            })
        })
        .collect();
    let mut text = serde_json::Value::from(items).to_string();
    for _ in 0..rounds {
        let Ok(parsed) = serde_json::from_str::<serde_json::Value>(&text) else { return 0 };
        text = parsed.to_string();
    }
    fold(text.as_bytes())
}

const SIDE: usize = 256;
/// Red, green, blue, alpha.
const CHANNELS: usize = 4;

fn image(rounds: u32) -> u64 {
    let mut pixels: Vec<u8> =
        numbers().take(SIDE * SIDE).flat_map(|number| number.to_le_bytes()[..4].to_vec()).collect();
    let mut blurred = pixels.clone();
    for _ in 0..rounds {
        blur(&pixels, &mut blurred);
        std::mem::swap(&mut pixels, &mut blurred);
    }
    fold(&pixels)
}

/// 3 x 3, weights 1 2 1; the border stays as it is.
fn blur(from: &[u8], to: &mut [u8]) {
    const WEIGHTS: [u32; 3] = [1, 2, 1];
    for y in 1..SIDE - 1 {
        for x in 1..SIDE - 1 {
            for channel in 0..CHANNELS {
                let mut sum = 0;
                for (dy, wy) in WEIGHTS.iter().enumerate() {
                    for (dx, wx) in WEIGHTS.iter().enumerate() {
                        let at = ((y + dy - 1) * SIDE + x + dx - 1) * CHANNELS + channel;
                        sum += wy * wx * u32::from(from[at]);
                    }
                }
                // A weighted mean of bytes is a byte.
                to[(y * SIDE + x) * CHANNELS + channel] = (sum / 16).to_le_bytes()[0];
            }
        }
    }
}

fn sort(rounds: u32) -> u64 {
    let mut source = numbers();
    let mut sum = 0_u64;
    for _ in 0..rounds {
        let mut all: Vec<u64> = source.by_ref().take(20_000).collect();
        all.sort_unstable();
        sum = all.iter().step_by(100).fold(sum, |sum, number| sum.rotate_left(5) ^ number);
    }
    sum
}

fn fold(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum: u64, byte| sum.rotate_left(5) ^ u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_does_something_in_every_round() {
        for program in Program::ALL {
            assert_eq!(Program::named(program.name()), Some(program));
            assert_eq!(program.run(2), program.run(2), "{program:?}");
            // Written JSON reads back as itself.
            if program != Program::Json {
                assert_ne!(program.run(1), program.run(2), "{program:?}");
            }
            assert_ne!(program.run(1), 0, "{program:?}");
        }
    }
}
