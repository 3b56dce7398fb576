//! Which conditions run together, where there are many.
//!
//! The residual streams of all conditions of a run are in memory at once, so many conditions leave room
//! for few tokens in a pass, and short passes are slow: their matrix products have few rows. Conditions
//! may therefore run in groups. Neighbours stay together; a sweep has its conditions in the order of
//! their first edited layers, so a group goes on sharing what comes before its first edit. What each
//! group computes again is the clean condition.

use std::iter::successors;
use std::ops::Range;

use crate::engine::{Engine, EngineError};
use crate::hooks::Condition;
use crate::tokens::TokenBatch;

/// A pass costs, besides its tokens, as much as so many tokens. On two cores, 31 conditions of
/// SmolLM2-135M on 1174 tokens took 1.0, 1.3, 1.6 and 2.2 times as long in 3, 5, 11 and 22 passes as in
/// one; this number gives 1.1, 1.2, 1.6 and 2.1.
const PASS_TOKENS: u64 = 64;

/// Tokens of a pass, where memory has room for more. A pass is what is lost when a run is stopped; each product packs the
/// weights once a pass. Ablating a class on 5,786 tokens took 26.2, 23.0, 21.5 and 21.6 s with 512, 1024, 2048 and 4096.
const LONGEST_PASS: usize = 2048;

/// How many tokens a pass of `conditions` conditions may have.
///
/// # Errors
/// [`EngineError::Memory`] where not even the longest prompt fits.
pub(super) fn tokens_per_pass(
    engine: &Engine<'_>,
    batch: &TokenBatch,
    conditions: usize,
) -> Result<usize, EngineError> {
    let fit = engine.tokens_per_pass(batch, conditions)?;
    Ok(fit.min(LONGEST_PASS.max(batch.longest())))
}

/// The conditions of each group, condition 0 (the clean one) among them, so that all groups together
/// cost least.
///
/// # Errors
/// [`EngineError::Memory`] where not even one edited condition fits beside the clean one.
pub(super) fn groups(
    engine: &Engine<'_>,
    batch: &TokenBatch,
    conditions: &[Condition],
) -> Result<Vec<Vec<usize>>, EngineError> {
    cheapest(conditions.len() - 1, |members| {
        let per_pass = tokens_per_pass(engine, batch, members.len())?;
        let passes = batch.tokens().div_ceil(per_pass) as u64;
        let members: Vec<_> = members.iter().map(|&c| conditions[c].clone()).collect();
        Ok(engine.work_units(&members) * (batch.tokens() as u64 + PASS_TOKENS * passes))
    })
}

/// Tries groups of all conditions, of half of them, of a quarter and so on.
fn cheapest(
    edited: usize,
    cost: impl Fn(&[usize]) -> Result<u64, EngineError>,
) -> Result<Vec<Vec<usize>>, EngineError> {
    let halves = successors(Some(edited.max(1)), |size| {
        (*size > 1).then(|| size.div_ceil(2))
    });
    let mut best: Option<(u64, Vec<Vec<usize>>)> = None;
    let mut too_large = None;
    for size in halves {
        let groups = in_groups(edited, size);
        match groups.iter().map(|members| cost(members)).sum() {
            Ok(cost) if best.as_ref().is_none_or(|(least, _)| cost < *least) => {
                best = Some((cost, groups));
            }
            Ok(_) => {}
            Err(error) => too_large = Some(error),
        }
    }
    match (best, too_large) {
        (Some((_, groups)), _) => Ok(groups),
        (None, Some(error)) => Err(error),
        (None, None) => Ok(vec![vec![0]]),
    }
}

/// Conditions 1 to `edited` in runs of at most `size`, as equal as can be, each with condition 0.
fn in_groups(edited: usize, size: usize) -> Vec<Vec<usize>> {
    let groups = edited.div_ceil(size).max(1);
    let start = |group: usize| 1 + edited * group / groups;
    let range = |group| -> Range<usize> { start(group)..start(group + 1) };
    (0..groups)
        .map(|group| std::iter::once(0).chain(range(group)).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKENS: usize = 1000;

    /// Every condition costs alike; memory for `room` tokens times conditions.
    fn grouped(edited: usize, room: usize) -> Vec<Vec<usize>> {
        let cost = |members: &[usize]| {
            let passes = TOKENS.div_ceil(room / members.len()) as u64;
            Ok(members.len() as u64 * (TOKENS as u64 + PASS_TOKENS * passes))
        };
        cheapest(edited, cost).unwrap()
    }

    #[test]
    fn every_condition_is_in_one_group_and_the_clean_one_in_all() {
        for (edited, size) in [(0, 1), (1, 1), (7, 3), (8, 4), (9, 100)] {
            let groups = in_groups(edited, size);
            assert!(groups.iter().all(|g| g[0] == 0 && g.len() <= 1 + size));
            let all: Vec<usize> = groups.iter().flat_map(|g| g[1..].to_vec()).collect();
            assert!(all.into_iter().eq(1..=edited));
        }
    }

    #[test]
    fn few_conditions_stay_together_and_many_are_parted() {
        assert_eq!(grouped(0, 5000), [[0]]);
        assert_eq!(grouped(20, 100_000).len(), 1);
        let groups = grouped(720, 100_000);
        assert!((4..20).contains(&groups.len()), "{}", groups.len());
    }

    #[test]
    fn what_does_not_fit_together_is_parted_and_what_never_fits_is_an_error() {
        let fits = |most: usize| {
            move |members: &[usize]| {
                if members.len() <= most {
                    Ok(members.len() as u64)
                } else {
                    Err(EngineError::Memory {
                        tokens: 1,
                        conditions: members.len(),
                        needed_mib: 1,
                    })
                }
            }
        };
        assert_eq!(cheapest(8, fits(9)).unwrap().len(), 1);
        assert_eq!(cheapest(8, fits(5)).unwrap().len(), 2);
        let error = cheapest(8, fits(1)).unwrap_err();
        assert!(matches!(error, EngineError::Memory { conditions: 2, .. }));
    }
}
