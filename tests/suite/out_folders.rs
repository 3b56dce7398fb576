//! The folder of `--out`: its forms, its lock, a disk or a limit that is full, and files of a run that were changed.
#![cfg(unix)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::cli::{fail, file, json, succeed};
use super::common::goldens;

fn tiny() -> String {
    goldens().join("tiny-llama").to_str().unwrap().to_string()
}

fn gatelens() -> &'static Path {
    Path::new(assert_cmd::cargo::cargo_bin!("gatelens"))
}

/// `classify` of a tiny model, in the folder `here`.
fn classify(here: &Path, out: &str, more: &[&str]) -> Output {
    let mut command = Command::new(gatelens());
    command.current_dir(here);
    command.args(["classify", "--model", &tiny(), "--out", out]);
    command.args(more).output().unwrap()
}

fn shell(script: &str) -> Output {
    Command::new("sh").args(["-c", script]).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn every_form_of_a_folder_is_filled_or_refused_before_work() {
    let dir = TempDir::new().unwrap();
    let root = dir.path();
    for name in ["here", "full", "other"] {
        fs::create_dir(root.join(name)).unwrap();
    }
    fs::write(root.join("full/thesis.tex"), "mine").unwrap();
    fs::write(root.join("file"), "mine").unwrap();
    std::os::unix::fs::symlink(root.join("other"), root.join("link")).unwrap();
    std::os::unix::fs::symlink(root.join("nowhere"), root.join("dangling")).unwrap();
    for (here, out, place) in [
        ("here", ".", "here"),
        ("here", "../new/deep/", "new/deep"),
        ("here", "../full", "full"),
        ("here", "../link//", "other"),
    ] {
        let output = classify(&root.join(here), out, &[]);
        assert!(output.status.success(), "{out}: {}", text(&output.stderr));
        assert_eq!(json(&root.join(place).join("run.json"))["tool"], "gatelens");
        let output = classify(&root.join(here), out, &[]);
        assert!(text(&output.stderr).contains("--force"), "{out}");
        let output = classify(&root.join(here), out, &["--force"]);
        assert!(output.status.success(), "{out}: {}", text(&output.stderr));
    }
    assert!(root.join("link").is_symlink());
    assert_eq!(fs::read(root.join("full/thesis.tex")).unwrap(), b"mine");
    for (out, said) in [
        ("dangling", "nowhere"),
        ("file", "file"),
        ("file/run", "file"),
    ] {
        let output = classify(root, out, &[]);
        assert_eq!(output.status.code(), Some(1));
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert!(
            stderr.contains(said) && stdout.is_empty(),
            "{out}: {stderr}"
        );
    }
    assert!(!root.join("nowhere").exists());
}

#[test]
fn a_run_lists_its_files_and_only_these_are_replaced() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("run");
    assert!(classify(dir.path(), "run", &[]).status.success());
    let listed = json(&out.join("run.json"))["outputs"].clone();
    let names: Vec<&str> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["classes.json", "neurons.parquet"]);
    for file in listed.as_array().unwrap() {
        let path = out.join(file["name"].as_str().unwrap());
        assert_eq!(
            file["bytes"].as_u64(),
            Some(fs::metadata(path).unwrap().len())
        );
    }
    succeed(&["report", out.to_str().unwrap()]);
    fs::write(out.join("notes.txt"), "mine").unwrap();
    assert!(classify(dir.path(), "run", &["--force"]).status.success());
    assert!(!out.join("report.html").exists(), "a page of the old run");
    assert!(out.join("notes.txt").exists());

    fs::write(out.join("classes.json"), "{}").unwrap();
    let stderr = text(&classify(dir.path(), "run", &["--force"]).stderr);
    assert!(stderr.contains("classes.json was changed"), "{stderr}");
    let error = fail(&["report", out.to_str().unwrap()]);
    assert!(error.contains("classes.json"), "{error}");

    fs::write(out.join("run.json"), "{\"command\": \"npm test\"}").unwrap();
    let stderr = text(&classify(dir.path(), "run", &["--force"]).stderr);
    assert!(
        stderr.contains("not a run folder") && !stderr.contains("--force"),
        "{stderr}"
    );
}

/// An ablation of several passes.
fn ablation(dir: &TempDir, out: &Path) -> Vec<String> {
    let neurons = file(dir, "mine.txt", "0.3\n1.17\n1.40\n2.8\n3.61\n");
    let facts = (0..900).map(|i| {
        format!(
            "{{\"id\": \"{i}\", \"prompt\": \"Number {i} of the long list is\", \"subject\": \"list\", \"target\": \"here\"}}\n"
        )
    });
    let facts = file(dir, "facts.jsonl", &facts.collect::<String>());
    let words = [
        "ablate",
        "--model",
        &tiny(),
        "--neurons",
        &neurons,
        "--draws",
        "8",
        "--subset",
        "all",
        "--prompts",
        &facts,
        "--out",
        out.to_str().unwrap(),
    ];
    words.map(str::to_string).to_vec()
}

#[test]
fn the_second_of_two_runs_is_refused_and_the_lock_of_a_killed_one_is_none() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("run");
    let args = ablation(&dir, &out);
    let mut first = Command::new(gatelens());
    let first = first
        .args(&args)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut first = first.spawn().unwrap();
    while !out.join(".gatelens-work").exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let error = fail(&words);
    assert!(
        error.contains(&format!("process {}", first.id())),
        "{error}"
    );
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(out.join(".gatelens.lock").exists());
    succeed(&[&words[..], &["--force"]].concat());
    assert!(!out.join(".gatelens.lock").exists());
    assert!(!out.join("plan.json").exists());
}

#[test]
fn what_appears_during_the_run_stays() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("run");
    let mut run = Command::new(gatelens());
    let run = run
        .args(ablation(&dir, &out))
        .stderr(Stdio::piped())
        .stdout(Stdio::piped());
    let run = run.spawn().unwrap();
    while !out.join("plan.json").exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    fs::write(out.join("outcomes.parquet"), "mine").unwrap();
    let output = run.wait_with_output().unwrap();
    assert!(output.status.success());
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(stderr.contains("outcomes.parquet appeared"), "{stderr}");
    assert!(stdout.contains("run/gatelens-1"), "{stdout}");
    assert_eq!(fs::read(out.join("outcomes.parquet")).unwrap(), b"mine");
    assert_eq!(json(&out.join("gatelens-1/run.json"))["finished"], true);
}

/// `ulimit -f`, in blocks of 512 or 1,024 bytes: too little for the table, enough for a part.
#[test]
fn a_file_that_is_too_large_loses_no_estimate_and_no_pass() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("run");
    let args = ablation(&dir, &out);
    let command = format!("{} {}", gatelens().display(), args.join(" "));
    let output = shell(&format!("ulimit -f 200; {command}"));
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.to_lowercase().contains("file too large"), "{stderr}");
    assert!(!out.join("run.json").exists() && !out.join(".gatelens-work").exists());
    assert!(stderr.contains("outcomes.parquet"), "{stderr}");
    assert!(stdout.contains("mine"), "the table is printed: {stdout}");
    assert!(
        stderr.contains("run/parts") && stderr.contains("--resume"),
        "{stderr}"
    );
    let output = shell(&format!("{command} --resume"));
    assert!(output.status.success(), "{}", text(&output.stderr));
}

/// A folder that is a mount point, and a disk of its own that is too small.
#[test]
#[cfg(target_os = "linux")]
fn a_mount_point_is_filled_and_a_full_disk_loses_no_estimate() {
    let dir = TempDir::new().unwrap();
    let disk = dir.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let unshared = |script: &str| {
        let output = Command::new("unshare")
            .args(["-rm", "sh", "-c", script])
            .output();
        output.unwrap()
    };
    let mount = |size: &str| format!("mount -t tmpfs -o size={size} tmpfs {}", disk.display());
    if !unshared(&mount("64k")).status.success() {
        eprintln!("not run: this machine allows no mount namespace");
        return;
    }
    let command = format!(
        "{} {}",
        gatelens().display(),
        ablation(&dir, &disk).join(" ")
    );
    let show = format!("; echo code $?; ls -A {}", disk.display());
    let output = unshared(&format!("{} && {command}{show}", mount("64m")));
    let stdout = text(&output.stdout);
    assert!(
        stdout.ends_with("code 0\ndraws.parquet\neffects.json\noutcomes.parquet\nrun.json\n"),
        "{stdout}"
    );
    for size in ["64k", "256k", "768k"] {
        let output = unshared(&format!("{} && {command}{show}", mount(size)));
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        if stdout.contains("code 0") {
            continue;
        }
        assert!(stderr.contains("disk space"), "{stderr}");
        assert!(
            !stdout.contains("run.json") && !stdout.contains(".gatelens"),
            "{stdout}"
        );
        let parts_are_kept = stdout.contains("parts\n");
        assert_eq!(
            parts_are_kept,
            stderr.contains("--resume"),
            "{stdout}{stderr}"
        );
    }
}

#[test]
fn a_recording_is_used_only_as_it_was_written_and_where_it_fits() {
    let dir = TempDir::new().unwrap();
    let facts = (0..20).map(|i| {
        format!(
            "{{\"id\": \"{i}\", \"prompt\": \"Number {i} of the list is\", \"subject\": \"list\", \"target\": \"here\"}}\n"
        )
    });
    let facts = file(&dir, "facts.jsonl", &facts.collect::<String>());
    let neurons = file(&dir, "mine.txt", "0.3\n1.17\n");
    let record = |name: &str, more: &[&str]| {
        let out = dir.path().join(name).to_str().unwrap().to_string();
        let words = [
            "record",
            "--model",
            &tiny(),
            "--draws",
            "2",
            "--threshold",
            "0.15",
            "--out",
            &out,
        ];
        succeed(&[&words[..], more].concat());
        out
    };
    let model = tiny();
    let ablate = |reference: &str, more: &[&str]| -> Vec<String> {
        let words = [
            "ablate",
            "--model",
            &model,
            "--neurons",
            &neurons,
            "--draws",
            "2",
            "--mode",
            "mean",
            "--reference",
            reference,
        ];
        let words = words.iter().chain(more);
        words.map(|word| word.to_string()).collect()
    };
    let refused = |args: &[String]| fail(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let prompts = ["--prompts", facts.as_str()];
    let on_prompts = [&prompts[..], &["--subset", "all"]].concat();
    let plain = record("plain", &prompts);
    succeed(
        &ablate(&plain, &on_prompts)
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>(),
    );

    let others = [
        (["--bos", "never"], "BOS", ["--bos", "always"]),
        (["--fold", "none"], "--fold none", ["--fold", "pre"]),
        (["--dtype", "bf16"], "--dtype bf16", ["--dtype", "f32"]),
        (
            ["--positions", "last"],
            "--positions last",
            ["--positions", "all"],
        ),
    ];
    for (at, (recorded, there, here)) in others.into_iter().enumerate() {
        let folder = record(&format!("other-{at}"), &[&prompts[..], &recorded].concat());
        let error = refused(&ablate(&folder, &[&on_prompts[..], &here].concat()));
        assert!(error.contains(there) && error.contains("here:"), "{error}");
    }
    let lines = file(
        &dir,
        "texts.jsonl",
        "{\"text\": \"A line of text.\"}\n{\"text\": \"Another line.\"}\n",
    );
    let texts = record("texts", &["--text", &lines, "--context", "16"]);
    let error = refused(&ablate(&texts, &["--text", &lines, "--context", "8"]));
    assert!(
        error.contains("--context 16") && error.contains("--context 8"),
        "{error}"
    );
    let neuron = ["neuron", "0.3", "--model", &model, "--recorded", &plain];
    succeed(&neuron);
    assert!(fail(&[&neuron[..], &["--fold", "none"]].concat()).contains("--fold pre"));

    // Flipped bits, cut files, and files of another run.
    for name in ["summary.parquet", "top_tokens.parquet"] {
        let path = Path::new(&plain).join(name);
        let whole = fs::read(&path).unwrap();
        for at in (0..24).map(|i| i * whole.len() / 24) {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << (at % 8);
            let cut = whole[..at].to_vec();
            fs::write(&path, if at % 2 == 0 { damaged } else { cut }).unwrap();
            assert!(fail(&neuron).contains(name));
        }
        fs::write(&path, whole).unwrap();
    }
    // Without hashes, as version 0.1.0 wrote it, the contents have to be whole; nothing panics.
    let run = Path::new(&plain).join("run.json");
    let mut old = json(&run);
    old.as_object_mut().unwrap().remove("tool");
    fs::write(&run, old.to_string()).unwrap();
    let output = Command::new(gatelens()).args(neuron).output().unwrap();
    assert!(output.status.success() && text(&output.stderr).contains("0.1.0"));
    let path = Path::new(&plain).join("summary.parquet");
    let whole = fs::read(&path).unwrap();
    for at in (0..40).map(|i| i * whole.len() / 40) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        fs::write(&path, damaged).unwrap();
        let output = Command::new(gatelens())
            .args(ablate(&plain, &on_prompts))
            .output()
            .unwrap();
        let stderr = text(&output.stderr);
        assert!(
            matches!(output.status.code(), Some(0 | 1)) && !stderr.contains("panicked"),
            "{stderr}"
        );
    }
}
