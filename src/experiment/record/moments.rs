//! Counts, sums, largest values and second moments of eight neurons side by side.
//!
//! The accumulators of a chunk of rows stay in vector registers while the rows pass, which is what makes the
//! summary cheap beside the matrix products; everything is inlined into the caller, which chooses the instructions.
//! Each lane adds in the order of the rows, so the numbers do not depend on these. Sums run in f64. Second moments are
//! taken about the chunk's own mean and joined by the rule of Chan, Golub and LeVeque 1979 ("Updating Formulae and a
//! Pairwise Algorithm for Computing Sample Variances"), so that nothing cancels.

use serde::{Deserialize, Serialize};

/// Neurons that are worked on together.
pub(super) const LANES: usize = 8;

/// The sign cases, (gate, up): (+, +), (+, -), (-, +), (-, -); strict, raw sign.
pub(super) const CASES: usize = 4;

/// Flips the sign of a float.
const SIGN: u32 = 0x8000_0000;

/// What is known of a sign case: over its rows, by lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Case {
    /// Rows in it.
    pub count: [u64; LANES],
    /// Sum of post.
    pub sum: [f64; LANES],
    /// Largest |post|.
    pub max_abs: [f32; LANES],
}

/// Moments of the neurons of eight lanes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Moments {
    /// Rows with gate > 0.
    pub fired: [u64; LANES],
    /// Mean of post over all rows.
    pub mean: [f64; LANES],
    /// Sum of squared distances to the mean.
    pub squares: [f64; LANES],
    /// The sign cases, in the order of [`CASES`].
    pub cases: [Case; CASES],
}

/// `gate`, `up` and `post` of eight neurons at the rows of a chunk.
#[derive(Default)]
pub(super) struct Chunk {
    pub gate: Vec<[f32; LANES]>,
    pub up: Vec<[f32; LANES]>,
    pub post: Vec<[f32; LANES]>,
}

impl Moments {
    /// Takes in a chunk of rows; `before` rows came before it.
    #[inline(always)]
    pub fn add(&mut self, rows: &Chunk, before: u64) {
        let (gate_plus, fired) = two_cases(rows, 0);
        let (gate_minus, _) = two_cases(rows, SIGN);
        let cases = gate_plus.into_iter().chain(gate_minus);
        for (case, chunk) in self.cases.iter_mut().zip(cases) {
            chunk.add_to(case);
        }
        let (mean, squares) = mean_and_squares(&rows.post);
        self.join_means((&mean, &squares), (before, rows.post.len() as u64));
        for (sum, chunk) in self.fired.iter_mut().zip(fired) {
            *sum += u64::from(chunk);
        }
    }

    /// Largest |post| of a lane over the cases; a row in none of them has a factor 0, and so has its post.
    pub fn max_abs(&self, lane: usize) -> f32 {
        let of_cases = self.cases.iter().map(|case| case.max_abs[lane]);
        of_cases.fold(0.0, f32::max)
    }

    /// Adds the moments of `rows` other rows to those of the `before` that these are of.
    pub fn join(&mut self, other: &Moments, (before, rows): (u64, u64)) {
        if rows == 0 {
            return;
        }
        self.join_means((&other.mean, &other.squares), (before, rows));
        for (sum, other) in self.fired.iter_mut().zip(other.fired) {
            *sum += other;
        }
        for (case, other) in self.cases.iter_mut().zip(&other.cases) {
            for k in 0..LANES {
                case.count[k] += other.count[k];
                case.sum[k] += other.sum[k];
                case.max_abs[k] = case.max_abs[k].max(other.max_abs[k]);
            }
        }
    }

    /// Chan's rule: n rows with mean a and squares A, and m with b and B, have the mean a + (b - a)·m/(n + m) and
    /// the squares A + B + (b - a)²·n·m/(n + m).
    #[inline(always)]
    fn join_means(
        &mut self,
        (mean, squares): (&[f64; LANES], &[f64; LANES]),
        (before, rows): (u64, u64),
    ) {
        let (n, m) = (before as f64, rows as f64);
        for k in 0..LANES {
            let apart = mean[k] - self.mean[k];
            self.mean[k] += apart * (m / (n + m));
            self.squares[k] += squares[k] + apart * apart * (n * m / (n + m));
        }
    }
}

/// One sign case in one chunk. Floats are held as bits: `|post|` compares like an integer.
#[derive(Clone, Copy, Default)]
struct ChunkCase {
    count: [u32; LANES],
    sum: [f64; LANES],
    max_abs: [i32; LANES],
}

impl ChunkCase {
    /// `mask` is all ones where the row is in the case.
    #[inline(always)]
    fn add(&mut self, mask: [u32; LANES], post: [f32; LANES]) {
        for k in 0..LANES {
            let abs = (post[k].to_bits() & mask[k] & !SIGN) as i32;
            self.count[k] = self.count[k].wrapping_sub(mask[k]);
            self.max_abs[k] = if abs > self.max_abs[k] {
                abs
            } else {
                self.max_abs[k]
            };
        }
        for k in 0..LANES {
            self.sum[k] += f64::from(f32::from_bits(post[k].to_bits() & mask[k]));
        }
    }

    #[inline(always)]
    fn add_to(self, case: &mut Case) {
        for k in 0..LANES {
            case.count[k] += u64::from(self.count[k]);
            case.sum[k] += self.sum[k];
            case.max_abs[k] = case.max_abs[k].max(f32::from_bits(self.max_abs[k] as u32));
        }
    }
}

/// The cases up + and up - where gate is positive (`flip` 0) or negative (`flip` [`SIGN`]), and how often it is.
#[inline(always)]
fn two_cases(rows: &Chunk, flip: u32) -> ([ChunkCase; 2], [u32; LANES]) {
    let (mut plus, mut minus) = (ChunkCase::default(), ChunkCase::default());
    let mut count = [0u32; LANES];
    for ((gate, up), post) in rows.gate.iter().zip(&rows.up).zip(&rows.post) {
        let (mut with_plus, mut with_minus) = ([0; LANES], [0; LANES]);
        for k in 0..LANES {
            let gate = mask(f32::from_bits(gate[k].to_bits() ^ flip) > 0.0);
            count[k] = count[k].wrapping_sub(gate);
            with_plus[k] = gate & mask(up[k] > 0.0);
            with_minus[k] = gate & mask(up[k] < 0.0);
        }
        plus.add(with_plus, *post);
        minus.add(with_minus, *post);
    }
    ([plus, minus], count)
}

#[inline(always)]
fn mask(holds: bool) -> u32 {
    0u32.wrapping_sub(u32::from(holds))
}

#[inline(always)]
fn mean_and_squares(post: &[[f32; LANES]]) -> ([f64; LANES], [f64; LANES]) {
    let mut mean = [0.0; LANES];
    for post in post {
        for k in 0..LANES {
            mean[k] += f64::from(post[k]);
        }
    }
    let rows = post.len().max(1) as f64;
    for mean in &mut mean {
        *mean /= rows;
    }
    let mut squares = [0.0; LANES];
    for post in post {
        for k in 0..LANES {
            let apart = f64::from(post[k]) - mean[k];
            squares[k] += apart * apart;
        }
    }
    (mean, squares)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lanes of which the first are as given; the others are 0.
    fn lanes<const N: usize>(rows: [[f32; 4]; N]) -> Vec<[f32; LANES]> {
        let padded = rows.iter().map(|first| {
            let mut lanes = [0.0; LANES];
            lanes[..4].copy_from_slice(first);
            lanes
        });
        padded.collect()
    }

    #[test]
    fn by_hand() {
        // lane 0: the four cases in turn; lane 1: zeros, which are in no case; lanes 2 and 3: one case only
        let gate = |first, second| [first, second, -1.0, 2.0];
        let up = |first, second| [first, second, -1.0, 1.0];
        let post = |first, third| [first, 0.0, third, 1.0];
        let rows = Chunk {
            gate: lanes([
                gate(1.0, 0.0),
                gate(1.0, 1.0),
                gate(-1.0, -0.0),
                gate(-1.0, 0.0),
            ]),
            up: lanes([up(2.0, 1.0), up(-2.0, 0.0), up(2.0, -1.0), up(-2.0, 0.0)]),
            post: lanes([
                post(3.0, 0.5),
                post(-4.0, 1.5),
                post(-0.5, 2.5),
                post(0.25, 3.5),
            ]),
        };
        let mut moments = Moments::default();
        moments.add(&rows, 0);
        assert_eq!(moments.fired[..4], [2, 1, 0, 4]);
        let count = moments.cases.map(|case| case.count);
        assert_eq!(count.map(|count| count[0]), [1, 1, 1, 1]);
        assert_eq!(count.map(|count| count[1]), [0, 0, 0, 0]);
        assert_eq!(count.map(|count| count[2]), [0, 0, 0, 4]);
        assert_eq!(count.map(|count| count[3]), [4, 0, 0, 0]);
        let sums = moments.cases.map(|case| case.sum[0]);
        assert_eq!(sums, [3.0, -4.0, -0.5, 0.25]);
        let max = moments.cases.map(|case| case.max_abs);
        assert_eq!(max[1][..4], [4.0, 0.0, 0.0, 0.0]);
        assert_eq!((max[3][2], max[0][3]), (3.5, 1.0));
        assert_eq!(
            [0, 1, 2, 3].map(|k| moments.max_abs(k)),
            [4.0, 0.0, 3.5, 1.0]
        );
        assert_eq!(moments.mean[..4], [-0.3125, 0.0, 2.0, 1.0]);
        assert_eq!(moments.squares[1..4], [0.0, 5.0, 0.0]);
    }

    #[test]
    fn chunks_join_to_the_whole() {
        let rows = |range: std::ops::Range<u32>| {
            let x = || range.clone().map(|i| f64::from(i).sin() as f32);
            let posts = |x: f32| [1000.0 + x, x, x * x, -x];
            let post = |x| std::array::from_fn(|k| posts(x)[k % 4]);
            Chunk {
                gate: x().map(|x| [x; LANES]).collect(),
                up: x().map(|x| [1.0 - x; LANES]).collect(),
                post: x().map(post).collect(),
            }
        };
        let mut whole = Moments::default();
        whole.add(&rows(0..1000), 0);
        for size in [1, 7, 64, 999] {
            let mut parts = Moments::default();
            for start in (0..1000).step_by(size as usize) {
                parts.add(&rows(start..1000.min(start + size)), u64::from(start));
            }
            assert_eq!(parts.fired, whole.fired);
            for k in 0..LANES {
                let close = |a: f64, b: f64| (a - b).abs() <= 1e-12 * (1.0 + a.abs());
                assert!(close(parts.mean[k], whole.mean[k]), "{size}");
                assert!(
                    close(parts.squares[k], whole.squares[k]),
                    "{size}: {parts:?}"
                );
            }
        }
    }
}
