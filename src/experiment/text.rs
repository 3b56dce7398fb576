//! The ablation on running text: how well each token is predicted, at every position.
//!
//! Facts ask for one answer; a text asks at every token. What an edit does to recall means little beside
//! what it does to any text, so the metrics here are compared with the same draws and
//! the same statistics, with documents in the place of prompts: a document's value is the mean over its tokens.

use serde::{Deserialize, Serialize};

use super::ExperimentError;
use super::effects::{Arms, Effect, adjust};
use super::forecast::Step;
use super::metric::{Metric, TEXT_METRICS, of_text};
use super::outcome::{ConditionRow, PromptSubset};
use super::plan::{AblationPlan, Conditions};
use super::reference::{CleanReference, Units, reference_step, resolve};
use super::run::Run;
use super::score::TokenScore;
use super::stage::{Measure, Measured, Pass, Stage};
use crate::engine::{Asked, Detail, Engine, LogitBlock, Readout, RowScore};
use crate::hooks::{EditCount, HookPoint, Observer, ReadError, SiteRows};
use crate::stats::{Clusters, StatsSettings};
use crate::tokens::{TokenBatch, Window};

/// Units of a run on text.
const STRETCHES: &str = "stretches of text";

/// A position of a text under a condition, as a part keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenRow {
    /// The condition's number.
    pub condition: u32,
    /// Index of the window.
    pub window: u32,
    /// Position in the window from which the next token is predicted, BOS included.
    pub position: u32,
    /// The prediction.
    pub score: TokenScore,
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
    /// The condition.
    pub condition: &'a ConditionRow,
    /// The prediction.
    pub score: TokenScore,
}

/// Takes the rows of a pass as soon as it is done.
pub type TokenSink<'s> = &'s mut dyn FnMut(&[TokenOutcome<'_>]) -> Result<(), ExperimentError>;

/// What an ablation on text gives besides its rows.
pub struct TextAblation {
    conditions: Conditions,
    /// By condition and document.
    means: Vec<Vec<DocumentMean>>,
    /// Predicted tokens.
    pub tokens: usize,
    /// Documents with at least one predicted token.
    pub documents: usize,
    /// Values that the edits of all conditions changed.
    pub changed: EditCount,
    /// By condition.
    edits: Vec<EditCount>,
    /// Where the values of the mode came from, if they came from these texts.
    pub reference: Option<CleanReference>,
    /// How often the layers were walked through.
    pub passes: usize,
}

/// Sums over the tokens of a document, in the order of [`of_text`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct DocumentMean {
    tokens: u64,
    sums: [f64; TEXT_METRICS],
}

impl DocumentMean {
    /// The mean of a metric; metrics of recall have none, and no statistic takes what is not a number.
    fn of(&self, metric: Metric) -> f64 {
        let mut sums = of_text().zip(self.sums);
        let sum = sums.find(|((of, _), _)| **of == metric);
        sum.map_or(f64::NAN, |(_, sum)| sum / self.tokens as f64)
    }

    fn add(&mut self, score: &TokenScore) {
        self.tokens += 1;
        for (sum, (_, of)) in self.sums.iter_mut().zip(of_text()) {
            *sum += of(score);
        }
    }
}

/// Runs the clean model and every condition of the plan on all windows. Rows go to `sink` pass by pass, so
/// that memory does not grow with the text.
///
/// # Errors
/// Those of the engine, of [`Run::measure`] and of `sink`; [`ExperimentError::NoTokens`] where no window has two tokens.
pub fn ablate_text(
    run: &mut Run<'_>,
    engine: &Engine<'_>,
    windows: &[Window],
    plan: &AblationPlan,
    sink: TokenSink<'_>,
) -> Result<TextAblation, ExperimentError> {
    let batch = predicted(windows)?;
    // Too little memory for one edit beside the clean run shows before anything runs.
    engine.tokens_per_pass(&batch, plan.len().min(2))?;
    let resolved = resolve(engine, plan, Units::new(&batch, &batch), run.progress())?;
    let conditions = plan.conditions(&resolved.mode);
    let beside = engine.beside(resolved.bytes);
    let stage = Stage::edited(&beside, (&batch, STRETCHES), &conditions.run);
    let documents = windows.iter().map(|window| window.document + 1);
    let documents = documents.max().unwrap_or(0);
    let mut means = vec![vec![DocumentMean::default(); documents]; conditions.rows.len()];
    let ran = run.measure(&stage, &mut TokenScores, &mut |rows| {
        for rows in rows.chunk_by(|a, b| a.condition == b.condition) {
            let condition = rows[0].condition as usize;
            let planned = conditions.rows.get(condition);
            let planned = planned.ok_or(ExperimentError::OtherRun)?;
            let outcomes = rows.iter().map(|row| outcome(row, planned, windows));
            let outcomes: Option<Vec<_>> = outcomes.collect();
            let outcomes = outcomes.ok_or(ExperimentError::OtherRun)?;
            for outcome in &outcomes {
                means[condition][outcome.document].add(&outcome.score);
            }
            sink(&outcomes)?;
        }
        Ok(())
    })?;
    let ran = ran.complete()?;
    Ok(TextAblation {
        conditions,
        tokens: means[0].iter().map(|mean| mean.tokens as usize).sum(),
        documents: means[0].iter().filter(|mean| mean.tokens > 0).count(),
        means,
        changed: ran.changed(),
        edits: ran.changed,
        reference: resolved.reference,
        passes: resolved.passes + ran.passes,
    })
}

/// The steps of [`ablate_text`].
///
/// # Errors
/// As [`ablate_text`], as far as the plan and the memory tell.
pub fn text_steps(
    engine: &Engine<'_>,
    windows: &[Window],
    plan: &AblationPlan,
) -> Result<Vec<Step>, ExperimentError> {
    let batch = predicted(windows)?;
    engine.tokens_per_pass(&batch, plan.len().min(2))?;
    let reference = reference_step(engine, plan, Units::new(&batch, &batch))?;
    let conditions = plan.conditions(&plan.mode);
    let stage = Stage::edited(engine, (&batch, STRETCHES), &conditions.run);
    let tokens = batch.tokens() / batch.sequences().len();
    let edited = Step::of(&stage, &TokenScores, tokens * size_of::<TokenRow>())?;
    Ok(reference.into_iter().chain([edited]).collect())
}

fn outcome<'a>(
    row: &TokenRow,
    condition: &'a ConditionRow,
    windows: &[Window],
) -> Option<TokenOutcome<'a>> {
    let (window, position) = (windows.get(row.window as usize)?, row.position as usize);
    Some(TokenOutcome {
        document: window.document,
        window: window.number,
        position,
        token: *window.sequence.ids.get(position + 1)?,
        condition,
        score: row.score,
    })
}

/// The windows in which a token is predicted.
///
/// # Errors
/// [`ExperimentError::NoTokens`] where there are none.
pub fn predicted(windows: &[Window]) -> Result<TokenBatch, ExperimentError> {
    let sequences = windows.iter().map(|window| &window.sequence);
    let predicted: Vec<_> = sequences.filter(|s| s.ids.len() > 1).cloned().collect();
    if predicted.is_empty() {
        return Err(ExperimentError::NoTokens);
    }
    Ok(TokenBatch::new(predicted)?)
}

/// Measures [`TokenScore`]s.
struct TokenScores;

impl Measure for TokenScores {
    type Found = Vec<TokenRow>;

    fn measure(&mut self, pass: &Pass<'_>) -> Result<Measured<Vec<TokenRow>>, ExperimentError> {
        let mut scorer = TokenScorer::new(pass);
        let mut scales = Scales::new(pass.conditions.len());
        let edits = pass.run(&mut [&mut scales], Some(&mut scorer))?;
        let places = places(pass.batch);
        let (scorer, scales) = (&scorer, &scales);
        let rows = pass.reported().flat_map(|(at, condition)| {
            let scores = places.iter().zip(&scorer.scores[at]);
            scores.map(move |(place, score)| TokenRow {
                condition: condition as u32,
                window: place.window as u32,
                position: place.position as u32,
                score: TokenScore {
                    log_scale: f64::from(scales.kept[at][place.row]).ln(),
                    ..*score
                },
            })
        });
        let rows = rows.collect();
        Ok(Measured::new(edits, rows))
    }
}

impl TextAblation {
    /// The effects of the plan that was run, over documents, in its order of classes.
    ///
    /// # Errors
    /// Those of the statistics.
    pub fn effects(
        &self,
        plan: &AblationPlan,
        settings: &StatsSettings,
    ) -> Result<Vec<Effect>, ExperimentError> {
        let mut effects = Vec::new();
        for (at, treatment) in plan.treatments.iter().enumerate() {
            for (metric, _) in of_text() {
                for (path, arms) in plan.by_path(at, |at| self.arms(at, *metric)) {
                    let (how, all) = ((plan.mode.to_string(), path), PromptSubset::All);
                    effects.push(arms.effect(treatment, how, *metric, all, settings)?);
                }
            }
        }
        adjust(&mut effects, &Metric::LOSS, PromptSubset::All);
        Ok(effects)
    }

    /// What the edit of the class of number `treatment` changed.
    pub(super) fn changed_by_class(&self, treatment: usize) -> EditCount {
        self.edits[self.conditions.class(treatment)]
    }

    /// A metric's value of every document, arm by arm, of a comparison of the plan by its number.
    pub(super) fn arms(&self, comparison: usize, metric: Metric) -> Arms {
        let values = |condition: usize| -> Vec<f64> {
            let documents = self.means[condition].iter();
            let documents = documents.filter(|mean| mean.tokens > 0);
            documents.map(|mean| mean.of(metric)).collect()
        };
        Arms {
            clean: values(0),
            class: values(self.conditions.class(comparison)),
            draws: self.conditions.draws(comparison).map(values).collect(),
            clusters: Clusters::alone(self.documents),
        }
    }
}

/// A token that is predicted.
pub(super) struct Place {
    /// The row that predicts it.
    pub row: usize,
    /// Its window.
    window: usize,
    /// Position of the row in the window.
    position: usize,
    /// The token.
    pub next: u32,
}

/// Every row of a batch predicts a token but the last of each sequence.
pub(super) fn places(batch: &TokenBatch) -> Vec<Place> {
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
    /// Of each row, about the token that follows.
    asked: Vec<Asked>,
    /// By condition and row.
    scores: Vec<Vec<TokenScore>>,
}

impl TokenScorer {
    fn new(pass: &Pass<'_>) -> Self {
        let places = places(pass.batch);
        Self {
            rows: places.iter().map(|place| place.row).collect(),
            asked: places.iter().map(asked).collect(),
            scores: vec![vec![TokenScore::default(); places.len()]; pass.conditions.len()],
        }
    }
}

impl Readout for TokenScorer {
    fn rows(&self) -> &[usize] {
        &self.rows
    }

    fn read(&mut self, block: &LogitBlock<'_>) -> Result<(), ReadError> {
        let place = block.first..block.first + block.rows();
        let scores = block.scores(&self.asked[place.clone()], None)?;
        let scores: Vec<TokenScore> = scores.iter().map(score).collect();
        for &condition in block.conditions {
            self.scores[condition][place.clone()].copy_from_slice(&scores);
        }
        Ok(())
    }
}

fn asked(place: &Place) -> Asked {
    Asked {
        token: place.next,
        against: None,
        of: Detail::Entropy,
    }
}

fn score(row: &RowScore) -> TokenScore {
    TokenScore {
        loss_nats: -row.logprob,
        entropy_nats: row.entropy_nats,
        rank: row.rank,
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
        let place = Place {
            row: 0,
            window: 0,
            position: 0,
            next: 1,
        };
        let logits = [2f32.ln(), 0.0, 0.0];
        let block = LogitBlock::of_rows(&[0], 0, &logits, 3);
        let score = score(&block.scores(&[asked(&place)], None).unwrap()[0]);
        let ln2 = std::f64::consts::LN_2;
        assert!((score.loss_nats - 2.0 * ln2).abs() < 1e-7);
        assert!((score.entropy_nats - 1.5 * ln2).abs() < 1e-7);
        assert_eq!(score.rank, 2);
    }
}
