//! `run`: the runs of a file are those of the command line; what is wrong in it is said before the first begins.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::cli::{fail, file, gatelens, json, succeed};
use super::common::goldens;

/// A file with two runs, beside the input that it names.
fn experiment(dir: &TempDir, more: &str) -> String {
    let fact = |i: usize| {
        format!(
            "{{\"id\": \"{i}\", \"prompt\": \"Number {i} of all that Rome\", \"subject\": \"Rome\", \"target\": \"is\"}}\n"
        )
    };
    file(dir, "facts.jsonl", &(0..12).map(fact).collect::<String>());
    file(dir, "mine.txt", "0.3\n1.17\n1.40\n");
    let model = goldens().join("tiny-llama");
    let text = format!(
        "model = {model:?}\nprompts = \"facts.jsonl\"\nneurons = \"mine.txt\"\ndraws = 3\nout = \"runs\"\n\
         [all]\ncommand = \"ablate\"\nsubset = \"all\"\n\
         [two_draws]\ncommand = \"sweep\"\ndraws = 2\nsubset = \"all\"\nwindow = 2\nmode = \"mean\"\n{more}"
    );
    file(dir, "experiment.toml", &text)
}

fn arguments(dir: &TempDir, name: &str) -> String {
    let run = json(&dir.path().join("runs").join(name).join("run.json"));
    let words = run["arguments"].as_array().unwrap().iter();
    let words: Vec<&str> = words.map(|word| word.as_str().unwrap()).collect();
    words.join(" ")
}

#[test]
fn runs_are_those_of_the_command_line() {
    let dir = TempDir::new().unwrap();
    let path = experiment(&dir, "");
    // It gives the same wherever it is started from.
    let said = succeed(&["run", &path, "--dry-run"]);
    assert_eq!(said.matches("nothing is written").count(), 2);
    // What is piped has the names of the runs, and the sum.
    for part in [
        "1/2 all: gatelens ablate",
        "2/2 two_draws: gatelens sweep",
        "all together, 2 dry runs: about ",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!dir.path().join("runs").exists());
    let said = succeed(&["run", &path]);
    let files = format!("files in {}\n", dir.path().join("runs/all").display());
    assert!(said.contains(&files), "where this was started from: {said}");
    assert!(arguments(&dir, "all").contains("--draws=3"));
    let sweep = arguments(&dir, "two_draws");
    assert!(
        sweep.starts_with("sweep") && sweep.contains("--draws=2") && !sweep.contains("--draws=3")
    );

    let own =
        "ablate --prompts facts.jsonl --neurons mine.txt --draws 3 --subset all --out own --model";
    let output = gatelens()
        .current_dir(dir.path())
        .args(own.split(' '))
        .arg(goldens().join("tiny-llama"))
        .output()
        .unwrap();
    assert!(output.status.success());
    let bytes = |run: &str| fs::read(dir.path().join(run).join("outcomes.parquet")).unwrap();
    assert_eq!(bytes("runs/all"), bytes("own"));
    succeed(&["rerun", dir.path().join("runs/two_draws").to_str().unwrap()]);
}

#[test]
fn the_example_is_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/experiment.toml");
    let said = succeed(&["run", path.to_str().unwrap(), "--dry-run"]);
    assert_eq!(said.matches("nothing is written").count(), 4, "{said}");
    assert!(!path.with_file_name("runs").exists());
}

#[test]
fn what_is_finished_is_left_out_and_what_failed_is_begun_again() {
    let dir = TempDir::new().unwrap();
    let path = experiment(
        &dir,
        "[third]\ncommand = \"ablate\"\nneurons = \"later.txt\"\nsubset = \"all\"\n",
    );
    let message = fail(&["run", &path]);
    assert!(
        message.contains("run third ended with an error"),
        "{message}"
    );
    assert!(message.contains("--resume"), "{message}");
    let message = fail(&["run", &path]);
    assert!(
        message.contains("run all: ") && message.contains("holds a finished run"),
        "{message}"
    );
    file(&dir, "later.txt", "1.3\n");
    let said = succeed(&["run", &path, "--resume"]);
    assert_eq!(said.matches("finished already").count(), 2, "{said}");
    assert!(Path::new(dir.path()).join("runs/third/run.json").exists());
    // Only what the file says now is the same run.
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("draws = 3", "draws = 4")).unwrap();
    let message = fail(&["run", &path, "--resume"]);
    assert!(message.contains("other settings"), "{message}");
    assert!(
        message.contains("--draws=3") && message.contains("--draws=4"),
        "{message}"
    );
    succeed(&["run", &path, "--resume", "--only", "two_draws"]);
}

#[test]
fn what_is_wrong_is_said_before_anything_runs() {
    let dir = TempDir::new().unwrap();
    for (more, parts) in [
        ("[a]\n", &["run a", "no `command`"][..]),
        (
            "[a]\ncommand = \"ablat\"\n",
            &["run a", "ablat is no command"],
        ),
        (
            "[a]\ncommand = \"run\"\n",
            &["run is no command that a file can run"],
        ),
        (
            "[a]\ncommand = \"ablate\"\nclases = \"depletion\"\n",
            &["run a", "--clases", "--classes"],
        ),
        (
            "[a]\ncommand = \"ablate\"\ndraws = \"many\"\n",
            &["run a", "many", "--draws"],
        ),
        (
            "[a]\ncommand = \"ablate\"\nclasses = []\n",
            &["classes is an empty list"],
        ),
        (
            "[a]\ncommand = \"ablate\"\nmode = 1979-05-27\n",
            &["mode is a datetime"],
        ),
        (
            "[a]\ncommand = \"ablate\"\nout = \"runs/all\"\n",
            &["runs all and a have the same folder"],
        ),
        (
            "[a]\ncommand = \"ablate\"\nmodel = \"smollm2-135\"\n",
            &["run a", "`smollm2-135` names no model"],
        ),
        (
            "[a]\ncommand = \"ablate\"\nmodel = \"./absent\"\n",
            &["run a", "./absent does not exist"],
        ),
        (
            "[my run] # of mine\ncommand = \"ablate\"\n",
            &["is no TOML", "stands in quotes: [\"my run\"]"],
        ),
        ("[a\n", &["is no TOML", "experiment.toml", "line "]),
        ("[all]\n", &["is no TOML", "duplicate"]),
    ] {
        let path = experiment(&dir, more);
        let message = fail(&["run", &path]);
        for part in parts {
            assert!(message.contains(part), "{more}: {message}");
        }
        assert!(!dir.path().join("runs").exists(), "{more}");
    }
    let path = file(&dir, "empty.toml", "model = \"smollm2-135m\"\n");
    assert!(fail(&["run", &path]).contains("it has no table"));
    let path = file(
        &dir,
        "unused.toml",
        "windows = 3\n[a]\ncommand = \"ablate\"\n",
    );
    assert!(fail(&["run", &path]).contains("windows stands above the tables"));
    let path = experiment(&dir, "");
    assert!(fail(&["run", &path, "--only", "al"]).contains("it has all, two_draws"));
    let message = fail(&["run", &path, "--draws", "2"]);
    assert!(
        message.contains("options of the runs stand in the file") && !message.contains("tip"),
        "{message}"
    );
    assert!(fail(&["run", &path, "--resum"]).contains("'--resume'"));
    assert!(fail(&["run", "absent.toml"]).contains("cannot read absent.toml"));
}

#[test]
fn a_run_may_take_the_model_that_another_one_writes() {
    let dir = TempDir::new().unwrap();
    let path = experiment(&dir, "");
    let model = goldens().join("tiny-llama");
    let text = format!(
        "neurons = \"mine.txt\"\n[made]\ncommand = \"export\"\nmodel = {model:?}\nout = \"made\"\n\
         [asked]\ncommand = \"ablate\"\nmodel = \"./made\"\nprompts = \"facts.jsonl\"\nsubset = \"all\"\ndraws = 2\n\
         neurons = \"other.txt\"\nout = \"asked\"\n"
    );
    file(&dir, "other.txt", "2.3\n");
    fs::write(&path, text).unwrap();
    succeed(&["run", &path]);
    assert!(dir.path().join("asked/run.json").exists());
}
