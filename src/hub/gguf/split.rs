//! A model in several GGUF files, as llama.cpp's `gguf-split` writes them: `NAME-00001-of-00003.gguf` and so on. The
//! first has the metadata; each says which of how many it is, and how many tensors they have together.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::file::GgufFile;
use super::twice::twice;
use crate::hub::file_error::FileError;

const NUMBER: &str = "split.no";
const COUNT: &str = "split.count";
const TENSORS: &str = "split.tensors.count";

/// Digits of a part's number in its name.
const DIGITS: usize = 5;

/// Names of missing parts that a message shows.
const SHOWN: usize = 5;

/// The names of all parts of a model, from that of one of them; of any other name, that name alone.
pub fn split_siblings(name: &str) -> Vec<String> {
    match part_name(name) {
        Some((prefix, count)) => (1..=count)
            .map(|number| format!("{prefix}-{number:05}-of-{count:05}.gguf"))
            .collect(),
        None => vec![name.to_string()],
    }
}

/// The name of the model that a file of this name is, or is a part of: without numbers and extension.
pub fn name_of_whole(name: &str) -> &str {
    let stem = || Path::new(name).file_stem().and_then(|stem| stem.to_str());
    let whole = part_name(name).map(|(prefix, _)| prefix);
    whole.or_else(stem).unwrap_or(name)
}

/// What stands before the numbers in a part's name, and the number of parts.
fn part_name(name: &str) -> Option<(&str, usize)> {
    let digits = |text: &str| {
        let all = text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<usize>().ok().filter(|_| all)
    };
    let (rest, count) = name.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (prefix, number) = rest.rsplit_once('-')?;
    let (number, count) = (digits(number)?, digits(count)?);
    (1..=count).contains(&number).then_some((prefix, count))
}

/// The files of the model that `path` is, or is a part of. A file whose header cannot be read is left to who reads it.
///
/// # Errors
/// A part whose name does not say which it is, and parts that are not beside it.
pub fn parts(path: &Path) -> Result<Vec<PathBuf>, FileError> {
    let whole = || vec![path.to_path_buf()];
    let Ok(file) = GgufFile::open(path) else {
        return Ok(whole());
    };
    let count = match file.split_value(COUNT)? {
        None | Some(0 | 1) => return Ok(whole()),
        Some(count) => count,
    };
    let name = path.file_name().and_then(|name| name.to_str());
    let names = split_siblings(name.unwrap_or_default());
    let refused = |why| Err(FileError::unusable(path, why));
    if names.len() != count {
        return refused(format!(
            "is one of {count} parts (split.count), and its name must say which, so that the others are found: \
             `NAME-00001-of-{count:05}.gguf`; give it the name that it had"
        ));
    }
    let mut missing = names;
    let paths: Vec<PathBuf> = missing
        .iter()
        .map(|name| path.with_file_name(name))
        .collect();
    missing.retain(|name| !path.with_file_name(name).is_file());
    if !missing.is_empty() {
        missing.truncate(SHOWN);
        return refused(format!(
            "is one of {count} parts, and these are not beside it: {}; fetch them into the same folder",
            missing.join(", ")
        ));
    }
    Ok(paths)
}

/// Reads the headers of all parts of a model, in their order; the first has the metadata.
///
/// # Errors
/// As [`GgufFile::open`], and parts that do not belong together.
pub fn read_parts(paths: &[PathBuf]) -> Result<Vec<GgufFile>, FileError> {
    let files: Vec<GgufFile> = paths
        .iter()
        .map(|path| GgufFile::open(path))
        .collect::<Result<_, _>>()?;
    for (number, file) in files.iter().enumerate() {
        file.check_part(number, &files)?;
    }
    if let Some(last) = files.last().filter(|_| files.len() > 1) {
        last.check_tensors(&files)?;
    }
    Ok(files)
}

fn or_absent(said: Option<usize>) -> String {
    said.map_or("absent".to_string(), |said| said.to_string())
}

impl GgufFile {
    /// A whole number among the keys that say how a model was split.
    fn split_value(&self, key: &'static str) -> Result<Option<usize>, FileError> {
        let Some(value) = self.metadata.get(key) else {
            return Ok(None);
        };
        let number = value.integer().and_then(|n| usize::try_from(n).ok());
        let number = number.filter(|n| *n <= usize::from(u16::MAX));
        let accepted = format!("a whole number to {}", u16::MAX);
        let wrong = || FileError::value(&self.path, key, value, &accepted);
        number.map(Some).ok_or_else(wrong)
    }

    fn foreign(&self, why: String) -> FileError {
        let why = format!(
            "does not belong to the other parts: {why}; fetch all parts of one model again"
        );
        FileError::unusable(&self.path, why)
    }

    /// That this is part `number` of `files`, and says nothing else than the first.
    fn check_part(&self, number: usize, files: &[GgufFile]) -> Result<(), FileError> {
        let count = self.split_value(COUNT)?.unwrap_or(1).max(1);
        if count != files.len() {
            let found = files.len();
            return Err(self.foreign(format!("it is one of {count} ({COUNT}), not of {found}")));
        }
        if count == 1 {
            return Ok(());
        }
        let said = self.split_value(NUMBER)?;
        if said != Some(number) {
            let said = or_absent(said);
            return Err(self.foreign(format!("its {NUMBER} is {said}, not {number}")));
        }
        let first = files.first().unwrap_or(self);
        for (key, value) in self.metadata.iter().filter(|(key, _)| *key != NUMBER) {
            let why = match first.metadata.get(key) {
                Some(other) if other == value => continue,
                Some(other) => format!("its {key} is {value}, in the first part {other}"),
                None => format!("the first part has no {key}"),
            };
            return Err(self.foreign(why));
        }
        Ok(())
    }

    /// That the parts have the tensors that they should have together, each once.
    fn check_tensors(&self, files: &[GgufFile]) -> Result<(), FileError> {
        let mut names = HashSet::new();
        for file in files {
            for tensor in &file.tensors {
                if !names.insert(tensor.name.as_str()) {
                    let what = format!("tensor {}, also in another part,", tensor.name);
                    return Err(twice(&file.path, what));
                }
            }
        }
        match self.split_value(TENSORS)? {
            Some(said) if said == names.len() => Ok(()),
            said => {
                let said = or_absent(said);
                let found = names.len();
                Err(self.foreign(format!("{TENSORS} is {said}, and all parts have {found}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parts() {
        let expected = ["q/m-00001-of-00002.gguf", "q/m-00002-of-00002.gguf"];
        assert_eq!(split_siblings("q/m-00002-of-00002.gguf"), expected);
        assert_eq!(name_of_whole("m-q8_0-00002-of-00002.gguf"), "m-q8_0");
        assert_eq!(name_of_whole("olmo-1b.Q4_K_M.gguf"), "olmo-1b.Q4_K_M");
        for other in [
            "m.gguf",
            "m-00003-of-00002.gguf",
            "m-00000-of-00002.gguf",
            "m-1-of-2.gguf",
            "m-+0001-of-00002.gguf",
            "m-00001-of-00002",
        ] {
            assert_eq!(split_siblings(other), [other]);
        }
    }
}
