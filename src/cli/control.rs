//! Controls: the same experiment where it must show nothing.

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::treatments::TreatmentArgs;
use crate::experiment::PromptSubset;
use crate::hooks::Needs;
use crate::io_class::Match;
use crate::model::RunWeights;

/// Whether this is a control.
#[derive(Args, Serialize)]
pub struct ControlArgs {
    /// Run a control, which must show nothing; if it does show a difference, that comes of the method and not of what the model
    /// has learned. random-weights: the entries of every weight matrix, of embedding and head too, are shuffled in memory
    /// by --seed, and norms and biases stay (after Adebayo et al. 2018, Sanity checks for saliency maps). The model's
    /// files are not changed. Classes and random sets are those of the true weights, so the same neurons are edited. Such
    /// a model knows no fact: with facts, add --subset all.
    #[arg(long, value_enum, value_name = "random-weights")]
    #[serde(skip_serializing_if = "Option::is_none")]
    control: Option<ControlKind>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum ControlKind {
    RandomWeights,
}

/// What a control runs, and what is said of it.
pub struct Control {
    pub weights: RunWeights,
    /// For `run.json`, the page and a person.
    pub what: String,
    /// For an entry of `effects.json`.
    pub name: &'static str,
}

impl ControlArgs {
    /// Refuses what a control cannot do; `facts`: on which of them the edits would run, where facts are asked.
    pub fn check(
        &self,
        facts: Option<PromptSubset>,
        treatments: &TreatmentArgs,
    ) -> anyhow::Result<()> {
        if self.control.is_none() {
            return Ok(());
        }
        anyhow::ensure!(
            facts != Some(PromptSubset::Known),
            "--control random-weights runs a model that knows no fact, and without --subset all the edits run on known facts \
             alone; add --subset all"
        );
        anyhow::ensure!(
            ![Match::LayerContribution, Match::LayerEffect].contains(&treatments.matching),
            "--match {} draws by what the neurons do in the model that runs, and --control random-weights takes the random \
             sets of the true weights; use layer, layer+norm or layer+frequency",
            treatments.matching
        );
        let edit = &treatments.edit;
        anyhow::ensure!(
            edit.reference.is_none() || edit.mode.needs() != Needs::CleanMeans,
            "--reference has means of the true weights, and --control random-weights runs others; drop --reference, and the \
             means are those of this run's own clean pass"
        );
        Ok(())
    }

    /// What is run, where this is a control.
    pub fn control(&self, seed: u64) -> Option<Control> {
        self.control.map(|ControlKind::RandomWeights| Control {
            weights: RunWeights::Shuffled { seed },
            what: format!(
                "random weights: the entries of every weight matrix are shuffled (seed {seed}); classes and random sets are \
                 those of the true weights. Such a run must show nothing and is no result about the model"
            ),
            name: "random-weights",
        })
    }
}
