//! The arguments that say what becomes of the neurons, where, and in which sign case.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::args::{as_optional_text, as_text, parse_layers};
use super::numbers;
use crate::experiment::{Corruption, NoiseSettings, PatchDirection};
use crate::hooks::{Mode, Needs, SignCase, SignConvention};
use crate::io_class::{ClassError, Match, NeuronTable};
use crate::tokens::Positions;

/// What is done to the neurons.
#[derive(Args, Serialize)]
pub struct EditArgs {
    /// What becomes of a neuron's activation, post = act(gate)·up. zero: 0. mean: its mean over all
    /// tokens of a reference. mean-sign: its mean over the reference's tokens that have the same
    /// signs of gate and up. resample: its value in another prompt, drawn with --seed, at the same
    /// role (first token, last of the prompt, in the subject counted from its end, any other counted
    /// from the prompt's end). patch: its value in the run that the fact is paired with (--corruption, --direction), at the
    /// same role; a role that this lacks is left alone. fixed=VALUE. multiply=FACTOR. clamp=LIMIT: no larger than that.
    #[arg(long, default_value = "zero", value_name = "MODE")]
    #[serde(serialize_with = "as_text")]
    pub mode: Mode,
    /// A folder that `gatelens record` wrote with the same model and tokenizer. The modes mean and mean-sign
    /// take their means from it [default: the clean pass over all prompts of this run], and random sets that
    /// are matched by layer+frequency the frequencies.
    #[arg(long, value_name = "DIR")]
    pub reference: Option<PathBuf>,
    /// At which tokens: all, not-first (all but the first of the prompt or stretch of text, BOS where there is one,
    /// where a few neurons are a thousand times as strong as elsewhere), subject, subject-last or last (of the prompt).
    #[arg(long, default_value = "all")]
    #[serde(serialize_with = "as_text")]
    pub positions: Positions,
    /// Only where values have these signs: gate+, gate-, up+, up-, post+, post-, or several, such as
    /// gate-,post+. Evaluated on the edited run's own gate and up, before the edit, token by token; a
    /// value of exactly 0 is in no case. post has the sign of gate times up, since SiLU and GELU are
    /// negative where the gate is.
    #[arg(long, value_name = "SIGNS", allow_hyphen_values = true)]
    #[serde(serialize_with = "as_optional_text")]
    when: Option<SignCase>,
    /// How signs are read: as the weights have them (raw), or with up and post times
    /// s = sign(w_gate·w_in) of the neuron (reference; the paper's sign cases are gate and post in
    /// reference sign). s is that of the weights as --fold folds them. It applies to --when and to
    /// the values of fixed and clamp.
    #[arg(long, value_enum, default_value_t = Sign::Raw)]
    sign: Sign,
    /// With --mode patch, what a fact is paired with: its counterfactual, another question with another answer; or (noise) itself
    /// with normal noise on the embeddings of its subject's tokens, so that the model no longer reads who is meant (causal
    /// tracing, Meng et al. 2022). The noise's standard deviation is 3 times that of all numbers in the embeddings of the
    /// subjects' tokens; noise=SCALE takes another multiple [default: counterfactual].
    #[arg(long, value_name = "counterfactual|noise|noise=SCALE")]
    corruption: Option<Corruption>,
    /// With --corruption noise, how many noises each fact is run with, by --seed; every arm has the same ones, and a fact's number is
    /// the mean over them [default: 10].
    #[arg(long, value_name = "N", value_parser = numbers::noise_seeds, allow_negative_numbers = true)]
    noise_seeds: Option<usize>,
    /// With --mode patch, which of a pair is run: the fact, with values of its corrupted run (noise: what is lost?), or the
    /// corrupted run, with values of the fact (denoise: what comes back?) [default: noise; with --corruption noise: denoise].
    #[arg(long, value_name = "noise|denoise")]
    direction: Option<PatchDirection>,
    /// Only neurons of these layers: 3..9 means layers 3 to 8.
    #[arg(long, value_parser = parse_layers, value_name = "A..B", allow_hyphen_values = true)]
    pub layers: Option<Range<usize>>,
}

/// A convention of signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Sign {
    Raw,
    Reference,
}

impl EditArgs {
    /// Refuses settings that would do nothing, and random sets that lack what they are matched by; `matching`:
    /// of the random sets, where there are any; `on_pairs`: whether facts are asked that may have counterfactuals.
    pub fn check(&self, matching: Option<Match>, on_pairs: bool) -> anyhow::Result<()> {
        let patches = self.mode.needs() == Needs::Counterfactuals;
        anyhow::ensure!(
            on_pairs || !patches,
            "--mode patch takes the values of each fact's counterfactual, or of the fact with noise, which `ablate` and `sweep` \
             have on facts alone; use zero, mean or resample here"
        );
        self.check_pairs(patches)?;
        let means = self.mode.needs() == Needs::CleanMeans;
        let frequencies = matching == Some(Match::LayerFrequency);
        let for_sets = match matching {
            Some(_) => ", or --match layer+frequency,",
            None => "",
        };
        anyhow::ensure!(
            self.reference.is_none() || means || frequencies,
            "--reference gives means, and --mode {} takes none; use --mode mean or mean-sign{for_sets} or drop it",
            self.mode
        );
        if frequencies && self.reference.is_none() {
            return Err(ClassError::NeedsFrequency.into());
        }
        let signed = matches!(self.mode, Mode::Fixed(_) | Mode::ClampAbove(_));
        anyhow::ensure!(
            self.sign == Sign::Raw || self.when.is_some() || signed,
            "--sign reference changes nothing with --mode {} and without --when; give a sign case such as \
             --when gate-,post+",
            self.mode
        );
        Ok(())
    }

    /// Refuses settings of patching that would do nothing.
    fn check_pairs(&self, patches: bool) -> anyhow::Result<()> {
        if let (Some(direction), false) = (self.direction, patches) {
            anyhow::bail!(
                "--direction {direction} says what --mode patch runs, and --mode {} runs the prompts as they are; drop it",
                self.mode
            );
        }
        if let (Some(corruption), false) = (self.corruption, patches) {
            anyhow::bail!(
                "--corruption {corruption} says what --mode patch pairs a fact with, and --mode {} takes no values of another run; \
                 use --mode patch, or drop it",
                self.mode
            );
        }
        let has_noise = matches!(self.corruption, Some(Corruption::Noise(_)));
        anyhow::ensure!(
            has_noise || self.noise_seeds.is_none(),
            "--noise-seeds says how many noises each fact is run with, and there is none; use --mode patch --corruption noise, or drop it"
        );
        Ok(())
    }

    /// What a fact is paired with where values are patched.
    pub fn corruption(&self) -> Corruption {
        match (self.corruption.unwrap_or_default(), self.noise_seeds) {
            (Corruption::Noise(settings), Some(seeds)) => {
                Corruption::Noise(NoiseSettings { seeds, ..settings })
            }
            (corruption, _) => corruption,
        }
    }

    /// Which of the two is run.
    pub fn direction(&self) -> PatchDirection {
        let corruption = self.corruption();
        self.direction
            .unwrap_or_else(|| corruption.default_direction())
    }

    /// Whether anything but the default is asked for.
    pub fn is_asked_for(&self) -> bool {
        self.mode != Mode::Zero
            || self.positions != Positions::All
            || self.when.is_some()
            || self.reference.is_some()
            || self.sign != Sign::Raw
            || self.layers.is_some()
    }

    /// The sign case.
    pub fn when(&self) -> SignCase {
        self.when.unwrap_or_default()
    }

    /// The convention of signs, from the neurons' weights.
    pub fn signs(&self, table: &NeuronTable) -> SignConvention {
        match self.sign {
            Sign::Raw => SignConvention::Raw,
            Sign::Reference => SignConvention::Reference(Arc::new(table.signs())),
        }
    }

    /// The edit in a few words, such as `zero ablation at all positions where gate-,post+ (reference sign)`.
    pub fn in_words(&self) -> String {
        let case = match (self.when, self.sign) {
            (Some(case), Sign::Raw) => format!(" where {case} (raw sign)"),
            (Some(case), Sign::Reference) => format!(" where {case} (reference sign)"),
            (None, Sign::Raw) => String::new(),
            (None, Sign::Reference) => " (in reference sign)".to_string(),
        };
        let what = match (&self.mode, self.corruption(), self.direction()) {
            (Mode::Patch(_), Corruption::Counterfactual, PatchDirection::Noise) => {
                "patching from counterfactuals".to_string()
            }
            (Mode::Patch(_), Corruption::Counterfactual, PatchDirection::Denoise) => {
                "patching counterfactuals from facts".to_string()
            }
            (Mode::Patch(_), Corruption::Noise(_), PatchDirection::Noise) => {
                "patching from facts with noise on their subjects".to_string()
            }
            (Mode::Patch(_), Corruption::Noise(_), PatchDirection::Denoise) => {
                "restoring clean values under noise on the subjects,".to_string()
            }
            (mode, ..) => format!("{mode} ablation"),
        };
        format!("{what} at {} positions{case}", self.positions)
    }
}
