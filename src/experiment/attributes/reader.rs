//! Reads residuals at the subjects' last tokens while the engine runs, and ranks their tokens.

use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::rate::{FilterOrder, RateSettings, Share};
use super::words::AttributeWords;
use crate::engine::Engine;
use crate::experiment::ExperimentError;
use crate::experiment::stage::{Measure, Measured, Pass};
use crate::hooks::{HookPoint, Observer, ReadError, Selection, Site, SiteRows};
use crate::tokens::{Positions, TokenBatch};

/// Bytes of residual rows that wait to go through the unembedding together.
const WAITING_BYTES: usize = 16 << 20;

/// What is asked about.
pub struct AttributeInput<'a> {
    /// Prompts that end with their subjects, numbered from 0.
    pub batch: &'a TokenBatch,
    /// The same prompts whole, with their targets: they tell which facts the model knows, where that is asked.
    pub facts: &'a TokenBatch,
    /// Of each prompt, the place of its subject's text in `words`.
    pub texts: &'a [usize],
    /// What counts of tokens and texts.
    pub words: &'a AttributeWords,
}

/// The share of a prompt after a layer under a condition, as a part keeps it.
#[derive(Serialize, Deserialize)]
pub(super) struct ShareRow {
    /// The condition's number.
    pub condition: u32,
    /// Index of the prompt in its set.
    pub prompt: u32,
    /// The layer.
    pub layer: u32,
    /// The tokens.
    pub share: Share,
}

/// Measures the shares.
pub(super) struct RateMeasure<'i> {
    pub input: &'i AttributeInput<'i>,
    pub settings: RateSettings,
}

impl Measure for RateMeasure<'_> {
    type Found = Vec<ShareRow>;

    fn measure(&mut self, pass: &Pass<'_>) -> Result<Measured<Vec<ShareRow>>, ExperimentError> {
        let mut reader = RateReader::new(pass.engine, pass.batch, self.input, self.settings);
        let edits = pass.run(&mut [&mut reader], None)?;
        let found = reader.finish()?;
        let rows = pass.reported().flat_map(|(place, condition)| {
            let found = found
                .iter()
                .filter(move |found| found.conditions.contains(&place));
            found.map(move |found| ShareRow {
                condition: condition as u32,
                prompt: found.prompt as u32,
                layer: found.layer as u32,
                share: found.share,
            })
        });
        let rows = rows.collect();
        Ok(Measured::new(edits, rows))
    }
}

/// The share of one prompt after one layer, under the conditions of one stream.
pub(super) struct Found {
    pub prompt: usize,
    pub layer: usize,
    /// Places among the run's conditions.
    pub conditions: Rc<[usize]>,
    pub share: Share,
}

/// An observer of `hook_resid_post`. Rows wait, whatever their layers, streams and prompts, until they are as many as the
/// memory set aside for them holds; then all go through the unembedding at once.
pub(super) struct RateReader<'r> {
    engine: &'r Engine<'r>,
    words: &'r AttributeWords,
    settings: RateSettings,
    /// Which tokens compete for the first places.
    ranked: Vec<bool>,
    /// How many tokens a row must find.
    wanted: usize,
    /// Of each sequence: its prompt, the place of its text.
    subjects: Vec<(usize, usize)>,
    /// Of each, the row of its last token.
    of_subjects: Vec<usize>,
    /// How many rows may wait.
    most: usize,
    rows: Vec<f32>,
    waiting: Vec<Waiting>,
    found: Vec<Found>,
}

/// Where a waiting row is from.
struct Waiting {
    layer: usize,
    prompt: usize,
    text: usize,
    conditions: Rc<[usize]>,
}

impl<'r> RateReader<'r> {
    /// A reader of one run over `batch`, a part of the input's.
    pub fn new(
        engine: &'r Engine<'r>,
        batch: &TokenBatch,
        input: &AttributeInput<'r>,
        settings: RateSettings,
    ) -> Self {
        let AttributeInput { texts, words, .. } = *input;
        let ranked = match settings.filter_order {
            FilterOrder::TopFirst => vec![true; engine.config().vocab_size],
            FilterOrder::FilterFirst => words.kept(),
        };
        let competing = ranked.iter().filter(|ranked| **ranked).count();
        let sequences = batch.sequences().iter().enumerate();
        let subjects = sequences.map(|(i, sequence)| {
            let last = sequence.positions(Positions::SubjectLast);
            let subject = (sequence.prompt, texts[sequence.prompt]);
            (batch.first_row(i) + last.start, subject)
        });
        let (of_subjects, subjects) = subjects.unzip();
        Self {
            engine,
            words,
            settings,
            ranked,
            wanted: settings.top.get().min(competing),
            of_subjects,
            subjects,
            most: most_rows(engine),
            rows: Vec::new(),
            waiting: Vec::new(),
            found: Vec::new(),
        }
    }

    /// Bytes that a reader takes at most, besides its findings.
    pub fn bytes(engine: &Engine<'_>, settings: RateSettings) -> u64 {
        engine.top_tokens_bytes(most_rows(engine), settings.top.get())
    }

    /// Everything that was found.
    ///
    /// # Errors
    /// Those of the unembedding, of the rows that still waited.
    pub fn finish(mut self) -> Result<Vec<Found>, ExperimentError> {
        self.rank()?;
        Ok(self.found)
    }

    /// Ranks the tokens of all rows that wait.
    fn rank(&mut self) -> Result<(), ExperimentError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let RateSettings { lens, top, .. } = self.settings;
        let top = self
            .engine
            .top_tokens(&self.rows, lens, top.get(), &self.ranked)?;
        self.rows.clear();
        let mut waiting = std::mem::take(&mut self.waiting).into_iter().zip(top);
        waiting.try_for_each(|(from, tokens)| self.take(from, &tokens))
    }

    fn take(&mut self, from: Waiting, tokens: &[u32]) -> Result<(), ExperimentError> {
        if tokens.len() < self.wanted {
            return Err(ExperimentError::NoOrder {
                layer: from.layer,
                prompt: from.prompt,
                found: tokens.len(),
                wanted: self.wanted,
            });
        }
        self.found.push(Found {
            prompt: from.prompt,
            layer: from.layer,
            share: self.words.share(from.text, tokens),
            conditions: from.conditions,
        });
        Ok(())
    }
}

/// How many rows may wait.
fn most_rows(engine: &Engine<'_>) -> usize {
    (WAITING_BYTES / (4 * engine.config().d_model)).max(1)
}

impl Observer for RateReader<'_> {
    fn wants(&self, point: HookPoint) -> bool {
        point.site == Site::ResidPost
    }

    fn selects(&self, _: HookPoint) -> Selection<'_> {
        Selection::rows(&self.of_subjects)
    }

    fn observe(&mut self, seen: &SiteRows<'_>) -> Result<(), ReadError> {
        let conditions: Rc<[usize]> = seen.conditions.into();
        let layer = seen.point.layer.unwrap_or_default();
        for (i, row) in seen.rows.chunks_exact(seen.width).enumerate() {
            let (prompt, text) = self.subjects[i];
            self.rows.extend_from_slice(row);
            self.waiting.push(Waiting {
                layer,
                prompt,
                text,
                conditions: conditions.clone(),
            });
            if self.waiting.len() == self.most {
                self.rank()?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::path::Path;

    use super::*;
    use crate::engine::Lens;
    use crate::hooks::{Condition, Edit, Neuron, NeuronSet};
    use crate::hub::ModelFiles;
    use crate::model::{Checkpoint, LoadOptions, Model};
    use crate::prompts::{StopWords, SubjectText, Subjects};
    use crate::tokens::Sequence;
    use crate::tokens::fixtures::{byte_level, tokenizer};

    fn zero(layer: usize) -> Condition {
        let neurons = (0..20).map(|index| Neuron { layer, index });
        let neurons = NeuronSet::from_neurons(4, 80, neurons).unwrap();
        Edit::zero(neurons).called(format!("layer {layer}")).into()
    }

    fn batch() -> TokenBatch {
        let sequences = (0..5).map(|prompt| {
            let len = 2 + prompt % 3;
            let ids = (0..len).map(|i| (7 * prompt + 5 * i + 3) as u32);
            Sequence {
                subject: len - 2..len - 1,
                ..Sequence::of_ids(prompt, ids.collect())
            }
        });
        TokenBatch::new(sequences.collect()).unwrap()
    }

    fn words(vocab_size: usize) -> AttributeWords {
        let words = ["ĠOslo", "Ġfjord", "Ġharbour", "Ġking"];
        let subjects = Subjects {
            name: "texts".to_owned(),
            subjects: vec![SubjectText {
                subject: "Oslo".to_owned(),
                text: "a fjord, a harbour".to_owned(),
            }],
            sha256: String::new(),
        };
        let tokenizer = tokenizer(byte_level("gpt-2", &words));
        AttributeWords::new(&tokenizer, vocab_size, &StopWords::bundled(), &subjects).unwrap()
    }

    #[test]
    fn rows_may_wait_for_any_others() {
        let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
        let files = ModelFiles::Gguf(vec![goldens.join("tiny-llama/model.gguf")]);
        let model = Model::load(Checkpoint::open(&files).unwrap(), LoadOptions::default()).unwrap();
        let engine = Engine::new(&model);
        let (batch, words) = (batch(), words(model.config().vocab_size));
        let input = AttributeInput {
            batch: &batch,
            facts: &batch,
            texts: &[0; 5],
            words: &words,
        };
        let settings = RateSettings {
            filter_order: FilterOrder::TopFirst,
            top: NonZeroUsize::new(100).unwrap(),
            lens: Lens::Raw,
        };
        let conditions = [Condition::Clean, zero(0), zero(2)];
        let found = |most: usize| {
            let mut reader = RateReader::new(&engine, &batch, &input, settings);
            reader.most = most;
            engine
                .run(&batch, &conditions, &mut [&mut reader], None, &())
                .unwrap();
            let found = reader.finish().unwrap().into_iter();
            let mut found: Vec<_> = found
                .map(|f| (f.layer, f.prompt, f.conditions.to_vec(), f.share))
                .collect();
            found.sort_by_key(|(layer, prompt, conditions, _)| (*layer, *prompt, conditions[0]));
            found
        };
        let together = found(1000);
        // Two streams from layer 0 on, three from layer 2 on.
        assert_eq!(together.len(), 5 * (2 + 2 + 3 + 3));
        assert!(together.iter().any(|(.., share)| share.hits > 0));
        for most in [1, 7, 13] {
            assert!(found(most) == together, "{most} rows wait");
        }
    }

    #[test]
    fn a_residual_that_is_not_finite_is_an_error() {
        let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
        let files = ModelFiles::Gguf(vec![goldens.join("tiny-llama/model.gguf")]);
        let model = Model::load(Checkpoint::open(&files).unwrap(), LoadOptions::default()).unwrap();
        let engine = Engine::new(&model);
        let (batch, words) = (batch(), words(model.config().vocab_size));
        let input = AttributeInput {
            batch: &batch,
            facts: &batch,
            texts: &[0; 5],
            words: &words,
        };
        let settings = RateSettings {
            filter_order: FilterOrder::TopFirst,
            top: NonZeroUsize::MIN,
            lens: Lens::Raw,
        };
        let width = model.config().d_model;
        let mut rows = vec![1.0; batch.sequences().len() * width];
        rows[0] = f32::NAN; // of the first sequence's subject
        let mut reader = RateReader::new(&engine, &batch, &input, settings);
        reader
            .observe(&SiteRows {
                point: HookPoint::in_layer(3, Site::ResidPost),
                conditions: &[0],
                rows: &rows,
                width,
            })
            .unwrap();
        let error = reader.finish().err().unwrap();
        assert!(error.to_string().contains("after layer 3"), "{error}");
    }
}
