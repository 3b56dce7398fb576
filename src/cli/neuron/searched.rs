//! A neuron in a run over prompts or texts.

use std::path::Path;

use super::where_it_fires::{Occurrence, Values, WhereItFires, visible};
use crate::cli::inputs::{Texts, checked_batch, read_prompts};
use crate::cli::setup::Opened;
use crate::experiment::{Firing, NeuronActivity};
use crate::tokens::{BosPolicy, Sequence, TokenBatch, TokenError, Tokenizer, Window, tokenize};

/// Bytes of a text that are shown on each side of a token.
const CONTEXT: usize = 48;

/// The texts that are searched.
pub(super) struct Searched {
    name: String,
    /// Id and text by prompt number.
    sources: Vec<(String, String)>,
    sequences: Vec<Sequence>,
    pub batch: TokenBatch,
}

impl Searched {
    /// Facts, each with its target.
    pub fn of_prompts(
        path: Option<&Path>,
        opened: &Opened,
        bos: BosPolicy,
    ) -> anyhow::Result<Self> {
        let set = read_prompts(path)?;
        let batch = checked_batch(tokenize, &set, opened, bos)?;
        let sources = set.prompts.into_iter().map(|prompt| {
            let text = format!("{} {}", prompt.prompt, prompt.target);
            (prompt.id, text)
        });
        Ok(Self::new(set.name, sources.collect(), batch))
    }

    /// Texts in windows.
    pub fn of_documents(texts: Texts) -> Result<Self, TokenError> {
        let documents = texts.documents();
        let source = |window: &Window| {
            let document = documents[window.document];
            (document.id.clone(), document.text.clone())
        };
        let (name, sources) = (texts.names(), texts.windows.iter().map(source).collect());
        let sequences = texts.windows.into_iter().map(|window| window.sequence);
        Ok(Self::new(
            name,
            sources,
            TokenBatch::new(sequences.collect())?,
        ))
    }

    fn new(name: String, sources: Vec<(String, String)>, batch: TokenBatch) -> Self {
        let mut sequences = batch.sequences().to_vec();
        sequences.sort_by_key(|sequence| sequence.prompt);
        Self {
            name,
            sources,
            sequences,
            batch,
        }
    }

    /// What a run over them showed, with the `top` strongest tokens.
    pub fn seen(
        self,
        activity: &NeuronActivity,
        top: usize,
        tokenizer: &Tokenizer,
    ) -> WhereItFires {
        let strongest = activity.strongest(top).into_iter();
        let strongest = strongest.map(|firing| self.occurrence(firing, tokenizer));
        WhereItFires {
            statistics: activity.statistics(),
            strongest: strongest.collect(),
            recorded: None,
            texts: self.name,
        }
    }

    fn occurrence(&self, firing: Firing, tokenizer: &Tokenizer) -> Occurrence {
        let (id, text) = &self.sources[firing.prompt];
        let sequence = &self.sequences[firing.prompt];
        let place = sequence.span(firing.position);
        let mut occurrence = Occurrence {
            id: id.clone(),
            before: String::new(),
            token: visible(&tokenizer.token_text(sequence.ids[firing.position])),
            after: String::new(),
            values: Values::Run(firing),
        };
        if let Some(place) = place
            .filter(|place| text.is_char_boundary(place.start) && text.is_char_boundary(place.end))
        {
            let start = text.floor_char_boundary(place.start.saturating_sub(CONTEXT));
            let end = text.ceil_char_boundary((place.end + CONTEXT).min(text.len()));
            occurrence.before = visible(&text[start..place.start]);
            occurrence.token = visible(&text[place.clone()]);
            occurrence.after = visible(&text[place.end..end]);
        }
        occurrence
    }
}
