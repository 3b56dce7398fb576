//! What a neuron's weights say, for a person.

use super::where_it_fires::visible;
use crate::cli::table::text_table;
use crate::cli::terminal::Paint;
use crate::io_class::{LensToken, NeuronLens, NeuronRow, Ranked, beta_region};
use crate::tokens::Tokenizer;

/// Prints the class, which is `by` a fold and a threshold, cosines, lengths and sign.
pub(super) fn print_weights(neuron: &str, row: &NeuronRow, by: &str, d_model: usize) {
    let chance = beta_region(d_model).high;
    let class = Paint::Bold.on(row.class.as_str());
    outln!("neuron {neuron}: {class} ({by})\n");
    for (name, cosine) in [
        ("cos(gate, in)", row.cosines.gate_in),
        ("cos(gate, out)", row.cosines.gate_out),
        ("cos(in, out)", row.cosines.in_out),
    ] {
        let beyond = if cosine.abs() > chance {
            "beyond"
        } else {
            "within"
        };
        outln!("  {name:<15} {cosine:+.3}   {beyond} chance (±{chance:.3} for random vectors)");
    }
    outln!(
        "  lengths         gate {:.3}, in {:.3}, out {:.3}",
        row.norm_gate,
        row.norm_in,
        row.norm_out
    );
    let sign = match row.sign {
        1 => "+1: up and post are in reference sign as they are",
        _ => "-1: in reference sign, up and post are multiplied by -1",
    };
    outln!("  sign of gate·in {sign}\n");
}

/// The lenses with the headers of their columns.
pub(super) fn columns(lens: &NeuronLens) -> [(&'static str, &Ranked); 5] {
    [
        ("gate reads\n(embedding, cos)", &lens.gate_reads),
        ("in reads\n(embedding, cos)", &lens.in_reads),
        ("gate\n(unembedding)", &lens.gate_logits),
        ("in\n(unembedding)", &lens.in_logits),
        ("out writes\n(unembedding)", &lens.out_logits),
    ]
}

/// Prints the tokens that the weights point at.
pub(super) fn print_lens(lens: &NeuronLens, tokenizer: &Tokenizer) {
    let columns = columns(lens);
    let cell = |token: &LensToken| {
        format!(
            "{:+.2} {}",
            token.score,
            visible(&tokenizer.token_text(token.token))
        )
    };
    let height = columns[0].1.top.len();
    let top = (0..height).map(|i| columns.map(|(_, ranked)| cell(&ranked.top[i])).to_vec());
    let dots = [columns.map(|_| "...".to_string()).to_vec()];
    let bottom = (0..height)
        .rev()
        .map(|i| columns.map(|(_, ranked)| cell(&ranked.bottom[i])).to_vec());
    let header = columns.map(|(name, _)| name);
    outln!("{}\n", text_table(&header, top.chain(dots).chain(bottom)));
}
