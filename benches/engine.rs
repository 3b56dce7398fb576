//! The forward pass, what hooks and edits add to it, and classification, on the default model.
//!
//! `cargo bench` prints each; quote ratios from one run only.

use criterion::{BatchSize, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use gatelens::candle::{Device, Tensor};
use gatelens::engine::{Engine, LogitBlock, Readout};
use gatelens::hooks::{
    Condition, Edit, HookPoint, Neuron, NeuronSet, Observer, ReadError, Site, SiteRows,
};
use gatelens::hub::{DEFAULT_MODEL, locate};
use gatelens::io_class::{Fold, classify_layer};
use gatelens::model::{Activation, Checkpoint, LoadOptions, Mlp, Model};
use gatelens::tokens::{Sequence, TokenBatch};

/// Prompts of 10 tokens each, as factual prompts have on average.
const PROMPTS: usize = 100;
const TOKENS: usize = 10;

struct LastRows(Vec<usize>);

impl Readout for LastRows {
    fn rows(&self) -> &[usize] {
        &self.0
    }

    fn read(&mut self, block: &LogitBlock<'_>) -> Result<(), ReadError> {
        std::hint::black_box(block.logits()?);
        Ok(())
    }
}

/// Sees `hook_post` of every layer and adds it up.
struct Sum(f32);

impl Observer for Sum {
    fn wants(&self, point: HookPoint) -> bool {
        point.site == Site::Post
    }

    fn observe(&mut self, seen: &SiteRows<'_>) -> Result<(), ReadError> {
        self.0 += seen.rows.iter().sum::<f32>();
        Ok(())
    }
}

fn batch() -> TokenBatch {
    let sequences = (0..PROMPTS).map(|prompt| Sequence {
        prompt,
        cluster: prompt,
        ids: (0..TOKENS)
            .map(|i| (100 + 37 * prompt + 11 * i) as u32)
            .collect(),
        offsets: vec![None; TOKENS],
        prompt_len: TOKENS,
        subject: 0..0,
        target: vec![],
        against: None,
        aliases: Vec::new(),
        noise: None,
    });
    TokenBatch::new(sequences.collect()).expect("sequences of one length make a batch")
}

fn zero(model: &Model, layers: std::ops::Range<usize>, per_layer: usize) -> Condition {
    let config = model.config();
    let neurons = layers.flat_map(|layer| (0..per_layer).map(move |index| Neuron { layer, index }));
    Condition::Edited(
        Edit::zero(NeuronSet::new(config, neurons).expect("in range")).called("bench"),
    )
}

fn forward(criterion: &mut Criterion) {
    let located = locate(DEFAULT_MODEL, &()).expect("the default model can be fetched");
    let checkpoint = Checkpoint::open(&located.files).expect("it is whole");
    let model = Model::load(checkpoint, LoadOptions::default()).expect("it fits");
    let engine = Engine::new(&model);
    let batch = batch();
    let last: Vec<usize> = (0..PROMPTS).map(|i| batch.last_row(i)).collect();
    let run = |conditions: &[Condition], observers: &mut [&mut dyn Observer]| {
        let mut readout = LastRows(last.clone());
        engine
            .run(&batch, conditions, observers, Some(&mut readout), &())
            .expect("it runs")
    };
    let layers = model.config().n_layers();
    let mut group = criterion.benchmark_group("forward, 100 prompts of 10 tokens");
    group
        .sample_size(10)
        .throughput(Throughput::Elements((PROMPTS * TOKENS) as u64));
    group.bench_function("plain", |b| b.iter(|| run(&[Condition::Clean], &mut [])));
    group.bench_function("observing hook_post of every layer", |b| {
        b.iter_batched(
            || Sum(0.0),
            |mut sum| run(&[Condition::Clean], &mut [&mut sum]),
            BatchSize::SmallInput,
        )
    });
    let everywhere = [zero(&model, 0..layers, 100)];
    group.bench_function("zeroing 100 neurons in every layer", |b| {
        b.iter(|| run(&everywhere, &mut []))
    });
    group.finish();

    let sweep: Vec<Condition> = (0..layers).map(|l| zero(&model, l..l + 1, 100)).collect();
    let mut group = criterion.benchmark_group("30 ablations of one layer each, the same prompts");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.bench_function("in one run", |b| b.iter(|| run(&sweep, &mut [])));
    group.bench_function("in 30 runs", |b| {
        b.iter(|| {
            for condition in &sweep {
                run(std::slice::from_ref(condition), &mut []);
            }
        })
    });
    group.finish();
}

/// The matrix products of the default model's layers alone, by the kernels that the engine calls: what a pass cannot be
/// faster than where no work is saved.
fn products(criterion: &mut Criterion) {
    let located = locate(DEFAULT_MODEL, &()).expect("the default model can be fetched");
    let checkpoint = Checkpoint::open(&located.files).expect("it is whole");
    let config = checkpoint.config();
    let (d, mlp) = (config.d_model, config.d_mlp);
    let [queries, keys] = [config.n_heads, config.n_kv_heads].map(|heads| heads * config.head_dim);
    let random = |rows: usize, columns: usize| {
        Tensor::randn(0f32, 1.0, (rows, columns), &Device::Cpu).expect("it fits")
    };
    let shapes = [
        (d, queries),
        (d, keys),
        (d, keys),
        (queries, d),
        (d, mlp),
        (d, mlp),
        (mlp, d),
    ];
    let layers: Vec<Vec<Tensor>> = (0..config.n_layers())
        .map(|_| shapes.map(|(inner, out)| random(out, inner)).to_vec())
        .collect();
    let inputs = shapes.map(|(inner, _)| random(PROMPTS * TOKENS, inner));
    let mut group = criterion.benchmark_group("products");
    group
        .sample_size(10)
        .throughput(Throughput::Elements((PROMPTS * TOKENS) as u64));
    group.bench_function("products", |b| {
        b.iter(|| {
            for (input, weight) in layers.iter().flat_map(|layer| inputs.iter().zip(layer)) {
                let out = weight.t().and_then(|weight| input.matmul(&weight));
                std::hint::black_box(out.expect("shapes fit"));
            }
        })
    });
    group.finish();
}

fn activations(criterion: &mut Criterion) {
    let gate: Vec<f32> = (0..1 << 16)
        .map(|i| (i as f32 * 0.37).sin() * 8.0)
        .collect();
    let mut post = vec![0.0; gate.len()];
    let mut group = criterion.benchmark_group("gated activation of 65,536 values");
    for activation in [Activation::Silu, Activation::GeluTanh] {
        group.bench_function(activation.to_string(), |b| {
            b.iter(|| activation.gated(&gate, &gate, std::hint::black_box(&mut post)))
        });
    }
    group.bench_function("SwiGLU by the standard library's exp", |b| {
        b.iter(|| {
            let rows = post.iter_mut().zip(&gate);
            rows.for_each(|(post, gate)| *post = gate / (1.0 + (-gate).exp()) * gate);
            std::hint::black_box(&mut post);
        })
    });
    group.finish();
}

fn classification(criterion: &mut Criterion) {
    let located = locate(DEFAULT_MODEL, &()).expect("the default model can be fetched");
    let checkpoint = Checkpoint::open(&located.files).expect("it is whole");
    let mlps: Vec<Mlp> = (0..checkpoint.config().n_layers())
        .map(|l| Mlp::load(&checkpoint, l).expect("it reads"))
        .collect();
    criterion.bench_function("classify 46,080 neurons", |b| {
        b.iter(|| {
            for (l, mlp) in mlps.iter().enumerate() {
                let rows = classify_layer(l, &mlp.into(), Fold::Pre, 0.5).expect("it classifies");
                std::hint::black_box(rows);
            }
        })
    });
}

/// As the command does.
fn set_up(_: &mut Criterion) {
    gatelens::set_up_process();
}

criterion_group!(
    benches,
    set_up,
    products,
    forward,
    activations,
    classification
);
criterion_main!(benches);
