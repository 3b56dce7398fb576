//! What fewer bits cost: log-probabilities in bf16 and f16 beside those in f32, on real models.

use candle_core::DType;
use gatelens::engine::{Engine, EngineError, Precision};
use gatelens::hooks::Condition;
use gatelens::model::{LoadOptions, Model, Operations};

use super::common::{LogProbs, batch, checkpoint, first_row, options_by};
use super::golden::Golden;

/// Tokens of the prompts that are compared: longer ones take long, in a precision that a CPU does not compute in.
const LONGEST: usize = 24;

/// Log-probabilities of the golden's tokens at the stored positions, clean and with its neurons at zero; `None` where the
/// precision cannot hold the model's numbers.
fn logprobs(name: &str, dtype: DType, operations: Operations) -> Option<Vec<f32>> {
    let golden = Golden::read(name);
    let options = LoadOptions {
        dtype,
        ..options_by(operations)
    };
    let model = Model::load(checkpoint(name), options).unwrap();
    let mut prompts = golden.prompts();
    prompts.retain(|prompt| prompt.len() <= LONGEST);
    let batch = batch(&prompts);
    let conditions = [Condition::Clean, golden.ablation(&model)];
    let mut found = LogProbs::of_all(&batch);
    match Engine::new(&model).run(&batch, &conditions, &mut [], Some(&mut found), &()) {
        Ok(_) => {}
        Err(EngineError::NotFinite { .. }) => return None,
        Err(other) => panic!("{other}"),
    }
    let mut logprobs = Vec::new();
    for p in 0..prompts.len() {
        let positions = golden.ints(&format!("p{p}.positions"));
        let top = golden.ints(&format!("p{p}.top_ids"));
        let of_position = top.chunks(top.len() / positions.len());
        for (position, top) in positions.iter().zip(of_position) {
            let row = first_row(&batch, p) + *position as usize;
            for condition in 0..conditions.len() {
                let row = found.at(condition, row);
                logprobs.extend(top.iter().map(|token| row[*token as usize]));
            }
        }
    }
    Some(logprobs)
}

#[test]
fn each_precision_states_how_far_it_is_from_f32() {
    for name in ["smollm2-135m", "gemma3-270m"] {
        let exact = logprobs(name, DType::F32, Operations::Fused).unwrap();
        for (dtype, precision) in [(DType::BF16, Precision::Bf16), (DType::F16, Precision::F16)] {
            for operations in [Operations::Fused, Operations::Tensors] {
                let Some(found) = logprobs(name, dtype, operations) else {
                    // Residuals of Gemma 3 are beyond 65,504.
                    assert_eq!((name, dtype), ("gemma3-270m", DType::F16));
                    continue;
                };
                let differences = exact
                    .iter()
                    .zip(&found)
                    .map(|(a, b)| f64::from((a - b).abs()));
                let worst = differences.clone().fold(0.0, f64::max);
                let mean = differences.sum::<f64>() / exact.len() as f64;
                println!(
                    "{name} {precision:?} {operations:?}: mean {mean:.2e}, at most {worst:.2e}"
                );
                assert!(
                    mean.is_finite() && worst <= precision.logprob_error(),
                    "{name} {precision:?}"
                );
            }
        }
    }
}
