//! What finished passes gave, a file each in `parts/`: a run goes on with those that are whole.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::owned::PARTS;
use super::sealed::{open, seal};
use super::{OutDir, ReportError};
use crate::experiment::{PassStore, StoreError};
use crate::prompts::sha256_hex;

/// The file of the passes as they were planned when the run began.
const PASSES: &str = "gatelens-passes.json";

/// The parts of a run.
pub struct Parts<'o> {
    out: &'o OutDir,
    start: Instant,
    /// Of the passes; no part belongs to other ones.
    plan: String,
    /// Seconds that the run took before it was ended, as far as its parts say.
    earlier_s: f64,
}

impl<'o> Parts<'o> {
    /// The parts of the run that `out` holds, or is to hold.
    pub fn new(out: &'o OutDir, start: Instant) -> Self {
        Self {
            out,
            start,
            plan: String::new(),
            earlier_s: 0.0,
        }
    }

    /// Seconds of the run, those before it was ended among them.
    pub fn wall_s(&self) -> f64 {
        self.earlier_s + self.start.elapsed().as_secs_f64()
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        Ok(self.out.put(&Path::new(PARTS).join(name), bytes)?)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.out.parts().join(name)
    }
}

/// How many passes of the run in a folder are through, and how many there are.
pub(super) fn passes_of(folder: &Path) -> Option<(usize, usize)> {
    let parts = folder.join(PARTS);
    let file = fs::read(parts.join(PASSES)).ok()?;
    let passes: Vec<serde::de::IgnoredAny> =
        serde_json::from_slice(open("passes", "run", &file)?).ok()?;
    let there = |pass: &usize| parts.join(part_name(*pass)).is_file();
    Some(((0..passes.len()).filter(there).count(), passes.len()))
}

fn part_name(pass: usize) -> String {
    format!("gatelens-{pass:05}.part")
}

impl PassStore for Parts<'_> {
    fn passes(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.path(PASSES);
        let unreadable = |why: &str| ReportError::Resume {
            path: path.clone(),
            why: why.to_string(),
        };
        let file = match fs::read(&path) {
            Ok(file) => file,
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(why) => return Err(unreadable(&why.to_string()).into()),
        };
        let passes = open("passes", "run", &file);
        let passes = passes.ok_or_else(|| unreadable("it is not as it was written"))?;
        self.plan = sha256_hex(passes);
        Ok(Some(passes.to_vec()))
    }

    fn keep_passes(&mut self, passes: &[u8]) -> Result<(), StoreError> {
        self.plan = sha256_hex(passes);
        self.write(PASSES, &seal("passes", "run", passes))
    }

    fn has(&self, pass: usize) -> bool {
        self.path(&part_name(pass)).is_file()
    }

    fn load(&mut self, pass: usize) -> Result<Option<Vec<u64>>, StoreError> {
        let path = self.path(&part_name(pass));
        let file = match fs::read(&path) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(|why| ReportError::Resume {
                path,
                why: why.to_string(),
            })?,
        };
        let kind = part_name(pass);
        let Some(bytes) = open(&kind, &self.plan, &file) else {
            return Ok(None); // not whole: the pass is run again
        };
        let words = bytes.chunks_exact(8);
        let mut words = words.map(|word| u64::from_le_bytes(word.try_into().unwrap_or_default()));
        let wall_s = words.next().map_or(0.0, f64::from_bits);
        self.earlier_s = self.earlier_s.max(wall_s);
        Ok(Some(words.collect()))
    }

    fn save(&mut self, pass: usize, numbers: &[u64]) -> Result<(), StoreError> {
        let words = std::iter::once(self.wall_s().to_bits()).chain(numbers.iter().copied());
        let bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
        let kind = part_name(pass);
        self.write(&kind, &seal(&kind, &self.plan, &bytes))
    }
}
