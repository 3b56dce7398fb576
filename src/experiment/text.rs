//! The ablation on running text: how well each token is predicted, at every position.
//!
//! Facts ask for one answer; a text asks at every token. What an edit does to recall means little beside
//! what it does to any text (PAPER 3, text metrics), so the metrics here are compared with the same draws and
//! the same statistics, with documents in the place of prompts: a document's value is the mean over its tokens.

use rayon::prelude::*;

use super::ExperimentError;
use super::effects::{Arms, Effect, Metric, adjust};
use super::outcome::{Arm, PromptSubset};
use super::plan::{AblationPlan, PlannedCondition, Treatment};
use super::reference::{CleanReference, Prepared, prepare};
use super::score::{entropy, log_sum_exp};
use crate::engine::{Engine, LogitBlock, Progress, Readout, check_edits};
use crate::hooks::{Condition, EditCount, HookPoint, Observer, SiteRows};
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
    /// By condition and document; the clean condition first, then the plan's order.
    means: Vec<Vec<DocumentMean>>,
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
/// that memory does not grow with the text.
///
/// # Errors
/// Those of the engine and of `sink`; [`ExperimentError::NoTokens`] where no window has two tokens.
pub fn ablate_text(
    engine: &Engine<'_>,
    windows: &[Window],
    plan: &AblationPlan,
    progress: &dyn Progress,
    sink: TokenSink<'_>,
) -> Result<TextAblation, ExperimentError> {
    let with_target = windows
        .iter()
        .filter(|window| window.sequence.ids.len() > 1);
    let sequences: Vec<_> = with_target.map(|window| window.sequence.clone()).collect();
    if sequences.is_empty() {
        return Err(ExperimentError::NoTokens);
    }
    let batch = TokenBatch::new(sequences)?;
    engine.tokens_per_pass(&batch, plan.len())?; // too little memory shows before anything runs
    let Prepared {
        planned,
        engine,
        reference,
        passes,
    } = prepare(engine, plan, &batch, "text, clean", progress)?;
    let conditions: Vec<Condition> = planned.iter().map(|p| p.condition.clone()).collect();
    let parts = batch.split(engine.tokens_per_pass(&batch, conditions.len())?)?;
    let what = format!(
        "{} tokens of text, {} conditions",
        batch.tokens(),
        conditions.len()
    );
    progress.start(&what, parts.len() as u64 * engine.work_units(&conditions));

    let documents = windows
        .iter()
        .map(|window| window.document + 1)
        .max()
        .unwrap_or(0);
    let mut means = vec![vec![DocumentMean::default(); documents]; planned.len()];
    let mut counts = vec![EditCount::default(); planned.len()];
    for part in &parts {
        let mut scorer = TokenScorer::new(part, planned.len());
        let mut scales = Scales::new(planned.len());
        let observers: &mut [&mut dyn Observer] = &mut [&mut scales];
        let of_part = engine.run(part, &conditions, observers, Some(&mut scorer), progress)?;
        counts
            .iter_mut()
            .zip(of_part)
            .for_each(|(sum, count)| *sum += count);
        for (condition, planned) in planned.iter().enumerate() {
            let rows = scorer.outcomes(condition, planned, &scales.kept[condition], windows);
            for row in &rows {
                means[condition][row.document].add(&row.score);
            }
            sink(&rows)?;
        }
    }
    check_edits(&conditions, &counts)?;
    let mut changed = EditCount::default();
    counts.into_iter().for_each(|count| changed += count);
    Ok(TextAblation {
        tokens: means[0].iter().map(|mean| mean.tokens as usize).sum(),
        documents: means[0].iter().filter(|mean| mean.tokens > 0).count(),
        means,
        changed,
        reference,
        passes: passes + parts.len(),
    })
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
    let mut first = 1; // the treatment's class; its draws follow
    for treatment in &plan.treatments {
        for (place, metric) in METRICS.into_iter().enumerate() {
            let arms = ablation.arms(treatment, first, place);
            let mode = plan.mode.to_string();
            effects.push(arms.effect(treatment, mode, metric, PromptSubset::All, settings)?);
        }
        first += 1 + treatment.baseline.len();
    }
    adjust(&mut effects);
    Ok(effects)
}

impl TextAblation {
    /// A metric's value of every document, arm by arm.
    fn arms(&self, treatment: &Treatment, class: usize, place: usize) -> Arms {
        let values = |condition: usize| -> Vec<f64> {
            let documents = self.means[condition].iter().filter(|mean| mean.tokens > 0);
            documents
                .map(|mean| mean.sums[place] / mean.tokens as f64)
                .collect()
        };
        let draws = class + 1..class + 1 + treatment.baseline.len();
        Arms {
            clean: values(0),
            class: values(class),
            draws: draws.map(values).collect(),
        }
    }
}

/// Scores every row of a batch but the last of each sequence.
struct TokenScorer {
    rows: Vec<usize>,
    /// For each row: its sequence's prompt number, its position, the token that follows.
    places: Vec<(usize, usize, u32)>,
    /// By condition and row.
    scores: Vec<Vec<TokenScore>>,
}

impl TokenScorer {
    fn new(batch: &TokenBatch, conditions: usize) -> Self {
        let (mut rows, mut places) = (Vec::new(), Vec::new());
        for (i, sequence) in batch.sequences().iter().enumerate() {
            for (position, next) in sequence.ids.iter().skip(1).enumerate() {
                rows.push(batch.first_row(i) + position);
                places.push((sequence.prompt, position, *next));
            }
        }
        let scores = vec![vec![TokenScore::default(); rows.len()]; conditions];
        Self {
            rows,
            places,
            scores,
        }
    }

    fn outcomes<'a>(
        &self,
        condition: usize,
        planned: &'a PlannedCondition,
        scales: &[f32],
        windows: &[Window],
    ) -> Vec<TokenOutcome<'a>> {
        let rows = self
            .rows
            .iter()
            .zip(&self.places)
            .zip(&self.scores[condition]);
        rows.map(|((row, (prompt, position, token)), score)| TokenOutcome {
            document: windows[*prompt].document,
            window: windows[*prompt].number,
            position: *position,
            token: *token,
            class: &planned.class,
            arm: planned.arm,
            draw: planned.draw,
            mode: &planned.mode,
            neurons: planned.neurons,
            score: TokenScore {
                log_scale: f64::from(scales[*row]).ln(),
                ..*score
            },
        })
        .collect()
    }
}

impl Readout for TokenScorer {
    fn rows(&self) -> &[usize] {
        &self.rows
    }

    fn read(&mut self, block: &LogitBlock<'_>) {
        let rows = block.logits.par_chunks_exact(block.vocab_size);
        let scores: Vec<TokenScore> = rows
            .zip(&self.places[block.first..])
            .map(|(logits, (_, _, next))| score(logits, *next))
            .collect();
        for &condition in block.conditions {
            let place = block.first..block.first + scores.len();
            self.scores[condition][place].copy_from_slice(&scores);
        }
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

    fn observe(&mut self, seen: &SiteRows<'_>) {
        for &condition in seen.conditions {
            self.kept[condition] = seen.rows.to_vec();
        }
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
