//! What `ablate`, `sweep` and `attributes` compare: classes that are edited, and random sets of the same kind.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use super::edit_args::EditArgs;
use super::edits::Edits;
use super::effect_text::{EffectText, warn_of_far_draws};
use super::inputs::Texts;
use super::long_command::{LongCommand, merged};
use crate::engine::{Engine, check_gradient_precision};
use crate::experiment::{
    AblationPlan, ExperimentError, FirstPosition, MatchedBy, PromptSubset, Run, Step, Treatment,
};
use crate::io_class::{ClassQuery, Match, Matching, NeuronTable, matched_draws};
use crate::tokens::TokenBatch;

/// Which neurons are edited, how, and what random ones they are compared with.
#[derive(Args, Serialize)]
pub struct TreatmentArgs {
    /// Classes: enrichment, conditional-enrichment, depletion, conditional-depletion,
    /// proportional-change, each also with atypical-, and orthogonal-output; unions: any-enrichment,
    /// any-depletion, any-proportional-change. Strengthening and weakening are accepted for
    /// enrichment and depletion.
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "A,B",
        default_value = "enrichment,conditional-enrichment,depletion,conditional-depletion"
    )]
    classes: Vec<ClassQuery>,
    /// Instead of classes: a file with one `layer.neuron` a line (# begins a comment).
    #[arg(long, value_name = "FILE", conflicts_with = "classes")]
    neurons: Option<PathBuf>,
    #[command(flatten)]
    #[serde(flatten)]
    pub edit: EditArgs,
    /// What the random sets share with the class. layer: the layers. layer+norm: also about the norms of w_out,
    /// each neuron of the class having as its partner one of the tenth of its layer that is nearest to it in the
    /// ranking by norm. layer+frequency: the same by firing frequency, P(gate > 0), of which a recording is
    /// needed: `gatelens record --text neutral --out runs/neutral`, then --reference runs/neutral. Neurons that
    /// fire equally often are ranked by their numbers, with the class's neuron in their middle.
    /// layer+contribution: the same by the mean of |post|·‖w_out‖, which is what a neuron adds to the residual, in a
    /// clean pass over all prompts (or the text) of this run, the first position left out.
    /// layer+effect: the same by the damage, to first order: what setting the neuron's post to 0 at every token (with
    /// --positions not-first at all but the first) changes of a text's mean next-token log-probability (-gradient · post, with
    /// its sign). The text is that of --text, or else the first 4,096 tokens of the bundled one. It needs f32, and takes
    /// several times as long as a pass over that text. Where a class stands at the end of its layers' ranking, no random
    /// set does as much: a warning says so.
    #[arg(
        long = "match",
        default_value = "layer",
        value_name = "layer|layer+norm|layer+frequency|layer+contribution|layer+effect"
    )]
    pub matching: Match,
}

/// Below this many draws the p against the baseline is too small too often (see `stats::contrast`).
pub const FEWEST_DRAWS: usize = 5;

impl TreatmentArgs {
    /// Refuses settings that would do nothing, with so many random sets; `on_pairs`: see [`EditArgs::check`].
    pub fn check(&self, draws: usize, on_pairs: bool) -> anyhow::Result<()> {
        anyhow::ensure!(
            draws > 0 || self.matching == Match::Layer,
            "--match {} changes nothing with --draws 0: there are no random sets; drop it, or draw some",
            self.matching
        );
        self.edit.check(Some(self.matching), on_pairs)
    }

    /// Reads the files that the edit and the random sets need, and refuses a precision in which these cannot be found.
    pub fn read(&self, command: &LongCommand<'_>) -> anyhow::Result<Edits<'_>> {
        if self.matching == Match::LayerEffect {
            check_gradient_precision(command.opened.options.dtype)?;
        }
        let mut edits = command.read_edit(&self.edit, self.neurons.as_deref())?;
        if self.matching == Match::LayerFrequency {
            edits.read_frequencies(command.opened.config())?;
        }
        Ok(edits)
    }

    /// The text that first-order effects are measured on, where random sets are matched by them; `own`: that of the run.
    pub fn effect_text(
        &self,
        command: &LongCommand<'_>,
        own: Option<&Texts>,
    ) -> anyhow::Result<Option<EffectText>> {
        let is_matched = self.matching == Match::LayerEffect;
        let text = is_matched.then(|| EffectText::read(command, own));
        text.transpose()
    }

    /// By what random sets of a table are matched; `text`: where that is by first-order effects.
    pub fn matched_by<'a>(
        &self,
        table: &'a NeuronTable,
        text: Option<&'a EffectText>,
    ) -> MatchedBy<'a> {
        MatchedBy {
            table,
            matching: self.matching,
            text: text.map(|text| &text.batch),
        }
    }

    /// The classes, or the neuron file, with `draws` random sets each, to be run on `subset`, and the table that they
    /// were drawn from. Says what makes a baseline weaker than it should be. What sets that are matched by
    /// contribution or first-order effect hold is known after a pass ([`weigh`]); how large they are, and that there are
    /// any, does not depend on it.
    pub fn plan(
        &self,
        command: &LongCommand<'_>,
        edits: &Edits<'_>,
        draws: usize,
        subset: PromptSubset,
    ) -> anyhow::Result<(AblationPlan, NeuronTable)> {
        let (table, seed) = (command.classify()?, command.args.seed);
        let matching = match self.matching {
            Match::LayerContribution | Match::LayerEffect => Matching::Layer,
            known => known.with(edits.frequencies())?,
        };
        let sets = edits.select(&table, &self.classes)?;
        let treatments = sets.into_iter().map(|(name, set)| {
            let draws = matched_draws(&table, &set, draws, seed, matching)
                .with_context(|| format!("baseline of {name}"))?;
            Ok(Treatment::new(name, set, draws))
        });
        let treatments = treatments.collect::<anyhow::Result<Vec<_>>>()?;
        treatments.iter().for_each(warn_of_baseline);
        Ok((edits.plan(&table, treatments, subset, seed), table))
    }

    /// So many random sets, and what they share with their class.
    pub fn draws_in_words(&self, draws: usize) -> String {
        match draws {
            0 => "0 draws".to_string(),
            draws => format!("{draws} draws matched by {}", self.matching),
        }
    }
}

/// Measures what the plan's neurons write on `batch`, draws its random sets again where these depend on it
/// ([`AblationPlan::weigh`]), and says where they are not like their class. Not in a control: there it would be of the shuffled
/// model's posts and the true weights' outputs.
pub fn weigh(
    command: &LongCommand<'_>,
    plan: &mut AblationPlan,
    run: (&Run<'_>, &Engine<'_>),
    batch: &TokenBatch,
    matched_by: MatchedBy<'_>,
) -> Result<(), ExperimentError> {
    if command.control.is_none() {
        plan.weigh(run, batch, matched_by)?;
        warn_of_far_draws(plan);
    }
    Ok(())
}

/// What that takes.
pub fn weigh_steps(
    command: &LongCommand<'_>,
    plan: &AblationPlan,
    engine: &Engine<'_>,
    batch: &TokenBatch,
    matched_by: MatchedBy<'_>,
) -> Result<Vec<Step>, ExperimentError> {
    match command.control {
        Some(_) => Ok(Vec::new()),
        None => plan.weigh_steps(engine, batch, matched_by),
    }
}

/// How many neurons the classes have, and which of their baselines have fewer, for `run.json`.
pub fn counts(treatments: &[Treatment]) -> Value {
    let neurons = treatments.iter().map(|t| (&t.class, t.neurons.len()));
    let shortfall = treatments.iter().map(|t| (&t.class, &t.shortfall));
    json!({
        "neurons": neurons.collect::<BTreeMap<_, _>>(),
        "shortfall": shortfall.collect::<BTreeMap<_, _>>(),
    })
}

/// Over what was measured what neurons write, and which sets hold first-position neurons, for `run.json`.
pub fn contributions_json(plan: &AblationPlan) -> Value {
    let mut written = plan.treatments.iter().filter_map(|t| t.written.as_ref());
    let held = first_positions(plan).into_iter().map(|(class, found)| {
        let FirstPosition {
            neuron,
            in_class,
            draws,
        } = found;
        json!({"class": class, "neuron": neuron.to_string(), "in_class": in_class, "draws": draws})
    });
    let held: Vec<Value> = held.collect();
    let over = written.next().map(|written| json!(written.over));
    json!(over.map(|over| merged(over, json!({"first_position": held}))))
}

/// The first-position neurons that classes or their draws hold, each once a class: windows of a sweep have the same
/// draws.
pub fn first_positions(plan: &AblationPlan) -> Vec<(&str, FirstPosition)> {
    let mut all: Vec<(&str, FirstPosition)> = Vec::new();
    for treatment in &plan.treatments {
        let found = treatment
            .written
            .iter()
            .flat_map(|written| &written.first_position);
        let named = found.map(|found| (treatment.class.as_str(), *found));
        for found in named {
            if !all.contains(&found) {
                all.push(found);
            }
        }
    }
    all
}

fn warn_of_baseline(treatment: &Treatment) {
    for shortfall in &treatment.shortfall {
        notice!("warning: {}: {shortfall}", treatment.class);
    }
    let draws = treatment.baseline.len();
    if (1..FEWEST_DRAWS).contains(&draws) {
        notice!(
            "warning: {}: {draws} draws are few: below {FEWEST_DRAWS} the interval and p against the baseline are \
             absent or too optimistic",
            treatment.class
        );
    }
}
