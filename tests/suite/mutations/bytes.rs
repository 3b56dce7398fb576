//! Other bytes for a file, from a seed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::memory::peak;

/// Beyond twice a file's size.
const ROOM: u64 = 64 << 20;

/// The longest that a case takes: these files are read in milliseconds, and other tests run beside.
const SLOWEST: Duration = Duration::from_secs(5);

/// Numbers that lengths, counts and places break at.
const EXTREMES: [u64; 8] = [
    0,
    1,
    u8::MAX as u64,
    u16::MAX as u64,
    u32::MAX as u64,
    i64::MAX as u64,
    u64::MAX - 31,
    u64::MAX,
];

/// Text that JSON, tables and terminals break at.
const WORDS: [&str; 14] = [
    "null",
    "-1",
    "1e999",
    "\"\"",
    "{}",
    "[]",
    "[[[[[[[[",
    "\u{feff}",
    "\u{1b}[2J",
    "\u{202e}",
    "18446744073709551616",
    ",",
    "\r",
    "\u{0}",
];

/// `bytes` changed somewhere in `range`, in one to three steps.
pub fn mutated(bytes: &[u8], range: std::ops::Range<usize>, rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut new = bytes.to_vec();
    for _ in 0..rng.random_range(1..=3) {
        let end = range.end.min(new.len());
        if end <= range.start {
            break;
        }
        let at = rng.random_range(range.start..end);
        let length = rng.random_range(1..=16.min(end - at));
        match rng.random_range(0..9) {
            0 => new[at] ^= 1 << rng.random_range(0..8),
            1 => new[at] = rng.random(),
            2 => new.truncate(at),
            3 => drop(new.drain(at..at + length)),
            4 => drop(new.splice(at..at, vec![rng.random(); length])),
            5 => {
                let extreme = EXTREMES[rng.random_range(0..EXTREMES.len())].to_le_bytes();
                let width = [1, 2, 4, 8][rng.random_range(0..4)].min(end - at);
                new[at..at + width].copy_from_slice(&extreme[..width]);
            }
            6 => {
                let word = WORDS[rng.random_range(0..WORDS.len())].bytes();
                new.splice(at..at + length, word);
            }
            7 => {
                // A piece twice.
                let piece = new[at..at + length].to_vec();
                new.splice(at..at, piece);
            }
            _ => {
                let other = rng.random_range(range.start..end);
                new.swap(at, other);
            }
        }
    }
    new
}

/// Calls `check` with `cases` changed versions of `bytes`, each written to `path`; a panic or too much memory fails with
/// the case's number.
pub fn each(
    path: &Path,
    bytes: &[u8],
    range: std::ops::Range<usize>,
    cases: u64,
    mut check: impl FnMut(&[u8]),
) {
    for case in 0..cases {
        let mut rng = ChaCha8Rng::seed_from_u64(case);
        let new = mutated(bytes, range.clone(), &mut rng);
        std::fs::write(path, &new).unwrap();
        let label = format!("case {case} of {}", path.display());
        checked(&label, new.len(), || check(&new));
    }
    std::fs::write(path, bytes).unwrap();
}

/// Does a case's work: no panic, not too much memory for a file of `length` bytes, no end that does not come.
pub fn checked(label: &str, length: usize, work: impl FnOnce()) {
    let started = Instant::now();
    let (done, bytes) = peak(|| catch_unwind(AssertUnwindSafe(work)));
    let took = started.elapsed();
    assert!(done.is_ok(), "{label}");
    let allowed = 2 * length as u64 + ROOM;
    assert!(
        bytes <= allowed,
        "{label}: {bytes} bytes, {allowed} allowed"
    );
    assert!(took < SLOWEST, "{label}: {took:?}");
}

/// An error that is of this file says so.
pub fn names(error: &str, path: &Path) {
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(error.contains(name), "{error} does not name {name}");
}
