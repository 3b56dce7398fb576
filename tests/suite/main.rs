//! The integration tests, one binary. `common` finds the models: real ones by their aliases (fetched
//! on first use), tiny random ones under `tests/goldens`.
//!
//! All take about 5 to 7 minutes on two cores (`cargo test --release --test suite`). Seconds are those of a file alone
//! (`cargo test --release --test suite FILE::`), measured while other programs ran.
//!
//! | file | s | what it holds |
//! |---|--:|---|
//! | arguments | < 1 | Numbers and choices that a command cannot take: refused at once, by their flag and with what is allowed |
//! | attributes | 16 | The attribute rate against transformers and torch |
//! | cli | 19 | The command as a person or a program meets it: outputs, files, and what goes wrong |
//! | common |  | Models, goldens and runs that several tests share |
//! | configs | < 1 | What is derived from the `config.json` of real models, as the hub has them and as transformers 5 saves them again |
//! | contributions | 5 | What neurons write, against plain loops; random sets that write as much as the class; neurons of the first position |
//! | controls | 5 | The control of random weights: the same entries in another order, the same neurons, and nothing that could be taken for a result |
//! | edits | 1 | Every edit on a model of two layers, against plain loops; and on neurons whose w_in and w_out are both turned around, which shows the convention of signs |
//! | encoding | 10 | Texts -> ids: normalizers against transformers |
//! | engine | 5 | One expectation through every path of the engine |
//! | experiment_file | 3 | `run`: the runs of a file are those of the command line; what is wrong in it is said before the first begins |
//! | export | 20 | `export`: the folder gives the ablated run's numbers, of every family, from safetensors and from GGUF |
//! | families | 2 | Every family against Hugging Face transformers, on random checkpoints of odd shapes |
//! | finite | < 1 | Numbers that are not finite are an error that names where they came up, in every command that runs a model |
//! | first_order | 5 | What switching neurons off changes of a text, to first order: against plain loops and small edits, and draws whose damage is alike |
//! | forecasts | 20 | `--dry-run`: the steps are those that the run makes then, and nothing is written |
//! | frequencies | 13 | Random sets that fire as often as the class: from a recording to the draws and to `run.json` |
//! | generate | 13 | Writing text: with and without kept keys and values, greedily and by sampling, clean and edited; and what each setting of the sampling does |
//! | gguf_files | 4 | GGUF files as they come: other names, other parts, other versions, and damaged ones |
//! | gguf_keys | < 1 | The keys of GGUF metadata: what each changes, what is refused by name, what is said of those that are absent or unknown |
//! | golden |  | Golden numbers of Hugging Face transformers |
//! | goldens | 25 | The two real models against Hugging Face transformers and torch |
//! | gradients | 10 | Gradients of neurons: against torch's on every family, against finite differences in f64, and the rankings that are made of them |
//! | hf_folders | < 1 | Folders of safetensors that are not as they should be: configurations with values that have no meaning or are not computed, damaged headers, indexes that disagree with their shards, folders of other kinds, files that change |
//! | hub | 6 | Models from the Hugging Face hub, played by a small server on loopback |
//! | loading | < 1 | Weights from every kind of file: precisions, shards, quantizations, parts of tensors |
//! | memory | < 1 | Models that are read from their files as a run reaches them, and limits on memory |
//! | mutations | 57 | Whole files with other bytes, some thousand for each reader, always the same ones: what a reader makes of them is an error that names the file, or what the undamaged file gives |
//! | neuron | < 1 | `neuron` from a recorded folder, against the run over the same texts |
//! | oracle | candle_transformers' own models on the same weights: a second opinion, written by others in the same library, that reads the files by itself |
//! | out_folders | 18 | The folder of `--out`: its forms, its lock, a disk or a limit that is full, and files of a run that were changed |
//! | paths | 2 | The direct path: against plain loops, what holds between paths on real models, and what the command makes of it |
//! | precisions | 20 | What fewer bits cost: log-probabilities in bf16 and f16 beside those in f32, on real models |
//! | prompt_files | < 1 | Files that a person writes, through the commands: encodings, prompt formats, where the subject stands, neuron lists |
//! | published | 19 | Chance levels against numpy, and `classify` on models that carry the name and shape of a published one |
//! | rank | 12 | The ranking: a neuron that decides the answer is found, every number is that of plain loops or of `ablate`, and what cannot be ranked is said |
//! | recall | 80 | The experiment on real facts: what is known, and that an outcome is what the logits say |
//! | record | 22 | What `record` writes, against plain runs of the same prompts |
//! | references | 23 | Edits that take values from a reference, as a person meets them: the heading, `run.json`, the folder of means, and what is refused |
//! | reports | 13 | `report`: a page for every kind of run folder, opened in a browser |
//! | rerun | 20 | `rerun`: a run made again gives the same to the last bit; what differs is named; input that is not the same is refused before a weight is read |
//! | schemas | < 1 | The tables as one file that a person can read: every column of every table, with its type and what it is |
//! | shards | 85 | Runs in shards: joined, they give the files of one run to the last bit, and what does not belong together is refused by name |
//! | stages | < 1 | The data goes one way: a stage imports only stages above it in `lib.rs`, and no two files import each other |
//! | stopping | 66 | Runs that are ended, by Ctrl-C or by `kill -9` at any moment: what is finished is kept, and the run that goes on gives what one run gives, to the last bit |
//! | sweep | 12 | The sweep: a cell is what an ablation of its layers alone gives, and cells that there are not are named |
//! | terminal | 22 | What a terminal shows of texts that are written side by side |
//! | text | < 1 | The metrics of running text against transformers' numbers at every position |
//! | tokenizers | 2 | The tokenizers built from the real models' GGUF metadata, against the ids that llama.cpp gives |
//! | tracing | 15 | Causal tracing: noise on subjects and what restored values bring back, against plain loops; that noise depends on nothing but its seed; and what the commands make of it |
//! | two_layer | < 1 | A llama of two layers, small enough to compute in plain loops: the oracle of the edits |
//! | verify | 20 | The claims on models of which the truth is known, and the control with shuffled labels |

mod arguments;
mod attributes;
mod cli;
mod common;
mod configs;
mod contributions;
mod controls;
mod edits;
mod encoding;
mod engine;
mod experiment_file;
mod export;
mod families;
mod finite;
mod first_order;
mod forecasts;
mod frequencies;
mod generate;
mod gguf_files;
mod gguf_keys;
mod golden;
mod goldens;
mod gradients;
mod hf_folders;
mod hub;
mod loading;
mod memory;
mod mutations;
mod neuron;
mod oracle;
mod out_folders;
mod pairs;
mod paths;
mod precisions;
mod prompt_files;
mod published;
mod rank;
mod recall;
mod record;
mod references;
mod reports;
mod rerun;
mod schemas;
mod shards;
mod stages;
mod stopping;
mod sweep;
mod terminal;
mod text;
mod tokenizers;
mod tracing;
mod two_layer;
mod verify;

#[global_allocator]
static ALLOCATOR: mutations::Counting = mutations::Counting;
