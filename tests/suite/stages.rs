//! The data goes one way: a stage imports only stages above it in `lib.rs`.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let nested = entries.flat_map(|path| {
        if path.is_dir() {
            sources(&path)
        } else {
            vec![path]
        }
    });
    nested
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .collect()
}

#[test]
fn a_stage_imports_only_stages_above_it() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let lib = fs::read_to_string(src.join("lib.rs")).unwrap();
    let order: Vec<&str> = lib
        .lines()
        .filter_map(|line| {
            line.trim_start_matches("pub ")
                .strip_prefix("mod ")?
                .strip_suffix(';')
        })
        .collect();
    assert!(order.len() >= 10, "{order:?}");
    let place = |stage: &str| order.iter().position(|known| *known == stage);
    for path in sources(&src) {
        let within = path.strip_prefix(&src).unwrap().to_str().unwrap();
        let stage = within.split(['/', '.']).next().unwrap();
        let Some(at) = place(stage) else { continue }; // main.rs and lib.rs
        for (number, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            let Some((_, rest)) = line.split_once("crate::") else {
                continue;
            };
            let imported = rest
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .next()
                .unwrap();
            if let Some(from) = place(imported).filter(|_| imported != stage) {
                assert!(
                    from < at,
                    "{within}:{}: {stage} imports {imported}, which comes after it",
                    number + 1
                );
            }
            assert!(
                stage != "stats" || imported == "stats",
                "{within}: stats imports no other stage"
            );
        }
    }
}
