//! A measure of one's own: how many nats the right answer leads a wrong one by, with and without a class of neurons.
//!
//! `cargo run --release --example own_measure [MODEL]`

use gatelens::io_class::{Class, ClassQuery, Fold, NeuronTable};
use gatelens::{
    Condition, Edit, LanguageModel, LogitBlock, PromptSet, ReadError, Readout, TokenBatch,
};

const FACTS: &str = r#"{"id": "france", "prompt": "The capital of France is", "subject": "France", "target": "Paris"}
{"id": "italy", "prompt": "The capital of Italy is", "subject": "Italy", "target": "Rome"}"#;

/// The logit of each prompt's target minus that of the next prompt's target, at the prompt's last token.
struct Lead {
    rows: Vec<usize>,
    /// For each row the right token and the wrong one.
    tokens: Vec<(u32, u32)>,
    /// `[conditions][rows]`.
    nats: Vec<Vec<f32>>,
}

impl Lead {
    fn new(batch: &TokenBatch, conditions: usize) -> Self {
        let targets: Vec<u32> = batch.sequences().iter().map(|s| s.target[0]).collect();
        let others = targets.iter().cycle().skip(1);
        Self {
            rows: (0..targets.len()).map(|i| batch.last_row(i)).collect(),
            tokens: targets.iter().zip(others).map(|(a, b)| (*a, *b)).collect(),
            nats: vec![vec![0.0; targets.len()]; conditions],
        }
    }
}

impl Readout for Lead {
    fn rows(&self) -> &[usize] {
        &self.rows
    }

    fn read(&mut self, block: &LogitBlock<'_>) -> Result<(), ReadError> {
        for (i, logits) in block.logits()?.chunks_exact(block.vocab_size).enumerate() {
            let row = block.first + i;
            let (right, wrong) = self.tokens[row];
            for &condition in block.conditions {
                self.nats[condition][row] = logits[right as usize] - logits[wrong as usize];
            }
        }
        Ok(())
    }
}

fn main() -> anyhow::Result<()> {
    let model = std::env::args()
        .nth(1)
        .unwrap_or("smollm2-135m".to_string());
    let lm = LanguageModel::open(&model)?;
    let batch = lm.encode(&PromptSet::parse("capitals", FACTS)?)?;
    let table = NeuronTable::classify(&lm.checkpoint, Fold::Pre, 0.5)?;
    let class = table.select(ClassQuery::One(Class::ConditionalDepletion), None)?;
    let conditions = [Condition::Clean, Edit::zero(class).into()];
    let mut lead = Lead::new(&batch, conditions.len());
    lm.run(&batch, &conditions, &mut [], Some(&mut lead))?;
    for (name, nats) in ["clean", "conditional depletion off"]
        .iter()
        .zip(&lead.nats)
    {
        println!("{name}: {nats:?}");
    }
    Ok(())
}
