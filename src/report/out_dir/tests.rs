use super::super::run_info::UnfinishedRun;
use super::*;
use crate::report::{ModelInfo, TOOL};

fn info(command: &str) -> RunInfo {
    RunInfo {
        tool: TOOL.to_string(),
        command: command.to_string(),
        arguments: Vec::new(),
        settings: serde_json::Value::Null,
        version: "0".to_string(),
        model: ModelInfo {
            id: String::new(),
            family: String::new(),
            files: Vec::new(),
        },
        tokenizer_sha256: None,
        dtype: "f32".to_string(),
        directory: None,
        inputs: Vec::new(),
        threads: None,
        device: "cpu".to_string(),
        assumed: Vec::new(),
        fold: "pre".to_string(),
        control: None,
        bos: None,
        seed: None,
        prompts: None,
        texts: Vec::new(),
        unfinished: UnfinishedRun::default(),
        finished: true,
        counts: serde_json::Value::Null,
        wall_s: 0.0,
        outputs: Vec::new(),
    }
}

fn files(text: &str) -> [(&'static str, Vec<u8>); 1] {
    [("effects.json", text.as_bytes().to_vec())]
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn claim(path: &Path, overwrite: Overwrite) -> OutDir {
    OutDir::claim(path, overwrite).unwrap()
}

#[test]
fn a_finished_run_is_replaced_only_by_force() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("deep/run");
    let placed = claim(&path, Overwrite::Refuse).commit(&files("1"), &info("ablate"));
    assert_eq!(placed.unwrap().folder, path);
    assert!(matches!(
        OutDir::claim(&path, Overwrite::Refuse),
        Err(ReportError::Finished { .. })
    ));
    fs::write(path.join("mine.txt"), "").unwrap();
    let files_of_another = [("curve.json", b"2".to_vec())];
    let placed = claim(&path, Overwrite::Replace).commit(&files_of_another, &info("rank"));
    placed.unwrap();
    assert_eq!(names(&path), ["curve.json", "mine.txt", "run.json"]);

    fs::write(path.join("curve.json"), "3").unwrap();
    let error = OutDir::claim(&path, Overwrite::Replace).unwrap_err();
    assert!(matches!(error, ReportError::Changed { .. }), "{error}");
    assert_eq!(names(&path), ["curve.json", "mine.txt", "run.json"]);
}

#[test]
fn a_folder_of_somebody_else_is_filled_and_its_files_stay() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path();
    fs::write(path.join("thesis.tex"), "").unwrap();
    assert!(matches!(
        OutDir::claim(path, Overwrite::Replace),
        Err(ReportError::Foreign { .. })
    ));
    let out = claim(path, Overwrite::Refuse);
    out.commit(&files("1"), &info("ablate")).unwrap();
    drop(out);
    assert_eq!(names(path), ["effects.json", "run.json", "thesis.tex"]);

    for (name, text) in [("run.json", "{}"), ("run.json", "x"), ("effects.json", "")] {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join(name), text).unwrap();
        for overwrite in [Overwrite::Refuse, Overwrite::Replace, Overwrite::Resume] {
            let error = OutDir::claim(root.path(), overwrite)
                .unwrap_err()
                .to_string();
            assert!(error.contains("not a run folder"), "{error}");
            assert!(!error.contains("--force"), "{error}");
        }
        assert_eq!(names(root.path()), [name]);
    }
}

#[test]
fn what_appears_meanwhile_stays() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("run");
    let out = claim(&path, Overwrite::Refuse);
    fs::write(path.join("effects.json"), "mine").unwrap();
    fs::create_dir(path.join("gatelens-1")).unwrap();
    let placed = out.commit(&files("1"), &info("ablate")).unwrap();
    assert_eq!(placed.occupied.as_deref(), Some("effects.json"));
    assert_eq!(placed.folder, path.join("gatelens-2"));
    drop(out);
    assert_eq!(fs::read(path.join("effects.json")).unwrap(), b"mine");
    assert_eq!(names(&placed.folder), ["effects.json", "run.json"]);
    assert_eq!(names(&path), ["effects.json", "gatelens-1", "gatelens-2"]);
}

#[test]
fn two_runs_do_not_share_a_folder() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("run");
    let out = claim(&path, Overwrite::Refuse);
    let error = OutDir::claim(&path, Overwrite::Replace)
        .unwrap_err()
        .to_string();
    assert!(error.contains(&std::process::id().to_string()), "{error}");
    drop(out);
    assert!(
        !path.exists(),
        "nothing is left of a run that wrote nothing"
    );
    // What a killed run leaves is no lock.
    fs::create_dir(&path).unwrap();
    fs::write(path.join(super::super::lock::LOCK), "1\n").unwrap();
    drop(claim(&path, Overwrite::Refuse));
}

#[test]
fn an_unfinished_run_is_gone_on_with_or_given_up() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("run");
    let out = claim(&path, Overwrite::Refuse);
    out.begin(&info("ablate")).unwrap();
    out.put(Path::new("parts/00000.part"), b"1").unwrap();
    drop(out);
    let error = OutDir::claim(&path, Overwrite::Refuse)
        .unwrap_err()
        .to_string();
    assert!(error.contains("--resume"), "{error}");
    fs::write(path.join("parts/mine.txt"), "").unwrap();
    let out = claim(&path, Overwrite::Resume);
    assert_eq!(out.unfinished().unwrap().command, "ablate");
    out.commit(&files("1"), &info("ablate")).unwrap();
    drop(out);
    assert_eq!(names(&path), ["effects.json", "parts", "run.json"]);
    assert_eq!(names(&path.join("parts")), ["mine.txt"]);
    assert!(matches!(
        OutDir::claim(&path, Overwrite::Resume),
        Err(ReportError::Finished { .. })
    ));
}

/// Where run.json stands, the run is finished, and no plan of it is left to go on with.
#[test]
fn a_kill_before_run_json_leaves_a_result_to_be_found() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("run");
    let out = claim(&path, Overwrite::Refuse);
    out.begin(&info("ablate")).unwrap();
    out.put(Path::new("parts/00000.part"), b"1").unwrap();
    let mut list = info("ablate");
    fs::write(out.work().join("effects.json"), b"new").unwrap();
    list.outputs
        .push(owned::list(&out.work(), "effects.json").unwrap());
    fs::write(out.work().join(RUN), list.to_json().unwrap()).unwrap();
    fs::rename(out.work().join("effects.json"), path.join("effects.json")).unwrap();
    out.give_up().unwrap();
    drop(out);
    assert!(!path.join(RUN).exists());
    let error = OutDir::claim(&path, Overwrite::Resume).unwrap_err();
    assert!(matches!(error, ReportError::Finished { .. }), "{error}");
    assert_eq!(names(&path), ["effects.json", "run.json"]);
}

/// Every state that a kill between two moves leaves.
#[test]
fn a_result_that_was_complete_is_found() {
    for moved in 0..3 {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("run");
        let old = [
            ("effects.json", b"old".to_vec()),
            ("curve.json", b"x".to_vec()),
        ];
        let placed = claim(&path, Overwrite::Refuse).commit(&old, &info("rank"));
        placed.unwrap();
        let out = claim(&path, Overwrite::Replace);
        let new = [
            ("effects.json", b"new".to_vec()),
            ("heat_map.svg", b"y".to_vec()),
        ];
        let mut list = info("sweep");
        for (name, bytes) in &new {
            fs::write(out.work().join(name), bytes).unwrap();
            list.outputs.push(owned::list(&out.work(), name).unwrap());
        }
        fs::write(out.work().join(RUN), list.to_json().unwrap()).unwrap();
        for (name, _) in &new[..moved] {
            fs::rename(out.work().join(name), path.join(name)).unwrap();
        }
        drop(out); // as a killed process, which keeps what is complete
        let error = OutDir::claim(&path, Overwrite::Refuse).unwrap_err();
        assert!(matches!(error, ReportError::Finished { .. }), "{error}");
        assert_eq!(
            names(&path),
            ["effects.json", "heat_map.svg", "run.json"],
            "{moved}"
        );
        assert_eq!(fs::read(path.join("effects.json")).unwrap(), b"new");
    }
}

#[test]
fn what_a_killed_run_had_not_completed_is_cleared() {
    let root = tempfile::tempdir().unwrap();
    let work = root.path().join(WORK);
    fs::create_dir(&work).unwrap();
    fs::write(work.join(MARKER), "").unwrap();
    fs::write(work.join("tokens.parquet"), "half").unwrap();
    drop(claim(root.path(), Overwrite::Refuse));
    assert_eq!(names(root.path()), [""; 0]);
    // Without our mark it is nobody's to remove.
    fs::create_dir(&work).unwrap();
    fs::write(work.join("mine"), "").unwrap();
    assert!(OutDir::claim(root.path(), Overwrite::Refuse).is_err());
    assert!(work.join("mine").exists());
}

#[test]
fn a_folder_of_version_0_1_0_is_ours() {
    let root = tempfile::tempdir().unwrap();
    let mut old: serde_json::Value =
        serde_json::from_slice(&info("ablate").to_json().unwrap()).unwrap();
    for key in ["tool", "outputs"] {
        old.as_object_mut().unwrap().remove(key);
    }
    fs::write(root.path().join(RUN), old.to_string()).unwrap();
    fs::write(root.path().join("outcomes.parquet"), "").unwrap();
    fs::write(root.path().join("thesis.tex"), "").unwrap();
    let out = claim(root.path(), Overwrite::Replace);
    out.commit(&files("1"), &info("ablate")).unwrap();
    drop(out);
    assert_eq!(
        names(root.path()),
        ["effects.json", "run.json", "thesis.tex"]
    );
}

#[test]
fn a_file_is_replaced_as_a_whole() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("page");
    write_file(&path, b"1").unwrap();
    write_file(&path, b"2").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"2");
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    let error = write_file(&root.path().join("none/page"), b"").unwrap_err();
    assert!(error.to_string().contains("none/page"), "{error}");
}

#[test]
fn a_disk_that_is_too_small_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let out = claim(&root.path().join("run"), Overwrite::Refuse);
    out.check_space(1).unwrap();
    if cfg!(unix) {
        let error = out.check_space(u64::MAX).unwrap_err().to_string();
        assert!(error.contains("MiB"), "{error}");
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("run")] {
        let error = OutDir::claim(&path, Overwrite::Refuse)
            .unwrap_err()
            .to_string();
        assert!(error.contains("file"), "{error}");
    }
    assert!(file.is_file());
}

#[test]
#[cfg(unix)]
fn a_link_is_followed_where_it_leads_somewhere() {
    let root = tempfile::tempdir().unwrap();
    let [target, link] = ["target", "link"].map(|name| root.path().join(name));
    std::os::unix::fs::symlink(&target, &link).unwrap();
    let error = OutDir::claim(&link, Overwrite::Refuse)
        .unwrap_err()
        .to_string();
    assert!(error.contains("target"), "{error}");
    assert!(!target.exists());
    fs::create_dir(&target).unwrap();
    let out = claim(&link, Overwrite::Refuse);
    out.commit(&files("1"), &info("ablate")).unwrap();
    drop(out);
    assert!(link.is_symlink());
    assert_eq!(names(&target), ["effects.json", "run.json"]);
}
