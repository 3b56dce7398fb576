//! `rerun`: a run made again gives the same to the last bit; what differs is named; input that is not the same is refused
//! before a weight is read.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::cli::{fail, file, gatelens, json, succeed, warnings};
use super::common::goldens;
use super::shards::arguments;

/// Runs `command` with its own input, and gives the folder.
fn run(dir: &TempDir, command: &[&str], more: &[&str]) -> String {
    let arguments = arguments(dir, command);
    let out = dir.path().join("recorded").to_str().unwrap().to_string();
    let mut words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    words.extend(["--out", &out]);
    words.extend(more);
    succeed(&words);
    out
}

/// A run of few facts, of which every file may be changed: the folder of the run, of the model, and the prompts.
fn small(dir: &TempDir) -> [String; 3] {
    let model = dir.path().join("model");
    fs::create_dir(&model).unwrap();
    for entry in fs::read_dir(goldens().join("tiny-llama")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, model.join(path.file_name().unwrap())).unwrap();
        }
    }
    let fact = |i: usize| {
        format!(
            "{{\"id\": \"{i}\", \"prompt\": \"Number {i} of all that Rome\", \"subject\": \"Rome\", \"target\": \"is\"}}\n"
        )
    };
    file(dir, "facts.jsonl", &(0..12).map(fact).collect::<String>());
    file(dir, "mine.txt", "0.3\n1.17\n1.40\n");
    let words = "ablate --model model --prompts facts.jsonl --subset all --neurons mine.txt --draws 3 --out run";
    // Relative paths begin where the run is started.
    let output = gatelens()
        .current_dir(dir.path())
        .args(words.split(' '))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    ["run", "model", "facts.jsonl"].map(|name| dir.path().join(name).to_str().unwrap().to_string())
}

fn change(run: &str, name: &str, change: impl FnOnce(&mut Value)) {
    let path = Path::new(run).join(name);
    let mut value = json(&path);
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

#[test]
fn every_command_gives_the_same_again() {
    for (command, more, tables) in [
        (
            &["ablate"][..],
            &[][..],
            &["outcomes.parquet", "draws.parquet", "effects.json"][..],
        ),
        (&["ablate", "--text"], &[], &["outcomes_text.parquet"]),
        (
            &["record"],
            &[],
            &["summary.parquet", "activations.safetensors"],
        ),
        (&["attributes"], &[], &["rates.parquet"]),
    ] {
        let dir = TempDir::new().unwrap();
        let recorded = run(&dir, command, more);
        let before = fs::read(Path::new(&recorded).join("run.json")).unwrap();
        let printed = succeed(&["rerun", &recorded]);
        for name in tables.iter().chain(&["counts of run.json"]) {
            let line = format!("{name}: the same to the last bit");
            assert!(printed.contains(&line), "{line} in {printed}");
        }
        assert!(
            !printed.contains("files in"),
            "the run's own results are not printed: {printed}"
        );
        assert_eq!(
            fs::read(Path::new(&recorded).join("run.json")).unwrap(),
            before
        );
    }
}

#[test]
fn the_other_commands_can_be_made_again_too() {
    let dir = TempDir::new().unwrap();
    let tiny = goldens().join("tiny-llama").to_str().unwrap().to_string();
    let folder = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
    let (classes, exported, again) = (folder("classes"), folder("exported"), folder("again"));
    succeed(&["classify", "--model", &tiny, "--out", &classes]);
    succeed(&["report", &classes, "--figures"]);
    let printed = succeed(&["rerun", &classes]);
    assert!(
        printed.contains("neurons.parquet: the same") && printed.contains("not compared: figures/"),
        "{printed}"
    );

    let neurons = file(&dir, "mine.txt", "0.3\n");
    succeed(&[
        "export",
        "--model",
        &tiny,
        "--neurons",
        &neurons,
        "--out",
        &exported,
    ]);
    let printed = succeed(&["rerun", &exported, "--out", &again]);
    assert!(printed.contains("model.safetensors: the same"), "{printed}");
    assert!(printed.contains("not compared: README.md"), "{printed}");
    let printed: Value = serde_json::from_str(&succeed(&["rerun", &again, "--json"])).unwrap();
    assert_eq!(
        (&printed["same"], &printed["warnings"]),
        (&json!(true), &json!([]))
    );
    assert!(fail(&["rerun", &exported, "--out", &again]).contains("holds a finished run"));
}

#[test]
fn what_differs_is_named_with_its_place() {
    let dir = TempDir::new().unwrap();
    let [run, ..] = small(&dir);
    let kept = dir.path().join("kept").to_str().unwrap().to_string();
    let printed = succeed(&["rerun", &run, "--out", &kept]);
    assert!(printed.contains("files of the rerun in"), "{printed}");
    let words = json(&Path::new(&kept).join("run.json"))["arguments"].to_string();
    assert!(
        words.contains("ablate") && !words.contains("rerun"),
        "{words}"
    );

    change(&kept, "effects.json", |effects| {
        let clean = effects[0]["means"]["clean"].as_f64().unwrap();
        effects[0]["means"]["clean"] = json!(clean + 0.5);
        effects[0]["mode"] = json!("mean");
        effects[0].as_object_mut().unwrap().remove("draws");
    });
    change(&kept, "run.json", |run| run["counts"]["passes"] = json!(99));
    fs::copy(
        Path::new(&kept).join("draws.parquet"),
        Path::new(&kept).join("outcomes.parquet"),
    )
    .unwrap();
    let output = gatelens().args(["rerun", &kept]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let (printed, error) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    for expected in [
        "draws.parquet: the same to the last bit",
        "effects.json: NOT the same",
        "largest difference: 5.000000e-1 at [0].means.clean",
        "[0].mode: \"mean\" in the recorded run, \"zero\" in the rerun",
        "the recorded run lacks the key [0].draws",
        "the recorded run's file is not as it was written: it has",
        "passes: 99 in the recorded run, 2 in the rerun",
        "outcomes.parquet: NOT the same",
        "the recorded run lacks the column target_logprob",
    ] {
        assert!(printed.contains(expected), "{expected} in {printed}");
    }
    assert!(
        error.contains("counts of run.json, effects.json, outcomes.parquet")
            || error.contains("effects.json, outcomes.parquet, counts of run.json"),
        "{error}"
    );
    fs::remove_file(Path::new(&run).join("draws.parquet")).unwrap();
    let printed = gatelens().args(["rerun", &run, "--json"]).output().unwrap();
    assert_eq!(printed.status.code(), Some(1));
    let printed: Value = serde_json::from_slice(&printed.stdout).unwrap();
    assert_eq!(
        printed["files"][0]["differences"]["lacks"][0],
        "the recorded run lacks this file"
    );
}

#[test]
fn input_that_is_not_the_same_is_refused_before_weights_are_read() {
    let dir = TempDir::new().unwrap();
    let [run, model, facts] = small(&dir);
    let hash = json(&Path::new(&run).join("run.json"))["prompts"]["sha256"].clone();
    let text = fs::read_to_string(&facts).unwrap();
    // Weights that cannot be read: a message about the prompts comes first.
    let weights = Path::new(&model).join("model.safetensors");
    let whole = fs::read(&weights).unwrap();
    fs::write(&weights, "damaged").unwrap();

    fs::write(&facts, text.replace("Number 3", "Number three")).unwrap();
    let error = fail(&["rerun", &run]);
    for expected in [
        "facts.jsonl is not the file that the run read",
        hash.as_str().unwrap(),
    ] {
        assert!(error.contains(expected), "{error}");
    }
    fs::remove_file(&facts).unwrap();
    let error = fail(&["rerun", &run]);
    assert!(
        error.contains("facts.jsonl is gone; a file with the sha256"),
        "{error}"
    );
    fs::write(&facts, text).unwrap();
    fs::rename(dir.path().join("mine.txt"), dir.path().join("yours.txt")).unwrap();
    assert!(fail(&["rerun", &run]).contains("mine.txt is gone"));
    fs::rename(dir.path().join("yours.txt"), dir.path().join("mine.txt")).unwrap();

    let error = fail(&["rerun", &run]);
    assert!(
        error.contains("model.safetensors is not the file of the model that the run read"),
        "{error}"
    );
    fs::remove_file(&weights).unwrap();
    let error = fail(&["rerun", &run]);
    assert!(
        error.contains("model.safetensors of the model is gone; a file with the sha256"),
        "{error}"
    );
    fs::write(&weights, whole).unwrap();
    succeed(&["rerun", &run]);
    fs::remove_dir_all(&model).unwrap();
    assert!(fail(&["rerun", &run]).contains("of the model is gone"));
}

#[test]
fn a_merged_run_and_a_resumed_one_are_made_again_in_one_piece() {
    let dir = TempDir::new().unwrap();
    let arguments = arguments(&dir, &["ablate"]);
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let shared = dir.path().join("shared").to_str().unwrap().to_string();
    for shard in ["0/2", "1/2"] {
        succeed(&[&words[..], &["--out", &shared, "--shard", shard]].concat());
    }
    assert!(fail(&["rerun", &shared]).contains("no run.json"));
    let shard = Path::new(&shared).join("shard-0-of-2");
    assert!(fail(&["rerun", shard.to_str().unwrap()]).contains("gatelens merge"));
    succeed(&["merge", &shared]);
    assert!(succeed(&["rerun", &shared]).contains("the same: the rerun gave what"));

    #[cfg(unix)]
    {
        let stopped = dir.path().join("stopped");
        let out = ["--out", stopped.to_str().unwrap()];
        super::stopping::stop_halfway(&[&words[..], &out].concat(), &stopped);
        assert!(fail(&["rerun", out[1]]).contains("--resume"));
        succeed(&[&words[..], &out, &["--resume", "--threads", "2"]].concat());
        assert!(succeed(&["rerun", out[1]]).contains("the same: the rerun gave what"));
    }
}

#[test]
fn another_version_or_number_of_threads_is_a_warning_and_an_old_run_an_error() {
    let dir = TempDir::new().unwrap();
    let [run, ..] = small(&dir);
    assert_eq!(
        warnings(&["rerun", &run])
            .matches("warning: gatelens")
            .count(),
        0
    );
    change(&run, "run.json", |run| {
        run["version"] = json!("0.0.9");
        run["threads"] = json!(77);
    });
    let said = warnings(&["rerun", &run, "--threads", "1"]);
    for expected in [
        "warning: gatelens was 0.0.9 in the recorded run, and is",
        "warning: the number of threads was 77 in the recorded run, and is 1 in the rerun",
    ] {
        assert_eq!(said.matches(expected).count(), 1, "{said}");
    }
    change(&run, "run.json", |run| {
        run.as_object_mut().unwrap().remove("directory");
    });
    let error = fail(&["rerun", &run]);
    assert!(error.contains("does not say in which folder"), "{error}");
    assert!(error.contains("gatelens ablate --model model"), "{error}");
    assert!(fail(&["rerun", dir.path().to_str().unwrap()]).contains("no run.json"));
}
