//! `rank`: which neurons of a class carry its effect.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::args::ModelArg;
use super::edit_args::EditArgs;
use super::edits::Edits;
use super::inputs::read_prompts;
use super::long_command::{LongCommand, RunArgs};
use super::numbers;
use super::rank_table::{print_curve, print_first_order, print_neurons};
use super::reference::warn_of_values_kept;
use super::table::count;
use super::treatments::FEWEST_DRAWS;
use crate::engine::check_gradient_precision;
use crate::experiment::rank::{
    Evaluation, RankBy, RankPlan, RankSettings, Ranking, rank, rank_steps,
};
use crate::experiment::{MatchedBy, PromptSubset, Treatment};
use crate::io_class::{ClassQuery, Match, Matching, NeuronTable, matched_draws};
use crate::report::rows::RankingRow;
use crate::report::{RunInfo, ranking_parquet};
use crate::tokens::tokenize;

/// Find the neurons of a class that carry its effect on factual recall
///
/// Of every two neighbours among the known prompts (the model's top-1 is the first target token) one, by
/// lot, ranks the neurons, and the other measures the result: another --seed gives other halves, and so other
/// neurons at the top. A ranking picks what looks worst on its
/// own prompts, so measured on these its top would look worse than it is.
///
/// Estimate (--by), for every neuron, on the ranking prompts. output: the mean of |post|·‖w_out‖ at the tokens that the
/// target is scored at (the last of the prompt, and target tokens that are fed in; their mean where there
/// are several). w_out is the column of down_proj as stored. In a model with a norm after the MLP (Gemma 2
/// and 3, OLMo 2) it is multiplied by that norm's gain, but not divided by what the norm divides by: there
/// such estimates compare within a layer alone. Residuals grow with depth, and these estimates with them.
/// gradient: what the neuron's edit changes of the target's log-probability to first order, the gradient with respect to
/// post times the change of post, summed over tokens (attribution patching); nats. direct: the same for what goes straight
/// to the final norm, whose scale is kept (direct logit attribution). integrated: gradient, as the mean over --steps places between the
/// edited values of the whole class and the plain ones (integrated gradients). These need f32; of the first two the sum over
/// the class stands beside those of 99 random sets (--match).
///
/// Exact effect, for the --top neurons by the estimate: each is ablated alone, on the ranking prompts.
///
/// Curve: the first 1, 2, 4, ... neurons ablated together, by the exact effect, then the others by the
/// estimate, up to the whole class, on the measuring prompts; beside it the order of the estimate alone, and random orders
/// of the same class. A ranking that finds the neurons that matter falls faster than these.
///
/// An effect is edited minus clean, the mean over prompts of the log-probability of the whole target, nats,
/// with a 95 % statistics interval over prompts. With --out: ranking.parquet, curve.json, run.json; the passes
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
    #[serde(rename = "class")]
    query: ClassQuery,
    /// Instead of a class: a file with one `layer.neuron` a line (# begins a comment).
    #[arg(long, value_name = "FILE", conflicts_with = "query")]
    neurons: Option<PathBuf>,
    /// Neurons that are ablated alone: the first by the estimate. Each costs as much as a class in `ablate`.
    #[arg(long, value_name = "N", default_value = "50", value_parser = numbers::some_shown, allow_negative_numbers = true)]
    top: NonZeroUsize,
    /// The estimate that orders neurons before any is ablated.
    #[arg(
        long,
        default_value = "output",
        value_name = "output|direct|gradient|integrated"
    )]
    by: RankBy,
    /// Gradients that --by integrated takes on the way [default: 8].
    #[arg(long, value_name = "N", value_parser = numbers::some_shown, allow_negative_numbers = true)]
    steps: Option<NonZeroUsize>,
    /// What the 99 random sets share with the class that stand beside the sum of --by direct and gradient: layer,
    /// layer+norm or layer+contribution, as in `gatelens ablate`.
    #[arg(
        long = "match",
        default_value = "layer",
        value_name = "layer|layer+norm|layer+contribution"
    )]
    matching: Match,
    /// Random orders of the class, beside the ranked one.
    #[arg(long, default_value_t = 5, value_parser = numbers::draws, allow_negative_numbers = true)]
    draws: usize,
    /// Rank and measure on the same, all known prompts. The top of the curve is then optimistic: part of
    /// it is chance in these prompts.
    #[arg(long)]
    same_prompts: bool,
    /// Prompts: JSON Lines with id, prompt, subject, target and perhaps relation, or a JSON array
    /// with the fields of known_1000 or CounterFact, or counterfact-tracing, LRE (a file or a folder), PopQA, T-REx or
    /// ParaRel as they are published, also as Parquet [default: the bundled facts].
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
    #[command(flatten)]
    #[serde(flatten)]
    edit: EditArgs,
    #[command(flatten)]
    #[serde(flatten)]
    run: RunArgs,
}

/// Gradients on the way, where nobody says how many.
const STEPS: NonZeroUsize = NonZeroUsize::new(8).unwrap();

/// Random sets of the class's layers that its first-order effect is compared with.
const SETS: usize = 99;

impl Rank {
    pub(super) fn run(self) -> anyhow::Result<()> {
        // Everything that can be wrong is found before a weight is read.
        self.edit.check(None, false)?;
        anyhow::ensure!(
            self.by != RankBy::Integrated || self.edit.when().is_any(),
            "--by integrated moves all values of the class together, and --when leaves some as they are; drop one of the two"
        );
        anyhow::ensure!(
            self.by == RankBy::Integrated || self.steps.is_none(),
            "--steps is about --by integrated, and --by {} takes one gradient or none; drop it",
            self.by
        );
        self.check_matching()?;
        let set = read_prompts(self.prompts.as_deref())?;
        let mut command = LongCommand::open("rank", &self.model, &self.run)?;
        if self.by != RankBy::Output {
            check_gradient_precision(command.opened.options.dtype)?;
        }
        let edits = command.read_edit(&self.edit, self.neurons.as_deref())?;
        let batch = command.batch(tokenize, &set)?;
        self.warn_of_draws();
        command.describe(&self, Some(&set), Vec::new())?;

        let (name, mut plan, table) = self.plan(&command, &edits)?;
        let matched_by = MatchedBy {
            table: &table,
            matching: self.matching,
            text: None,
        };
        let model = command.load(&batch, |engine| {
            let weighed = plan.weigh_steps(engine, &batch, matched_by)?;
            Ok([weighed, rank_steps(engine, &batch, &plan)?].concat())
        })?;
        let Some(model) = model else {
            return Ok(());
        };
        let found = command.run(&model, |run, engine| {
            plan.weigh((run, engine), &batch, matched_by)?;
            rank(run, engine, &batch, &plan)
        })?;
        let Some(ranking) = found else {
            return Ok(());
        };
        warn_of_values_kept(&ranking.changed);
        warn_of_unchanged(&ranking, plan.alone());
        let ids = |prompts: &[usize]| -> Vec<String> {
            let prompts = prompts.iter().map(|&prompt| &set.prompts[prompt]);
            prompts.map(|prompt| prompt.id.clone()).collect()
        };
        let counts = json!({
            "prompts": ranking.prompts,
            "known": ranking.known,
            "ranked_on": ids(&ranking.ranked_on),
            "measured_on": ids(&ranking.measured_on),
            "evaluation": self.evaluation(),
            "neurons": plan.neurons(),
            "alone": plan.alone(),
            "unchanged_alone": ranking.unchanged,
            "edits": ranking.changed,
            "reference": edits.reference_json(ranking.reference),
            "passes": ranking.passes,
        });
        let files = |_: &RunInfo| {
            let ranking_table = ranking_parquet(&ranking.neurons)?;
            let curve = serde_json::to_vec_pretty(&ranking.curve)?;
            Ok(vec![
                ("ranking.parquet", ranking_table),
                ("curve.json", curve),
            ])
        };
        let json = self.as_json(&ranking, &name);
        command.finish(counts, files, &json, || {
            self.print_heading(&ranking, &name);
            edits.print_references(ranking.reference);
            print_neurons(&ranking, command.opened.config(), self.by);
            print_first_order(&ranking, self.matching);
            print_curve(&ranking, self.draws, self.evaluation());
        })
    }

    fn evaluation(&self) -> Evaluation {
        if self.same_prompts {
            Evaluation::SamePrompts
        } else {
            Evaluation::OtherHalf
        }
    }

    /// Random sets beside the sum of the estimates. What neurons write has no sum to compare, and the way to the edited values is
    /// the class's own.
    fn sets(&self) -> usize {
        match self.by {
            RankBy::Direct | RankBy::Gradient => SETS,
            RankBy::Output | RankBy::Integrated => 0,
        }
    }

    fn check_matching(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.matching == Match::Layer || self.sets() > 0,
            "--match {} is about the random sets beside --by direct and gradient, and --by {} has none; drop it",
            self.matching,
            self.by
        );
        let accepted = [Match::Layer, Match::LayerNorm, Match::LayerContribution];
        anyhow::ensure!(
            accepted.contains(&self.matching),
            "--match {} needs a recording or a text, which `rank` does not take; use layer, layer+norm or layer+contribution",
            self.matching
        );
        Ok(())
    }

    /// The plan, with the name of what is ranked and the table that it is from.
    fn plan(
        &self,
        command: &LongCommand<'_>,
        edits: &Edits<'_>,
    ) -> anyhow::Result<(String, RankPlan, NeuronTable)> {
        let table = command.classify()?;
        let sets = edits.select(&table, &[self.query])?;
        let names: Vec<String> = sets.iter().map(|(name, _)| name.clone()).collect();
        let matching = match self.matching {
            Match::LayerContribution => Matching::Layer, // drawn again when that is known
            known => known.with(None)?,
        };
        let treatments = sets.into_iter().map(|(name, set)| {
            let draws = matched_draws(&table, &set, self.sets(), self.run.seed, matching)
                .with_context(|| format!("random sets beside {name}"))?;
            Ok(Treatment::new(name, set, draws))
        });
        let treatments = treatments.collect::<anyhow::Result<_>>()?;
        let ablation = edits.plan(&table, treatments, PromptSubset::Known, self.run.seed);
        let settings = RankSettings {
            top: self.top,
            by: self.by,
            steps: self.steps.unwrap_or(STEPS),
            draws: self.draws,
            evaluation: self.evaluation(),
            statistics: self.run.statistics(),
        };
        let plan = RankPlan::new(&command.opened.checkpoint, ablation, settings)?;
        Ok((names.join(", "), plan, table))
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

    fn print_heading(&self, ranking: &Ranking, name: &str) {
        outln!(
            "{}: knows {} of {} facts; {} on {name}, {} neurons, fold {}",
            self.model.model,
            ranking.known,
            ranking.prompts,
            self.edit.in_words(),
            count(ranking.neurons.len()),
            self.run.class.fold
        );
        match self.evaluation() {
            Evaluation::OtherHalf => outln!(
                "ranked on {} of the known facts, the curve measured on the other {} (seed {})",
                ranking.ranked_on.len(),
                ranking.measured_on.len(),
                self.run.seed
            ),
            Evaluation::SamePrompts => outln!(
                "ranked and measured on the same {} facts: what looks worst there is picked and measured\n\
                 again, so the top of the curve is optimistic",
                ranking.measured_on.len()
            ),
        }
    }

    fn as_json(&self, ranking: &Ranking, name: &str) -> serde_json::Value {
        let neurons = ranking.neurons.iter().map(RankingRow::from);
        let agreement = ranking.agreement.map(|found| {
            json!({"rho": found.rho, "interval": found.interval, "p": found.p, "neurons": found.pairs})
        });
        json!({
            "class": name,
            "by": self.by,
            "evaluation": self.evaluation(),
            "known": ranking.known,
            "ranked_on": ranking.ranked_on.len(),
            "measured_on": ranking.measured_on.len(),
            "ranking": neurons.collect::<Vec<_>>(),
            "spearman": agreement,
            "first_order": ranking.first_order,
            "curve": ranking.curve,
            "against_random": ranking.against_random,
        })
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
