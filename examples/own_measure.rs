//! A measure of one's own: how many nats the first choice for the next word leads the second by, with and without a class
//! of neurons.
//!
//! `cargo run --release --example own_measure [MODEL]`

use gatelens::experiment::{ExperimentError, Measure, Measured, Pass, Run, Stage};
use gatelens::io_class::{Class, ClassQuery, Fold, NeuronTable};
use gatelens::{
    Condition, Edit, LanguageModel, LogitBlock, Prompt, PromptSet, ReadError, Readout, TokenBatch,
};

const FACTS: [[&str; 4]; 2] = [
    ["france", "The capital of France is", "France", "Paris"],
    ["italy", "The capital of Italy is", "Italy", "Rome"],
];

/// Reads the logits at each prompt's last token.
struct Lead {
    rows: Vec<usize>,
    /// `[conditions][rows]`.
    nats: Vec<Vec<f32>>,
}

impl Lead {
    fn new(batch: &TokenBatch, conditions: usize) -> Self {
        let prompts = batch.sequences().len();
        Self {
            rows: (0..prompts).map(|i| batch.last_row(i)).collect(),
            nats: vec![vec![0.0; prompts]; conditions],
        }
    }
}

impl Readout for Lead {
    fn rows(&self) -> &[usize] {
        &self.rows
    }

    fn read(&mut self, block: &LogitBlock<'_>) -> Result<(), ReadError> {
        for (i, logits) in block.logits()?.chunks_exact(block.vocab_size).enumerate() {
            let (mut first, mut second) = (f32::NEG_INFINITY, f32::NEG_INFINITY);
            for &logit in logits {
                second = second.max(first.min(logit));
                first = first.max(logit);
            }
            for &condition in block.conditions {
                self.nats[condition][block.first + i] = first - second;
            }
        }
        Ok(())
    }
}

/// The same as an experiment measures it: in as many passes as the memory asks for.
struct Leads;

impl Measure for Leads {
    /// Condition, prompt, nats.
    type Found = Vec<(usize, usize, f32)>;

    fn measure(&mut self, pass: &Pass<'_>) -> Result<Measured<Self::Found>, ExperimentError> {
        let mut lead = Lead::new(pass.batch, pass.conditions.len());
        let edits = pass.run(&mut [], Some(&mut lead))?;
        let prompts = pass.batch.sequences();
        let found = pass.reported().flat_map(|(place, condition)| {
            let nats = prompts.iter().zip(&lead.nats[place]);
            nats.map(move |(sequence, nats)| (condition, sequence.prompt, *nats))
        });
        let found = found.collect();
        Ok(Measured::new(edits, found))
    }
}

fn main() -> anyhow::Result<()> {
    let model = std::env::args()
        .nth(1)
        .unwrap_or("smollm2-135m".to_string());
    let lm = LanguageModel::open(&model)?;
    let facts = FACTS.iter().filter_map(|[id, prompt, subject, target]| {
        Prompt::new(id, prompt, subject, target) // none where the subject does not occur
    });
    let batch = lm.encode(&PromptSet::new("capitals", facts)?)?;
    let table = NeuronTable::classify(&lm.checkpoint, Fold::Pre, 0.5)?;
    let class = table.select(ClassQuery::One(Class::ConditionalDepletion), None)?;
    let conditions = [Condition::Clean, Edit::zero(class).into()];
    let engine = lm.engine();
    let stage = Stage::edited(&engine, (&batch, "facts"), &conditions);
    let mut print = |found: Vec<(usize, usize, f32)>| {
        for (condition, prompt, nats) in found {
            let what = ["clean", "conditional depletion off"][condition];
            println!("{}, {what}: {nats}", FACTS[prompt][0]);
        }
        Ok(())
    };
    let ran = Run::new(&()).measure(&stage, &mut Leads, &mut print)?;
    println!("values changed: {}", ran.changed().changed);
    Ok(())
}
