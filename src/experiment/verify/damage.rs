//! Recall at equal damage: a class that spoils any text spoils recall with it, so the class is edited less, by a
//! factor, until it spoils text as much as its random draws do; what recall loses then is recall's own.

use super::super::ExperimentError;
use super::super::effects::Arms;
use super::super::metric::Metric;
use super::super::run::Run;
use super::against::of;
use super::finding::LEVEL;
use super::needs::{ClaimRuns, Recall, Text};
use super::sets::{Group, Member};
use crate::hooks::Mode;
use crate::stats::contrast;

/// Steps of the bisection: the factor is known to 1/64 after them.
pub(super) const STEPS: usize = 6;

/// The search ends where the losses differ by less than this share of what the whole class costs.
const NEAR: f64 = 0.05;

/// A class that is edited by a factor.
pub(super) struct EqualDamage {
    /// act(gate)·up is multiplied by it; 0 ablates, 1 leaves as it is.
    pub factor: f64,
    /// Loss on the text, nats: clean, at this factor, mean of the draws.
    pub loss: [f64; 3],
    /// Log-probability of the target at this factor, and the draws' at zero ablation.
    pub target: Arms,
}

/// What a search for it gives.
pub(super) enum Matched {
    /// The class costs text no more than its draws do, or not distinguishably more: there is nothing to match.
    NoDamage,
    /// The draws cost nothing, so that an equal damage is none at all. Loss on the text, nats: clean, class, draws.
    NothingToMatch([f64; 3]),
    Found(EqualDamage),
}

/// The factor at which a set costs as much loss as its draws at zero ablation do.
pub(super) fn equal_damage(
    runs: &ClaimRuns<'_>,
    run: &mut Run<'_>,
    member: Member,
    (text, recall): (&Text, &Recall),
) -> Result<Matched, ExperimentError> {
    let measured = text
        .arms(member, Metric::LOSS)
        .zip(recall.arms(member, &Metric::TARGET_LOGPROB));
    let (Some((loss, target)), Some(set)) = (measured, runs.sets.treatment(member)) else {
        return Ok(Matched::NoDamage);
    };
    let (clean, whole, draws) = (of(&loss.clean), of(&loss.class), of(&loss.draws.concat()));
    let excess = contrast(loss.table(), &runs.settings.bootstrap)?;
    if whole <= draws || excess.p.is_none_or(|p| p >= LEVEL) {
        return Ok(Matched::NoDamage);
    }
    if draws <= clean {
        return Ok(Matched::NothingToMatch([clean, whole, draws]));
    }
    let alone = Group::alone(member, set);
    let (mut low, mut high) = (0.0, 1.0);
    let (mut factor, mut at) = (f64::NAN, f64::NAN);
    for _ in 0..STEPS {
        factor = (low + high) / 2.0;
        let scaled = runs.text(run, alone.clone(), Mode::Multiply(factor as f32))?;
        let loss = scaled.and_then(|scaled| scaled.arms(member, Metric::LOSS));
        at = loss.map_or(f64::NAN, |loss| of(&loss.class));
        if (at - draws).abs() < NEAR * (whole - clean).abs() {
            break;
        }
        // The larger the factor, the more of the class is left, and the less text loses.
        if at > draws {
            low = factor
        } else {
            high = factor
        }
    }
    let known = runs.input.facts.subset(&recall.known())?;
    let mode = Mode::Multiply(factor as f32);
    let edited = runs.recall(run, &known, alone, mode)?;
    let class = edited.and_then(|edited| edited.arms(member, &Metric::TARGET_LOGPROB));
    Ok(class.map_or(Matched::NoDamage, |edited| {
        Matched::Found(EqualDamage {
            factor,
            loss: [clean, at, draws],
            target: Arms {
                class: edited.class,
                ..target
            },
        })
    }))
}
