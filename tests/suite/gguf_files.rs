//! GGUF files as they come: other names, other parts, other versions, and damaged ones. Each case changes a tiny model's
//! file and says what must come out.

pub mod make;

use std::fs;
use std::path::{Path, PathBuf};

use gatelens::hooks::Condition;
use gatelens::hub::gguf::GgufFile;
use gatelens::hub::{ModelFiles, locate};
use gatelens::model::{Checkpoint, LoadOptions, Model};
use gatelens::tokens::Tokenizer;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::cli::{fail, succeed};
use super::common::{LogProbs, batch, goldens, run};
use make::Raw;

/// A file in a folder of its own.
pub fn written(raw: &Raw) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    raw.write(&path);
    (dir, path)
}

fn open(path: &Path) -> Result<Checkpoint, String> {
    let located = locate(path.to_str().unwrap(), &()).map_err(|why| why.to_string())?;
    Checkpoint::open(&located.files).map_err(|why| why.to_string())
}

pub fn opened(raw: &Raw) -> Checkpoint {
    open(&written(raw).1).unwrap()
}

/// The message of a file that must be refused, which names the file.
pub fn refused(raw: &Raw) -> String {
    let (_dir, path) = written(raw);
    let message = open(&path).err().expect("it must be refused");
    assert!(message.contains(path.to_str().unwrap()), "{message}");
    message
}

pub fn logprobs(checkpoint: Checkpoint) -> Vec<f32> {
    let model = Model::load(checkpoint, LoadOptions::default()).unwrap();
    let batch = batch(&[vec![5, 17, 33, 2, 90, 41, 7, 200, 120, 11, 64, 3]]);
    let (logprobs, _): (LogProbs, _) = run(&model, &batch, &[Condition::Clean], &mut []);
    (0..batch.tokens())
        .flat_map(|row| logprobs.at(0, row).to_vec())
        .collect()
}

pub fn llama() -> Raw {
    Raw::tiny("tiny-llama")
}

#[test]
fn a_file_written_again_is_the_same() {
    for name in ["tiny-llama", "tiny-gemma3", "tiny-phi3-longrope"] {
        let path = goldens().join(name).join("model.gguf");
        assert!(
            Raw::read(&path).bytes().0 == fs::read(path).unwrap(),
            "{name}"
        );
    }
}

#[test]
fn a_file_is_told_by_its_first_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let blob = dir
        .path()
        .join("sha256-2af3b81862c6be03c769683af18efdadb2c33f60ff32ab6f83e42c043d6c7816");
    llama().write(&blob);
    assert!(succeed(&["inspect", blob.to_str().unwrap()]).contains("llama, SwiGLU"));
    fs::write(&blob, "GGML").unwrap();
    assert!(
        fail(&["inspect", blob.to_str().unwrap()]).contains("neither a GGUF file nor a folder")
    );
    let named = dir.path().join("m.gguf");
    fs::write(&named, "GGML and more").unwrap();
    assert!(fail(&["inspect", named.to_str().unwrap()]).contains("m.gguf is no GGUF file"));
}

#[test]
fn versions_and_byte_orders() {
    let with = |version| Raw { version, ..llama() };
    opened(&with(2));
    assert!(refused(&with(1)).contains("version 1 of the GGUF format; accepted: 2, 3"));
    assert!(refused(&with(4)).contains("version 4"));
    assert!(refused(&with(3 << 24)).contains("big-endian"));
}

/// Two parts in one folder.
fn two_parts() -> (tempfile::TempDir, [PathBuf; 2]) {
    let dir = tempfile::tempdir().unwrap();
    let paths = [1, 2].map(|n| dir.path().join(format!("tiny-0000{n}-of-00002.gguf")));
    for (part, path) in llama().split(20).iter().zip(&paths) {
        part.write(path);
    }
    (dir, paths)
}

#[test]
fn parts_are_the_whole_whichever_is_given() {
    let (_dir, paths) = two_parts();
    let whole = logprobs(opened(&llama()));
    for path in &paths {
        let located = locate(path.to_str().unwrap(), &()).unwrap();
        assert_eq!(located.files, ModelFiles::Gguf(paths.to_vec()));
        let hashed = located.sha256().unwrap().into_iter().map(|(path, _)| path);
        assert!(hashed.eq(paths.iter().cloned()));
        assert!(logprobs(Checkpoint::open(&located.files).unwrap()) == whole);
        let path = path.to_str().unwrap();
        assert!(succeed(&["inspect", path]).contains("F32 ×39"));
    }
}

#[test]
fn parts_that_do_not_belong_together_are_named() {
    let message = |change: &dyn Fn(&[PathBuf; 2])| {
        let (_dir, paths) = two_parts();
        change(&paths);
        open(&paths[0]).err().expect("it must be refused")
    };
    let second = "tiny-00002-of-00002.gguf";
    let missing = message(&|[_, second]| fs::remove_file(second).unwrap());
    assert!(
        missing.contains("not beside it: tiny-00002-of-00002.gguf"),
        "{missing}"
    );
    let repeated = message(&|[first, second]| assert!(fs::copy(first, second).is_ok()));
    assert!(
        repeated.contains(second) && repeated.contains("its split.no is 0, not 1"),
        "{repeated}"
    );
    let rewritten = |change: &dyn Fn(Raw) -> Raw| {
        message(&|[_, second]| change(Raw::read(second)).write(second))
    };
    let of_three = rewritten(&|raw| raw.set("split.count", make::u16(3)));
    assert!(
        of_three.contains(second) && of_three.contains("one of 3"),
        "{of_three}"
    );
    let other = rewritten(&|raw| raw.set("general.architecture", make::text("qwen2")));
    assert!(
        other.contains(second) && other.contains("general.architecture"),
        "{other}"
    );
    let fewer = rewritten(&|mut raw| {
        raw.tensors.pop();
        raw
    });
    assert!(
        fewer.contains(second) && fewer.contains("split.tensors.count is 39"),
        "{fewer}"
    );
    let twice = rewritten(&|raw| {
        raw.with("blk.3.ffn_norm.weight", |t| {
            t.name = "blk.0.attn_norm.weight".into()
        })
    });
    assert!(
        twice.contains(second) && twice.contains("blk.0.attn_norm.weight"),
        "{twice}"
    );
    let (_dir, [first, _]) = two_parts();
    let renamed = first.with_file_name("tiny.gguf");
    fs::rename(&first, &renamed).unwrap();
    let renamed = open(&renamed).err().unwrap();
    assert!(renamed.contains("tiny.gguf is one of 2 parts"), "{renamed}");
}

#[test]
fn types_that_are_not_read_are_named_with_those_that_are() {
    for (number, name) in [(20, "IQ4_NL"), (39, "MXFP4"), (15, "Q8_K"), (99, "type 99")] {
        let message = refused(&llama().with("blk.2.ffn_up.weight", |t| t.kind = number));
        for words in ["blk.2.ffn_up.weight", name, "Q4_K, Q5_K, Q6_K"] {
            assert!(message.contains(words), "{message}");
        }
        assert!(!message.contains("damaged"), "{message}");
    }
}

/// What is done to one tensor's entry.
type Change<'a> = &'a dyn Fn(&mut make::RawTensor);

#[test]
fn tensors_lie_one_behind_the_other() {
    let cases: [(Change, &str); 8] = [
        (
            &|t| t.offset = Some(164_928),
            "begins at byte 164928 of the data",
        ),
        (
            &|t| t.offset = Some(t.data.len() as u64 * 11 + 32),
            "begins at byte",
        ),
        (
            &|t| t.offset = Some(0u64.wrapping_sub(32)),
            "begins at byte 18446744073709551584",
        ),
        (
            &|t| t.dims = vec![1 << 33, 1 << 33],
            "more than any file can hold",
        ),
        (
            &|t| t.dims = vec![1 << 62, 4, 4],
            "more than any file can hold",
        ),
        (&|t| t.dims = vec![48, 0], "no dimension may be 0"),
        (
            &|t| t.dims = vec![48, 80, 1, 1, 1],
            "has 5 dimensions; accepted: 1 to 4",
        ),
        (&|t| t.dims = vec![48, 1 << 40], "are left of the file"),
    ];
    for (change, words) in cases {
        let message = refused(&llama().with("blk.0.ffn_up.weight", change));
        assert!(
            message.contains("blk.0.ffn_up.weight") && message.contains(words),
            "{message}"
        );
    }
    let message = refused(&llama().with("blk.0.ffn_up.weight", |t| {
        t.name = "blk.0.ffn_gate.weight".into();
    }));
    assert!(
        message.contains("tensor blk.0.ffn_gate.weight stands there twice"),
        "{message}"
    );
    let message = refused(&llama().with("blk.0.ffn_up.weight", |t| t.dims.clear()));
    assert!(message.contains("has 0 dimensions"), "{message}");
}

#[test]
fn what_a_file_says_of_its_lengths_is_not_believed() {
    let huge = 1u64 << 60;
    let cases = [
        (
            "general.name",
            [&8u32.to_le_bytes()[..], &huge.to_le_bytes()].concat(),
            "general.name",
        ),
        (
            "tokenizer.ggml.tokens",
            make::array(8, huge, &[]),
            "tokenizer.ggml.tokens",
        ),
        (
            "tokenizer.ggml.tokens",
            make::array(4, huge, &[]),
            "tokenizer.ggml.tokens",
        ),
        (
            "tokenizer.ggml.tokens",
            make::array(12, u64::MAX, &[]),
            "tokenizer.ggml.tokens",
        ),
        (
            "tokenizer.ggml.tokens",
            make::array(9, 1, &[0; 12]),
            "array of arrays",
        ),
        ("general.name", 77u32.to_le_bytes().to_vec(), "type 77"),
        (
            "tokenizer.ggml.add_bos_token",
            [&7u32.to_le_bytes()[..], &[2]].concat(),
            "neither 0 nor 1",
        ),
    ];
    for (key, value, words) in cases {
        let message = refused(&llama().set(key, value));
        assert!(
            message.contains(key) && message.contains(words),
            "{message}"
        );
    }
    // The counts of the header itself.
    for (at, words) in [(8, "number of tensors"), (16, "number of keys")] {
        for count in [u64::MAX, 1 << 40, 65_537, 60_000] {
            let (mut bytes, _) = llama().bytes();
            bytes[at..at + 8].copy_from_slice(&count.to_le_bytes());
            let (_dir, path) = written(&llama());
            fs::write(&path, bytes).unwrap();
            let message = open(&path).err().unwrap();
            assert!(count == 60_000 || message.contains(words), "{message}");
        }
    }
}

/// Bytes put in or taken out anywhere, which push all others from their place.
#[test]
fn bytes_more_or_less_are_noticed_wherever_they_are() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let (whole, header) = llama().bytes();
    let (_dir, path) = written(&llama());
    for round in 0..300 {
        let end = if round % 3 == 0 { header } else { whole.len() };
        let at = rng.random_range(0..end);
        let count = rng.random_range(1..100);
        let mut bytes = whole.clone();
        match round % 2 {
            0 => drop(bytes.splice(at..at, vec![rng.random::<u8>(); count])),
            _ => drop(bytes.drain(at..(at + count).min(whole.len()))),
        }
        fs::write(&path, bytes).unwrap();
        assert!(open(&path).is_err(), "round {round}: {count} bytes at {at}");
    }
}

/// Flipped bytes of the header: an error or a configuration, never a panic or memory by belief.
#[test]
fn a_header_with_other_bytes_panics_nowhere() {
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    for name in ["tiny-llama", "tiny-gemma3-linear", "tiny-phi3-longrope"] {
        let raw = Raw::tiny(name);
        let (whole, header) = raw.bytes();
        let (_dir, path) = written(&raw);
        for _ in 0..700 {
            let mut bytes = whole.clone();
            for _ in 0..rng.random_range(1..4) {
                let value = [0, 1, 0x7f, 0x80, 0xff, rng.random()][rng.random_range(0..6)];
                bytes[rng.random_range(0..header)] = value;
            }
            fs::write(&path, bytes).unwrap();
            let read = open(&path);
            if let Err(message) = read {
                assert!(message.contains(path.to_str().unwrap()), "{message}");
            }
            if let Ok(header) = GgufFile::open(&path) {
                let _ = Tokenizer::from_gguf(&header);
            }
        }
    }
}
