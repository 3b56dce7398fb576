//! Which recorded tokens the model has met before in the very same context.
//!
//! A causal model gives a token the same activations wherever the token and all before it are the same: "The capital
//! of" in front of every prompt, or BOS in front of every window, is one event that is read many times. Counts and
//! means take in every token, but a list of the strongest events names each of them once.

use crate::tokens::{Positions, Sequence};

/// Whether an earlier recorded row is the same event: by row, one byte each. `sequences` number their rows in their
/// order, each from its place in `first_rows`.
///
/// Sorted by their ids, sequences that share a beginning stand together, as in a trie that is walked depth first, of
/// which only the present branch is held. Time is that of the sort and of one look at every token; besides what is
/// returned, memory is a word per sequence and two per token of the longest.
pub(super) fn repeated(
    sequences: &[Sequence],
    first_rows: &[u64],
    positions: Positions,
) -> Vec<bool> {
    let rows = first_rows[sequences.len()] as usize;
    let mut repeated = vec![false; rows];
    let mut order: Vec<usize> = (0..sequences.len()).collect();
    order.sort_unstable_by(|a, b| sequences[*a].ids.cmp(&sequences[*b].ids));
    // By position, the first row so far of the event that the sequence before had there.
    let mut branch: Vec<Option<usize>> = Vec::new();
    let mut before: &[u32] = &[];
    for index in order {
        let sequence = &sequences[index];
        branch.truncate(shared(before, &sequence.ids));
        branch.resize(sequence.ids.len(), None);
        let rows = first_rows[index] as usize..;
        for (row, position) in rows.zip(sequence.positions(positions)) {
            let first = &mut branch[position];
            if let Some(held) = *first {
                repeated[held.max(row)] = true;
            }
            *first = Some(first.map_or(row, |held| held.min(row)));
        }
        before = &sequence.ids;
    }
    repeated
}

/// Ids that both begin with.
fn shared(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::ops::Range;

    use super::*;

    fn first_rows(sequences: &[Sequence], positions: Positions) -> Vec<u64> {
        let counts = sequences.iter().map(|s| s.positions(positions).len());
        let mut rows = vec![0];
        rows.extend(counts.scan(0, |sum, count| {
            *sum += count as u64;
            Some(*sum)
        }));
        rows
    }

    /// The repeated rows of prompts, given by ids and subject.
    fn found(prompts: &[(&[u32], Range<usize>)], positions: Positions) -> Vec<usize> {
        let sequences = prompts
            .iter()
            .enumerate()
            .map(|(i, (ids, subject))| Sequence {
                subject: subject.clone(),
                ..Sequence::of_ids(i, ids.to_vec())
            });
        let sequences: Vec<Sequence> = sequences.collect();
        let repeated = repeated(&sequences, &first_rows(&sequences, positions), positions);
        (0..repeated.len()).filter(|row| repeated[*row]).collect()
    }

    #[test]
    fn a_repeated_beginning_counts_once() {
        let prompts: [(&[u32], _); 6] = [
            (&[1, 7, 8, 9], 0..0), // rows 0 to 3: all new
            (&[1, 7, 5], 0..0),    // 4, 5 as in the first; 6 is new
            (&[7, 8], 0..0),       // 7, 8: the same tokens elsewhere are others
            (&[1, 7, 5, 8], 0..0), // 9, 10, 11 as in the second; 12 is new
            (&[1, 7, 8, 9], 0..0), // 13 to 16: all as in the first
            (&[7], 0..0),          // 17 as in the third
        ];
        let expected = [4, 5, 9, 10, 11, 13, 14, 15, 16, 17];
        assert_eq!(found(&prompts, Positions::All), expected);
        assert!(found(&prompts[..1], Positions::All).is_empty());
    }

    #[test]
    fn an_event_that_was_read_but_not_recorded_is_no_repetition() {
        let prompts: [(&[u32], _); 4] = [
            (&[1, 7, 8, 9], 2..3), // subject: row 0, position 2
            (&[1, 7, 8, 9], 1..3), // rows 1 and 2: position 1 is new, 2 as above
            (&[1, 7], 1..2),       // row 3: position 1, as in the second
            (&[1, 7, 8], 1..1),    // no row
        ];
        assert_eq!(found(&prompts, Positions::Subject), [2, 3]);
        // the last tokens 9, 9, 7, 8: the third prompt's was read twice before, and is recorded here alone
        assert_eq!(found(&prompts, Positions::Last), [1]);
        assert_eq!(found(&prompts, Positions::SubjectLast), [1]);
    }

    #[test]
    fn as_a_set_of_all_beginnings_has_it() {
        // few ids, so that beginnings are shared in every way
        let mixed = |i: u32| i.wrapping_mul(2_654_435_761);
        let ids = |i: u32| (0..i % 7 + 1).map(move |k| (mixed(i) >> (5 + 3 * k)) % 3);
        let sequences: Vec<Sequence> = (0..500)
            .map(|i| Sequence::of_ids(i as usize, ids(i).collect()))
            .collect();
        let mut seen = HashSet::new();
        let expected = sequences.iter().flat_map(|s| {
            let beginnings = (1..=s.ids.len()).map(|end| s.ids[..end].to_vec());
            beginnings.map(|ids| !seen.insert(ids)).collect::<Vec<_>>()
        });
        let expected: Vec<bool> = expected.collect();
        assert!(expected.contains(&true) && expected.contains(&false));
        let rows = first_rows(&sequences, Positions::All);
        assert_eq!(repeated(&sequences, &rows, Positions::All), expected);
    }
}
