//! The ablation on running text: how well each token is predicted, at every position.
//!
//! Facts ask for one answer; a text asks at every token. What an edit does to recall means little beside
//! what it does to any text (PAPER 3, text metrics), so the metrics here are compared with the same draws and
//! the same statistics, with documents in the place of prompts: a document's value is the mean over its tokens.

use rayon::prelude::*;

use super::ExperimentError;
use super::effects::{Arms, Effect, Metric, adjust};
use super::outcome::{Arm, PromptSubset};
use super::passes::{InVain, PassPart, PassWork, Passes, Ran, Whole};
use super::plan::{AblationPlan, PlannedCondition, Treatment};
use super::reference::{CleanReference, Prepared, prepare};
use super::score::{entropy, log_sum_exp};
use super::store::PassStore;
use crate::engine::{Engine, LogitBlock, Progress, Readout};
use crate::hooks::{Condition, EditCount, HookPoint, Observer, ReadError, SiteRows};
use crate::stats::BootstrapSettings;
use crate::tokens::{TokenBatch, Window};

/// How the model predicts one token of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TokenScore {
    /// Minus the log-probability of the token that follows, nats.
    pub loss_nats: f64,
    /// Entropy of the prediction, nats.
    pub entropy_nats: f64,
    /// Rank of the token that follows, 1 is best.
    pub rank: u32,
    /// Natural log of what the final norm divides the residual by.
    pub log_scale: f64,
}

/// A row of `outcomes_text.parquet`: one position under one condition.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenOutcome<'a> {
    /// The document, counted over all files.
    pub document: usize,
    /// The window of the document.
    pub window: usize,
    /// Position in the window from which the next token is predicted, BOS included.
    pub position: usize,
    /// The token that follows.
    pub token: u32,
    /// Name of the class or neuron file, empty for clean.
    pub class: &'a str,
    /// The arm.
    pub arm: Arm,
    /// The baseline draw.
    pub draw: u32,
    /// The edit's mode, empty for clean.
    pub mode: &'a str,
    /// Edited neurons.
    pub neurons: u32,
    /// The prediction.
    pub score: TokenScore,
}

/// Takes the rows of a pass as soon as it is done.
pub type TokenSink<'s> = &'s mut dyn FnMut(&[TokenOutcome<'_>]) -> Result<(), ExperimentError>;

/// What an ablation on text gives besides its rows.
pub struct TextAblation {
    means: Means,
    /// Predicted tokens.
    pub tokens: usize,
    /// Documents with at least one predicted token.
    pub documents: usize,
    /// Values that the edits of all conditions changed.
    pub changed: EditCount,
    /// Where the values of the mode came from, if they came from these texts.
    pub reference: Option<CleanReference>,
    /// How often the layers were walked through.
    pub passes: usize,
}

/// Sums over the tokens of a document.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct DocumentMean {
    tokens: u64,
    sums: [f64; 4],
}

/// The metrics in the order of [`DocumentMean::sums`].
const METRICS: [Metric; 4] = [
    Metric::Loss,
    Metric::TokenEntropy,
    Metric::Rank,
    Metric::LogScale,
];

impl DocumentMean {
    /// The mean of a metric; metrics of recall have none, and no statistic takes what is not a number.
    fn of(&self, metric: Metric) -> f64 {
        let sum = METRICS.iter().zip(self.sums).find(|(of, _)| **of == metric);
        sum.map_or(f64::NAN, |(_, sum)| sum / self.tokens as f64)
    }

    fn add(&mut self, score: &TokenScore) {
        let TokenScore {
            loss_nats,
            entropy_nats,
            rank,
            log_scale,
        } = *score;
        self.tokens += 1;
        let values = [loss_nats, entropy_nats, f64::from(rank), log_scale];
        self.sums
            .iter_mut()
            .zip(values)
            .for_each(|(sum, value)| *sum += value);
    }
}

/// Runs the clean model and every condition of the plan on all windows. Rows go to `sink` pass by pass, so
/// that memory does not grow with the text. What each pass gave is kept in `store`, if there is one; with what a run
/// left there that was ended, the same call goes on.
///
/// # Errors
/// Those of the engine, of `store` and of `sink`; [`ExperimentError::NoTokens`] where no window has two tokens;
/// [`ExperimentError::StoppedAfter`] where `progress` asked for it; [`ExperimentError::OtherState`] for what another run
/// left.
pub fn ablate_text(
    engine: &Engine<'_>,
    windows: &[Window],
    plan: &AblationPlan,
    store: Option<&mut dyn PassStore>,
    progress: &dyn Progress,
    sink: TokenSink<'_>,
) -> Result<TextAblation, ExperimentError> {
    let batch = predicted(windows)?;
    // Too little memory for one edit beside the clean run shows before anything runs.
    engine.tokens_per_pass(&batch, plan.len().min(2))?;
    let Prepared {
        planned,
        engine,
        reference,
        passes: for_values,
    } = prepare(engine, plan, &batch, "text, clean", progress)?;
    let conditions: Vec<Condition> = planned.iter().map(|p| p.condition.clone()).collect();
    let whole = Whole {
        engine: &engine,
        batch: &batch,
        conditions: &conditions,
        in_vain: InVain::Refused,
        unit: "stretches of text",
        progress,
    };
    let mut nowhere = ();
    let store = store.unwrap_or(&mut nowhere);
    let mut passes = Passes::stored_or_plan(&whole, store)?;
    let mut work = TextWork {
        engine: &engine,
        progress,
        planned: &planned,
        windows,
        means: Means::new(windows, planned.len()),
        sink,
    };
    passes.work(&whole, store, &mut work)?;
    passes.check_finished()?;
    let means = work.means;
    Ok(TextAblation {
        tokens: means.0[0].iter().map(|mean| mean.tokens as usize).sum(),
        documents: means.0[0].iter().filter(|mean| mean.tokens > 0).count(),
        means,
        changed: passes.changed(),
        reference,
        passes: for_values + passes.len(),
    })
}

/// Scores the tokens of texts.
struct TextWork<'w> {
    engine: &'w Engine<'w>,
    progress: &'w dyn Progress,
    planned: &'w [PlannedCondition],
    windows: &'w [Window],
    means: Means,
    sink: TokenSink<'w>,
}

impl PassWork for TextWork<'_> {
    /// Reported condition by condition, in each the places of the pass.
    type Score = TokenScore;

    fn scores(&self, part: &PassPart<'_>) -> usize {
        reported(part).len() * places(part.batch).len()
    }

    fn run(&mut self, part: &PassPart<'_>) -> Result<Ran<TokenScore>, ExperimentError> {
        let mut scorer = TokenScorer::new(part);
        let mut scales = Scales::new(part.conditions.len());
        let observers: &mut [&mut dyn Observer] = &mut [&mut scales];
        let readout = Some(&mut scorer as &mut dyn Readout);
        let (batch, conditions) = (part.batch, part.conditions);
        let changed = self
            .engine
            .run(batch, conditions, observers, readout, self.progress)?;
        let (scorer, scales) = (&scorer, &scales);
        let scores = reported(part).into_iter().flat_map(|(place, _)| {
            let scores = scorer.rows.iter().zip(&scorer.scores[place]);
            scores.map(move |(row, score)| TokenScore {
                log_scale: f64::from(scales.kept[place][*row]).ln(),
                ..*score
            })
        });
        Ok((changed, scores.collect()))
    }

    fn take(
        &mut self,
        part: &PassPart<'_>,
        scores: Vec<TokenScore>,
    ) -> Result<(), ExperimentError> {
        let places = places(part.batch);
        if places.is_empty() {
            return Ok(());
        }
        for ((_, condition), scores) in reported(part).into_iter().zip(scores.chunks(places.len()))
        {
            let planned = &self.planned[condition];
            let rows = places
                .iter()
                .zip(scores)
                .map(|(place, score)| TokenOutcome {
                    document: self.windows[place.window].document,
                    window: self.windows[place.window].number,
                    position: place.position,
                    token: place.next,
                    class: &planned.class,
                    arm: planned.arm,
                    draw: planned.draw,
                    mode: &planned.mode,
                    neurons: planned.neurons,
                    score: *score,
                });
            let rows: Vec<_> = rows.collect();
            let scores = rows.iter().map(|row| (row.document, row.score));
            self.means.add(condition, scores);
            (self.sink)(&rows)?;
        }
        Ok(())
    }
}

/// The windows in which a token is predicted.
fn predicted(windows: &[Window]) -> Result<TokenBatch, ExperimentError> {
    let sequences = windows.iter().map(|window| &window.sequence);
    let predicted: Vec<_> = sequences.filter(|s| s.ids.len() > 1).cloned().collect();
    if predicted.is_empty() {
        return Err(ExperimentError::NoTokens);
    }
    Ok(TokenBatch::new(predicted)?)
}

/// The conditions of a pass that have rows, with their place in the pass. The clean condition is in every group of
/// conditions; its rows are those of the first.
fn reported(part: &PassPart<'_>) -> Vec<(usize, usize)> {
    let is_first_group = part.members.get(1).is_none_or(|condition| *condition == 1);
    let members = part.members.iter().copied().enumerate();
    members
        .filter(|(_, condition)| *condition > 0 || is_first_group)
        .collect()
}

/// By condition and document; the clean condition first, then the plan's order.
struct Means(Vec<Vec<DocumentMean>>);

impl Means {
    fn new(windows: &[Window], conditions: usize) -> Self {
        let documents = windows.iter().map(|window| window.document + 1);
        let documents = documents.max().unwrap_or(0);
        Self(vec![vec![DocumentMean::default(); documents]; conditions])
    }

    fn add(&mut self, condition: usize, rows: impl Iterator<Item = (usize, TokenScore)>) {
        for (document, score) in rows {
            self.0[condition][document].add(&score);
        }
    }
}

/// The effects of a plan on text, over documents, in the plan's order of classes.
///
/// # Errors
/// Those of the statistics.
pub fn text_effects(
    ablation: &TextAblation,
    plan: &AblationPlan,
    settings: &BootstrapSettings,
) -> Result<Vec<Effect>, ExperimentError> {
    let mut effects = Vec::new();
    for (at, treatment) in plan.treatments.iter().enumerate() {
        for metric in METRICS {
            let arms = ablation.arms_of(&plan.treatments, at, metric);
            let mode = plan.mode.to_string();
            effects.push(arms.effect(treatment, mode, metric, PromptSubset::All, settings)?);
        }
    }
    adjust(&mut effects);
    Ok(effects)
}

impl TextAblation {
    /// A metric's value of every document, arm by arm, of number `at` of the plan's treatments.
    pub(super) fn arms_of(&self, treatments: &[Treatment], at: usize, metric: Metric) -> Arms {
        // The treatment's class comes behind the clean condition and the treatments before, its draws behind it.
        let before = treatments[..at].iter().map(|t| 1 + t.baseline.len());
        let class = 1 + before.sum::<usize>();
        let values = |condition: usize| -> Vec<f64> {
            let documents = self.means.0[condition]
                .iter()
                .filter(|mean| mean.tokens > 0);
            documents.map(|mean| mean.of(metric)).collect()
        };
        let draws = class + 1..class + 1 + treatments[at].baseline.len();
        Arms {
            clean: values(0),
            class: values(class),
            draws: draws.map(values).collect(),
        }
    }
}

/// A token that is predicted.
struct Place {
    /// The row that predicts it.
    row: usize,
    /// Its window.
    window: usize,
    /// Position of the row in the window.
    position: usize,
    /// The token.
    next: u32,
}

/// Every row of a batch predicts a token but the last of each sequence.
fn places(batch: &TokenBatch) -> Vec<Place> {
    let sequences = batch.sequences().iter().enumerate();
    let places = sequences.flat_map(|(i, sequence)| {
        let next = sequence.ids.iter().skip(1).enumerate();
        next.map(move |(position, next)| Place {
            row: batch.first_row(i) + position,
            window: sequence.prompt,
            position,
            next: *next,
        })
    });
    places.collect()
}

/// Scores the places of a batch.
struct TokenScorer {
    rows: Vec<usize>,
    /// Of each row, the token that follows.
    next: Vec<u32>,
    /// By condition and row.
    scores: Vec<Vec<TokenScore>>,
}

impl TokenScorer {
    fn new(part: &PassPart<'_>) -> Self {
        let places = places(part.batch);
        Self {
            rows: places.iter().map(|place| place.row).collect(),
            next: places.iter().map(|place| place.next).collect(),
            scores: vec![vec![TokenScore::default(); places.len()]; part.conditions.len()],
        }
    }
}

impl Readout for TokenScorer {
    fn rows(&self) -> &[usize] {
        &self.rows
    }

    fn read(&mut self, block: &LogitBlock<'_>) -> Result<(), ReadError> {
        let rows = block.logits.par_chunks_exact(block.vocab_size);
        let scores: Vec<TokenScore> = rows
            .zip(&self.next[block.first..])
            .map(|(logits, next)| score(logits, *next))
            .collect();
        for &condition in block.conditions {
            let place = block.first..block.first + scores.len();
            self.scores[condition][place].copy_from_slice(&scores);
        }
        Ok(())
    }
}

fn score(logits: &[f32], next: u32) -> TokenScore {
    let log_z = log_sum_exp(logits);
    let logit = logits[next as usize];
    let better = logits.iter().filter(|other| **other > logit).count();
    TokenScore {
        loss_nats: log_z - f64::from(logit),
        entropy_nats: entropy(logits, log_z),
        rank: better as u32 + 1,
        log_scale: f64::NAN,
    }
}

/// Keeps the final norm's scale of every row under every condition.
struct Scales {
    kept: Vec<Vec<f32>>,
}

impl Scales {
    fn new(conditions: usize) -> Self {
        let kept = vec![Vec::new(); conditions];
        Self { kept }
    }
}

impl Observer for Scales {
    fn wants(&self, point: HookPoint) -> bool {
        point == HookPoint::FINAL_SCALE
    }

    fn observe(&mut self, seen: &SiteRows<'_>) -> Result<(), ReadError> {
        for &condition in seen.conditions {
            self.kept[condition] = seen.rows.to_vec();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_by_hand() {
        // p = (1/2, 1/4, 1/4)
        let score = score(&[2f32.ln(), 0.0, 0.0], 1);
        let ln2 = std::f64::consts::LN_2;
        assert!((score.loss_nats - 2.0 * ln2).abs() < 1e-7);
        assert!((score.entropy_nats - 1.5 * ln2).abs() < 1e-7);
        assert_eq!(score.rank, 2);
    }
}
