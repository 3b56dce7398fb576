//! Outcomes to estimates: for each class, metric and subset of prompts, the edited model against
//! the clean one and against the matched random draws (DESIGN of the statistics in `stats`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ExperimentError;
use super::outcome::{Arm, Outcome, PromptSubset};
use super::plan::{AblationPlan, Treatment};
use super::score::Score;
use crate::stats::{BootstrapSettings, Interval, bootstrap_mean, contrast, holm_present, mean};

/// A number per prompt whose mean is compared between arms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Log-probability of the whole target, nats.
    TargetLogprob,
    /// Log-probability of the first target token, nats.
    FirstLogprob,
    /// 1 where the first target token is the top-1, else 0.
    Top1,
    /// Entropy at the last prompt token, nats.
    Entropy,
    /// KL divergence from the clean distribution at the last prompt token, nats.
    Kl,
    /// Of text: mean over a document's tokens of minus the log-probability of the next one, nats.
    Loss,
    /// Of text: mean entropy of the predictions, nats.
    TokenEntropy,
    /// Of text: mean rank of the next token.
    Rank,
    /// Of text: mean natural log of what the final norm divides by.
    LogScale,
    /// Share of the tokens that a subject's residual points at which a text about it has, 0 to 1.
    AttributeRate,
}

/// A metric's value in a prompt's score.
type OfScore = fn(&Score) -> f64;

/// The metrics of recall, in the order of `effects.json`.
const RECALL: [(Metric, OfScore); 5] = [
    (Metric::TargetLogprob, |score| score.target_logprob),
    (Metric::FirstLogprob, |score| score.first_logprob),
    (Metric::Top1, |score| {
        f64::from(u8::from(score.first_rank == 1))
    }),
    (Metric::Entropy, |score| score.entropy_nats),
    (Metric::Kl, |score| score.kl_nats),
];

/// Means over the prompts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArmMeans {
    /// The unedited model.
    pub clean: f64,
    /// The class edited.
    pub class: f64,
    /// The mean over the baseline draws; absent without draws.
    pub baseline: Option<f64>,
}

/// One class, mode, metric and subset; an entry of `effects.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// Name of the class or neuron file.
    pub class: String,
    /// The edit's mode.
    pub mode: String,
    /// What is compared.
    pub metric: Metric,
    /// Over which prompts.
    pub subset: PromptSubset,
    /// Number of prompts.
    pub prompts: usize,
    /// Neurons of the class.
    pub neurons: usize,
    /// Neurons of a baseline draw; fewer than `neurons` where the class fills more than half of a layer.
    pub baseline_neurons: usize,
    /// Baseline draws.
    pub draws: usize,
    /// Means per arm.
    pub means: ArmMeans,
    /// The mean of each draw over the prompts, in the order of the draws; empty without draws.
    #[serde(default)]
    pub draw_means: Vec<f64>,
    /// Class minus clean, mean over prompts.
    pub difference_to_clean: f64,
    /// 95 % percentile bootstrap interval over prompts.
    pub clean_ci: Option<Interval>,
    /// Class minus the mean of the draws.
    pub difference_to_baseline: Option<f64>,
    /// 95 % interval, over prompts and draws.
    pub baseline_ci: Option<Interval>,
    /// p of the difference to the baseline, two-sided.
    pub p: Option<f64>,
    /// The same, Holm-adjusted over all tests of the run.
    pub p_adjusted: Option<f64>,
    /// Two-sided permutation p among the draws.
    pub permutation_p: Option<f64>,
    /// The smallest permutation p that this number of draws can give.
    pub permutation_floor: Option<f64>,
    /// Difference to the baseline in units of its spread under the null.
    pub standardised_effect: Option<f64>,
}

impl Effect {
    /// How many top-1 answers the class loses, net of those gained, and the mean draw; of
    /// [`Metric::Top1`].
    pub fn answers_lost(&self) -> (f64, Option<f64>) {
        let lost = |arm: f64| (self.means.clean - arm) * self.prompts as f64;
        (lost(self.means.class), self.means.baseline.map(lost))
    }
}

/// The effects of a plan from its outcomes, in the plan's order of classes.
pub fn effects(
    outcomes: &[Outcome],
    plan: &AblationPlan,
    settings: &BootstrapSettings,
) -> Result<Vec<Effect>, ExperimentError> {
    let subsets: &[PromptSubset] = match plan.subset {
        PromptSubset::Known => &[PromptSubset::Known],
        PromptSubset::All => &[PromptSubset::Known, PromptSubset::All],
    };
    let mut effects = Vec::new();
    for treatment in &plan.treatments {
        for &subset in subsets {
            let Some(paired) = Paired::new(outcomes, treatment, subset) else {
                continue;
            };
            for (metric, of) in RECALL {
                let mode = plan.mode.to_string();
                let arms = paired.arms(of);
                effects.push(arms.effect(treatment, mode, metric, subset, settings)?);
            }
        }
    }
    adjust(&mut effects);
    Ok(effects)
}

/// Adjusts the p of all tests of a run.
pub(super) fn adjust<'e>(effects: impl IntoIterator<Item = &'e mut Effect>) {
    let effects: Vec<&mut Effect> = effects.into_iter().collect();
    let raw: Vec<Option<f64>> = effects.iter().map(|effect| effect.p).collect();
    for (effect, adjusted) in effects.into_iter().zip(holm_present(&raw)) {
        effect.p_adjusted = adjusted;
    }
}

/// The scores of one treatment, prompt by prompt in the same order in every arm.
pub(super) struct Paired<'o> {
    clean: Vec<&'o Score>,
    class: Vec<&'o Score>,
    draws: Vec<Vec<&'o Score>>,
}

impl<'o> Paired<'o> {
    /// `None` where the subset has no prompt.
    pub fn new(
        outcomes: &'o [Outcome],
        treatment: &Treatment,
        subset: PromptSubset,
    ) -> Option<Self> {
        let in_subset = |outcome: &&Outcome| subset == PromptSubset::All || outcome.known;
        let mut class = BTreeMap::new();
        let mut draws = vec![BTreeMap::new(); treatment.baseline.len()];
        for outcome in outcomes
            .iter()
            .filter(in_subset)
            .filter(|o| o.class == treatment.class)
        {
            match outcome.arm {
                Arm::Clean => None,
                Arm::Class => class.insert(outcome.prompt, &outcome.score),
                Arm::Baseline => {
                    draws[outcome.draw as usize].insert(outcome.prompt, &outcome.score)
                }
            };
        }
        let clean = outcomes
            .iter()
            .filter(|outcome| outcome.arm == Arm::Clean && class.contains_key(&outcome.prompt))
            .map(|outcome| (outcome.prompt, &outcome.score))
            .collect::<BTreeMap<_, _>>();
        (!class.is_empty()).then(|| Self {
            clean: clean.into_values().collect(),
            class: class.into_values().collect(),
            draws: draws
                .into_iter()
                .map(|draw| draw.into_values().collect())
                .collect(),
        })
    }

    /// One number of every score.
    pub fn arms(&self, of: OfScore) -> Arms {
        let values = |scores: &Vec<&Score>| scores.iter().map(|score| of(score)).collect();
        Arms {
            clean: values(&self.clean),
            class: values(&self.class),
            draws: self.draws.iter().map(values).collect(),
        }
    }
}

/// A number per unit, prompt or document, in the same order in every arm.
#[derive(Clone, Debug)]
pub(super) struct Arms {
    pub clean: Vec<f64>,
    pub class: Vec<f64>,
    pub draws: Vec<Vec<f64>>,
}

impl Arms {
    /// The comparison of the class with clean and with the draws.
    pub fn effect(
        self,
        treatment: &Treatment,
        mode: String,
        metric: Metric,
        subset: PromptSubset,
        settings: &BootstrapSettings,
    ) -> Result<Effect, ExperimentError> {
        let Arms {
            clean,
            class,
            draws,
        } = self;
        let to_clean: Vec<f64> = class
            .iter()
            .zip(&clean)
            .map(|(class, clean)| class - clean)
            .collect();
        let against_clean = bootstrap_mean(&to_clean, settings);
        let against_draws = (!draws.is_empty())
            .then(|| contrast(&class, &draws, settings))
            .transpose()?;
        let draws_mean = mean(&draws.concat());
        Ok(Effect {
            class: treatment.class.clone(),
            mode,
            metric,
            subset,
            prompts: class.len(),
            neurons: treatment.neurons.len(),
            baseline_neurons: treatment.baseline.first().map_or(0, |set| set.len()),
            draws: draws.len(),
            means: ArmMeans {
                clean: mean(&clean).unwrap_or(f64::NAN),
                class: mean(&class).unwrap_or(f64::NAN),
                baseline: draws_mean,
            },
            draw_means: draws.iter().filter_map(|draw| mean(draw)).collect(),
            difference_to_clean: mean(&to_clean).unwrap_or(f64::NAN),
            clean_ci: against_clean.map(|bootstrap| bootstrap.interval),
            difference_to_baseline: against_draws.as_ref().map(|c| c.estimate),
            baseline_ci: against_draws.as_ref().and_then(|c| c.interval),
            p: against_draws.as_ref().and_then(|c| c.p),
            p_adjusted: None,
            permutation_p: against_draws.as_ref().and_then(|c| c.permutation_p),
            permutation_floor: against_draws.as_ref().map(|c| c.permutation_floor),
            standardised_effect: against_draws.as_ref().and_then(|c| c.standardised),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::{Mode, NeuronSet, SignCase, SignConvention};
    use crate::tokens::Positions;

    fn outcome(
        prompt: usize,
        class: &str,
        arm: Arm,
        draw: u32,
        logprob: f64,
        known: bool,
    ) -> Outcome {
        let score = Score {
            target_logprob: logprob,
            first_logprob: logprob,
            first_rank: if logprob > -2.0 { 1 } else { 2 },
            entropy_nats: 1.0,
            kl_nats: 0.0,
            top_token: 0,
        };
        let (class, mode) = (class.to_string(), String::new());
        Outcome {
            prompt,
            class,
            arm,
            draw,
            mode,
            neurons: 1,
            known,
            score,
        }
    }

    /// Two known prompts and one unknown, a class and two draws; the prompts in another order in each arm.
    fn example() -> (Vec<Outcome>, AblationPlan) {
        let arms = [
            (Arm::Clean, "", 0, [(0, -1.0), (1, -1.5), (2, -9.0)]),
            (Arm::Class, "c", 0, [(1, -3.5), (0, -2.0), (2, -9.5)]),
            (Arm::Baseline, "c", 0, [(0, -1.2), (2, -9.0), (1, -1.7)]),
            (Arm::Baseline, "c", 1, [(2, -9.0), (0, -1.4), (1, -1.7)]),
        ];
        let outcomes = arms.into_iter().flat_map(|(arm, class, draw, values)| {
            values.map(|(prompt, value)| outcome(prompt, class, arm, draw, value, prompt < 2))
        });
        let treatment = Treatment {
            class: "c".to_string(),
            neurons: NeuronSet::empty(1),
            baseline: vec![NeuronSet::empty(1); 2],
            shortfall: vec![],
        };
        let plan = AblationPlan {
            treatments: vec![treatment],
            mode: Mode::Zero,
            positions: Positions::All,
            when: SignCase::default(),
            signs: SignConvention::Raw,
            subset: PromptSubset::All,
            seed: 0,
        };
        (outcomes.collect(), plan)
    }

    #[test]
    fn means_and_differences_by_hand() {
        let (outcomes, plan) = example();
        let effects = effects(&outcomes, &plan, &BootstrapSettings::default()).unwrap();
        assert_eq!(effects.len(), 2 * RECALL.len(), "known and all");
        let close = |found: f64, expected: f64| {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}")
        };
        let known = &effects[0];
        assert_eq!(
            (known.metric, known.subset, known.prompts),
            (Metric::TargetLogprob, PromptSubset::Known, 2)
        );
        close(known.means.clean, -1.25);
        close(known.means.class, -2.75);
        close(known.means.baseline.unwrap(), -1.5);
        assert_eq!(known.draw_means.len(), 2);
        close(known.draw_means[0], -1.45);
        close(known.draw_means[1], -1.55);
        close(known.difference_to_clean, -1.5);
        close(known.difference_to_baseline.unwrap(), -1.25);
        let ci = known.clean_ci.unwrap();
        assert_eq!(
            (ci.low, ci.high),
            (-2.0, -1.0),
            "two prompts: the bootstrap's ends are the pairs themselves"
        );
        // class means 2 top-1 answers lost of 2; the draws lose none
        let top1 = effects
            .iter()
            .find(|e| e.metric == Metric::Top1 && e.subset == PromptSubset::Known)
            .unwrap();
        assert_eq!(top1.answers_lost(), (2.0, Some(0.0)));
        let all = effects
            .iter()
            .find(|e| e.subset == PromptSubset::All)
            .unwrap();
        close(all.means.class, -5.0);
        close(
            all.difference_to_baseline.unwrap(),
            (-1.25 * 2.0 - 0.5) / 3.0,
        );
    }

    #[test]
    fn holm_runs_over_all_tests_of_the_run() {
        let (outcomes, plan) = example();
        let effects = effects(&outcomes, &plan, &BootstrapSettings::default()).unwrap();
        let tested = effects.iter().filter(|e| e.p.is_some()).count() as f64;
        let smallest = effects
            .iter()
            .filter(|e| e.p.is_some())
            .min_by(|a, b| a.p.partial_cmp(&b.p).unwrap())
            .unwrap();
        let expected = (smallest.p.unwrap() * tested).min(1.0);
        assert!((smallest.p_adjusted.unwrap() - expected).abs() < 1e-12);
        for effect in effects.iter().filter(|e| e.p.is_none()) {
            assert!(
                effect.p_adjusted.is_none(),
                "nothing varies there: {effect:?}"
            );
        }
    }
}
