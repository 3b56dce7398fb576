//! Models that are read from their files as a run reaches them, and limits on memory.

use std::fs;
use std::path::Path;

use gatelens::engine::{Engine, EngineError};
use gatelens::hooks::{Condition, Edit, Neuron, NeuronSet};
use gatelens::hub::{FileError, locate};
use gatelens::io_class::{Fold, NeuronTable};
use gatelens::model::{Checkpoint, LoadOptions, Model, ModelError, Residency};
use gatelens::tokens::TokenBatch;

use super::cli::{fail, succeed};
use super::common::{batch, checkpoint, goldens, model, options, run};

const MIB: u64 = 1 << 20;

/// Enough to stream any tiny model, too little to hold one with what activations are granted.
const STREAMED: u64 = 300 * MIB;

fn limited(checkpoint: Checkpoint, max_memory: u64) -> Result<Model, ModelError> {
    let options = LoadOptions {
        max_memory: Some(max_memory),
        ..options()
    };
    Model::load(checkpoint, options)
}

fn prompts() -> TokenBatch {
    let prompt = |len: u32, step: u32| (0..len).map(|i| (5 + i * step) % 250).collect();
    batch(&[prompt(3, 7), prompt(9, 11), prompt(9, 5), prompt(14, 3)])
}

fn edit(model: &Model, neurons: &[(usize, usize)]) -> Condition {
    let config = model.config();
    let neurons = neurons
        .iter()
        .map(|&(layer, index)| Neuron { layer, index });
    Condition::Edited(Edit::zero(NeuronSet::new(config, neurons).unwrap()).called("edit"))
}

/// A copy of a tiny checkpoint that may be damaged.
fn copied(name: &str, to: &Path) -> Checkpoint {
    for file in fs::read_dir(goldens().join(name)).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
    fs::remove_file(to.join("model.gguf")).unwrap();
    Checkpoint::open(&locate(to.to_str().unwrap(), &()).unwrap().files).unwrap()
}

/// The number before " MiB" that an error says is needed.
fn needed_mib(error: &str) -> u64 {
    let words: Vec<&str> = error.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "needs").unwrap();
    words[at + 1].parse().unwrap()
}

#[test]
fn streamed_equals_resident_bit_for_bit_in_every_family() {
    let names = fs::read_dir(goldens()).unwrap().flat_map(|entry| {
        let (path, name) = (entry.as_ref().unwrap().path(), entry.unwrap().file_name());
        let name = name.into_string().unwrap();
        let safetensors = path.join("config.json").exists().then(|| name.clone());
        let gguf = path.join("model.gguf").exists().then(|| name + ".gguf");
        safetensors.into_iter().chain(gguf)
    });
    let names: Vec<String> = names.collect();
    assert!(names.len() >= 4, "{names:?}");
    for name in names {
        let resident = model(&name);
        let streamed = limited(checkpoint(&name), STREAMED).unwrap();
        assert_eq!(resident.plan().residency, Residency::Resident);
        assert_eq!(streamed.plan().residency, Residency::Streamed);
        let batch = prompts();
        let conditions = [
            Condition::Clean,
            edit(&resident, &[(0, 3)]),
            edit(&resident, &[(1, 7)]),
        ];
        let (expected, _) = run(&resident, &batch, &conditions, &mut []);
        let (found, _) = run(&streamed, &batch, &conditions, &mut []);
        for condition in 0..conditions.len() {
            for row in 0..batch.tokens() {
                let equal = expected.at(condition, row) == found.at(condition, row);
                assert!(equal, "{name}, condition {condition}, row {row}");
            }
        }
    }
}

#[test]
fn a_file_that_shrinks_during_a_run_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = copied("tiny-llama", dir.path());
    let streamed = limited(checkpoint.clone(), STREAMED).unwrap();
    let path = dir.path().join("model.safetensors");
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(fs::metadata(&path).unwrap().len() / 2)
        .unwrap();

    let error = Engine::new(&streamed)
        .run(&prompts(), &[Condition::Clean], &mut [], None, &())
        .unwrap_err();
    assert!(
        matches!(
            error,
            EngineError::Model(
                ModelError::File(FileError::Read { .. }) | ModelError::Changed { .. }
            )
        ),
        "{error}"
    );
    assert!(error.to_string().contains("model.safetensors"), "{error}");

    let error = NeuronTable::classify(&checkpoint, Fold::Pre, 0.5).unwrap_err();
    assert!(error.to_string().contains("model.safetensors"), "{error}");
}

#[test]
fn too_little_memory_is_refused_with_the_amount_that_works() {
    let refused = limited(checkpoint("tiny-llama"), MIB).err().unwrap();
    let message = refused.to_string();
    assert!(message.contains("--max-memory 1 MiB"), "{message}");
    let needed = needed_mib(&message);
    assert!(limited(checkpoint("tiny-llama"), (needed - 1) * MIB).is_err());
    let streamed = limited(checkpoint("tiny-llama"), needed * MIB).unwrap();
    assert_eq!(streamed.plan().residency, Residency::Streamed);
    run(&streamed, &prompts(), &[Condition::Clean], &mut []);
}

#[test]
fn a_prompt_that_does_not_fit_is_refused_with_the_amount_that_works() {
    let batch = prompts();
    let conditions = 100_000;
    let tokens = |max_memory| {
        let model = limited(checkpoint("tiny-llama"), max_memory).unwrap();
        Engine::new(&model).tokens_per_pass(&batch, conditions)
    };
    let refused = tokens(STREAMED).unwrap_err();
    assert!(matches!(refused, EngineError::Memory { .. }), "{refused}");
    let needed = needed_mib(&refused.to_string());
    assert!(tokens((needed - 1) * MIB).is_err());
    assert_eq!(tokens(needed * MIB).unwrap(), batch.longest());
}

#[test]
fn more_memory_makes_fewer_passes() {
    let tokens = |max_memory| {
        let model = limited(checkpoint("tiny-llama"), max_memory).unwrap();
        let engine = Engine::new(&model);
        [1, 10, 100].map(|conditions| engine.tokens_per_pass(&prompts(), conditions).unwrap())
    };
    let (little, much) = (tokens(STREAMED), tokens(2 * STREAMED));
    assert!(little[0] > little[1] && little[1] > little[2], "{little:?}");
    assert!(
        little.iter().zip(&much).all(|(little, much)| little < much),
        "{little:?} {much:?}"
    );
}

#[test]
fn classify_takes_a_limit_and_refuses_one_that_is_too_small() {
    let tiny = goldens().join("tiny-llama");
    let tiny = tiny.to_str().unwrap();
    let classify = |limit| ["classify", "--model", tiny, "--max-memory", limit];
    assert!(succeed(&classify("300MiB")).contains("320 neurons"));
    assert!(fail(&classify("10MiB")).contains("--max-memory"));
}
