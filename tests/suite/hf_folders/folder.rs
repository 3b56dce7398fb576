//! Which files a folder has: other kinds of folders, shards and their index.

use std::fs;

use serde_json::{Value, json};

use super::Folder;

const SHARDS: [&str; 2] = [
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
];

/// The tiny Llama in two shards with their index.
pub fn sharded() -> Folder {
    let folder = Folder::of("tiny-llama");
    let path = folder.file("model.safetensors");
    let device = candle_core::Device::Cpu;
    let tensors = candle_core::safetensors::load(&path, &device).unwrap();
    fs::remove_file(path).unwrap();
    let (mut map, mut shards) = (serde_json::Map::new(), [Vec::new(), Vec::new()]);
    for (name, tensor) in tensors {
        let shard = usize::from(name.starts_with("model.layers"));
        map.insert(name.clone(), SHARDS[shard].into());
        shards[shard].push((name, tensor));
    }
    for (name, shard) in SHARDS.iter().zip(shards) {
        let shard = shard.into_iter().collect();
        candle_core::safetensors::save(&shard, folder.file(name)).unwrap();
    }
    write_index(&folder, &json!({"metadata": {}, "weight_map": map}));
    folder
}

fn index(folder: &Folder) -> Value {
    let text = fs::read(folder.file("model.safetensors.index.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

fn write_index(folder: &Folder, index: &Value) {
    fs::write(
        folder.file("model.safetensors.index.json"),
        index.to_string(),
    )
    .unwrap();
}

#[test]
fn an_index_that_disagrees_with_its_shards_is_named() {
    let norm = "model.norm.weight";
    let changed = |edit: &dyn Fn(&mut serde_json::Map<String, Value>)| {
        let folder = sharded();
        let mut index = index(&folder);
        edit(index["weight_map"].as_object_mut().unwrap());
        write_index(&folder, &index);
        folder
    };
    assert!(sharded().open().is_ok());
    changed(&|map| {
        map.insert(norm.to_string(), SHARDS[1].into());
    })
    .fails(&["index.json", norm, SHARDS[0], SHARDS[1]]);
    changed(&|map| {
        map.insert("model.extra.weight".to_string(), SHARDS[1].into());
    })
    .fails(&["index.json", "model.extra.weight", "does not have it"]);
    changed(&|map| {
        map.remove(norm);
    })
    .fails(&["index.json", norm, "does not list"]);
    changed(&|map| {
        map.insert(norm.to_string(), "model-3.safetensors".into());
    })
    .fails(&["missing: model-3.safetensors (named by model.safetensors.index.json)"]);
    for name in [
        "../a.safetensors",
        "/a.safetensors",
        "%2e%2e%2fa.safetensors",
        "a\u{1b}.safetensors",
    ] {
        let folder = changed(&|map| {
            map.insert(norm.to_string(), name.into());
        });
        folder.fails(&[
            "index.json",
            "is not the name of a safetensors file beside it",
        ]);
    }
}

#[test]
fn a_tensor_in_two_shards_is_named_with_both() {
    let folder = sharded();
    let device = candle_core::Device::Cpu;
    let first = candle_core::safetensors::load(folder.file(SHARDS[0]), &device).unwrap();
    let mut second = candle_core::safetensors::load(folder.file(SHARDS[1]), &device).unwrap();
    let norm = "model.norm.weight";
    second.insert(norm.to_string(), first[norm].clone());
    candle_core::safetensors::save(&second, folder.file(SHARDS[1])).unwrap();
    folder.fails(&[norm, SHARDS[0], SHARDS[1]]);
}

#[test]
fn shards_without_their_index_are_read_when_all_are_there() {
    let folder = sharded();
    fs::remove_file(folder.file("model.safetensors.index.json")).unwrap();
    let config = folder.config();
    assert!(
        config
            .assumed
            .iter()
            .any(|assumed| assumed.contains("index.json"))
    );
    fs::remove_file(folder.file(SHARDS[1])).unwrap();
    folder.fails(&["missing: model-00002-of-00002.safetensors"]);
}

#[test]
fn one_whole_file_beside_an_index_is_taken_and_said() {
    let folder = sharded();
    let whole = Folder::of("tiny-llama");
    fs::copy(
        whole.file("model.safetensors"),
        folder.file("model.safetensors"),
    )
    .unwrap();
    let config = folder.config();
    assert!(
        config
            .assumed
            .iter()
            .any(|assumed| assumed.contains("index of shards"))
    );
}

#[test]
fn a_folder_of_another_kind_says_what_it_is_and_what_to_do() {
    for (file, named) in [
        (
            "pytorch_model.bin",
            ["pytorch_model.bin", "save_pretrained"],
        ),
        (
            "consolidated.00.pth",
            ["consolidated.00.pth", "save_pretrained"],
        ),
        (
            "adapter_config.json",
            ["adapter (LoRA)", "merge_and_unload"],
        ),
        (
            "consolidated.safetensors",
            ["Mistral's own layout", "model-*.safetensors"],
        ),
        (
            "weights.safetensors",
            ["weights.safetensors", "model.safetensors"],
        ),
        ("tiny.gguf", ["to use its GGUF file, give", "tiny.gguf"]),
    ] {
        let folder = Folder::of("tiny-llama");
        fs::remove_file(folder.file("model.safetensors")).unwrap();
        fs::write(folder.file(file), "").unwrap();
        folder.fails(&[named[0], named[1], "missing: model.safetensors"]);
    }
    let folder = Folder::of("tiny-llama");
    fs::rename(
        folder.file("tokenizer.json"),
        folder.file("tokenizer.model"),
    )
    .unwrap();
    folder.fails(&[
        "tokenizer.model",
        "AutoTokenizer",
        "missing: tokenizer.json",
    ]);
}

/// transformers would load the adapter with the model.
#[test]
fn a_model_with_an_adapter_beside_it_is_refused() {
    let folder = Folder::of("tiny-llama");
    fs::write(folder.file("adapter_config.json"), "{}").unwrap();
    folder.fails(&["adapter_config.json", "merge_and_unload"]);
}
