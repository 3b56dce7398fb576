//! `rank`: which neurons of a class carry its effect.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::args::{ClassArgs, ComputeArgs, ModelArg, OutputArgs, as_text};
use super::edit_args::warn_of_values_kept;
use super::effects_table::FEWEST_DRAWS;
use super::inputs::read_prompts;
use super::numbers;
use super::rank_table::{print_curve, print_neurons};
use super::run::{Job, PartArgs};
use super::setup::run_info;
use super::table::count;
use super::terminal::print_json;
use super::treatments::{ConditionArgs, RunInputs};
use crate::engine::Engine;
use crate::experiment::rank::{Evaluation, RankPlan, RankSettings, RankedNeuron, Ranking, rank};
use crate::experiment::{PromptSubset, Treatment};
use crate::io_class::{ClassQuery, MatchedDraws, NeuronTable};
use crate::model::{Checkpoint, Config, Model};
use crate::report::{RunInfo, ranking_parquet};
use crate::tokens::tokenize;

/// Find the neurons of a class that carry its effect on factual recall
///
/// Of every two neighbours among the known prompts (the model's top-1 is the first target token) one, by
/// lot, ranks the neurons, and the other measures the result: another --seed gives other halves, and so other
/// neurons at the top. A ranking picks what looks worst on its
/// own prompts, so measured on these its top would look worse than it is.
///
/// Estimate, for every neuron: the mean over the ranking prompts of |post|·‖w_out‖ at the tokens that the
/// target is scored at (the last of the prompt, and target tokens that are fed in; their mean where there
/// are several). w_out is the column of down_proj as stored. In a model with a norm after the MLP (Gemma 2
/// and 3, OLMo 2) it is multiplied by that norm's gain, but not divided by what the norm divides by: there
/// estimates compare within a layer alone. Residuals grow with depth, and estimates with them.
///
/// Exact effect, for the --top neurons by the estimate: each is ablated alone, on the ranking prompts.
///
/// Curve: the first 1, 2, 4, ... neurons ablated together, by the exact effect, then the others by the
/// estimate, up to the whole class, on the measuring prompts; beside it random orders of the same class.
/// A ranking that finds the neurons that matter falls faster than these.
///
/// An effect is edited minus clean, the mean over prompts of the log-probability of the whole target, nats,
/// with a 95 % bootstrap interval over prompts. With --out: ranking.parquet, curve.json, run.json; the passes
/// that are through are then kept however the run ends, and the same command with --resume goes on.
#[derive(Args, Serialize)]
pub struct Rank {
    #[command(flatten)]
    #[serde(flatten)]
    model: ModelArg,
    /// The class: enrichment, conditional-enrichment, depletion, conditional-depletion,
    /// proportional-change, each also with atypical-, or orthogonal-output; or a union:
    /// any-enrichment, any-depletion, any-proportional-change.
    #[arg(
        id = "query",
        long = "class",
        value_name = "CLASS",
        default_value = "conditional-depletion"
    )]
    #[serde(rename = "class", serialize_with = "as_text")]
    query: ClassQuery,
    /// Instead of a class: a file with one `layer.neuron` a line (# begins a comment).
    #[arg(long, value_name = "FILE", conflicts_with = "query")]
    neurons: Option<PathBuf>,
    /// Neurons that are ablated alone: the first by the estimate. Each costs as much as a class in `ablate`.
    #[arg(long, value_name = "N", default_value = "50", value_parser = numbers::some_shown, allow_negative_numbers = true)]
    top: NonZeroUsize,
    /// Random orders of the class, beside the ranked one.
    #[arg(long, default_value_t = 5, value_parser = numbers::draws, allow_negative_numbers = true)]
    draws: usize,
    /// Rank and measure on the same, all known prompts. The top of the curve is then optimistic: part of
    /// it is chance in these prompts.
    #[arg(long)]
    same_prompts: bool,
    /// Prompts: JSON Lines with id, prompt, subject, target and perhaps relation, or a JSON array
    /// with the fields of known_1000 or CounterFact [default: the bundled facts].
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
    #[command(flatten)]
    #[serde(flatten)]
    conditions: ConditionArgs,
    #[command(flatten)]
    #[serde(flatten)]
    part: PartArgs,
    #[command(flatten)]
    #[serde(flatten)]
    class: ClassArgs,
    #[command(flatten)]
    #[serde(flatten)]
    compute: ComputeArgs,
    #[command(flatten)]
    #[serde(flatten)]
    output: OutputArgs,
}

impl Rank {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let start = Instant::now();
        // Everything that can be wrong is found before a weight is read.
        self.conditions.check(None)?;
        let mut job = Job::claim(&self.output, &self.part, start)?;
        let load_options = self.compute.load_options()?;
        let prompts = read_prompts(self.prompts.as_deref())?;
        let (checkpoint, inputs) = self.conditions.prepare(
            &self.model,
            &self.class,
            self.neurons.as_deref(),
            &load_options,
            prompts,
            tokenize,
        )?;
        self.warn_of_draws();
        job.describe(|| self.info(checkpoint.config(), &inputs))?;

        let table = NeuronTable::classify(&checkpoint, self.class.fold, self.class.threshold)?;
        let (name, plan) = self.plan(&checkpoint, &table, &inputs)?;
        let model = Model::load(checkpoint, load_options)?;
        let engine = Engine::new(&model);
        let found = job.run(&model, |run| rank(run, &engine, &inputs.batch, &plan))?;
        let Some((ranking, wall_s)) = found else {
            return Ok(());
        };
        warn_of_values_kept(&ranking.changed);
        warn_of_unchanged(&ranking, plan.alone());
        let curve = serde_json::to_vec_pretty(&ranking.curve)?;
        let files = vec![
            ("ranking.parquet", ranking_parquet(&ranking.neurons)?),
            ("curve.json", curve),
        ];
        let counts = self.counts(&ranking, &plan, &inputs);
        let written = job.finish(files, counts, wall_s);
        if self.output.json {
            let json = as_json(&ranking, &name, self.evaluation());
            print_json(&json)?;
            return written.say(true);
        }
        self.print(&ranking, &name, model.config(), &inputs);
        written.say(false)
    }

    fn evaluation(&self) -> Evaluation {
        match self.same_prompts {
            true => Evaluation::SamePrompts,
            false => Evaluation::OtherHalf,
        }
    }

    /// The plan, with the name of what is ranked.
    fn plan(
        &self,
        checkpoint: &Checkpoint,
        table: &NeuronTable,
        inputs: &RunInputs,
    ) -> anyhow::Result<(String, RankPlan)> {
        let sets = self.conditions.select(table, inputs, &[self.query])?;
        let names: Vec<String> = sets.iter().map(|(name, _)| name.clone()).collect();
        let treatments = sets.into_iter().map(|(name, set)| {
            let none = MatchedDraws {
                sets: Vec::new(),
                shortfall: Vec::new(),
            };
            Treatment::new(name, set, none)
        });
        let subset = PromptSubset::Known;
        let ablation = self
            .conditions
            .plan(table, inputs, treatments.collect(), subset);
        let settings = RankSettings {
            top: self.top,
            draws: self.draws,
            evaluation: self.evaluation(),
            bootstrap: self.conditions.bootstrap(),
        };
        Ok((
            names.join(", "),
            RankPlan::new(checkpoint, ablation, settings)?,
        ))
    }

    /// `run.json` but for the counts.
    fn info(&self, config: &Config, inputs: &RunInputs) -> anyhow::Result<RunInfo> {
        let settings = serde_json::to_value(self)?;
        let compute = Some(&self.compute);
        let located = &inputs.located;
        let mut info = run_info("rank", settings, located, config, compute, &self.class)?;
        self.conditions.describe(&mut info, inputs)?;
        Ok(info)
    }

    fn counts(&self, ranking: &Ranking, plan: &RankPlan, inputs: &RunInputs) -> serde_json::Value {
        let ids = |prompts: &[usize]| -> Vec<String> {
            let prompts = prompts
                .iter()
                .map(|&prompt| &inputs.prompts.prompts[prompt]);
            prompts.map(|prompt| prompt.id.clone()).collect()
        };
        json!({
            "prompts": ranking.prompts,
            "known": ranking.known,
            "ranked_on": ids(&ranking.ranked_on),
            "measured_on": ids(&ranking.measured_on),
            "evaluation": self.evaluation(),
            "neurons": plan.neurons(),
            "alone": plan.alone(),
            "unchanged_alone": ranking.unchanged,
            "edits": ranking.changed,
            "reference": inputs.reference(ranking.reference),
            "passes": ranking.passes,
        })
    }

    fn warn_of_draws(&self) {
        let draws = self.draws;
        if (1..FEWEST_DRAWS).contains(&draws) {
            notice!(
                "warning: {draws} random orders are few: below {FEWEST_DRAWS} the interval of the difference to them \
                 is absent or too narrow"
            );
        }
    }

    fn print(&self, ranking: &Ranking, name: &str, config: &Config, inputs: &RunInputs) {
        outln!(
            "{}: knows {} of {} facts; {} on {name}, {} neurons, fold {}",
            self.model.model,
            ranking.known,
            ranking.prompts,
            self.conditions.in_words(),
            count(ranking.neurons.len()),
            self.class.fold
        );
        match self.evaluation() {
            Evaluation::OtherHalf => outln!(
                "ranked on {} of the known facts, the curve measured on the other {} (seed {})",
                ranking.ranked_on.len(),
                ranking.measured_on.len(),
                self.conditions.seed
            ),
            Evaluation::SamePrompts => outln!(
                "ranked and measured on the same {} facts: what looks worst there is picked and measured\n\
                 again, so the top of the curve is optimistic",
                ranking.measured_on.len()
            ),
        }
        inputs.print_reference(ranking.reference);
        print_neurons(ranking, config);
        print_curve(ranking, self.draws, self.evaluation());
    }
}

fn warn_of_unchanged(ranking: &Ranking, alone: usize) {
    if ranking.unchanged > 0 {
        notice!(
            "warning: of the {alone} neurons ablated alone, the edit of {} changed no value on any ranking prompt: \
             their effect is exactly 0",
            ranking.unchanged
        );
    }
}

fn as_json(ranking: &Ranking, name: &str, evaluation: Evaluation) -> serde_json::Value {
    let neuron = |ranked: &RankedNeuron| {
        let exact = ranked.exact;
        let interval = exact.and_then(|exact| exact.cost.interval);
        json!({
            "layer": ranked.neuron.layer,
            "neuron": ranked.neuron.index,
            "estimate": ranked.estimate,
            "estimate_rank": ranked.estimate_rank,
            "exact": exact.map(|exact| exact.cost.effect),
            "exact_low": interval.map(|interval| interval.low),
            "exact_high": interval.map(|interval| interval.high),
            "exact_rank": exact.map(|exact| exact.rank),
            "facts_lost": exact.map(|exact| exact.cost.facts_lost),
        })
    };
    let agreement = ranking.agreement.map(|found| {
        json!({"rho": found.rho, "interval": found.interval, "p": found.p, "neurons": found.pairs})
    });
    json!({
        "class": name,
        "evaluation": evaluation,
        "known": ranking.known,
        "ranked_on": ranking.ranked_on.len(),
        "measured_on": ranking.measured_on.len(),
        "ranking": ranking.neurons.iter().map(neuron).collect::<Vec<_>>(),
        "spearman": agreement,
        "curve": ranking.curve,
        "against_random": ranking.against_random,
    })
}
