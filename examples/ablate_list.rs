//! A list of neurons set to zero, against random sets of as many neurons of the same layers.
//!
//! `cargo run --release --example ablate_list [MODEL] [LAYER.NEURON...]`

use std::error::Error;

use gatelens::experiment::{AblationPlan, PromptSubset, Run, Treatment, ablate};
use gatelens::io_class::{Fold, Matching, NeuronTable, matched_draws};
use gatelens::stats::StatsSettings;
use gatelens::{LanguageModel, Mode, Neuron, NeuronSet, PromptSet};

const DRAWS: usize = 20;
const SEED: u64 = 0;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().unwrap_or("smollm2-135m".to_string());
    let mut neurons = arguments
        .map(|name| name.parse())
        .collect::<Result<Vec<Neuron>, _>>()?;
    if neurons.is_empty() {
        neurons = (0..64).map(|index| Neuron::new(12, index)).collect();
    }

    let lm = LanguageModel::open(&model)?;
    let facts = PromptSet::bundled()?;
    let batch = lm.encode(&facts)?;
    let set = NeuronSet::new(lm.config(), neurons)?;
    // The table tells which neurons a draw may be made of; its classes are not asked for here.
    let table = NeuronTable::classify(&lm.checkpoint, Fold::Pre, 0.5)?;
    let draws = matched_draws(&table, &set, DRAWS, SEED, Matching::Layer)?;
    let plan = AblationPlan {
        subset: PromptSubset::All,
        seed: SEED,
        ..AblationPlan::new(
            vec![Treatment::new("list".to_string(), set, draws)],
            Mode::Zero,
        )
    };
    let ablation = ablate(&mut Run::new(&()), &lm.engine(), &batch, &plan)?;
    let settings = StatsSettings {
        seed: SEED,
        ..StatsSettings::default()
    };
    println!("metric\tprompts\tclean\tlist\tdraws\tdifference\tp");
    for effect in ablation.effects(&plan, &facts.prompts, &settings)? {
        let (means, difference) = (effect.means, effect.estimate.difference_to_baseline);
        println!(
            "{:?}, {}\t{}\t{:.4}\t{:.4}\t{:.4?}\t{:.4?}\t{:.3?}",
            effect.metric,
            effect.subset,
            effect.prompts,
            means.clean,
            means.class,
            means.baseline,
            difference,
            effect.estimate.p
        );
    }
    Ok(())
}
