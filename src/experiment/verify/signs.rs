//! What a sign case of depletion does to entropy, beside the other cases.

use super::super::effects::{Arms, minus};
use super::against::of;

/// The sign cases of gate and post, in reference sign; that of the claim first.
pub(super) const SIGNS: [&str; 4] = ["gate-,post+", "gate-,post-", "gate+,post+", "gate+,post-"];

/// What a sign case of a class does to entropy.
pub(super) struct SignCaseArms {
    pub arms: Arms,
    /// Values of the class that it changed.
    pub changed: u64,
}

/// Which of the other cases a set's own is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Other {
    /// That which adds most.
    Strongest,
    /// That which adds least.
    Weakest,
}

/// Of each set, what the claim's case adds minus what one of its other cases does, by their means over documents. A case that
/// never occurs adds nothing. Absent where no case does.
pub(super) fn beside_others(cases: &[Option<SignCaseArms>], other: Other) -> Option<Arms> {
    let some = &cases.iter().flatten().next()?.arms;
    let added = |case: &Option<SignCaseArms>, set: &dyn Fn(&Arms) -> Vec<f64>| match case {
        Some(case) => minus(&set(&case.arms), &case.arms.clean),
        None => vec![0.0; some.clean.len()],
    };
    let beside = |set: &dyn Fn(&Arms) -> Vec<f64>| -> Option<Vec<f64>> {
        let (own, others) = cases.split_first()?;
        let others = others.iter().map(|case| added(case, set));
        let other = others.reduce(|a, b| {
            let is_more = of(&b) > of(&a);
            if is_more == (other == Other::Strongest) {
                b
            } else {
                a
            }
        });
        Some(minus(&added(own, set), &other?))
    };
    let draws = (0..some.draws.len()).map(|draw| beside(&|arms| arms.draws[draw].clone()));
    Some(Arms {
        clean: vec![0.0; some.clean.len()],
        class: beside(&|arms| arms.class.clone())?,
        draws: draws.collect::<Option<_>>()?,
        clusters: some.clusters.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Clusters;

    /// Two documents of clean entropy 1 and 2; the class, and one draw.
    fn case(class: [f64; 2], draw: [f64; 2]) -> Option<SignCaseArms> {
        let arms = Arms {
            clean: vec![1.0, 2.0],
            class: class.to_vec(),
            draws: vec![draw.to_vec()],
            clusters: Clusters::alone(2),
        };
        Some(SignCaseArms { arms, changed: 1 })
    }

    #[test]
    fn each_set_has_its_own_other_case() {
        let cases = [
            case([4.0, 6.0], [1.0, 2.0]),
            case([2.0, 2.5], [1.0, 1.0]), // adds 1 and .5; 0 and -1
            case([1.0, 2.0], [3.0, 3.0]), // adds nothing; 2 and 1
            None,
        ];
        let strongest = beside_others(&cases, Other::Strongest).unwrap();
        assert_eq!(strongest.class, [2.0, 3.5]);
        assert_eq!(strongest.draws, [[-2.0, -1.0]]);
        assert_eq!(strongest.clean, [0.0, 0.0]);
        let weakest = beside_others(&cases, Other::Weakest).unwrap();
        assert_eq!(weakest.class, [3.0, 4.0]);
        assert_eq!(weakest.draws, [[0.0, 1.0]]);
    }

    #[test]
    fn without_any_case_there_is_nothing() {
        assert!(beside_others(&[None, None, None, None], Other::Weakest).is_none());
    }
}
