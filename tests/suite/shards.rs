//! Runs in shards: joined, they give the files of one run to the last bit, and what does not belong together is refused by
//! name.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use arrow_array::cast::AsArray;
use tempfile::TempDir;

use super::cli::{columns, fail, file, json, succeed};
use super::common::goldens;

/// Arguments of a run that has some passes, on a small model of which every class is known.
pub fn arguments(dir: &TempDir, command: &[&str]) -> Vec<String> {
    let neurons = file(dir, "mine.txt", "0.3\n1.17\n1.40\n2.8\n3.61\n");
    let fact = |i: usize| {
        let subject = ["Paris", "Rome", "the long list", "Ada"][i % 4];
        format!(
            "{{\"id\": \"{i}\", \"prompt\": \"Number {i} of all that {subject}\", \"subject\": \"{subject}\", \"target\": \"is\"}}\n"
        )
    };
    let facts = match command[0] {
        "attributes" => known_facts(dir),
        _ => file(dir, "facts.jsonl", &(0..700).map(fact).collect::<String>()),
    };
    let text = |i: usize| {
        format!(
            "{{\"text\": \"{}\"}}\n",
            format!("Line {i} says little. ").repeat(2 + i % 9)
        )
    };
    let texts = file(dir, "texts.jsonl", &(0..250).map(text).collect::<String>());
    let about = "{\"subject\": \"Paris\", \"text\": \"The capital of light.\"}\n\
                 {\"subject\": \"Rome\", \"text\": \"A capital, and the right one.\"}\n\
                 {\"subject\": \"Ada\", \"text\": \"Light is right of a capital.\"}\n";
    let about = file(dir, "about.jsonl", about);
    let tiny = goldens().join("tiny-llama");
    let mut all: Vec<&str> = command.to_vec();
    all.extend(["--model", tiny.to_str().unwrap()]);
    match command[0] {
        "verify" => all.extend(["--quick", "--threshold", "0.15", "--prompts", &facts]),
        "record" => all.extend([
            "--text",
            "neutral",
            "--threshold",
            "0.15",
            "--draws",
            "3",
            "--top",
            "2",
            "--dense",
            "--sites",
            "blocks.3.mlp.hook_post,hook_resid_mid",
            "--max-memory",
            "200MiB",
        ]),
        _ => all.extend(["--neurons", &neurons, "--draws", "3"]),
    }
    match command {
        ["ablate", "--text"] => all.insert(2, &texts),
        ["ablate" | "sweep", ..] => all.extend(["--prompts", &facts, "--subset", "all"]),
        ["attributes"] => all.extend(["--prompts", &facts, "--subjects", &about, "--skip-missing"]),
        _ => {}
    }
    all.into_iter().map(str::to_string).collect()
}

/// Facts that the model knows: their targets are what it says.
pub fn known_facts(dir: &TempDir) -> String {
    let said = dir.path().join("said");
    let facts = arguments(dir, &["ablate"]);
    run(&with(&facts, &["--out", said.to_str().unwrap()]));
    let (_, rows) = columns(&said.join("outcomes.parquet"));
    let text = |name: &str| {
        rows.column_by_name(name)
            .unwrap()
            .as_string::<i32>()
            .clone()
    };
    let (arm, top) = (text("arm"), text("top_token"));
    let clean = (0..rows.num_rows()).filter(|row| arm.value(*row) == "clean");
    let plain = |row: &usize| {
        let token = top.value(*row).trim();
        !token.is_empty() && token.chars().all(char::is_alphanumeric)
    };
    let known = clean.filter(plain).map(|i| {
        let subject = ["Paris", "Rome", "the long list", "Ada"][i % 4];
        let (prompt, target) = (format!("Number {i} of all that {subject}"), top.value(i));
        serde_json::json!({"id": i.to_string(), "prompt": prompt, "subject": subject, "target": target}).to_string()
    });
    file(dir, "known.jsonl", &known.collect::<Vec<_>>().join("\n"))
}

fn with(arguments: &[String], more: &[&str]) -> Vec<String> {
    let more = more.iter().map(|word| word.to_string());
    arguments.iter().cloned().chain(more).collect()
}

fn run(arguments: &[String]) -> String {
    succeed(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

fn refused(arguments: &[String]) -> String {
    fail(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

/// What the files of a finished run are, by name; of `run.json` the counts.
pub fn result(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let of = |path: std::path::PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_string();
        let bytes = match name.as_str() {
            "run.json" => {
                let mut run = json(&path);
                assert_eq!(run["finished"], true);
                run["counts"].take().to_string().into_bytes()
            }
            // Has the seconds of the run.
            "report.html" => Vec::new(),
            _ => fs::read(&path).unwrap_or_else(|_| panic!("{} is left", path.display())),
        };
        (name, bytes)
    };
    files.map(of).collect()
}

fn check(command: &[&str]) {
    let dir = TempDir::new().unwrap();
    check_arguments(&dir, &arguments(&dir, command));
}

/// Runs it whole and in shards; the folder of the whole run.
fn check_arguments(dir: &TempDir, arguments: &[String]) -> std::path::PathBuf {
    let folder = |name: &str| dir.path().join(name);
    let whole = folder("whole");
    run(&with(arguments, &["--out", whole.to_str().unwrap()]));
    for count in [1, 3, 7] {
        let shared = folder(&format!("of-{count}"));
        let shared = shared.to_str().unwrap();
        for index in 0..count {
            let shard = format!("{index}/{count}");
            run(&with(arguments, &["--out", shared, "--shard", &shard]));
        }
        run(&with(&[], &["merge", shared]));
        assert_eq!(
            result(Path::new(shared)),
            result(&whole),
            "{arguments:?}, {count} shards"
        );
    }
    whole
}

#[test]
fn an_ablation_in_shards_is_the_whole_one() {
    check(&["ablate"]);
}

/// The other words of each fact are such that the model knows it; what is measured is another prompt.
#[test]
fn facts_known_by_their_other_words_in_shards_are_the_whole_ones() {
    let dir = TempDir::new().unwrap();
    let known = fs::read_to_string(known_facts(&dir)).unwrap();
    let swapped = |line: &str| {
        let mut fact: serde_json::Value = serde_json::from_str(line).unwrap();
        let answers = fact["prompt"]
            .as_str()?
            .contains(fact["target"].as_str()?.trim());
        if answers {
            return None;
        }
        fact["rephrased"] = fact["prompt"].take();
        fact["prompt"] = format!("A word for {}", fact["subject"].as_str().unwrap()).into();
        Some(format!("{fact}\n"))
    };
    let facts: Vec<String> = known.lines().filter_map(swapped).collect();
    let path = file(&dir, "swapped.jsonl", &facts.concat());
    let arguments = arguments(&dir, &["ablate"]);
    let replaced = arguments.iter().map(|word| match word.as_str() {
        "all" => "known".to_string(),
        word if word.ends_with("facts.jsonl") => path.clone(),
        word => word.to_string(),
    });
    let replaced: Vec<String> = replaced.collect();
    let asked = with(&replaced, &["--known-by", "rephrased"]);
    let whole = check_arguments(&dir, &asked);
    let counts = json(&whole.join("run.json"))["counts"].take();
    let count = |key: &str| counts["known_in"][key].as_u64().unwrap();
    assert!(
        count("rephrased") > 3 && count("same") < count("rephrased"),
        "{counts}"
    );
    assert!(count("both") <= count("same"));
    assert_eq!(counts["known"], counts["known_in"]["rephrased"]);
    assert_eq!(counts["edited_prompts"], counts["known"]);
    let (_, rows) = columns(&whole.join("outcomes.parquet"));
    let known = rows.column_by_name("known").unwrap().as_boolean().clone();
    let ranks = rows.column_by_name("first_rank").unwrap().clone();
    let ranks = ranks.as_primitive::<arrow_array::types::UInt32Type>();
    let told = (0..rows.num_rows()).filter(|&row| known.value(row));
    assert!(
        told.map(|row| ranks.value(row)).any(|rank| rank > 1),
        "measured on the prompt"
    );

    let lacking = facts[0].replace("rephrased", "other") + &facts[1..].concat();
    let path = file(&dir, "lacking.jsonl", &lacking);
    let lacking = with(&asked, &["--prompts", &path]);
    let first = lacking.iter().position(|word| word == "--prompts").unwrap();
    let lacking = [&lacking[..first], &lacking[first + 2..]].concat();
    let error = refused(&lacking);
    let expected = format!("1 of the {} facts of", facts.len());
    assert!(
        error.contains(&expected) && error.contains("--known-by"),
        "{error}"
    );
}

#[test]
fn an_ablation_of_text_in_shards_is_the_whole_one() {
    check(&["ablate", "--text"]);
}

#[test]
fn a_sweep_in_shards_is_the_whole_one() {
    check(&["sweep", "--window", "2", "--match", "layer+contribution"]);
}

#[test]
fn attributes_in_shards_are_the_whole_ones() {
    check(&["attributes"]);
}

#[test]
fn a_recording_in_shards_is_the_whole_one() {
    check(&["record"]);
}

#[test]
fn claims_in_shards_are_the_whole_ones() {
    check(&["verify"]);
}

#[test]
fn a_ranking_in_shards_is_the_whole_one() {
    let dir = TempDir::new().unwrap();
    let facts = known_facts(&dir);
    check(&["rank", "--top", "4", "--prompts", &facts]);
}

#[test]
fn what_does_not_belong_together_is_refused_by_name() {
    let dir = TempDir::new().unwrap();
    let arguments = arguments(&dir, &["ablate"]);
    let folder = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
    let shard = |out: &str, shard: &str, more: &[&str]| {
        run(&with(
            &arguments,
            &[&["--out", out, "--shard", shard], more].concat(),
        ));
        format!("{out}/shard-{}", shard.replace('/', "-of-"))
    };
    let (shared, other, result) = (folder("shared"), folder("other"), folder("result"));
    let first = shard(&shared, "0/2", &[]);
    let merge = |folders: &[&str]| {
        refused(&with(
            &[],
            &[&["merge", "--out", &result], folders].concat(),
        ))
    };
    assert!(merge(&[&shared]).contains("shard 1/2 of its run is missing"));

    // Other settings: the draws are others. A Holm p over a part of the tests is what must not be.
    let foreign = shard(&other, "1/2", &["--seed", "9"]);
    let message = merge(&[&first, &foreign]);
    assert!(
        message.contains("--seed: 9 now, 0 then") && message.contains(&foreign),
        "{message}"
    );
    // The same prompts from another file are the same run.
    let moved = folder("moved.jsonl");
    fs::copy(folder("facts.jsonl"), &moved).unwrap();
    let elsewhere = arguments
        .iter()
        .map(|word| word.replace(&folder("facts.jsonl"), &moved));
    let elsewhere: Vec<String> = elsewhere.collect();
    run(&with(&elsewhere, &["--out", &shared, "--shard", "1/2"]));
    let second = format!("{shared}/shard-1-of-2");
    assert!(merge(&[&shared, &second]).contains("there twice"));
    let of_three = shard(&shared, "1/3", &[]);
    let message = merge(&[&shared]);
    for part in [
        "different counts",
        &of_three,
        &format!("gatelens merge {shared}/*-of-2 --out {shared}"),
        &format!("gatelens merge {shared}/*-of-3 --out {shared}"),
        "remove the others",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    fs::remove_dir_all(&of_three).unwrap();
    assert!(merge(&[dir.path().to_str().unwrap()]).contains("no shard lies in it"));

    // A pass that is gone, one that is damaged, and one with other numbers.
    let part = |shard: &str, pass: usize, ending: &str| {
        Path::new(shard).join(format!("parts/{pass:05}.{ending}"))
    };
    let last = fs::read_dir(Path::new(&second).join("parts")).unwrap();
    let names = last.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let last: usize = names.map(|name| name[..5].parse().unwrap()).max().unwrap();
    let owner = if last.is_multiple_of(2) {
        &first
    } else {
        &second
    };
    let (rows, mark) = (part(owner, last, "parquet"), part(owner, last, "part"));
    let (whole_rows, whole_mark) = (fs::read(&rows).unwrap(), fs::read(&mark).unwrap());
    fs::remove_file(&mark).unwrap();
    let message = merge(&[&shared]);
    assert!(
        message.contains(&format!("pass {last} is missing or damaged")),
        "{message}"
    );
    fs::write(&mark, &whole_mark).unwrap();
    let mut bytes = whole_rows.clone();
    bytes[100] ^= 1;
    fs::write(&rows, &bytes).unwrap();
    assert!(merge(&[&shared]).contains("is missing or damaged"));
    fs::write(&rows, &whole_rows).unwrap();
    assert!(
        !Path::new(&result).exists(),
        "nothing is left of what was refused"
    );
    assert!(refused(&with(&arguments, &["--out", &shared, "--shard", "2/2"])).contains("no shard"));

    run(&with(&[], &["merge", "--out", &result, &first, &second]));
    assert!(Path::new(&first).exists(), "shards elsewhere stay");
    // A shard that is through runs nothing again, and says so.
    shard(&shared, "0/2", &[]);
}

#[test]
fn a_merge_takes_nothing_away() {
    let dir = TempDir::new().unwrap();
    // A number that a reader without care takes for its neighbour.
    let arguments = with(&arguments(&dir, &["ablate"]), &["--threshold", "0.12"]);
    let folder = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
    let (shared, whole) = (folder("shared"), folder("whole"));
    for shard in ["0/2", "1/2"] {
        run(&with(&arguments, &["--out", &shared, "--shard", shard]));
    }
    let first = format!("{shared}/shard-0-of-2");
    let error = refused(&with(&[], &["merge", &shared, "--out", &first]));
    assert!(error.contains("it is shard 0/2 itself"), "{error}");

    // What is left of a run with other settings stays.
    let other = folder("other");
    let begun = format!("{other}/shard-0-of-1");
    run(&with(
        &arguments,
        &["--out", &other, "--shard", "0/1", "--seed", "7"],
    ));
    let plan = fs::read_to_string(format!("{begun}/plan.json")).unwrap();
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    let mut unshared = plan.as_object().unwrap().clone();
    unshared.remove("shard");
    fs::write(
        format!("{begun}/plan.json"),
        serde_json::to_string(&unshared).unwrap(),
    )
    .unwrap();
    let error = refused(&with(&[], &["merge", &shared, "--out", &begun]));
    assert!(error.contains("--resume"), "{error}");
    assert!(Path::new(&begun).join("parts/00000.part").exists());

    // A shard that was ended before its first plan is not through.
    let second = Path::new(&shared).join("shard-1-of-2");
    let kept = fs::read(second.join("plan.json")).unwrap();
    let mut plan = json(&second.join("plan.json"));
    plan.as_object_mut().unwrap().remove("stages");
    fs::write(second.join("plan.json"), plan.to_string()).unwrap();
    fs::rename(second.join("parts"), second.join("away")).unwrap();
    fs::create_dir(second.join("parts")).unwrap();
    let error = refused(&with(&[], &["merge", &shared]));
    assert!(error.contains("shard 1/2 is not through"), "{error}");
    fs::remove_dir(second.join("parts")).unwrap();
    fs::rename(second.join("away"), second.join("parts")).unwrap();
    fs::write(second.join("plan.json"), kept).unwrap();

    // As a kill leaves it between the last file and the removal of the last shard.
    let away = dir.path().join("away");
    for name in ["plan.json", "parts"] {
        fs::create_dir_all(&away).unwrap();
        assert!(
            std::process::Command::new("cp")
                .arg("-r")
                .arg(second.join(name))
                .arg(&away)
                .status()
                .unwrap()
                .success()
        );
    }
    run(&with(&[], &["merge", &shared, "--threads", "1"]));
    assert!(!second.exists());
    let merged = json(&Path::new(&shared).join("run.json"));
    assert_eq!(merged["threads"], 1);
    fs::rename(&away, &second).unwrap();
    run(&with(&[], &["merge", &shared]));
    assert!(!second.exists());
    run(&with(&arguments, &["--out", &whole]));
    assert_eq!(result(Path::new(&shared)), result(Path::new(&whole)));
    let merged = json(&Path::new(&shared).join("run.json"));
    assert_eq!(merged["arguments"][0], "ablate");
    assert!(!Path::new(&shared).join("parts").exists());
    let error = refused(&with(&arguments, &["--out", &shared, "--shard", "0/2"]));
    assert!(error.contains("holds a finished run"), "{error}");
}

#[test]
fn shards_with_relative_paths_are_joined_anywhere() {
    let dir = TempDir::new().unwrap();
    let [mut shard, mut whole] = ["out", "whole"].map(|out| {
        let arguments = arguments(&dir, &["ablate"]);
        // Files of the folder by their names alone.
        let folder = format!("{}/", dir.path().display());
        let arguments = arguments.iter().map(|word| word.replace(&folder, ""));
        let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin!("gatelens"));
        command
            .args(arguments)
            .args(["--out", out])
            .current_dir(&dir);
        command
    });
    assert!(whole.output().unwrap().status.success());
    assert!(
        shard
            .args(["--shard", "0/1"])
            .output()
            .unwrap()
            .status
            .success()
    );
    let out = dir.path().join("out");
    let plan = out.join("shard-0-of-1/plan.json");
    let begun = fs::read_to_string(&plan).unwrap();
    fs::write(&plan, begun.replace("\"draws\": 3", "\"draws\": 4")).unwrap();
    let error = refused(&with(&[], &["merge", out.to_str().unwrap()]));
    assert!(
        error.contains("gatelens did not write the plan.json"),
        "{error}"
    );
    fs::write(&plan, begun).unwrap();
    run(&with(&[], &["merge", out.to_str().unwrap()]));
    assert_eq!(result(&out), result(&dir.path().join("whole")));
}

#[test]
fn a_shard_comes_from_the_job_array() {
    let dir = TempDir::new().unwrap();
    let arguments = arguments(&dir, &["ablate"]);
    let out = dir.path().join("out");
    let array = |variables: &[(&str, &str)]| {
        let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin!("gatelens"));
        command
            .args(&arguments)
            .args(["--out", out.to_str().unwrap(), "--shard", "slurm"]);
        command.envs(variables.iter().copied());
        let output = command.output().unwrap();
        (
            output.status.success(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (ok, message) = array(&[]);
    assert!(
        !ok && message.contains("SLURM_ARRAY_TASK_ID is not set"),
        "{message}"
    );
    let of = |id, count, min, max| {
        [
            ("SLURM_ARRAY_TASK_ID", id),
            ("SLURM_ARRAY_TASK_COUNT", count),
            ("SLURM_ARRAY_TASK_MIN", min),
            ("SLURM_ARRAY_TASK_MAX", max),
        ]
    };
    let (ok, message) = array(&of("2", "3", "1", "5"));
    assert!(!ok && message.contains("numbers without gaps"), "{message}");
    let (ok, message) = array(&of("2", "3", "1", "3"));
    assert!(ok && message.contains("shard 1/3 is through"), "{message}");
    assert!(!message.contains("no passes of its own"), "{message}");
    let (ok, message) = array(&of("98", "99", "0", "98"));
    assert!(
        ok && message.contains("shard 98/99 has no passes of its own: the run has"),
        "{message}"
    );
    assert!(out.join("shard-1-of-3/plan.json").exists());
}
