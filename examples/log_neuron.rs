//! What one neuron does at every token of some texts.
//!
//! `cargo run --release --example log_neuron [MODEL] [LAYER.NEURON] [TEXT...]`

use anyhow::Context;
use gatelens::candle::Device;
use gatelens::experiment::neuron_activity;
use gatelens::{LanguageModel, LoadOptions, Neuron};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().unwrap_or("smollm2-135m".to_string());
    let neuron: Neuron = arguments.next().unwrap_or("13.1007".to_string()).parse()?;
    let mut texts: Vec<String> = arguments.collect();
    if texts.is_empty() {
        texts.push("The capital of France is Paris.".to_string());
    }

    let options = LoadOptions {
        device: Device::cuda_if_available(0)?, // needs the feature cuda
        ..LoadOptions::default()
    };
    let lm = LanguageModel::open_with(&model, options, &())?;
    let batch = lm.encode_texts(texts.iter().map(String::as_str))?;
    let activity = neuron_activity(&lm.engine(), &batch, neuron, &())?;
    println!("text\ttoken\tgate\tup\tpost");
    for at in activity.firings() {
        let mut sequences = batch.sequences().iter();
        let sequence = sequences
            .find(|s| s.prompt == at.prompt)
            .context("no such text")?;
        let token = lm.tokenizer.token_text(sequence.ids[at.position]);
        println!(
            "{}\t{token:?}\t{:.3}\t{:.3}\t{:.3}",
            at.prompt, at.gate, at.up, at.post
        );
    }
    Ok(())
}
