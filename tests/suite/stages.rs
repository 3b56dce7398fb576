//! The data goes one way: a stage imports only stages above it in `lib.rs`, and no two files import each other.

use std::collections::{BTreeMap, BTreeSet};
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

/// Names of modules and of what stands in them, from the crate's root on.
type Names = Vec<String>;

/// The names of a `use` line, without braces: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn flat(line: &str) -> Vec<String> {
    let Some((before, inside)) = line.split_once('{') else {
        let name = line.split(" as ").next().unwrap_or_default();
        return vec![name.trim().to_string()];
    };
    let (mut depth, mut parts) = (0, vec![String::new()]);
    for c in inside.trim_end().trim_end_matches('}').chars() {
        depth += i32::from(c == '{') - i32::from(c == '}');
        match (c, depth) {
            (',', 0) => parts.push(String::new()),
            _ => parts.last_mut().unwrap().push(c),
        }
    }
    let parts = parts.iter().map(|part| part.trim());
    let parts = parts.filter(|part| !part.is_empty());
    parts
        .flat_map(|part| flat(&format!("{}{part}", before.trim())))
        .collect()
}

/// What each file imports by `use`.
struct Imports {
    /// Module -> its text.
    files: BTreeMap<Names, String>,
    /// A name that a module hands on -> where it has it from.
    handed_on: BTreeMap<Names, Names>,
    uses: Vec<(Names, Names)>,
}

impl Imports {
    fn read(src: &Path) -> Imports {
        let module = |path: &Path| -> Names {
            let within = path.strip_prefix(src).unwrap().with_extension("");
            let names = within.iter().map(|name| name.to_str().unwrap().to_string());
            names.filter(|name| name != "mod").collect()
        };
        let of_code = sources(src)
            .into_iter()
            .filter(|path| !path.ends_with("tests.rs"));
        let files = of_code.map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap().to_string();
            (module(&path), code)
        });
        let mut imports = Imports {
            files: files.collect(),
            handed_on: BTreeMap::new(),
            uses: Vec::new(),
        };
        for (module, text) in imports.files.clone() {
            let lines = text.lines().map(|line| line.split("//").next().unwrap());
            let code = lines.collect::<Vec<_>>().join(" ");
            for statement in code.split(';') {
                let Some((before, line)) = statement.rsplit_once("use ") else {
                    continue;
                };
                for name in flat(line) {
                    let Some(from) = imports.absolute(&module, &name) else {
                        continue;
                    };
                    match before.trim_end().ends_with(['b', ')']) {
                        true => {
                            let own = [&module[..], &from[from.len() - 1..]].concat();
                            imports.handed_on.insert(own, from);
                        }
                        false => imports.uses.push((module.clone(), from)),
                    }
                }
            }
        }
        imports
    }

    /// `None` for what is of another crate.
    fn absolute(&self, module: &[String], name: &str) -> Option<Names> {
        let mut names: Names = name.split("::").map(str::to_string).collect();
        let mut base = module.to_vec();
        match names[0].as_str() {
            "crate" => base.clear(),
            "super" | "self" => {
                let up = names.iter().take_while(|name| *name == "super").count();
                base.truncate(base.len() - up);
                names.drain(..up.saturating_sub(1));
            }
            _ if self.files.contains_key(&[&base[..], &names[..1]].concat()) => {
                return Some([base, names].concat());
            }
            _ => return None,
        }
        Some([&base[..], &names[1..]].concat())
    }

    /// The file that defines a name.
    fn file(&self, names: &[String]) -> Names {
        let depths = (0..=names.len()).rev();
        let mut modules = depths.filter(|depth| self.files.contains_key(&names[..*depth]));
        let depth = modules.next().unwrap_or(0);
        let handed_on = names
            .get(..depth + 1)
            .and_then(|own| self.handed_on.get(own));
        match handed_on {
            Some(from) => self.file(&[&from[..], &names[depth + 1..]].concat()),
            None => names[..depth].to_vec(),
        }
    }
}

#[test]
fn no_two_files_import_each_other() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let imports = Imports::read(&src);
    let pairs = imports
        .uses
        .iter()
        .map(|(file, from)| (file.clone(), imports.file(from)));
    let pairs: BTreeSet<(Names, Names)> = pairs.filter(|(a, b)| a != b && !b.is_empty()).collect();
    assert!(pairs.len() > 500, "{}", pairs.len());
    let both = |(a, b): &&(Names, Names)| a < b && pairs.contains(&(b.clone(), a.clone()));
    let circles = pairs
        .iter()
        .filter(both)
        .map(|(a, b)| format!("{} and {}", a.join("/"), b.join("/")));
    let in_order = [
        "hub/",
        "prompts/",
        "tokens/",
        "model/",
        "io_class/",
        "hooks/",
        "engine/",
        "stats/",
        "experiment/",
        "report/",
        "cli",
    ];
    let circles: Vec<String> = circles
        .filter(|names| in_order.iter().any(|stage| names.starts_with(stage)))
        .collect();
    assert_eq!(circles, [""; 0]);
}
