//! Recall at equal damage: a class that spoils any text spoils recall with it, so the class is edited less, by a
//! factor, until it spoils text as much as its random draws do; what recall loses then is recall's own.

use super::super::ExperimentError;
use super::super::effects::{Arms, Metric};
use super::super::plan::Treatment;
use super::judge::LEVEL;
use super::measure::{Lab, Recall, Text};
use crate::hooks::Mode;
use crate::stats::{contrast, mean};

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

/// The factor at which `set` costs as much loss as its draws at zero ablation do.
pub(super) fn equal_damage(
    lab: &Lab<'_>,
    set: &Treatment,
    text: &Text,
    recall: &Recall,
) -> Result<Matched, ExperimentError> {
    let measured = text
        .of(&set.class, Metric::Loss)
        .zip(recall.target(&set.class));
    let Some((loss, target)) = measured else {
        return Ok(Matched::NoDamage);
    };
    let of = |values: &[f64]| mean(values).unwrap_or(f64::NAN);
    let (clean, whole, draws) = (of(&loss.clean), of(&loss.class), of(&loss.draws.concat()));
    let excess = contrast(&loss.class, &loss.draws, &lab.settings.bootstrap)?;
    if whole <= draws || excess.p.is_none_or(|p| p >= LEVEL) {
        return Ok(Matched::NoDamage);
    }
    if draws <= clean {
        return Ok(Matched::NothingToMatch([clean, whole, draws]));
    }
    let alone = Treatment {
        baseline: Vec::new(),
        ..set.clone()
    };
    let (mut low, mut high) = (0.0, 1.0);
    let mut found = (f64::NAN, f64::NAN);
    for _ in 0..STEPS {
        let factor = (low + high) / 2.0;
        let mode = Mode::Multiply(factor as f32);
        let run = lab.text(vec![alone.clone()], mode)?;
        let loss = run.and_then(|run| run.of(&set.class, Metric::Loss));
        let at = loss.map_or(f64::NAN, |loss| of(&loss.class));
        found = (factor, at);
        if (at - draws).abs() < NEAR * (whole - clean).abs() {
            break;
        }
        // The larger the factor, the more of the class is left, and the less text loses.
        match at > draws {
            true => low = factor,
            false => high = factor,
        }
    }
    let (factor, at) = found;
    let known = lab.input.facts.subset(&recall.known)?;
    let mode = Mode::Multiply(factor as f32);
    let edited = lab.recall_on(&known, vec![alone], mode)?;
    let class = edited.target(&set.class).map(|target| target.class);
    Ok(class.map_or(Matched::NoDamage, |class| {
        Matched::Found(EqualDamage {
            factor,
            loss: [clean, at, draws],
            target: Arms { class, ..target },
        })
    }))
}
