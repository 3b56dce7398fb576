//! The claim about the way: how much of what known answers lose without conditional enrichment goes by later layers.
//!
//! A class that enriches the subject early should do little to the logits by itself. That is said of the class alone, so that no
//! random set enters the test; theirs stand beside it.

use super::super::ExperimentError;
use super::super::ablate::ablate;
use super::super::effects::Arms;
use super::super::metric::Metric;
use super::super::outcome::PromptSubset;
use super::super::plan::AblationPlan;
use super::super::run::Run;
use super::against::{Against, DRAWS, against_clean, against_draws, no_class, of};
use super::few::Few;
use super::finding::{Direction, Finding, Objection};
use super::needs::{ClaimRuns, Need};
use super::results::Results;
use super::sets::{DECIDING, Member};
use super::variants::{Variant, Varied, there, with_variants};
use super::verdict::Verdict;
use crate::hooks::Path;

/// In other ways; random sets do not enter.
const VARIANTS: [Variant; 3] = [Variant::Mean, Variant::Resample, Variant::NotFirst];

impl ClaimRuns<'_> {
    /// The indirect effect of conditional enrichment minus the direct one, in other ways.
    pub fn indirect_varied(
        &self,
        run: &mut Run<'_>,
        few: &Few,
    ) -> Result<Vec<Varied>, ExperimentError> {
        let of_facts = VARIANTS.map(|variant| (variant, few.facts.as_ref()));
        let in_other_words = (Variant::OtherWords, few.in_other_words.as_ref());
        let variants = there(of_facts.into_iter().chain([in_other_words]));
        let treatment = self.sets.treatment(Member::class(DECIDING));
        let alone = treatment.map(|treatment| treatment.alone());
        let plan = AblationPlan {
            paths: vec![Path::Total, Path::Direct],
            ..self.plan(alone.into_iter().collect())
        };
        self.plan_varied(run, (plan, "facts"), &variants, &mut |run, batch, plan| {
            let found = ablate(run, self.engine, batch, plan)?;
            let arms = |path| found.arms(path, PromptSubset::All, &Metric::TARGET_LOGPROB);
            Ok(indirect_minus_direct(&arms(0), &arms(1)))
        })
    }
}

/// (total - direct) - direct, each a change from clean: below 0 where a loss is indirect for more than its half.
fn indirect_minus_direct(total: &Arms, direct: &Arms) -> Arms {
    total.minus(direct).minus(&direct.changes())
}

/// Indirect and direct effect of conditional enrichment on known answers.
pub(super) fn enrichment_indirect(results: &Results<'_>) -> Result<Vec<Finding>, ExperimentError> {
    let quantity = format!(
        "log-probability of known answers without {DECIDING}: indirect effect minus direct effect, nats"
    );
    let member = Member::class(DECIDING);
    let by = |path| {
        let recall = results.recall.as_ref()?;
        recall.by(path, member, &Metric::TARGET_LOGPROB)
    };
    let (Some(total), Some(direct)) = (by(Path::Total), by(Path::Direct)) else {
        return Ok(vec![
            no_class(DECIDING, &quantity, Direction::Lower).primary(),
        ]);
    };
    let settings = &results.settings.statistics;
    let beyond = indirect_minus_direct(&total, &direct);
    let why = format!(
        "class: {}; draws: {}",
        shares(&total, &direct, |arms| of(&arms.class)),
        shares(&total, &direct, |arms| of(&arms.draws.concat()))
    );
    let blank = Finding::missing(&quantity, Direction::Lower, "0: both alike", why);
    let mut deciding = against_clean(&beyond, blank, settings).primary();
    let lost = against_clean(
        &total,
        Finding::missing("", Direction::Lower, "", String::new()),
        settings,
    );
    if !lost.is_clearly(Direction::Lower) {
        let objection = |of| Objection {
            of,
            instead: Verdict::NotTestable,
            why: "known answers lose nothing clear that could be divided".to_string(),
        };
        let verdicts = [
            Verdict::Supported,
            Verdict::Contradicted,
            Verdict::NotDistinguishable,
        ];
        deciding.objections.extend(verdicts.map(objection));
    }
    let varied = (results.varied.of(Need::Direct), Against::Clean);
    let mut findings = with_variants(deciding, varied, settings)?;
    let beside_draws = Finding::missing(&quantity, Direction::Lower, DRAWS, String::new());
    findings.push(against_draws(&beyond, beside_draws, settings)?);
    Ok(findings)
}

/// Total and direct change, and the share of the total that is indirect; no share of what is no loss.
fn shares(total: &Arms, direct: &Arms, mean: impl Fn(&Arms) -> f64) -> String {
    let [total, direct] = [total, direct].map(|arms| mean(&arms.changes()));
    let share = if total < 0.0 {
        format!(" ({:.0} % indirect)", 100.0 * (total - direct) / total)
    } else {
        String::new()
    };
    format!("total {total:+.3}, direct {direct:+.3}{share}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Clusters;

    #[test]
    fn the_halves_by_hand() {
        let arms = |class: [f64; 2], draw: [f64; 2]| Arms {
            clean: vec![-1.0, -2.0],
            class: class.to_vec(),
            draws: vec![draw.to_vec()],
            clusters: Clusters::alone(2),
        };
        // Total changes -4 and -2, direct ones -1 and -2: (-3) - (-1) and 0 - (-2).
        let (total, direct) = (
            arms([-5.0, -4.0], [-1.5, -2.0]),
            arms([-2.0, -4.0], [-1.0, -2.0]),
        );
        let found = indirect_minus_direct(&total, &direct);
        assert_eq!(found.clean, [0.0, 0.0]);
        assert_eq!(found.class, [-2.0, 2.0]);
        assert_eq!(found.draws, [[-0.5, 0.0]]);
        let words = shares(&total, &direct, |arms| of(&arms.class));
        assert_eq!(words, "total -3.000, direct -1.500 (50 % indirect)");
        let none = shares(&direct, &total, |arms| of(&arms.clean));
        assert_eq!(none, "total +0.000, direct +0.000");
    }
}
