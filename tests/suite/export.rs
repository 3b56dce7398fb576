//! `export`: the folder gives the ablated run's numbers, of every family, from safetensors and from GGUF.

use gatelens::engine::Engine;
use gatelens::hooks::{Condition, Edit};
use gatelens::hub::locate;
use gatelens::model::{Checkpoint, Model};
use serde_json::Value;
use tempfile::TempDir;

use super::cli::{fail, file, json, succeed};
use super::common::{LogProbs, batch, goldens, max_difference, model, options};
use super::families::VARIANTS;
use super::golden::Golden;

fn logprobs(model: &Model, prompts: &[Vec<u32>], condition: Condition) -> Vec<f32> {
    let batch = batch(prompts);
    let mut found = LogProbs::of_all(&batch);
    let conditions = [condition];
    Engine::new(model)
        .run(&batch, &conditions, &mut [], Some(&mut found), &())
        .unwrap();
    let rows = (0..batch.tokens()).flat_map(|row| found.at(0, row).to_vec());
    rows.collect()
}

#[test]
fn every_family_is_written_as_it_is_run() {
    for variant in VARIANTS {
        for suffix in ["", "/model.gguf"] {
            let dir = TempDir::new().unwrap();
            let name = variant.name;
            let path = goldens().join(format!("{name}{suffix}"));
            if !path.exists() {
                continue; // not every variant has a GGUF file
            }
            let golden = Golden::read(name);
            let own = model(&if suffix.is_empty() {
                name.to_string()
            } else {
                format!("{name}.gguf")
            });
            let neurons = golden.neurons(&own);
            let lines: Vec<String> = neurons.iter().map(|neuron| neuron.to_string()).collect();
            let list = file(&dir, "some.txt", &lines.join("\n"));
            let out = dir.path().join("out");
            let out = out.to_str().unwrap();
            succeed(&[
                "export",
                "--model",
                path.to_str().unwrap(),
                "--neurons",
                &list,
                "--out",
                out,
            ]);
            let prompts = golden.prompts();
            let edited = Edit::zero(neurons).into();
            let expected = logprobs(&own, &prompts, edited);
            let files = locate(out, &()).unwrap().files;
            let checkpoint = Checkpoint::open(&files).unwrap();
            let exported = Model::load(checkpoint, options()).unwrap();
            let found = logprobs(&exported, &prompts, Condition::Clean);
            let difference = max_difference(&found, &expected);
            assert!(difference < 1e-5, "{name}{suffix}: {difference:e}");
        }
    }
}

#[test]
fn the_folder_says_what_was_done_and_runs_by_its_name() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("out");
    let out = out.to_str().unwrap();
    let model = ["--model", "smollm2-135m"];
    let export = ["export", "--classes", "depletion", "--dtype", "bf16"];
    let printed = succeed(&[&export[..], &model, &["--out", out]].concat());
    assert!(printed.contains("104 of 46,080 neurons"), "{printed}");
    let run = json(&dir.path().join("out/run.json"));
    assert_eq!(run["counts"]["neurons"]["depletion"], 104);
    let card = std::fs::read_to_string(dir.path().join("out/README.md")).unwrap();
    assert!(
        card.contains("104 MLP neurons are zero: depletion"),
        "{card}"
    );
    let config: Value = json(&dir.path().join("out/config.json"));
    assert_eq!(config["dtype"], "bfloat16");
    // The same text to the same tokens, and the model runs.
    let prompt = ["generate", "--prompt", "The capital of France is"];
    let length = ["--max-tokens", "4"];
    let written = |args: &[&str]| succeed(&[&prompt[..], &length, args].concat());
    assert_eq!(
        written(&["--model", out]),
        written(&["--model", "smollm2-135m", "--classes", "depletion"])
    );
    let error = fail(&[&export[..], &model, &["--out", out]].concat());
    assert!(error.contains("--force"), "{error}");
}

#[test]
fn what_no_weight_can_hold_is_refused() {
    let export = ["export", "--classes", "depletion", "--out", "nowhere"];
    let error = fail(&[&export[..], &["--mode", "mean"]].concat());
    assert!(error.contains("no weight can hold"), "{error}");
    let error = fail(&[&export[..], &["--mode", "multiply=1"]].concat());
    assert!(error.contains("changes nothing"), "{error}");
    let error = fail(&["export", "--out", "nowhere"]);
    assert!(error.contains("--classes"), "{error}");
}
